"""What images/ declares, as values. Reads the files there; knows neither profiles nor an engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml

from labcloud.errors import ConfigError

FOLDER: Final = Path(__file__).resolve().parents[2] / "images"
_T = TypeVar("_T")


@dataclass(frozen=True)
class System:
    """The operating system: ``from_image`` of a hub with ``packages`` added, or else made of ``suites``."""

    suites: list[str]
    packages: list[str]
    epoch: int
    security: str = ""
    from_image: str = ""
    exclude: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class User:
    id: int
    group: str
    home: str
    groups: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Base:
    """Users, folders, supervision. ``files`` is a folder under images/."""

    parent: str
    files: str
    groups: dict[str, int]
    users: dict[str, User]
    folders: list[dict[str, str]]
    links: dict[str, str]
    environment: dict[str, str]
    entrypoint: list[str]


@dataclass(frozen=True)
class Java:
    """A Java runtime: ``root`` of ``package`` in ``suite``, without ``drop``; ``class_archive``: arguments that make its own archive."""

    parent: str
    java: int
    suite: str
    package: str
    root: str
    drop: list[str] = field(default_factory=list)
    class_archive: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Machine:
    """What makes an image a machine's own. ``files`` is a folder under images/; ``units`` of systemd run, those ``masked`` never do.

    ``spare``: MiB of the root file system that are free; ``memory``: MiB, the least for such a machine.
    """

    parent: str
    files: str
    packages: list[str]
    folders: list[str]
    units: list[str]
    masked: list[str]
    kernel_options: str
    spare: int
    memory: int


@dataclass(frozen=True)
class Helper:
    """What is no node: ``packages`` of Debian, and ``files``, a folder under images/."""

    parent: str
    files: str
    packages: list[str]


@dataclass(frozen=True)
class StackRules:
    """What all stacks have in common.

    ``placement``: pairs of a pattern of jar names and a folder; ``libraries``: patterns of the jars that the JVM's own loader may
    load; ``not_in_libraries``: names of files that they have and it must not find.
    """

    files: str
    build: str
    placement: list[list[str]]
    webapps: list[str]
    class_path: list[str]
    not_on_class_path: list[str]
    libraries: list[str]
    not_in_libraries: list[str]


_KINDS: Final[Mapping[str, type]] = {
    "system": System,
    "base": Base,
    "java": Java,
    "machine": Machine,
    "helper": Helper,
    "stack": StackRules,
}


@dataclass(frozen=True)
class Declarations:
    """Everything under ``folder``, by name: ``debian``, ``base``, ``java-8``, ``machine``, …"""

    folder: Path
    images: Mapping[str, System | Base | Java | Machine | Helper]
    stack: StackRules

    @property
    def epoch(self) -> int:
        """The time of every file that a build makes, in seconds since 1970."""
        return next(each.epoch for each in self.images.values() if isinstance(each, System))

    def lock_path(self, name: str) -> Path:
        return self.folder / f"{name}.lock.yaml"

    def text(self, name: str) -> str:
        """The declaration as it is written, for digests."""
        return (self.folder / f"{name}.yaml").read_text(encoding="utf-8")


def load(folder: Path = FOLDER) -> Declarations:
    """Read all declarations. Raise ConfigError, naming the file, if one is wrong."""
    read = {path.stem: _read(path) for path in sorted(folder.glob("*.yaml")) if not path.name.endswith(".lock.yaml")}
    stack = read.pop("stack", None)
    if not isinstance(stack, StackRules) or not any(isinstance(each, System) for each in read.values()):
        raise ConfigError(f"{folder}: no operating system or no stack is declared", resolution="restore the files that labcloud brings")
    return Declarations(folder, read, stack)


def _read(path: Path) -> Any:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        kind = _KINDS[content.pop("kind")]
    except (yaml.YAMLError, KeyError, AttributeError) as exc:
        raise ConfigError(f"{path} declares no image", details=str(exc), resolution=f"say 'kind:', one of {', '.join(_KINDS)}") from exc
    if "from" in content:
        content["from_image"] = content.pop("from")
    if kind is Base:
        content["users"] = {name: _make(User, user, path) for name, user in content.get("users", {}).items()}
    return _make(kind, content, path)


def _make(kind: type[_T], content: Mapping[str, Any], path: Path) -> _T:
    unknown = set(content) - {each.name for each in fields(kind)}  # type: ignore[arg-type]
    if unknown:
        raise ConfigError(f"{path}: unknown key {sorted(unknown)[0]!r}", resolution="correct its spelling, or remove it")
    try:
        return kind(**content)
    except TypeError as exc:
        raise ConfigError(f"{path}: something is missing", details=str(exc), resolution="add it; images/ has examples") from exc
