"""Whatever breaks snapshots and backups: nothing that HDFS acknowledged is lost, neither in copies that call themselves good nor in the
cluster.

Somebody writes to one cluster all the time and knows what was acknowledged when. Each fault of the table is made, and what was broken
off is run again. Then two things are looked at:

- the newest copy that calls itself consistent, read by restic or from Docker's volumes without labcloud: for each file that was
  acknowledged before the moment that the copy says it shows, the NameNode's log in it must close the file by its name, and a finalised
  replica in it must have the file's content. That is all that HDFS needs to have the file: names and contents are unique, and each file is
  one block. So no cluster has to be made of it;
- the cluster, which must list every file with its length.

At the end the cluster is deleted and restored from the last copy, with faults as well, and every byte that was ever acknowledged is read.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.acceptance.driver import Cluster, Labcloud, docker
from tests.acceptance.losses import Copy, Disk, Writer, hdfs, stands
from tests.acceptance.reliability import FAULTS, Fault, Scene, newest_backup
from tests.acceptance.test_convergence import restart_docker

pytestmark = pytest.mark.timeout(300)

PROFILE = "hadoop-2.7"
_TITLE = "faults of snapshots and backups, and what they cost"

Show = Callable[[str, str], None]


@pytest.fixture(scope="module")
def scene(labcloud: Labcloud, mark: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    cluster = Cluster(labcloud, f"{mark}-l", PROFILE)
    disk = Disk.make(tmp_path_factory.mktemp("target"), 600 << 20)
    target = disk.folder / "backups"
    target.mkdir()
    writer = Writer(cluster)
    try:
        cluster.create("--workers", "2")
        labcloud("backup", "policy", "set", "--tenant", cluster.tenant, f"target={target}", "keep.last=4")
        hdfs(cluster).make_folder(writer.folder, owner=cluster.tenant, group=cluster.tenant, mode="755")
        writer.start()
        made = Scene(cluster, writer, disk)
        labcloud(*made.run)
        yield made
    finally:
        writer.stop()
        labcloud("delete", "--yes", cluster.ref, expect=None)
        disk.remove()


def note(scene: Scene, show: Show, fault: str, happened: str, *, looked_at: int, lost: list[str]) -> None:
    """Put a line into the table; fail if anything was lost."""
    head = f"{'FAULT':<56} {'WHAT HAPPENED':<60} {'FILES':>6} {'LOST':>5}"
    scene.rows.append(f"{fault:<56} {happened:<60} {looked_at:>6} {len(lost):>5}")
    show(_TITLE, "\n".join([head, *scene.rows]))
    assert lost == [], fault


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_nothing_acknowledged_is_lost(scene: Scene, fault: Fault, show_table: Show) -> None:
    scene.writer.wait_for_more()
    began = time.time()
    happened = fault.make(scene)
    copy: Copy = fault.reads(scene)
    assert copy.taken > began or not fault.makes, "there is no new copy"
    missing, count = copy.lacks(scene.writer)
    assert count, "nothing was written before the copy"
    note(scene, show_table, fault.name, happened, looked_at=count, lost=missing + scene.writer.lost())


def test_a_deleted_cluster_comes_back_whatever_breaks_its_restore(scene: Scene, show_table: Show) -> None:
    """One restore that is broken off at each of its stages: every byte that was ever acknowledged is read from what it ends with."""
    labcloud, ref, writer = scene.labcloud, scene.cluster.ref, scene.writer
    writer.stop()
    labcloud(*scene.run)
    copy = newest_backup(scene).id
    everything = len(writer.acknowledged)
    note(
        scene,
        show_table,
        "all of the above, one after the other",
        "every byte was read",
        looked_at=everything,
        lost=writer.lost_or_changed(),
    )
    scene.cluster.delete()
    restore = ("backup", "restore", ref, "--at", copy)
    with unnamed(f"labcloud/{PROFILE}"):
        done = labcloud(*restore, expect=None)
        assert done.code, done
        assert f"labcloud image build {PROFILE}" in done.said, done
    rows = [("the image is deleted before a restore", "said what to build")]

    begun = scene.begin(*restore)
    begun.calls("restore", scene.repository)
    begun.kill()
    refused = labcloud("start", ref, expect=None)
    assert refused.code, "a half-filled cluster was started"
    rows.append(("labcloud is killed in restore, while restic reads", "others refuse the cluster; again: went on"))

    begun = scene.begin(*restore)
    os.kill(begun.calls("restore", scene.repository), signal.SIGKILL)
    done = begun.end()
    assert done.code not in (0, -signal.SIGKILL), done
    rows.append(("restic is killed in restore", "said so; again: went on"))

    begun = scene.begin(*restore)
    begun.says("is put into place")
    begun.kill()
    rows.append(("labcloud is killed in restore, data is put into place", "again: went on"))

    begun = scene.begin(*restore)
    begun.says("to do")
    begun.kill()
    rows.append(("labcloud is killed in restore, nodes are made", "again: done"))
    labcloud(*restore)
    lost = writer.lost_or_changed()
    rows.append(("the cluster is deleted, and restored", "every byte was read"))
    for fault, happened in rows:
        note(scene, show_table, fault, happened, looked_at=everything, lost=lost)
    writer.start()


@contextmanager
def unnamed(name: str) -> Iterator[None]:
    """An image without its names, for a while."""
    tags = docker("image", "inspect", "--format", '{{join .RepoTags " "}}', f"{name}:latest").split()
    kept = "labcloud-test/kept:latest"
    docker("tag", tags[0], kept)
    docker("image", "rm", *tags)
    try:
        yield
    finally:
        for tag in tags:
            docker("tag", kept, tag)
        docker("image", "rm", kept)


def test_nothing_is_lost_when_docker_is_killed_in_a_backup(scene: Scene, show_table: Show) -> None:
    """The last of this module: it stops all containers of this machine."""
    scene.writer.wait_for_more()
    namenode = scene.daemons()["master-0/NameNode"]
    begun = scene.begin(*scene.run)
    begun.until("the NameNode to stand still", lambda: stands(namenode))
    restart_docker(killed=True)
    done = begun.end()
    assert "Traceback" not in done.said, done
    scene.labcloud("start", scene.cluster.ref)
    scene.writer.wait_for_more(3)
    scene.labcloud(*scene.run)
    copy = newest_backup(scene)
    missing, count = copy.lacks(scene.writer)
    happened = "again: done" if done.code else "tried again by itself"
    note(scene, show_table, "Docker is killed while all stand still", happened, looked_at=count, lost=missing + scene.writer.lost())
