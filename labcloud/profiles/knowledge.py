"""What a profile's folders know of Hadoop's settings: ``known.tsv`` (read from the version's jars by `labcloud.profiles.known`) and
``settings.yaml`` (written by hand), each with what the profile extends merged in.

``known.tsv`` has lines of FILE, NAME, KIND and DEFAULT with tabs between, sorted. KIND is of `KINDS`, or ``deprecated`` (DEFAULT has what
to use instead), or ``absent`` (what the profile extends has the setting, it has not). The first line of a version's own file names its
stack. ``settings.yaml`` is described in docs/profiles.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import yaml

from labcloud.errors import ConfigError
from labcloud.profiles import files
from labcloud.profiles.model import Profile

if TYPE_CHECKING:
    from labcloud.profiles.schema import SettingsFile

FILE: Final = "known.tsv"
TABLES: Final = "settings.yaml"
STACK: Final = "#stack"
KINDS: Final = ("boolean", "int", "long", "float", "size", "duration", "text")
"""What a value has to be; the strictest first: one that is read in two ways has to suit both."""
DEPRECATED: Final = "deprecated"
ABSENT: Final = "absent"
TEXT: Final = "text"
ALL: Final = "all"

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Value = TypeVar("_Value")


@dataclass(frozen=True, order=True)
class Known:
    """A setting that a version knows. ``name`` may have ``*`` in place of a part that people choose."""

    file: str
    name: str
    kind: str
    default: str = ""


class Patterns(Generic[_Value]):
    """Names, some with ``*``, and what belongs to each. Of several that match, the one with the most letters of its own decides."""

    def __init__(self, table: Mapping[str, _Value]) -> None:
        self._table = dict(table)
        self._exact = {name: value for name, value in table.items() if "*" not in name}
        by_letters = sorted((name for name in table if "*" in name), key=lambda name: (-len(name.replace("*", "")), name))
        self._patterns = [(re.compile(translate(name)), table[name]) for name in by_letters]

    def get(self, name: str) -> _Value | None:
        """What belongs to ``name``; None if nothing does."""
        if name in self._exact:
            return self._exact[name]
        return next((value for pattern, value in self._patterns if pattern.match(name)), None)

    def items(self) -> Iterator[tuple[str, _Value]]:
        yield from self._table.items()


@dataclass(frozen=True)
class Refresh:
    """A way to tell a running ``service`` of changed ``settings`` (``FILE:PATTERN``, or a FILE as a whole; not those of ``but``).

    ``argv`` may have ``{host}`` (the node of the service that is told), ``{port.NAME}`` (the service's) and ``{FILE:NAME}`` (the new
    value of a setting); it runs on the node of the service ``at``, as ``user``. ``reconfigures``: it only begins; the same words with
    ``status`` for ``start`` say how it ended.
    """

    service: str
    argv: tuple[str, ...]
    user: str
    at: str
    settings: tuple[str, ...] = ()
    but: tuple[str, ...] = ()
    reconfigures: bool = False

    def covers(self, key: str) -> bool:
        """Whether ``FILE:NAME``, or FILE, is one of its settings."""
        return _matches(self.settings, key) and not _matches(self.but, key)


@dataclass(frozen=True)
class Knowledge:
    """What is known of a profile's settings.

    ``stack`` is whose jars were read; empty if nobody's were, and then no name is unknown. ``known`` is by name; ``names`` are those
    with a part that people choose, and kinds that neither default nor code tell, by file. ``concerns`` has by file which services
    read a setting, ``conditions`` the ``FILE:NAME=VALUE`` without which a service makes no use of a file, ``variables`` which services
    take up a variable of node.env, ``refreshes`` how they are told without a restart, in order.
    """

    stack: str
    known: Mapping[str, Known]
    names: Mapping[str, Patterns[str]]
    concerns: Mapping[str, Patterns[tuple[str, ...]]]
    conditions: Mapping[str, str]
    variables: Patterns[tuple[str, ...]]
    refreshes: Mapping[str, Refresh]

    def replacements(self, name: str) -> list[str]:
        """What to use instead of a deprecated name; itself if it is not deprecated."""
        found = self.known.get(name)
        return found.default.split(", ") if found and found.kind == DEPRECATED else [name]


def knowledge(profile: Profile) -> Knowledge:
    """Everything that the profile's folders know of settings. Raise ConfigError for a settings.yaml that is none."""
    return _knowledge(profile.folders, tuple(profile.services))


@lru_cache(maxsize=32)
def _knowledge(folders: tuple[Path, ...], services: tuple[str, ...]) -> Knowledge:
    stack, known = merged(folders)
    tables = _tables(folders)
    by_file: dict[str, dict[str, str]] = {}
    for each in known.values():
        if "*" in each.name:
            by_file.setdefault(each.file, {})[each.name] = each.kind
    for file, names in tables.names.items():
        by_file.setdefault(file, {}).update(names)

    def those(names: Sequence[str]) -> tuple[str, ...]:
        return services if names == ALL else tuple(each for each in names if each in services)

    return Knowledge(
        stack,
        {name: each for name, each in known.items() if "*" not in name},
        {file: Patterns(names) for file, names in by_file.items()},
        {file: Patterns({name: those(each) for name, each in table.items()}) for file, table in tables.concerns.items()},
        tables.conditions,
        Patterns({name: those(each) for name, each in tables.variables.items()}),
        {name: Refresh(**dict(each)) for name, each in tables.refreshes.items() if each.service in services},
    )


def _tables(folders: Sequence[Path]) -> SettingsFile:
    from pydantic import ValidationError

    from labcloud.profiles.schema import SettingsFile

    said: dict[str, Any] = {}
    for path in (folder / TABLES for folder in reversed(folders)):
        if path.is_file():
            said = files.merge(said, _document(path))
    try:
        return SettingsFile.model_validate(said)
    except ValidationError as exc:
        first = exc.errors()[0]
        raise ConfigError(
            f"{folders[0] / TABLES}:1: {'.'.join(map(str, first['loc']))}: {first['msg']}",
            details="it was merged with what the profile extends",
            resolution="correct the file; docs/profiles.md has the schema",
        ) from exc


def _document(path: Path) -> dict[str, Any]:
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - it is a safe loader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise ConfigError(f"{path}:1: cannot be read", details=str(exc), resolution="correct the file") from exc
    if not isinstance(document, dict):
        raise ConfigError(f"{path}:1: it is not a mapping", resolution="see docs/profiles.md for what it may say")
    return document


def read(path: Path) -> tuple[str, list[Known]]:
    """The stack that a known.tsv was read from (empty: it is what several share), and its lines."""
    stack, lines = "", []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        columns = line.split("\t")
        if columns[0] == STACK:
            stack = columns[1]
        elif len(columns) == len(Known.__dataclass_fields__):
            lines.append(Known(*columns))
        else:
            raise ConfigError(f"{path}:{number}: not FILE, NAME, KIND and DEFAULT", resolution="write it by labcloud.profiles.known")
    return stack, lines


def merged(folders: Sequence[Path]) -> tuple[str, dict[str, Known]]:
    """The stack, and what is known by name, of a profile whose ``folders`` are these (itself first); both empty if nothing is."""
    stack, known = "", dict[str, Known]()
    for path in (folder / FILE for folder in reversed(folders)):
        if path.is_file():
            own, lines = read(path)
            stack = own or stack
            known |= {each.name: each for each in lines}
    return stack, {name: each for name, each in known.items() if each.kind != ABSENT}


def _matches(patterns: Sequence[str], key: str) -> bool:
    return any(_compiled(pattern).match(key) for pattern in patterns)


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern))
