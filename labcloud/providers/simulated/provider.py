"""The contract of `labcloud.providers.base`, kept in memory. Shipped, and held to the same tests as the engines; never proof of one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path, PurePosixPath
from typing import Final

from labcloud.errors import ConflictError, EngineError, NotFoundError
from labcloud.model import ClusterRef, NodeRef, NodeSpec, NodeVolume, Status
from labcloud.model.checks import Capacity, Check, Finding, Subject, passed
from labcloud.model.dataset import StoredDataset
from labcloud.providers.base import Command, Found, Inspection, Provider, Response, Result, Sink, config_digests
from labcloud.providers.simulated import daemons, records, shell, state
from labcloud.providers.simulated.faults import Faults
from labcloud.providers.simulated.world import File, LabState, Machine, World, locate

STATE: Final = "LABCLOUD_SIMULATED_STATE"
"""The environment's name for a file that keeps the simulated engine between commands."""


class SimulatedProvider(Provider):
    """Nodes are entries of a table.

    ``world`` is the engine that several providers may share; ``faults`` is what goes wrong; ``images`` are the images that are
    built (all, unless it is given); ``startup`` is how many requests a node's daemons refuse after its start; ``folders`` is where volumes
    have folders of their own, beside what nodes see of them, for what works on volumes from outside (without it their data cannot be
    reached). Without a world, the file that LABCLOUD_SIMULATED_STATE names is read at first and written by `close`; the folders lie beside
    it then, in ``NAME.volumes``.
    """

    name = "simulated"

    def __init__(  # noqa: PLR0913  # the first two are every provider's, the others are for tests
        self, home: Path, lab_id: str, *, world: World | None = None, faults: Faults | None = None,
        images: Collection[str] | None = None, startup: int = 0, folders: Path | None = None,
    ) -> None:  # fmt: skip
        del home  # nothing of a simulated node lies on the disk
        kept = os.environ.get(STATE)
        self._kept = Path(kept) if kept and world is None else None
        self._world = world or (state.load(self._kept) if self._kept else World())
        self._lab = self._world.lab(lab_id)
        self._faults = faults or Faults()
        self._images = images
        self._startup = startup
        self._folders = folders or (self._kept.with_name(f"{self._kept.name}.volumes") if self._kept else None)
        self._answers: dict[tuple[str, ...], Result] = {}
        self._inspections: dict[NodeRef, Inspection] = {}

    def answer(self, argv: Sequence[str], result: Result) -> None:
        """Let `execute` answer commands that begin with ``argv``; the longest beginning counts."""
        self._answers[tuple(argv)] = result

    def inspected(self, ref: NodeRef, inspection: Inspection) -> None:
        """Let `inspect` answer this for a node that exists."""
        self._inspections[ref] = inspection

    def close(self) -> None:
        if self._kept:
            with self._world.lock:
                state.save(self._world, self._kept)

    @contextmanager
    def _call(self, name: str, target: object = "") -> Iterator[LabState]:
        # Pauses and refusals happen outside the lock, so that calls from several threads overlap as an engine's do.
        with self._faults.around(name, str(target)), self._world.lock:
            yield self._lab

    # What exists

    def find(self, tenant: str | None = None, cluster: ClusterRef | None = None) -> Found:
        with self._call("find", cluster or tenant or "") as lab:
            owner = cluster.tenant if cluster else tenant
            refs = [cluster] if cluster else list(lab.by_tenant.get(tenant, ())) if tenant else list(lab.clusters)
            states = [(ref, lab.cluster(ref)) for ref in sorted(refs)]
            return Found(
                nodes=tuple(each.nodes[ref].found() for _, each in states for ref in sorted(each.nodes)),
                networks=frozenset(name for name in lab.networks if owner in (None, name)),
                volumes=frozenset(volume for _, each in states for volume in each.volumes),
                snapshots=frozenset(snapshot for _, each in states for snapshot in each.snapshots),
                configs={ref: config_digests(each.config) for ref, each in states if each.config is not None},
                datasets={ref: _tags(each.datasets) for ref, each in states if each.datasets is not None},
            )

    def inspect(self, ref: NodeRef) -> Inspection:
        with self._call("inspect", ref) as lab:
            machine = lab.cluster(ref.cluster).nodes.get(ref)
            if machine is None:
                raise NotFoundError(f"there is no node {ref}")
            attached = ref.cluster.tenant in lab.networks
            return self._inspections.get(ref) or Inspection(
                str(machine.status), memory=machine.spec.memory, cpus=machine.spec.cpus, attached=attached
            )

    def domain(self, tenant: str) -> str:  # noqa: ARG002  # one domain serves all tenants here
        return "lab"

    def image(self, name: str, preferred: str = "") -> str:  # noqa: ARG002 - it has one image of each name
        with self._call("image", name):
            if self._images is not None and name not in self._images:
                raise NotFoundError(f"the image of {name} is not built yet", resolution=f"run 'labcloud image build {name}' first")
            return _image(name)

    def capacity(self) -> Capacity:
        with self._call("capacity"):
            return self._world.capacity

    def checks(self) -> tuple[Check, ...]:
        why = "a test that lets every call fail finds preflight failing too"
        return (Check("engine.reachable", why, self._reachable, machine=True),)

    def _reachable(self, _: Subject) -> Finding:
        with self._call("reachable"):
            return passed("the simulated engine answers")

    # Making and deleting

    def ensure_network(self, tenant: str, subnet: str = "") -> None:
        with self._call("ensure_network", tenant) as lab:
            if tenant in lab.networks:
                return
            for other, taken in lab.networks.items():
                if subnet and taken and IPv4Network(subnet).overlaps(IPv4Network(taken)):
                    raise ConflictError(
                        f"could not create the network of {tenant}: {subnet} overlaps {taken}, the network of {other}",
                        resolution=f"choose another: labcloud tenant set {tenant} --subnet NETWORK",
                    )
            lab.networks[tenant] = subnet

    def delete_network(self, tenant: str) -> None:
        with self._call("delete_network", tenant) as lab:
            if tenant in lab.networks and any(each.status is Status.RUNNING for each in lab.machines(tenant)):
                raise EngineError(f"could not delete the network of {tenant}: nodes use it")
            lab.networks.pop(tenant, None)

    def ensure_config(self, cluster: ClusterRef, files: Mapping[str, str]) -> bool:
        with self._call("ensure_config", cluster) as lab:
            there = lab.opened(cluster)
            changed = there.config != dict(files)
            there.config, there.services = dict(files), None
            return changed

    def config(self, cluster: ClusterRef) -> dict[str, str]:
        with self._call("config", cluster) as lab:
            return dict(lab.cluster(cluster).config or {})

    def delete_config(self, cluster: ClusterRef) -> None:
        with self._call("delete_config", cluster) as lab:
            if cluster in lab.clusters:
                lab.clusters[cluster].config = lab.clusters[cluster].services = None
                lab.sweep(cluster)

    def ensure_datasets(self, cluster: ClusterRef, datasets: Mapping[str, StoredDataset]) -> bool:
        with self._call("ensure_datasets", cluster) as lab:
            for name, each in datasets.items():
                if not each.folder.is_dir():
                    raise EngineError(f"the store has no files of the dataset {name} in {each.folder}")
            there = lab.opened(cluster)
            changed = _tags(there.datasets or {}) != _tags(datasets)
            there.datasets = dict(datasets)
            return changed

    def delete_datasets(self, cluster: ClusterRef) -> None:
        with self._call("delete_datasets", cluster) as lab:
            if cluster in lab.clusters:
                lab.clusters[cluster].datasets = None
                lab.sweep(cluster)

    def ensure_node(self, spec: NodeSpec) -> None:
        with self._call("ensure_node", spec.ref) as lab:
            there = lab.cluster(spec.ref.cluster)
            machine = there.nodes.get(spec.ref)
            if machine is None or machine.spec.digest != spec.digest:
                self._make(lab, spec)
            elif machine.status is Status.RUNNING:
                _limit(machine, spec.memory, spec.cpus)
                return
            else:
                _limit(machine, spec.memory, spec.cpus)
                machine.status, machine.asked = Status.RUNNING, 0
                records.start_all(lab, machine)
            there = lab.cluster(spec.ref.cluster)
            if "namenode" in daemons.services_of(there, spec.ref.group):
                daemons.read_lists(there)

    def _make(self, lab: LabState, spec: NodeSpec) -> None:
        ref = spec.ref
        if ref.cluster.tenant not in lab.networks:
            raise NotFoundError(f"could not create the node {ref}: the network of {ref.cluster.tenant} does not exist")
        if lab.cluster(ref.cluster).config is None:
            raise EngineError(f"could not create the node {ref}: its configuration does not exist")
        if self._images is not None and spec.image not in {_image(name) for name in self._images}:
            raise NotFoundError(f"could not create the node {ref}: there is no image {spec.image}")
        there = lab.opened(ref.cluster)
        there.datasets = there.datasets or {}
        if ref in there.nodes:
            self._release(there.nodes.pop(ref))
        machine = Machine(spec, self._world.serial())
        for port, wanted in spec.publish.items():
            machine.published[port] = self._world.claim_port(wanted, f"create the node {ref}")
        there.nodes[ref] = machine
        records.start_all(lab, machine)
        for number in range(len(spec.volumes)):
            there.volumes.setdefault((ref, number), {"/": File(mode=0o755, folder=True)})

    def _release(self, machine: Machine) -> None:
        self._world.ports.difference_update(machine.published.values())

    def resize_node(self, ref: NodeRef, *, memory: int, cpus: float) -> None:
        with self._call("resize_node", ref) as lab:
            machine = lab.cluster(ref.cluster).nodes.get(ref)
            if machine is None:
                raise NotFoundError(f"there is no node {ref}")
            _limit(machine, memory, cpus)

    def stop_node(self, ref: NodeRef, *, timeout: float = 30.0) -> None:  # noqa: ARG002  # it stops at once
        with self._call("stop_node", ref) as lab:
            machine = lab.cluster(ref.cluster).nodes.get(ref)
            if machine:
                machine.status = Status.STOPPED

    def delete_node(self, ref: NodeRef) -> None:
        with self._call("delete_node", ref) as lab:
            machine = lab.cluster(ref.cluster).nodes.pop(ref, None)
            if machine:
                self._release(machine)
                lab.sweep(ref.cluster)

    def delete_volume(self, ref: NodeRef, number: int, snapshot: str = "") -> None:
        with self._call("delete_volume", ref) as lab:
            there = lab.cluster(ref.cluster)
            machine = there.nodes.get(ref)
            if machine and number < len(machine.spec.volumes) and not snapshot:
                raise ConflictError(f"could not delete volume {number} of {ref}: its node uses it")
            if self._folders:
                shutil.rmtree(self._folder(ref, number, snapshot), ignore_errors=True)
            if snapshot:
                there.snapshots.discard((ref, number, snapshot))
            else:
                there.volumes.pop((ref, number), None)
            lab.sweep(ref.cluster)

    def ensure_volume(self, ref: NodeRef, number: int, volume: NodeVolume, snapshot: str = "") -> Path:  # noqa: ARG002  # all lie alike
        with self._call("ensure_volume", ref) as lab:
            there = lab.opened(ref.cluster)
            if snapshot:
                there.snapshots.add((ref, number, snapshot))
            else:
                there.volumes.setdefault((ref, number), {"/": File(mode=0o755, folder=True)})
        return self.volume_folder(ref, number, snapshot)

    def volume_folder(self, ref: NodeRef, number: int, snapshot: str = "") -> Path:
        with self._call("volume_folder", ref) as lab:
            there = lab.cluster(ref.cluster)
            known = (ref, number, snapshot) in there.snapshots if snapshot else (ref, number) in there.volumes
            if not known:
                raise NotFoundError(f"there is no volume {number} of {ref}")
            if self._folders is None:
                raise EngineError(f"the data of volume {number} of {ref} cannot be reached from here: it is simulated")
            folder = self._folder(ref, number, snapshot)
            folder.mkdir(parents=True, exist_ok=True)
            return folder

    def _folder(self, ref: NodeRef, number: int, snapshot: str) -> Path:
        return Path(self._folders or "", f"{ref.qualified}.{number}.{snapshot}".rstrip("."))

    # Talking to nodes

    def execute(self, ref: NodeRef, command: Command, *, stdout: Sink | None = None, stderr: Sink | None = None) -> Result:
        with self._call("execute", ref) as lab:
            result = self._registered(command)
            if result is None:
                place = shell.Place(lab, self._running(lab, ref), self.domain(ref.cluster.tenant))
                result = None if shell.holds(command) else shell.run(place, command)
        result = result or self._hold(ref, command, stdout)
        for given, data in ((stdout, result.stdout), (stderr, result.stderr)):
            if given:
                given.write(data)
                given.flush()
        return Result(result.exit_code, b"" if stdout else result.stdout, b"" if stderr else result.stderr)

    def _hold(self, ref: NodeRef, command: Command, stdout: Sink | None) -> Result:
        """The node's services stand still for as long as whoever holds them does; a fault of the call ``release`` ends that by itself."""
        if stdout:
            stdout.write(shell.STILL)
        word = shell.read_line(command)
        with self._call("release", ref) as lab:
            self._running(lab, ref)
            return shell.released(word)

    def _registered(self, command: Command) -> Result | None:
        for length in range(len(command.argv), 0, -1):
            if command.argv[:length] in self._answers:
                return self._answers[command.argv[:length]]
        return None

    def _running(self, lab: LabState, ref: NodeRef) -> Machine:
        machine = lab.cluster(ref.cluster).nodes.get(ref)
        if machine is None:
            raise NotFoundError(f"there is no node {ref}")
        if machine.status is not Status.RUNNING:
            raise ConflictError(f"the node {ref} does not run", resolution=f"start it: labcloud start {ref.cluster}")
        return machine

    def interactive(self, ref: NodeRef, argv: Sequence[str], *, user: str) -> list[str]:  # noqa: ARG002  # there is nobody to be
        return ["echo", f"{ref} is simulated; it would run:", *argv]

    def put_file(self, ref: NodeRef, path: str, content: Iterable[bytes], *, size: int, owner: int) -> None:
        data = b"".join(content)
        with self._call("put_file", ref) as lab:
            files, name = locate(lab, self._running(lab, ref), path)
            folder = files.get(str(PurePosixPath(name).parent))
            if folder is None or not folder.folder:
                raise NotFoundError(f"could not write {path} on {ref}: its folder does not exist")
            if len(data) != size:
                raise EngineError(f"could not write {path} on {ref}: {len(data)} bytes came instead of {size}")
            files[name] = File(data, str(owner), str(owner), 0o600)

    def address(self, ref: NodeRef) -> str:  # noqa: ARG002 - no socket leads to a simulated node
        return ""

    def request(self, ref: NodeRef, port: int, path: str, *, method: str = "GET", body: bytes = b"", timeout: float = 5.0) -> Response:  # noqa: ARG002
        with self._call("request", ref) as lab:
            machine = lab.cluster(ref.cluster).nodes.get(ref)
            if machine is None or machine.status is not Status.RUNNING:
                raise EngineError(f"the node {ref} does not run")
            machine.asked += 1
            asked = daemons.Asked.of(lab, machine, self.domain(ref.cluster.tenant), method=method, target=path, body=body)
            answer = daemons.answer(asked) if machine.asked > self._startup else None
            if answer is None:
                raise EngineError(f"nothing listens on port {port} of {ref}")
            return answer


def _limit(machine: Machine, memory: int, cpus: float) -> None:
    if memory < machine.memory_in_use:
        raise EngineError(f"could not limit the node {machine.spec.ref} to {memory} MiB: its processes have {machine.memory_in_use} of it")
    machine.spec = replace(machine.spec, memory=memory, cpus=cpus)


def _image(name: str) -> str:
    return f"labcloud/{name}:simulated"


def _tags(datasets: Mapping[str, StoredDataset]) -> dict[str, str]:
    return {name: each.tag for name, each in sorted(datasets.items())}
