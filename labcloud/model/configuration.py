"""What may be configured beside a profile, and at which levels of a lab. Pure: knows no files and evaluates nothing.

Lowest first, the later one wins: the lab's base, the profile with its parents, the lab's bindings, the tenant, the cluster, the group, the
node; a binding comes right after the level that it is bound to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from labcloud.model.storage import NO_CLASSES, Classes


def _nothing() -> Mapping[str, str]:
    return MappingProxyType({})


class Level(StrEnum):
    """Where a configuration is said, in the order in which one overrides another. ``BASE`` lies below the profile, the others above it."""

    BASE = "base"
    LAB = "lab"
    TENANT = "tenant"
    CLUSTER = "cluster"
    GROUP = "group"
    NODE = "node"


ABOVE_PROFILE: Final = tuple(level for level in Level if level is not Level.BASE)


@dataclass(frozen=True)
class NodeFile:
    """A file that nodes shall have: ``content``, or what the file ``source`` below the lab repository's ``files/`` says; as a template
    (jinja2) where ``template`` is true. ``mode`` is octal, as text."""

    content: str = ""
    source: str = ""
    template: bool = False
    owner: str = "root"
    group: str = "root"
    mode: str = "0644"


@dataclass(frozen=True)
class NodeFolder:
    """A folder that nodes shall have; ``mode`` is octal, as text."""

    owner: str = "root"
    group: str = "root"
    mode: str = "0755"


@dataclass(frozen=True)
class Configuration:
    """What one level says.

    ``settings`` are Hadoop's (``{"hdfs-site:dfs.replication": "2"}``), ``environment`` is for services and shells, ``files`` and
    ``directories`` are by their paths on nodes, ``packages`` are Debian's, with a version or without (``jq``, ``jq=1.6-2.1``), ``health``
    has the texts of scripts that say whether a node is well, by their names.
    """

    settings: Mapping[str, str] = field(default_factory=_nothing)
    environment: Mapping[str, str] = field(default_factory=_nothing)
    files: Mapping[str, NodeFile] = field(default_factory=lambda: MappingProxyType({}))
    directories: Mapping[str, NodeFolder] = field(default_factory=lambda: MappingProxyType({}))
    packages: tuple[str, ...] = ()
    health: Mapping[str, str] = field(default_factory=_nothing)

    def __bool__(self) -> bool:
        return bool(self.settings or self.environment or self.files or self.directories or self.packages or self.health)


NO_CONFIGURATION: Final = Configuration()
"""What a level says that says nothing."""


@dataclass(frozen=True)
class NodeOverride:
    """What one node has of its own. ``memory`` (MiB) and ``cpus`` are its group's where they are None."""

    memory: int | None = None
    cpus: float | None = None
    labels: Mapping[str, str] = field(default_factory=_nothing)
    configuration: Configuration = NO_CONFIGURATION


@dataclass(frozen=True)
class Binding:
    """A configuration for all nodes for which ``where`` holds (an expression; all nodes if it is empty), as if ``level`` said it."""

    name: str
    configuration: Configuration
    level: Level = Level.LAB
    where: str = ""


@dataclass(frozen=True)
class Layer:
    """A configuration that holds for a node, and who says so: the file in the lab repository, and where in it."""

    level: Level
    source: str
    configuration: Configuration
    place: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shared:
    """What a lab says beside one cluster's own file: its base, its bindings, the cluster's tenant, its storage
    classes, and the texts below ``files/``."""

    base: Configuration = NO_CONFIGURATION
    bindings: tuple[Binding, ...] = ()
    tenant: Configuration = NO_CONFIGURATION
    sources: Mapping[str, str] = field(default_factory=_nothing)
    storage: Classes = field(default_factory=lambda: NO_CLASSES)
    log4j: str = ""


NOTHING_SHARED: Final = Shared()
"""A lab that says nothing beside its clusters' own files."""
