"""The rules of leases: who ends when, who is told, who may be started."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labcloud.errors import ConflictError, UsageError
from labcloud.model import AtEnd, Cluster, Lease, Wanted
from labcloud.model.leases import Due, check_lease, due, extended, lease_for, lease_until, time_left
from tests.unit.lab.conftest import make_cluster

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def leased(until: datetime, then: AtEnd = AtEnd.STOP, state: Wanted = Wanted.RUNNING) -> Cluster:
    return make_cluster("acme", "c", lease=Lease(until, then), state=state)


def test_a_lease_lasts_as_long_as_it_says_to_the_second() -> None:
    lease = lease_for(8 * HOUR, NOW.replace(microsecond=999_999), AtEnd.DELETE)
    assert (lease.until, lease.then) == (NOW + 8 * HOUR, AtEnd.DELETE)


def test_other_time_zones_are_turned_into_utc() -> None:
    lease = lease_until(datetime(2026, 11, 21, 20, tzinfo=timezone(timedelta(hours=2))), NOW)
    assert (lease.until, lease.until.utcoffset()) == (NOW + 6 * HOUR, timedelta())


@pytest.mark.parametrize(
    ("until", "words"), [(NOW, "that is over"), (NOW - HOUR, "that is over"), (NOW + 367 * 24 * HOUR, "over a year away")]
)
def test_ends_that_are_over_or_far_away_are_refused(until: datetime, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        lease_until(until, NOW)


def test_an_extension_counts_from_the_end_or_from_now_if_that_is_over() -> None:
    assert extended(Lease(NOW + HOUR, AtEnd.DELETE), 4 * HOUR, NOW) == Lease(NOW + 5 * HOUR, AtEnd.DELETE)
    assert extended(Lease(NOW - HOUR), 4 * HOUR, NOW) == Lease(NOW + 4 * HOUR)


def test_extensions_end_at_a_year() -> None:
    with pytest.raises(UsageError, match="over a year away"):
        extended(Lease(NOW + 360 * 24 * HOUR), 7 * 24 * HOUR, NOW)


def test_a_cluster_whose_lease_is_over_is_not_started() -> None:
    with pytest.raises(ConflictError, match=r"^the lease of acme/c is over since 2026-11-21T12:00:00Z$") as refused:
        check_lease(leased(NOW), NOW)
    assert refused.value.resolution == "extend it first: labcloud lease extend acme/c 4h"


def test_clusters_without_a_lease_or_with_time_left_are_started() -> None:
    check_lease(make_cluster(), NOW)
    check_lease(leased(NOW + SECOND), NOW)


@pytest.mark.parametrize(
    ("left", "then", "state", "expected"),
    [
        (HOUR, AtEnd.STOP, Wanted.RUNNING, Due.LATER),
        (30 * timedelta(minutes=1), AtEnd.STOP, Wanted.RUNNING, Due.NOTICE),
        (SECOND, AtEnd.DELETE, Wanted.RUNNING, Due.NOTICE),
        (SECOND, AtEnd.STOP, Wanted.STOPPED, Due.LATER),
        (SECOND, AtEnd.DELETE, Wanted.STOPPED, Due.NOTICE),
        (SECOND, AtEnd.DELETE, Wanted.DELETED, Due.LATER),
        (0 * HOUR, AtEnd.STOP, Wanted.RUNNING, Due.END),
        (-HOUR, AtEnd.STOP, Wanted.STOPPED, Due.ENDED),
        (-HOUR, AtEnd.STOP, Wanted.DELETED, Due.ENDED),
        (-HOUR, AtEnd.DELETE, Wanted.STOPPED, Due.END),
        (-HOUR, AtEnd.DELETE, Wanted.DELETED, Due.END),
    ],
)
def test_what_is_due(left: timedelta, then: AtEnd, state: Wanted, expected: Due) -> None:
    assert due(leased(NOW + left, then, state), NOW) is expected


def test_nothing_is_due_without_a_lease() -> None:
    assert due(make_cluster(), NOW) is Due.LATER


@given(st.timedeltas(-100 * HOUR, 100 * HOUR), st.timedeltas(timedelta(), 50 * HOUR), st.sampled_from(AtEnd), st.sampled_from(Wanted))
def test_only_what_is_over_ends_and_only_what_may_start_is_told(left: timedelta, notice: timedelta, then: AtEnd, state: Wanted) -> None:
    cluster = leased(NOW + left, then, state)
    asked = due(cluster, NOW, notice)
    try:
        check_lease(cluster, NOW)
    except ConflictError:
        assert asked in (Due.END, Due.ENDED)
    else:
        assert asked in (Due.LATER, Due.NOTICE)


@pytest.mark.parametrize(
    ("left", "text"),
    [(3 * HOUR + 20 * 60 * SECOND, "3h20m"), (SECOND, "1m"), (8 * HOUR - SECOND, "8h"), (0 * HOUR, "over"), (-HOUR, "over")],
)
def test_the_time_that_is_left(left: timedelta, text: str) -> None:
    assert time_left(Lease(NOW + left), NOW) == text
