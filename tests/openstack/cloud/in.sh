#!/usr/bin/env bash
# Runs a command inside the cloud's namespaces, where its processes, routers and guests are: in.sh ip netns
# Its APIs and its guests are reached from outside as well.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=settings.sh
. "$(dirname "$(readlink -f "$0")")/settings.sh"
[ $# -gt 0 ] || fail "in.sh needs a command" "$0 ip netns"
pid=$(init_of_cloud) || fail "no cloud runs in $state" "$cloud/start.sh"
# Into the cloud's control group as well: what it starts is found and ended there, and sees the guests' groups as they do.
for group in $(control_groups); do echo "$$" >"$group/cgroup.procs"; done
exec nsenter --target "$pid" --net --mount --pid --cgroup --wd="$PWD" -- "$@"
