"""Spans of time that usage is asked for, as people write them. Pure; times are UTC, and a span ends just before its end."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from labcloud.errors import UsageError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_MONTH: Final = re.compile(r"[0-9]{4}-[0-9]{2}")
_EXAMPLE: Final = "write a day or a time in UTC, as in 2026-11-01 or 2026-11-01T18:00:00Z"


@dataclass(frozen=True)
class Period:
    """From ``since`` up to ``until``, which is not in it any more; both in UTC."""

    since: datetime
    until: datetime

    def before(self, now: datetime) -> Period:
        """The part that is over at ``now``. Raise UsageError if it has not begun."""
        if self.since > now:
            raise UsageError(f"{stamp(self.since)} is to come", resolution="ask for a time that has begun")
        return Period(self.since, min(self.until, now))


def milliseconds(moment: datetime) -> int:
    """``moment`` in milliseconds since 1970."""
    return (moment - _EPOCH) // _MILLISECOND


def moment(text: str) -> datetime:
    """The time that ``text`` says, to the second: a day is its beginning, no time zone is UTC. Raise UsageError on anything else."""
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError) as exc:
        raise UsageError(f"{text!r} is not a time", resolution=_EXAMPLE) from exc


def month(text: str) -> Period:
    """The month that ``text`` names (``2026-11``). Raise UsageError on anything else."""
    try:
        if not _MONTH.fullmatch(text):
            raise ValueError(text)  # noqa: TRY301 - one sentence for all that is no month
        begin = datetime.strptime(f"{text}-01 +0000", "%Y-%m-%d %z").astimezone(UTC)
        return Period(begin, _following(begin))
    except (ValueError, OverflowError) as exc:
        raise UsageError(f"{text!r} is not a month", resolution="write it as in 2026-11") from exc


def period(since: str | None, until: str | None, of_month: str | None, now: datetime) -> Period:
    """What ``--since``, ``--until`` and ``--month`` ask for: the running month where they are not given.

    Raise UsageError for what they cannot mean.
    """
    if of_month is not None:
        if since is not None or until is not None:
            raise UsageError("--month is a period of its own", resolution="leave out --since and --until, or --month")
        return month(of_month)
    if since is None:
        if until is not None:
            raise UsageError("--until needs --since", resolution="say when the period begins, too")
        begin = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return Period(begin, _following(begin))
    asked = Period(moment(since), now if until is None else moment(until))
    if until is not None and asked.until <= asked.since:
        raise UsageError(
            f"the period ends at {stamp(asked.until)}, and begins at {stamp(asked.since)}", resolution="--until comes after --since"
        )
    return asked


def stamp(moment: datetime) -> str:
    """``2026-11-21T18:00:00Z``: a time as files, tables and JSON have it, in UTC, to the second."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _following(begin: datetime) -> datetime:
    """The first moment of the month after the one that begins at ``begin``."""
    return (begin + timedelta(days=31)).replace(day=1)
