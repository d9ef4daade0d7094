"""Spans of time as people ask for them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from labcloud.errors import UsageError
from labcloud.model.periods import Period, moment, month, period, stamp

NOW = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-01", "2026-11-01T00:00:00Z"),
        ("2026-11-01T18:00:00Z", "2026-11-01T18:00:00Z"),
        ("2026-11-01T18:00", "2026-11-01T18:00:00Z"),
        ("2026-11-01 18:00:07.9", "2026-11-01T18:00:07Z"),
        ("2026-11-01T18:00:00+02:00", "2026-11-01T16:00:00Z"),
    ],
)
def test_times_as_people_write_them(text: str, expected: str) -> None:
    assert stamp(moment(text)) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "2026-11-31", "1.11.2026", "0001-01-01T00:00:00+14:00", "2026"])
def test_other_times_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="is not a time") as refused:
        moment(text)
    assert "2026-11-01" in refused.value.resolution


@pytest.mark.parametrize(
    ("text", "until"), [("2026-11", "2026-12-01"), ("2026-12", "2027-01-01"), ("2028-02", "2028-03-01"), ("2026-01", "2026-02-01")]
)
def test_a_month_ends_where_the_next_begins(text: str, until: str) -> None:
    assert month(text) == Period(moment(f"{text}-01"), moment(until))


@pytest.mark.parametrize("text", ["", "2026", "2026-13", "2026-00", "2026-1", "26-11", "0000-01", "9999-12", "2026-11-01", "２026-11"])
def test_other_months_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="is not a month") as refused:
        month(text)
    assert refused.value.resolution == "write it as in 2026-11"


def test_the_running_month_is_meant_where_nothing_is_said() -> None:
    assert period(None, None, None, NOW) == month("2026-11")


def test_a_period_goes_on_until_now_where_its_end_is_not_said() -> None:
    assert period("2026-11-20", None, None, NOW) == Period(moment("2026-11-20"), NOW)
    assert period("2026-11-20", "2026-11-21", None, NOW) == Period(moment("2026-11-20"), moment("2026-11-21"))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (("2026-11-02", "2026-11-01", None), "the period ends at 2026-11-01T00:00:00Z, and begins at 2026-11-02T00:00:00Z"),
        (("2026-11-02", "2026-11-02", None), "the period ends at"),
        ((None, "2026-11-02", None), "--until needs --since"),
        (("2026-11-01", None, "2026-11"), "--month is a period of its own"),
        ((None, "2026-11-01", "2026-11"), "--month is a period of its own"),
    ],
)
def test_periods_that_cannot_be_are_refused(asked: tuple[str | None, str | None, str | None], words: str) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        period(*asked, NOW)
    assert refused.value.resolution


def test_what_is_to_come_is_left_out() -> None:
    assert month("2026-11").before(NOW) == Period(moment("2026-11-01"), NOW)
    assert month("2026-10").before(NOW) == month("2026-10")
    with pytest.raises(UsageError, match="2026-12-01T00:00:00Z is to come"):
        month("2026-12").before(NOW)
