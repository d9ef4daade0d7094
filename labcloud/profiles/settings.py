"""Whether settings that people give are known to a version of Hadoop, in the right file, and of the right kind. Pure.

Hadoop itself says nothing of any of this: a name that it does not know is ignored, ``getBoolean`` takes its default for what is neither
true nor false, and ``getInt`` ends the daemon when it gets to it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from labcloud.profiles.knowledge import DEPRECATED, TEXT, Knowledge, Known, knowledge
from labcloud.profiles.model import Profile

_CUTOFF: Final = 0.8
_INT: Final = 2**31
_LONG: Final = 2**63
_NUMBER: Final = re.compile(r"[+-]?\d+")
_HEX: Final = re.compile(r"[+-]?0[xX][0-9a-fA-F]+")
_SIZE: Final = re.compile(r"[+-]?\d+[kKmMgGtTpPeE]?")
_DURATION: Final = re.compile(r"[+-]?\d+(?:ns|us|ms|s|m|h|d)?", re.IGNORECASE)
_DECIMAL: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[fFdD]?")


class Level(StrEnum):
    """``ERROR``: the value does not work. ``WARNING``: it has no effect, or will not have one in later versions."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class SettingFinding:
    """What is wrong with the setting ``key`` (``FILE:NAME``): ``text`` is a clause of a sentence, ``resolution`` what to write instead."""

    key: str
    level: Level
    text: str
    resolution: str

    def __str__(self) -> str:
        return f"{self.key}: {self.text}; {self.resolution}"


def check_settings(profile: Profile, settings: Mapping[str, str]) -> list[SettingFinding]:
    """Everything that is wrong with ``settings`` (``{"FILE:NAME": value}``), errors first.

    Nothing is unknown or out of place for a profile whose own jars nobody read. Files that the profile does not have, and names that
    are none, are `user_settings`' to refuse.
    """
    known = knowledge(profile)
    found = [each for key, value in settings.items() for each in _check(known, profile.name, key, value)]
    return sorted(found, key=lambda each: each.level)


def find(known: Knowledge, file: str, name: str) -> Known | None:
    """The setting of that name: by name alone, or by the patterns of its file, and then of the others; None if there is none such."""
    if exact := known.known.get(name):
        by_hand = known.names[exact.file].get(name) if exact.kind == TEXT and exact.file in known.names else None
        return replace(exact, kind=by_hand) if by_hand else exact
    for each in (file, *known.names):
        if each in known.names and (kind := known.names[each].get(name)):
            return Known(each, name, kind)
    return None


def _check(known: Knowledge, profile: str, key: str, value: str) -> Iterable[SettingFinding]:
    file, _, name = key.partition(":")
    found = find(known, file, name)
    if found is None:
        if known.stack:
            yield _unknown(known, profile, key)
        return
    current: Known | None = found
    if found.kind == DEPRECATED:
        current = find(known, file, found.default)
        if known.stack:
            yield SettingFinding(key, Level.WARNING, f"{name} is an old name", f"write {found.default} instead")
    elif known.stack and found.file != file:
        yield SettingFinding(key, Level.WARNING, f"{name} belongs into {found.file}", f"write {found.file}:{name}")
    if current is not None and value != current.default and (expected := wrong(current.kind, value)):
        yield SettingFinding(key, Level.ERROR, f"{value!r} is not {expected}", f"give {_EXAMPLES[current.kind]}")


def _unknown(known: Knowledge, profile: str, key: str) -> SettingFinding:
    name = key.partition(":")[2]
    near = difflib.get_close_matches(name, known.known, n=1, cutoff=_CUTOFF)
    hint = f"see 'labcloud profile settings {profile}' for what there is"
    if near:
        hint = f"did you mean {known.known[near[0]].file}:{near[0]}?"
    return SettingFinding(key, Level.WARNING, f"{known.stack} knows no setting {name}", hint)


def wrong(kind: str, value: str) -> str:
    """What ``value`` would have to be, and is not; empty if all is well. What refers to other settings (``${…}``) is let pass."""
    text = value.strip()
    if "${" in text or kind not in _TESTS or _TESTS[kind](text):
        return ""
    return _EXPECTED[kind]


def _boolean(text: str) -> bool:
    return text.lower() in {"true", "false"}


def _whole(limit: int) -> Callable[[str], bool]:
    def test(text: str) -> bool:
        if _HEX.fullmatch(text):
            return -limit <= int(text, 16) < limit
        return bool(_NUMBER.fullmatch(text)) and -limit <= int(text) < limit

    return test


# As Configuration.getBoolean, getInt, getLong, getFloat, getLongBytes and getTimeDuration read them.
_TESTS: Final[Mapping[str, Callable[[str], bool]]] = {
    "boolean": _boolean,
    "int": _whole(_INT),
    "long": _whole(_LONG),
    "float": lambda text: bool(_DECIMAL.fullmatch(text)),
    "size": lambda text: bool(_SIZE.fullmatch(text)),
    "duration": lambda text: bool(_DURATION.fullmatch(text)),
}
_EXPECTED: Final = {
    "boolean": "true or false",
    "int": "a whole number of at most 2147483647",
    "long": "a whole number",
    "float": "a number",
    "size": "a size: a whole number of bytes, with k, m, g, t, p or e after it for more",
    "duration": "a duration: a whole number, with ns, us, ms, s, m, h or d after it",
}
_EXAMPLES: Final = {
    "boolean": "true or false",
    "int": "digits only",
    "long": "digits only",
    "float": "a number as in 0.75",
    "size": "a size as in 128m",
    "duration": "a duration as in 30s",
}
