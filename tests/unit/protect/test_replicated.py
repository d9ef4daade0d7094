"""Snapshots of a cluster of which one node has its data on another machine: they are of a copy here, and go back there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from labcloud.model import NodeRef
from labcloud.model.snapshot import SnapshotRef
from labcloud.providers.base import Replica
from labcloud.providers.simulated import Faults, SimulatedProvider
from tests.unit.protect.workshop import LOG, REF, TERMS, Workshop, node, texts

MASTER = node("master-0")


@dataclass
class There:
    """The other machine: what the master has on ``disk``. After each look at it, it is changed by ``meanwhile``."""

    disk: Path
    meanwhile: Callable[[Path], object] = lambda _: None
    gone: list[bool] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)


class Copied(Replica):
    """Passes over what has the same length and time on both sides, as rsync does."""

    def __init__(self, there: There, here: Path) -> None:
        self._there, self._here = there, here

    def fetch(self) -> bool:
        self._there.calls.append("fetch")
        like(self._there.disk, self._here)
        self._there.meanwhile(self._there.disk)
        return self._there.gone.pop(0) if self._there.gone else False

    def give(self) -> None:
        self._there.calls.append("give")
        like(self._here, self._there.disk)

    def close(self) -> None:
        self._there.calls.append("close")


def like(source: Path, target: Path) -> None:
    wanted = {each.relative_to(source) for each in source.rglob("*") if each.is_file()}
    for path in [each for each in target.rglob("*") if each.is_file() and each.relative_to(target) not in wanted]:
        path.unlink()
    for path in wanted:
        old, new = target / path, source / path
        if not old.exists() or (old.stat().st_size, old.stat().st_mtime_ns) != (new.stat().st_size, new.stat().st_mtime_ns):
            old.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(new, old.with_name("new"))
            old.with_name("new").replace(old)


class Apart(SimulatedProvider):
    def __init__(self, *where: Any, there: There, **options: Any) -> None:
        super().__init__(*where, **options)
        self._there = there

    def replica(self, ref: NodeRef) -> Replica | None:
        return Copied(self._there, self.volume_folder(ref, 0)) if ref == MASTER else None


class ApartShop(Workshop):
    there: There

    def provider(self, faults: Faults | None = None) -> SimulatedProvider:
        return Apart(self.lab.home, self.lab.id, world=self.world, faults=faults, folders=self.root / "disks", there=self.there)


@pytest.fixture
def shop(tmp_path: Path) -> ApartShop:
    made = ApartShop(tmp_path)
    made.there = There(tmp_path / "there")
    made.there.disk.mkdir()
    made.create(workers=1)
    like(made.folder(MASTER), made.there.disk)
    return made


def test_the_snapshot_has_what_is_there_and_not_what_was_here(shop: ApartShop) -> None:
    (shop.there.disk / LOG).write_text("log, and more")
    taken = shop.take()
    assert taken.consistent
    assert texts(shop.folder(MASTER, taken.id))[LOG] == "log, and more"
    assert "block of worker-0" in texts(shop.folder(node("worker-0"), taken.id)).values()
    assert taken.files == sum(len(texts(shop.folder(each, taken.id))) - (each == MASTER) for each in (MASTER, node("worker-0")))
    assert shop.there.calls == ["fetch", "fetch", "close"]


def test_what_is_written_in_the_moment_of_a_look_is_in_it(shop: ApartShop) -> None:
    """With the length and the time that it had when it was read: times have a grain of milliseconds."""

    def write(disk: Path) -> None:
        before = (disk / LOG).stat()
        (disk / LOG).write_text("LOG")
        os.utime(disk / LOG, ns=(before.st_atime_ns, before.st_mtime_ns))

    shop.there.meanwhile = write
    taken = shop.take()
    assert texts(shop.folder(MASTER, taken.id))[LOG] == "LOG"


def test_a_second_snapshot_shares_what_never_changes_and_spoils_no_first(shop: ApartShop) -> None:
    first = shop.take()
    (shop.there.disk / LOG).write_text("log, and more")
    second = shop.take()
    image = "hdfs/name/current/fsimage_1"
    assert shop.folder(MASTER, first.id).joinpath(image).samefile(shop.folder(MASTER, second.id) / image)
    assert [texts(shop.folder(MASTER, each.id))[LOG] for each in (first, second)] == ["log", "log, and more"]


def test_what_goes_away_while_all_should_stand_still_is_told(shop: ApartShop) -> None:
    shop.there.gone = [False, True, True, True]  # it is tried three times
    taken = shop.take()
    assert not taken.consistent
    assert "went away while all stood still" in taken.why


def test_it_goes_back_to_where_the_node_is(shop: ApartShop) -> None:
    taken = shop.take()
    (shop.there.disk / LOG).write_text("log, and more")
    shop.snapshots().restore(SnapshotRef(REF, taken.id), TERMS)
    assert shop.there.calls[-2:] == ["give", "close"]
    assert texts(shop.there.disk)[LOG] == "log"
