"""What exists, in the words of no engine in particular. Pure."""

from __future__ import annotations

import hashlib
import json
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
    """A node as the engine has it. ``published`` maps ports in the node to ``host:port`` addresses on this machine."""

    ref: NodeRef
    status: Status
    profile: str
    image: str
    digest: str
    memory: int
    engine_id: str
    address: str = ""
    created: str = ""
    published: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Found:
    """What exists of a lab, a tenant or a cluster.

    ``networks`` are tenants' names; ``volumes`` name a node and the volume's number; ``configs`` map a cluster to the
    `config_digest` of the tree that its nodes see.
    """

    nodes: tuple[FoundNode, ...] = ()
    networks: frozenset[str] = frozenset()
    volumes: frozenset[tuple[NodeRef, int]] = frozenset()
    configs: Mapping[ClusterRef, str] = field(default_factory=dict)


def config_digest(files: Mapping[str, str]) -> str:
    """A short hash of a configuration tree ``{"GROUP/relative/path": text}``."""
    return hashlib.sha256(json.dumps(sorted(files.items())).encode()).hexdigest()[:16]
