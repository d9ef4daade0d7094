"""How a plan is found: each function compares what is wanted with what was found. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from labcloud.model import Cluster, ClusterRef, Found, FoundNode, NodeRef, NodeSpec, Status, config_digests
from labcloud.plan.steps import (
    Decommission,
    DeleteConfig,
    DeleteNetwork,
    DeleteNode,
    DeleteVolume,
    EnsureNetwork,
    EnsureNode,
    Plan,
    PutConfig,
    RefreshNodes,
    StopNode,
)

_UNREAD: Final = ".unread"


@dataclass(frozen=True)
class Blueprint:
    """A wanted cluster in an engine's terms: a spec for each node that may exist, and its rendered configuration.

    ``config_leaving`` is the configuration while surplus nodes are emptied; it equals ``config`` when there are none.
    ``lists`` are the paths in it of the files that name excluded nodes.
    """

    specs: Mapping[NodeRef, NodeSpec]
    config: Mapping[str, str] = field(repr=False)
    config_leaving: Mapping[str, str] = field(repr=False)
    lists: frozenset[str] = frozenset()


def surplus(wanted: Cluster, found: Found) -> tuple[FoundNode, ...]:
    """Nodes that exist beyond what is declared: those that a scale-down removes."""
    declared = set(wanted.nodes())
    return tuple(node for node in found.nodes if node.ref not in declared)


def converge(wanted: Cluster, found: Found, blueprint: Blueprint) -> Plan:
    """The plan after which exactly the declared nodes run. Empty where they do already.

    Surplus nodes are emptied before they go, so each must run once more if it does not.
    """
    leaving = tuple(node.ref for node in surplus(wanted, found))
    exists = {node.ref: node for node in found.nodes}
    network = () if wanted.ref.tenant in found.networks else (EnsureNetwork(wanted.ref.tenant),)
    ensured = tuple(step for ref in (*wanted.nodes(), *leaving) if (step := _ensure_node(blueprint.specs[ref], exists.get(ref))))
    changed = _changed(blueprint.config_leaving, found.configs.get(wanted.ref, {}))
    config = (PutConfig(wanted.ref, blueprint.config_leaving, tuple(ref.name for ref in leaving)),) if changed else ()
    declared = set(wanted.nodes())
    orphans = tuple(DeleteVolume(ref, number) for ref, number in sorted(found.volumes) if ref not in declared)
    unread, tell, read = _lists_told(wanted.ref, blueprint)
    if leaving:
        empty = ((RefreshNodes(wanted.ref),), (Decommission(wanted.ref, leaving),), tuple(DeleteNode(ref) for ref in leaving))
        return Plan.of((*network, *config), ensured, *empty, (unread,), (tell,), (read, *orphans))
    # A daemon reads the lists when it starts; one that runs has to be told.
    lists = {path.removesuffix(_UNREAD) for path in changed} & blueprint.lists
    if lists and any(node.status is Status.RUNNING for node in found.nodes):
        return Plan.of((*network, unread), ensured, (tell,), (read, *orphans))
    return Plan.of((*network, *config), ensured, orphans)


def _lists_told(cluster: ClusterRef, blueprint: Blueprint) -> tuple[PutConfig, RefreshNodes, PutConfig]:
    """The final configuration, and its lists read by daemons that run.

    A file beside each list is there until then: if a run is broken off in between, the next one sees that they have to be told still.
    """
    unread = {**blueprint.config, **{f"{path}{_UNREAD}": "" for path in blueprint.lists}}
    return PutConfig(cluster, unread), RefreshNodes(cluster), PutConfig(cluster, blueprint.config, read=True)


def _changed(files: Mapping[str, str], digests: Mapping[str, str]) -> set[str]:
    """The paths that differ between wanted ``files`` and the found ``digests``."""
    wanted = config_digests(files)
    return {path for path in wanted.keys() | digests.keys() if wanted.get(path) != digests.get(path)}


def _ensure_node(spec: NodeSpec, found: FoundNode | None) -> EnsureNode | None:
    if found is None:
        return EnsureNode(spec, "missing")
    if found.digest != spec.digest:
        return EnsureNode(spec, "drifted")
    return None if found.status is Status.RUNNING else EnsureNode(spec, "stopped")


def stop(found: Found) -> Plan:
    """The plan after which no node runs; all data stays."""
    return Plan.of(tuple(StopNode(node.ref) for node in found.nodes if node.status is Status.RUNNING))


def remove(cluster: ClusterRef, found: Found, *, last_of_tenant: bool) -> Plan:
    """The plan after which nothing of the cluster exists; the tenant's network goes with its last cluster."""
    network = last_of_tenant and cluster.tenant in found.networks
    return Plan.of(
        tuple(DeleteNode(node.ref) for node in found.nodes),
        (
            *(DeleteVolume(ref, number) for ref, number in sorted(found.volumes)),
            *((DeleteConfig(cluster),) if cluster in found.configs else ()),
            *((DeleteNetwork(cluster.tenant),) if network else ()),
        ),
    )
