"""How a plan is found: each function compares what is wanted with what was found. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from labcloud.model import Cluster, ClusterRef, Found, FoundNode, NodeRef, NodeSpec, Status, config_digests
from labcloud.model.dataset import StoredDataset
from labcloud.plan.steps import (
    AwaitGone,
    Decommission,
    DeleteConfig,
    DeleteDatasets,
    DeleteNetwork,
    DeleteNode,
    DeleteVolume,
    EnsureNetwork,
    EnsureNode,
    Plan,
    PutConfig,
    PutDatasets,
    RefreshNodes,
    ResizeNode,
    StopNode,
    UpdateUsers,
)

UNREAD: Final = ".unread"
"""Beside a file of the configuration, in its name: those who use it have not been told of it yet."""
_USERS: Final = "users"
_PEOPLE: Final = frozenset({_USERS, _USERS + UNREAD, "authorized_keys"})  # in a node's folder


@dataclass(frozen=True)
class Blueprint:
    """A wanted cluster in an engine's terms: a spec for each node, retired ones included, and its rendered configuration.

    ``lists`` are the paths in it of the files that name excluded nodes: those that are retired, all of the groups ``scalable``.
    ``subnet`` is where the tenant's network shall be; empty for any place. ``datasets`` are what nodes shall see of shared ones.
    """

    specs: Mapping[NodeRef, NodeSpec]
    config: Mapping[str, str] = field(repr=False)
    lists: frozenset[str] = frozenset()
    scalable: frozenset[str] = frozenset()
    subnet: str = ""
    datasets: Mapping[str, StoredDataset] = field(default_factory=dict)


def remembering(wanted: Cluster, found: Found) -> Cluster:
    """``wanted``, with every node that exists beyond what is declared counted as used: it is retired."""
    beyond = {ref.group: ref.index + 1 for ref in sorted({node.ref for node in found.nodes} - set(wanted.nodes()))}
    groups = tuple(replace(each, used=max(each.used, beyond.get(each.name, 0))) for each in wanted.groups)
    return replace(wanted, groups=groups)


def converge(wanted: Cluster, found: Found, blueprint: Blueprint) -> Plan:
    """The plan after which exactly the declared nodes run. Empty where they do already.

    ``wanted`` remembers what was found. Surplus nodes are emptied before they go, so each must run once more if it does not. A
    name that comes back from retirement waits until HDFS has given up the node that had it. Nodes that run learn of changed members;
    their limits are set before anything else is done, for what comes after may need the memory.
    """
    exists = {node.ref: node for node in found.nodes}
    declared = tuple(wanted.nodes())
    leaving = tuple(sorted(exists.keys() - set(declared)))
    steps = [step for ref in (*declared, *leaving) if (step := _ensure_node(blueprint.specs[ref], exists.get(ref)))]
    resized = tuple(_resized(blueprint.specs[ref], exists[ref]) for ref in (*declared, *leaving) if ref in exists)
    limits = tuple(step for step in resized if step)
    network = () if wanted.ref.tenant in found.networks else (EnsureNetwork(wanted.ref.tenant, blueprint.subnet),)
    shown = _put_datasets(wanted.ref, found, blueprint)
    changed = _changed(blueprint.config, found.configs.get(wanted.ref, {}))
    orphans = tuple(DeleteVolume(ref, number) for ref, number in sorted(found.volumes) if ref not in set(declared))
    # A daemon reads the lists when it starts; one that runs has to be told.
    lists = _changed_lists(blueprint, found, changed)
    users = _users(found, changed)
    if leaving or (lists and any(node.status is Status.RUNNING for node in found.nodes)):
        made = tuple(step for step in steps if step.spec.ref not in exists and step.spec.ref.group in blueprint.scalable)
        healed = tuple(step for step in steps if step not in made)
        gone = (AwaitGone(wanted.ref, tuple(step.spec.ref for step in made)),) if made and lists else ()
        unread, tell, read = _lists_told(wanted.ref, blueprint, leaving, _users_unread(blueprint) if users else {})
        farewell = ((Decommission(wanted.ref, leaving),), tuple(DeleteNode(ref) for ref in leaving)) if leaving else ()
        return Plan.of(limits, (*network, *shown, unread), healed, gone, made, (tell, *users), (read,), *farewell, orphans)
    config = {**blueprint.config, **(_users_unread(blueprint) if users else {})}
    put = (PutConfig(wanted.ref, config),) if changed else ()
    known = (PutConfig(wanted.ref, blueprint.config, made=True),) if users else ()
    return Plan.of(limits, (*network, *shown, *put), tuple(steps), users, known, orphans)


def idle(wanted: Cluster, found: Found, blueprint: Blueprint, only: Collection[NodeRef] = ()) -> Plan:
    """The plan after which the declared nodes, or ``only`` those, run without their services, so that their volumes can be filled."""
    network = () if wanted.ref.tenant in found.networks else (EnsureNetwork(wanted.ref.tenant, blueprint.subnet),)
    put = (PutConfig(wanted.ref, blueprint.config),) if _changed(blueprint.config, found.configs.get(wanted.ref, {})) else ()
    nodes = [ref for ref in wanted.nodes() if not only or ref in only]
    return Plan.of((*network, *put), tuple(EnsureNode(replace(blueprint.specs[ref], idle=True)) for ref in nodes))


def datasets(wanted: Cluster, found: Found, blueprint: Blueprint) -> Plan:
    """The plan after which nodes see the datasets that are wanted. Nothing else is healed, and nothing restarts."""
    return Plan.of(_put_datasets(wanted.ref, found, blueprint))


def _put_datasets(cluster: ClusterRef, found: Found, blueprint: Blueprint) -> tuple[PutDatasets, ...]:
    wanted = {name: each.tag for name, each in blueprint.datasets.items()}
    return (PutDatasets(cluster, blueprint.datasets),) if wanted != dict(found.datasets.get(cluster, {})) else ()


def members(wanted: Cluster, found: Found, blueprint: Blueprint) -> Plan:
    """The plan after which nodes that run have the members that are wanted. Nothing else is healed, and nothing restarts.

    What else changes in the configuration with it, and has to be told to daemons, stays marked as not read.
    """
    changed = _changed(blueprint.config, found.configs.get(wanted.ref, {}))
    if not found.nodes or not any(_of_people(path) for path in changed):
        return Plan()
    lists = _changed_lists(blueprint, found, changed)
    config = {**blueprint.config, **{f"{path}{UNREAD}": "" for path in lists}}
    users = _users(found, changed)
    put = PutConfig(wanted.ref, {**config, **(_users_unread(blueprint) if users else {})})
    return Plan.of((put,), users, (PutConfig(wanted.ref, config, made=True),) if users else ())


def _changed_lists(blueprint: Blueprint, found: Found, changed: Iterable[str]) -> set[str]:
    """The lists that changed on nodes that exist: one that is made reads them when it starts."""
    exist = {node.ref.name for node in found.nodes}
    return {path.removesuffix(UNREAD) for path in changed if path.partition("/")[0] in exist} & blueprint.lists


def _of_people(path: str) -> bool:
    return path.split("/")[1] in _PEOPLE


def _users(found: Found, changed: Iterable[str]) -> tuple[UpdateUsers, ...]:
    """What makes running nodes learn of changed members; a node that starts learns of them by itself."""
    if not any(_of_people(path) for path in changed):
        return ()
    return tuple(UpdateUsers(node.ref) for node in found.nodes if node.status is Status.RUNNING)


def _users_unread(blueprint: Blueprint) -> dict[str, str]:
    """A file beside each node's members until it has made them, for the same reason as with lists."""
    return {f"{node}/{_USERS}{UNREAD}": "" for node in {path.partition("/")[0] for path in blueprint.config}}


def _lists_told(
    cluster: ClusterRef, blueprint: Blueprint, leaving: Iterable[NodeRef], more: Mapping[str, str]
) -> tuple[PutConfig, RefreshNodes, PutConfig]:
    """The configuration, and its lists read by daemons that run.

    A file beside each list is there until then: if a run is broken off in between, the next one sees that they have to be told still.
    """
    unread = {**blueprint.config, **{f"{path}{UNREAD}": "" for path in blueprint.lists}, **more}
    names = tuple(ref.name for ref in leaving)
    return PutConfig(cluster, unread, names), RefreshNodes(cluster), PutConfig(cluster, blueprint.config, read=True)


def _changed(files: Mapping[str, str], digests: Mapping[str, str]) -> set[str]:
    """The paths that differ between wanted ``files`` and the found ``digests``."""
    wanted = config_digests(files)
    return {path for path in wanted.keys() | digests.keys() if wanted.get(path) != digests.get(path)}


def _ensure_node(spec: NodeSpec, found: FoundNode | None) -> EnsureNode | None:
    if found is None:
        return EnsureNode(spec, "missing")
    if found.digest != spec.digest or found.status is Status.FAILED:
        return EnsureNode(spec, "drifted")
    return None if found.status is Status.RUNNING else EnsureNode(spec, "stopped")


def _resized(spec: NodeSpec, found: FoundNode) -> ResizeNode | None:
    """What gives a node that runs, and goes on running, its limits. Others have them when they are made or started."""
    if _ensure_node(spec, found) or found.limited_to(spec.memory, spec.cpus):
        return None
    return ResizeNode(spec.ref, spec.memory, spec.cpus)


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
            *(DeleteVolume(ref, number, snapshot) for ref, number, snapshot in sorted(found.snapshots)),
            *((DeleteConfig(cluster),) if cluster in found.configs else ()),
            *((DeleteDatasets(cluster),) if cluster in found.datasets else ()),
            *((DeleteNetwork(cluster.tenant),) if network else ()),
        ),
    )
