"""What copies, and clusters that are brought back, are declared as."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from labcloud.model import Cluster, ClusterRef, Lease, NodeGroup, Wanted
from labcloud.model.storage import Volume
from labcloud.protect.copies import Copying, declared_like

REF, NEW = ClusterRef("acme", "c"), ClusterRef("globex", "copy")
SOURCE = Cluster(
    REF, "hadoop-2.7", "simulated", "0" * 32, "image:1", (NodeGroup("master", 1, 1536), NodeGroup("worker", 3, 2048, used=5)),
    publish={"namenode": 9870}, state=Wanted.STOPPED, labels={"team": "blue"}, restoring="acme/c@20261121t020000-1a2b",
    lease=Lease(datetime(2026, 12, 1, tzinfo=UTC)),
)  # fmt: skip


def workers(cluster: Cluster, **changed: object) -> Cluster:
    groups = tuple(replace(each, **changed) if each.name == "worker" else each for each in cluster.groups)  # type: ignore[arg-type]
    return replace(cluster, groups=groups)


def test_a_copy_is_itself() -> None:
    copy = Copying(NEW).cluster(SOURCE)
    assert (copy.ref, copy.state, dict(copy.publish), copy.lease, copy.restoring) == (NEW, Wanted.RUNNING, {}, None, "")
    assert len(copy.id) == 32
    assert copy.id not in (SOURCE.id, Copying(NEW).cluster(SOURCE).id)
    assert [(each.name, each.count, each.used, each.memory) for each in copy.groups] == [("master", 1, 0, 1536), ("worker", 3, 0, 2048)]
    assert (copy.profile, copy.image, copy.labels) == (SOURCE.profile, SOURCE.image, SOURCE.labels)


def test_a_copy_has_what_it_is_asked_for() -> None:
    lease = Lease(datetime(2027, 1, 1, tzinfo=UTC))
    copy = Copying(NEW, memory=1024, cpus=0.5, lease=lease).cluster(SOURCE)
    assert {(each.memory, each.cpus) for each in copy.groups} == {(1024, 0.5)}
    assert copy.lease == lease


def test_what_is_brought_back_has_the_nodes_and_volumes_of_then() -> None:
    now = workers(SOURCE, count=4, used=0, volumes=(Volume(), Volume()), memory=4096)
    back = declared_like(now, SOURCE)
    assert (back.group("worker").count, back.group("worker").volumes, back.group("worker").memory) == (3, (Volume(),), 4096)
    assert (back.publish, back.lease, back.id) == (now.publish, now.lease, now.id)


def test_names_that_came_since_stay_retired() -> None:
    assert [each.name for each in declared_like(workers(SOURCE, count=6, used=0), SOURCE).retired()] == ["worker-3", "worker-4", "worker-5"]
    then = workers(SOURCE, used=0)
    assert list(declared_like(workers(then, count=2, used=3), then).retired()) == []
    assert [each.name for each in declared_like(workers(then, count=4), then).retired()] == ["worker-3"]
