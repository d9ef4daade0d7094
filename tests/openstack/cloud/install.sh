#!/usr/bin/env bash
# Installs OpenStack Zed and what it stands on from Debian 12, about 210 MB to download and 950 MB on disk, where it is missing.
# Nothing of it starts by itself: not now, for policy-rc.d forbids it meanwhile, and not at boot, for the services are disabled.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=settings.sh
. "$(dirname "$(readlink -f "$0")")/settings.sh"

packages=(
  mariadb-server python3-pymysql rabbitmq-server memcached uwsgi-core uwsgi-plugin-python3
  keystone glance-api placement-api cinder-api cinder-scheduler cinder-volume cinder-backup
  nova-api nova-conductor nova-scheduler nova-compute nova-compute-kvm python3-libvirt qemu-utils
  neutron-server neutron-linuxbridge-agent neutron-dhcp-agent neutron-metadata-agent neutron-l3-agent
  libvirt-daemon-system libvirt-clients libvirt-daemon-driver-lxc qemu-system-x86 genisoimage
  e2fsprogs openssh-client rsync sshfs sudo dropbear-bin
)
[ "${LABCLOUD_TEST_CLOUD_HEAT:-no}" = no ] || packages+=(heat-api heat-engine)
[ "${LABCLOUD_TEST_CLOUD_WATCHER:-no}" = no ] || packages+=(watcher-api watcher-decision-engine watcher-applier)
command -v busybox >/dev/null || packages+=(busybox) # or busybox-static, which excludes it
policy=/usr/sbin/policy-rc.d

# dpkg-query fails where it has never heard of one of them.
missing=$({ dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null || true; } | sed -n 's/^installed //p' |
  sort | comm -13 - <(printf '%s\n' "${packages[@]}" | sort))
[ -n "$missing" ] || exit 0
say "installing Debian packages, for OpenStack: ${missing//$'\n'/ }"
[ "$(id -u)" = 0 ] || fail "packages are missing, and only root can install them" "sudo $0"
(. /etc/os-release && [ "${VERSION_CODENAME:-}" = bookworm ]) || fail "the test cloud is made of the packages of Debian 12 (bookworm)" "use such a machine"

log=$(mktemp)
before=$(mktemp)
units() { systemctl list-unit-files --type=service --state=enabled --no-legend 2>/dev/null | cut -d' ' -f1 | sort; }
units >"$before" || true
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  trap 'rm -f "$policy" "$before"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # a list of words
if ! { apt-get -q update && apt-get -q install -y --no-install-recommends -o DPkg::Lock::Timeout=300 \
  -o Dpkg::Options::=--force-unsafe-io -o Dpkg::Options::=--force-confold $missing; } >"$log" 2>&1; then
  tail -n 5 "$log" >&2
  fail "apt-get could not install what OpenStack needs" "read $log, mend what it names, then run this again"
fi
if [ -d /run/systemd/system ]; then
  units | comm -13 "$before" - | xargs -r systemctl disable --quiet
fi
rm -f "$log"
