"""A project a tenant: the contract of `labcloud.providers.base`, kept by one `OpenStackProvider` for each.

What belongs to no tenant, images and flavors, is asked in the project that ``clouds.yaml`` names.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import ClassVar

from labcloud.errors import EngineError, NotFoundError
from labcloud.model import ClusterRef, NodeRef, NodeSpec, NodeVolume, Tenant
from labcloud.model.checks import Capacity, Check, Finding, Subject, skipped
from labcloud.model.dataset import StoredDataset
from labcloud.providers.base import Found, KeptVolume, Provider
from labcloud.providers.hosts import Hosts
from labcloud.providers.openstack.connection import Cloud
from labcloud.providers.openstack.nodes import Nodes
from labcloud.providers.openstack.projects import Projects
from labcloud.providers.openstack.provider import OpenStackProvider
from labcloud.providers.openstack.settings import read_settings
from labcloud.providers.openstack.together import at_once
from labcloud.providers.parts import Parts


def provider(home: Path, lab_id: str) -> Provider:
    """The lab's cloud, as its settings want it."""
    return TenantProjects(home, lab_id) if read_settings(home).projects else OpenStackProvider(home, lab_id)


class TenantProjects(Parts):
    """Each tenant's things are in its own project."""

    name = "openstack"
    takes_many: ClassVar[bool] = True
    far: ClassVar[bool] = True
    keeps_volumes: ClassVar[bool] = True

    def __init__(self, home: Path, lab_id: str, *, nodes: Nodes | None = None) -> None:
        self._home, self._lab, self._nodes = home, lab_id, nodes
        self._settings = read_settings(home)
        self._common = OpenStackProvider(home, lab_id)
        cloud = Cloud(self._settings.cloud, self._settings.region)
        self._cloud, self._projects = cloud, Projects(cloud, lab_id, self._settings, home)
        self._known: dict[str, str] = {}
        self._open: dict[str, OpenStackProvider] = {}
        self._checks: dict[str, dict[str, Check]] = {}
        self._lock = threading.RLock()

    def close(self) -> None:
        for each in (*self._open.values(), self._common):
            each.close()
        self._cloud.close()

    # Projects

    def ensure_tenant(self, tenant: Tenant) -> None:
        id = self._projects.ensure(tenant)
        with self._lock:
            self._known[tenant.name] = id

    def delete_tenant(self, tenant: str) -> bool:
        with self._lock:
            self._known.pop(tenant, None)
        return self._projects.delete(tenant)

    def _of(self, tenant: str) -> OpenStackProvider:
        """What works in the tenant's project. Raise NotFoundError if it has none."""
        there = self._there(tenant)
        if there is None:
            raise NotFoundError(
                f"the tenant {tenant} has no project in {self._cloud.label}",
                resolution=f"labcloud tenant create {tenant} --provider openstack",
            )
        return there

    def of(self, ref: NodeRef) -> OpenStackProvider:
        return self._of(ref.cluster.tenant)

    def _there(self, tenant: str) -> OpenStackProvider | None:
        with self._lock:
            if tenant not in self._known:
                self._known = self._projects.all()
            return self._opened(self._known[tenant]) if tenant in self._known else None

    def _opened(self, project: str) -> OpenStackProvider:
        with self._lock:
            if project not in self._open:
                cloud = Cloud(self._settings.cloud, self._settings.region, project)
                self._open[project] = OpenStackProvider(self._home, self._lab, cloud=cloud, nodes=self._nodes)
            return self._open[project]

    # What exists

    def find(self, tenant: str | None = None, cluster: ClusterRef | None = None) -> Found:
        owner = cluster.tenant if cluster else tenant
        if owner:
            there = self._there(owner)
            return there.find(tenant, cluster) if there else Found()
        return _joined(at_once(self._opened(each).find for each in sorted(set(self._projects.all().values()))))

    def domain(self, tenant: str) -> str:
        return self._common.domain(tenant)

    def image(self, name: str, preferred: str = "") -> str:
        return self._common.image(name, preferred)

    def capacity(self) -> Capacity:
        return self._common.capacity()

    def checks(self) -> tuple[Check, ...]:
        return tuple(replace(each, run=partial(self._check, each)) for each in self._common.checks())

    def _check(self, check: Check, subject: Subject) -> Finding:
        """A check of the tenant's project; of the common one, where it is about the machine or the tenant has none yet."""
        tenant = subject.cluster.ref.tenant if subject.cluster else ""
        there = self._there(tenant) if tenant else None
        if there is None:
            return skipped(f"{tenant} has no project yet") if tenant and check.id.endswith("-quota") else check.run(subject)
        with self._lock:
            own = self._checks.setdefault(tenant, {each.id: each for each in there.checks()})
        return own[check.id].run(subject)

    # Making and deleting

    def ensure_network(self, tenant: str, subnet: str = "") -> None:
        if self._there(tenant) is None:
            self.ensure_tenant(Tenant(tenant, 0))
        self._of(tenant).ensure_network(tenant, subnet)

    def delete_network(self, tenant: str) -> None:
        there = self._there(tenant)
        if there:
            there.delete_network(tenant)

    def ensure_config(self, cluster: ClusterRef, files: Mapping[str, str]) -> bool:
        return self._of(cluster.tenant).ensure_config(cluster, files)

    def ensure_base(self, cluster: ClusterRef) -> None:
        there = self._there(cluster.tenant)
        if there:
            there.ensure_base(cluster)

    def config(self, cluster: ClusterRef) -> dict[str, str]:
        return self._common.config(cluster)

    def delete_config(self, cluster: ClusterRef) -> None:
        (self._there(cluster.tenant) or self._common).delete_config(cluster)

    def ensure_datasets(self, cluster: ClusterRef, datasets: Mapping[str, StoredDataset]) -> bool:
        return self._of(cluster.tenant).ensure_datasets(cluster, datasets)

    def delete_datasets(self, cluster: ClusterRef) -> None:
        (self._there(cluster.tenant) or self._common).delete_datasets(cluster)

    def ensure_node(self, spec: NodeSpec) -> None:
        self._of(spec.ref.cluster.tenant).ensure_node(spec)

    def ensure_nodes(self, specs: Sequence[NodeSpec]) -> None:
        for tenant, own in groupby(sorted(specs, key=lambda each: each.ref), key=lambda each: each.ref.cluster.tenant):
            self._of(tenant).ensure_nodes(list(own))

    def stop_node(self, ref: NodeRef, *, timeout: float = 30.0) -> None:
        self._if_there(ref, lambda each: each.stop_node(ref, timeout=timeout))

    def delete_node(self, ref: NodeRef) -> None:
        self._if_there(ref, lambda each: each.delete_node(ref))

    def delete_nodes(self, refs: Collection[NodeRef]) -> None:
        for tenant, own in groupby(sorted(refs), key=lambda each: each.cluster.tenant):
            there = self._there(tenant)
            if there:
                there.delete_nodes(list(own))

    def delete_volume(self, ref: NodeRef, number: int, snapshot: str = "") -> None:
        self._if_there(ref, lambda each: each.delete_volume(ref, number, snapshot))

    def delete_volumes(self, places: Collection[tuple[NodeRef, int, str]]) -> None:
        for tenant, own in groupby(sorted(places), key=lambda each: each[0].cluster.tenant):
            there = self._there(tenant)
            if there:
                there.delete_volumes(list(own))

    def _if_there(self, ref: NodeRef, do: Callable[[OpenStackProvider], None]) -> None:
        there = self._there(ref.cluster.tenant)
        if there:
            do(there)

    def ensure_volume(self, ref: NodeRef, number: int, volume: NodeVolume, snapshot: str = "") -> Path:
        return self._of(ref.cluster.tenant).ensure_volume(ref, number, volume, snapshot)

    def volume_folder(self, ref: NodeRef, number: int, snapshot: str = "") -> Path:
        return self._of(ref.cluster.tenant).volume_folder(ref, number, snapshot)

    def volume_place(self, ref: NodeRef, number: int, snapshot: str = "") -> str:
        return self._common.volume_place(ref, number, snapshot)

    def keep_volumes(self, copy: str, places: Sequence[tuple[NodeRef, int]], facts: Mapping[str, str], *, whole: bool) -> None:
        self._of(places[0][0].cluster.tenant).keep_volumes(copy, places, facts, whole=whole)

    def kept_volumes(self, tenant: str, cluster: ClusterRef | None = None) -> list[KeptVolume]:
        there = self._there(tenant)
        return there.kept_volumes(tenant, cluster) if there else []

    def forget_volumes(self, tenant: str, copies: Collection[str]) -> None:
        there = self._there(tenant)
        if there:
            there.forget_volumes(tenant, copies)

    def bring_volumes(
        self, copy: str, places: Mapping[tuple[NodeRef, int], tuple[NodeRef, int]], volumes: Mapping[tuple[NodeRef, int], NodeVolume],
        snapshot: str,
    ) -> None:  # fmt: skip
        tenants = {ref.cluster.tenant for ref, _ in (*places, *places.values())}
        if len(tenants) > 1:
            raise EngineError(
                f"a backup of Cinder stays in its tenant's project: {' and '.join(sorted(tenants))} have one each",
                resolution="restore it for the same tenant",
            )
        self._of(*tenants).bring_volumes(copy, places, volumes, snapshot)

    def forwarded(self, ports: Collection[tuple[NodeRef, int]]) -> AbstractContextManager[Mapping[tuple[NodeRef, int], str]]:
        tenants = {ref.cluster.tenant for ref, _ in ports}
        return self._of(*tenants).forwarded(ports) if tenants else super().forwarded(ports)

    def hosts(self) -> Hosts:
        return self._common.hosts()


def _joined(parts: Iterable[Found]) -> Found:
    found = list(parts)
    configs = {ref: each for part in found for ref, each in part.configs.items()} if found else {}
    return Found(
        nodes=tuple(sorted((node for part in found for node in part.nodes), key=lambda each: each.ref)),
        networks=frozenset[str]().union(*(part.networks for part in found)),
        volumes=frozenset[tuple[NodeRef, int]]().union(*(part.volumes for part in found)),
        configs=configs,
        snapshots=frozenset[tuple[NodeRef, int, str]]().union(*(part.snapshots for part in found)),
        datasets={ref: each for part in found for ref, each in part.datasets.items()},
    )
