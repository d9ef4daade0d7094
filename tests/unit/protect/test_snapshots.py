"""Snapshots of clusters on the simulated engine: taken, listed, brought back, copied, deleted; what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from labcloud.apply.requests import CreateRequest
from labcloud.apply.verbs import Terms
from labcloud.errors import ConfiguringError, ConflictError, EngineError, NotFoundError
from labcloud.model import ClusterRef, NodeVolume, Wanted
from labcloud.model.snapshot import SnapshotRef
from labcloud.protect.copies import Copying
from labcloud.protect.identity import HdfsIdentity
from labcloud.protect.manifest import NAME, Manifest, Origin
from labcloud.providers.base import Result
from labcloud.providers.simulated import Faults
from tests.unit.protect.workshop import LOG, REF, TERMS, Workshop, node

OTHER = ClusterRef("acme", "copy")
FOREIGN = ClusterRef("globex", "copy")
GONE = "20200101t000000-abcd"


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    made = Workshop(tmp_path)
    made.create()
    return made


def ref(manifest: Manifest) -> SnapshotRef:
    return SnapshotRef(REF, manifest.id)


# Taking


def test_a_snapshot_holds_what_was_there_and_stands_beside_it(shop: Workshop) -> None:
    before = shop.data()
    taken = shop.take()
    shop.change()
    found = shop.found()
    assert found.snapshots == {(each, number, taken.id) for each, number in found.volumes}
    kept = {each.name: shop.folder(each, taken.id) for each, _, _ in found.snapshots}
    for name, files in before.items():
        assert {path: (kept[name] / path).read_text() for path in files} == files
    assert (taken.consistent, taken.why, taken.origin, taken.ref) == (True, "", Origin.HAND, REF)
    assert taken.volumes == {"master-0": 1, "worker-0": 1, "worker-1": 1}
    assert taken.files == sum(map(len, before.values()))
    assert taken.size == sum(len(text) for files in before.values() for text in files.values())
    assert taken.cluster == shop.wanted()
    read = shop.snapshots().manifest(ref(taken))
    assert read == replace(taken, taken=read.taken, pause=read.pause)
    assert abs((read.taken - taken.taken).total_seconds()) < 0.001
    assert abs(read.pause - taken.pause) < 0.001


def test_blocks_are_shared_and_the_log_is_not(shop: Workshop) -> None:
    taken = shop.take()
    worker, master = node("worker-0"), node("master-0")

    def shared(where: object, path: str) -> bool:
        return (shop.folder(where, taken.id) / path).samefile(shop.folder(where) / path)  # type: ignore[arg-type]

    assert shared(worker, shop.block(worker))
    assert shared(master, "hdfs/name/current/fsimage_1")
    assert not shared(master, LOG)


def test_a_stopped_cluster_is_taken_as_it_stands(shop: Workshop) -> None:
    shop.clusters().stop(REF, TERMS)
    faults = Faults()
    assert shop.take(faults=faults).consistent
    assert "execute" not in faults.names()


def test_taking_is_noted_in_the_journal(shop: Workshop) -> None:
    taken = shop.snapshots().take(REF, TERMS, title="before the exam")
    record = shop.snapshots()._journal.operations()[0]
    (event,) = [each for each in shop.snapshots()._journal.read(record.id).events if each.kind == "snapshot"]
    assert (event.details["id"], event.details["consistent"]) == (taken.id, True)
    assert shop.snapshots().list(REF)[0].title == "before the exam"


def test_a_moment_that_ends_by_itself_makes_it_inconsistent_and_it_cannot_be_brought_back(shop: Workshop) -> None:
    faults = Faults()
    faults.fail(EngineError("it went on by itself"), name="release", target="acme/c/master-0")
    taken = shop.take(faults=faults)
    assert not taken.consistent
    assert "master-0: it went on by itself" in taken.why
    assert [call.target for call in faults.calls if call.name == "release"].count("acme/c/master-0") == 3, "it is tried again"
    (view,) = shop.snapshots().list(REF)
    assert (view.state, view.why) == ("inconsistent", taken.why)
    before = shop.found()
    for verb in (lambda: shop.snapshots().restore(ref(taken), TERMS), lambda: shop.snapshots().copy(ref(taken), Copying(OTHER), TERMS)):
        with pytest.raises(ConflictError, match="is not consistent") as caught:
            verb()
        assert "snapshot list" in caught.value.resolution
    assert (shop.found(), shop.lab.cluster(OTHER)) == (before, None)
    with pytest.raises(NotFoundError):
        shop.snapshots().first(REF)


@pytest.mark.parametrize(
    ("code", "why"), [(4, "after 15 s"), (5, "somebody else"), (6, "was started meanwhile"), (7, "nothing held it"), (99, "its hold ended")]
)
def test_how_a_hold_ended_is_said(shop: Workshop, code: int, why: str) -> None:
    provider = shop.provider()
    provider.answer(("bash", "-c"), Result(code, b"still\n"))
    assert why in shop.snapshots(provider=provider).take(REF, TERMS).why


@pytest.mark.parametrize(
    ("result", "said"), [(Result(3), "could not be stopped"), (Result(1), "ended with 1"), (Result(127, stderr=b"no bash"), "no bash")]
)
def test_services_that_cannot_be_held_are_told_after_three_tries(shop: Workshop, result: Result, said: str) -> None:
    faults = Faults()
    provider = shop.provider(faults)
    provider.answer(("bash", "-c"), result)
    with pytest.raises(ConfiguringError) as caught:
        shop.snapshots(provider=provider).take(REF, TERMS)
    assert said in caught.value.details
    assert faults.names().count("execute") == 3 * 3
    assert shop.states() == ["unfinished"]


def test_a_moment_that_is_held_the_second_time_is_good(shop: Workshop) -> None:
    faults = Faults()
    faults.fail(EngineError("it went on by itself"), name="release", number=1)
    assert shop.take(faults=faults).consistent


def test_data_that_is_elsewhere_is_no_whole(shop: Workshop) -> None:
    (shop.folder(node("master-0")) / "hdfs/name/current/VERSION").unlink()
    assert shop.take().why == "no data volume has hdfs/name/current/VERSION"


def test_volumes_beyond_what_is_declared_are_told(shop: Workshop) -> None:
    """They would have to be brought back to nodes that nobody declares."""
    shop.provider().ensure_volume(node("worker-2"), 0, NodeVolume())
    taken = shop.take()
    assert "worker-2's volume 0" in taken.why
    assert "labcloud start acme/c" in taken.why


def test_a_cluster_without_data_has_no_snapshot(tmp_path: Path) -> None:
    shop = Workshop(tmp_path)
    shop.create()
    for each in shop.found().nodes:
        shop.provider().delete_node(each.ref)
    for each, number in shop.found().volumes:
        shop.provider().delete_volume(each, number)
    with pytest.raises(ConflictError, match="no data yet"):
        shop.take()


def test_data_that_cannot_be_reached_is_told(shop: Workshop) -> None:
    provider = shop.provider()
    provider._folders = None
    with pytest.raises(EngineError, match="cannot be reached from here"):
        shop.snapshots(provider=provider).take(REF, TERMS)


def test_an_unfinished_one_is_shown_and_removed_by_the_next(shop: Workshop) -> None:
    shop.provider().ensure_volume(node("worker-0"), 0, NodeVolume(), GONE)
    assert [(each.id, each.state, each.why) for each in shop.snapshots().list(REF)] == [(GONE, "unfinished", "it was broken off")]
    with pytest.raises(ConflictError, match="broken off"):
        shop.snapshots().restore(SnapshotRef(REF, GONE), TERMS)
    taken = shop.take()
    assert shop.ids() == [taken.id]


def test_one_whose_manifest_is_damaged_is_shown_and_stays(shop: Workshop) -> None:
    """Somebody may mend it; nothing else is held up by it."""
    taken = shop.take()
    (shop.folder(node("master-0"), taken.id) / NAME).write_text("{")
    (view,) = shop.snapshots().list(REF)
    assert (view.state, view.id) == ("unreadable", taken.id)
    shop.take()
    assert sorted(shop.states()) == ["consistent", "unreadable"]


# Looking


def test_lists_are_of_one_cluster_a_tenant_or_all(shop: Workshop) -> None:
    shop.create(OTHER)
    shop.create(FOREIGN)
    for each in (REF, OTHER, FOREIGN):
        shop.take(each)
    shop.take()
    verbs = shop.snapshots()
    assert [len(verbs.list(each)) for each in (REF, OTHER, FOREIGN)] == [2, 1, 1]
    assert [f"{each.tenant}/{each.name}" for each in verbs.list(tenant="acme")] == ["acme/c", "acme/c", "acme/copy"]
    assert len(verbs.list()) == 4
    assert verbs.list(tenant="nobody") == []
    ids = [each.id for each in verbs.list(REF)]
    assert ids == sorted(ids)
    assert verbs.first(REF).id == ids[0]


def test_an_unknown_one_is_not_found_and_the_nearest_is_named(shop: Workshop) -> None:
    taken = shop.take()
    for verb in (
        lambda: shop.snapshots().manifest(SnapshotRef(REF, GONE)),
        lambda: shop.snapshots().restore(SnapshotRef(REF, GONE), TERMS),
    ):
        with pytest.raises(NotFoundError) as caught:
            verb()
        assert taken.id in caught.value.resolution
    with pytest.raises(NotFoundError, match="acme/none"):
        shop.snapshots().list(ClusterRef("acme", "none"))


# Deleting


def test_delete_takes_those_that_are_named_or_none(shop: Workshop) -> None:
    first, second = shop.take(), shop.take()
    before = shop.data()
    with pytest.raises(NotFoundError):
        shop.snapshots().drop(REF, [first.id, GONE], TERMS)
    assert len(shop.ids()) == 2
    assert len(shop.snapshots().drop(REF, [first.id], TERMS)) == 3
    assert shop.ids() == [second.id]
    assert shop.data() == before


def test_the_clusters_end_is_the_end_of_its_snapshots(shop: Workshop) -> None:
    shop.take()
    shop.clusters().delete(REF, TERMS)
    found = shop.found(None)
    assert (found.snapshots, found.volumes, found.nodes) == (frozenset(), frozenset(), ())
    assert list((shop.root / "disks").iterdir()) == []


# Bringing back


def test_restore_brings_back_data_and_what_there_was_is_kept(shop: Workshop) -> None:
    before = shop.data()
    taken = shop.take()
    shop.change()
    changed = shop.data()
    shop.snapshots().restore(ref(taken), TERMS)
    assert shop.data() == before
    assert shop.running() == ["master-0", "worker-0", "worker-1"]
    assert (shop.wanted().restoring, shop.wanted().state) == ("", Wanted.RUNNING)
    views = {each.origin: each for each in shop.snapshots().list(REF)}
    assert views["safety"].title == f"before {taken.id} was restored"
    shop.snapshots().restore(SnapshotRef(REF, views["safety"].id), TERMS)
    assert shop.data() == changed


def test_a_snapshot_can_be_brought_back_again_and_again(shop: Workshop) -> None:
    before = shop.data()
    taken = shop.take()
    for _ in range(2):
        shop.snapshots().restore(ref(taken), TERMS)
        shop.put(node("master-0"), {LOG: "written into"})
        with (shop.folder(node("master-0")) / LOG).open("a") as file:
            file.write(" in place")
    shop.snapshots().restore(ref(taken), TERMS)
    assert shop.data() == before


@pytest.mark.parametrize("workers", [1, 3])
def test_restore_brings_back_the_number_of_workers(shop: Workshop, workers: int) -> None:
    before = shop.data()
    taken = shop.take()
    shop.clusters().scale(REF, workers, TERMS)
    shop.snapshots().restore(ref(taken), TERMS)
    assert shop.data() == before
    assert shop.running() == ["master-0", "worker-0", "worker-1"]
    assert [str(each.name) for each in shop.wanted().retired()] == (["worker-2"] if workers == 3 else [])


def test_the_configuration_of_now_stays(shop: Workshop) -> None:
    taken = shop.take()
    shop.lab.save(replace(shop.wanted(), labels={"team": "blue"}), "an edit")
    shop.snapshots().restore(ref(taken), TERMS)
    assert shop.wanted().labels == {"team": "blue"}


def test_a_node_that_uses_a_volume_too_many_is_made_again(shop: Workshop) -> None:
    before, taken = shop.data(), shop.take()
    wanted = shop.wanted()
    groups = tuple(replace(each, volumes=each.volumes * 2) if each.name == "worker" else each for each in wanted.groups)
    shop.lab.save(replace(wanted, groups=groups), "an edit")
    shop.clusters().start(REF, TERMS)
    assert (node("worker-0"), 1) in shop.found().volumes
    shop.snapshots().restore(ref(taken), TERMS)
    assert shop.data() == before
    assert shop.found().volumes == {(node(name), 0) for name in ("master-0", "worker-0", "worker-1")}


def test_a_stopped_cluster_runs_afterwards(shop: Workshop) -> None:
    taken = shop.take()
    shop.clusters().stop(REF, TERMS)
    shop.snapshots().restore(ref(taken), TERMS)
    assert len(shop.running()) == 3


def test_one_with_a_volume_that_is_gone_is_refused_before_anything_is_done(shop: Workshop) -> None:
    taken = shop.take()
    shop.provider().delete_volume(node("worker-1"), 0, taken.id)
    before = shop.found()
    with pytest.raises(ConflictError, match="volume 0 of worker-1 is gone"):
        shop.snapshots().restore(ref(taken), TERMS)
    assert shop.found() == before


def half_restored(shop: Workshop) -> Manifest:
    taken = shop.take()
    faults = Faults()
    faults.fail(EngineError("the disk broke"), name="volume_folder", target="acme/c/worker-1", number=4)
    with pytest.raises(EngineError, match="the disk broke"):
        shop.snapshots(faults).restore(ref(taken), TERMS)
    assert shop.wanted().restoring == str(ref(taken))
    return taken


def test_a_half_restored_cluster_is_not_worked_with_and_the_way_out_works(shop: Workshop) -> None:
    before = shop.data()
    taken = half_restored(shop)
    for verb in (
        lambda: shop.clusters().start(REF, TERMS),
        lambda: shop.clusters().scale(REF, 3, TERMS),
        lambda: shop.clusters().create(CreateRequest(REF, "hadoop-2.7", "simulated", workers=2), TERMS),
        shop.take,
    ):
        with pytest.raises(ConflictError, match="that was not finished") as caught:
            verb()
        assert f"labcloud snapshot restore {ref(taken)} --to {REF}" in caught.value.resolution
    number = len(shop.ids())
    shop.snapshots().restore(ref(taken), TERMS)
    assert (shop.data(), len(shop.running()), len(shop.ids())) == (before, 3, number)


def test_a_half_restored_cluster_can_be_deleted(shop: Workshop) -> None:
    half_restored(shop)
    shop.clusters().delete(REF, TERMS)
    assert shop.found(None).volumes == frozenset()


# Copies


@pytest.mark.parametrize("target", [OTHER, FOREIGN])
def test_a_copy_has_the_data_and_an_identity_of_its_own(shop: Workshop, target: ClusterRef) -> None:
    taken = shop.take()
    shop.change()
    before = shop.data()
    shop.snapshots().copy(ref(taken), Copying(target, memory=2048), TERMS)
    wanted, new = shop.wanted(target), shop.data(target)
    identity = HdfsIdentity.of(wanted.id)
    assert wanted.id != shop.wanted().id
    assert (wanted.origin, wanted.restoring, {each.memory for each in wanted.groups}) == (str(ref(taken)), "", {2048})
    assert shop.running(target) == ["master-0", "worker-0", "worker-1"]
    assert new["master-0"][LOG] == "log"
    assert new["worker-0"][f"hdfs/data/current/{identity.pool}/current/finalized/subdir0/blk_1"] == "block of worker-0"
    for name, kind in (("master-0", "name"), ("worker-0", "data")):
        assert f"clusterID={identity.cluster}\n" in new[name][f"hdfs/{kind}/current/VERSION"]
    assert not [path for path in new["master-0"] if path.startswith(("yarn", NAME))]
    assert shop.data() == before
    assert shop.found(target).snapshots == frozenset()


def test_writing_to_a_copy_changes_neither_snapshot_nor_original(shop: Workshop) -> None:
    taken = shop.take()
    before = shop.data()
    shop.snapshots().copy(ref(taken), Copying(OTHER), TERMS)
    for path in (LOG, "hdfs/name/current/VERSION"):
        with (shop.folder(node("master-0", OTHER)) / path).open("a") as file:
            file.write("more")
    assert shop.data() == before
    shop.snapshots().restore(ref(taken), TERMS)
    assert shop.data() == before


def test_a_second_command_changes_nothing(shop: Workshop) -> None:
    taken = shop.take()
    shop.snapshots().copy(ref(taken), Copying(OTHER), TERMS)
    shop.put(node("master-0", OTHER), {LOG: "its own life"})
    before = shop.data(OTHER), shop.found(None), shop.wanted(OTHER)
    shop.snapshots().copy(ref(taken), Copying(OTHER), TERMS)
    assert (shop.data(OTHER), shop.found(None), shop.wanted(OTHER)) == before


def test_a_name_that_is_taken_is_refused(shop: Workshop) -> None:
    taken = shop.take()
    shop.create(OTHER)
    before = shop.data(OTHER)
    with pytest.raises(ConflictError, match="is not a copy of"):
        shop.snapshots().copy(ref(taken), Copying(OTHER), TERMS)
    assert shop.data(OTHER) == before


def test_a_copy_of_another_snapshot_is_another(shop: Workshop) -> None:
    first, second = shop.take(), shop.take()
    shop.snapshots().copy(ref(first), Copying(OTHER), TERMS)
    with pytest.raises(ConflictError, match="is not a copy of"):
        shop.snapshots().copy(ref(second), Copying(OTHER), TERMS)


def test_a_copy_outlives_its_original(shop: Workshop) -> None:
    taken = shop.take()
    shop.snapshots().copy(ref(taken), Copying(OTHER), TERMS)
    before = shop.data(OTHER)
    shop.clusters().delete(REF, TERMS)
    assert shop.data(OTHER) == before
    assert len(shop.running(OTHER)) == 3


def hdfs(shop: Workshop, target: ClusterRef, path: str) -> str:
    files = shop.world.lab(shop.lab.id).cluster(target).volumes[node("master-0", target), 0]
    return files[f"hdfs:{path}"].owner


def test_the_former_tenants_home_is_the_new_ones(shop: Workshop) -> None:
    """The simulated HDFS is not in the folders: it is given here what the copy would have."""
    taken = shop.take()
    shop.snapshots().copy(ref(taken), Copying(FOREIGN), Terms(timeout=20, wait=False))
    provider = shop.provider()
    master = node("master-0", FOREIGN)
    for path in ("/user/acme/deep", "/user/globex"):
        provider.request(master, 50070, f"/webhdfs/v1{path}?op=MKDIRS&user.name=hdfs", method="PUT")
    for path, owner in (("/user/acme", "acme"), ("/user/acme/deep", "acme")):
        provider.request(master, 50070, f"/webhdfs/v1{path}?op=SETOWNER&owner={owner}&group={owner}", method="PUT")
    shop.snapshots().copy(ref(taken), Copying(FOREIGN), TERMS)
    assert hdfs(shop, FOREIGN, "/user/globex/deep") == "globex"
    with pytest.raises(KeyError):
        hdfs(shop, FOREIGN, "/user/acme")


def test_manifests_are_json_for_people_as_well(shop: Workshop) -> None:
    taken = shop.take()
    read = json.loads((shop.folder(node("master-0"), taken.id) / NAME).read_text())
    assert (read["tenant"], read["name"], read["consistent"]) == ("acme", "c", True)
