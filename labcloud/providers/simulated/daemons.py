"""What Hadoop's daemons answer by HTTP on simulated nodes: JMX beans and the ResourceManager's REST service, from what exists.

Which daemons a node has is read from its rendered configuration (``NODE/services/NAME``); where that names none, a group named
``master`` has the masters' daemons, and every other group DataNodes and NodeManagers. The form of the answers is that
of NameNodeMXBean, FSNamesystemMBean, RMNMInfoBeans and the ResourceManager REST API's documentation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from labcloud.model import Status
from labcloud.providers.base import Response
from labcloud.providers.simulated import webhdfs
from labcloud.providers.simulated.world import ClusterState, LabState, Machine

_MIB: Final = 1024 * 1024
_DATA_PORT: Final = 9866
_MASTER_SERVICES: Final = frozenset({"namenode", "secondarynamenode", "resourcemanager", "historyserver"})
_WORKER_SERVICES: Final = frozenset({"datanode", "nodemanager"})


_Make = Callable[["Asked"], dict[str, Any]]


@dataclass(frozen=True)
class Asked:
    """A request to a node: the tenant's domain, the path without its query, the query's first values, the body."""

    lab: LabState
    machine: Machine
    domain: str
    method: str
    path: str
    query: Mapping[str, str]
    body: bytes

    @classmethod
    def of(cls, lab: LabState, machine: Machine, domain: str, *, method: str, target: str, body: bytes) -> Asked:
        parts = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        return cls(lab, machine, domain, method, unquote(parts.path), query, body)

    @property
    def cluster(self) -> ClusterState:
        return self.lab.cluster(self.machine.spec.ref.cluster)

    def host(self, machine: Machine) -> str:
        return f"{machine.spec.ref.qualified}.{self.domain}"


def answer(asked: Asked) -> Response | None:
    """What the node's daemons answer; None where none of them listens."""
    services = services_of(asked.cluster, asked.machine.spec.ref.group)
    if asked.path.startswith(webhdfs.PREFIX):
        if "namenode" in services:
            return webhdfs.namenode(
                asked.method, asked.path, asked.query, hdfs(asked.cluster), [asked.host(each) for each in _serving(asked, "datanode")]
            )
        return webhdfs.datanode(asked.method, asked.path, asked.query, asked.body, hdfs(asked.cluster)) if "datanode" in services else None
    if asked.path == "/fsck" and asked.query.get("openforwrite") == "1" and "namenode" in services:
        return webhdfs.fsck(hdfs(asked.cluster))
    if asked.path == "/jmx" and services:
        return _json({"beans": list(_beans(asked, services))})
    service, page = _PAGES.get(asked.path, ("", None))
    if page and service in services:
        return _json(page(asked))
    return Response(404, b"", {}) if services else None


def services_of(cluster: ClusterState, group: str) -> frozenset[str]:
    """The daemons of a group's nodes."""
    if cluster.services is None:
        cluster.services = _by_group(cluster.config or ())
    if not cluster.services:
        return _MASTER_SERVICES if group == "master" else _WORKER_SERVICES
    return cluster.services.get(group, frozenset())


def _by_group(paths: Iterable[str]) -> dict[str, frozenset[str]]:
    named: dict[str, set[str]] = {}
    for node, folder, name in (parts for path in paths if len(parts := path.split("/")) == 3):
        if folder == "services":
            named.setdefault(node.rpartition("-")[0], set()).add(name)
    return {group: frozenset(names) for group, names in named.items()}


def _serving(asked: Asked, service: str, *, excluded: bool = False) -> list[Machine]:
    """The running nodes of the cluster that have a service; those that the configuration excludes only on request."""
    out = asked.cluster.excluded
    groups = _groups(asked.cluster, service)
    return [
        machine
        for ref, machine in asked.cluster.nodes.items()
        if ref.group in groups and machine.status is Status.RUNNING and (excluded or ref.name not in out)
    ]


def _groups(cluster: ClusterState, service: str) -> set[str]:
    """The groups whose nodes have a service."""
    return {group for group in {ref.group for ref in cluster.nodes} if service in services_of(cluster, group)}


def read_lists(cluster: ClusterState) -> None:
    """Let the daemons read the names (``worker-0``) in the exclude files, as they do when they start or are told to."""

    def first(file: str) -> str:
        return next((text for name, text in (cluster.config or {}).items() if name.endswith(f"/conf/{file}")), "")

    leaving = [each["hostName"] for each in json.loads(first("dfs.hosts.json") or "[]") if each["adminState"] == "DECOMMISSIONED"]
    lines = [line.strip() for line in first("dfs.exclude").splitlines()]
    leaving += [line for line in lines if line and not line.startswith("#")]
    cluster.excluded = frozenset(host.partition(".")[0] for host in leaving)


def hdfs(cluster: ClusterState) -> webhdfs.Tree:
    """The cluster's file system: on its NameNode's first volume, or on the NameNode where it has none."""
    groups = _groups(cluster, "namenode")
    for ref, machine in cluster.nodes.items():
        if ref.group in groups:
            return webhdfs.Tree(cluster.volumes.get((ref, 0), machine.files))
    return webhdfs.Tree({})


def _beans(asked: Asked, services: frozenset[str]) -> Iterator[dict[str, Any]]:
    wanted = asked.query.get("qry", "")
    for name, (service, make) in _BEANS.items():
        if service in services and wanted in ("", "*:*", name):
            yield {"name": name, **make(asked)}


def _namenode_info(asked: Asked) -> dict[str, Any]:
    out = asked.cluster.excluded
    running = _serving(asked, "datanode", excluded=True)
    live = {f"{asked.host(each)}:{_DATA_PORT}": _live(each, each.spec.ref.name in out) for each in running}
    groups = _groups(asked.cluster, "datanode")
    stopped = {
        f"{asked.host(each)}:{_DATA_PORT}": {
            "lastContact": 60,
            "decommissioned": ref.name in out,
            "xferaddr": f"{each.address}:{_DATA_PORT}",
        }
        for ref, each in asked.cluster.nodes.items()
        if each.status is not Status.RUNNING and ref.group in groups
    }
    return {
        "ClusterId": "CID-" + asked.machine.spec.ref.cluster.name, "Safemode": "" if live or not _declared(asked) else _SAFE_MODE,
        "LiveNodes": json.dumps(live), "DeadNodes": json.dumps(stopped), "DecomNodes": "{}",
        "NumberOfMissingBlocks": 0, "TotalFiles": len(hdfs(asked.cluster)), "Threads": 40,
        "Total": sum(each["capacity"] for each in live.values()),
    }  # fmt: skip


_SAFE_MODE: Final = "Safe mode is ON. The number of live datanodes 0 needs an additional 1 live datanodes to reach the minimum number 1."


def _declared(asked: Asked) -> bool:
    return bool(_groups(asked.cluster, "datanode"))


def _live(machine: Machine, excluded: bool) -> dict[str, Any]:
    capacity = 10 * 1024 * _MIB * max(len(machine.spec.volumes), 1)
    return {
        "infoAddr": f"{machine.address}:9864", "xferaddr": f"{machine.address}:{_DATA_PORT}", "lastContact": 1, "usedSpace": 0,
        "adminState": "Decommissioned" if excluded else "In Service", "capacity": capacity, "remaining": capacity, "numBlocks": 0,
        "volfails": 0,
    }  # fmt: skip


def _fs_state(asked: Asked) -> dict[str, Any]:
    out = asked.cluster.excluded
    running = [each.spec.ref.name for each in _serving(asked, "datanode", excluded=True)]
    leaving = sum(name in out for name in running)
    return {
        "FSState": "Operational" if running or not _declared(asked) else "safeMode", "NumLiveDataNodes": len(running),
        "NumDeadDataNodes": 0, "NumDecomLiveDataNodes": leaving, "NumDecommissioningDataNodes": 0, "UnderReplicatedBlocks": 0,
        "PendingReplicationBlocks": 0, "VolumeFailuresTotal": 0, "FilesTotal": len(hdfs(asked.cluster)),
    }  # fmt: skip


def _rm_info(asked: Asked) -> dict[str, Any]:
    live = [
        {
            "HostName": asked.host(each), "Rack": "/default-rack", "State": "RUNNING", "NodeId": f"{asked.host(each)}:8041",
            "NodeHTTPAddress": f"{asked.host(each)}:8042", "HealthReport": "", "NumContainers": 0, "UsedMemoryMB": 0,
            "AvailableMemoryMB": each.spec.memory,
        }
        for each in _serving(asked, "nodemanager")
    ]  # fmt: skip
    return {"LiveNodeManagers": json.dumps(live)}


def _rm_nodes(asked: Asked) -> dict[str, Any]:
    nodes = [
        {
            "rack": "/default-rack", "state": "RUNNING", "id": f"{asked.host(each)}:8041", "nodeHostName": asked.host(each),
            "nodeHTTPAddress": f"{asked.host(each)}:8042", "healthReport": "", "numContainers": 0, "usedMemoryMB": 0,
            "availMemoryMB": each.spec.memory,
        }
        for each in _serving(asked, "nodemanager")
    ]  # fmt: skip
    return {"nodes": {"node": nodes} if nodes else None}


def _rm_metrics(asked: Asked) -> dict[str, Any]:
    nodes = _serving(asked, "nodemanager")
    memory = sum(each.spec.memory for each in nodes)
    return {
        "clusterMetrics": {
            "appsSubmitted": 0, "appsRunning": 0, "appsPending": 0, "activeNodes": len(nodes), "lostNodes": 0, "unhealthyNodes": 0,
            "decommissionedNodes": len(_serving(asked, "nodemanager", excluded=True)) - len(nodes), "totalNodes": len(nodes),
            "totalMB": memory, "availableMB": memory,
        }
    }  # fmt: skip


def _said(facts: dict[str, Any]) -> _Make:
    return lambda asked: facts  # noqa: ARG005  # the same whoever asks


_BEANS: Final[dict[str, tuple[str, _Make]]] = {
    "Hadoop:service=NameNode,name=NameNodeInfo": ("namenode", _namenode_info),
    "Hadoop:service=NameNode,name=NameNodeStatus": ("namenode", _said({"NNRole": "NameNode", "State": "active", "SecurityEnabled": False})),
    "Hadoop:service=NameNode,name=FSNamesystem": (
        "namenode",
        _said({"MissingBlocks": 0, "UnderReplicatedBlocks": 0, "PendingReplicationBlocks": 0, "CorruptBlocks": 0}),
    ),
    "Hadoop:service=NameNode,name=FSNamesystemState": ("namenode", _fs_state),
    "Hadoop:service=SecondaryNameNode,name=SecondaryNameNodeInfo": ("secondarynamenode", _said({"CheckpointPeriod": 3600})),
    "Hadoop:service=DataNode,name=DataNodeInfo": ("datanode", _said({"DatanodeHostname": "", "VolumeInfo": "{}"})),
    "Hadoop:service=ResourceManager,name=RMNMInfo": ("resourcemanager", _rm_info),
}
_PAGES: Final[dict[str, tuple[str, _Make]]] = {
    "/ws/v1/cluster/nodes": ("resourcemanager", _rm_nodes),
    "/ws/v1/cluster/metrics": ("resourcemanager", _rm_metrics),
    "/ws/v1/cluster/apps": ("resourcemanager", _said({"apps": None})),
    "/ws/v1/cluster/info": ("resourcemanager", _said({"clusterInfo": {"id": 1, "startedOn": 1, "state": "STARTED", "haState": "ACTIVE"}})),
    "/ws/v1/history/info": ("historyserver", _said({"historyInfo": {"startedOn": 1}})),
    "/ws/v1/node/info": ("nodemanager", _said({"nodeInfo": {"healthReport": "", "nodeHealthy": True}})),
}


def _json(value: Any) -> Response:
    return Response(200, json.dumps(value).encode(), {"Content-Type": "application/json"})
