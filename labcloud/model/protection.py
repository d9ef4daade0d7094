"""How clusters are protected: what lab, tenant and cluster say of it, what follows from that, and what is due. Pure.

Each of the three may say any of the keys; of one that several say, the cluster's counts before its tenant's, and that before the lab's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from difflib import get_close_matches
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, Final

from labcloud.errors import UsageError
from labcloud.model.schedules import NEVER, Often, Schedule, parse_often
from labcloud.model.targets import parse_credentials, parse_target

__all__ = [
    "DEFAULT",
    "KEEP_RULES",
    "NEVER",
    "NO_TERMS",
    "TERMS",
    "BackupPolicy",
    "BackupTerms",
    "Explained",
    "Keep",
    "Often",
    "Schedule",
    "changed",
    "drill_due",
    "due",
    "explain",
    "keep_rule",
    "over",
    "parse_count",
    "parse_credentials",
    "parse_keep",
    "parse_snapshots",
    "parse_switch",
    "parse_target",
    "resolve",
    "said",
]

_COUNT: Final = re.compile(r"0|[1-9][0-9]{0,3}")
_MOST_SNAPSHOTS: Final = 100


@dataclass(frozen=True)
class Keep:
    """How many backups stay: the ``last`` ones, and the newest of as many days, weeks and months that have one."""

    last: int = 3
    daily: int = 7
    weekly: int = 4
    monthly: int = 6

    @classmethod
    def parse(cls, text: str) -> Keep:
        """What ``last=3,daily=7`` says; rules that are not named are those that hold by default. Raise UsageError on anything else."""
        return cls(**parse_keep(text))

    def __str__(self) -> str:
        """As `parse` reads it."""
        return ",".join(f"{rule}={count}" for rule, count in self.rules.items())

    @property
    def rules(self) -> dict[str, int]:
        """The rules by name, in order."""
        return {rule: getattr(self, rule) for rule in KEEP_RULES}

    @property
    def keeps_nothing(self) -> bool:
        """Whether no backup would stay."""
        return not any(self.rules.values())


KEEP_RULES: Final = tuple(each.name for each in fields(Keep))


@dataclass(frozen=True)
class BackupTerms:
    """What one of lab, tenant and cluster says of backups; None is for what it does not say.

    ``keep`` has only the rules that are said. ``keep_snapshots`` is how many automatic snapshots stay on the cluster's own storage.
    ``credentials`` belong to the ``target``: who says another target says its credentials, too, or it has none.
    """

    enabled: bool | None = None
    schedule: Schedule | None = None
    keep: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    drill: Often | None = None
    target: str | None = None
    credentials: str | None = None
    keep_snapshots: int | None = None

    def __bool__(self) -> bool:
        """Whether it says anything."""
        return bool(said(self))


NO_TERMS: Final = BackupTerms()


@dataclass(frozen=True)
class BackupPolicy:
    """How a cluster is protected. An empty ``credentials`` is for a target that needs none."""

    target: str
    enabled: bool = True
    schedule: Schedule = field(default_factory=lambda: Schedule.parse("02:00"))
    keep: Keep = field(default_factory=Keep)
    drill: Often = Often.MONTHLY
    credentials: str = ""
    keep_snapshots: int = 1


DEFAULT: Final = "default"
"""Who says what nobody says."""


@dataclass(frozen=True)
class Explained:
    """A policy, and who says each key of it, by key (rules of ``keep`` as ``keep.daily``)."""

    policy: BackupPolicy
    sources: Mapping[str, str]


def said(terms: BackupTerms) -> dict[str, Any]:
    """What ``terms`` say, by key, in order; rules of ``keep`` as ``keep.daily``."""
    found: dict[str, Any] = {}
    for key in TERMS:
        value = getattr(terms, key)
        if key == "keep":
            found |= {f"keep.{rule}": value[rule] for rule in KEEP_RULES if rule in value}
        elif value is not None:
            found[key] = value
    return found


def over(terms: BackupTerms, below: BackupTerms) -> BackupTerms:
    """``terms``, and what ``below`` says of all that they do not; another target does not get the credentials of that below."""
    values = {key: getattr(terms, key) for key in TERMS}
    inherited = {key: getattr(below, key) for key in TERMS if values[key] is None}
    if terms.target is not None:
        inherited.pop("credentials", None)
    return BackupTerms(**values | inherited | {"keep": MappingProxyType({**below.keep, **terms.keep})})


def resolve(*terms: BackupTerms, home: str | PurePath) -> BackupPolicy:
    """What follows from ``terms``, of which a later one counts before an earlier one, key by key. Without a target backups lie in the
    folder ``backups`` of ``home``, the lab's own."""
    return explain({str(number): each for number, each in enumerate(terms)}, home=home).policy


def explain(layers: Mapping[str, BackupTerms], *, home: str | PurePath) -> Explained:
    """As `resolve`, with the name of the layer that says each key; `DEFAULT` where none does."""
    values: dict[str, Any] = {"target": f"{home}/backups"}
    sources = dict.fromkeys([*(key for key in TERMS if key != "keep"), *(f"keep.{rule}" for rule in KEEP_RULES)], DEFAULT)
    for name, terms in layers.items():
        new = said(terms)
        if "target" in new:
            new = {"credentials": "", **new}
        values |= new
        sources |= dict.fromkeys(new, name)
    rules = {rule: values.pop(f"keep.{rule}") for rule in KEEP_RULES if f"keep.{rule}" in values}
    return Explained(BackupPolicy(**values, keep=Keep(**rules)), MappingProxyType(sources))


def changed(terms: BackupTerms, wanted: Mapping[str, str], dropped: Sequence[str] = ()) -> BackupTerms:
    """``terms`` with the keys ``wanted``, as people write them, and without those that are ``dropped``.

    Rules of ``keep`` may be named one by one (``keep.daily``). Raise UsageError, with the nearest one, for a key that there is not,
    and for a value that cannot be.
    """
    values: dict[str, Any] = {key: getattr(terms, key) for key in TERMS}
    keep = dict(terms.keep)
    for key in dropped:
        whole, rule = _named(key)
        if whole != "keep":
            values[whole] = None
        for each in ([rule] if rule else KEEP_RULES) if whole == "keep" else ():
            keep.pop(each, None)
    for key, text in wanted.items():
        whole, rule = _named(key)
        if whole == "keep":
            keep |= {rule: parse_count(text)} if rule else parse_keep(text)
        else:
            values[whole] = TERMS[whole](text)
    return BackupTerms(**values | {"keep": MappingProxyType({rule: keep[rule] for rule in KEEP_RULES if rule in keep})})


def _named(key: str) -> tuple[str, str]:
    """The key of `TERMS`, and the rule of ``keep`` or nothing, that ``key`` names. Raise UsageError for a key that there is not."""
    known = [*TERMS, *(f"keep.{rule}" for rule in KEEP_RULES)]
    if key not in known:
        near = get_close_matches(key, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f"a backup policy has no {key!r}", resolution=f"{hint}known are {', '.join(known)}")
    whole, _, rule = key.partition(".")
    return whole, rule


# What is due


def due(policy: BackupPolicy, last_good: datetime | None, now: datetime) -> bool:
    """Whether a cluster is to be backed up at ``now`` (with a time zone): it has no good copy of after the schedule's last moment.

    So a night that was missed is made up. ``last_good`` is when its newest good copy was taken; one from the future, taken while the
    clock was wrong, counts as none.
    """
    moment = policy.schedule.last_due(now) if policy.enabled else None
    return moment is not None and _over(last_good, moment, now)


def drill_due(policy: BackupPolicy, last: datetime | None, now: datetime, *, of: str = "") -> bool:
    """Whether it is time to prove a copy by restoring it. ``last`` is when that was done last, ``of`` the cluster's name (see `Often`).

    One that was missed is made up. Copies that are made by hand alone are proved as well; whether there is one is for others to know.
    """
    moment = policy.drill.last_due(now, of) if policy.enabled else None
    return moment is not None and _over(last, moment, now)


def _over(last: datetime | None, moment: datetime, now: datetime) -> bool:
    return last is None or last < moment or last > now


# What people write


def parse_switch(text: str) -> bool:
    """Whether ``text`` says true (or on) or false (or off). Raise UsageError otherwise."""
    if text not in ("true", "false", "on", "off"):
        raise UsageError(f"{text!r} is neither true nor false", resolution="write true or false")
    return text in ("true", "on")


def parse_count(text: str) -> int:
    """How many copies ``text`` says. Raise UsageError unless it is a whole number from 0 to 9999."""
    if not _COUNT.fullmatch(text):
        raise UsageError(f"{text!r} is no number of copies", resolution="write a whole number from 0 to 9999")
    return int(text)


def parse_keep(text: str) -> dict[str, int]:
    """The rules that ``last=3,daily=7`` says. Raise UsageError on anything else."""
    found: dict[str, int] = {}
    for pair in text.split(","):
        rule, equals, count = pair.strip().partition("=")
        if not equals or keep_rule(rule) in found:
            raise UsageError(f"{text!r} does not say what to keep", resolution=f"write it as in {Keep()}")
        found[rule] = parse_count(count)
    return found


def keep_rule(text: str) -> str:
    """``text`` if it is a rule of what to keep. Raise UsageError, with the nearest one, otherwise."""
    if text not in KEEP_RULES:
        near = get_close_matches(text, KEEP_RULES, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f"there is no rule {text!r} of what to keep", resolution=f"{hint}known are {', '.join(KEEP_RULES)}")
    return text


def parse_snapshots(text: str) -> int:
    """How many automatic snapshots ``text`` says. Raise UsageError for what is no number, or more than the storage should hold."""
    count = parse_count(text)
    if count > _MOST_SNAPSHOTS:
        raise UsageError(f"{count} snapshots are too many", resolution=f"keep at most {_MOST_SNAPSHOTS}: each holds what was deleted since")
    return count


TERMS: Final[Mapping[str, Callable[[str], object]]] = MappingProxyType(
    {
        "enabled": parse_switch, "schedule": Schedule.parse, "keep": parse_keep, "drill": parse_often, "target": parse_target,
        "credentials": parse_credentials, "keep_snapshots": parse_snapshots,
    }
)  # fmt: skip
"""The keys of `BackupTerms`, and how each is read."""
