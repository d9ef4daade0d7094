"""Death at any call of the engine, before or after its effect: the same command again ends in the same state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labcloud.errors import EngineError, LabError
from labcloud.model import ClusterRef
from labcloud.model.snapshot import SnapshotRef
from labcloud.profiles import load
from labcloud.protect.copies import Copying
from labcloud.protect.identity import HdfsIdentity
from labcloud.protect.snapshots import Snapshots
from labcloud.providers.simulated import Faults, Killed
from tests.unit.protect.workshop import REF, TERMS, Workshop

OTHER = ClusterRef("globex", "copy")
PROFILE = load("hadoop-2.7")
Verb = Callable[[Snapshots, str], object]


def take(verbs: Snapshots, _: str) -> object:
    return verbs.take(REF, TERMS)


def restore(verbs: Snapshots, id: str) -> object:
    return verbs.restore(SnapshotRef(REF, id), TERMS)


def copy(verbs: Snapshots, id: str) -> object:
    return verbs.copy(SnapshotRef(REF, id), Copying(OTHER), TERMS)


def drop(verbs: Snapshots, id: str) -> object:
    return verbs.drop(REF, [id], TERMS)


def made(folder: Path) -> tuple[Workshop, str]:
    shop = Workshop(folder)
    shop.create(workers=1)
    id = shop.take().id
    shop.change()
    return shop, id


def shape(shop: Workshop) -> tuple[object, ...]:
    """What there is, without what differs from one making to the next."""
    found, clusters = shop.found(None), []
    for wanted in shop.lab.clusters():
        own = HdfsIdentity.of(wanted.id)
        texts: dict[str, Any] = {}
        for name, files in shop.data(wanted.ref).items():
            for path, text in files.items():
                texts[f"{name}/{path.replace(own.pool, 'POOL')}"] = text.replace(own.cluster, "CID").replace(own.namespace, "NS")
        texts = {path: text for path, text in texts.items() if not path.endswith("data/current/VERSION")}
        clusters.append((wanted.ref, wanted.groups, wanted.state, wanted.restoring, texts))
    return clusters, [(node.ref, node.status) for node in found.nodes], found.volumes, found.networks


def again(shop: Workshop, verb: Verb, id: str) -> None:
    if verb is drop and id not in shop.ids():
        return  # it died when all was done
    verb(shop.snapshots(), id)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labcloud.protect.snapshots.load", lambda _: PROFILE)
    monkeypatch.setattr("labcloud.apply.runner._PAUSE", 0.0)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("verb", [take, restore, copy, drop], ids=lambda each: each.__name__)
def test_the_same_command_finishes_what_death_broke_off(tmp_path: Path, verb: Verb, after: bool) -> None:
    smooth, id = made(tmp_path / "smooth")
    verb(smooth.snapshots(), id)
    for number in range(1, 200):
        shop, id = made(tmp_path / str(number))
        faults = Faults()
        faults.die(number=number, after=after)
        try:
            verb(shop.snapshots(faults), id)
        except Killed:
            states = {each.id: each.state for each in shop.snapshots().list(REF)}
            good = [each for each, state in states.items() if state == "consistent"]
            assert {len({node.name for node, _, kept in shop.found().snapshots if kept == each}) for each in good} <= {2}, (
                "whole, or not good"
            )
            again(shop, verb, id)
            assert shape(shop) == shape(smooth), f"died at call {number}: {faults.calls[number - 1]}"
            assert "unfinished" not in shop.states() or verb is drop
        else:
            assert number > 3
            return
    pytest.fail("it never came to an end")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("verb", [take, restore], ids=lambda each: each.__name__)
def test_one_refusal_at_any_call_is_retried_or_told_and_the_same_command_goes_on(tmp_path: Path, verb: Verb) -> None:
    smooth, id = made(tmp_path / "smooth")
    verb(smooth.snapshots(), id)
    for number in range(1, 200):
        shop, id = made(tmp_path / str(number))
        faults = Faults()
        faults.fail(EngineError("the engine is tired"), number=number)
        try:
            verb(shop.snapshots(faults), id)
        except LabError:
            again(shop, verb, id)
        assert shape(shop) == shape(smooth), f"refused at call {number}: {faults.calls[number - 1]}"
        if len(faults.calls) < number:
            return
    pytest.fail("it never came to an end")
