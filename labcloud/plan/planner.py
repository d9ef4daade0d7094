"""How a plan is found: each function compares what is wanted with what was found. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from labcloud.model import Cluster, ClusterRef, Found, FoundNode, NodeRef, NodeSpec, Status, config_digest
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
    """

    specs: Mapping[NodeRef, NodeSpec]
    config: Mapping[str, str] = field(repr=False)
    config_leaving: Mapping[str, str] = field(repr=False)


def surplus(wanted: Cluster, found: Found) -> tuple[FoundNode, ...]:
    """Nodes that exist beyond what is declared: those that a scale-down removes."""
    declared = set(wanted.nodes())
    return tuple(node for node in found.nodes if node.ref not in declared)


def converge(wanted: Cluster, found: Found, blueprint: Blueprint) -> Plan:
    """The plan after which exactly the declared nodes run. Empty where they do already.

    Surplus nodes are emptied before they go, so each must run once more if it does not.
    """
    leaving = surplus(wanted, found)
    exists = {node.ref: node for node in found.nodes}
    network = () if wanted.ref.tenant in found.networks else (EnsureNetwork(wanted.ref.tenant),)
    nodes = (*wanted.nodes(), *(node.ref for node in leaving))
    ensured = tuple(step for ref in nodes if (step := _ensure_node(blueprint.specs[ref], exists.get(ref))))
    digest = found.configs.get(wanted.ref)
    if not leaving:
        config = _put_config(wanted.ref, blueprint.config, digest)
        lists_changed = bool(config) and any(node.status is Status.RUNNING for node in found.nodes)
        return Plan.of((*network, *config), ensured, _refresh(wanted.ref) if lists_changed else (), _orphans(wanted, found))
    refs = tuple(node.ref for node in leaving)
    return Plan.of(
        (*network, *_put_config(wanted.ref, blueprint.config_leaving, digest, leaving=refs)),
        ensured,
        _refresh(wanted.ref),
        (Decommission(wanted.ref, refs),),
        tuple(DeleteNode(ref) for ref in refs),
        (*_orphans(wanted, found), PutConfig(wanted.ref, blueprint.config)),
        _refresh(wanted.ref),
    )


def _ensure_node(spec: NodeSpec, found: FoundNode | None) -> EnsureNode | None:
    if found is None:
        return EnsureNode(spec, "missing")
    if found.digest != spec.digest:
        return EnsureNode(spec, "drifted")
    return None if found.status is Status.RUNNING else EnsureNode(spec, "stopped")


def _put_config(cluster: ClusterRef, files: Mapping[str, str], digest: str | None, leaving: Iterable[NodeRef] = ()) -> tuple[Step, ...]:
    if digest == config_digest(files):
        return ()
    return (PutConfig(cluster, files, tuple(ref.name for ref in leaving)),)


def _refresh(cluster: ClusterRef) -> tuple[Step, ...]:
    return (RefreshNodes(cluster),)


def _orphans(wanted: Cluster, found: Found) -> tuple[Step, ...]:
    """Volumes whose node is not declared: those of leaving nodes, and what an earlier, killed run left."""
    declared = set(wanted.nodes())
    return tuple(DeleteVolume(ref, number) for ref, number in sorted(found.volumes) if ref not in declared)


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
