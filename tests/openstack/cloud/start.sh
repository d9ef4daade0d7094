#!/usr/bin/env bash
# Starts labcloud's test cloud: OpenStack Zed as Debian 12 packages it, all in one, in namespaces of its own. See docs/openstack-testing.md.
# A cloud that runs is left alone. The last line printed is the path of its clouds.yaml.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=settings.sh
. "$(dirname "$(readlink -f "$0")")/settings.sh"
[ "$(id -u)" = 0 ] || fail "the cloud needs namespaces and mounts, which only root can make" "sudo $0"
case ${LABCLOUD_TEST_CLOUD_REAL:-1} in [12]) ;; *) fail "there are 1 or 2 real compute hosts" "LABCLOUD_TEST_CLOUD_REAL=2 $0" ;; esac
command -v nova-compute neutron-l3-agent libvirtd >/dev/null || fail "OpenStack is not installed" "$cloud/install.sh"

if init_of_cloud >/dev/null && [ -e "$run/clouds.yaml" ]; then
  printf '%s\n' "$run/clouds.yaml"
  exit 0
fi
"$cloud/stop.sh"
started=''
# shellcheck disable=SC2317 # called by the trap
give_up() {
  [ -n "$started" ] || { say "the cloud did not start; its logs are in $logs" && "$cloud/stop.sh"; }
}
trap give_up EXIT

make_control_groups() {
  local group file
  for group in $(control_groups); do
    mkdir -p "$group"
    for file in cpuset.cpus cpuset.mems; do # version 1 lets no process into a group that has none
      [ ! -e "$group/$file" ] || [ -s "$group/cgroup.controllers" ] || cat "${group%/*}/$file" >"$group/$file"
    done
  done
}

make_namespaces() {
  (
    for group in $(control_groups); do echo "$BASHPID" >"$group/cgroup.procs"; done
    exec setsid unshare --net --mount --pid --cgroup --fork --kill-child --mount-proc --propagation private \
      bash "$cloud/namespace.sh" "$state" </dev/null >"$logs/namespace.log" 2>&1
  ) &
  local outer=$! waited
  disown
  for ((waited = 0; waited < 600; waited++)); do
    [ ! -e "$run/ready-real1" ] || break
    kill -0 "$outer" 2>/dev/null || break
    sleep 0.1
  done
  [ -e "$run/ready-real1" ] || { tail -n 3 "$logs/namespace.log" >&2; fail "the cloud's namespaces could not be made" "read $logs/namespace.log"; }
  printf '%s' "$outer" >"$run/outer"
  tr -d ' ' <"/proc/$outer/task/$outer/children" >"$run/init"
}

make_link() {
  [ -z "$(ip -4 route show "198.18.$number.0/24")$(ip -4 route show "$public.0/24")" ] ||
    fail "networks 198.18.$number.0/24 and $public.0/24 are in use" "set LABCLOUD_TEST_CLOUD to another folder: its name decides them"
  ip link add "$link" type veth peer name machine0 netns "$(cat "$run/init")"
  ip address add "$machine_address/24" dev "$link"
  ip link set "$link" up
  "$cloud/in.sh" ip address add "$address/24" dev machine0
  "$cloud/in.sh" ip link set machine0 up
  ip route add "$public.0/24" via "$address"
}

mkdir -p "$state" "$logs" "$run"
chmod 711 "$state" "$run"
make_control_groups
make_namespaces
make_link
"$cloud/in.sh" env -i PATH="$PATH" LANG=C.UTF-8 TMPDIR="$run/tmp" CLOUD_STATE="$state" CLOUD_ADDRESS="$address" CLOUD_PUBLIC="$public" \
  CLOUD_GUESTS="${LABCLOUD_TEST_CLOUD_GUESTS:-lxc}" CLOUD_HOSTS="${LABCLOUD_TEST_CLOUD_HOSTS:-3}" \
  CLOUD_REAL="${LABCLOUD_TEST_CLOUD_REAL:-1}" CLOUD_BETWEEN="$between" \
  CLOUD_VCPUS="${LABCLOUD_TEST_CLOUD_VCPUS:-64}" CLOUD_MEMORY_MIB="${LABCLOUD_TEST_CLOUD_MEMORY_MIB:-262144}" \
  CLOUD_HEAT="${LABCLOUD_TEST_CLOUD_HEAT:-no}" CLOUD_WATCHER="${LABCLOUD_TEST_CLOUD_WATCHER:-no}" \
  CLOUD_DISK_GIB="${LABCLOUD_TEST_CLOUD_DISK_GIB:-4096}" \
  /usr/bin/python3 "$cloud/boot.py"
started=yes
printf '%s\n' "$run/clouds.yaml"
