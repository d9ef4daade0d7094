"""Disks: the file system and the boot loader in front of it, looked at with the file system's own tools."""

from __future__ import annotations

import struct
import subprocess
import uuid
from pathlib import Path

import pytest

from labcloud.errors import EngineError
from labcloud.images import disk

IDENTITY = uuid.UUID("12345678-1234-5678-9234-567812345678")


def tree(folder: Path) -> Path:
    root = folder / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/fstab").write_text("x\n")
    (root / "vmlinuz").write_bytes(b"kernel")
    return root


def make(folder: Path) -> Path:
    made = folder / "disk.raw"
    disk.make(tree(folder), made, kernel_options="console=ttyS0", spare=16, identity=IDENTITY)
    return made


def test_a_disk_is_a_sound_file_system_with_a_boot_loader_in_front(tmp_path: Path) -> None:
    made = make(tmp_path)
    checked = subprocess.run(["e2fsck", "-fn", str(made)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    facts = subprocess.run(["dumpe2fs", "-h", str(made)], capture_output=True, text=True, check=True).stdout
    assert str(IDENTITY) in facts
    assert disk.LABEL in facts
    with made.open("rb") as file:
        first = file.read(512)
    assert first[510:] == b"\x55\xaa"  # firmware starts no other


def test_the_boot_sector_leads_to_all_of_the_boot_loader(tmp_path: Path) -> None:
    made = make(tmp_path)
    content = made.read_bytes()
    (start,) = struct.unpack_from("<Q", content, 0x5C)
    first = bytearray(content[start * 512 : start * 512 + 512])
    found, segment = bytes(first), 0x820
    for at in range(0x1F4, 0, -12):
        begin, count, loaded_to = struct.unpack_from("<QHH", first, at)
        if count == 0:
            break
        assert loaded_to == segment
        segment += count * 32
        found += content[begin * 512 : (begin + count) * 512]
    core = (tmp_path / "root/boot/grub/core.img").read_bytes()
    assert found[512 : len(core)] == core[512:]
    assert b"root=LABEL=labcloud-root" not in first


def test_a_scattered_boot_loader_is_found_in_its_pieces() -> None:
    assert list(disk._entries([100, 101, 200, 300, 301])) == [(100, 2, 0x820), (200, 1, 0x860), (300, 2, 0x880)]


def test_the_same_tree_gives_a_disk_of_the_same_size(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    assert make(one).stat().st_size == make(other).stat().st_size


def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match="grub-mkimage is missing") as caught:
        make(tmp_path)
    assert "grub-pc-bin" in caught.value.resolution
