"""Backups of a cluster on the simulated engine by the real restic: what stays beside them, and what of one that fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from labcloud.apply.journal import Journal
from labcloud.apply.watch import Watch
from labcloud.model.snapshot import SnapshotRef
from labcloud.protect.manifest import Origin
from labcloud.protect.nightly import FAILED, Bounds, Nightly
from labcloud.protect.notes import TAKEN
from labcloud.protect.targets import Target
from tests.unit.protect.workshop import REF, TERMS, Workshop


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    made = Workshop(tmp_path)
    made.create()
    made.clusters().stop(REF, TERMS)
    return made


def verbs(shop: Workshop) -> Nightly:
    engine = shop.provider()
    return Nightly(shop.lab, Journal(shop.lab.home), lambda _: engine, Watch())


def test_a_full_target_is_not_tried_again_and_leaves_no_snapshot(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Target, "room", lambda _: 1000)
    (outcome,) = verbs(shop).run([REF], Bounds())
    assert (outcome.did, outcome.copy_id) == (FAILED, "")
    assert "1.0 kB free" in outcome.error
    assert shop.ids() == []
    assert len(list(Journal(shop.lab.home).events(TAKEN))) == 1
    assert verbs(shop).copies(REF) == []


def test_what_a_restore_replaced_outlives_backups(shop: Workshop) -> None:
    first = shop.take()
    shop.snapshots().restore(SnapshotRef(REF, first.id), TERMS)
    shop.clusters().stop(REF, TERMS)
    for _ in range(2):
        verbs(shop).back_up(REF, TERMS)
    assert [each.origin for each in verbs(shop).list(REF)] == [Origin.HAND, Origin.SAFETY, Origin.BACKUP]
