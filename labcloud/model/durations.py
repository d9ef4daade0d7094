"""Lengths of time as people write them. Pure; the unit inside labcloud is a `timedelta`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from labcloud.errors import UsageError

_DURATION: Final = re.compile(r"(?:([0-9]{1,4})w)?(?:([0-9]{1,4})d)?(?:([0-9]{1,5})h)?(?:([0-9]{1,6})m)?")
_UNITS: Final = (("w", 10080), ("d", 1440), ("h", 60), ("m", 1))
_LONGEST: Final = timedelta(days=366)
_MINUTE: Final = timedelta(minutes=1)


def parse_duration(text: str) -> timedelta:
    """Return what ``8h``, ``30m``, ``2d``, ``1d12h`` or ``1w`` says. Raise UsageError on anything else, on nothing and on over a year."""
    found = _DURATION.fullmatch(text.strip().lower()) if text.isascii() else None
    if not found or not found[0]:
        raise UsageError(
            f"{text!r} is not a length of time", resolution="write numbers with units, the largest first, as in 30m, 8h, 2d or 1d12h"
        )
    minutes = sum(int(number) * unit for number, (_, unit) in zip(found.groups("0"), _UNITS, strict=True))
    if not _MINUTE <= timedelta(minutes=minutes) <= _LONGEST:
        raise UsageError(f"{text!r} is no useful length of time", resolution=f"give from 1m to {_LONGEST.days}d")
    return timedelta(minutes=minutes)


def format_duration(duration: timedelta) -> str:
    """Return ``duration`` as `parse_duration` reads it, in days, hours and minutes; seconds are left out, and nothing is ``0m``."""
    minutes = max(0, duration // _MINUTE)
    text = ""
    for unit, length in _UNITS[1:]:
        count, minutes = divmod(minutes, length)
        text += f"{count}{unit}" if count else ""
    return text or "0m"
