#!/usr/bin/env bash
# Makes the disk of a small guest, 24 MiB: busybox and an SSH server; it takes its address by DHCP, and name and root's key from the
# metadata service. Made without mounting anything. GUEST-IMAGE.SH FILE
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=settings.sh
. "$(dirname "$(readlink -f "$0")")/settings.sh"
[ $# = 1 ] || fail "guest-image.sh needs the name of a file to write" "$0 guest.raw"

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{bin,dev,etc,proc,root/.ssh,run,sbin,sys,tmp,usr/sbin,usr/bin,etc/dropbear,var/log}
chmod 755 "$root"
chmod 700 "$root/root" "$root/root/.ssh"
cp /bin/busybox "$root/bin/"
for applet in $(busybox --list); do
  [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
done
cp /usr/sbin/dropbear "$root/usr/sbin/"
{ ldd /usr/sbin/dropbear; ldd /bin/busybox || true; } 2>/dev/null | grep -oE '/[^ ]+' | while read -r library; do
  mkdir -p "$root$(dirname "$library")"
  cp -L "$library" "$root$library"
done
printf 'root:x:0:0:root:/root:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\n' >"$root/etc/group"
printf '/bin/sh\n' >"$root/etc/shells"
cat >"$root/etc/lease" <<'END'
#!/bin/sh
[ "$1" = bound ] || [ "$1" = renew ] || exit 0
ip address replace "$ip/$mask" dev "$interface"
for router in $router; do ip route replace default via "$router"; done
set -- $staticroutes
while [ $# -ge 2 ]; do
  ip route replace "$1" via "$2" 2>/dev/null
  shift 2
done
END
cat >"$root/sbin/init" <<'END'
#!/bin/sh
export PATH=/bin:/sbin:/usr/sbin
# A connection that is begun while Neutron sets the port's filters may never be answered.
metadata() { timeout 5 wget -q -O - "http://169.254.169.254/latest/meta-data/$1"; }
ip link set lo up
ip link set eth0 up
udhcpc -i eth0 -b -s /etc/lease -t 100 -T 1 -A 1
until metadata public-keys/0/openssh-key >/root/.ssh/authorized_keys; do sleep 1; done
hostname "$(metadata hostname)"
exec dropbear -F -E -R -s
END
chmod 755 "$root/etc/lease" "$root/sbin/init"
rm -f "$1"
mke2fs -q -t ext4 -O ^has_journal -d "$root" "$1" 24M
