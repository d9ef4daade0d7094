"""Faults of snapshots and backups, one entry each: what is done to a command or to what it works with, and what has to come of it.

Add one by adding an entry to FAULTS. ``make`` breaks something, runs the same command again where it was broken off, and returns what
happened, in a few words; it fails where labcloud did not do what it should. What is lost is told afterwards, by others.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from labcloud.protect.still import LIMIT
from tests.acceptance.driver import PROGRAM, Cluster, Labcloud, run, wait_for
from tests.acceptance.losses import (
    Begun,
    Copy,
    Disk,
    Repository,
    Writer,
    ahead,
    daemons,
    flip,
    read_snapshot,
    seconds_until_all_go_on,
    stands,
)

_ORPHAN = 15.0  # seconds in which a restic has to end that nobody waits for any more


@dataclass
class Scene:
    """A cluster that is written to all the time, and where its backups lie."""

    cluster: Cluster
    writer: Writer
    disk: Disk
    rows: list[str] = field(default_factory=list)

    @property
    def labcloud(self) -> Labcloud:
        return self.cluster.labcloud

    @property
    def repository(self) -> Repository:
        tenant = self.cluster.tenant
        secret = self.labcloud.home / "secrets" / "backup" / f"{tenant}.password"
        return Repository(self.disk.folder / "backups" / tenant, secret, self.cluster.ref)

    @property
    def run(self) -> tuple[str, ...]:
        return ("backup", "run", self.cluster.ref, "-o", "json")

    def begin(self, *argv: str) -> Begun:
        return Begun(self.labcloud, *argv)

    def daemons(self) -> dict[str, int]:
        """The processes that have to stand still: 2 of the master, one of each worker."""
        nodes = [each["name"] for each in self.cluster.show()["nodes"]]
        return wait_for("all services", lambda: found if len(found := daemons(self.cluster, nodes)) == len(nodes) + 1 else {})


@dataclass(frozen=True)
class Fault:
    """``reads`` gives the copy that has to be whole afterwards; ``makes`` says whether it has to be a new one."""

    name: str
    make: Callable[[Scene], str]
    reads: Callable[[Scene], Copy]
    makes: bool = True


def newest_backup(scene: Scene) -> Copy:
    """The newest copy that calls itself consistent, read by restic alone."""
    return scene.repository.read(scene.repository.copies()[-1]["id"])


def newest_snapshot(scene: Scene) -> Copy:
    """The newest snapshot that calls itself consistent. None that was broken off is left."""
    found = scene.labcloud.json("snapshot", "list", scene.cluster.ref)
    assert {each["state"] for each in found} <= {"consistent", "inconsistent"}, found
    return read_snapshot(scene.cluster, [each["id"] for each in found if each["state"] == "consistent"][-1])


# Stages of commands


def at_capture(scene: Scene, begun: Begun) -> None:
    begun.says("get a second name")


def at_standstill(scene: Scene, begun: Begun) -> None:
    namenode = daemons(scene.cluster, ["master-0"])["master-0/NameNode"]
    begun.until("the NameNode to stand still", lambda: stands(namenode))


def after_standstill(scene: Scene, begun: Begun) -> None:
    namenode = daemons(scene.cluster, ["master-0"])["master-0/NameNode"]
    begun.until("the NameNode to stand still", lambda: stands(namenode))
    begun.until("the NameNode to go on", lambda: not stands(namenode))


def at_restic(verb: str) -> Callable[[Scene, Begun], None]:
    def wait(scene: Scene, begun: Begun) -> None:
        begun.calls(verb, scene.repository)

    return wait


# Death of labcloud


def labcloud_killed(words: str, stage: Callable[[Scene, Begun], None], verb: str = "") -> Callable[[Scene], str]:
    """Kill labcloud at a stage of a command on the cluster; ``verb`` is what restic does then.

    Nothing may stand still longer than the limit that each node has of its own, no restic may stay, and the same command has to end well.
    """

    def make(scene: Scene) -> str:
        command = (*words.split(), scene.cluster.ref)
        pids = scene.daemons()
        begun = scene.begin(*command)
        stage(scene, begun)
        orphan = begun.restic(verb) if verb else None
        begun.process.kill()
        seconds = seconds_until_all_go_on(pids, LIMIT + 3)
        begun.kill()
        if orphan:
            wait_for("the end of restic", lambda: not _lives(orphan), seconds=_ORPHAN)
        scene.labcloud(*command)
        return "; ".join(
            [
                *([f"services went on after {seconds:.1f} s"] if stage is at_standstill else []),
                *(["restic ended as well"] if orphan else []),
                "again: done",
            ]
        )

    return make


def _lives(pid: int) -> bool:
    try:
        return b"restic" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


# Death of others


def restic_killed_in_upload(scene: Scene) -> str:
    begun = scene.begin(*scene.run)
    os.kill(begun.calls("backup", scene.repository), signal.SIGKILL)
    done = begun.end(expect=0)
    assert "tried again in" in done.said, done
    return "tried again by itself"


def restic_killed_in_prune(scene: Scene) -> str:
    command = ("backup", "prune", scene.cluster.ref)
    begun = scene.begin(*command)
    os.kill(begun.calls("prune", scene.repository), signal.SIGKILL)
    done = begun.end()
    assert done.code not in (0, -signal.SIGKILL), done
    assert "Traceback" not in done.said, done
    scene.labcloud(*command)
    return "said so; again: done"


def service_killed(name: str) -> Callable[[Scene], str]:
    """Kill a service while it stands still. The moment has to be tried again, or the copy has to say that it is not consistent."""

    def make(scene: Scene) -> str:
        before = {each["id"] for each in scene.repository.copies()}
        pid = scene.daemons()[name]
        begun = scene.begin(*scene.run)
        begun.until(f"{name} to stand still", lambda: stands(pid))
        os.kill(pid, signal.SIGKILL)
        done = begun.end()
        good = {each["id"] for each in scene.repository.copies()} - before
        assert bool(good) == (done.code == 0), done
        if good:
            assert "once more" in done.said, f"a moment was called good in which {name} died: {done}"
        scene.writer.wait_for_more(3)
        if not good:
            scene.labcloud(*scene.run)
        return "taken once more, at another moment" if good else "said that it is not consistent; again: done"

    return make


# Targets


def target_full(scene: Scene) -> str:
    begun = scene.begin(*scene.run)
    begun.until("restic", lambda: begun.restic("backup"))
    scene.disk.fill()
    try:
        done = begun.end()
    finally:
        scene.disk.free()
    assert done.code not in (0, -signal.SIGKILL), done
    assert "no space is left" in done.said, done
    scene.labcloud(*scene.run)
    return "said so; again: done"


def target_away(scene: Scene) -> str:
    begun = scene.begin(*scene.run)
    begun.calls("backup", scene.repository)
    scene.disk.detach()
    try:
        done = begun.end()
        left = list(scene.disk.folder.rglob("*"))
    finally:
        scene.disk.attach()
    assert done.code not in (0, -signal.SIGKILL), done
    assert "Traceback" not in done.said, done
    assert left == [], "something was written where the target was"
    scene.labcloud(*scene.run)
    return "said so, wrote nowhere else; again: done"


def byte_flipped(scene: Scene) -> str:
    """A byte of a pack that only the newest copy needs. Blocks that were in there are still in HDFS, and are stored again."""
    repository = scene.repository
    older, before = repository.copies(), repository.packs()
    scene.labcloud(*scene.run)
    newest = repository.copies()[-1]["id"]
    pack = max(repository.packs() - before, key=lambda path: path.stat().st_size)
    flip(pack)
    verify = ("backup", "verify", "--tenant", scene.cluster.tenant, "--full", "-o", "json")
    done = scene.labcloud(*verify, "--mend", expect=None)
    verdict = json.loads(done.stdout)[0]
    assert done.code and not verdict["ok"], done
    assert (verdict["packs"], verdict["copies"]) == ([pack.name], [newest]), done
    missing, _ = repository.read(older[-1]["id"]).lacks(scene.writer)
    assert not missing, "another copy was harmed"
    states = {each["id"]: each["state"] for each in scene.labcloud.json("backup", "list", scene.cluster.ref)}
    assert [id for id, state in states.items() if state == "damaged"] == [newest[:8]], states
    scene.labcloud(*scene.run)
    verdict = json.loads(scene.labcloud(*verify, expect=None).stdout)[0]
    assert (verdict["packs"], verdict["copies"]) in (([], [newest]), ([], [])), "a copy that was made since needs what is damaged"
    repository.forget(newest)  # its log of the NameNode is nowhere else
    scene.labcloud(*verify)
    return "verify named pack and copy; the next copy needs nothing of it"


# Time, others, change


def clock_jumped(scene: Scene) -> str:
    """A copy is taken while the clock is 400 days ahead. It must not keep the next night from making one."""
    ref, labcloud = scene.cluster.ref, scene.labcloud
    before = {each["id"] for each in scene.repository.copies()}
    with TemporaryDirectory() as folder:
        run((str(PROGRAM), *scene.run), env=labcloud.env | ahead(Path(folder), 400))
    future = labcloud.json("backup", "list", ref)[-1]
    assert future["time"] > f"{datetime.now(UTC) + timedelta(days=399):%Y-%m-%d}", future
    assert {each["id"] for each in scene.repository.copies()} <= before, "the copy is not from the future"
    labcloud("backup", "policy", "set", ref, "enabled=true", "drill=never")
    try:
        done = labcloud.json("backup", "run", "--all")
    finally:
        labcloud("backup", "policy", "set", ref, "enabled=false")
    assert [(each["tenant"], each["name"], each["error"]) for each in done if each["done"] == "backed up"] == [
        (scene.cluster.tenant, scene.cluster.name, "")
    ], done
    assert len({each["id"] for each in scene.repository.copies()} - before) == 1
    return "the night took a copy all the same"


def two_at_once(scene: Scene) -> str:
    both = [scene.begin(*scene.run) for _ in range(2)]
    done = [each.end(expect=0) for each in both]
    assert any("waiting for the backup of" in each.said for each in done), done
    copies = {json.loads(each.stdout)[0]["copy"] for each in done}
    assert copies <= {each["id"][:8] for each in scene.repository.copies()}, copies
    assert len(copies) == 2
    return "one waited and said so; two copies"


def scaled(scene: Scene) -> str:
    scene.labcloud(*scene.run)
    scene.labcloud("scale", scene.cluster.ref, "--workers", "3")
    scene.labcloud(*scene.run)
    return "both copies are whole, with 2 and 3 workers"


SNAPSHOT, BACKUP, PRUNE = "snapshot create", "backup run", "backup prune"

FAULTS = (
    Fault("labcloud is killed in snapshot, while files are linked", labcloud_killed(SNAPSHOT, at_capture), newest_snapshot),
    Fault("labcloud is killed in snapshot, services stand still", labcloud_killed(SNAPSHOT, at_standstill), newest_snapshot),
    Fault("labcloud is killed in snapshot, services went on", labcloud_killed(SNAPSHOT, after_standstill), newest_snapshot),
    Fault("labcloud is killed in backup, while files are linked", labcloud_killed(BACKUP, at_capture), newest_backup),
    Fault("labcloud is killed in backup, services stand still", labcloud_killed(BACKUP, at_standstill), newest_backup),
    Fault("labcloud is killed in backup, in the upload", labcloud_killed(BACKUP, at_restic("backup"), "backup"), newest_backup),
    Fault("labcloud is killed in backup, letting old ones go", labcloud_killed(BACKUP, at_restic("forget"), "forget"), newest_backup),
    Fault("labcloud is killed in prune", labcloud_killed(PRUNE, at_restic("prune"), "prune"), newest_backup, makes=False),
    Fault("restic is killed in the upload", restic_killed_in_upload, newest_backup),
    Fault("restic is killed in prune", restic_killed_in_prune, newest_backup, makes=False),
    Fault("the NameNode is killed while all stand still", service_killed("master-0/NameNode"), newest_backup),
    Fault("a DataNode is killed while all stand still", service_killed("worker-1/DataNode"), newest_backup),
    Fault("the target's disk becomes full in the upload", target_full, newest_backup),
    Fault("the target goes away in the upload", target_away, newest_backup),
    Fault("a byte of the repository flips", byte_flipped, newest_backup),
    Fault("the clock jumps by 400 days and back", clock_jumped, newest_backup),
    Fault("two backups at once", two_at_once, newest_backup),
    Fault("the cluster is scaled between two backups", scaled, newest_backup),
)
