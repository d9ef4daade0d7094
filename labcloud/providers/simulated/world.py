"""What exists in the simulated engine: nodes, networks, volumes, configurations, files. Knows nothing of calls and faults.

Held by cluster, so that a question costs what it asks for, however much there is besides. Whoever changes it holds ``lock``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from labcloud.errors import ConflictError
from labcloud.model import ClusterRef, FoundNode, NodeRef, NodeSpec, Status
from labcloud.model.checks import Capacity
from labcloud.model.dataset import MOUNTED, StoredDataset

CONFIG = PurePosixPath("/etc/labcloud/cluster")
_FOLDERS = ("/", "/etc", "/home", "/opt", "/root", "/run", "/tmp", "/usr", "/var", "/data", "/datasets", "/dev", "/dev/shm")  # noqa: S108  # a node's folders, not ours
_MEMORY_FILES = "/dev/shm/"  # noqa: S108
_FIRST_PORT = 30000
_LAST_PORT = 65535


@dataclass
class File:
    """A file on a node or in HDFS; a folder where ``folder`` is true.

    Of HDFS only: ``modified`` is in milliseconds since 1970, and ``open`` says that a client still writes it.
    """

    content: bytes = b""
    owner: str = "0"
    group: str = "0"
    mode: int = 0o644
    folder: bool = False
    modified: int = 0
    open: bool = False


Files = dict[str, File]


def empty_files() -> Files:
    return {path: File(mode=0o755, folder=True) for path in _FOLDERS}


@dataclass
class Machine:
    """A node. ``asked`` counts requests since its last start: a daemon answers after the first few.

    ``booted`` is its cluster's whole configuration when it started, held by reference. ``started`` is what each service was
    started with, by path; it is worked out when somebody asks.
    """

    spec: NodeSpec
    serial: int
    status: Status = Status.RUNNING
    published: dict[int, int] = field(default_factory=dict)
    files: Files = field(default_factory=empty_files)
    asked: int = 0
    booted: Mapping[str, str] | None = None
    started: dict[str, dict[str, str]] = field(default_factory=dict)

    def found(self) -> FoundNode:
        running = self.status is Status.RUNNING
        return FoundNode(
            ref=self.spec.ref, status=self.status, profile=self.spec.profile, image=self.spec.image, digest=self.spec.digest,
            memory=self.spec.memory, cpus=self.spec.cpus, engine_id=f"simulated-{self.serial}", address=self.address if running else "",
            created=float(self.serial), published={port: f"127.0.0.1:{host}" for port, host in self.published.items()} if running else {},
        )  # fmt: skip

    @property
    def memory_in_use(self) -> int:
        """MiB that cannot be taken away from it: what lies in its memory file system while it runs."""
        if self.status is not Status.RUNNING:
            return 0
        return sum(len(file.content) for path, file in self.files.items() if path.startswith(_MEMORY_FILES)) >> 20

    @property
    def address(self) -> str:
        """One of 198.18.0.0/15, the block that is set aside for tests (RFC 2544)."""
        number = self.serial % 2**17
        return f"198.{18 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


@dataclass
class ClusterState:
    """What exists of one cluster. ``config`` and ``datasets`` are None where there is none. HDFS lives in the first volume of its NameNode.

    ``excluded`` are the names of nodes that were in the exclude list when the daemons last read it.
    """

    nodes: dict[NodeRef, Machine] = field(default_factory=dict)
    volumes: dict[tuple[NodeRef, int], Files] = field(default_factory=dict)
    snapshots: set[tuple[NodeRef, int, str]] = field(default_factory=set)
    config: dict[str, str] | None = None
    excluded: frozenset[str] = frozenset()
    datasets: dict[str, StoredDataset] | None = None
    services: dict[str, frozenset[str]] | None = None  # by group, read from the configuration when it is first asked for

    @property
    def empty(self) -> bool:
        return not self.nodes and not self.volumes and not self.snapshots and self.config is None and self.datasets is None


class LabState:
    """What exists of one lab."""

    def __init__(self) -> None:
        self.networks: dict[str, str] = {}  # tenants, with the subnets that were asked for
        self.clusters: dict[ClusterRef, ClusterState] = {}
        self.by_tenant: dict[str, set[ClusterRef]] = {}

    def cluster(self, ref: ClusterRef) -> ClusterState:
        """The state of ``ref``, to read. An unknown cluster's is empty, and is not kept."""
        return self.clusters.get(ref) or ClusterState()

    def opened(self, ref: ClusterRef) -> ClusterState:
        """The state of ``ref``, to put something into."""
        if ref not in self.clusters:
            self.clusters[ref] = ClusterState()
            self.by_tenant.setdefault(ref.tenant, set()).add(ref)
        return self.clusters[ref]

    def sweep(self, ref: ClusterRef) -> None:
        """Forget ``ref`` if nothing of it is left."""
        if ref in self.clusters and self.clusters[ref].empty:
            del self.clusters[ref]
            self.by_tenant[ref.tenant].discard(ref)
            if not self.by_tenant[ref.tenant]:
                del self.by_tenant[ref.tenant]

    def machines(self, tenant: str) -> Iterator[Machine]:
        for ref in self.by_tenant.get(tenant, ()):
            yield from self.clusters[ref].nodes.values()


class World:
    """One simulated engine, with the labs on it. Providers that are given the same world see the same things."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.labs: dict[str, LabState] = {}
        self.ports: set[int] = set()
        self.capacity = Capacity(memory=2**30, cpus=2.0**20)
        self._serial = 0
        self._next_port = _FIRST_PORT

    def lab(self, id: str) -> LabState:
        return self.labs.setdefault(id, LabState())

    def serial(self) -> int:
        self._serial += 1
        return self._serial

    def resume(self, serial: int) -> None:
        """Number new nodes from behind ``serial``."""
        self._serial = max(self._serial, serial)

    def claim_port(self, wanted: int, doing: str) -> int:
        """A port of the host: ``wanted``, or a free one for 0. Raise ConflictError if it is taken."""
        if wanted in self.ports:
            raise ConflictError(
                f"could not {doing}: the port {wanted} that it shall publish is taken",
                resolution="choose another port, or leave it to labcloud",
            )
        port = wanted
        while not port or port in self.ports:
            port = self._next_port
            self._next_port = port + 1 if port < _LAST_PORT else _FIRST_PORT
        self.ports.add(port)
        return port


def locate(lab: LabState, machine: Machine, path: str) -> tuple[Files, str]:
    """Where a path of a node is kept: in a volume for ``/data/N``, on the node itself otherwise. Volumes name files from ``/``."""
    clean = PurePosixPath("/", path)
    parts = clean.parts
    if len(parts) > 2 and parts[1] == "data" and parts[2].isdigit():
        volume = lab.cluster(machine.spec.ref.cluster).volumes.get((machine.spec.ref, int(parts[2])))
        if volume is not None and int(parts[2]) < len(machine.spec.volumes):
            return volume, str(PurePosixPath("/", *parts[3:]))
    return machine.files, str(clean)


def config_text(lab: LabState, machine: Machine, path: str) -> str | None:
    """What a node sees at a path below its mounted configuration; None if there is no such file."""
    ref = machine.spec.ref
    clean = PurePosixPath("/", path)
    if not clean.is_relative_to(CONFIG):
        return None
    return (lab.cluster(ref.cluster).config or {}).get(f"{ref.name}/{clean.relative_to(CONFIG)}")


def config_files(config: Mapping[str, str], ref: NodeRef) -> dict[str, str]:
    """All that a node sees below its mounted configuration, by relative path, where ``config`` is its cluster's."""
    prefix = f"{ref.name}/"
    return {path.removeprefix(prefix): text for path, text in config.items() if path.startswith(prefix)}


def in_datasets(path: str) -> bool:
    """Whether a node has the path mounted for datasets, read-only."""
    return PurePosixPath("/", path).is_relative_to(MOUNTED)


def dataset_path(lab: LabState, machine: Machine, path: str) -> Path | None:
    """The file or folder of this machine that a node sees at a path below a dataset; None if it sees none."""
    clean = PurePosixPath("/", path)
    if not in_datasets(path) or len(clean.parts) < 3:
        return None
    dataset = (lab.cluster(machine.spec.ref.cluster).datasets or {}).get(clean.parts[2])
    found = dataset.folder.joinpath(*clean.parts[3:]) if dataset else None
    return found if found and found.exists() else None
