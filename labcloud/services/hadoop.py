"""HDFS and YARN as they see themselves: JMX beans of the NameNode and the ResourceManager.

JMX is asked rather than the REST services because it answers from the first moment and costs the daemon almost nothing.
The beans are the same in all versions: NameNodeMXBean, FSNamesystemMBean, RMNMInfoBeans in Hadoop's own sources.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import quote

from labcloud.errors import EngineError
from labcloud.model import Cluster, NodeRef
from labcloud.profiles import Profile
from labcloud.providers.base import Provider
from labcloud.services.files import Files, NativeFiles, WebFiles

IN_SERVICE: Final = "In Service"
DECOMMISSIONED: Final = "Decommissioned"
IN_MAINTENANCE: Final = "In Maintenance"
SILENT: Final = "SILENT"

_FSCK_SECONDS: Final = 120.0
# NamenodeFsck.check prints ``PATH LENGTH bytes, N block(s), OPENFORWRITE:``, several on a line: 2.x with dots between them, 3.x with
# the replication or the erasure coding in the middle.
_OPEN: Final = re.compile(r"(/[^\n]*?) \d+ bytes, (?:[^/\n]*, )?\d+ block\(s\), OPENFORWRITE")

Made = TypeVar("Made")


@dataclass(frozen=True)
class HdfsState:
    """``live`` and ``dead`` map DataNodes by node name (``worker-0``) to what the NameNode says of their administration; ``leaving``
    those that are being decommissioned, or readied for maintenance, to their blocks that have too few copies elsewhere."""

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

    def _bean(self, service: str, name: str, form: Callable[[Mapping[str, Any]], Made]) -> Made:
        """What ``form`` makes of a bean. A daemon that is starting leaves out attributes that it cannot answer for yet."""
        path = f"/jmx?qry={quote(name, safe=':=,')}"
        answer = self._provider.request(self._first_node(service), self._profile.services[service].ports["http"], path)
        try:
            return form(json.loads(answer.body)["beans"][0])
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as exc:
            raise EngineError(f"the {service} of {self._cluster.ref} does not publish {name} yet") from exc

    def beans(self, service: str, *names: str, node: NodeRef | None = None, timeout: float = 5.0) -> dict[str, Mapping[str, Any]]:
        """The attributes of a service's JMX beans, by the bean's short name (``FSNamesystem``, ``JvmMetrics``); all, if none is named.

        ``node`` is which node's service is asked, the first one's otherwise. Beans that there are none of are left out.
        """
        body = self.page(service, "/jmx", node=node, timeout=timeout)
        found = {_short(each["name"]): each for each in body.get("beans", ()) if "name" in each}
        return {name: each for name, each in found.items() if not names or name in names}

    def page(self, service: str, path: str, *, node: NodeRef | None = None, timeout: float = 5.0) -> Any:
        """The JSON that a page of a service's own web server answers with."""
        try:
            return json.loads(self.text(service, path, node=node, timeout=timeout))
        except ValueError as exc:
            raise EngineError(f"the {service} of {self._cluster.ref} answers {path} with what is no JSON") from exc

    def text(self, service: str, path: str, *, node: NodeRef | None = None, timeout: float = 5.0) -> bytes:
        """A page of a service's own web server, as it is; ``timeout`` is in seconds."""
        asked = node or self._first_node(service)
        answer = self._provider.request(asked, self._profile.services[service].ports["http"], path, timeout=timeout)
        if answer.status >= 400:
            raise EngineError(f"the {service} on {asked} answers {path} with {answer.status}")
        return answer.body

    # HDFS

    def hdfs(self) -> HdfsState:
        """The NameNode's view of the file system and its DataNodes."""
        return self._bean("namenode", "Hadoop:service=NameNode,name=NameNodeInfo", _hdfs_state)

    def files(self) -> Files:
        """The file system, by its own protocol where the nodes' ports are reached from here, else by WebHDFS."""
        host = self._provider.address(self._first_node("namenode"))
        return NativeFiles(host, self._profile.services["namenode"].ports["rpc"]) if host else self.web_files()

    def web_files(self) -> WebFiles:
        """The file system by WebHDFS, for what the native client cannot do: the checksums of files."""
        return WebFiles(self._provider, self._first_node("namenode"), self._profile.services["namenode"].ports["http"])

    def open_files(self) -> frozenset[str]:
        """The paths of all files that a client still writes or appends to, by one question to the NameNode, which all versions answer.

        No list of files tells: an open file's length and time look like those of a complete one. The NameNode goes through its
        memory (some 10,000 files a second) and asks no DataNode.
        """
        said = self.text("namenode", "/fsck?ugi=hdfs&path=%2F&openforwrite=1", timeout=_FSCK_SECONDS).decode(errors="replace")
        if "FSCK ended" not in said:
            raise EngineError(f"the NameNode of {self._cluster.ref} does not say which files are open", details=said[-200:])
        return frozenset(found[1] for found in _OPEN.finditer(said))

    # YARN

    def yarn(self) -> dict[str, str]:
        """NodeManagers that the ResourceManager knows, by node name, with their state (``RUNNING``, ``UNHEALTHY``, …, or ``SILENT``)."""
        return self._bean("resourcemanager", "Hadoop:service=ResourceManager,name=RMNMInfo", _yarn_state)


def _hdfs_state(bean: Mapping[str, Any]) -> HdfsState:
    live, dead = json.loads(bean["LiveNodes"]), json.loads(bean["DeadNodes"])
    leaving = json.loads(bean["DecomNodes"]) | json.loads(bean.get("EnteringMaintenanceNodes", "{}"))  # the latter since Hadoop 2.9
    return HdfsState(
        safe_mode=bean["Safemode"],
        live={node_name(host): facts.get("adminState", "") for host, facts in live.items()},
        dead={node_name(host): DECOMMISSIONED if facts.get("decommissioned") else "dead" for host, facts in dead.items()},
        leaving={node_name(host): facts.get("underReplicatedBlocks", 0) for host, facts in leaving.items()},
        missing_blocks=int(bean["NumberOfMissingBlocks"]),
        failed_volumes=sum(facts.get("volfails", 0) for facts in live.values()),
    )


def _yarn_state(bean: Mapping[str, Any]) -> dict[str, str]:
    return {node_name(each["HostName"]): nodemanager_state(each) for each in json.loads(bean["LiveNodeManagers"])}


def nodemanager_state(row: Mapping[str, Any]) -> str:
    """The state that RMNMInfo has for a NodeManager; ``SILENT`` if it registered and no heartbeat followed, so that no work goes to it.

    RMNodeImpl starts with the report "Healthy"; the first heartbeat, which follows at once, puts the NodeManager's own there: "" if it is
    well. In Hadoop 2 none follows, now and then, after a restart of the ResourceManager: NodeStatusUpdaterImpl starts the thread that
    sends heartbeats before it takes back the flag that ends it.
    """
    return SILENT if (row["State"], row.get("HealthReport")) == ("RUNNING", "Healthy") else str(row["State"])


def _short(bean: str) -> str:
    """The last part of a bean's name: ``FSNamesystem`` of ``Hadoop:service=NameNode,name=FSNamesystem``."""
    return bean.rpartition("name=")[2] if "name=" in bean else bean


def node_name(host: str) -> str:
    """``worker-0`` of a host name, with or without a port."""
    return host.partition(":")[0].partition(".")[0]
