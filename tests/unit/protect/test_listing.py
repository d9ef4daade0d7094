"""Backups by what people call them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labcloud.apply.journal import Event
from labcloud.errors import NotFoundError
from labcloud.model import ClusterRef
from labcloud.protect.answers import Copy
from labcloud.protect.listing import find_copy, view
from labcloud.protect.notes import UNCHECKED, Checked, checks

REF = ClusterRef("acme", "c")
NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


def _copy(id: str, time: datetime = NOON, *tags: str) -> Copy:
    return Copy(id.ljust(64, "0"), id[:8], time, "acme/c", tags or ("labcloud", "consistent"), "")


COPIES = [
    _copy("abcd1111", NOON - timedelta(days=2)),
    _copy("abcd2222", NOON - timedelta(days=1)),
    _copy("eeee3333", NOON, "labcloud", "inconsistent"),
]


@pytest.mark.parametrize(
    ("at", "found"),
    [
        ("latest", "abcd2222"),
        ("abcd1", "abcd1111"),
        ("e", "eeee3333"),
        ("2026-03-04T12:00", "abcd2222"),  # the one of noon is not consistent
        ("2026-03-03T12:00:00Z", "abcd2222"),
        ("2026-03-03T11:59:59", "abcd1111"),
        ("2026-03-03T14:00+02:00", "abcd2222"),
        ("2026-03-03T13:59+02:00", "abcd1111"),
        ("2026-03-03", "abcd1111"),
        ("9999-12-31T23:59:59-12:00", "abcd2222"),
    ],
)
def test_what_is_found(at: str, found: str) -> None:
    assert find_copy(REF, at, COPIES).short == found
    assert find_copy(REF, at, COPIES[::-1]).short == found


@pytest.mark.parametrize(
    ("at", "said", "near"),
    [
        ("abcd", "2 backups of acme/c begin with abcd", "abcd2222"),
        ("", "there is no backup '' of acme/c", "abcd2222"),
        ("ffff", "there is no backup 'ffff' of acme/c", "abcd2222"),
        ("2026-03-01", "there is no good backup of acme/c before 2026-03-01", "abcd1111"),
        ("0001-01-01T00:00+23:00", "there is no good backup of acme/c before 0001-01-01T00:00\\+23:00", "abcd1111"),
        ("20260303", "there is no backup '20260303' of acme/c", "abcd2222"),
        ("yesterday", "there is no backup 'yesterday' of acme/c", "abcd2222"),
    ],
)
def test_what_is_not_found_and_the_nearest(at: str, said: str, near: str) -> None:
    with pytest.raises(NotFoundError, match=said) as caught:
        find_copy(REF, at, COPIES)
    assert f"the nearest is {near} of 2026-03-" in caught.value.resolution
    assert "labcloud backup list acme/c" in caught.value.resolution


def test_where_there_are_none() -> None:
    with pytest.raises(NotFoundError, match="there is no backup of acme/c"):
        find_copy(REF, "latest", [])
    assert find_copy(REF, "latest", COPIES[2:]).short == "eeee3333", "so that who asks is told that it is not good"


@given(st.lists(st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)), min_size=1, max_size=6, unique=True), st.data())
def test_a_time_finds_the_newest_not_after(times: list[datetime], data: st.DataObject) -> None:
    copies = [_copy(f"{number:08x}", time.replace(tzinfo=UTC)) for number, time in enumerate(times)]
    moment = data.draw(st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)))
    before = [each for each in times if each <= moment]
    if before:
        assert find_copy(REF, moment.isoformat(), copies).time == max(before).replace(tzinfo=UTC)
    else:
        with pytest.raises(NotFoundError):
            find_copy(REF, moment.isoformat(), copies)


def test_a_copy_in_a_list() -> None:
    copy = _copy("abcd1111", NOON, "labcloud", "consistent", "bytes=42", "origin=backup")
    good, bad = Checked("2026-03-05T01:00:00Z", "good"), Checked("2026-03-05T02:00:00Z", "damaged", "1/7")
    shown = view(copy, good, Checked("2026-03-05T03:00:00Z", "2 files are missing"))
    assert (shown.tenant, shown.name, shown.id, shown.time, shown.state) == (
        "acme",
        "c",
        "abcd1111",
        "2026-03-04T12:00:00+00:00",
        "consistent",
    )
    assert (shown.size, shown.origin, shown.verified) == (42, "backup", good.time)
    assert (shown.drilled, shown.drill) == ("2026-03-05T03:00:00Z", "2 files are missing")
    assert (view(copy, bad, UNCHECKED).state, view(copy, bad, UNCHECKED).verified) == ("damaged", "")
    assert view(COPIES[2], UNCHECKED, UNCHECKED).state == "inconsistent"


# Checks


def _check(time: str, verdict: str, read: str, *copies: str) -> tuple[str, Event]:
    return "acme", Event(time, "verified", {"copies": list(copies), "verdict": verdict, "read": read})


@pytest.mark.parametrize(
    ("found", "after", "state"),
    [
        ("2/7", "3/7", "damaged"),
        ("2/7", "", "damaged"),
        ("2/7", "2/7", "good"),
        ("2/7", "all", "good"),
        ("all", "2/7", "damaged"),
        ("all", "all", "good"),
        ("", "", "good"),
        ("", "3/7", "good"),
    ],
)
def test_damage_stays_until_what_showed_it_is_good(found: str, after: str, state: str) -> None:
    events = [_check("1", "good", "all", "a", "b"), _check("2", "damaged", found, "a"), _check("3", "good", after, "a", "b")]
    seen = checks(events)
    assert (seen["a"].verdict, seen["b"].time) == (state, "3")
    assert seen["a"].time == ("3" if state == "good" else "2")


def test_drills_name_one_copy_and_the_newest_counts() -> None:
    events = [
        ("acme/c", Event(time, "drilled", {"copy": "a", "verdict": verdict})) for time, verdict in [("1", "good"), ("2", "it is not")]
    ]
    assert checks(events) == {"a": Checked("2", "it is not")}


def test_latest_is_none_from_the_future_unless_there_is_no_other() -> None:
    ahead = _copy("ffff4444", datetime.now(UTC) + timedelta(days=400))
    assert find_copy(REF, "latest", [*COPIES, ahead]).short == "abcd2222"
    assert find_copy(REF, "latest", [ahead]) == ahead
