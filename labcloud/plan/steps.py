"""The steps that a plan is made of. Each says in words what it does, and can be done again without harm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from labcloud.model import ClusterRef, NodeRef, NodeSpec, format_memory
from labcloud.model.dataset import StoredDataset


@dataclass(frozen=True)
class Step:
    """One change. ``str()`` of it is the line that ``--dry-run`` and the journal show."""


@dataclass(frozen=True)
class EnsureNetwork(Step):
    """``subnet`` is where it shall be; the engine chooses if it is empty."""

    tenant: str
    subnet: str = ""

    def __str__(self) -> str:
        return f"make the network of {self.tenant}" + (f" in {self.subnet}" if self.subnet else "")


@dataclass(frozen=True)
class PutConfig(Step):
    """Write the rendered configuration. ``leaving`` names the nodes that it tells HDFS and YARN to empty; ``read`` says that
    nothing changes but the mark that they have not read their lists yet, ``made`` the same of the nodes and their users."""

    cluster: ClusterRef
    files: Mapping[str, str] = field(repr=False)
    leaving: tuple[str, ...] = ()
    read: bool = False
    made: bool = False

    def __str__(self) -> str:
        if self.read:
            return "note that HDFS and YARN know their lists"
        if self.made:
            return "note that the nodes have their users"
        what = f", excluding {', '.join(self.leaving)}" if self.leaving else ""
        return f"write the configuration{what}"


@dataclass(frozen=True)
class PutDatasets(Step):
    """Let the nodes see exactly these shared datasets."""

    cluster: ClusterRef
    datasets: Mapping[str, StoredDataset]

    def __str__(self) -> str:
        shown = ", ".join(f"{name} {each.tag.partition('-')[0]}" for name, each in sorted(self.datasets.items()))
        return f"show the nodes {f'the datasets {shown}' if shown else 'no datasets'}"


@dataclass(frozen=True)
class EnsureNode(Step):
    spec: NodeSpec
    reason: str = "missing"

    def __str__(self) -> str:
        if self.spec.idle:
            return f"let the node {self.spec.ref.name} run without its services"
        verb = {"missing": "make", "stopped": "start", "drifted": "make again"}[self.reason]
        return f"{verb} the node {self.spec.ref.name}"


@dataclass(frozen=True)
class ResizeNode(Step):
    """Give a running node other limits: ``memory`` MiB and ``cpus`` cores. It keeps running."""

    ref: NodeRef
    memory: int
    cpus: float

    def __str__(self) -> str:
        return f"limit the node {self.ref.name} to {format_memory(self.memory)} and {self.cpus:g} cores"


@dataclass(frozen=True)
class UpdateUsers(Step):
    """Let a running node make its OS users as its configuration says now."""

    ref: NodeRef

    def __str__(self) -> str:
        return f"update the users of {self.ref.name}"


@dataclass(frozen=True)
class StopNode(Step):
    ref: NodeRef

    def __str__(self) -> str:
        return f"stop the node {self.ref.name}"


@dataclass(frozen=True)
class RefreshNodes(Step):
    """Let the NameNode and the ResourceManager read again which nodes are excluded."""

    cluster: ClusterRef

    def __str__(self) -> str:
        return "tell HDFS and YARN which nodes are excluded"


@dataclass(frozen=True)
class Decommission(Step):
    """Wait until HDFS has copied every block of these nodes elsewhere and YARN has let go of them."""

    cluster: ClusterRef
    nodes: tuple[NodeRef, ...]

    def __str__(self) -> str:
        return f"decommission {', '.join(node.name for node in self.nodes)}"


@dataclass(frozen=True)
class AwaitGone(Step):
    """Wait until HDFS no longer takes these nodes for alive: new ones will have their names."""

    cluster: ClusterRef
    nodes: tuple[NodeRef, ...]

    def __str__(self) -> str:
        return f"wait until HDFS has given up the former {', '.join(node.name for node in self.nodes)}"


@dataclass(frozen=True)
class DeleteNode(Step):
    ref: NodeRef

    def __str__(self) -> str:
        return f"delete the node {self.ref.name}"


@dataclass(frozen=True)
class DeleteVolume(Step):
    ref: NodeRef
    number: int
    snapshot: str = ""

    def __str__(self) -> str:
        what = f" in the snapshot {self.snapshot}" if self.snapshot else ""
        return f"delete volume {self.number} of {self.ref.name}{what}"


@dataclass(frozen=True)
class DeleteConfig(Step):
    cluster: ClusterRef

    def __str__(self) -> str:
        return "delete the configuration"


@dataclass(frozen=True)
class DeleteDatasets(Step):
    cluster: ClusterRef

    def __str__(self) -> str:
        return "delete the view of datasets"


@dataclass(frozen=True)
class DeleteNetwork(Step):
    tenant: str

    def __str__(self) -> str:
        return f"delete the network of {self.tenant}"


@dataclass(frozen=True)
class Plan:
    """Stages one after the other; the steps of a stage at the same time."""

    stages: tuple[tuple[Step, ...], ...] = ()

    @classmethod
    def of(cls, *stages: tuple[Step, ...]) -> Plan:
        """A plan without empty stages."""
        return cls(tuple(stage for stage in stages if stage))

    def __bool__(self) -> bool:
        return bool(self.stages)

    def __len__(self) -> int:
        return sum(len(stage) for stage in self.stages)

    def __iter__(self) -> Iterator[Step]:
        for stage in self.stages:
            yield from stage
