"""When something is done again and again: at a time of day, and once in a week or a month. Pure; all times are UTC."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import Final

from labcloud.errors import UsageError

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_NEVER: Final = "never"
_TIME: Final = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")
_DAY: Final = timedelta(days=1)
_FORM: Final = "write a time of day in UTC, as in 02:00 or '02:00 mon,thu', or never"


@dataclass(frozen=True)
class Schedule:
    """Daily ``at`` a time of day (UTC, to the minute), or only on those ``days`` (0 is Monday, in order); never where ``at`` is None."""

    at: time | None
    days: tuple[int, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """What ``02:00``, ``02:00 mon,thu`` or ``never`` says. Raise UsageError on anything else."""
        if text == _NEVER:
            return NEVER
        clock, _, named = text.strip().lower().partition(" ")
        found, names = _TIME.fullmatch(clock), [each.strip() for each in named.split(",")] if named.strip() else []
        if not found or not text.isascii() or not set(names) <= set(WEEKDAYS):
            raise UsageError(f"{text!r} is no schedule", resolution=_FORM)
        days = tuple(sorted({WEEKDAYS.index(name) for name in names}))
        return cls(time(int(found[1]), int(found[2])), () if len(days) == len(WEEKDAYS) else days)

    def __str__(self) -> str:
        """As `parse` reads it."""
        if self.at is None:
            return _NEVER
        return f"{self.at:%H:%M}" + (f" {','.join(WEEKDAYS[day] for day in self.days)}" if self.days else "")

    def last_due(self, now: datetime) -> datetime | None:
        """The newest moment of the schedule that is not after ``now`` (with a time zone); None for one that never comes."""
        return self._nearest(now, -1)

    def next_due(self, now: datetime) -> datetime | None:
        """The first moment of the schedule after ``now`` (with a time zone); None for one that never comes."""
        return self._nearest(now, 1)

    def _nearest(self, now: datetime, direction: int) -> datetime | None:
        if self.at is None:
            return None
        today = datetime.combine(now.astimezone(UTC).date(), self.at, UTC)
        around = (today + direction * distance * _DAY for distance in range(len(WEEKDAYS) + 1))
        return next(each for each in around if (each > now) == (direction > 0) and (not self.days or each.weekday() in self.days))


NEVER: Final = Schedule(None)


class Often(StrEnum):
    """How often something is done that has no time of day: once in each week, or month, of the calendar."""

    NEVER = "never"
    WEEKLY = "weekly"
    MONTHLY = "monthly"

    def last_due(self, now: datetime, of: str = "") -> datetime | None:
        """The newest midnight, not after ``now`` (with a time zone), from which it is to be done again; None for never.

        What is asked for under several names (``of``) is spread over the days of the week, or the first 28 of the month, always the
        same day for one name: so not all of a lab's come in one night.
        """
        if self is Often.NEVER:
            return None
        midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        chance = zlib.crc32(of.encode())
        if self is Often.WEEKLY:
            return midnight - (midnight.weekday() - chance) % 7 * _DAY
        day = 1 + chance % 28
        month = midnight if midnight.day >= day else midnight.replace(day=1) - _DAY
        return month.replace(day=day)


def parse_often(text: str) -> Often:
    """What ``text`` says. Raise UsageError unless it is never, weekly or monthly."""
    try:
        return Often(text)
    except ValueError as exc:
        raise UsageError(f"{text!r} does not say how often", resolution=f"write one of {', '.join(Often)}") from exc
