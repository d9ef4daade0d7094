"""What is wanted: clusters, their groups of nodes, and what an engine must know to make a node. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from labcloud.model.configuration import NO_CONFIGURATION, Configuration, NodeOverride
from labcloud.model.names import ClusterRef, NodeRef
from labcloud.model.protection import NO_TERMS, BackupTerms
from labcloud.model.storage import NodeVolume, Volume

MAX_NODES = 5000
"""The most nodes that one cluster may declare."""

# The version of how nodes are made: one that was made by an older version has drifted.
LAYOUT = 2

_NOTHING: Mapping[str, str] = MappingProxyType({})


class Wanted(StrEnum):
    """What shall become of a cluster. ``DELETED`` is for one whose deletion has begun and is finished by running it again."""

    RUNNING = "running"
    STOPPED = "stopped"
    DELETED = "deleted"


@dataclass(frozen=True)
class NodeGroup:
    """Nodes of one kind: ``count`` of them, each with ``memory`` MiB, ``cpus`` cores and the data ``volumes``, numbered from 0.

    ``used`` is the most that there ever were: the names from ``count`` up to it are retired (see `Cluster.retired`). ``labels`` are what
    bindings choose nodes by.
    """

    name: str
    count: int
    memory: int
    cpus: float = 1.0
    volumes: tuple[Volume, ...] = (Volume(),)
    used: int = 0
    labels: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    configuration: Configuration = NO_CONFIGURATION


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

    ``id`` is its identity for life (HDFS' cluster id is made of it): 32 hexadecimal digits. ``configuration`` overrides the
    profile's, each group's that, and each of ``own`` (by name of a node: ``worker-0``) its group's. ``image`` is the image that its
    nodes are made of, pinned when the cluster is created, so that a newer build changes no running cluster. ``publish`` fixes the
    host ports of user interfaces by service: ``{"namenode": 9870}``. ``state`` says whether it shall run, ``lease`` until when.
    ``labels`` are what bindings choose nodes by. ``datasets`` are the shared datasets that its nodes see, by name, with
    the version of each. ``restoring`` names the snapshot (``TENANT/CLUSTER@ID``) whose data it shall get before it runs: until then its
    own is not whole. ``origin`` names the one that it was made of. ``backup`` is what it says itself of how it is protected.
    """

    ref: ClusterRef
    profile: str
    provider: str
    id: str
    image: str
    groups: tuple[NodeGroup, ...]
    configuration: Configuration = NO_CONFIGURATION
    publish: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    user_id: int = 20000
    state: Wanted = Wanted.RUNNING
    lease: Lease | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    own: Mapping[str, NodeOverride] = field(default_factory=lambda: MappingProxyType({}))
    datasets: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    restoring: str = ""
    origin: str = ""
    backup: BackupTerms = NO_TERMS

    def group(self, name: str) -> NodeGroup:
        return next(group for group in self.groups if group.name == name)

    def retired(self) -> Iterator[NodeRef]:
        """Names of nodes that were there once, and are not declared now.

        They stay excluded: HDFS counts the blocks of a node that left for as long as it takes the node for alive, and would
        delete real replicas for them.
        """
        for each in self.groups:
            yield from (NodeRef(self.ref, each.name, index) for index in range(each.count, each.used))

    def size(self, ref: NodeRef) -> NodeGroup:
        """The group of a node, with the memory and cores that the node has of its own."""
        group, own = self.group(ref.group), self.own.get(ref.name)
        if own is None or (own.memory is None and own.cpus is None):
            return group
        return replace(group, memory=own.memory or group.memory, cpus=own.cpus or group.cpus)

    def nodes(self, group: str | None = None) -> Iterator[NodeRef]:
        """Every declared node, group by group, in order."""
        for each in self.groups:
            if group in (None, each.name):
                yield from (NodeRef(self.ref, each.name, index) for index in range(each.count))


@dataclass(frozen=True)
class NodeSpec:
    """All that an engine must know to make one node.

    ``image`` is a reference the engine resolves; ``publish`` maps a port in the node to the port wanted on the host, 0 for any; ``layout``
    is the version of how nodes are made. One that is ``idle`` runs and none of its services does, while its volumes are filled.
    """

    ref: NodeRef
    image: str
    profile: str
    memory: int
    cpus: float
    volumes: tuple[NodeVolume, ...]
    publish: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    layout: int = LAYOUT
    idle: bool = False

    @property
    def digest(self) -> str:
        """A short hash of what a node is made with for good: another digest on a found node means that it has drifted from what is wanted.

        Memory and cores are not in it, for they can change while the node runs; nor is where a class of volumes lies, for a volume
        stays where it was made.
        """
        classes = [each.storage.name for each in self.volumes]
        facts = [self.layout, str(self.ref), self.image, classes, sorted(self.publish.items())]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
