# shellcheck shell=bash
# shellcheck disable=SC2034 # used by those that source it
# What the cloud's commands share. Sourced.
#
#   LABCLOUD_TEST_CLOUD            folder of everything that the cloud writes   /var/tmp/labcloud-test-cloud
#   LABCLOUD_TEST_CLOUD_HOSTS      simulated compute hosts                      3
#   LABCLOUD_TEST_CLOUD_VCPUS, _MEMORY_MIB, _DISK_GIB   of each of them         64, 262144, 4096
#   LABCLOUD_TEST_CLOUD_HEAT       whether there is Heat as well                no
#   LABCLOUD_TEST_CLOUD_WATCHER    whether there is Watcher as well             no
#   LABCLOUD_TEST_CLOUD_GUESTS     what the real compute host runs: lxc, qemu, or none   lxc
#   LABCLOUD_TEST_CLOUD_REAL       real compute hosts: 1, or 2, between which qemu's guests move live   1

cloud=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
state=$(readlink -m "${LABCLOUD_TEST_CLOUD:-/var/tmp/labcloud-test-cloud}")
run=$state/run
logs=$state/logs

# Two clouds may run beside each other: the folder decides the third number of their addresses, below the networks that RFC 2544 keeps
# for tests, and the name of the link to the machine and of the control group.
number=$(($(printf '%s' "$state" | cksum | cut -d' ' -f1) % 256))
link=labcloud-$number
machine_address=198.18.$number.1
address=198.18.$number.2
public=198.19.$number
between=203.0.113 # the network between two real compute hosts, which nobody else sees: RFC 5737

# Not the tests' virtualenv: the services are Debian's, and so is their Python.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
unset PYTHONHOME PYTHONPATH VIRTUAL_ENV

say() { printf '%s\n' "$*" >&2; }

fail() { # WHAT WAY-OUT
  say "error: $1"
  say "  try: $2"
  exit 1
}

# The first process of the cloud's namespaces, if they are there.
init_of_cloud() {
  local pid
  pid=$(cat "$run/init" 2>/dev/null) || return 1
  [ "$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null)" = "bash $cloud/namespace.sh $state " ] || return 1
  printf '%s' "$pid"
}

# Folders of the cloud's own control group: one in each hierarchy of version 1, or one at all.
control_groups() {
  awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 "/'"$link"'" }' /proc/self/mounts
}
