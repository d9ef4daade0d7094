"""How long a live move takes, and how long its server stands still at the end. Pure.

Memory is copied while the server runs; what it has changed meanwhile is copied again, and again, until the rest can be copied within the
pause that is allowed: QEMU's pre-copy, docs/devel/migration. A server that changes more than the network takes never gets there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from labcloud.model.hosts import How

BANDWIDTH: Final = 110.0
"""MiB/s that a move gets, where nobody has said: what is left of a network of 1 Gbit/s."""

PAUSE: Final = 0.5
"""Seconds that a server may stand still: Nova's own ``live_migration_downtime``."""

PATIENCE: Final = 40.0
"""Seconds after which HDFS takes a DataNode for dead that says nothing, as profiles have it, and copies its blocks."""

_ROUNDS: Final = 64


class MaintenancePolicy(StrEnum):
    """Whether HDFS is told that a node will be away."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"

    def of(self, how: How, pause: float) -> bool:
        """Whether for a move that goes like this, with so many seconds of standing still: by itself where HDFS might lose patience."""
        long = how is How.COLD or pause > PATIENCE / 2
        return self is MaintenancePolicy.ALWAYS or (self is MaintenancePolicy.AUTO and long)


@dataclass(frozen=True)
class Load:
    """What a server does to its own memory: ``used`` MiB hold something, ``dirtied`` MiB/s are changed. None: nobody could measure it."""

    used: float | None = None
    dirtied: float | None = None


@dataclass(frozen=True)
class Estimate:
    """``seconds`` until the server runs on its new host, the ``pause`` at the end among them; ``copied`` is MiB. ``converges``: whether
    there is an end to it; if not, the figures are those of a move that is completed by force."""

    seconds: float
    pause: float
    copied: float
    converges: bool


def estimate(memory: float, load: Load, *, disk: float = 0, bandwidth: float = BANDWIDTH, allowed: float = PAUSE) -> Estimate:
    """For a server of ``memory`` MiB with ``disk`` MiB that have to be copied as well, over ``bandwidth`` MiB/s."""
    dirtied = load.dirtied or 0.0
    left = min(memory, load.used if load.used is not None else memory)
    copied = float(disk)
    rounds = 0
    while left / bandwidth > allowed and rounds < _ROUNDS:
        again = min(memory, dirtied * left / bandwidth)
        copied, rounds, ends = copied + left, rounds + 1, again >= left
        left = again
        if ends:
            break
    pause = left / bandwidth
    return Estimate((copied + left) / bandwidth, pause, copied + left, pause <= allowed)
