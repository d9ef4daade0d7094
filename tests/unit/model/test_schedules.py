"""When something is due again: at a time of day, in a week, in a month."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labcloud.errors import UsageError
from labcloud.model.schedules import NEVER, WEEKDAYS, Often, Schedule, parse_often

DAY = timedelta(days=1)
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)  # a Wednesday
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=zones)
times = st.builds(time, st.integers(0, 23), st.integers(0, 59))
some_days = st.sets(st.integers(0, 6), max_size=6).map(lambda days: tuple(sorted(days)))
schedules = st.builds(Schedule, times, some_days)


@given(schedules | st.just(NEVER))
def test_what_is_written_is_read_the_same(schedule: Schedule) -> None:
    assert Schedule.parse(str(schedule)) == schedule


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("02:00", Schedule(time(2))),
        ("2:05", Schedule(time(2, 5))),
        ("23:59 Thu, mon", Schedule(time(23, 59), (0, 3))),
        (f"02:00 {','.join(WEEKDAYS)}", Schedule(time(2))),
        ("never", NEVER),
    ],
)
def test_what_people_write_is_read(text: str, schedule: Schedule) -> None:
    assert Schedule.parse(text) == schedule


@pytest.mark.parametrize(
    "text", ["", "02", "24:00", "02:60", "02:00 someday", "02:00 mon,,tue", "daily", "02:00:00", "٠٢:٠٠", "02:00 mon tue"]
)
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no schedule") as refused:
        Schedule.parse(text)
    assert "02:00 mon,thu" in refused.value.resolution


@given(schedules, moments)
def test_the_moments_around_now_are_neighbours(schedule: Schedule, now: datetime) -> None:
    last, following = schedule.last_due(now), schedule.next_due(now)
    assert last is not None
    assert following is not None
    assert last <= now < following
    assert following - last <= 7 * DAY
    assert (following - last == DAY) or schedule.days
    for each in (last, following):
        assert (each.time(), each.utcoffset()) == (schedule.at, timedelta())
        assert not schedule.days or each.weekday() in schedule.days
    assert schedule.next_due(last) == following
    assert schedule.last_due(following - timedelta(microseconds=1)) == last


def test_never_has_no_moments() -> None:
    assert (NEVER.last_due(NOW), NEVER.next_due(NOW), Often.NEVER.last_due(NOW)) == (None, None, None)


def test_a_moment_counts_from_its_beginning() -> None:
    schedule = Schedule.parse("12:00 wed")
    assert (schedule.last_due(NOW), schedule.next_due(NOW)) == (NOW, NOW + 7 * DAY)


@given(st.sampled_from([Often.WEEKLY, Often.MONTHLY]), moments, st.text(max_size=5))
def test_once_in_each_period(often: Often, now: datetime, of: str) -> None:
    last = often.last_due(now, of)
    assert last is not None
    assert last <= now < last + (7 if often is Often.WEEKLY else 31) * DAY
    assert (last.time(), last.utcoffset()) == (time(), timedelta())
    assert often.last_due(last, of) == last
    before = often.last_due(last - DAY, of)
    assert before is not None
    length = (last - before).days
    assert length == 7 if often is Often.WEEKLY else 28 <= length <= 31


def test_names_are_spread_over_the_days() -> None:
    for often, most in ((Often.WEEKLY, 7), (Often.MONTHLY, 28)):
        assert len({often.last_due(NOW, f"acme/c{number}") for number in range(300)}) == most


def test_how_often_is_read() -> None:
    assert [parse_often(str(each)) for each in Often] == list(Often)
    with pytest.raises(UsageError, match="'daily' does not say how often"):
        parse_often("daily")
