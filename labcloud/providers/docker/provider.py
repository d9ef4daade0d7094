"""The contract of `labcloud.providers.base`, kept by a Docker Engine on this machine.

State lives in the engine: containers, networks and volumes carry labels. The only files are the rendered configurations,
below ``HOME/rendered``, and views of datasets, below ``HOME/datasets/views``, which nodes have mounted.
"""

from __future__ import annotations

import http.client
import os
import tarfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from labcloud.datasets.placement import views_root
from labcloud.datasets.views import Views
from labcloud.errors import ConflictError, EngineError, NotFoundError
from labcloud.lab.files import clusters_below
from labcloud.model import ClusterRef, FoundNode, NodeRef, NodeSpec, NodeVolume, Status
from labcloud.model.checks import Capacity, Check
from labcloud.model.dataset import StoredDataset
from labcloud.model.found import Digests
from labcloud.providers.base import Command, Found, Inspection, Provider, Response, Result, Sink
from labcloud.providers.docker import containers, limits, streams, volumes
from labcloud.providers.docker.engine import Engine, gone_is_done, refused, remove_container
from labcloud.providers.docker.facts import Facts
from labcloud.providers.docker.probes import Probes
from labcloud.providers.docker.seats import is_node
from labcloud.providers.docker.subnets import claimed_subnet, free_subnet, host_routes
from labcloud.providers.tree import delete_tree, read_tree, write_tree

if TYPE_CHECKING:
    from docker import APIClient

_SUBNET_TRIES: Final = 8
_ADDRESS_SECONDS: Final = 1.0


class DockerProvider(Provider):
    """Nodes are containers, a tenant's wall is a bridge network, data lies in named volumes.

    ``home`` is the lab's folder on this machine, ``lab_id`` the label that keeps labs on one engine apart.
    """

    name = "docker"

    def __init__(self, home: Path, lab_id: str, *, engine: Engine | None = None) -> None:
        self._base = home / "lab" / "base"
        self._rendered = home / "rendered"
        self._views = Views(views_root(home))
        self._lab = lab_id
        self._engine = engine or Engine(os.environ.get("DOCKER_HOST"))
        self._addresses: dict[NodeRef, tuple[str, float]] = {}
        self._network_lock = threading.Lock()
        self._config_lock = threading.Lock()
        self._views_lock = threading.Lock()
        self._facts = Facts(self._engine)
        self._probes = Probes(self._engine, lab_id)

    @property
    def _here(self) -> bool:
        """Whether the engine's folders are this machine's."""
        return volumes.is_local()

    def close(self) -> None:
        self._probes.close()
        self._engine.close()

    # What exists

    def find(self, tenant: str | None = None, cluster: ClusterRef | None = None) -> Found:
        nodes = containers.filters(self._lab, tenant=tenant, cluster=cluster)
        networks = containers.filters(self._lab, tenant=cluster.tenant if cluster else tenant)
        with self._engine.api("ask Docker what exists") as api:
            found = self._nodes(api, nodes)
            if cluster is not None:
                found = [limits.with_limits(api, node) for node in found]
            kept = [_which(each) for each in api.volumes(filters=nodes).get("Volumes") or () if containers.VOLUME in each["Labels"]]
            tenants = [each["Labels"][containers.TENANT] for each in api.networks(filters=networks)]
        return Found(
            nodes=tuple(sorted(found, key=lambda node: node.ref)),
            networks=frozenset(tenants),
            volumes=frozenset((ref, number) for ref, number, snapshot in kept if not snapshot),
            snapshots=frozenset(each for each in kept if each[2]),
            configs=Digests(clusters_below(self._rendered, tenant, cluster), self.config),
            datasets={ref: self._views.shown(ref) for ref in self._views.clusters(tenant, cluster)},
        )

    def _nodes(self, api: APIClient, filters: dict[str, list[str]]) -> list[FoundNode]:
        return [containers.found_node(each) for each in api.containers(all=True, filters=filters) if is_node(each)]

    def _config(self, cluster: ClusterRef) -> Path:
        return self._rendered / cluster.tenant / cluster.name

    def inspect(self, ref: NodeRef) -> Inspection:
        with self._engine.api(f"inspect the node {ref}") as api:
            return containers.inspection(api.inspect_container(ref.qualified), containers.network_name(ref.cluster.tenant))

    def domain(self, tenant: str) -> str:
        return containers.network_name(tenant)

    def image(self, name: str, preferred: str = "") -> str:
        repository = f"labcloud/{name}"
        with self._engine.api(f"look for the image {name}") as api:
            if preferred.startswith(f"{repository}:") and tags_of(api, preferred):
                return preferred
            tags = tags_of(api, f"{repository}:latest")
        if not tags:
            raise NotFoundError(f"the image of {name} is not built yet", resolution=f"run 'labcloud image build {name}' first")
        return next((tag for tag in tags if tag.startswith(f"{repository}:") and not tag.endswith(":latest")), f"{repository}:latest")

    def capacity(self) -> Capacity:
        facts = self._facts.info().answer  # asked once: machines keep their size
        folders = {"images and volumes": Path(facts["DockerRootDir"])} if self._here else {}
        return Capacity(memory=facts["MemTotal"] // 2**20, cpus=float(facts["NCPU"]), folders=folders)

    def checks(self) -> tuple[Check, ...]:
        from labcloud.providers.docker.checks import checks

        self._facts = Facts(self._engine)
        return checks(self._facts, self._probes, self._lab)

    # Making and deleting

    def ensure_network(self, tenant: str, subnet: str = "") -> None:
        from docker.errors import APIError
        from docker.types import IPAMConfig, IPAMPool

        name = containers.network_name(tenant)
        labels = {containers.LAB: self._lab, containers.TENANT: tenant}
        with self._network_lock, self._engine.api(f"create the network of {tenant}") as api:
            if self._own_network(api, tenant):
                return
            for attempt in range(_SUBNET_TRIES):
                taken = _taken(api)
                try:
                    chosen = claimed_subnet(tenant, subnet, taken) if subnet else free_subnet(taken)
                    ipam = IPAMConfig(pool_configs=[IPAMPool(subnet=str(chosen))])
                    api.create_network(name, driver="bridge", ipam=ipam, labels=labels, check_duplicate=True)
                except (APIError, ConflictError) as exc:
                    # Another labcloud was quicker: with this network, or with the subnet.
                    if self._own_network(api, tenant):
                        return
                    if subnet or "overlap" not in str(exc) or attempt == _SUBNET_TRIES - 1:
                        raise
                else:
                    return

    def _own_network(self, api: APIClient, tenant: str) -> bool:
        name = containers.network_name(tenant)
        same = [each for each in api.networks(names=[name]) if each["Name"] == name]
        if same and same[0]["Labels"].get(containers.LAB) != self._lab:
            raise ConflictError(
                f"the network {name} exists already, and is not this lab's", resolution="choose another tenant name, or remove that network"
            )
        return bool(same)

    def delete_network(self, tenant: str) -> None:
        with self._engine.api(f"delete the network of {tenant}") as api, gone_is_done():
            self._probes.sweep(api)  # the tenant's last cluster goes, and nothing is left: of a probe that was killed neither
            api.remove_network(containers.network_name(tenant))

    def ensure_config(self, cluster: ClusterRef, files: Mapping[str, str]) -> bool:
        with self._config_lock:
            return write_tree(self._config(cluster), files)

    def config(self, cluster: ClusterRef) -> dict[str, str]:
        return read_tree(self._config(cluster))

    def delete_config(self, cluster: ClusterRef) -> None:
        delete_tree(self._config(cluster))

    def ensure_datasets(self, cluster: ClusterRef, datasets: Mapping[str, StoredDataset]) -> bool:
        with self._views_lock:
            return self._views.ensure(cluster, datasets)

    def delete_datasets(self, cluster: ClusterRef) -> None:
        self._views.delete(cluster)

    def ensure_node(self, spec: NodeSpec) -> None:
        from docker.errors import APIError

        name = spec.ref.qualified
        body = self._body(spec)
        with self._engine.api(f"create the node {spec.ref}") as api:
            volumes.ensure(api, self._lab, spec, here=self._here)
            try:
                api.create_container_from_config(body, name)
            except APIError as exc:
                if not refused(exc, 409):
                    raise
                self._replace_if_unfit(api, spec, body)
            api.start(name)
        self._addresses.pop(spec.ref, None)

    def _body(self, spec: NodeSpec) -> dict[str, Any]:
        """What the engine is asked for."""
        return containers.create_body(self._lab, spec, self.mounts(spec.ref.cluster))

    def mounts(self, cluster: ClusterRef) -> containers.Mounts:
        """The folders of this machine that the cluster's nodes see."""
        return containers.Mounts(self._base, self._config(cluster), self._views.prepare(cluster))

    def _replace_if_unfit(self, api: APIClient, spec: NodeSpec, body: Mapping[str, Any]) -> None:
        from docker.errors import NotFound

        name = spec.ref.qualified
        try:
            there = api.inspect_container(name)
        except NotFound:  # whoever removed it is done
            api.create_container_from_config(body, name)
            return
        labels = there["Config"]["Labels"] or {}
        if labels.get(containers.LAB) != self._lab:
            raise ConflictError(
                f"a container named {name} exists already, and is not this lab's",
                resolution="choose another cluster name, or remove that container",
            )
        if containers.HOST in labels:
            raise ConflictError(
                f"the node {spec.ref} is on the host {labels[containers.HOST]}, which docker.yaml does not name",
                resolution="name that host in docker.yaml again",
            )
        # One that never started may have been refused for what has been mended since: it holds nothing, so it is made anew.
        if labels.get(containers.DIGEST) != spec.digest or there["State"]["Status"] in ("created", "dead", "removing"):
            self.stop_node(spec.ref)
            remove_container(api, name)
            api.create_container_from_config(body, name)
        elif containers.limits_body(*containers.limits_of(there)) != containers.limits_body(spec.memory, spec.cpus):
            limits.resize(api, spec.ref, memory=spec.memory, cpus=spec.cpus)

    def resize_node(self, ref: NodeRef, *, memory: int, cpus: float) -> None:
        with self._engine.api(f"limit the node {ref}") as api:
            limits.resize(api, ref, memory=memory, cpus=cpus)

    def stop_node(self, ref: NodeRef, *, timeout: float = 30.0) -> None:
        with self._engine.api(f"stop the node {ref}") as api, gone_is_done():
            api.stop(ref.qualified, timeout=round(timeout))

    def delete_node(self, ref: NodeRef) -> None:
        with self._engine.api(f"delete the node {ref}") as api:
            remove_container(api, ref.qualified, volumes=True)

    def delete_volume(self, ref: NodeRef, number: int, snapshot: str = "") -> None:
        with self._engine.api(f"delete volume {number} of {ref}") as api, gone_is_done():
            volumes.remove(api, self._lab, (ref, number, snapshot))

    def ensure_volume(self, ref: NodeRef, number: int, volume: NodeVolume, snapshot: str = "") -> Path:
        with self._engine.api(f"make volume {number} of {ref}") as api:
            return volumes.ensure_alone(api, self._lab, (ref, number, snapshot), volume, here=self._here)

    def volume_folder(self, ref: NodeRef, number: int, snapshot: str = "") -> Path:
        with self._engine.api(f"look for volume {number} of {ref}") as api:
            return volumes.folder_of(api, self._lab, (ref, number, snapshot), here=self._here)

    # Talking to nodes

    def execute(self, ref: NodeRef, command: Command, *, stdout: Sink | None = None, stderr: Sink | None = None) -> Result:
        with self._engine.api(f"run {command.argv[0]} on {ref}") as api:
            return streams.run(api, ref.qualified, command, stdout=stdout, stderr=stderr)

    def interactive(self, ref: NodeRef, argv: Sequence[str], *, user: str) -> list[str]:
        return ["docker", *self._engine.arguments(), "exec", "--interactive", "--tty", "--user", user, ref.qualified, *argv]

    def put_file(self, ref: NodeRef, path: str, content: Iterable[bytes], *, size: int, owner: int) -> None:
        folder, _, name = path.rpartition("/")
        with self._engine.api(f"write {path} on {ref}") as api:
            api.put_archive(ref.qualified, folder or "/", _archive(name, content, size=size, owner=owner))

    def request(self, ref: NodeRef, port: int, path: str, *, method: str = "GET", body: bytes = b"", timeout: float = 5.0) -> Response:
        connection = http.client.HTTPConnection(self.address(ref), port, timeout=timeout)
        try:
            connection.request(method, path, body=body or None)
            answer = connection.getresponse()
            return Response(answer.status, answer.read(), dict(answer.getheaders()))
        except ConnectionRefusedError as exc:
            raise EngineError(f"nothing listens on port {port} of {ref}") from exc
        except (OSError, http.client.HTTPException) as exc:
            raise EngineError(f"port {port} of {ref} does not answer", details=str(exc)) from exc
        finally:
            connection.close()

    def address(self, ref: NodeRef) -> str:
        # Not older than a moment: a node that is started again may have another.
        address, known_until = self._addresses.get(ref, ("", 0.0))
        if time.monotonic() > known_until:
            with self._engine.api(f"look for {ref}") as api:
                nodes = self._nodes(api, containers.filters(self._lab, cluster=ref.cluster))
            until = time.monotonic() + _ADDRESS_SECONDS
            self._addresses.update({node.ref: (node.address, until) for node in nodes if node.status is Status.RUNNING})
            address, _ = self._addresses.get(ref, ("", 0.0))
        if not address:
            raise EngineError(f"the node {ref} does not run")
        return address


def tags_of(api: APIClient, image: str) -> list[str]:
    """The references of an image that is there; none of one that is not."""
    from docker.errors import APIError

    try:
        return [str(tag) for tag in api.inspect_image(image)["RepoTags"]]
    except APIError as exc:
        if not refused(exc, 404):
            raise
        return []


def _which(volume: Mapping[str, Any]) -> volumes.Which:
    labels = volume["Labels"]
    return containers.ref_of(labels), int(labels[containers.VOLUME]), labels.get(containers.SNAPSHOT, "")


def _taken(api: APIClient) -> list[IPv4Network]:
    """The subnets of Docker's networks, and the machine's routes."""
    configs = [config for each in api.networks() for config in (each["IPAM"].get("Config") or ())]
    subnets = [config["Subnet"] for config in configs if "." in config.get("Subnet", "")]
    return [IPv4Network(each) for each in subnets] + host_routes()


def _archive(name: str, content: Iterable[bytes], *, size: int, owner: int) -> Iterator[bytes]:
    """A tar stream of one file, made as it is read: the file need not fit into memory."""
    header = tarfile.TarInfo(name)
    header.size, header.mode, header.uid, header.gid, header.mtime = size, 0o600, owner, owner, int(time.time())
    yield header.tobuf(format=tarfile.PAX_FORMAT)
    yield from content
    yield bytes(-size % tarfile.BLOCKSIZE) + bytes(2 * tarfile.BLOCKSIZE)
