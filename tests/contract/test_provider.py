"""What `labcloud.providers.base` promises, asked of every provider."""

from __future__ import annotations

import io
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from labcloud.errors import EngineError, LabError, NotFoundError
from labcloud.model import ClusterRef, NodeRef, NodeVolume, Status, StorageClass
from labcloud.model.dataset import StoredDataset
from labcloud.providers.base import Command, config_digests
from tests.contract.conftest import CONFIG, IMAGE, Bench

pytestmark = pytest.mark.timeout(180)


# What exists


def test_nothing_exists_at_first(bench: Bench) -> None:
    found = bench.provider.find(tenant=bench.tenant)
    assert (found.nodes, found.networks, found.volumes, dict(found.configs)) == ((), frozenset(), frozenset(), {})


def test_a_made_node_is_found_with_its_identity(bench: Bench) -> None:
    spec = bench.make()
    found = bench.provider.find(cluster=bench.cluster)
    (node,) = found.nodes
    assert (node.ref, node.status, node.digest, node.image) == (spec.ref, Status.RUNNING, spec.digest, spec.image)
    assert (node.profile, node.memory) == (spec.profile, spec.memory)
    assert node.engine_id
    assert node.address
    assert found.networks == {bench.tenant}
    assert found.volumes == {(spec.ref, 0)}
    assert dict(found.configs) == {bench.cluster: config_digests(CONFIG)}


def test_a_node_is_inspected_with_its_real_limits(bench: Bench) -> None:
    spec = bench.make()
    seen = bench.provider.inspect(spec.ref)
    assert (seen.state.lower(), seen.memory, seen.cpus, seen.attached) == (bench.running, spec.memory, spec.cpus, True)
    assert (seen.killed_for_memory, seen.restarts, seen.said, seen.ended) == (False, 0, "", "")
    bench.provider.stop_node(spec.ref)
    assert bench.provider.inspect(spec.ref).state.lower() != bench.running
    with pytest.raises(NotFoundError):
        bench.provider.inspect(bench.node(7))


def test_find_gives_what_is_asked_for_and_no_more(bench: Bench) -> None:
    second, foreign = ClusterRef(bench.tenant, "two"), ClusterRef(bench.other, "one.0")
    for ref in (bench.node(), bench.node(cluster=second), bench.node(cluster=foreign)):
        bench.make(ref)
    by = {
        "cluster": bench.provider.find(cluster=second),
        "tenant": bench.provider.find(tenant=bench.tenant),
        "all": bench.provider.find(),
    }
    clusters = {key: {node.ref.cluster for node in found.nodes} for key, found in by.items()}
    assert clusters == {"cluster": {second}, "tenant": {second, bench.cluster}, "all": {second, bench.cluster, foreign}}
    assert {key: set(found.configs) for key, found in by.items()} == clusters
    assert {key: {ref.cluster for ref, _ in found.volumes} for key, found in by.items()} == clusters
    assert by["cluster"].networks == by["tenant"].networks == {bench.tenant}
    assert by["all"].networks == {bench.tenant, bench.other}


def test_another_provider_of_the_same_lab_sees_the_same(bench: Bench) -> None:
    bench.make()
    assert bench.open().find(tenant=bench.tenant) == bench.provider.find(tenant=bench.tenant)


def test_another_lab_sees_nothing(bench: Bench) -> None:
    bench.make()
    found = bench.open_other_lab().find()
    assert (found.nodes, found.networks, found.volumes) == ((), frozenset(), frozenset())


def test_an_unknown_image_is_not_found(bench: Bench) -> None:
    with pytest.raises(NotFoundError) as caught:
        bench.provider.image("hadoop-0.1")
    assert caught.value.resolution


def test_an_image_has_a_reference(bench: Bench) -> None:
    newest = bench.provider.image(IMAGE)
    assert IMAGE in newest
    assert bench.provider.image(IMAGE, newest) == newest
    for preferred in (f"labcloud/{IMAGE}:gone", "labcloud/other:latest"):
        assert bench.provider.image(IMAGE, preferred) == newest


# Making and deleting


def test_ensure_twice_changes_nothing(bench: Bench) -> None:
    bench.make()
    before = bench.provider.find(tenant=bench.tenant)
    assert bench.provider.ensure_config(bench.cluster, CONFIG) is False
    bench.provider.ensure_network(bench.tenant)
    bench.provider.ensure_node(bench.spec())
    assert bench.provider.find(tenant=bench.tenant) == before


def test_what_is_gone_is_deleted(bench: Bench) -> None:
    bench.provider.delete_node(bench.node())
    bench.provider.delete_volume(bench.node(), 0)
    bench.provider.delete_config(bench.cluster)
    bench.provider.delete_network(bench.tenant)
    bench.provider.stop_node(bench.node())


def test_delete_leaves_nothing(bench: Bench) -> None:
    spec = bench.make(volumes=(NodeVolume(), NodeVolume()))
    bench.provider.delete_node(spec.ref)
    assert bench.provider.find(cluster=bench.cluster).volumes == {(spec.ref, 0), (spec.ref, 1)}
    for number in range(2):
        bench.provider.delete_volume(spec.ref, number)
    bench.provider.delete_config(bench.cluster)
    bench.provider.delete_network(bench.tenant)
    found = bench.provider.find(tenant=bench.tenant)
    assert (found.nodes, found.networks, found.volumes, dict(found.configs)) == ((), frozenset(), frozenset(), {})


def test_deletions_at_once_all_end_when_it_is_gone(bench: Bench) -> None:
    spec = bench.make()
    with ThreadPoolExecutor(4) as pool:
        for each in [pool.submit(bench.provider.delete_node, spec.ref) for _ in range(4)]:
            each.result()
            assert bench.provider.find(cluster=bench.cluster).nodes == ()
    bench.provider.delete_volume(spec.ref, 0)


def test_a_volume_in_use_is_not_deleted(bench: Bench) -> None:
    spec = bench.make()
    with pytest.raises(LabError):
        bench.provider.delete_volume(spec.ref, 0)
    assert bench.provider.find(cluster=bench.cluster).volumes == {(spec.ref, 0)}


def test_a_node_needs_its_network(bench: Bench) -> None:
    bench.provider.ensure_config(bench.cluster, CONFIG)
    with pytest.raises(LabError):
        bench.provider.ensure_node(bench.spec())


def test_a_node_needs_its_image(bench: Bench) -> None:
    bench.provider.ensure_network(bench.tenant)
    bench.provider.ensure_config(bench.cluster, CONFIG)
    with pytest.raises(NotFoundError):
        bench.provider.ensure_node(bench.spec(image="labcloud/none:at-all"))


def test_a_drifted_node_is_made_again_and_its_volume_stays(bench: Bench) -> None:
    spec = bench.make()
    bench.run("tee", "/data/0/kept", stdin=b"data")
    bench.run("tee", "/tmp/lost", stdin=b"data")
    before = bench.provider.find(cluster=bench.cluster).nodes[0]
    grown = replace(spec, volumes=(*spec.volumes, NodeVolume()))
    bench.provider.ensure_node(grown)
    (after,) = bench.provider.find(cluster=bench.cluster).nodes
    assert after.engine_id != before.engine_id
    assert (after.status, after.digest, after.memory) == (Status.RUNNING, grown.digest, grown.memory)
    assert bench.text("cat", "/data/0/kept") == "data"
    assert bench.run("cat", "/tmp/lost").exit_code == 1


def test_stop_and_start_keep_the_node_and_its_volume(bench: Bench) -> None:
    spec = bench.make()
    bench.run("tee", "/data/0/kept", stdin=b"data")
    before = bench.provider.find(cluster=bench.cluster).nodes[0]
    bench.provider.stop_node(spec.ref, timeout=5)
    stopped = bench.provider.find(cluster=bench.cluster).nodes[0]
    assert (stopped.status, stopped.engine_id) == (Status.STOPPED, before.engine_id)
    bench.provider.stop_node(spec.ref, timeout=5)
    bench.provider.ensure_node(spec)
    started = bench.provider.find(cluster=bench.cluster).nodes[0]
    assert (started.status, started.engine_id) == (Status.RUNNING, before.engine_id)
    assert bench.text("cat", "/data/0/kept") == "data"


def test_a_node_can_be_deleted_while_stopped(bench: Bench) -> None:
    spec = bench.make()
    bench.provider.stop_node(spec.ref, timeout=5)
    bench.provider.delete_node(spec.ref)
    assert bench.provider.find(cluster=bench.cluster).nodes == ()


def test_nodes_are_made_from_several_threads(bench: Bench) -> None:
    refs = [bench.node(index) for index in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda ref: bench.make(ref, volumes=()), refs))
    found = bench.provider.find(cluster=bench.cluster)
    assert [node.ref for node in found.nodes] == refs
    assert {node.status for node in found.nodes} == {Status.RUNNING}
    assert len({node.address for node in found.nodes}) == 4


def test_what_nodes_see_is_written_from_several_threads(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "one").write_text("1\n")
    configs = [CONFIG | {"worker-0/greeting": f"hello {number}\n"} for number in range(4)]
    datasets = [{name: StoredDataset("1-0123456789ab", tmp_path / "store")} for name in "abcd"]

    def write(number: int) -> None:
        bench.provider.ensure_config(bench.cluster, configs[number])
        bench.provider.ensure_datasets(bench.cluster, datasets[number])

    for _ in range(20):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write, range(4)))
        assert bench.provider.config(bench.cluster) in configs
        (shown,) = bench.provider.find(cluster=bench.cluster).datasets[bench.cluster].items()
        assert shown in {(name, "1-0123456789ab") for name in "abcd"}


def test_ports_are_published_on_this_machine_only(bench: Bench) -> None:
    bench.make(publish={9870: 0, 8088: 0})
    (node,) = bench.provider.find(cluster=bench.cluster).nodes
    assert set(node.published) == {9870, 8088}
    places = [place.rpartition(":") for place in node.published.values()]
    assert {host for host, _, _ in places} == {"127.0.0.1"}
    assert len({port for _, _, port in places}) == 2


def test_a_wanted_port_is_taken_once(bench: Bench) -> None:
    bench.make(publish={9870: 28765})
    assert bench.provider.find(cluster=bench.cluster).nodes[0].published == {9870: "127.0.0.1:28765"}
    with pytest.raises(LabError):
        bench.make(bench.node(1), publish={9870: 28765})


# Configuration


def test_configuration_changes_in_place_and_is_read_only(bench: Bench) -> None:
    bench.make()
    assert bench.text("cat", "/etc/labcloud/cluster/greeting") == "hello"
    changed = {"worker-0/greeting": "good bye\n", "worker-0/new/file": "new\n"}
    assert bench.provider.ensure_config(bench.cluster, changed) is True
    assert bench.text("cat", "/etc/labcloud/cluster/greeting") == "good bye"
    assert bench.text("cat", "/etc/labcloud/cluster/new/file") == "new"
    assert bench.run("cat", "/etc/labcloud/cluster/conf/site.xml").exit_code == 1
    assert bench.run("tee", "/etc/labcloud/cluster/greeting", stdin=b"mine", user=bench.stranger).exit_code != 0
    assert bench.text("cat", "/etc/labcloud/cluster/greeting") == "good bye"
    assert dict(bench.provider.find(cluster=bench.cluster).configs) == {bench.cluster: config_digests(changed)}


# Shared datasets


@pytest.fixture
def numbers(tmp_path: Path) -> StoredDataset:
    """A version in a store, as an import leaves it."""
    folder = tmp_path / "home" / "datasets" / "store" / "numbers" / "1" / "content"
    (folder / "some").mkdir(parents=True)
    (folder / "some" / "one.txt").write_text("1\n")
    return StoredDataset("1-0123456789ab", folder)


def test_nodes_see_datasets_at_once_and_cannot_change_them(bench: Bench, numbers: StoredDataset) -> None:
    bench.make()
    assert bench.provider.find(cluster=bench.cluster).datasets.get(bench.cluster, {}) == {}
    assert bench.run("cat", "/datasets/numbers/some/one.txt").exit_code == 1
    assert bench.provider.ensure_datasets(bench.cluster, {"numbers": numbers}) is True
    assert bench.text("cat", "/datasets/numbers/some/one.txt") == "1"
    assert bench.provider.ensure_datasets(bench.cluster, {"numbers": numbers}) is False
    assert bench.open().find(cluster=bench.cluster).datasets == {bench.cluster: {"numbers": numbers.tag}}
    for path in ("/datasets/numbers/some/one.txt", "/datasets/numbers/mine", "/datasets/mine"):
        assert bench.run("tee", path, stdin=b"mine").exit_code != 0
    assert (numbers.folder / "some" / "one.txt").read_text() == "1\n"
    assert bench.provider.ensure_datasets(bench.cluster, {}) is True
    assert bench.run("cat", "/datasets/numbers/some/one.txt").exit_code == 1
    assert (numbers.folder / "some" / "one.txt").exists()


def test_another_version_takes_a_datasets_place(bench: Bench, numbers: StoredDataset, tmp_path: Path) -> None:
    second = tmp_path / "home" / "datasets" / "store" / "numbers" / "2" / "content"
    second.mkdir(parents=True)
    (second / "two.txt").write_text("2\n")
    bench.provider.ensure_datasets(bench.cluster, {"numbers": numbers})
    bench.make()
    assert bench.text("cat", "/datasets/numbers/some/one.txt") == "1"
    assert bench.provider.ensure_datasets(bench.cluster, {"numbers": StoredDataset("2-0123456789ab", second)}) is True
    assert bench.text("cat", "/datasets/numbers/two.txt") == "2"
    assert bench.run("cat", "/datasets/numbers/some/one.txt").exit_code == 1
    assert dict(bench.provider.find(cluster=bench.cluster).datasets) == {bench.cluster: {"numbers": "2-0123456789ab"}}


def test_a_dataset_that_is_not_stored_is_refused(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(LabError):
        bench.provider.ensure_datasets(bench.cluster, {"numbers": StoredDataset("1-0123456789ab", tmp_path / "none")})


def test_deleted_datasets_leave_nothing_and_are_kept_in_the_store(bench: Bench, numbers: StoredDataset) -> None:
    spec = bench.make()
    bench.provider.ensure_datasets(bench.cluster, {"numbers": numbers})
    bench.provider.delete_node(spec.ref)
    bench.provider.delete_datasets(bench.cluster)
    bench.provider.delete_datasets(bench.cluster)
    assert dict(bench.provider.find(tenant=bench.tenant).datasets) == {}
    assert (numbers.folder / "some" / "one.txt").exists()


# Names and walls


def test_names_resolve_forward_and_reverse(bench: Bench) -> None:
    for index in range(2):
        bench.make(bench.node(index), volumes=())
    domain = bench.provider.domain(bench.tenant)
    neighbour = bench.provider.find(cluster=bench.cluster).nodes[1]
    name = f"{neighbour.ref.qualified}.{domain}"
    assert bench.text("hostname", "-f", ref=neighbour.ref) == name
    for asked in (name, neighbour.ref.name):
        assert bench.text("getent", "hosts", asked).split()[0] == neighbour.address
    assert name in bench.text("getent", "hosts", neighbour.address).split()[1:]


def test_nodes_of_a_tenant_reach_each_other_and_no_others(bench: Bench) -> None:
    foreign = NodeRef(ClusterRef(bench.other, "one.0"), "worker", 0)
    for ref in (bench.node(0), bench.node(1), foreign):
        bench.make(ref, volumes=())
    addresses = {node.ref: node.address for node in bench.provider.find().nodes}
    assert bench.reaches(bench.node(0), addresses[bench.node(1)])
    assert not bench.reaches(bench.node(0), addresses[foreign])
    assert not bench.reaches(foreign, addresses[bench.node(0)])
    name = f"{bench.node(1).qualified}.{bench.provider.domain(bench.tenant)}"
    assert bench.run("getent", "hosts", name, ref=foreign).exit_code != 0


# Talking to nodes


def test_execute_gives_exit_code_and_both_streams(bench: Bench) -> None:
    bench.make()
    assert bench.run("true").exit_code == 0
    assert bench.run("false").exit_code == 1
    result = bench.run("ls", "/nowhere", "/etc/labcloud/cluster/greeting")
    assert result.exit_code == 2
    assert result.stdout == b"/etc/labcloud/cluster/greeting\n"
    assert b"/nowhere" in result.stderr


def test_execute_passes_streams_on(bench: Bench) -> None:
    bench.make()
    out, err = io.BytesIO(), io.BytesIO()
    command = Command(("ls", "/nowhere", "/etc/labcloud/cluster/greeting"))
    result = bench.provider.execute(bench.node(), command, stdout=out, stderr=err)
    assert (result.exit_code, result.stdout, result.stderr) == (2, b"", b"")
    assert out.getvalue() == b"/etc/labcloud/cluster/greeting\n"
    assert b"/nowhere" in err.getvalue()


@pytest.mark.parametrize("size", [1, 5_000_000])
def test_execute_feeds_standard_input(bench: Bench, size: int) -> None:
    bench.make()
    data = bytes(index % 251 for index in range(size))
    assert bench.run("cat", stdin=data).stdout == data
    assert bench.provider.execute(bench.node(), Command(("cat",), stdin=io.BytesIO(data))).stdout == data


def test_execute_runs_as_the_user(bench: Bench) -> None:
    bench.make()
    assert bench.run("id", "-u").stdout == b"0\n"
    assert bench.run("id", "-u", user="hdfs").stdout == b"901\n"


def test_execute_takes_arguments_as_they_are(bench: Bench) -> None:
    bench.make()
    odd = "/tmp/a b;$(id)'\"*"
    assert bench.run("tee", odd, stdin=b"x").exit_code == 0
    assert bench.text("cat", odd) == "x"


def test_execute_needs_a_running_node(bench: Bench) -> None:
    with pytest.raises(NotFoundError):
        bench.run("true")
    bench.make()
    bench.provider.stop_node(bench.node(), timeout=5)
    with pytest.raises(LabError):
        bench.run("true")


def test_interactive_names_the_node_and_the_command(bench: Bench) -> None:
    line = bench.provider.interactive(bench.node(), ["bash", "-l"], user="hdfs")
    assert line[-2:] == ["bash", "-l"]
    assert all(isinstance(part, str) for part in line)


def test_put_file_sets_content_owner_and_mode(bench: Bench) -> None:
    bench.make()
    content = [b"first ", b"second"]
    bench.provider.put_file(bench.node(), "/data/0/file", iter(content), size=12, owner=20123)
    assert bench.text("cat", "/data/0/file") == "first second"
    assert bench.text("stat", "-c", "%u %a %s", "/data/0/file") == "20123 600 12"
    bench.provider.put_file(bench.node(), "/data/0/file", [b"new"], size=3, owner=0)
    assert bench.text("cat", "/data/0/file") == "new"


def test_put_file_needs_an_existing_folder(bench: Bench) -> None:
    bench.make()
    with pytest.raises(LabError):
        bench.provider.put_file(bench.node(), "/no/such/folder/file", [b"x"], size=1, owner=0)


def test_a_request_that_nothing_answers_is_refused(bench: Bench) -> None:
    with pytest.raises(EngineError):
        bench.provider.request(bench.node(), 9, "/jmx")
    spec = bench.make()
    bench.provider.stop_node(spec.ref, timeout=5)
    began = time.monotonic()
    with pytest.raises(EngineError):
        bench.provider.request(bench.node(), 9, "/jmx", timeout=2)
    assert time.monotonic() - began < 10


# Limits


def test_limits_change_while_the_node_runs(bench: Bench) -> None:
    spec = bench.make()
    before = bench.provider.find(cluster=bench.cluster).nodes[0]
    for memory, cpus in ((512, 1.5), (96, 0.25), (spec.memory, spec.cpus)):
        bench.provider.resize_node(spec.ref, memory=memory, cpus=cpus)
        seen = bench.provider.inspect(spec.ref)
        assert (seen.state, seen.memory, seen.cpus) == ("running", memory, cpus)
        (after,) = bench.provider.find(cluster=bench.cluster).nodes
        assert (after.memory, after.cpus) == (memory, cpus)
        assert after.limited_to(memory, cpus)
    assert replace(after, created=before.created) == before


def test_memory_does_not_shrink_below_what_is_used(bench: Bench) -> None:
    spec = bench.make()
    bench.run("tee", "/dev/shm/kept", stdin=bytes(48 << 20))
    with pytest.raises(EngineError) as caught:
        bench.provider.resize_node(spec.ref, memory=32, cpus=2.0)
    assert "32" in caught.value.brief
    seen = bench.provider.inspect(spec.ref)
    assert (seen.state, seen.memory, seen.cpus) == ("running", spec.memory, spec.cpus)
    bench.provider.resize_node(spec.ref, memory=96, cpus=2.0)
    assert bench.provider.inspect(spec.ref).memory == 96


def test_a_node_that_is_not_there_has_no_limits(bench: Bench) -> None:
    with pytest.raises(NotFoundError):
        bench.provider.resize_node(bench.node(7), memory=256, cpus=1.0)


def test_ensure_gives_a_node_the_limits_of_its_specification(bench: Bench) -> None:
    spec = bench.make()
    before = bench.provider.find(cluster=bench.cluster).nodes[0]
    bench.provider.ensure_node(replace(spec, memory=320))
    assert bench.provider.inspect(spec.ref).memory == 320
    bench.provider.stop_node(spec.ref, timeout=5)
    bench.provider.resize_node(spec.ref, memory=128, cpus=0.5)
    bench.provider.ensure_node(replace(spec, memory=384, cpus=1.0))
    (after,) = bench.provider.find(cluster=bench.cluster).nodes
    assert (after.status, after.memory, after.cpus, after.engine_id) == (Status.RUNNING, 384, 1.0, before.engine_id)


# Storage classes


def test_a_volume_of_a_class_keeps_its_data_where_it_was_made(bench: Bench, tmp_path: Path) -> None:
    fast = NodeVolume(2, StorageClass("fast", path=str(tmp_path / "nvme")))
    spec = bench.make(volumes=(NodeVolume(), fast))
    assert bench.run("tee", "/data/1/kept", stdin=b"data").exit_code == 0
    elsewhere = NodeVolume(2, replace(fast.storage, path=str(tmp_path / "other")))
    assert replace(spec, volumes=(NodeVolume(), elsewhere)).digest == spec.digest
    bench.provider.ensure_node(replace(spec, volumes=(NodeVolume(), elsewhere, fast)))
    assert bench.text("cat", "/data/1/kept") == "data"
    assert bench.provider.find(cluster=bench.cluster).volumes == {(spec.ref, 0), (spec.ref, 1), (spec.ref, 2)}
    with pytest.raises(LabError):
        bench.provider.delete_volume(spec.ref, 1)
    assert bench.text("cat", "/data/1/kept") == "data"
    bench.provider.delete_node(spec.ref)
    for number in range(3):
        bench.provider.delete_volume(spec.ref, number)
    assert bench.provider.find(cluster=bench.cluster).volumes == frozenset()
    assert not [path for path in tmp_path.rglob("*") if path.name not in ("nvme", "home") and tmp_path / "home" not in path.parents]


def test_a_volume_of_a_driver_has_its_options(bench: Bench) -> None:
    memory = StorageClass("memory", driver="local", options={"type": "tmpfs", "device": "tmpfs", "o": "size=16m"})
    spec = bench.make(volumes=(NodeVolume(1, memory),))
    assert bench.run("tee", "/data/0/kept", stdin=b"data").exit_code == 0
    bench.provider.delete_node(spec.ref)
    bench.provider.delete_volume(spec.ref, 0)
    assert bench.provider.find(cluster=bench.cluster).volumes == frozenset()


# Volumes without their node, and snapshots beside them

SNAPSHOT = "20261121t020000-1a2b"


def test_a_volume_is_made_before_its_node_and_what_is_in_it_is_used(bench: Bench) -> None:
    folder = bench.provider.ensure_volume(bench.node(), 0, NodeVolume())
    assert bench.provider.find(cluster=bench.cluster).volumes == {(bench.node(), 0)}
    (folder / "kept").write_text("data")
    assert bench.provider.ensure_volume(bench.node(), 0, NodeVolume()) == folder == bench.provider.volume_folder(bench.node(), 0)
    assert (folder / "kept").read_text() == "data"
    spec = bench.make()
    assert bench.provider.find(cluster=bench.cluster).volumes == {(spec.ref, 0)}
    assert bench.provider.volume_folder(spec.ref, 0) == folder
    with pytest.raises(LabError):
        bench.provider.delete_volume(spec.ref, 0)
    bench.provider.delete_node(spec.ref)
    assert (folder / "kept").read_text() == "data"
    bench.provider.delete_volume(spec.ref, 0)
    assert not folder.exists()


def test_a_volume_that_is_not_there_has_no_folder(bench: Bench) -> None:
    bench.make()
    for number, snapshot in ((1, ""), (0, SNAPSHOT)):
        with pytest.raises(NotFoundError):
            bench.provider.volume_folder(bench.node(), number, snapshot)


def test_a_snapshot_lies_beside_its_volume_on_the_same_file_system(bench: Bench, tmp_path: Path) -> None:
    spec = bench.make(volumes=(NodeVolume(), NodeVolume(2, StorageClass("fast", path=str(tmp_path / "nvme")))))
    for number in range(2):
        volume, beside = (
            bench.provider.volume_folder(spec.ref, number),
            bench.provider.ensure_volume(spec.ref, number, NodeVolume(), SNAPSHOT),
        )
        (volume / "block").write_text("data")
        (beside / "block").hardlink_to(volume / "block")
        assert beside == bench.provider.volume_folder(spec.ref, number, SNAPSHOT) != volume
    found = bench.provider.find(cluster=bench.cluster)
    assert found.snapshots == {(spec.ref, 0, SNAPSHOT), (spec.ref, 1, SNAPSHOT)}
    assert found.volumes == {(spec.ref, 0), (spec.ref, 1)}
    assert bench.provider.find(tenant=bench.tenant).snapshots == found.snapshots
    bench.provider.delete_node(spec.ref)
    for number in range(2):
        bench.provider.delete_volume(spec.ref, number)
    found = bench.provider.find(cluster=bench.cluster)
    assert (found.snapshots, found.volumes) == ({(spec.ref, 0, SNAPSHOT), (spec.ref, 1, SNAPSHOT)}, frozenset())
    assert (bench.provider.volume_folder(spec.ref, 0, SNAPSHOT) / "block").read_text() == "data"
    for number in range(2):
        bench.provider.delete_volume(spec.ref, number, SNAPSHOT)
        bench.provider.delete_volume(spec.ref, number, SNAPSHOT)
    assert bench.provider.find(cluster=bench.cluster).snapshots == frozenset()
    assert not (tmp_path / "nvme").exists() or list((tmp_path / "nvme").iterdir()) == []


def test_snapshots_go_one_by_one_while_their_node_runs(bench: Bench) -> None:
    spec, other = bench.make(), "20261122t020000-1a2b"
    for id in (SNAPSHOT, other):
        (bench.provider.ensure_volume(spec.ref, 0, NodeVolume(), id) / "which").write_text(id)
    assert bench.run("tee", "/data/0/kept", stdin=b"data").exit_code == 0
    bench.provider.delete_volume(spec.ref, 0, SNAPSHOT)
    assert bench.provider.find(cluster=bench.cluster).snapshots == {(spec.ref, 0, other)}
    assert (bench.provider.volume_folder(spec.ref, 0, other) / "which").read_text() == other
    assert bench.text("cat", "/data/0/kept") == "data"


def test_another_lab_sees_no_snapshots(bench: Bench) -> None:
    spec = bench.make()
    bench.provider.ensure_volume(spec.ref, 0, NodeVolume(), SNAPSHOT)
    foreign = bench.open_other_lab()
    assert foreign.find().snapshots == frozenset()
    for snapshot in ("", SNAPSHOT):
        with pytest.raises(NotFoundError):
            foreign.volume_folder(spec.ref, 0, snapshot)
