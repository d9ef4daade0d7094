"""Marks of merge conflicts in a text: where they are, and what they say in the lines of one side. Pure."""

from __future__ import annotations

from typing import Final

_OURS: Final = "<<<<<<<"
_BASE: Final = "|||||||"
_MIDDLE: Final = "======="
_THEIRS: Final = ">>>>>>>"


def first_marker(text: str) -> int:
    """The line, counted from 1, where the first conflict begins; 0 if there is none. All three marks must be there, in order."""
    begun, middle = 0, False
    for number, line in enumerate(text.splitlines(), 1):
        if line == _OURS or line.startswith(f"{_OURS} "):
            begun, middle = number, False
        elif begun and line == _MIDDLE:
            middle = True
        elif begun and middle and (line == _THEIRS or line.startswith(f"{_THEIRS} ")):
            return begun
    return 0


def conflicting_lines(text: str) -> list[tuple[int, int]]:
    """For each conflict of a marked text, the first and the last line of it on our side, counted from 1 as if nothing were marked.

    Where our side has nothing, the last is before the first.
    """
    found: list[tuple[int, int]] = []
    number, start, counting = 0, 0, True
    for line in text.splitlines():
        if line.startswith(f"{_OURS} "):
            start = number + 1
        elif start and counting and (line.startswith(f"{_BASE} ") or line == _MIDDLE):
            found.append((start, number))
            counting = False
        elif start and line.startswith(f"{_THEIRS} "):
            start, counting = 0, True
        elif counting:
            number += 1
    return found
