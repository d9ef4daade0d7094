#!/usr/bin/env bash
# The first process inside the cloud's namespaces: makes them fit for its services, then lives as long as they do. Called by start.sh.
# Nothing that is mounted or changed here is seen outside, and all of it ends with this process. NAMESPACE.SH FOLDER [HOST]: where HOST is
# given, this is the first process of another real compute host inside the cloud, in a network, a mount and a UTS namespace of its own.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=settings.sh
LABCLOUD_TEST_CLOUD=$1 . "$(dirname "$(readlink -f "$0")")/settings.sh"
host=${2:-real1}

# Its own view of control groups: a guest's are below the cloud's, and go with it.
control_groups_here() {
  local type options at
  while read -r _ at type options _; do
    case $type in cgroup | cgroup2) printf '%s %s %s\n' "$type" "$at" "$options" ;; esac
  done </proc/self/mounts
}

mount_control_groups() {
  local type at options folders
  folders=$(control_groups_here)
  mount -t sysfs sysfs /sys
  case $folders in cgroup2\ /sys/fs/cgroup\ *) mount -t cgroup2 cgroup2 /sys/fs/cgroup && return ;; esac
  mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
  while read -r type at options; do
    mkdir -p "$at"
    options=$(tr , '\n' <<<"$options" | grep -vxE 'rw|ro|relatime|nosuid|nodev|noexec|clone_children|release_agent=.*|xattr|nsdelegate|memory_recursiveprot' | paste -sd, || true)
    mount -t "$type" ${options:+-o "$options"} "$type" "$at"
  done <<<"$folders"
}

# The services' own files outside of the state folder are copies.
cover() { # FOLDER...
  local folder
  for folder; do
    mkdir -p "$run/cover/$host$folder" "$folder"
    cp -a "$folder/." "$run/cover/$host$folder/"
    mount --bind "$run/cover/$host$folder" "$folder"
  done
}

# Cinder mounts its "NFS share": a file system of its own, for Nova asks whether it is one, which mount.nfs binds to where it is wanted.
make_share() {
  local share=$run/cinder/share
  mkdir -p "$share" "$run"/share/{lower,upper,work,sbin}
  mount -t overlay share -o "lowerdir=$run/share/lower,upperdir=$run/share/upper,workdir=$run/share/work" "$share" 2>/dev/null ||
    mount -t tmpfs -o size=8g share "$share"
  chmod 777 "$share"
  cat >"$run/share/sbin/mount.nfs" <<END
#!/bin/sh
[ \$# -ge 2 ] || exit 1
exec mount --bind '$share' "\$2"
END
  chmod 755 "$run/share/sbin/mount.nfs"
  mount -t overlay sbin -o "lowerdir=$run/share/sbin:/usr/sbin" /usr/sbin
}

# Debian's ebtables deletes a rule with --among-src by its number alone, and fails where the rule is given ("RULE_DELETE failed (Invalid
# argument)"). Neutron's agent asks for that when it sets a port up again, as after a move, and again and again, and does nothing else.
mend_ebtables() {
  mkdir -p "$run/share/sbin"
  cat >"$run/share/sbin/ebtables" <<'END'
#!/bin/sh
case "$*" in
  *' -D '*' --among-src '*)
    options=${*%% -D *} rest=${*#* -D }
    chain=${rest%% *}
    number=$(ebtables-nft $options -L "$chain" --Ln | awk -v rule="${rest#* }" 'index($0, rule) { print $1 + 0; exit }')
    [ -z "$number" ] || exec ebtables-nft $options -D "$chain" "$number"
    ;;
esac
exec ebtables-nft "$@"
END
  chmod 755 "$run/share/sbin/ebtables"
}

# The public network: what Neutron's bridge takes is public0, and the machine's way to it is the other end.
make_links() {
  ip link set lo up
  ip link add public0 type veth peer name public-gateway
  ip link set public0 up
  ip link set public-gateway up
  ip address add "$public.1/24" dev public-gateway
  sysctl -q -w net.ipv4.ip_forward=1
  sysctl -q -w net.ipv6.conf.all.disable_ipv6=1 2>/dev/null || true
}

configure_libvirt() {
  rm -rf /etc/libvirt/qemu/networks/autostart
  cat >/etc/libvirt/qemu.conf <<'END'
security_driver = "none"
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
max_core = 0
END
  printf 'auth_unix_%s = "none"\n' rw ro >/etc/libvirt/libvirtd.conf
}

# Two hosts need namespaces of their own: libvirt moves nothing to a host of its own name or UUID, and a server has an interface and a
# disk of the same name on both while it moves. One libvirt speaks to the other by its socket; a server's memory and disk take the network
# between the two, and so do its packets and what Nova and Neutron say.
make_way_to_other_host() {
  mkdir -p "$run/libvirt/$host" /run/libvirt
  mount --bind "$run/libvirt/$host" /run/libvirt
  printf "migration_%s = \"$between.${host#real}\"\n" address host >>/etc/libvirt/qemu.conf
  printf 'host_uuid = "%s"\n' "$(cat /proc/sys/kernel/random/uuid)" >>/etc/libvirt/libvirtd.conf
}

make_other_host() { # HOST
  local pid
  unshare --net --mount --uts --propagation private bash "$cloud/namespace.sh" "$state" "$1" &
  pid=$!
  while [ "$(readlink "/proc/$pid/ns/uts")" = "$(readlink /proc/self/ns/uts)" ]; do sleep 0.05; done
  ip link add hosts0 type veth peer name hosts0 netns "$pid"
  ip address add "$between.1/24" dev hosts0
  ip link set hosts0 up
  printf '%s' "$pid" >"$run/$1"
  while [ ! -e "$run/ready-$1" ]; do
    kill -0 "$pid"
    sleep 0.05
  done
}

become_other_host() {
  hostname "$host"
  mkdir /run/cgroup
  mount --rbind /sys/fs/cgroup /run/cgroup
  mount -t sysfs sysfs /sys # where Neutron's agent looks for interfaces: those of this network
  mount --move /run/cgroup /sys/fs/cgroup
  mkdir -p "$run/nova/"{real1,"$host"}
  mount --bind "$run/nova/$host" "$run/nova/real1"
  while [ ! -e "$run/$host" ]; do sleep 0.05; done
  ip link set lo up
  ip address add "$between.${host#real}/24" dev hosts0
  ip link set hosts0 up
  ip route add "198.18.$number.0/24" via "$between.1"
  sysctl -q -w net.ipv6.conf.all.disable_ipv6=1 2>/dev/null || true
}

[ "$host" != real1 ] || mount_control_groups
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/netns
if [ "$host" = real1 ]; then
  mend_ebtables
  make_share
  make_links
else
  become_other_host
fi
cover /etc/libvirt /var/lib/libvirt /var/log/libvirt
configure_libvirt
if [ "${LABCLOUD_TEST_CLOUD_REAL:-1}" -gt 1 ]; then
  make_way_to_other_host
  [ "$host" != real1 ] || make_other_host real2
fi
: >"$run/ready-$host"
while :; do
  sleep infinity &
  wait $! || true
done
