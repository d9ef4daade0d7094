"""A wanted cluster in an engine's terms: what `labcloud.plan` compares with what was found."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from labcloud.model import Cluster, NodeRef, NodeSpec, NodeVolume, Shared, Tenant
from labcloud.model.dataset import StoredDataset
from labcloud.model.storage import Classes, storage_class
from labcloud.plan import Blueprint
from labcloud.profiles import Profile, host_name, render

_NO_DATASETS: Final[Mapping[str, StoredDataset]] = MappingProxyType({})


def draw(
    cluster: Cluster, profile: Profile, domain: str, tenant: Tenant | None, shared: Shared, *,
    datasets: Mapping[str, StoredDataset] = _NO_DATASETS,
) -> Blueprint:  # fmt: skip
    """The blueprint of ``cluster``, for the people and in the network of ``tenant`` (None: not declared yet), with its ``datasets``.

    ``shared`` is what the lab says beside the cluster's own file. Raise UsageError for a wrong setting.
    """
    retired = tuple(cluster.retired())
    excluded = tuple(host_name(ref, domain) for ref in retired)
    config = render(profile, cluster, domain, shared=shared, excluded=excluded, members=tenant.members if tenant else ())
    return Blueprint(
        specs={ref: _spec(cluster, profile, ref, shared.storage) for ref in (*cluster.nodes(), *retired)},
        config=config,
        lists=frozenset(path for path in config if path.rpartition("/")[2] in profile.exclude_files),
        scalable=frozenset(name for name, group in profile.groups.items() if group.scalable),
        subnet=tenant.subnet if tenant else "",
        datasets=datasets,
    )


def _spec(cluster: Cluster, profile: Profile, ref: NodeRef, storage: Classes) -> NodeSpec:
    group = cluster.size(ref)
    return NodeSpec(
        ref=ref,
        image=cluster.image,
        profile=cluster.profile,
        memory=group.memory,
        cpus=group.cpus,
        volumes=tuple(NodeVolume(each.size, storage_class(storage, each.storage)) for each in group.volumes),
        publish=MappingProxyType(_published(cluster, profile, ref)),
    )


def _published(cluster: Cluster, profile: Profile, ref: NodeRef) -> dict[int, int]:
    """User interfaces of the one node that leads its group; those of scalable groups are reached by their nodes' addresses."""
    if profile.groups[ref.group].scalable:
        return {}
    return {
        service.ports[service.ui.port]: cluster.publish.get(name, 0)
        for name, service in profile.services.items()
        if service.group == ref.group and service.ui is not None
    }
