"""The contract of `labcloud.providers.base`, kept by an OpenStack cloud.

State lives in the cloud: servers carry tags and metadata, networks descriptions. The only files are the rendered configurations,
below ``HOME/rendered``, as nodes have taken them, and the lab's ssh key, below ``HOME/secrets``.
"""

from __future__ import annotations

import http.client
import shlex
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar, Final

from labcloud.datasets.placement import views_root
from labcloud.datasets.views import Views
from labcloud.errors import EngineError, LabError, NotFoundError, UsageError
from labcloud.lab.files import clusters_below
from labcloud.model import ClusterRef, NodeRef, NodeSpec, NodeVolume, Status
from labcloud.model.checks import Capacity, Check
from labcloud.model.dataset import StoredDataset
from labcloud.model.found import Digests
from labcloud.providers.base import Command, Found, Inspection, KeptVolume, Provider, Response, Result, Sink
from labcloud.providers.hosts import Hosts
from labcloud.providers.openstack import identity
from labcloud.providers.openstack.catalogue import Catalogue, disk_of
from labcloud.providers.openstack.connection import Cloud
from labcloud.providers.openstack.floating import FloatingAddresses
from labcloud.providers.openstack.folders import Folders
from labcloud.providers.openstack.hosts import NovaHosts
from labcloud.providers.openstack.identity import Disk, Machine
from labcloud.providers.openstack.keeping import Keeping
from labcloud.providers.openstack.networks import Networks
from labcloud.providers.openstack.nodes import Nodes, changed_nodes
from labcloud.providers.openstack.servers import BootVolume, Ingredients, Servers
from labcloud.providers.openstack.settings import ANY_TYPE, NETWORK, read_settings
from labcloud.providers.openstack.shares import View, server_of
from labcloud.providers.openstack.ssh import Ssh, Tunnelled, chunks, free_port
from labcloud.providers.openstack.together import at_once
from labcloud.providers.openstack.volumes import DRIVER, Volumes, of_cinder
from labcloud.providers.tree import delete_tree, read_tree, write_tree

_KNOWN_SECONDS: Final = 20.0
_UNLIMITED: Final = 2**40
_DATA: Final = "/data"
_SNAPSHOTS: Final = ".labcloud-snapshots"
"""Where a volume has its snapshots: in itself, so that both share files, and moving to another server takes them along."""
DRIVERS: Final = ("", "local", DRIVER)
"""The drivers of storage classes that servers can have: the server's own disk, or Cinder."""


class OpenStackProvider(Provider):
    """Nodes are servers, a tenant's wall is a network with a security group.

    ``home`` is the lab's folder on this machine, ``lab_id`` what keeps labs in one project apart.
    """

    name = "openstack"
    takes_many: ClassVar[bool] = True
    far: ClassVar[bool] = True
    keeps_volumes: ClassVar[bool] = True

    def __init__(self, home: Path, lab_id: str, *, cloud: Cloud | None = None, nodes: Nodes | None = None) -> None:
        self._lab = lab_id
        self._rendered = home / "rendered"
        self._settings = read_settings(home)
        self._cloud = cloud or Cloud(self._settings.cloud, self._settings.region)
        self._networks = Networks(self._cloud, lab_id, self._settings)
        self._servers = Servers(self._cloud, lab_id)
        self._floating = FloatingAddresses(self._cloud, lab_id)
        self._volumes = Volumes(self._cloud, lab_id)
        self._keeping = Keeping(self._cloud, lab_id, self._volumes)
        self._catalogue = Catalogue(self._cloud)
        self._ssh = Ssh(home / "secrets" / "openstack", self._settings.user)
        self._nodes = nodes or Nodes(self._ssh, self._way, home)
        self._folders = Folders(self._ssh, _DATA, home)
        self._network_ids: dict[str, str] = {}
        self._known: dict[NodeRef, tuple[Machine, float]] = {}
        self._views = Views(views_root(home))
        self._config_lock = threading.Lock()
        self._views_lock = threading.Lock()
        self._shared_lock = threading.Lock()

    def renewed(self, ref: NodeRef) -> None:
        self._nodes.gone(self._machine(ref, fresh=True))

    def hosts(self) -> Hosts:
        return NovaHosts(Cloud(self._settings.operator or self._settings.cloud, self._settings.region), self._lab)

    def close(self) -> None:
        self._folders.close()
        self._cloud.close()

    # What exists

    def find(self, tenant: str | None = None, cluster: ClusterRef | None = None) -> Found:
        machines, disks = self._list(tenant or "", cluster), self._volumes.listed(tenant or "", cluster)
        return Found(
            nodes=tuple(identity.found_node(each, configured=self._nodes.configured(each)) for each in machines),
            networks=self._networks.tenants(cluster.tenant if cluster else tenant),
            volumes=frozenset((each.ref, each.number) for each in disks).union(*(identity.local_volumes(each) for each in machines)),
            snapshots=frozenset((ref, number, id) for ref, held in _held(machines, disks) for number, id in held),
            configs=Digests(clusters_below(self._rendered, tenant, cluster), self.config),
            datasets=self._seen(machines, tenant, cluster),
        )

    def _seen(self, machines: Sequence[Machine], tenant: str | None, cluster: ClusterRef | None) -> dict[ClusterRef, Mapping[str, str]]:
        """What clusters see of datasets; where there is no node yet, what it will see."""
        seen: dict[ClusterRef, Mapping[str, str]] = {}
        for ref in self._views.clusters(tenant, cluster):
            server = server_of(each for each in machines if each.ref.cluster == ref)
            seen[ref] = self._nodes.sees(server) if server else self._views.shown(ref)
        return seen

    def _view(self, cluster: ClusterRef) -> View | None:
        folder = self._views.folder(cluster)
        return View(folder, self._views.shown(cluster)) if folder.is_dir() else None

    def _list(self, tenant: str = "", cluster: ClusterRef | None = None) -> list[Machine]:
        machines = self._servers.listed(tenant, cluster)
        self._remember(machines)
        return machines

    def _remember(self, machines: Iterable[Machine]) -> None:
        until = time.monotonic() + _KNOWN_SECONDS
        self._known.update({each.ref: (each, until) for each in machines})

    def _machine(self, ref: NodeRef, *, fresh: bool = False) -> Machine:
        """The node's server, as it was a moment ago. Raise NotFoundError if there is none."""
        machine, until = self._known.get(ref, (None, 0.0))
        if fresh or machine is None or time.monotonic() > until:
            self._known.pop(ref, None)
            machine = next((each for each in self._list(cluster=ref.cluster) if each.ref == ref), None)
        if machine is None:
            raise NotFoundError(f"there is no node {ref}", resolution=f"'labcloud show {ref.cluster}' shows those that there are")
        return machine

    def _running(self, ref: NodeRef) -> Machine:
        machine = self._machine(ref)
        if machine.status is not Status.RUNNING:
            machine = self._machine(ref, fresh=True)
        if machine.status is not Status.RUNNING:
            raise EngineError(f"the node {ref} does not run: it is {machine.state}", resolution=f"start it: labcloud start {ref.cluster}")
        return machine

    def _answering(self, ref: NodeRef) -> Machine:
        """As `_running`, where one that does not exist is just one that does not answer: HDFS names nodes that left some time ago."""
        try:
            return self._running(ref)
        except NotFoundError as exc:
            raise EngineError(f"the node {ref} does not run", details=exc.brief) from exc

    def _config(self, cluster: ClusterRef) -> Path:
        return self._rendered / cluster.tenant / cluster.name

    def inspect(self, ref: NodeRef) -> Inspection:
        machine = self._machine(ref, fresh=True)
        return identity.inspection(*(self._servers.told(machine) if machine.status is Status.FAILED else (machine,)))

    def domain(self, tenant: str) -> str:
        return identity.tenant_resource(tenant)

    def image(self, name: str, preferred: str = "") -> str:
        return self._catalogue.newest(name, preferred)

    def capacity(self) -> Capacity:
        limits = self._cloud.read("ask what the project may use", lambda api: api.compute.get_limits().absolute)
        memory, cores = int(limits.total_ram or -1), int(limits.total_cores or -1)
        return Capacity(memory=memory if memory >= 0 else _UNLIMITED, cpus=float(cores if cores >= 0 else _UNLIMITED))

    def checks(self) -> tuple[Check, ...]:
        from labcloud.providers.openstack.checks import checks
        from labcloud.providers.openstack.facts import Facts

        return checks(Facts(self._cloud), self._servers, self._settings, lab=self._lab, drivers=DRIVERS)

    def _way(self, machine: Machine) -> list[str]:
        """Options of ssh that lead to a server."""
        proxy = self._settings.proxy
        if not proxy:
            return ["-J", self._settings.jump] if self._settings.jump else []
        words = shlex.join(proxy)
        return ["-o", f"ProxyCommand={words.replace(NETWORK, self._network_id(machine.ref.cluster.tenant)) if NETWORK in words else words}"]

    def _network_id(self, tenant: str) -> str:
        if tenant not in self._network_ids:
            self._network_ids[tenant] = self._networks.of(tenant).network
        return self._network_ids[tenant]

    # Making and deleting

    def ensure_network(self, tenant: str, subnet: str = "") -> None:
        with self._shared_lock:
            self._networks.ensure(tenant, subnet)

    def delete_network(self, tenant: str) -> None:
        with self._shared_lock:
            if tenant in self._networks.tenants(tenant):
                self._floating.delete_all(tenant)
            self._networks.delete(tenant)
            if not self._networks.tenants():  # the lab has nothing left in this project: its key goes as well
                self._servers.delete_key()

    def ensure_config(self, cluster: ClusterRef, files: Mapping[str, str]) -> bool:
        with self._config_lock:
            before = self.config(cluster)
            if before == files:
                return False
            # Nodes first: a run that is killed in between is seen, for the tree still says what was before.
            running = [each for each in self._list(cluster=cluster) if each.state == "ACTIVE" and self._nodes.configured(each)]
            self._nodes.push_cluster(running, files, changed_nodes(before, files))
            return write_tree(self._config(cluster), files)

    def ensure_base(self, cluster: ClusterRef) -> None:
        self._nodes.push_base(each for each in self._list(cluster=cluster) if each.state == "ACTIVE" and self._nodes.configured(each))

    def config(self, cluster: ClusterRef) -> dict[str, str]:
        return read_tree(self._config(cluster))

    def delete_config(self, cluster: ClusterRef) -> None:
        self._servers.delete_group(cluster)
        delete_tree(self._config(cluster))

    def ensure_datasets(self, cluster: ClusterRef, datasets: Mapping[str, StoredDataset]) -> bool:
        with self._views_lock:
            if not datasets and not self._views.folder(cluster).is_dir():
                return False
            changed = self._views.ensure(cluster, datasets)
            machines = self._list(cluster=cluster)
            nodes = [each for each in machines if each.state == "ACTIVE" and self._nodes.configured(each)]
            server, view = server_of(machines), self._view(cluster)
            # One that is off gets them when it is started.
            if view and server in nodes and self._nodes.sees(server) != view.tags:
                self._nodes.show(nodes, view)
                changed = True
            return changed

    def delete_datasets(self, cluster: ClusterRef) -> None:
        self._views.delete(cluster)

    def ensure_node(self, spec: NodeSpec) -> None:
        self.ensure_nodes([spec])

    def ensure_nodes(self, specs: Sequence[NodeSpec]) -> None:
        for cluster, same in groupby(sorted(specs, key=lambda each: each.ref), key=lambda each: each.ref.cluster):
            self._ensure(cluster, list(same))

    def _ensure(self, cluster: ClusterRef, specs: Sequence[NodeSpec]) -> None:
        there = {each.ref: each for each in self._list(cluster=cluster)}
        unfit = [there[spec.ref] for spec in specs if spec.ref in there and _unfit(spec, there[spec.ref])]
        if unfit:
            self._delete(unfit)
        gone = {each.ref for each in unfit}
        missing = [spec for spec in specs if spec.ref not in there or spec.ref in gone]
        if missing:
            self._create(cluster, missing)
        kept = [(spec, there[spec.ref]) for spec in specs if spec.ref in there and spec.ref not in gone]
        idle = {spec.ref for spec in specs if spec.idle}
        done = {machine.ref for spec, machine in kept if self._restart(spec, machine)} - idle
        machines = self._servers.await_active({spec.ref for spec in specs})
        if self._settings.floating:
            machines = self._floating.ensure(machines, self._network_id(cluster.tenant), self._networks.external())
            self._remember(machines)
        everyone = {each.ref: each for each in (*self._list(cluster=cluster), *machines) if each.status is Status.RUNNING}
        new = [each for each in machines if each.ref not in done]
        disks = self._volumes.by_node(cluster) if new and any(map(of_cinder, specs)) else {}
        self._nodes.make(new, list(everyone.values()), self.domain(cluster.tenant), disks, idle, self._view(cluster))

    def _restart(self, spec: NodeSpec, machine: Machine) -> bool:
        """Let a server that is there run, with the node's limits; whether it has been a running node all the time."""
        if (spec.memory, f"{spec.cpus:g}") != (int(machine.metadata[identity.MEMORY]), machine.metadata[identity.CPUS]):
            self.resize_node(spec.ref, memory=spec.memory, cpus=spec.cpus)
            machine = self._machine(spec.ref, fresh=True)
        if machine.status is not Status.STOPPED:
            return self._nodes.configured(machine)
        self._servers.start(machine)
        return False

    def _create(self, cluster: ClusterRef, specs: Sequence[NodeSpec]) -> None:
        for spec in specs:
            _check_volumes(spec.volumes)
        references = sorted({spec.image for spec in specs})
        asked: list[Callable[[], Any]] = [partial(self._networks.of, cluster.tenant), self._catalogue.flavors]
        asked += [partial(self._catalogue.image, each) for each in references]
        network, flavors, *found = at_once(asked)
        images = dict(zip(references, found, strict=True))
        view = self._view(cluster)
        serving = min(spec.ref for spec in specs) if view else None

        def needed(spec: NodeSpec) -> int:
            return disk_of(images[spec.image], view.bytes if view and spec.ref == serving else 0)

        def flavor(spec: NodeSpec) -> Any:
            image = images[spec.image]
            return self._catalogue.fitting(flavors, memory=spec.memory, cpus=spec.cpus, image=image, disk=needed(spec))

        def likeness(spec: NodeSpec) -> tuple[bool, str]:
            return spec.ref == serving, _likeness(spec)

        # All is looked up before anything is made.
        batches = [(flavor(same[0]), same) for same in (list(alike) for _, alike in groupby(sorted(specs, key=likeness), key=likeness))]
        shared: tuple[Callable[[], Any], ...] = (
            self._ensure_key, partial(self._servers.ensure_group, cluster, len(specs)), partial(self._volumes.ensure, specs)
        )  # fmt: skip
        key, group, disks = at_once(shared)
        for chosen, same in batches:
            parts = Ingredients(
                image=images[same[0].image].id, flavor=chosen.id, network=network.network, security_group=network.security_group,
                key=key, server_group=group, zone=self._settings.zone, config_drive=self._settings.config_drive,
                boot=self._boot(max(int(chosen.disk), needed(same[0]))),
            )  # fmt: skip
            self._servers.create(same, parts, {spec.ref: disks[spec.ref] for spec in same if spec.ref in disks})

    def _ensure_key(self) -> str:
        with self._shared_lock:  # all clusters of the lab have one and the same
            return self._servers.ensure_key(self._ssh.public_key())

    def _boot(self, size: int) -> BootVolume | None:
        wanted = self._settings.boot_volume
        return BootVolume(size, wanted if wanted != ANY_TYPE else "") if wanted else None

    def resize_node(self, ref: NodeRef, *, memory: int, cpus: float) -> None:
        machine = self._machine(ref, fresh=True)
        before, after = self._flavor_of(machine), self._flavor_for(machine, memory=memory, cpus=cpus)
        if before.name != after.name and machine.status is not Status.STOPPED:
            raise EngineError(
                f"could not limit {ref} to {memory} MiB and {cpus:g} cores at once: "
                f"it would need the flavor {after.name}, and has {before.name}",
                resolution=f"a server gets another flavor while it is off: labcloud stop {ref.cluster}; labcloud start {ref.cluster}",
            )
        if before.name != after.name:
            # Nova makes no server's disk smaller, and it may have been made larger than nodes of its size are, for datasets.
            self._servers.resize(machine, self._flavor_for(machine, memory=memory, cpus=cpus, disk=self._servers.flavor(machine).disk))
        changed = self._servers.note(machine, {identity.MEMORY: str(memory), identity.CPUS: f"{cpus:g}"})
        self._remember([changed])

    def _flavor_of(self, machine: Machine) -> Any:
        memory, cpus = int(machine.metadata[identity.MEMORY]), float(machine.metadata[identity.CPUS])
        return self._flavor_for(machine, memory=memory, cpus=cpus)

    def _flavor_for(self, machine: Machine, *, memory: int, cpus: float, disk: int = 0) -> Any:
        image = self._catalogue.image(machine.metadata[identity.IMAGE])
        return self._catalogue.fitting(self._catalogue.flavors(), memory=memory, cpus=cpus, image=image, disk=disk)

    def stop_node(self, ref: NodeRef, *, timeout: float = 30.0) -> None:
        try:
            machine = self._machine(ref, fresh=True)
        except NotFoundError:
            return
        if machine.status is not Status.RUNNING:
            return
        with suppress(LabError):  # the server stops all the same: by ACPI, and by force after Nova's own limit
            self._nodes.stop_services(machine, timeout)
        self._nodes.forget(machine)
        self._folders.forget(machine.id)
        self._servers.stop(machine)
        self._servers.await_stopped([ref])
        self._known.pop(ref, None)

    def delete_node(self, ref: NodeRef) -> None:
        self.delete_nodes([ref])

    def delete_nodes(self, refs: Collection[NodeRef]) -> None:
        wanted = set(refs)
        for cluster in {ref.cluster for ref in wanted}:
            self._delete([each for each in self._list(cluster=cluster) if each.ref in wanted])

    def _delete(self, machines: Sequence[Machine]) -> None:
        self._servers.delete(machines)
        if self._settings.floating:
            self._floating.delete({each.ref for each in machines})
        for each in machines:
            self._known.pop(each.ref, None)
            self._nodes.gone(each)
            self._folders.forget(each.id)
            self._ssh.forget(each.id)

    def delete_volume(self, ref: NodeRef, number: int, snapshot: str = "") -> None:
        self.delete_volumes([(ref, number, snapshot)])

    def delete_volumes(self, places: Collection[tuple[NodeRef, int, str]]) -> None:
        for place in places:
            if place[2]:
                self._delete_snapshot(*place)
        whole = sorted((ref, number) for ref, number, snapshot in places if not snapshot)
        for cluster, same in groupby(whole, key=lambda each: each[0].cluster):
            wanted = set(same)
            left = wanted - self._volumes.delete(cluster, wanted)
            local = (
                frozenset[identity.Place]().union(*(identity.local_volumes(each) for each in self._list(cluster=cluster))) if left else ()
            )
            for ref, number in sorted(left.intersection(local)):
                raise EngineError(f"volume {number} of {ref} is in use by its node", resolution="delete the node first")

    def _delete_snapshot(self, ref: NodeRef, number: int, snapshot: str) -> None:
        mark = identity.snapshot_mark(number, snapshot)
        disks = [each for each in self._volumes.of(ref, number) if (number, snapshot) in each.snapshots]
        try:
            machine = self._machine(ref, fresh=True)
        except NotFoundError:  # what lay on the server's own disk is gone with it
            machine = None
        if machine and (disks or (number, snapshot) in machine.snapshots):
            self._on_node(ref, "rm", "-rf", "--", self.volume_place(ref, number, snapshot))
        for disk in disks:
            self._volumes.mark(disk, mark, off=True)
        if machine and (number, snapshot) in machine.snapshots:
            self._servers.mark(machine, mark, off=True)
            self._known.pop(ref, None)

    def ensure_volume(self, ref: NodeRef, number: int, volume: NodeVolume, snapshot: str = "") -> Path:
        del volume
        folder = self.volume_folder(ref, number)
        if not snapshot:
            return folder
        # What says that there is one comes before it, so that none is left that nobody sees.
        mark, disks = identity.snapshot_mark(number, snapshot), self._volumes.of(ref, number)
        if disks:
            self._volumes.mark(disks[0], mark)
        else:
            self._servers.mark(self._running(ref), mark)
            self._known.pop(ref, None)
        kept = f"{self.volume_place(ref, number)}/{_SNAPSHOTS}"
        self._on_node(ref, "install", "-d", "-m", "0700", kept, f"{kept}/{snapshot}")
        return folder / _SNAPSHOTS / snapshot

    def volume_folder(self, ref: NodeRef, number: int, snapshot: str = "") -> Path:
        machine = self._machine(ref)
        disks = [each for each in self._volumes.of(ref, number) if not snapshot or (number, snapshot) in each.snapshots]
        if not disks and (ref, number) not in identity.local_volumes(machine):
            raise NotFoundError(f"there is no volume {number} of {ref}")
        if snapshot and not disks and (number, snapshot) not in self._machine(ref, fresh=True).snapshots:
            raise NotFoundError(f"there is no snapshot {snapshot} of volume {number} of {ref}")
        folder = self._folders.of(self._nodes.target(self._running(ref))) / str(number)
        return folder / _SNAPSHOTS / snapshot if snapshot else folder

    def volume_place(self, ref: NodeRef, number: int, snapshot: str = "") -> str:
        del ref
        return f"{_DATA}/{number}" + (f"/{_SNAPSHOTS}/{snapshot}" if snapshot else "")

    def _on_node(self, ref: NodeRef, *argv: str) -> None:
        result = self.execute(ref, Command(argv))
        if result.exit_code:
            said = result.stderr.decode(errors="replace")[-1000:]
            raise EngineError(f"the node {ref} could not {argv[0]} its data", details=said, resolution="run the same command again")

    def keep_volumes(self, copy: str, places: Sequence[tuple[NodeRef, int]], facts: Mapping[str, str], *, whole: bool) -> None:
        for ref in {ref for ref, _ in places if self._machine(ref).status is Status.RUNNING}:
            self._on_node(ref, "sync")  # what the service reads is the volume, not the node's memory
        self._keeping.keep(copy, places, facts, whole=whole)

    def kept_volumes(self, tenant: str, cluster: ClusterRef | None = None) -> list[KeptVolume]:
        return self._keeping.kept(tenant, cluster)

    def forget_volumes(self, tenant: str, copies: Collection[str]) -> None:
        self._keeping.forget(tenant, copies)

    def bring_volumes(
        self, copy: str, places: Mapping[tuple[NodeRef, int], tuple[NodeRef, int]], volumes: Mapping[tuple[NodeRef, int], NodeVolume],
        snapshot: str,
    ) -> None:  # fmt: skip
        self._keeping.bring(copy, places, volumes, snapshot)

    # Talking to nodes

    def execute(self, ref: NodeRef, command: Command, *, stdout: Sink | None = None, stderr: Sink | None = None) -> Result:
        return self._ssh.run(self._nodes.target(self._running(ref)), command, stdout=stdout, stderr=stderr)

    def interactive(self, ref: NodeRef, argv: Sequence[str], *, user: str) -> list[str]:
        return self._ssh.argv(self._nodes.target(self._running(ref)), argv, user=user, terminal=True)

    def put_file(self, ref: NodeRef, path: str, content: Iterable[bytes], *, size: int, owner: int) -> None:
        del size
        command = Command(("install", "-m", "0600", "-o", str(owner), "-g", str(owner), "/dev/stdin", path), stdin=chunks(content))
        result = self.execute(ref, command)
        if result.exit_code:
            raise EngineError(f"could not write {path} on {ref}", details=result.stderr.decode(errors="replace"))

    def address(self, ref: NodeRef) -> str:
        self._answering(ref)
        return ""  # from outside ssh alone is let in

    @contextmanager
    def forwarded(self, ports: Collection[tuple[NodeRef, int]]) -> Iterator[Mapping[tuple[NodeRef, int], str]]:
        with ExitStack() as open_:
            found: dict[tuple[NodeRef, int], str] = {}
            for ref, wanted in groupby(sorted(ports), key=lambda each: each[0]):
                machine = self._running(ref)
                asked = identity.published(machine)
                pairs = {free_port(asked.get(port, 0)): port for _, port in wanted}
                open_.enter_context(self._ssh.forward(self._nodes.target(machine), machine.address, pairs))
                found |= {(ref, port): f"127.0.0.1:{here}" for here, port in pairs.items()}
            yield found

    def request(self, ref: NodeRef, port: int, path: str, *, method: str = "GET", body: bytes = b"", timeout: float = 5.0) -> Response:
        machine = self._answering(ref)
        try:
            with self._ssh.channel(self._nodes.target(machine), machine.address, port, timeout=timeout) as channel:
                connection = Tunnelled(machine.address, port, channel)
                connection.request(method, path, body=body or None)
                answer = connection.getresponse()
                return Response(answer.status, answer.read(), dict(answer.getheaders()))
        except (OSError, http.client.HTTPException) as exc:
            raise EngineError(f"port {port} of {ref} does not answer", details=str(exc)) from exc


def _held(machines: Iterable[Machine], disks: Iterable[Disk]) -> Iterator[tuple[NodeRef, frozenset[tuple[int, str]]]]:
    """What nodes' volumes hold besides their data: servers tell of their own disk, Cinder of its volumes."""
    yield from ((each.ref, each.snapshots) for each in machines)
    yield from ((each.ref, each.snapshots) for each in disks)


def _unfit(spec: NodeSpec, machine: Machine) -> bool:
    """Whether a server cannot become what ``spec`` says: it holds nothing then that is worth keeping."""
    return machine.digest != spec.digest or machine.status is Status.FAILED


def _likeness(spec: NodeSpec) -> str:
    """What nodes that one request makes have in common."""
    return repr(
        (spec.ref.group, spec.image, spec.memory, spec.cpus, [each.storage.name for each in spec.volumes], sorted(spec.publish.items()))
    )


def _check_volumes(volumes: Iterable[NodeVolume]) -> None:
    for each in volumes:
        storage = each.storage
        if storage.path or storage.driver not in DRIVERS:
            raise UsageError(
                f"the storage class {storage.name!r} lies in {storage.where}, where no server of OpenStack reaches",
                resolution=f"use volumes without a class, or a class with the driver local (the server's own disk) or {DRIVER}",
            )
