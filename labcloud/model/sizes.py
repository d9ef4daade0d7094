"""Amounts of memory as people write them. Pure; the unit inside labcloud is MiB."""

from __future__ import annotations

import re
from typing import Final

from labcloud.errors import UsageError

_MEMORY: Final = re.compile(r"([1-9][0-9]{0,6})([mgMG])(?:i?[bB])?")
_VOLUME: Final = re.compile(r"([1-9][0-9]{0,6})([gtGT])(?:i?[bB])?")
_GIB: Final = {"g": 1, "t": 1024}
_MIB: Final = {"m": 1, "g": 1024}


def parse_memory(text: str) -> int:
    """Return MiB of ``2g``, ``512m``, ``2GiB``. Raise UsageError on anything else."""
    found = _MEMORY.fullmatch(text.strip())
    if not found:
        raise UsageError(f"{text!r} is not an amount of memory", resolution="write a whole number and a unit, as in 512m or 2g")
    return int(found[1]) * _MIB[found[2].lower()]


def parse_gigabytes(text: str) -> int:
    """Return GiB of ``20g``, ``20GiB``, ``1t``. Raise UsageError on anything else."""
    found = _VOLUME.fullmatch(text.strip())
    if not found:
        raise UsageError(f"{text!r} is not a size of volumes", resolution="write a whole number and a unit, as in 20g or 1t")
    return int(found[1]) * _GIB[found[2].lower()]


def format_memory(mib: int) -> str:
    """Return the shortest exact form of ``mib``: ``2g``, ``1536m``."""
    return f"{mib // 1024}g" if mib and mib % 1024 == 0 else f"{mib}m"


def format_bytes(count: int) -> str:
    """Return ``count`` bytes for a person: ``0 B``, ``1.4 MB``, ``103 MB`` (decimal units, as ``docker images`` prints)."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
