"""Snapshots and backups where data lies on nodes: work of the nodes, done by processes of this machine; volumes only with running nodes."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from labcloud.errors import EngineError, NotFoundError
from labcloud.model import ClusterRef, NodeRef, NodeSpec, NodeVolume, Status
from labcloud.model.snapshot import SnapshotRef
from labcloud.protect.copies import Copying
from labcloud.providers.base import Command, Result, Sink
from labcloud.providers.simulated import Faults, SimulatedProvider
from tests.unit.protect.vault import Vault
from tests.unit.protect.workshop import LOG, REF, TERMS, node

OTHER = ClusterRef("acme", "copy")


class Far(SimulatedProvider):
    """Each node has its volumes, and a volume its snapshots in itself. What runs Python there runs here."""

    far: ClassVar[bool] = True

    def _folder(self, ref: NodeRef, number: int, snapshot: str) -> Path:
        folder = super()._folder(ref, number, "")
        return folder / ".labcloud-snapshots" / snapshot if snapshot else folder

    def ensure_node(self, spec: NodeSpec) -> None:
        super().ensure_node(replace(spec, idle=False))
        with self._call("idle", spec.ref) as lab:
            if spec.idle:
                lab.cluster(spec.ref.cluster).nodes[spec.ref].status = Status.CREATED

    def ensure_volume(self, ref: NodeRef, number: int, volume: NodeVolume, snapshot: str = "") -> Path:
        self.volume_folder(ref, number)
        return super().ensure_volume(ref, number, volume, snapshot)

    def volume_folder(self, ref: NodeRef, number: int, snapshot: str = "") -> Path:
        states = {each.ref: each.status for each in self.find(cluster=ref.cluster).nodes}
        if ref not in states:
            raise NotFoundError(f"there is no node {ref}")
        if states[ref] is Status.STOPPED:
            raise EngineError(f"the node {ref} does not run")
        return super().volume_folder(ref, number, snapshot)

    def volume_place(self, ref: NodeRef, number: int, snapshot: str = "") -> str:
        return str(self._folder(ref, number, snapshot))

    def execute(self, ref: NodeRef, command: Command, *, stdout: Sink | None = None, stderr: Sink | None = None) -> Result:
        if command.argv[0] != "python3":
            return super().execute(ref, command, stdout=stdout, stderr=stderr)
        with self._call("python", ref):
            pass
        assert stdout
        assert not isinstance(command.stdin, bytes)
        pipe = subprocess.PIPE
        with subprocess.Popen(command.argv, stdin=pipe, stdout=pipe, stderr=pipe, cwd="/") as process:
            assert process.stdin
            assert process.stdout
            assert process.stderr
            while line := command.stdin.read(1):
                process.stdin.write(line)
                process.stdin.flush()
                if not line.startswith(b"[") and not line.startswith(b"{"):
                    stdout.write(process.stdout.readline())
            process.stdin.close()
            return Result(process.wait(), b"", process.stderr.read())


class FarVault(Vault):
    def provider(self, faults: Faults | None = None) -> SimulatedProvider:
        return Far(self.lab.home, self.lab.id, world=self.world, faults=faults, folders=self.root / "disks")


@pytest.fixture
def far(vault: Vault, tmp_path: Path) -> FarVault:
    made = FarVault(vault.root)
    assert vault.root == tmp_path
    made.lab, made.world = vault.lab, vault.world
    return made


def test_nodes_take_the_snapshot_and_share_what_never_changes(far: FarVault) -> None:
    before = far.data()
    taken = far.take()
    far.change()
    assert (taken.consistent, taken.files) == (True, sum(map(len, before.values())))
    assert taken.size == sum(len(text) for files in before.values() for text in files.values())
    worker, master = node("worker-0"), node("master-0")
    assert (far.folder(worker, taken.id) / far.block(worker)).samefile(far.folder(worker) / far.block(worker))
    assert (far.folder(master, taken.id) / LOG).read_text() == "log"
    assert (far.folder(master) / LOG).read_text() == "log, and more"
    second = far.take()
    assert second.files == taken.files + 1, "a snapshot holds no other"
    far.snapshots().drop(REF, [taken.id], TERMS)
    assert far.ids() == [second.id]


def test_it_is_put_back_on_nodes_whose_services_rest(far: FarVault) -> None:
    before, taken = far.data(), far.take()
    far.change()
    faults = Faults()
    far.snapshots(faults).restore(SnapshotRef(REF, taken.id), TERMS)
    assert _own(far.data()) == _own(before)
    assert len(far.ids()) == 2, "what was replaced is kept, and what it was put back to is still there"
    names = faults.names()
    assert "stop_node" not in names
    assert names.index("idle") > names.index("python")
    assert far.running() == ["master-0", "worker-0", "worker-1"]


def test_a_copy_and_a_backup_become_clusters(far: FarVault) -> None:
    taken = far.take()
    far.snapshots().copy(SnapshotRef(REF, taken.id), Copying(OTHER), TERMS)
    assert far.running(OTHER) == ["master-0", "worker-0", "worker-1"]
    assert "block of worker-0" in far.data(OTHER)["worker-0"].values()
    stored = far.back_up()
    chosen = far.verbs().chosen(REF, stored.copy)
    third = ClusterRef("acme", "third")
    far.verbs().restore_backup(chosen, third, TERMS)
    assert "block of worker-1" in far.data(third)["worker-1"].values()
    assert far.ids(third) == []
    far.change()
    far.verbs().restore_node(chosen, "worker-0", TERMS)
    assert far.block(node("worker-0"), "blk_9") not in far.data()["worker-0"]
    assert far.running() == ["master-0", "worker-0", "worker-1"]


def test_a_cluster_that_is_off_is_told_to_be_started(far: FarVault) -> None:
    far.clusters().stop(REF, TERMS)
    with pytest.raises(EngineError, match="does not run"):
        far.take()


def test_a_node_that_does_no_work_is_told(far: FarVault) -> None:
    faults = Faults()
    faults.fail(EngineError("ssh went away"), name="python", target="acme/c/worker-1")
    with pytest.raises(EngineError, match=r"acme/c/worker-1 could not link its data: ssh went away"):
        far.take(faults=faults)
    assert far.states() == ["unfinished"]


def _own(data: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    return {name: {path: text for path, text in files.items() if not path.startswith(".labcloud-")} for name, files in data.items()}
