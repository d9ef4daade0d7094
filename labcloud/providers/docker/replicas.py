"""The home's copy of the data of a node that is on another Docker host: what snapshots and backups are made of, and restores come from.

It lies where the node's data would lie if the node were at home, so that a move back home brings what has changed since.
"""

from __future__ import annotations

from contextlib import ExitStack

from labcloud.model import NodeRef
from labcloud.providers.base import Replica
from labcloud.providers.docker import carrying, remote
from labcloud.providers.docker.carrying import Journey
from labcloud.providers.docker.estate import Estate


class DockerReplica(Replica):
    """Of the data of ``ref``, which is on ``host``. Helpers are made when they are first needed, and last until it is closed."""

    def __init__(self, estate: Estate, ref: NodeRef, host: str) -> None:
        self._estate = estate
        self._ref = ref
        self._host = host
        self._ways: dict[tuple[str, str], Journey] = {}
        self._undo = ExitStack()

    def fetch(self) -> bool:
        return self._way(self._host, "").carry()

    def give(self) -> None:
        self._way("", self._host).carry()

    def close(self) -> None:
        self._ways.clear()
        self._undo.close()

    def _way(self, source: str, target: str) -> Journey:
        if (source, target) not in self._ways:
            estate, ref = self._estate, self._ref
            estate.sweep(ref, {self._host})
            estate.join(ref.cluster.tenant)
            numbers = [number for each, number in estate.on(self._host).find(cluster=ref.cluster).volumes if each == ref]
            mounts = remote.data_mounts(estate.lab, ref, 1 + max(numbers, default=-1))
            ends = (estate.end(ref, each, mounts) for each in (source, target))
            self._ways[source, target] = self._undo.enter_context(carrying.journey(estate.lab, ref, estate.carrier(self._host), *ends))
        return self._ways[source, target]
