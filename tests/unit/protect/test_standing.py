"""How protected clusters are, as the journal has it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from labcloud.apply.journal import Journal
from labcloud.apply.look import Protection
from labcloud.model import ClusterRef
from labcloud.model.periods import stamp
from labcloud.model.protection import BackupTerms
from labcloud.model.schedules import Schedule
from labcloud.protect.notes import MADE
from labcloud.protect.standing import protections
from tests.unit.protect.workshop import REF, Workshop

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)  # the schedule was due at 02:00


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    made = Workshop(tmp_path)
    made.create()
    return made


def _made(shop: Workshop, taken: datetime, *, consistent: bool = True, id: str = "") -> None:
    journal = Journal(shop.lab.home)
    with journal.operation("backup", str(REF)) as operation:
        operation.event(MADE, consistent=consistent, cluster_id=id or shop.wanted().id, taken=stamp(taken))
    journal.close()


def _now(shop: Workshop, now: datetime = NOW) -> Protection:
    return protections(shop.lab, Journal(shop.lab.home), [REF], now)[REF]


@pytest.mark.parametrize(
    ("taken", "late"),
    [
        (timedelta(minutes=1), False),  # fresher than the time that a night is given
        (timedelta(hours=9), False),
        (timedelta(hours=11), True),
        (timedelta(days=3), True),
        (-timedelta(hours=1), True),  # of a clock that was wrong
    ],
)
def test_what_is_late(shop: Workshop, taken: timedelta, late: bool) -> None:
    _made(shop, NOW - taken)
    assert _now(shop) == Protection(True, stamp(NOW - taken), late)


def test_a_night_is_given_its_time(shop: Workshop) -> None:
    _made(shop, NOW - timedelta(hours=20))
    assert not _now(shop, NOW.replace(hour=7)).late
    assert _now(shop, NOW.replace(hour=9)).late


def test_what_counts(shop: Workshop) -> None:
    assert _now(shop).last == ""
    _made(shop, NOW - timedelta(hours=5))
    _made(shop, NOW - timedelta(hours=4), consistent=False)
    _made(shop, NOW - timedelta(hours=3), id="f" * 32)
    _made(shop, NOW - timedelta(hours=9))
    assert _now(shop).last == stamp(NOW - timedelta(hours=5))


def test_who_wants_none_is_not_late(shop: Workshop) -> None:
    shop.lab.save(replace(shop.wanted(), backup=BackupTerms(enabled=False)), "off")
    assert _now(shop) == Protection(False, "", False)
    shop.lab.save(replace(shop.wanted(), backup=BackupTerms(schedule=Schedule.parse("never"))), "by hand")
    assert _now(shop) == Protection(True, "", False)
    assert protections(shop.lab, Journal(shop.lab.home), [ClusterRef("acme", "other")], NOW) == {}
