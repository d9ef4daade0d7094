"""Clusters as somebody looks at them: what is wanted, what exists, and what each service says of itself. Changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from labcloud.errors import EngineError, LabError, NotFoundError
from labcloud.lab import Lab
from labcloud.model import Cluster, ClusterRef, Found, FoundNode, NodeRef, Status, Wanted
from labcloud.model.leases import time_left
from labcloud.model.periods import stamp
from labcloud.profiles import Profile, load
from labcloud.providers.base import Command, Provider
from labcloud.services.hadoop import IN_SERVICE, Hadoop

_THREADS: Final = 16
RUNNING: Final = "running"
STARTING: Final = "starting"
_START_SECONDS: Final = 60


@dataclass(frozen=True)
class ServiceView:
    """``status``: ``running``; ``starting`` or ``silent`` if nothing answers; ``down``; ``stopped`` with its node; or what the
    service's master calls it, as ``decommissioned``."""

    name: str
    status: str


@dataclass(frozen=True)
class NodeView:
    """``memory`` is MiB; ``address`` is empty for a node that does not run."""

    name: str
    group: str
    address: str
    status: str
    memory: int
    services: tuple[ServiceView, ...] = ()


@dataclass(frozen=True)
class Ends:
    """Until when a cluster is wanted: ``left`` is a length of time, or ``over``."""

    until: str
    then: str
    left: str


@dataclass(frozen=True)
class ClusterView:
    """``status`` is one of ready, degraded, stopped, missing, deleting. ``endpoints`` are URLs of user interfaces by service. ``lease``
    is None for a cluster that lasts until somebody ends it. ``datasets`` are the versions of shared datasets by name."""

    tenant: str
    name: str
    profile: str
    provider: str
    status: str
    nodes: tuple[NodeView, ...] = ()
    endpoints: Mapping[str, str] = field(default_factory=dict)
    hosts: Mapping[str, str] = field(default_factory=dict)
    lease: Ends | None = None
    datasets: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Protection:
    """Whether a cluster is backed up at all, of when its newest good backup is (UTC; empty for none), and whether the next is overdue."""

    enabled: bool
    last: str = ""
    late: bool = False


@dataclass(frozen=True)
class Summary:
    """A cluster in a list: what the engine says, no service being asked. ``memory`` is the sum of its nodes' limits in MiB.

    ``backup`` is None where nobody has asked how it is protected.
    """

    tenant: str
    name: str
    profile: str
    provider: str
    status: str
    running: int
    declared: int
    memory: int
    lease: Ends | None = None
    backup: Protection | None = None


class Look:
    """Answers questions about one lab's clusters. ``provider`` opens an engine by its name."""

    def __init__(self, lab: Lab, provider: Callable[[str], Provider]) -> None:
        self._lab = lab
        self._provider = provider

    def cluster(self, ref: ClusterRef) -> tuple[Cluster, Profile, Provider]:
        """A wanted cluster, its profile and its engine. Raise NotFoundError if it is not wanted."""
        wanted = self._lab.cluster(ref)
        if wanted is None:
            raise NotFoundError(f"there is no cluster {ref}", resolution="'labcloud list' shows those that there are")
        return wanted, load(wanted.profile), self._provider(wanted.provider)

    def show(self, ref: ClusterRef) -> ClusterView:
        """All about one cluster; every service is asked."""
        wanted, profile, provider = self.cluster(ref)
        found = provider.find(cluster=ref)
        statuses = _ask_services(wanted, profile, provider, found)
        exists = {node.ref: node for node in found.nodes}
        refs = [*wanted.nodes(), *sorted(exists.keys() - set(wanted.nodes()))]
        nodes = tuple(_node_view(node, exists.get(node), wanted, statuses) for node in refs)
        domain = provider.domain(ref.tenant)
        return ClusterView(
            tenant=ref.tenant,
            name=ref.name,
            profile=wanted.profile,
            provider=wanted.provider,
            status=_status(wanted, nodes),
            nodes=nodes,
            endpoints=_endpoints(profile, found),
            hosts={f"{node.ref.qualified}.{domain}": node.address for node in found.nodes if node.address},
            lease=_ends(wanted),
            datasets=wanted.datasets,
        )

    @contextmanager
    def forwarded(self, ref: ClusterRef) -> Iterator[dict[str, str]]:
        """While the block lasts, URLs at which a browser on this machine finds user interfaces that are not published, by service."""
        _, profile, provider = self.cluster(ref)
        running = [node for node in provider.find(cluster=ref).nodes if node.status is Status.RUNNING]
        places: dict[str, tuple[NodeRef, int, str]] = {}
        for node in running:
            for name, port, path in _interfaces(profile, node):
                places.setdefault(name, (node.ref, port, path))
        with provider.forwarded([(node, port) for node, port, _ in places.values()]) as ways:
            yield {name: f"http://{ways[node, port]}{path}" for name, (node, port, path) in places.items() if (node, port) in ways}

    def list(self, tenant: str | None = None) -> list[Summary]:
        """Every cluster that is wanted or exists, by name. One question for each engine that the lab uses."""
        wanted = {each.ref: each for each in self._lab.clusters(tenant)}
        engines = {each.provider for each in wanted.values()}
        nodes: dict[ClusterRef, list[FoundNode]] = {}
        for engine in engines:
            for node in self._provider(engine).find(tenant=tenant).nodes:
                nodes.setdefault(node.ref.cluster, []).append(node)
        return [_summary(ref, wanted.get(ref), nodes.get(ref, [])) for ref in sorted({*wanted, *nodes})]


def _summary(ref: ClusterRef, wanted: Cluster | None, nodes: list[FoundNode]) -> Summary:
    running = sum(node.status is Status.RUNNING for node in nodes)
    declared = sum(group.count for group in wanted.groups) if wanted else 0
    return Summary(
        tenant=ref.tenant,
        name=ref.name,
        profile=wanted.profile if wanted else nodes[0].profile,
        provider=wanted.provider if wanted else "",
        status=_listed_status(wanted, running, declared, len(nodes)),
        running=running,
        declared=declared,
        memory=sum(_memory(node, wanted) for node in nodes),
        lease=_ends(wanted),
    )


def _memory(node: FoundNode, wanted: Cluster | None) -> int:
    """The limit that a node has by now: a look at the whole lab tells with which it was made, and it may have been resized since."""
    declared = [group.memory for group in wanted.groups if group.name == node.ref.group] if wanted else []
    return declared[0] if declared else node.memory


def _ends(wanted: Cluster | None) -> Ends | None:
    if wanted is None or wanted.lease is None:
        return None
    lease = wanted.lease
    return Ends(stamp(lease.until), str(lease.then), time_left(lease, datetime.now(UTC)))


def _listed_status(wanted: Cluster | None, running: int, declared: int, existing: int) -> str:
    if wanted is None:
        return "unknown"
    if wanted.state is Wanted.DELETED:
        return "deleting"
    if not existing:
        return "missing"
    if wanted.state is Wanted.STOPPED and not running:
        return "stopped"
    return RUNNING if running == declared == existing else "degraded"


def _status(wanted: Cluster, nodes: tuple[NodeView, ...]) -> str:
    if wanted.state is Wanted.DELETED:
        return "deleting"
    if all(node.status == "missing" for node in nodes):
        return "missing"
    if wanted.state is Wanted.STOPPED and not any(node.status == RUNNING for node in nodes):
        return "stopped"
    states = {service.status for node in nodes for service in node.services}
    good = all(node.status == RUNNING for node in nodes) and states <= {RUNNING, STARTING}
    return "ready" if good else "degraded"


def _node_view(ref: NodeRef, node: FoundNode | None, wanted: Cluster, statuses: Mapping[NodeRef, tuple[ServiceView, ...]]) -> NodeView:
    if node is None:
        return NodeView(ref.name, ref.group, "", "missing", wanted.group(ref.group).memory)
    return NodeView(ref.name, ref.group, node.address, str(node.status), node.memory, statuses.get(ref, ()))


def _endpoints(profile: Profile, found: Found) -> dict[str, str]:
    """Where a browser on this machine finds each user interface."""
    endpoints = {}
    for node in found.nodes:
        for name, port, path in _interfaces(profile, node):
            if port in node.published:
                endpoints[name] = f"http://{node.published[port]}{path}"
    return endpoints


def _interfaces(profile: Profile, node: FoundNode) -> Iterator[tuple[str, int, str]]:
    """The user interfaces of a node: service, port, path."""
    for name, service in profile.services.items():
        if service.group == node.ref.group and service.ui is not None:
            yield name, service.ports[service.ui.port], service.ui.path


def _ask_services(wanted: Cluster, profile: Profile, provider: Provider, found: Found) -> dict[NodeRef, tuple[ServiceView, ...]]:
    """What each service of each node says: DataNodes and NodeManagers by their masters, who know best; the others by their own port."""
    hadoop = Hadoop(provider, wanted, profile)
    with ThreadPoolExecutor(_THREADS) as pool:
        asked = {
            "datanode": pool.submit(_registered, lambda: hadoop.hdfs().live),
            "nodemanager": pool.submit(_registered, hadoop.yarn if "resourcemanager" in profile.services else dict),
        }
        masters = {name: future.result() for name, future in asked.items()}

        def state(node: FoundNode, name: str) -> str:
            said = masters.get(name, {}).get(node.ref.name, "")
            if node.status is Status.RUNNING and said:
                return RUNNING if said in (IN_SERVICE, "RUNNING") else said.lower()
            answer = _answers(provider, profile, node, name)
            return "not registered" if answer == RUNNING and name in masters else answer

        views = {
            node.ref: [
                (name, pool.submit(state, node, name)) for name, service in profile.services.items() if service.group == node.ref.group
            ]
            for node in found.nodes
        }
        return {ref: tuple(ServiceView(name, future.result()) for name, future in each) for ref, each in views.items()}


def _registered(ask: Callable[[], Mapping[str, str]]) -> Mapping[str, str]:
    try:
        return ask()
    except LabError:
        return {}


def _answers(provider: Provider, profile: Profile, node: FoundNode, name: str) -> str:
    service = profile.services[name]
    if node.status is not Status.RUNNING:
        return "stopped"
    if service.probe is None:
        return RUNNING
    try:
        answer = provider.request(node.ref, service.ports[service.probe.port], service.probe.path, timeout=3)
    except EngineError:
        # Right after a create the answer is known; asking would take time from the very service that starts.
        return STARTING if time.time() - node.created < _START_SECONDS else _supervised(provider, node.ref, name)
    return RUNNING if answer.status < 400 else f"answers {answer.status}"


def _supervised(provider: Provider, node: NodeRef, name: str) -> str:
    """Why a service does not answer, by its supervisor: it started a moment ago, it hangs, or it is kept down."""
    result = provider.execute(node, Command(("s6-svstat", "-o", "up,updownfor", f"/run/service/{name}")))
    up, _, seconds = result.stdout.decode(errors="replace").strip().partition(" ")
    if result.exit_code or up != "true":
        return "down"
    return STARTING if int(seconds or 0) < _START_SECONDS else "silent"
