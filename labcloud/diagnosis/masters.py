"""Workers as their masters see them: what a diagnosis takes from NameNodeInfo and RMNMInfo. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from labcloud.errors import EngineError
from labcloud.services.hadoop import DECOMMISSIONED, IN_SERVICE, node_name, nodemanager_state

_FRESH: Final = 10  # seconds since the last heartbeat; one comes every two


@dataclass(frozen=True)
class DataNode:
    """``contact`` is how many seconds ago it was heard of, ``blocks`` how many it is believed to have, ``state`` its administration's."""

    name: str
    state: str
    contact: int
    blocks: int
    failed_volumes: int
    failed_folders: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataNodes:
    """``live`` and ``dead`` by node name; ``leaving`` to how many blocks still need a copy elsewhere."""

    live: Mapping[str, DataNode]
    dead: Mapping[str, DataNode]
    leaving: Mapping[str, int]
    safe_mode: str
    cluster_id: str

    @property
    def fresh(self) -> set[str]:
        return {name for name, node in self.live.items() if node.contact <= _FRESH}


@dataclass(frozen=True)
class NodeManager:
    """``report`` is what it says of its health; memory in MiB."""

    name: str
    state: str
    report: str
    used: int
    available: int


@dataclass(frozen=True)
class NodeManagers:
    known: Mapping[str, NodeManager]

    @property
    def fresh(self) -> set[str]:
        return {name for name, node in self.known.items() if node.state == "RUNNING"}

    @property
    def largest(self) -> int:
        """The most memory (MiB) that one node has for containers, whether it is free or not."""
        return max((each.used + each.available for each in self.known.values() if each.state == "RUNNING"), default=0)


def read_datanodes(bean: Mapping[str, Any]) -> DataNodes:
    try:
        live, dead = json.loads(bean["LiveNodes"]), json.loads(bean["DeadNodes"])
        leaving = json.loads(bean["DecomNodes"])
        return DataNodes(
            live={node_name(host): _datanode(node_name(host), facts) for host, facts in live.items()},
            dead={node_name(host): _datanode(node_name(host), facts) for host, facts in dead.items()},
            leaving={node_name(host): int(facts.get("underReplicatedBlocks", 0)) for host, facts in leaving.items()},
            safe_mode=str(bean["Safemode"]),
            cluster_id=str(bean["ClusterId"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise EngineError("the NameNode does not say yet which DataNodes it knows") from exc


def _datanode(name: str, facts: Mapping[str, Any]) -> DataNode:
    state = DECOMMISSIONED if facts.get("decommissioned") is True else str(facts.get("adminState", IN_SERVICE))
    return DataNode(
        name, state, int(facts.get("lastContact", 0)), int(facts.get("numBlocks", 0)), int(facts.get("volfails", 0)),
        tuple(facts.get("failedStorageLocations") or facts.get("failedStorageIDs") or ()),
    )  # fmt: skip


def read_nodemanagers(bean: Mapping[str, Any]) -> NodeManagers:
    try:
        rows = json.loads(bean["LiveNodeManagers"])
        return NodeManagers({node_name(each["HostName"]): _nodemanager(each) for each in rows})
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise EngineError("the ResourceManager does not say yet which NodeManagers it knows") from exc


def _nodemanager(row: Mapping[str, Any]) -> NodeManager:
    report = " ".join(str(row.get("HealthReport") or "").split())
    memory = int(row.get("UsedMemoryMB") or 0), int(row.get("AvailableMemoryMB") or 0)
    return NodeManager(node_name(row["HostName"]), nodemanager_state(row), report, *memory)
