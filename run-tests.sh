#!/usr/bin/env bash
# Everything that is tested: lint, unit, contract and acceptance tests, the last two on real Docker and real Hadoop.
# Arguments go to pytest, as in: ./run-tests.sh tests/unit
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"
# shellcheck source=scripts/machine.sh
. scripts/machine.sh

say "labcloud's tests: installs Docker Engine, mmdebstrap, restic, shellcheck, docker-registry, rclone, rsync, sshd, GRUB, QEMU and tools for"
say "btrfs and XFS, and OpenStack (950 MB), from Debian where they are missing, tox into .venv;"
say "builds the images of all profiles, makes clusters of throw-away tenants, and removes them."
check_python
install_packages shellcheck:shellcheck docker-registry:docker-registry e2fsprogs:mkfs.ext4 btrfs-progs:mkfs.btrfs xfsprogs:mkfs.xfs \
    rclone:rclone rsync:rsync openssh-client:ssh openssh-server:sshd grub-common:grub-mkimage grub-pc-bin:usr/lib/grub/i386-pc/boot.img \
    qemu-utils:qemu-img qemu-system-x86:qemu-system-x86_64
install_python .venv -e . tox
trap stop_docker EXIT
start_docker

log=$(mktemp)
trap 'rm -f "$log"; stop_docker' EXIT
code=0
.venv/bin/tox run -q -- "$@" 2>&1 | tee "$log" || code=$?
# Last, so that whoever reads only the end sees them: what failed (one of those with the same reason), then pytest's own summaries.
sed -i 's/\x1b\[[0-9;]*m//g' "$log"
awk '/^(FAILED|ERROR) / { reason = substr($0, index($0, " - ")); if (!said[reason]++ && ++count <= 20) print substr($0, 1, 600) }' "$log"
grep -E '^=+ .*[0-9]+ (passed|failed|errors?).* =+$' "$log" || true
exit "$code"
