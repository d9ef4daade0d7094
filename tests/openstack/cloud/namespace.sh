#!/usr/bin/env bash
# The first process inside the cloud's namespaces: makes them fit for its services, then lives as long as they do. Called by start.sh.
# Nothing that is mounted or changed here is seen outside, and all of it ends with this process.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=settings.sh
LABCLOUD_TEST_CLOUD=$1 . "$(dirname "$(readlink -f "$0")")/settings.sh"

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
    mkdir -p "$run/cover$folder" "$folder"
    cp -a "$folder/." "$run/cover$folder/"
    mount --bind "$run/cover$folder" "$folder"
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

mount_control_groups
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/netns
make_share
make_links
cover /etc/libvirt /var/lib/libvirt /var/log/libvirt
configure_libvirt
: >"$run/namespace-ready"
while :; do
  sleep infinity &
  wait $! || true
done
