"""Placeholders of verdicts and actions, filled with the cases of results. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from labcloud.diagnosis.model import PLACEHOLDER, Action, Case, Command

_MOST: Final = 5
"""So many values are written out; of more, their number is."""


def fill(text: str, cases: Mapping[str, Sequence[Case]], names: Mapping[str, str]) -> str:
    """``text`` with ``{cluster}`` and its like, and with ``{RESULT.KEY}``: the values of all its cases, each once."""

    def value(placeholder: str) -> str:
        name, dot, key = placeholder.rpartition(".")
        return _joined(case.get(key, "") for case in cases.get(name, ())) if dot else names.get(placeholder, "")

    return PLACEHOLDER.sub(lambda found: value(found[1]), text)


def commands(actions: Sequence[Action], cases: Mapping[str, Sequence[Case]], names: Mapping[str, str]) -> tuple[Command, ...]:
    """What the actions of a cause come to: one command each, or one for each case; the same command once."""
    found: dict[Command, None] = {}
    for action in actions:
        for case in cases.get(action.each, ()) if action.each else ({},):
            own = {**names, **case}
            argv = tuple(fill(word, cases, own) for word in action.argv)
            on = fill(action.on, cases, own)
            found[Command(argv, action.safe, on, fill(action.user, cases, own) if on else "")] = None
    return tuple(found)


def _joined(values: object) -> str:
    unique = [each for each in dict.fromkeys(values) if each]  # type: ignore[call-overload]
    if len(unique) > _MOST:
        return f"{', '.join(unique[:_MOST])} and {len(unique) - _MOST} more"
    return ", ".join(unique)
