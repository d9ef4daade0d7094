"""The hosts of an engine, what runs on them, and its way from one host to another. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from labcloud.model.names import NodeRef

MOVED: Final = "VERIFY_RESIZE"
"""The state of a server that was moved cold, until somebody confirms it."""


@dataclass(frozen=True)
class Host:
    """A machine of the engine's that runs servers.

    ``up``: it reports to the engine, last at ``heard`` (ISO 8601, UTC). ``enabled``: it gets new servers; if not, ``reason`` says why.
    ``fenced``: an administrator has said that it is off. ``hypervisor`` is its kind (``QEMU``) and ``version`` the engine's number for it.
    ``connected``: whether its network agent works; None if it has none.
    """

    name: str
    up: bool = True
    enabled: bool = True
    reason: str = ""
    heard: str = ""
    fenced: bool = False
    zone: str = ""
    hypervisor: str = ""
    version: int = 0
    id: str = ""
    connected: bool | None = None


class Need(StrEnum):
    """What binds a server to its host, or to hosts of its kind."""

    DEVICE = "a device of its host"
    DIRECT_PORT = "a port that leads into its host's network card"
    PINNED = "processors of its own"
    HUGE_PAGES = "huge pages"
    ENCLAVE = "encrypted memory"


@dataclass(frozen=True)
class Group:
    """A server group: its ``policy`` is ``affinity`` or ``anti-affinity``, or either of them with ``soft-`` before it."""

    id: str
    policy: str
    members: frozenset[str] = frozenset()

    @property
    def hard(self) -> bool:
        return not self.policy.startswith("soft-")

    @property
    def apart(self) -> bool:
        return self.policy.endswith("anti-affinity")


@dataclass(frozen=True)
class Guest:
    """A server, of this lab's or of anybody's. ``ref`` is the node that it is, if it is one of this lab's.

    ``state`` and ``task`` are the engine's words. ``memory`` is MiB; ``disk`` is GiB on its host, which a move has to copy where hosts
    share no storage; ``volumes`` is how many disks it has elsewhere, and ``local`` are the numbers of a node's data volumes that are on its
    host. ``resources`` is what a host must have left for it, and ``traits`` what it must be able to do, in Placement's words.
    """

    id: str
    name: str
    host: str
    state: str
    task: str = ""
    ref: NodeRef | None = None
    memory: int = 0
    disk: int = 0
    volumes: int = 0
    resources: Mapping[str, int] = field(default_factory=dict)
    traits: frozenset[str] = frozenset()
    local: frozenset[int] = frozenset()
    config_drive: bool = False
    needs: frozenset[Need] = frozenset()
    group: Group | None = None

    @property
    def label(self) -> str:
        """What people know it by."""
        return str(self.ref or self.name)


@dataclass(frozen=True)
class Room:
    """What a host has, and what is taken, of each resource."""

    capacity: Mapping[str, int] = field(default_factory=dict)
    used: Mapping[str, int] = field(default_factory=dict)

    def left(self, resource: str) -> int:
        return self.capacity.get(resource, 0) - self.used.get(resource, 0)

    def holds(self, wanted: Mapping[str, int]) -> bool:
        return all(self.left(name) >= amount for name, amount in wanted.items() if name in self.capacity)

    def after(self, taken: Mapping[str, int]) -> Room:
        """The same with ``taken`` in use as well."""
        return Room(self.capacity, {name: self.used.get(name, 0) + taken.get(name, 0) for name in {*self.used, *taken}})

    def free_share(self, resource: str) -> float:
        """From 0 to 1."""
        return self.left(resource) / self.capacity[resource] if self.capacity.get(resource) else 0.0


class How(StrEnum):
    """``LIVE``: it runs all the while. ``RESTART``: it runs while its disk is copied, is stopped for the last of that, and starts anew.
    ``COLD``: it is off while its disk is copied. ``REBUILD``: its host is gone, and it is made anew."""

    LIVE = "live"
    RESTART = "restart"
    COLD = "cold"
    REBUILD = "rebuild"


class Phase(StrEnum):
    """How far a move is. ``WAITING``: its host has others to move first. ``COPYING``: only now can it be completed by force."""

    WAITING = "waiting"
    PREPARING = "preparing"
    COPYING = "copying"
    FINISHING = "finishing"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def over(self) -> bool:
        return self in (Phase.DONE, Phase.CANCELLED, Phase.FAILED)


@dataclass(frozen=True)
class Migration:
    """One move of one server, as the engine tells of it: from ``source`` to ``target`` (empty until it is chosen);
    ``word`` is the engine's for its phase.

    Bytes are 0 where the engine does not count them: ``memory_left`` of ``memory``, ``disk_left`` of ``disk``. ``pause`` is how many
    seconds the server stood still, where the engine says that; ``note`` is what went wrong behind a server that has arrived.
    """

    id: str
    server: str
    phase: Phase
    source: str = ""
    target: str = ""
    how: How = How.LIVE
    word: str = ""
    memory: int = 0
    memory_left: int = 0
    disk: int = 0
    disk_left: int = 0
    pause: float = 0.0
    note: str = ""
