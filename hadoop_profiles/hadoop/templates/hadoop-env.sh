# shellcheck shell=sh
# Sourced by people and by programs that look for Hadoop's environment. It is the node's own, in one place:
set -a
. /etc/labcloud/cluster/node.env
set +a
