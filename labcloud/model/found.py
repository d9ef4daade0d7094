"""What exists, in the words of no engine in particular. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from labcloud.model.names import ClusterRef, NodeRef


class Status(StrEnum):
    """What the engine says of a node. ``FAILED`` is for what can only be deleted."""

    CREATED = "created"
    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True)
class FoundNode:
    """A node as the engine has it. ``created`` is in seconds since 1970, ``published`` maps
    ports in the node to ``host:port`` addresses on this machine.

    ``memory`` (MiB) and ``cpus`` are its real limits where one cluster was asked for, else those that it was made with.
    """

    ref: NodeRef
    status: Status
    profile: str
    image: str
    digest: str
    memory: int
    engine_id: str
    address: str = ""
    created: float = 0.0
    published: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))
    cpus: float = 0.0

    def limited_to(self, memory: int, cpus: float) -> bool:
        """Whether these are its limits, as far as engines count cores: in billionths."""
        return self.memory == memory and abs(self.cpus - cpus) < 1e-8


@dataclass(frozen=True)
class Found:
    """What exists of a lab, a tenant or a cluster.

    ``networks`` are tenants' names; ``volumes`` name a node and the volume's number, ``snapshots`` besides the snapshot that a volume
    beside that one holds; ``configs`` map a cluster to the `config_digests` of the tree that its nodes see; ``datasets`` map one to the
    shared datasets that they see, by name, each with its `StoredDataset.tag` (an empty mapping: there is a place for them, and none in it).
    """

    nodes: tuple[FoundNode, ...] = ()
    networks: frozenset[str] = frozenset()
    volumes: frozenset[tuple[NodeRef, int]] = frozenset()
    configs: Mapping[ClusterRef, Mapping[str, str]] = field(default_factory=dict)
    datasets: Mapping[ClusterRef, Mapping[str, str]] = field(default_factory=dict)
    snapshots: frozenset[tuple[NodeRef, int, str]] = frozenset()


class Digests(Mapping[ClusterRef, Mapping[str, str]]):
    """The `config_digests` of clusters, each read by ``read`` when somebody asks for it: whoever lists a lab asks for none."""

    def __init__(self, clusters: Iterable[ClusterRef], read: Callable[[ClusterRef], Mapping[str, str]]) -> None:
        self._read = read
        self._found: dict[ClusterRef, Mapping[str, str] | None] = dict.fromkeys(clusters)

    def __getitem__(self, cluster: ClusterRef) -> Mapping[str, str]:
        found = self._found[cluster]
        if found is None:
            found = self._found[cluster] = config_digests(self._read(cluster))
        return found

    def __contains__(self, cluster: object) -> bool:
        return cluster in self._found

    def __iter__(self) -> Iterator[ClusterRef]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def config_digests(files: Mapping[str, str]) -> dict[str, str]:
    """A short hash of each file of a configuration tree ``{"NODE/relative/path": text}``. Most nodes share most of their files' texts."""
    known: dict[str, str] = {}
    for text in files.values():
        if text not in known:
            known[text] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return {path: known[text] for path, text in files.items()}
