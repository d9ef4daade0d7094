"""A lab on a simulated engine whose volumes are folders of this machine, with HDFS' files in them; it outlives who works on it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from labcloud.apply.clusters import Clusters
from labcloud.apply.journal import Journal
from labcloud.apply.requests import CreateRequest
from labcloud.apply.verbs import Terms
from labcloud.apply.watch import Event, Watch
from labcloud.lab import Lab
from labcloud.model import Cluster, ClusterRef, Found, NodeRef
from labcloud.protect.identity import HdfsIdentity
from labcloud.protect.manifest import Manifest
from labcloud.protect.snapshots import Snapshots
from labcloud.providers.simulated import Faults, SimulatedProvider, World

REF = ClusterRef("acme", "c")
TERMS = Terms(timeout=20)
LOG = "hdfs/name/current/edits_inprogress_2"


def node(name: str, ref: ClusterRef = REF) -> NodeRef:
    return NodeRef.parse(ref, name)


def texts(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


class Workshop:
    """Each `snapshots` and `clusters` is what another run of the program would have."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lab = Lab(root / "home")
        self.world = World()
        self.events: list[Event] = []

    def provider(self, faults: Faults | None = None) -> SimulatedProvider:
        return SimulatedProvider(self.lab.home, self.lab.id, world=self.world, faults=faults, folders=self.root / "disks")

    def snapshots(self, faults: Faults | None = None, provider: SimulatedProvider | None = None) -> Snapshots:
        engine = provider or self.provider(faults)
        return Snapshots(self.lab, Journal(self.lab.home), lambda _: engine, Watch(self.events.append))

    def clusters(self) -> Clusters:
        return self.snapshots()

    def create(self, ref: ClusterRef = REF, workers: int = 2) -> None:
        self.clusters().create(CreateRequest(ref, "hadoop-2.7", "simulated", workers=workers), TERMS)
        self.format(ref)

    def wanted(self, ref: ClusterRef = REF) -> Cluster:
        wanted = self.lab.cluster(ref)
        assert wanted
        return wanted

    def format(self, ref: ClusterRef = REF) -> None:
        """Let every node have what its daemons make at first, and a block."""
        wanted = self.wanted(ref)
        identity = HdfsIdentity.of(wanted.id)
        for each in wanted.nodes():
            kind = "name" if each.group == "master" else "data"
            who = f"clusterID={identity.cluster}\n"
            files = {
                f"hdfs/{kind}/current/VERSION": who
                + (f"datanodeUuid={each.index}\n" if kind == "data" else f"namespaceID={identity.namespace}\n")
            }
            if kind == "name":
                files |= {"hdfs/name/current/fsimage_1": "image", LOG: "log", "yarn/state/app_1": "application"}
            else:
                files[self.block(each)] = f"block of {each.name}"
            self.put(each, files)

    def block(self, ref: NodeRef, name: str = "blk_1") -> str:
        return f"hdfs/data/current/{HdfsIdentity.of(self.wanted(ref.cluster).id).pool}/current/finalized/subdir0/{name}"

    def folder(self, ref: NodeRef, snapshot: str = "") -> Path:
        return self.provider().volume_folder(ref, 0, snapshot)

    def put(self, ref: NodeRef, files: dict[str, str]) -> None:
        folder = self.folder(ref)
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).unlink(missing_ok=True)
            (folder / path).write_text(text)

    def data(self, ref: ClusterRef = REF) -> dict[str, dict[str, str]]:
        """What every volume of the cluster has, by its node."""
        return {each.name: texts(self.folder(each)) for each, _ in sorted(self.found(ref).volumes)}

    def found(self, ref: ClusterRef | None = REF) -> Found:
        return self.provider().find(cluster=ref)

    def running(self, ref: ClusterRef = REF) -> list[str]:
        return [each.ref.name for each in self.found(ref).nodes if each.status == "running"]

    def ids(self, ref: ClusterRef = REF) -> list[str]:
        return [each.id for each in self.snapshots().list(ref)]

    def states(self, ref: ClusterRef = REF) -> list[str]:
        return [each.state for each in self.snapshots().list(ref)]

    def take(self, ref: ClusterRef = REF, faults: Faults | None = None) -> Manifest:
        return self.snapshots(faults).take(ref, TERMS)

    def change(self, names: Iterable[str] = ("worker-0",)) -> None:
        """Write on, as a cluster that works does: the log in place, blocks anew."""
        self.put(node("master-0"), {LOG: "log, and more"})
        for name in names:
            self.put(node(name), {self.block(node(name), "blk_9"): "new"})
