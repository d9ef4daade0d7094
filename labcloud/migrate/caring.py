"""What Hadoop on a node means for its move, and what the move must have left as it was.

One node of a cluster moves at a time, so that never two are absent that hold the last replicas of a block. If that is wanted, it takes no
new work meanwhile: YARN is told that it has no room (``rmadmin -updateNodeResource``, since Hadoop 2.8), until the move is over or its
NodeManager starts anew. For a longer absence HDFS is told as well: its maintenance, since Hadoop 2.9.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Final

from labcloud.apply.ready import Readiness
from labcloud.errors import EngineError, LabError
from labcloud.migrate.estimating import PATIENCE, Load
from labcloud.migrate.judging import answer
from labcloud.migrate.maintenance import Maintenance
from labcloud.model import Cluster, NodeRef, Wanted
from labcloud.model.checks import Finding, failed, passed, warned
from labcloud.preflight.checklist import Answer
from labcloud.profiles import Profile
from labcloud.profiles.formats import read_hadoop_xml
from labcloud.providers.base import Command, Provider
from labcloud.services.hadoop import IN_MAINTENANCE, IN_SERVICE, Hadoop, node_name

_CONTACT: Final = 5
"""Seconds since a DataNode's last heartbeat, of which there is one in three: longer, and it may be gone without anybody knowing yet."""


_METADATA: Final = "namenode"
_UNKNOWN: Final = "updateNodeResource: Unknown command"


class Care(ABC):
    """How a node of this lab is looked after while it moves. `hold` and `missing` are asked again until they return nothing."""

    @abstractmethod
    def load(self, ref: NodeRef) -> Load:
        """What it does to its memory."""

    @abstractmethod
    def irreplaceable(self, ref: NodeRef) -> bool:
        """Whether its data are nowhere else in its cluster."""

    @abstractmethod
    def judge(self, ref: NodeRef) -> list[Answer]:
        """What speaks against a move, and what is to be known of it."""

    @abstractmethod
    def absence(self, ref: NodeRef) -> list[Answer]:
        """What HDFS makes of it if the node is away for long."""

    @abstractmethod
    def hold(self, ref: NodeRef, *, drain: bool, away: float = 0) -> str:
        """What is to be waited for before the node moves, or nothing. With ``drain`` it gets no new work from the first question on; if
        it may be ``away`` for some seconds, HDFS is told so."""

    @abstractmethod
    def missing(self, ref: NodeRef) -> str:
        """What is not again as it was before the move, or nothing."""

    @abstractmethod
    def release(self, ref: NodeRef) -> None:
        """It gets work again."""

    @abstractmethod
    def disturbed(self, ref: NodeRef) -> list[str]:
        """What did not survive the move, as far as that can be seen."""


@dataclass
class _Held:
    """How a cluster was before the move of a node; ``ready`` asks its masters afterwards. ``drained``: whether the node's room was taken
    from it, and ``maintained``: whether HDFS was told that it goes; None if that was not tried."""

    drained: bool | None = None
    maintained: bool | None = None
    missing_blocks: int = 0
    jobs: dict[str, int] = field(default_factory=dict)
    ready: Readiness | None = None


class HadoopCare(Care):
    """``open_`` gives a cluster as it is wanted, its profile and its engine."""

    def __init__(self, open_: Callable[[NodeRef], tuple[Cluster, Profile, Provider]]) -> None:
        self._open = open_
        self._held: dict[NodeRef, _Held] = {}

    def load(self, ref: NodeRef) -> Load:
        _, _, provider = self._open(ref)
        program = files("labcloud.migrate").joinpath("dirtying.py").read_bytes()
        try:
            result = provider.execute(ref, Command(("python3", "-"), stdin=program))
            said = json.loads(result.stdout) if result.exit_code == 0 else {}
        except (LabError, ValueError):
            said = {}
        return Load(said.get("used"), said.get("dirtied"))

    def irreplaceable(self, ref: NodeRef) -> bool:
        _, profile, _ = self._open(ref)
        return _METADATA in profile.services_of(ref.group)

    # Before

    def judge(self, ref: NodeRef) -> list[Answer]:
        return [answer(id, finding) for id, finding in self._findings(ref)]

    def _findings(self, ref: NodeRef) -> Iterator[tuple[str, Finding]]:
        cluster, profile, provider = self._open(ref)
        own, look = profile.services_of(ref.group), f"labcloud diagnose {ref.cluster}"
        if cluster.state is not Wanted.RUNNING:
            yield "hadoop.answers", passed("the cluster is stopped")
            return
        hadoop = Hadoop(provider, cluster, profile)
        try:
            hdfs = hadoop.hdfs()
            yarn = hadoop.yarn() if "resourcemanager" in profile.services else {}
            name_node = hadoop.beans("namenode", "FSNamesystem").get("FSNamesystem", {})
        except EngineError as exc:
            yield "hadoop.answers", failed(f"the cluster does not answer: {exc.brief}", look)
            return
        yield "hadoop.answers", passed("HDFS and YARN answer") if not hdfs.safe_mode else failed("HDFS is in safe mode", look)
        data, work = (_declared(cluster, profile, service) for service in ("datanode", "nodemanager"))
        away = {each for each in data if hdfs.live.get(each) != IN_SERVICE} | {each for each in work if yarn.get(each) != "RUNNING"}
        away -= {ref.name}  # it stands still already: then the others matter
        all_there = passed(f"all {len(data)} DataNodes and {len(work)} NodeManagers are in service")
        yield "hadoop.nodes", failed(f"not in service: {', '.join(sorted(away))}", look, away=sorted(away)) if away else all_there
        yield "hadoop.blocks", _blocks(hdfs.missing_blocks, int(name_node.get("UnderReplicatedBlocks", 0)), look)
        if once := [name for name in own if name in (_METADATA, "resourcemanager")]:
            said = f"it has the cluster's only {' and '.join(once)}: clients wait while it stands still"
            yield "hadoop.role", warned(said, "nothing: they go on by themselves")
        if "nodemanager" in own:
            running = self._containers(hadoop, ref)
            yield "hadoop.work", passed(f"{running} containers run on it" if running else "nothing runs on it", containers=running)

    def absence(self, ref: NodeRef) -> list[Answer]:
        cluster, profile, provider = self._open(ref)
        if not _keeps_copies(cluster, profile, ref):
            return []
        found = passed("HDFS is told that the node comes back, and copies none of its blocks")
        if not Maintenance(provider, cluster, profile).known:
            said = f"{profile.title} knows no maintenance: HDFS copies the node's blocks once it has been away for {PATIENCE:g} s"
            found = warned(said, "nothing: what there is too much of afterwards, HDFS deletes; it needs the room meanwhile")
        return [answer("hadoop.maintenance", found)]

    # Around the move

    def hold(self, ref: NodeRef, *, drain: bool, away: float = 0) -> str:
        cluster, profile, provider = self._open(ref)
        if cluster.state is not Wanted.RUNNING:
            return ""
        hadoop = Hadoop(provider, cluster, profile)
        if ref not in self._held:
            self._held[ref] = _Held(missing_blocks=hadoop.hdfs().missing_blocks, jobs=_jobs(hadoop, profile))
        held = self._held[ref]
        if drain and held.drained is None and "nodemanager" in profile.services_of(ref.group):
            held.drained = self._set_room(ref, 0, 0)
        if away and held.maintained is None and _keeps_copies(cluster, profile, ref):
            maintenance = Maintenance(provider, cluster, profile)
            held.maintained = maintenance.known
            if maintenance.known:
                maintenance.begin(ref, away)
        working = self._working(hadoop, ref) if held.drained else ""
        copying = _copying(hadoop, ref) if held.maintained else ""
        return " and ".join(filter(None, (working, copying)))

    def _working(self, hadoop: Hadoop, ref: NodeRef) -> str:
        running = self._containers(hadoop, ref)
        return f"{running} containers on {ref.name} to end" if running else ""

    def missing(self, ref: NodeRef) -> str:
        cluster, profile, provider = self._open(ref)
        if cluster.state is not Wanted.RUNNING:
            return ""
        own, name = profile.services_of(ref.group), ref.name
        held = self._held.get(ref, _Held())
        try:
            provider.execute(ref, Command(("true",)))
            hadoop = Hadoop(provider, cluster, profile)
            hdfs = hadoop.hdfs()
            data_there = _counted_on(hdfs.live.get(name), held) and _silent_for(hadoop, name) <= _CONTACT if "datanode" in own else True
            work_there = hadoop.yarn().get(name) == "RUNNING" if "nodemanager" in own else True
        except EngineError as exc:
            return exc.brief
        held.ready = held.ready or Readiness(provider, cluster, profile)
        awaited = (
            (bool(hdfs.safe_mode), "HDFS to leave safe mode"),
            (not data_there, f"the DataNode of {name} to report"),
            (not work_there, f"the NodeManager of {name} to report"),
            (hdfs.missing_blocks > held.missing_blocks, f"HDFS to find {hdfs.missing_blocks} blocks"),
        )
        return next((what for lacks, what in awaited if lacks), "") or held.ready.known_to(own)

    def release(self, ref: NodeRef) -> None:
        held = self._held.get(ref)
        if held and held.maintained:
            cluster, profile, provider = self._open(ref)
            Maintenance(provider, cluster, profile).end(ref)
            held.maintained = None
        if held and held.drained:
            self._set_room(ref, *self._room(ref))
            held.drained = None

    def disturbed(self, ref: NodeRef) -> list[str]:
        held = self._held.pop(ref, None)
        cluster, profile, provider = self._open(ref)
        if held is None or cluster.state is not Wanted.RUNNING:
            return []
        now = _jobs(Hadoop(provider, cluster, profile), profile)
        words = {"AppsFailed": "failed", "AppsKilled": "were killed"}
        unable = ["this version of YARN cannot let a node's containers end first"] if held.drained is False else []
        unable += ["this version of HDFS knows no maintenance"] if held.maintained is False else []
        more = {key: now.get(key, 0) - held.jobs.get(key, 0) for key in words}
        return unable + [f"{count} job{'s' if count != 1 else ''} {words[key]}" for key, count in more.items() if count > 0]

    # YARN

    def _containers(self, hadoop: Hadoop, ref: NodeRef) -> int:
        """How many YARN has given to the node, those that do not run yet among them."""
        return int(_nodemanager(hadoop, ref).get("NumContainers", 0))

    def _room(self, ref: NodeRef) -> tuple[int, int]:
        """MiB and cores that the node's own configuration gives to YARN."""
        cluster, _, provider = self._open(ref)
        said = read_hadoop_xml(provider.config(cluster.ref).get(f"{ref.name}/conf/yarn-site.xml")) or {}
        try:
            memory, cores = (int(said[f"yarn.nodemanager.resource.{name}"]) for name in ("memory-mb", "cpu-vcores"))
        except (KeyError, ValueError) as exc:
            raise EngineError(f"the configuration of {ref} does not say how much room YARN has there", details=str(exc)) from exc
        return memory, cores

    def _set_room(self, ref: NodeRef, memory: int, cores: int) -> bool:
        """Let YARN use so many MiB and cores of the node from now on. Returns whether this version of it can be told."""
        cluster, profile, provider = self._open(ref)
        id = str(_nodemanager(Hadoop(provider, cluster, profile), ref).get("NodeId", ""))
        if not id:
            raise EngineError(f"the ResourceManager of {ref.cluster} knows no NodeManager on {ref.name}")
        at = NodeRef(ref.cluster, profile.services["resourcemanager"].group, 0)
        result = provider.execute(at, Command(("yarn", "rmadmin", "-updateNodeResource", id, str(memory), str(cores)), user="yarn"))
        said = (result.stderr + result.stdout).decode(errors="replace")
        if result.exit_code and _UNKNOWN not in said:
            raise EngineError(f"YARN of {ref.cluster} did not change the room of {ref.name}", details=said[-1000:])
        return result.exit_code == 0


def _keeps_copies(cluster: Cluster, profile: Profile, ref: NodeRef) -> bool:
    """Whether the node has blocks that other DataNodes may have, too, and a NameNode elsewhere that would copy them."""
    own, data = profile.services_of(ref.group), _declared(cluster, profile, "datanode")
    return cluster.state is Wanted.RUNNING and ref.name in data and _METADATA not in own and len(data) > 1


def _copying(hadoop: Hadoop, ref: NodeRef) -> str:
    """What HDFS does still before it can do without the node, or nothing."""
    hdfs = hadoop.hdfs()
    if hdfs.live.get(ref.name, IN_MAINTENANCE) == IN_MAINTENANCE:  # one that says nothing is away already
        return ""
    left = hdfs.under_replicated([ref.name])
    return f"HDFS to ready itself for the absence of {ref.name}" + (f" ({left} blocks to copy)" if left else "")


def _counted_on(state: str | None, held: _Held) -> bool:
    return state == IN_SERVICE or (bool(held.maintained) and state == IN_MAINTENANCE)


def _declared(cluster: Cluster, profile: Profile, service: str) -> list[str]:
    return [node.name for node in cluster.nodes() if service in profile.services_of(node.group)]


def _nodemanager(hadoop: Hadoop, ref: NodeRef) -> Mapping[str, Any]:
    """What the ResourceManager says of the node's NodeManager; nothing if it knows none."""
    rows = json.loads(hadoop.beans("resourcemanager", "RMNMInfo")["RMNMInfo"]["LiveNodeManagers"])
    return next((each for each in rows if node_name(each["HostName"]) == ref.name), {})


def _blocks(missing: int, few: int, look: str) -> Finding:
    figures = {"missing": missing, "under_replicated": few}
    if missing:
        return failed(f"{missing} blocks are missing already", look, **figures)
    if few:
        return warned(
            f"{few} blocks have too few replicas: one of them may be on this node alone", "wait until HDFS has copied them", **figures
        )
    return passed("every block has all its replicas", **figures)


def _jobs(hadoop: Hadoop, profile: Profile) -> dict[str, int]:
    if "resourcemanager" not in profile.services:
        return {}
    try:
        metrics: Any = hadoop.beans("resourcemanager").get("QueueMetrics,q0=root", {})
    except EngineError:
        return {}
    return {key: int(metrics.get(key, 0)) for key in ("AppsFailed", "AppsKilled")}


def _silent_for(hadoop: Hadoop, name: str) -> int:
    """Seconds since the NameNode heard of a DataNode."""
    live = json.loads(hadoop.beans("namenode", "NameNodeInfo")["NameNodeInfo"]["LiveNodes"])
    return next((int(facts.get("lastContact", 0)) for host, facts in live.items() if node_name(host) == name), _CONTACT + 1)
