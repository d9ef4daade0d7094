"""A tree of files as a disk that a machine boots from, made of files alone: no loop device, no mount, no virtual machine.

The disk is one ext4 file system from its first byte to its last. ext4 leaves its first 1024 bytes to a boot loader; GRUB's first sector is
there, and the rest of it is a file whose blocks that sector knows. So one image serves both kinds of guests: a virtual machine's
firmware starts the boot loader, and a container's host mounts the same disk as it is.
"""

from __future__ import annotations

import os
import struct
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

from labcloud.errors import EngineError

LABEL: Final = "labcloud-root"
_MIB: Final = 1 << 20
_SECTOR: Final = 512
_BLOCK: Final = 4096
_GRUB: Final = Path("/usr/lib/grub/i386-pc")
_CORE: Final = "boot/grub/core.img"
_MODULES: Final = ("biosdisk", "ext2", "linux", "serial", "terminal")
# What an ext4 of Debian 12's tools has by default and GRUB 2.06 and older kernels do not read.
_FEATURES: Final = "^metadata_csum_seed,^orphan_file"
_PACKAGES: Final = {"mke2fs": "e2fsprogs", "debugfs": "e2fsprogs", "grub-mkimage": "grub-common grub-pc-bin", "qemu-img": "qemu-utils"}

# GRUB's disk format: grub-core/boot/i386/pc/boot.S and diskboot.S, include/grub/i386/pc/boot.h
_FIRST_SECTOR_AT: Final = 0x5C  # in the boot sector: where core.img begins, in sectors
_BOOT_DRIVE_CHECK_AT: Final = 0x66  # a jump past code for old firmware that gives a wrong drive number
_LIST_END: Final = 0x1F4  # in core.img's first sector: the list of its other sectors, growing downwards from here
_ENTRY: Final = struct.Struct("<QHH")  # first sector, number of sectors, segment they are loaded to
_SEGMENT: Final = 0x820


def make(tree: Path, disk: Path, *, kernel_options: str, spare: int, identity: uuid.UUID) -> None:
    """Write ``disk`` with the files of ``tree`` and ``spare`` MiB free. The tree has ``/vmlinuz`` and ``/initrd.img``.

    ``identity`` becomes the file system's, so that the same tree gives the same disk.
    """
    _write_core(tree / _CORE, kernel_options)
    size = _room(tree) + spare
    argv = ["mke2fs", "-q", "-F", "-t", "ext4", "-b", str(_BLOCK), "-O", _FEATURES, "-m", "1", "-L", LABEL, "-U", str(identity)]
    argv += ["-E", f"hash_seed={identity},root_owner=0:0", "-d", str(tree), str(disk), f"{size}M"]
    run(argv)
    _write_boot_sector(disk)


def convert(disk: Path, target: Path) -> None:
    """The same disk as a compressed qcow2 image."""
    run(["qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", "-c", "-o", "compression_type=zstd", "-W", str(disk), str(target)])


def run(argv: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """What a program printed. Raise EngineError if it failed, or if it is missing, with the package that has it."""
    try:
        done = subprocess.run(argv, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False)
    except FileNotFoundError as exc:
        package = _PACKAGES.get(argv[0], argv[0])
        raise EngineError(f"the program {argv[0]} is missing", resolution=f"install it: apt-get install {package}") from exc
    if done.returncode:
        said = (done.stderr or done.stdout)[-2000:]
        raise EngineError(f"{argv[0]} failed", details=said, resolution="correct what it complains of, then run the same command again")
    return done.stdout


def _room(tree: Path) -> int:
    """MiB that the tree's files take, with what ext4 needs for itself: inodes, its journal, and a twentieth."""
    used = entries = 0
    for folder, folders, files in os.walk(tree):
        entries += len(folders) + len(files)
        used += _BLOCK * len(folders)
        for name in files:
            size = os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118 - tens of thousands of files
            used += -(-size // _BLOCK) * _BLOCK
    return (used + entries * 256) * 21 // 20 // _MIB + 64


def _write_core(target: Path, kernel_options: str) -> None:
    config = target.with_name("boot.cfg")
    target.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        "serial --unit=0 --speed=115200",
        "terminal_output console serial",
        f"linux (hd0)/vmlinuz root=LABEL={LABEL} ro {kernel_options}",
        "initrd (hd0)/initrd.img",
        "boot",
    ]
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    run(["grub-mkimage", "-O", "i386-pc", "-d", str(_GRUB), "-p", "(hd0)/boot/grub", "-c", str(config), "-o", str(target), *_MODULES])


def _write_boot_sector(disk: Path) -> None:
    sectors = _sectors_of_core(disk)
    boot = bytearray((_GRUB / "boot.img").read_bytes())
    struct.pack_into("<Q", boot, _FIRST_SECTOR_AT, sectors[0])
    boot[_BOOT_DRIVE_CHECK_AT : _BOOT_DRIVE_CHECK_AT + 2] = b"\x90\x90"
    with disk.open("r+b") as file:
        file.write(boot)
        file.seek(sectors[0] * _SECTOR)
        first = bytearray(file.read(_SECTOR))
        for index, entry in enumerate(_entries(sectors[1:])):
            _ENTRY.pack_into(first, _LIST_END - index * _ENTRY.size, *entry)
        file.seek(sectors[0] * _SECTOR)
        file.write(first)


def _sectors_of_core(disk: Path) -> list[int]:
    """The sectors of core.img, in order."""
    blocks = [int(word) for word in run(["debugfs", "-R", f"blocks /{_CORE}", str(disk)]).split()]
    each = _BLOCK // _SECTOR
    return [block * each + part for block in blocks for part in range(each)]


def _entries(sectors: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Runs of sectors, each with the segment that GRUB's first sector loads it to."""
    ends = [index for index, (one, next_) in enumerate(pairwise(sectors), 1) if next_ != one + 1]
    for begin, end in pairwise([0, *ends, len(sectors)]):
        yield sectors[begin], end - begin, _SEGMENT + begin * _SECTOR // 16
