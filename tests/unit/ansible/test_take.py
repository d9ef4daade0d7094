"""The program that a node runs to take its configuration, as root, with an /etc and a /dev of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from labcloud.ansible.content import SERVED, TAKE, Content

SERIAL = "3f8c1a52-7d7e-4c39-9f4d-1b6a2c0e5f77"
INSIDE = """
set -eu
room=$1 number=$2
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$room/etc,workdir=$room/work" /etc
mount -t tmpfs tmpfs /dev
mknod -m 666 /dev/null c 1 3 && mknod -m 666 /dev/urandom c 1 9 && mknod "/dev/loop$number" b 7 "$number"
mkdir -p /dev/disk/by-id /etc/labcloud
ln -s "/dev/loop$number" "/dev/disk/by-id/virtio-$3"
PATH=$room/bin:$PATH
shift 3
sh "$1"
shift
"$@"
"""


@dataclass(frozen=True)
class Node:
    """A machine as far as the program sees one; ``loop`` is its disk, ``room`` what it writes to."""

    room: Path
    loop: Path

    @property
    def data(self) -> Path:
        return self.room / "data"

    def take(self, content: Content, *then: str, expect: int = 0) -> str:
        """What the program says, and then what ``then`` prints in the same place."""
        number = self.loop.name.removeprefix("loop")
        argv = [
            "unshare",
            "--mount",
            "--uts",
            "sh",
            "-c",
            INSIDE,
            "sh",
            str(self.room),
            number,
            SERIAL[:20],
            str(TAKE),
            *(then or ("true",)),
        ]
        done = subprocess.run(argv, input=content.archive(), capture_output=True, check=False, timeout=120)
        assert done.returncode == expect, done.stderr.decode()
        return (done.stdout if not expect else done.stderr).decode()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    if os.geteuid() != 0:
        pytest.fail("this test mounts disks: run it as root")
    for name in ("etc", "work", "bin"):
        (tmp_path / name).mkdir()
    systemctl = tmp_path / "bin" / "systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\n')
    systemctl.chmod(0o755)
    disk = tmp_path / "disk"
    disk.touch()
    os.truncate(disk, 16 << 20)
    loop = subprocess.run(["losetup", "--find", "--show", str(disk)], capture_output=True, check=True, text=True).stdout.strip()
    try:
        yield Node(tmp_path, Path(loop))
    finally:
        subprocess.run(["losetup", "--detach", loop], check=True)


def with_disk(node: Node, **more: object) -> Content:
    return Content(folders=(str(node.data),), disks={str(node.data): SERIAL}, **more)  # type: ignore[arg-type]


def test_a_blank_disk_gets_a_file_system_once_and_keeps_its_data(node: Node) -> None:
    file = node.data / "block"
    said = node.take(with_disk(node, start=True), "sh", "-c", f"echo kept >{file}; cat /etc/fstab; cat /proc/mounts")
    assert said.startswith(f"{node.data} has a file system\n{node.data} is mounted\n")
    (line,) = (each for each in said.splitlines() if each.startswith(f"/dev/disk/by-id/virtio-{SERIAL[:20]} "))
    assert line.split()[1:3] == [str(node.data), "ext4"]
    assert "x-systemd.required-by=labcloud-node.service" in line
    assert f"{node.loop} {node.data} ext4" in said
    assert (node.room / "asked").read_text().splitlines() == ["daemon-reload", "start labcloud-node.service"]

    # The machine is made anew: nothing of it is left but the disk.
    (node.room / "etc" / "fstab").unlink()
    said = node.take(with_disk(node), "cat", str(file))
    assert said == f"{node.data} is mounted\nkept\n"
    # And started again.
    said = node.take(with_disk(node), "grep", "-c", str(node.data), "/etc/fstab")
    assert said == f"{node.data} is mounted\n1\n"


def test_a_disk_with_something_else_on_it_is_not_touched(node: Node) -> None:
    """Two signatures: blkid does not say what it is."""
    subprocess.run(["mkfs.ext4", "-q", "-F", str(node.loop)], check=True)
    with node.loop.open("r+b") as disk:
        disk.seek(65536 + 0x40)
        disk.write(b"_BHRfS_M")  # btrfs' own
        disk.seek(510)
        disk.write(b"\x55\xaa")
        disk.seek(446)
        disk.write(bytes([0, 0, 2, 0, 0x83, 0, 8, 0]) + (1).to_bytes(4, "little") + (100).to_bytes(4, "little"))
    before = node.loop.read_bytes()
    said = node.take(with_disk(node), expect=1)
    assert "cannot be read, and is not touched" in said
    assert node.loop.read_bytes() == before


def test_files_become_exactly_what_they_are_told_and_names_too(node: Node) -> None:
    content = Content("worker-0", {"conf/a": b"1\n", "conf/b": b"2\n"}, None, {"10.0.0.2": ("worker-0.c.t", "worker-0")})
    show = "cd /etc/labcloud && find cluster -type f | sort && cat /etc/hostname && grep worker-0 /etc/hosts"
    said = node.take(content, "sh", "-c", show).splitlines()
    assert said[-4:] == ["cluster/conf/a", "cluster/conf/b", "worker-0", "10.0.0.2 worker-0.c.t worker-0"]
    assert {"cluster/conf/a", "cluster/conf/b", "hosts", "name"} <= {line.removeprefix("./") for line in said[:-4]} | set(said)

    said = node.take(Content("worker-0", {"conf/a": b"3\n"}), "cat", "/etc/labcloud/cluster/conf/a")
    assert "cluster/./conf/b gone" in said
    assert said.endswith("3\n")
    assert not (node.room / "etc" / "labcloud" / "cluster" / "conf" / "b").is_file()
    assert node.take(Content("worker-0", {"conf/a": b"3\n"})) == "name\n"  # the kernel's own name is the namespace's, and new each time


def commands(node: Node, **bodies: str) -> None:
    """Programs that note how they were called, each with its answer."""
    for name, body in bodies.items():
        path = node.room / "bin" / name
        path.write_text(f'#!/bin/sh\necho {name} "$@" >>{node.room}/asked\n{body}\n')
        path.chmod(0o755)


def asked(node: Node) -> list[str]:
    lines = (node.room / "asked").read_text().splitlines()
    (node.room / "asked").unlink()
    return lines


def test_datasets_are_served_by_one_node_and_mounted_by_the_others(node: Node) -> None:
    mounted = node.room / "mounted"
    routes = "echo 10.192.4.0/22 dev eth0 scope link src 10.192.4.9"
    commands(node, modprobe="", exportfs="", mount=f"touch {mounted}", umount=f"rm {mounted}", mountpoint=f"test -e {mounted}", ip=routes)
    (node.room / "etc" / "fstab").touch()
    said = node.take(Content(datasets=SERVED), "cat", "/etc/fstab", "/etc/exports.d/labcloud.exports")
    assert said.splitlines() == [
        "datasets are mounted",
        "/srv/labcloud/datasets /datasets none bind,ro,nofail 0 0",
        "/srv/labcloud/datasets 10.192.4.0/22(ro,all_squash,fsid=0,no_subtree_check)",
    ]
    assert [each for each in asked(node) if each in ("start nfs-server.service", "exportfs -r", "mount /datasets")] == [
        "start nfs-server.service", "exportfs -r", "mount /datasets",
    ]  # fmt: skip

    # It is told again, and nothing happens; then another node serves them.
    assert node.take(Content(datasets=SERVED)) == ""
    assert "mount /datasets" not in asked(node)
    said = node.take(Content(datasets="10.192.4.7"), "cat", "/etc/fstab")
    first, entry = said.splitlines()
    assert first == "datasets are mounted"
    assert entry.startswith("10.192.4.7:/ /datasets nfs4 ro,nosuid,nodev,")
    order = [each for each in asked(node) if each.startswith(("umount", "mount /", "daemon"))]
    assert order == ["umount -l /datasets", "daemon-reload", "mount /datasets"]


def test_a_kernel_without_nfs_is_told_of(node: Node) -> None:
    commands(node, modprobe="exit 1")
    assert "the kernel of this machine has no nfsd: datasets are shared by NFS" in node.take(Content(datasets=SERVED), expect=1)
