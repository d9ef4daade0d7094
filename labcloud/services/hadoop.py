"""HDFS and YARN as they see themselves: JMX beans of the NameNode and the ResourceManager, files by WebHDFS.

JMX is asked rather than the REST services because it answers from the first moment and costs the daemon almost nothing.
The beans are the same in all versions: NameNodeMXBean, FSNamesystemMBean, RMNMInfoBeans in Hadoop's own sources.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from labcloud.errors import EngineError
from labcloud.model import Cluster, NodeRef
from labcloud.profiles import Profile
from labcloud.providers.base import Provider, Response

IN_SERVICE: Final = "In Service"
DECOMMISSIONED: Final = "Decommissioned"
_SUPERUSER: Final = "hdfs"


@dataclass(frozen=True)
class HdfsState:
    """``live`` and ``dead`` map DataNodes by node name (``worker-0``) to what the NameNode says of their administration; ``leaving``
    those that are being decommissioned to their blocks that have too few copies elsewhere."""

    safe_mode: str
    live: Mapping[str, str]
    dead: Mapping[str, str]
    leaving: Mapping[str, int]
    missing_blocks: int
    failed_volumes: int

    def under_replicated(self, nodes: Iterable[str]) -> int:
        """Blocks of leaving ``nodes`` that have too few copies elsewhere."""
        return sum(self.leaving.get(node, 0) for node in nodes)


class Hadoop:
    """The services of one cluster. Every method raises EngineError while nothing answers."""

    def __init__(self, provider: Provider, cluster: Cluster, profile: Profile) -> None:
        self._provider = provider
        self._cluster = cluster
        self._profile = profile

    def _first_node(self, service: str) -> NodeRef:
        return NodeRef(self._cluster.ref, self._profile.services[service].group, 0)

    def _bean(self, service: str, name: str) -> dict[str, Any]:
        path = f"/jmx?qry={quote(name, safe=':=,')}"
        answer = self._provider.request(self._first_node(service), self._profile.services[service].ports["http"], path)
        try:
            return dict(json.loads(answer.body)["beans"][0])
        except (ValueError, KeyError, IndexError) as exc:
            raise EngineError(f"the {service} of {self._cluster.ref} does not publish {name} yet") from exc

    # HDFS

    def hdfs(self) -> HdfsState:
        """The NameNode's view of the file system and its DataNodes."""
        bean = self._bean("namenode", "Hadoop:service=NameNode,name=NameNodeInfo")
        live, dead = json.loads(bean["LiveNodes"]), json.loads(bean["DeadNodes"])
        return HdfsState(
            safe_mode=bean["Safemode"],
            live={_node_name(host): facts.get("adminState", "") for host, facts in live.items()},
            dead={_node_name(host): "Decommissioned" if facts.get("decommissioned") else "dead" for host, facts in dead.items()},
            leaving={_node_name(host): facts.get("underReplicatedBlocks", 0) for host, facts in json.loads(bean["DecomNodes"]).items()},
            missing_blocks=int(bean["NumberOfMissingBlocks"]),
            failed_volumes=sum(facts.get("volfails", 0) for facts in live.values()),
        )

    def make_folder(self, path: str, *, owner: str, group: str, mode: str) -> None:
        """Make a folder, with its parents, as the file system's superuser."""
        self._on_namenode("PUT", path, op="MKDIRS", permission=mode)
        self._on_namenode("PUT", path, op="SETOWNER", owner=owner, group=group)

    def write(self, path: str, content: bytes) -> None:
        """Write a small file; the NameNode names a DataNode, which takes the bytes."""
        self._on_datanode("PUT", path, body=content, op="CREATE", overwrite="true")

    def read(self, path: str) -> bytes:
        return self._on_datanode("GET", path, op="OPEN").body

    def delete(self, path: str) -> None:
        self._on_namenode("DELETE", path, op="DELETE", recursive="true")

    def _on_namenode(self, method: str, path: str, **query: str) -> Response:
        target = f"/webhdfs/v1{quote(path)}?{urlencode({'user.name': _SUPERUSER, **query})}"
        port = self._profile.services["namenode"].ports["http"]
        answer = self._provider.request(self._first_node("namenode"), port, target, method=method)
        return _accepted(answer, f"{query['op']} {path}")

    def _on_datanode(self, method: str, path: str, *, body: bytes = b"", **query: str) -> Response:
        place = urlsplit(self._on_namenode(method, path, **query).headers["Location"])
        node = NodeRef.parse(self._cluster.ref, _node_name(place.netloc))
        # A DataNode's first write starts its pipeline: slower than any other request.
        answer = self._provider.request(node, place.port or 80, f"{place.path}?{place.query}", method=method, body=body, timeout=30)
        return _accepted(answer, f"{query['op']} {path}")

    # YARN

    def yarn(self) -> dict[str, str]:
        """NodeManagers that the ResourceManager knows, by node name, with their state (``RUNNING``, ``UNHEALTHY``, …)."""
        bean = self._bean("resourcemanager", "Hadoop:service=ResourceManager,name=RMNMInfo")
        return {_node_name(each["HostName"]): each["State"] for each in json.loads(bean["LiveNodeManagers"])}


def _node_name(host: str) -> str:
    return host.partition(":")[0].partition(".")[0]


def _accepted(answer: Response, doing: str) -> Response:
    if answer.status < HTTPStatus.BAD_REQUEST:
        return answer
    try:
        said = json.loads(answer.body)["RemoteException"]["message"]
    except (ValueError, KeyError, TypeError):
        said = answer.body[:200].decode(errors="replace")
    raise EngineError(f"HDFS refused {doing}", details=said)
