"""Which of several backups is meant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from labcloud.apply.journal import Journal
from labcloud.apply.watch import Watch
from labcloud.lab import Lab
from labcloud.model import ClusterRef
from labcloud.protect.answers import Copy
from labcloud.protect.backups import Backups
from labcloud.protect.restic import CONSISTENT, INCONSISTENT
from labcloud.providers.simulated.provider import SimulatedProvider

REF = ClusterRef("acme", "lab")


@pytest.fixture
def backups(tmp_path: Path) -> Backups:
    lab = Lab(tmp_path)
    return Backups(lab, Journal(tmp_path), lambda _: SimulatedProvider(tmp_path, lab.id), Watch())


def copy(sign: str, days: float, tag: str = CONSISTENT) -> Copy:
    return Copy(sign * 64, sign * 8, datetime.now(UTC) + timedelta(days=days), str(REF), (tag,), "")


def test_latest_is_the_newest_consistent_one(backups: Backups) -> None:
    copies = [copy("a", -3), copy("b", -2), copy("c", -1, INCONSISTENT)]
    assert backups.find_copy(REF, "latest", copies) == copies[1]


def test_latest_is_none_from_the_future_unless_there_is_no_other(backups: Backups) -> None:
    copies = [copy("a", -3), copy("b", -2), copy("c", 400)]
    assert backups.find_copy(REF, "latest", copies) == copies[1]
    assert backups.find_copy(REF, "latest", copies[2:]) == copies[2]
    assert backups.find_copy(REF, "cc", copies) == copies[2]
