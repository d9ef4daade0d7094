"""A snapshot's data is put into a cluster's volumes: whatever breaks it off, doing it again ends the same."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labcloud.errors import ConflictError, EngineError, NotFoundError
from labcloud.model.snapshot import SnapshotRef
from labcloud.model.storage import NO_CLASSES
from labcloud.profiles import load
from labcloud.protect.filling import fill
from labcloud.protect.manifest import Manifest
from labcloud.providers.simulated import Killed
from tests.unit.protect.workshop import REF, Workshop, node, texts

PROFILE = load("hadoop-2.7")


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    made = Workshop(tmp_path)
    made.create(workers=1)
    return made


def put_back(shop: Workshop, taken: Manifest) -> int:
    return fill(shop.provider(), PROFILE, shop.wanted(), SnapshotRef(REF, taken.id), taken, NO_CLASSES)


def listing(shop: Workshop) -> dict[str, list[str]]:
    return {name: sorted(path.name for path in shop.folder(node(name)).iterdir()) for name in ("master-0", "worker-0")}


def test_what_is_shared_costs_nothing(shop: Workshop) -> None:
    before, taken = shop.data(), shop.take()
    shop.change()
    own = put_back(shop, taken)
    assert shop.data() == before
    blocks = len("block of worker-0") + len("image")
    assert own in (0, taken.size - blocks)


def dying(real: Callable[..., Any], at: int, seen: list[int]) -> Callable[..., Any]:
    def step(*args: Any, **named: Any) -> Any:
        seen.append(1)
        if len(seen) == at:
            raise Killed
        return real(*args, **named)

    return step


STEPS = [(Path, "rename"), (Path, "mkdir"), (os, "link"), (Path, "rmdir"), (shutil, "rmtree"), (os, "chown")]


@pytest.mark.parametrize(("owner", "name"), STEPS, ids=[name for _, name in STEPS])
def test_killed_at_any_step_it_ends_the_same_when_it_is_done_again(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    monkeypatch.setattr("labcloud.protect.filling._THREADS", 1)
    before, taken = shop.data(), shop.take()
    whole, snapshot = listing(shop), texts(shop.folder(node("master-0"), taken.id))
    real, died = getattr(owner, name), 0
    for at in range(1, 100):
        shop.change()
        seen: list[int] = []
        monkeypatch.setattr(owner, name, dying(real, at, seen))
        try:
            put_back(shop, taken)
        except Killed:
            died += 1
        else:
            break
        finally:
            monkeypatch.setattr(owner, name, real)
        put_back(shop, taken)
        assert (shop.data(), listing(shop)) == (before, whole)
        assert texts(shop.folder(node("master-0"), taken.id)) == snapshot
    assert died or name == "link", "links are not made where the file system shares bytes"


def test_a_full_disk_takes_nothing_away(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = shop.take()
    shop.change()
    before = shop.data()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr("labcloud.protect.filling.clone", full)
    with pytest.raises(EngineError, match="could not fill"):
        put_back(shop, taken)
    assert shop.data() == before


def test_what_cannot_be_cleared_away_is_told(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be other names of the snapshot's files: they must not be written into."""
    taken = shop.take()
    (shop.folder(node("master-0")) / ".labcloud-new").mkdir()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "no")

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(EngineError, match="could not fill"):
        put_back(shop, taken)


@pytest.mark.parametrize("volumes", [{"master-0": 1}, {"master-0": 1, "worker-0": 2}, {"master-0": 1, "worker-0": 1, "worker-1": 1}])
def test_another_shape_is_refused(shop: Workshop, volumes: dict[str, int]) -> None:
    taken = shop.take()
    shop.change()
    before = shop.data()
    with pytest.raises(ConflictError, match="and acme/c has others"):
        put_back(shop, replace(taken, volumes=volumes))
    assert shop.data() == before


def test_nodes_without_volumes_do_not_count(shop: Workshop) -> None:
    taken = shop.take()
    put_back(shop, replace(taken, volumes={**taken.volumes, "edge-0": 0}))


def test_a_snapshot_without_a_volume_is_told(shop: Workshop) -> None:
    taken = shop.take()
    shop.provider().delete_volume(node("worker-0"), 0, taken.id)
    with pytest.raises(NotFoundError):
        put_back(shop, taken)
