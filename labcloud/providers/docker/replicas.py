"""The home's copy of the data of a node that is on another Docker host: what snapshots and backups are made of, and restores come from.

It lies where the node's data would lie if the node were at home, so that a move back home brings what has changed since.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack

from labcloud.model import NodeRef
from labcloud.providers.base import Replica
from labcloud.providers.docker.carrying import Journey
from labcloud.providers.docker.estate import Estate


class DockerReplica(Replica):
    """Of the data of ``ref``, which is on ``host``. Helpers that fetch are made at first need, and last until it is closed."""

    def __init__(self, estate: Estate, ref: NodeRef, host: str) -> None:
        self._estate = estate
        self._ref = ref
        self._host = host
        self._coming: Journey | None = None
        self._undo = ExitStack()

    def fetch(self) -> bool:
        self._coming = self._coming or self._undo.enter_context(self._journey(self._host, ""))
        return self._coming.carry()

    def give(self) -> None:
        with self._journey("", self._host) as going:
            going.carry()

    def close(self) -> None:
        self._undo.close()

    def _journey(self, source: str, target: str) -> AbstractContextManager[Journey]:
        estate, ref = self._estate, self._ref
        estate.sweep(ref, {self._host})
        estate.join(ref.cluster.tenant)
        return estate.journey(ref, source, target, 1 + max(estate.volumes(ref, self._host), default=-1))
