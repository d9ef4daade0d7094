"""What exists, in the words of no engine in particular. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
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
    ports in the node to ``host:port`` addresses on this machine."""

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


@dataclass(frozen=True)
class Found:
    """What exists of a lab, a tenant or a cluster.

    ``networks`` are tenants' names; ``volumes`` name a node and the volume's number; ``configs`` map a cluster to the
    `config_digests` of the tree that its nodes see; ``datasets`` map one to the shared datasets that they see, by name, each with its
    `StoredDataset.tag` (an empty mapping: there is a place for them, and none in it).
    """

    nodes: tuple[FoundNode, ...] = ()
    networks: frozenset[str] = frozenset()
    volumes: frozenset[tuple[NodeRef, int]] = frozenset()
    configs: Mapping[ClusterRef, Mapping[str, str]] = field(default_factory=dict)
    datasets: Mapping[ClusterRef, Mapping[str, str]] = field(default_factory=dict)


def config_digests(files: Mapping[str, str]) -> dict[str, str]:
    """A short hash of each file of a configuration tree ``{"GROUP/relative/path": text}``."""
    return {path: hashlib.sha256(text.encode()).hexdigest()[:16] for path, text in files.items()}
