#!/usr/bin/env bash
# Stops the cloud and removes what it left on the machine: processes, mounts, links, loop devices, control groups, data.
# The prepared database stays, so that the next start is faster; --wipe removes that and the logs, too.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=settings.sh
. "$(dirname "$(readlink -f "$0")")/settings.sh"

# The cloud is thrown away: nobody needs to say good-bye. With the first process of its namespaces, the kernel ends all others.
if pid=$(init_of_cloud); then
  kill -KILL "$pid" "$(cat "$run/outer")" 2>/dev/null || true
  for ((waited = 0; waited < 300; waited++)); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
fi
ip link delete "$link" 2>/dev/null || true
# Nova leaves the disks of its containers attached.
losetup --list --noheadings --output NAME,BACK-FILE 2>/dev/null | while read -r device file; do
  case $file in "$run"/*) losetup --detach "$device" ;; esac
done
for group in $(control_groups); do
  [ ! -d "$group" ] || find "$group" -depth -type d -exec rmdir {} +
done
rm -rf --one-file-system "$run"
[ "${1:-}" != --wipe ] || rm -rf --one-file-system "$state"
