"""What a changed configuration means for the services of one node: who goes on unchanged, who is told, who must start again. Pure.

It compares what each service was started with and what is rendered now: the files of one node's configuration as docs/node.md describes
them. Which service reads what, and which of it can be told to a running one, is data in the profile (settings.yaml). It does nothing
itself, and knows no engine.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from labcloud.profiles.formats import read_hadoop_xml
from labcloud.profiles.knowledge import Knowledge, Refresh, knowledge
from labcloud.profiles.model import Profile

Files = Mapping[str, str]
"""Texts by path: ``conf/hdfs-site.xml``, ``services/namenode``, ``node.env``."""

_CONF: Final = "conf/"
_XML: Final = ".xml"
_SERVICES: Final = "services/"
_NODE: Final = "node.env"
_HEAP: Final = re.compile(r"-Xmx(\d+[kmgKMG]?)\b")
_PLACEHOLDER: Final = re.compile(r"\{([^{}]+)\}")
# Read when a service starts and at no other time: what differs is right the next time by itself.
_AT_START: Final = frozenset({"SERVICE_AFTER"})


@dataclass(frozen=True)
class Change:
    """Something that differs: a setting (``hdfs-site:dfs.replication``), a variable, or a file as a whole (without values).
    None is for what was not there, or is not there any more."""

    what: str
    old: str | None = None
    new: str | None = None

    def __str__(self) -> str:
        if self.old is None and self.new is None:
            return self.what
        return f"{self.what} {_said(self.old)} → {_said(self.new)}"


@dataclass(frozen=True)
class Live:
    """How a running ``service`` is told: ``argv``, by ``user``, on the first node of the service ``at`` (on the service's own node, if
    that is ``service`` itself). If it fails, the service has to be restarted. It may still hold ``{host}``: see `on`.

    ``reconfigures``: it only begins; `status` asks how it ended. What is listed as failed there and is none of ``changes`` is
    what Hadoop sets in its configuration by itself.
    """

    service: str
    argv: tuple[str, ...]
    user: str
    at: str
    changes: tuple[Change, ...]
    reconfigures: bool = False

    def on(self, host: str) -> Live:
        """The same for the service on the node with this full host name."""
        return replace(self, argv=tuple(each.replace("{host}", host) for each in self.argv))

    @property
    def status(self) -> tuple[str, ...]:
        """What asks how a reconfiguration ended; empty for what ends by itself."""
        return (*self.argv[:-1], "status") if self.reconfigures else ()


@dataclass(frozen=True)
class Effects:
    """What a changed configuration means for a node: for each of its services one of ``unchanged``, ``live`` (by one command or several,
    in order) and ``restart`` (with what makes it necessary). ``clients`` are changes that no service reads: the next client has them."""

    unchanged: tuple[str, ...] = ()
    live: tuple[Live, ...] = ()
    restart: Mapping[str, tuple[Change, ...]] = field(default_factory=dict)
    clients: tuple[Change, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything has to be done, or is to be told."""
        return bool(self.live or self.restart or self.clients)


def effects(profile: Profile, group: str, before: Mapping[str, Files], after: Files) -> Effects:
    """What the configuration ``after`` means for a node of ``group``.

    ``before`` has for each service of the node what it was started with (`same` if that is one and the same); one that is not
    in it counts as changed altogether.
    """
    known = knowledge(profile)
    unchanged, live, restart = [], dict[str, list[Live]](), dict[str, tuple[Change, ...]]()
    clients: set[Change] = set()
    for service in profile.services_of(group):
        if service not in before:
            restart[service] = (Change("what it was started with is not known"),)
            continue
        verdict = _Verdict(profile, known, service, before[service], after)
        clients |= verdict.clients
        if verdict.restart:
            restart[service] = _in_order(verdict.restart)
        elif verdict.live:
            for name, changes in verdict.live.items():
                live.setdefault(name, []).append(verdict.command(known.refreshes[name], changes))
        else:
            unchanged.append(service)
    ordered = tuple(each for name in known.refreshes for each in live.get(name, ()))
    return Effects(tuple(unchanged), ordered, restart, _in_order(clients))


def same(profile: Profile, group: str, files: Files) -> dict[str, Files]:
    """``before`` for `effects`, where every service of the group was started with the same files."""
    return dict.fromkeys(profile.services_of(group), files)


def differences(before: Files, after: Files, service: str = "") -> list[Change]:
    """What differs in the files that services and clients read, and in ``service``'s own."""
    return list(_in_order({*_configuration(before, after), *_variables(before, after, _NODE), *_own(before, after, service)}))


class _Verdict:
    """What the differences mean for one service."""

    def __init__(self, profile: Profile, known: Knowledge, service: str, before: Files, after: Files) -> None:
        self._profile, self._known, self._service = profile, known, service
        self._before, self._after = before, after
        self.restart: set[Change] = set(_own(before, after, service))
        self.live: dict[str, list[Change]] = {}
        self.clients: set[Change] = set()
        for change in _variables(before, after, _NODE):
            self._take(change, (known.variables.get(change.what) or ()) if known.concerns else profile.services, None)
        for change in _configuration(before, after):
            self._take(change, self._readers(change.what), self._refresh(change.what))

    def _take(self, change: Change, readers: Iterable[str], refresh: str | None) -> None:
        if not readers:
            self.clients.add(change)
        elif self._service in readers and self._in_use(change.what):
            if refresh is None:
                self.restart.add(change)
            else:
                self.live.setdefault(refresh, []).append(change)

    def _readers(self, key: str) -> tuple[str, ...]:
        file, _, name = key.partition(":")
        return readers(self._profile, file, name)

    def _refresh(self, key: str) -> str | None:
        for name, each in self._known.refreshes.items():
            if each.service == self._service and each.covers(key) and self._filled(each) is not None:
                return name
        return None

    def _in_use(self, key: str) -> bool:
        condition = self._known.conditions.get(key.partition(":")[0])
        if condition is None:
            return True
        setting, _, value = condition.partition("=")
        return self._value(self._before, setting) == value

    def _value(self, files: Files, setting: str) -> str | None:
        file, _, name = setting.partition(":")
        known = self._known.known.get(name)
        return (read_hadoop_xml(files.get(f"{_CONF}{file}{_XML}")) or {}).get(name, known.default if known else None)

    def command(self, refresh: Refresh, changes: Iterable[Change]) -> Live:
        argv = self._filled(refresh) or ()
        return Live(self._service, argv, refresh.user, refresh.at, _in_order(changes), refresh.reconfigures)

    def _filled(self, refresh: Refresh) -> tuple[str, ...] | None:
        """The words of a command; None if a setting in them has no value that a command line can have."""
        values = {"host": "{host}", **{f"port.{name}": str(port) for name, port in self._profile.services[self._service].ports.items()}}
        for key in (key for word in refresh.argv for key in _PLACEHOLDER.findall(word) if ":" in key):
            value = self._value(self._after, key)
            if not value or value.startswith("-"):
                return None
            values[key] = value
        return tuple(_PLACEHOLDER.sub(lambda found: values[found[1]], word) for word in refresh.argv)


def readers(profile: Profile, file: str, name: str = "") -> tuple[str, ...]:
    """The services that read a setting, or a file as a whole, when they start: all of them, if the profile does not say."""
    known = knowledge(profile)
    table = known.concerns.get(file)
    found = [table.get(each) if table else None for each in known.replacements(name)]
    return tuple(each for each in profile.services if any(services is None or each in services for services in found))


def refresh_of(profile: Profile, service: str, key: str) -> Refresh | None:
    """How a running ``service`` is told of the setting ``FILE:NAME``; None if it cannot be."""
    return next((each for each in knowledge(profile).refreshes.values() if each.service == service and each.covers(key)), None)


# Differences


def _configuration(before: Files, after: Files) -> Iterator[Change]:
    for path in sorted({*before, *after}):
        if not path.startswith(_CONF) or before.get(path) == after.get(path):
            continue
        file = path.removeprefix(_CONF)
        old, new = (read_hadoop_xml(each.get(path)) if path.endswith(_XML) else None for each in (before, after))
        if old is None or new is None:
            yield Change(file)
        else:
            yield from _changed(old, new, f"{file.removesuffix(_XML)}:")


def _variables(before: Files, after: Files, path: str) -> Iterator[Change]:
    if before.get(path) != after.get(path):
        yield from _changed(_assignments(before.get(path)), _assignments(after.get(path)))


def _own(before: Files, after: Files, service: str) -> Iterator[Change]:
    """What differs in a service's own file, a heap being said as such."""
    for each in _variables(before, after, f"{_SERVICES}{service}"):
        heaps = [found[1] if (found := _HEAP.search(value or "")) else None for value in (each.old, each.new)]
        others = [_HEAP.sub("", value or "") for value in (each.old, each.new)]
        if heaps[0] != heaps[1]:
            yield Change("heap", *heaps)
        if others[0] != others[1] and each.what not in _AT_START:
            yield each


def _changed(old: Mapping[str, str], new: Mapping[str, str], prefix: str = "") -> Iterator[Change]:
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            yield Change(prefix + name, old.get(name), new.get(name))


def _assignments(text: str | None) -> dict[str, str]:
    """The variables of a file of shell assignments, as `shell_assignments` writes them."""
    pairs = (word.partition("=") for word in shlex.split(text or ""))
    return {name: value for name, _, value in pairs}


def _in_order(changes: Iterable[Change]) -> tuple[Change, ...]:
    return tuple(sorted(changes, key=str))


def _said(value: str | None) -> str:
    return "none" if value is None else value or "''"
