"""The shelf of disks: what is made, what is there already, what counts as finished. Making a tree and a disk is tested elsewhere."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from labcloud.errors import ConfigError, NotFoundError
from labcloud.images import declarations, disk, layers, machines
from labcloud.images.machine import MachineRecipe
from labcloud.images.machines import Machines
from labcloud.images.model import DiskFormat
from labcloud.images.recipes import Dockerfile
from labcloud.images.room import Images


class Saving(Images):
    """Images of an engine that has everything, and saves names instead of layers."""

    def build(self, names: Sequence[str], progress: Any = None) -> list[Any]:  # noqa: ARG002 - as Images has it
        return []

    def save(self, name: str, archive: Path) -> None:
        archive.write_text(name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(declarations.FOLDER, tmp_path / "images"))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was made, in order. Disks are small files."""
    done: list[str] = []

    def read(archive: Path) -> layers.Saved:
        return layers.Saved(archive, (), ("JAVA_HOME=/opt/java",))

    def unpack(images: Sequence[layers.Saved], root: Path) -> None:
        (root / "etc").mkdir()
        (root / ".dockerenv").touch()
        done.append("+".join(each.archive.stem for each in images))

    def make(tree: Path, target: Path, **_: object) -> None:
        assert not (tree / ".dockerenv").exists()
        assert (tree / "etc/environment").read_text() == "JAVA_HOME=/opt/java\n"
        assert (tree / "etc/resolv.conf").is_symlink()
        target.write_bytes(b"disk")
        done.append("raw")

    def convert(raw: Path, target: Path) -> None:
        target.write_bytes(raw.read_bytes()[:2])
        done.append("qcow2")

    monkeypatch.setattr(layers, "read", read)
    monkeypatch.setattr(layers, "unpack", unpack)
    monkeypatch.setattr(disk, "make", make)
    monkeypatch.setattr(disk, "convert", convert)
    monkeypatch.setattr(machines.os, "geteuid", lambda: 0)
    return done


def shelf(folder: Path) -> Machines:
    images = Saving(None, folder.parent / "cache", folder=folder)  # type: ignore[arg-type]
    return Machines(images, folder.parent / "machines")


def test_both_formats_are_of_one_tree_that_is_laid_out_once(folder: Path, made: list[str]) -> None:
    compressed = shelf(folder).build("hadoop-2.7", DiskFormat.QCOW2)
    plain = shelf(folder).build("hadoop-2.7", DiskFormat.RAW)
    assert made == ["machine+hadoop-2.7", "raw", "qcow2"]
    assert (compressed.made, plain.made) == (True, False)
    assert compressed.disk.path.read_bytes() == b"di"
    assert (compressed.disk.min_disk, compressed.disk.min_ram, compressed.disk.java) == (1, 512, "8")
    assert plain.disk.sha512 != compressed.disk.sha512
    assert [each.format for each in shelf(folder).list_disks()] == ["qcow2", "raw"]
    assert not list((folder.parent / "machines").glob("work-*"))


def test_a_disk_without_its_facts_was_never_finished(folder: Path, made: list[str]) -> None:
    built = shelf(folder).build("hadoop-2.7", DiskFormat.RAW).disk
    built.path.with_name(built.path.name + ".json").unlink()
    assert shelf(folder).list_disks() == []
    with pytest.raises(NotFoundError, match="not built as raw"):
        shelf(folder).find("hadoop-2.7", DiskFormat.RAW)
    assert shelf(folder).build("hadoop-2.7", DiskFormat.RAW).made
    assert made == ["machine+hadoop-2.7", "raw"] * 2


def test_a_broken_off_build_leaves_nothing(folder: Path, made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(disk, "make", broken)
    with pytest.raises(KeyboardInterrupt):
        shelf(folder).build("hadoop-2.7", DiskFormat.RAW)
    assert list((folder.parent / "machines").iterdir()) == []


@pytest.mark.parametrize("changed", ["machine.yaml", "machine/files/etc/ssh/sshd_config.d/labcloud.conf", "java-8.yaml"])
def test_what_a_disk_is_made_of_names_it(folder: Path, made: list[str], changed: str) -> None:
    shelf(folder).build("hadoop-2.7", DiskFormat.RAW)
    shelf(folder).build("hadoop-3.4", DiskFormat.RAW)
    with (folder / changed).open("a") as file:
        file.write("# changed\n")
    here = shelf(folder)
    assert {each.name for each in here.list_disks() if not here.is_current(each)} == (
        {"hadoop-2.7"} if changed.startswith("java") else {"hadoop-2.7", "hadoop-3.4"}
    )
    removed, _ = here.prune()
    assert all(name.startswith(("hadoop-2.7-", "hadoop-3.4-")) for name in removed)
    assert all(here.is_current(each) for each in here.list_disks())


def test_what_is_no_node_has_no_disk(folder: Path, made: list[str]) -> None:
    with pytest.raises(ConfigError, match="debian is no image of a node"):
        shelf(folder).build("debian", DiskFormat.RAW)


def test_the_packages_come_before_the_files() -> None:
    """So that a changed file does not fetch them again: the engine keeps what a step made until something before it changes."""
    text = Dockerfile("parent", {}, ["layer.tar"], runs=[["build"]], first=["install", "a"]).text()
    assert text.splitlines() == ["FROM parent", 'RUN ["install", "a"]', "ADD layer.tar /", 'RUN ["build"]']


def test_a_machine_has_empty_folders_for_what_a_container_has_mounted(folder: Path) -> None:
    recipe = Images(None, folder.parent, folder=folder).recipe("machine")  # type: ignore[arg-type]
    assert isinstance(recipe, MachineRecipe)
    paths = recipe.layer().paths()
    assert {"etc/labcloud/base", "etc/labcloud/cluster", "etc/systemd/system/labcloud-node.service"} <= set(paths)
