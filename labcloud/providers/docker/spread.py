"""A lab with several Docker hosts: the contract of `labcloud.providers.base`, kept by one `DockerProvider` for each.

New nodes are made at home, on this machine. Those that were moved (`labcloud.providers.docker.moving`) stay where they are, and whatever is
asked of a node is asked of the engine that has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from labcloud.errors import EngineError
from labcloud.model import ClusterRef, FoundNode, NodeRef, NodeSpec, NodeVolume, Status
from labcloud.model.checks import Capacity, Check
from labcloud.model.dataset import StoredDataset
from labcloud.providers.base import Found, Replica
from labcloud.providers.docker.estate import Estate
from labcloud.providers.docker.provider import DockerProvider
from labcloud.providers.docker.remote import BASE, CONFIG, DATASETS, RemoteDocker
from labcloud.providers.docker.replicas import DockerReplica
from labcloud.providers.docker.settings import Settings
from labcloud.providers.hosts import Hosts
from labcloud.providers.parts import Parts


class SpreadDocker(Parts):
    """Nodes are on the home engine, or on the hosts that ``settings`` name."""

    name = "docker"

    def __init__(self, home: Path, lab_id: str, settings: Settings) -> None:
        self._rendered = home / "rendered"
        self._estate = Estate(home, lab_id, settings)
        self._home = self._estate.home

    def close(self) -> None:
        self._estate.close()

    def hosts(self) -> Hosts:
        from labcloud.providers.docker.hosts import DockerHosts

        return DockerHosts(self._estate)

    # What exists

    def find(self, tenant: str | None = None, cluster: ClusterRef | None = None) -> Found:
        found, places = self._home.find(tenant, cluster), self._estate.places(tenant, cluster)
        nodes = [each for each in found.nodes if not places.host(each.ref)]
        volumes, snapshots = set(found.volumes), set(found.snapshots)
        for host in sorted(places.hosts()):
            try:
                there = self._estate.on(host).find(tenant, cluster)
            except EngineError:
                if cluster is not None and places.on(host):
                    raise
                # Whoever asks for all is told of the others; and that these are there, and nothing more is known of them.
                nodes += [FoundNode(ref, Status.FAILED, "", "", "", 0, "") for ref in places.on(host)]
                continue
            nodes += [each for each in there.nodes if places.host(each.ref) == host]
            volumes |= there.volumes
            snapshots |= there.snapshots
        configs = (
            {each: told for each, told in found.configs.items() if not self._unfilled(each).exists()} if places.hosts() else found.configs
        )
        return replace(
            found, nodes=tuple(sorted(nodes, key=lambda node: node.ref)), volumes=frozenset(volumes), snapshots=frozenset(snapshots),
            configs=configs )  # fmt: skip

    def domain(self, tenant: str) -> str:
        return self._home.domain(tenant)

    def image(self, name: str, preferred: str = "") -> str:
        return self._home.image(name, preferred)

    def capacity(self) -> Capacity:
        """What the home has, where new nodes are made, and the memory that nodes have elsewhere: all nodes together are measured by it."""
        own, places = self._home.capacity(), self._estate.places()
        away = [each.memory for each in self.find().nodes if places.host(each.ref)] if places.hosts() else []
        return replace(own, memory=own.memory + sum(away))

    def checks(self) -> tuple[Check, ...]:
        return self._home.checks()

    def of(self, ref: NodeRef) -> DockerProvider:
        return self._estate.of(ref)

    # Making and deleting

    def ensure_network(self, tenant: str, subnet: str = "") -> None:
        self._home.ensure_network(tenant, subnet)

    def delete_network(self, tenant: str) -> None:
        self._estate.part(tenant)
        self._home.delete_network(tenant)

    def ensure_config(self, cluster: ClusterRef, files: Mapping[str, str]) -> bool:
        away = self._estate.away(cluster)
        if not away:
            return self._home.ensure_config(cluster, files)
        mark = self._unfilled(cluster)
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()  # until the mirrors are filled, its nodes do not see what is here
        changed = self._home.ensure_config(cluster, files)
        self._estate.fill(away, (CONFIG,))
        mark.unlink(missing_ok=True)
        return changed

    def _unfilled(self, cluster: ClusterRef) -> Path:
        return self._rendered / cluster.tenant / cluster.name / ".unfilled"

    def config(self, cluster: ClusterRef) -> dict[str, str]:
        return self._home.config(cluster)

    def delete_config(self, cluster: ClusterRef) -> None:
        for ref in sorted({each.ref for each in self._estate.places(cluster=cluster).seats if each.host}):
            self._estate.forget(ref)
        self._home.delete_config(cluster)

    def ensure_base(self, cluster: ClusterRef) -> None:
        self._estate.fill(self._estate.away(cluster), (BASE,))

    def ensure_datasets(self, cluster: ClusterRef, datasets: Mapping[str, StoredDataset]) -> bool:
        changed = self._home.ensure_datasets(cluster, datasets)
        away = self._estate.away(cluster)
        for host in sorted({self._estate.place(each) for each in away}):  # they share one mirror on each
            self._estate.fill([next(each for each in away if self._estate.place(each) == host)], (DATASETS,))
        return changed

    def delete_datasets(self, cluster: ClusterRef) -> None:
        self._home.delete_datasets(cluster)

    def ensure_node(self, spec: NodeSpec) -> None:
        self._estate.tidy(spec.ref, lenient=True)
        engine = self.of(spec.ref)
        if isinstance(engine, RemoteDocker):
            engine.seated(spec.ref, self._estate.address(spec.ref), str(self._estate.layout(spec.ref.cluster.tenant).names))
            self._estate.join(spec.ref.cluster.tenant)
            self._estate.fill([spec.ref])
            self._estate.wake(spec.ref)
        elif (why := self._estate.reason("")) and all(each.ref != spec.ref for each in self._home.find(cluster=spec.ref.cluster).nodes):
            raise EngineError(
                f"{self._estate.settings.name} gets no new nodes: {why}",
                resolution=f"labcloud undrain {self._estate.settings.name} --provider docker",
            )
        engine.ensure_node(spec)

    def stop_node(self, ref: NodeRef, *, timeout: float = 30.0) -> None:
        self.of(ref).stop_node(ref, timeout=timeout)

    def delete_node(self, ref: NodeRef) -> None:
        self.of(ref).delete_node(ref)

    def delete_volume(self, ref: NodeRef, number: int, snapshot: str = "") -> None:
        hosts = {each.host for each in self._estate.places(cluster=ref.cluster).of(ref)} - {""}
        if hosts:
            self._estate.sweep(ref, hosts)
        for host in sorted(hosts):
            self._estate.on(host).delete_volume(ref, number, snapshot)
        self._home.delete_volume(ref, number, snapshot)
        if hosts:
            self._estate.forget_if_gone(ref, hosts)

    # Snapshots, and replicas of what is elsewhere, are at home.

    def ensure_volume(self, ref: NodeRef, number: int, volume: NodeVolume, snapshot: str = "") -> Path:
        there = self._estate.remotes.get(self._estate.place(ref))
        if there and not snapshot:
            volume = there.class_volumes(ref).get(number, volume)
        return self._home.ensure_volume(ref, number, volume, snapshot)

    def volume_folder(self, ref: NodeRef, number: int, snapshot: str = "") -> Path:
        return self._home.volume_folder(ref, number, snapshot)

    def replica(self, ref: NodeRef) -> Replica | None:
        host = self._estate.place(ref)
        return DockerReplica(self._estate, ref, host) if host else None
