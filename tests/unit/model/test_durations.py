"""Lengths of time, read and written."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labcloud.errors import UsageError
from labcloud.model import format_duration, parse_duration


@given(st.integers(1, 366 * 1440))
def test_a_length_of_time_is_written_back_the_same(minutes: int) -> None:
    assert parse_duration(format_duration(timedelta(minutes=minutes))) == timedelta(minutes=minutes)


@given(st.timedeltas(timedelta(minutes=1), timedelta(days=300)))
def test_seconds_are_left_out(duration: timedelta) -> None:
    assert timedelta() <= duration - parse_duration(format_duration(duration)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("8h", 480),
        ("30m", 30),
        ("2d", 2880),
        ("1d12h", 2160),
        ("1d12h30m", 2190),
        ("1w", 10080),
        (" 90M ", 90),
        ("366d", 366 * 1440),
        ("36h", 2160),
    ],
)
def test_lengths_of_time_as_people_write_them(text: str, minutes: int) -> None:
    assert parse_duration(text) == timedelta(minutes=minutes)


@pytest.mark.parametrize(
    "text", ["", " ", "8", "h", "-8h", "8 h", "8h 30m", "1.5h", "30m8h", "8h8h", "8s", "８h", "1h\n2m", "9" * 50 + "h", "1y", "+1h"]
)
def test_other_texts_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="is not a length of time") as refused:
        parse_duration(text)
    assert "1d12h" in refused.value.resolution


@pytest.mark.parametrize("text", ["0m", "0h", "0d0h0m", "367d", "9999d", "366d1m", "999999m", "9999w"])
def test_absurd_lengths_are_refused_with_the_limits(text: str) -> None:
    with pytest.raises(UsageError, match="is no useful length of time") as refused:
        parse_duration(text)
    assert refused.value.resolution == "give from 1m to 366d"


@pytest.mark.parametrize(("seconds", "text"), [(0, "0m"), (59, "0m"), (60, "1m"), (-100, "0m"), (86400, "1d"), (90061, "1d1h1m")])
def test_lengths_of_time_for_people(seconds: int, text: str) -> None:
    assert format_duration(timedelta(seconds=seconds)) == text
