"""How a plan is found: each function compares what is wanted with what was found. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

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
    Step,
    StopNode,
)


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
    # A daemon reads the lists when it starts; one that runs has to be told.
    running = any(node.status is Status.RUNNING for node in found.nodes)
    refresh = (RefreshNodes(wanted.ref),) if leaving or (running and changed & blueprint.lists) else ()
    return Plan.of((*network, *config), ensured, refresh, *_departure(wanted, found, blueprint, leaving))


def _departure(wanted: Cluster, found: Found, blueprint: Blueprint, leaving: tuple[NodeRef, ...]) -> Iterator[tuple[Step, ...]]:
    """The stages in which surplus nodes go, and their volumes, with what an earlier, killed run left of such."""
    declared = set(wanted.nodes())
    orphans = tuple(DeleteVolume(ref, number) for ref, number in sorted(found.volumes) if ref not in declared)
    if not leaving:
        yield orphans
        return
    yield (Decommission(wanted.ref, leaving),)
    yield tuple(DeleteNode(ref) for ref in leaving)
    yield (*orphans, PutConfig(wanted.ref, blueprint.config))
    yield (RefreshNodes(wanted.ref),)


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
