"""The contract that every engine keeps: the one thing that the rest of labcloud sees of Docker or OpenStack.

A provider makes, finds, starts and deletes nodes and what they need. It knows nothing of Hadoop, of the lab repository, or
of what is wanted: it is told. What it is asked to ``ensure`` it makes or returns; what it is asked to ``delete`` may be gone
already. The identity of everything that it makes goes into the create call (labels, metadata), so that a killed run
leaves nothing that ``find`` does not see. Calls block, and may come from several threads at once.

Errors are labcloud's (`labcloud.errors`): EngineError for a refusal, with what the engine said in ``details``;
DeadlineError for a wait that ended; NotFoundError where a node is asked for that is not there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, ClassVar, Final, Protocol

from labcloud.errors import UsageError
from labcloud.model import ClusterRef, Found, NodeRef, NodeSpec, NodeVolume, Tenant, config_digests
from labcloud.model.checks import Capacity, Check
from labcloud.model.dataset import StoredDataset
from labcloud.providers.hosts import Hosts

__all__ = ["Command", "Found", "Inspection", "KeptVolume", "Provider", "Response", "Result", "Sink", "config_digests"]


NO_ROOM: Final = "no-room"
"""No host of the engine could take the node."""
NO_NETWORK: Final = "no-network"
"""The host that was to take the node could not connect it to its network."""


class Sink(Protocol):
    """What takes the output of a command as it comes: a binary file, or anything that writes."""

    def write(self, chunk: bytes, /) -> object: ...

    def flush(self) -> object: ...


@dataclass(frozen=True)
class Command:
    """What to run on a node, as which user, with what on its standard input."""

    argv: tuple[str, ...]
    user: str = "root"
    stdin: bytes | BinaryIO = field(default=b"", repr=False)


@dataclass(frozen=True)
class Result:
    """How a command ended, and what it printed."""

    exit_code: int
    stdout: bytes = b""
    stderr: bytes = b""


@dataclass(frozen=True)
class Response:
    """An HTTP answer of a service on a node."""

    status: int
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Inspection:
    """What an engine knows of one node beyond `Found`: its history and its real limits.

    ``state`` is the engine's own word (``running``, ``paused``, ``exited``, ``ACTIVE``). ``exit_code`` and ``ended`` (ISO 8601) say how and
    when it last stopped, ``killed_for_memory`` whether that was why, ``restarts`` how often the engine started it again by itself, ``said``
    the engine's own error, ``why`` its kind where that can be told (`NO_ROOM`, `NO_NETWORK`), ``history`` what the engine remembers of how
    it came to it, line by line. ``memory`` is MiB and ``cpus`` cores, 0 for no limit; ``attached``: it is on its tenant's network.
    """

    state: str
    exit_code: int = 0
    killed_for_memory: bool = False
    restarts: int = 0
    said: str = ""
    ended: str = ""
    memory: int = 0
    cpus: float = 0.0
    attached: bool = True
    why: str = ""
    history: tuple[str, ...] = ()


@dataclass(frozen=True)
class KeptVolume:
    """What the engine's own backup service keeps of one data volume, as a part of ``copy``: made at ``made`` (UTC), of a volume of ``size``
    bytes; by itself if it is ``whole``, else with those before it. ``state`` is `KEPT`, `MAKING` (or being deleted) or the engine's word
    for what went wrong, which ``said`` explains. ``facts`` are those that the copy was made with."""

    KEPT: ClassVar[str] = "kept"
    MAKING: ClassVar[str] = "making"

    copy: str
    ref: NodeRef
    number: int
    made: datetime
    whole: bool
    state: str
    said: str = ""
    size: int = 0
    facts: Mapping[str, str] = field(default_factory=dict)


class Replica(ABC):
    """A copy of a node's data volumes, in folders of this machine. What is alike on both sides is not sent. All raise EngineError."""

    @abstractmethod
    def fetch(self) -> bool:
        """Make the copy as the node's data are now. Returns whether something went away while it was read."""

    @abstractmethod
    def give(self) -> None:
        """Make the node's data, which it does not use, as the copy is."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what that takes; the copy stays."""


class Provider(ABC):
    """One engine. See the module for the rules of the contract."""

    name: str

    takes_many: ClassVar[bool] = False
    """Whether it makes, and deletes, many nodes at once better than one by one."""

    far: ClassVar[bool] = False
    """Whether the data of volumes lies on nodes, not on this machine: it is there only with its node, and reached only while that runs.
    `volume_folder` leads there all the same; what concerns many files is better done by the node, at `volume_place`."""

    keeps_volumes: ClassVar[bool] = False
    """Whether it has a backup service of its own for data volumes: `keep_volumes` and what belongs to it."""

    # What exists

    @abstractmethod
    def find(self, tenant: str | None = None, cluster: ClusterRef | None = None) -> Found:
        """Everything of this lab that exists, or of one tenant, or of one cluster (its tenant's network included).

        Nodes of one cluster come with their real limits (a question more for each of them); those of a tenant, or of all, with the
        limits that they were made with.
        """

    @abstractmethod
    def inspect(self, ref: NodeRef) -> Inspection:
        """What the engine knows of one node. Raise NotFoundError if there is none."""

    @abstractmethod
    def domain(self, tenant: str) -> str:
        """The DNS domain of a tenant's nodes: a node's host name is ``NodeRef.qualified`` + ``.`` + this."""

    @abstractmethod
    def image(self, name: str, preferred: str = "") -> str:
        """The reference of the image ``name`` (as ``hadoop-2.7``): ``preferred`` if it is one of them and there, else the newest.

        Raise NotFoundError if none was built.
        """

    @abstractmethod
    def capacity(self) -> Capacity:
        """What the engine can make nodes of."""

    def checks(self) -> tuple[Check, ...]:
        """What this engine adds to the preflight checklist."""
        return ()

    # Making and deleting

    def ensure_tenant(self, tenant: Tenant) -> None:  # noqa: B027 - most engines know no tenants
        """What the engine has for a tenant besides its network: an account, a project, with the tenant's quotas. Raise EngineError if it
        cannot be made."""

    def delete_tenant(self, tenant: str) -> bool:
        """Delete what `ensure_tenant` made. Returns whether there was anything."""
        del tenant
        return False

    @abstractmethod
    def ensure_network(self, tenant: str, subnet: str = "") -> None:
        """The tenant's own network, walled off from every other tenant's, in ``subnet`` (``10.200.0.0/22``) or one that is free."""

    @abstractmethod
    def delete_network(self, tenant: str) -> None: ...

    @abstractmethod
    def ensure_config(self, cluster: ClusterRef, files: Mapping[str, str]) -> bool:
        """Make the cluster's configuration tree exactly ``files``: ``{"NODE/relative/path": text}``.

        Each node sees its own part at ``/etc/labcloud/cluster``, read-only. Files change in place for running
        nodes. Returns whether anything changed.
        """

    @abstractmethod
    def config(self, cluster: ClusterRef) -> dict[str, str]:
        """The cluster's configuration tree as its nodes see it now; empty where there is none."""

    @abstractmethod
    def delete_config(self, cluster: ClusterRef) -> None: ...

    def ensure_base(self, cluster: ClusterRef) -> None:  # noqa: B027 - most engines show nodes the folder itself
        """Let the cluster's running nodes have the lab's ``base/`` as it is, at ``/etc/labcloud/base``. Raise a LabError if one does not
        take it."""

    @abstractmethod
    def ensure_datasets(self, cluster: ClusterRef, datasets: Mapping[str, StoredDataset]) -> bool:
        """Let all nodes of the cluster, those that run as well, see exactly ``datasets``, by their names.

        They are read-only folders below ``/datasets``. Bytes are not copied where that can be avoided. Returns whether anything changed.
        """

    @abstractmethod
    def delete_datasets(self, cluster: ClusterRef) -> None:
        """What nodes see of datasets, and the place for it; the datasets themselves stay. No node of the cluster is there any more."""

    @abstractmethod
    def ensure_node(self, spec: NodeSpec) -> None:
        """A running node as ``spec`` says, with its data volumes. A node with another digest is made again; volumes stay.

        A volume that exists stays where it is, whatever its storage class says now.
        """

    def ensure_nodes(self, specs: Sequence[NodeSpec]) -> None:
        """As `ensure_node`, for all of ``specs``. If one of them cannot be made, the others may have been."""
        for spec in specs:
            self.ensure_node(spec)

    @abstractmethod
    def resize_node(self, ref: NodeRef, *, memory: int, cpus: float) -> None:
        """Give the node the limits of ``memory`` MiB and ``cpus`` cores, at once; what runs on it goes on.

        Raise NotFoundError if there is none, EngineError if its processes have more memory than that now: its limits stay then.
        """

    @abstractmethod
    def stop_node(self, ref: NodeRef, *, timeout: float = 30.0) -> None:
        """Stop the node's services in order, then the node; by force after ``timeout`` seconds."""

    @abstractmethod
    def delete_node(self, ref: NodeRef) -> None:
        """The node, at once; its volumes stay."""

    def delete_nodes(self, refs: Collection[NodeRef]) -> None:
        """As `delete_node`, for all of ``refs``."""
        for ref in refs:
            self.delete_node(ref)

    def renewed(self, ref: NodeRef) -> None:  # noqa: B027 - of most engines a node is made anew by a new node
        """The node's own disk is as its image has it again: it is to be configured when it is next ensured."""

    @abstractmethod
    def delete_volume(self, ref: NodeRef, number: int, snapshot: str = "") -> None:
        """The volume with its data, wherever it lies; or the one beside it that holds ``snapshot``. Raise a LabError if a node uses it."""

    def delete_volumes(self, places: Collection[tuple[NodeRef, int, str]]) -> None:
        """As `delete_volume`, for all of ``places``."""
        for place in places:
            self.delete_volume(*place)

    @abstractmethod
    def ensure_volume(self, ref: NodeRef, number: int, volume: NodeVolume, snapshot: str = "") -> Path:
        """The data volume, without its node; or, where ``snapshot`` is given, one for that snapshot of it.

        A snapshot's volume lies on the file system that the node's volume lies on, where there is one. What is in a volume that exists
        stays. Returns its folder, as `volume_folder` does, and raises what that raises.
        """

    @abstractmethod
    def volume_folder(self, ref: NodeRef, number: int, snapshot: str = "") -> Path:
        """The folder on this machine in which the data of a volume, or of a snapshot of it, lies.

        Raise NotFoundError if there is no such volume, EngineError if its data cannot be reached from here.
        """

    def replica(self, ref: NodeRef) -> Replica | None:  # noqa: ARG002 - of most engines all data are here, or none
        """What brings data here, to `volume_folder`, of a node that has them on another machine; None for one that has them here."""
        return None

    def volume_place(self, ref: NodeRef, number: int, snapshot: str = "") -> str:
        """Where the node itself has the data of a volume, or of a snapshot of it; for engines that are ``far`` alone."""
        raise NotImplementedError(f"{self.name} has no volumes of node {ref} that are out of reach: {number} {snapshot}")

    # The engine's own backups of data volumes; for engines that have ``keeps_volumes`` alone

    def keep_volumes(self, copy: str, places: Sequence[tuple[NodeRef, int]], facts: Mapping[str, str], *, whole: bool) -> None:
        """Back up data volumes of one cluster, whose nodes may run, as parts of ``copy``; what there is of it already is not made again.

        With ``whole`` each stands by itself, else each has what is new since the one before it. Raise EngineError if one cannot be kept.
        """
        raise NotImplementedError(f"{self.name} keeps no volumes")

    def kept_volumes(self, tenant: str, cluster: ClusterRef | None = None) -> list[KeptVolume]:
        """All that is kept of a tenant, or of one cluster, the oldest first; deleted clusters' as well."""
        raise NotImplementedError(f"{self.name} keeps no volumes")

    def forget_volumes(self, tenant: str, copies: Collection[str]) -> None:
        """Delete all parts of ``copies``. Raise EngineError for one that another needs."""
        raise NotImplementedError(f"{self.name} keeps no volumes")

    def bring_volumes(
        self, copy: str, places: Mapping[tuple[NodeRef, int], tuple[NodeRef, int]], volumes: Mapping[tuple[NodeRef, int], NodeVolume],
        snapshot: str,
    ) -> None:  # fmt: skip
        """Make data volumes (the keys of ``places``, as ``volumes`` says) of what ``copy`` has of others. Each counts as one that holds
        ``snapshot``. Those that there are already stay as they are."""
        raise NotImplementedError(f"{self.name} keeps no volumes")

    # Talking to nodes

    @abstractmethod
    def execute(self, ref: NodeRef, command: Command, *, stdout: Sink | None = None, stderr: Sink | None = None) -> Result:
        """Run a command on the node and wait for its end.

        Where ``stdout`` or ``stderr`` is given, that stream is passed on as it comes, and is empty in the result.
        """

    @abstractmethod
    def interactive(self, ref: NodeRef, argv: Sequence[str], *, user: str) -> list[str]:
        """The command line, on this machine, that runs ``argv`` on the node with the caller's terminal."""

    @abstractmethod
    def put_file(self, ref: NodeRef, path: str, content: Iterable[bytes], *, size: int, owner: int) -> None:
        """Write one file of ``size`` bytes on the node, in an existing folder, owned by the user id ``owner``, mode 0600."""

    @abstractmethod
    def address(self, ref: NodeRef) -> str:
        """Where the node's ports are reached from this machine; empty if they are not. Raise EngineError if it does not run."""

    @abstractmethod
    def request(self, ref: NodeRef, port: int, path: str, *, method: str = "GET", body: bytes = b"", timeout: float = 5.0) -> Response:
        """An HTTP request to a service on the node, from outside the cluster. Raise EngineError if nothing answers."""

    def forwarded(self, ports: Collection[tuple[NodeRef, int]]) -> AbstractContextManager[Mapping[tuple[NodeRef, int], str]]:
        """While the block lasts, where ports of nodes are reached on this machine, and on no other: ``127.0.0.1:PORT`` for each. Ports that
        an engine publishes need none of it: they have no entry. Raise EngineError if a node cannot be reached."""
        del ports
        return nullcontext({})

    def hosts(self) -> Hosts:
        """Its hosts, between which nodes can be moved; whoever asks closes them. Raise UsageError if it has one alone."""
        raise UsageError(
            f"{self.name} has one host: there is nowhere to move a node", resolution="nodes of clusters on OpenStack can be moved"
        )

    def close(self) -> None:  # noqa: B027 - an engine without connections has nothing to let go of
        """Let go of connections."""
