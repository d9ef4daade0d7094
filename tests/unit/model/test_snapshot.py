"""Names of snapshots."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labcloud.errors import UsageError
from labcloud.model import ClusterRef
from labcloud.model.snapshot import SnapshotRef, new_snapshot_id, snapshot_id, snapshot_time

ID = "20261121t020000-1a2b"
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC))


@given(MOMENTS)
def test_a_new_name_is_one_and_tells_when(moment: datetime) -> None:
    id = new_snapshot_id(moment)
    assert snapshot_id(id) == id
    assert snapshot_time(id) == moment.replace(microsecond=0)


@given(MOMENTS, MOMENTS)
def test_names_are_in_the_order_of_time(one: datetime, other: datetime) -> None:
    if one > other:
        one, other = other, one
    assert new_snapshot_id(one) <= new_snapshot_id(other)
    assert new_snapshot_id(one) < new_snapshot_id(one + timedelta(microseconds=16))


def test_a_name_is_in_utc() -> None:
    assert new_snapshot_id(datetime(2026, 11, 21, 3, tzinfo=timezone(timedelta(hours=1)))).startswith("20261121t020000-")


NO_TIMES = ["20261321t020000-1a2b", "20260229t020000-1a2b", "20261121t250000-1a2b", "00001121t020000-1a2b"]


@pytest.mark.parametrize("text", ["", "20261121", "20261121t020000", f"{ID}0", f"{ID}\n", ID.upper(), "../" + ID, *NO_TIMES])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="cannot name a snapshot"):
        snapshot_id(text)


def test_a_reference_is_read_as_it_is_written() -> None:
    ref = SnapshotRef(ClusterRef("acme", "c"), ID)
    assert SnapshotRef.parse(str(ref)) == ref
    assert SnapshotRef.parse(f"c@{ID}", "acme") == ref


@pytest.mark.parametrize("text", ["acme/c", ID, f"c@{ID}", "acme/c@", "acme/c@latest", f"acme/c@{ID}@{ID}", f"acme/c d@{ID}", f"acme@{ID}"])
def test_a_bad_reference_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        SnapshotRef.parse(text)
