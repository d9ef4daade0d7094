"""All settings that a profile knows, with what becomes of a change: the answer to "what can I set, and what does it cost?". Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from labcloud.profiles.effects import readers, refresh_of
from labcloud.profiles.knowledge import DEPRECATED, Known, Refresh, knowledge
from labcloud.profiles.model import Profile


class Uptake(StrEnum):
    """What it takes until a change has its effect: nothing but the next client, a command, or a restart of a service at least."""

    CLIENT = "client"
    LIVE = "live"
    STATIC = "static"


@dataclass(frozen=True)
class Entry:
    """A setting. ``services`` read it; ``live`` has the commands that tell those of them that take it up as they run."""

    file: str
    name: str
    kind: str
    default: str
    change: Uptake
    services: tuple[str, ...]
    live: Mapping[str, str]


def catalogue(profile: Profile, pattern: str = "") -> list[Entry]:
    """The settings whose ``FILE:NAME`` matches ``pattern`` (with ``*``), or has it as a part; all, but for old names, without one."""
    known = knowledge(profile)
    chosen = (Known(file, name, kind) for file, table in known.names.items() for name, kind in table.items() if name not in known.known)
    return [
        _entry(profile, each)
        for each in sorted([*known.known.values(), *chosen])
        if (_matches(pattern, f"{each.file}:{each.name}") if pattern else each.kind != DEPRECATED)
    ]


def _matches(pattern: str, key: str) -> bool:
    return fnmatchcase(key, pattern) or fnmatchcase(key, f"*:{pattern}") if "*" in pattern else pattern in key


def _entry(profile: Profile, each: Known) -> Entry:
    services = readers(profile, each.file, each.name)
    told = {service: refresh_of(profile, service, f"{each.file}:{each.name}") for service in services}
    live = {service: _command(profile, service, refresh) for service, refresh in told.items() if refresh}
    change = Uptake.CLIENT if not services else Uptake.LIVE if len(live) == len(services) else Uptake.STATIC
    return Entry(each.file, each.name, each.kind, each.default, change, services, live)


def _command(profile: Profile, service: str, refresh: Refresh) -> str:
    """What tells the service, with ``{host}`` and values of settings still to be filled in."""
    text = " ".join(refresh.argv)
    for name, port in profile.services[service].ports.items():
        text = text.replace(f"{{port.{name}}}", str(port))
    return text
