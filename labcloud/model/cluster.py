"""What is wanted: clusters, their groups of nodes, and what an engine must know to make a node. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from labcloud.model.names import ClusterRef, NodeRef

MAX_NODES = 5000
"""The most nodes that one cluster may declare."""

DEFAULT_VOLUME_SIZE = 10
"""GiB of a data volume, where nobody says otherwise."""

_NOTHING: Mapping[str, str] = MappingProxyType({})


class Wanted(StrEnum):
    """What shall become of a cluster. ``DELETED`` is for one whose deletion has begun and is finished by running it again."""

    RUNNING = "running"
    STOPPED = "stopped"
    DELETED = "deleted"


@dataclass(frozen=True)
class NodeGroup:
    """Nodes of one kind: ``count`` of them, each with ``memory`` MiB, ``cpus`` cores, ``volumes`` data volumes of ``volume_size`` GiB.

    ``used`` is the most that there ever were: the names from ``count`` up to it are retired (see `Cluster.retired`).
    """

    name: str
    count: int
    memory: int
    cpus: float = 1.0
    volumes: int = 1
    used: int = 0
    volume_size: int = DEFAULT_VOLUME_SIZE


class AtEnd(StrEnum):
    """What becomes of a cluster whose lease has ended."""

    STOP = "stop"
    DELETE = "delete"


@dataclass(frozen=True)
class Lease:
    """For how long a cluster is wanted: until ``until`` (UTC), and ``then`` it is stopped or deleted."""

    until: datetime
    then: AtEnd = AtEnd.STOP


@dataclass(frozen=True)
class Cluster:
    """A cluster as it is wanted.

    ``id`` is its identity for life (HDFS' cluster id is made of it): 32 hexadecimal digits. ``settings`` overrides the
    profile's Hadoop settings: ``{"hdfs-site:dfs.replication": "2"}``. ``image`` is the image that its nodes are made of,
    pinned when the cluster is created, so that a newer build changes no running cluster. ``publish`` fixes the host ports
    of user interfaces by service: ``{"namenode": 9870}``. ``state`` says whether it shall run, ``lease`` until when. ``datasets`` are the
    shared datasets that its nodes see, by name, with the version of each.
    """

    ref: ClusterRef
    profile: str
    provider: str
    id: str
    image: str
    groups: tuple[NodeGroup, ...]
    settings: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    publish: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    user_id: int = 20000
    state: Wanted = Wanted.RUNNING
    lease: Lease | None = None
    datasets: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def group(self, name: str) -> NodeGroup:
        return next(group for group in self.groups if group.name == name)

    def retired(self) -> Iterator[NodeRef]:
        """Names of nodes that were there once, and are not declared now.

        They stay excluded: HDFS counts the blocks of a node that left for as long as it takes the node for alive, and would
        delete real replicas for them.
        """
        for each in self.groups:
            yield from (NodeRef(self.ref, each.name, index) for index in range(each.count, each.used))

    def nodes(self, group: str | None = None) -> Iterator[NodeRef]:
        """Every declared node, group by group, in order."""
        for each in self.groups:
            if group in (None, each.name):
                yield from (NodeRef(self.ref, each.name, index) for index in range(each.count))


@dataclass(frozen=True)
class NodeSpec:
    """All that an engine must know to make one node.

    ``image`` is a reference the engine resolves; ``publish`` maps a port in the node to the port wanted on the host, 0 for any.
    """

    ref: NodeRef
    image: str
    profile: str
    memory: int
    cpus: float
    volumes: int
    publish: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def digest(self) -> str:
        """A short hash of all above: another digest on a found node means that it has drifted from what is wanted."""
        facts = [str(self.ref), self.image, self.memory, self.cpus, self.volumes, sorted(self.publish.items())]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
