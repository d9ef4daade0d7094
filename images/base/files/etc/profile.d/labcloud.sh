# Every login shell of a node: where things are. HADOOP_OPTS and HADOOP_CLIENT_OPTS stay the user's own: bin/hadoop and its
# brothers read the cluster's from node.env themselves, and add the user's.
# What the lab says for all nodes (/etc/labcloud/base) comes first: the cluster's own wins.
if [ -r /etc/labcloud/base/environment ]; then
    # shellcheck source=/dev/null
    . /usr/lib/labcloud/environment
fi
if [ -r /etc/labcloud/cluster/node.env ]; then
    _labcloud_own=${HADOOP_OPTS-} _labcloud_client=${HADOOP_CLIENT_OPTS-}
    set -a
    # shellcheck source=/dev/null
    . /etc/labcloud/cluster/node.env
    set +a
    HADOOP_OPTS=$_labcloud_own HADOOP_CLIENT_OPTS=$_labcloud_client
    unset _labcloud_own _labcloud_client
fi
export JAVA_HOME="${JAVA_HOME:-/opt/java}" HADOOP_HOME="${HADOOP_HOME:-/opt/stacks/hadoop}"
export HADOOP_CONF_DIR="${HADOOP_CONF_DIR:-/etc/hadoop/conf}"
case ":$PATH:" in
    *":$HADOOP_HOME/bin:"*) ;;
    *) export PATH="$HADOOP_HOME/bin:$JAVA_HOME/bin:$PATH" ;;
esac
for _labcloud_each in /etc/labcloud/base/profile.d/*.sh; do
    if [ -r "$_labcloud_each" ]; then
        # shellcheck source=/dev/null
        . "$_labcloud_each"
    fi
done
unset _labcloud_each
if [ -r /etc/labcloud/base/bashrc ]; then
    # shellcheck source=/dev/null
    . /etc/labcloud/base/bashrc
fi
