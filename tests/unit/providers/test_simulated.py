"""The simulated engine beyond the contract: its faults, its daemons, its size, its memory between commands."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from labcloud.errors import ConfigError, ConflictError, EngineError, NotFoundError
from labcloud.model import ClusterRef, NodeRef, NodeSpec, NodeVolume, Status
from labcloud.providers.base import Command, Provider, Response, Result
from labcloud.providers.simulated import Faults, Killed, SimulatedProvider, World

REF = ClusterRef("acme", "c1")
MASTER = NodeRef(REF, "master", 0)
SERVICES = {"master": ("namenode", "resourcemanager"), "worker": ("datanode", "nodemanager")}
FILES = {f"{group}-{index}/services/{name}": "" for group, names in SERVICES.items() for name in names for index in range(4)} | {
    "master-0/conf/dfs.exclude": ""
}


def worker(index: int) -> NodeRef:
    return NodeRef(REF, "worker", index)


def spec(ref: NodeRef, **changed: Any) -> NodeSpec:
    return NodeSpec(ref, "labcloud/hadoop-2.7:simulated", "hadoop-2.7", 1024, 1.0, (NodeVolume(),), **changed)


def build(provider: Provider, workers: int = 2) -> None:
    provider.ensure_network(REF.tenant)
    provider.ensure_config(REF, FILES)
    for ref in (MASTER, *map(worker, range(workers))):
        provider.ensure_node(spec(ref))


def open_provider(**options: Any) -> SimulatedProvider:
    return SimulatedProvider(Path("/nowhere"), "lab", **options)


@pytest.fixture
def cluster() -> SimulatedProvider:
    provider = open_provider()
    build(provider)
    return provider


# Faults


def test_calls_are_recorded() -> None:
    faults = Faults()
    build(open_provider(faults=faults), workers=1)
    assert faults.names() == ["ensure_network", "ensure_config", "ensure_node", "ensure_node"]
    assert [(call.number, call.target) for call in faults.calls][-1] == (4, "acme/c1/worker-0")


def test_a_named_call_fails_at_its_number_only() -> None:
    faults = Faults()
    provider = open_provider(faults=faults)
    faults.fail(EngineError("refused"), name="ensure_node", number=2)
    with pytest.raises(EngineError, match="refused"):
        build(provider)
    assert [node.ref for node in provider.find().nodes] == [MASTER]
    build(provider)
    assert len(provider.find().nodes) == 3


def test_a_lost_answer_has_its_effect() -> None:
    faults = Faults()
    provider = open_provider(faults=faults)
    faults.fail(EngineError("lost"), name="ensure_node", target=str(MASTER), after=True)
    with pytest.raises(EngineError, match="lost"):
        build(provider)
    assert [node.ref for node in provider.find().nodes] == [MASTER]
    faults.clear()
    build(provider)


@pytest.mark.parametrize("number", range(1, 6))
@pytest.mark.parametrize("after", [False, True])
def test_death_at_every_call_is_survived_by_the_world(number: int, after: bool) -> None:
    world, faults = World(), Faults()
    faults.die(number=number, after=after)
    provider = open_provider(world=world, faults=faults)
    with pytest.raises(Killed):
        build(provider)
    with pytest.raises(Killed):  # the dead do nothing more
        provider.find()
    reborn = open_provider(world=world)
    assert len(reborn.find().nodes) == max(0, number - 2 - (not after))
    build(reborn)
    assert len(reborn.find().nodes) == 3


def test_an_error_handler_does_not_see_death() -> None:
    faults = Faults()
    faults.die()
    with pytest.raises(Killed):
        try:
            open_provider(faults=faults).find()
        except Exception:  # noqa: BLE001
            pytest.fail("Killed is no Exception")


def test_the_pause_is_told_of_each_call() -> None:
    seen: list[str] = []
    provider = open_provider(faults=Faults(pause=seen.append))
    provider.ensure_network("acme")
    provider.find()
    assert seen == ["ensure_network", "find"]


# Daemons


def bean(provider: Provider, name: str) -> dict[str, Any]:
    answer = provider.request(MASTER, 50070, f"/jmx?qry=Hadoop:service={name}")
    return dict(json.loads(answer.body)["beans"][0])


def live(provider: Provider) -> dict[str, str]:
    nodes = json.loads(bean(provider, "NameNode,name=NameNodeInfo")["LiveNodes"])
    return {host.partition(".")[0]: facts["adminState"] for host, facts in nodes.items()}


def test_the_namenode_knows_its_datanodes(cluster: SimulatedProvider) -> None:
    info = bean(cluster, "NameNode,name=NameNodeInfo")
    assert info["Safemode"] == ""
    assert [host.partition(":")[0] for host in json.loads(info["LiveNodes"])] == ["worker-0.c1.acme.lab", "worker-1.c1.acme.lab"]
    cluster.stop_node(worker(1))
    assert live(cluster) == {"worker-0": "In Service"}
    assert bean(cluster, "NameNode,name=FSNamesystemState")["NumLiveDataNodes"] == 1


def test_the_namenode_is_in_safe_mode_without_datanodes(cluster: SimulatedProvider) -> None:
    for index in range(2):
        cluster.stop_node(worker(index))
    assert bean(cluster, "NameNode,name=NameNodeInfo")["Safemode"]


def test_excluded_nodes_are_decommissioned(cluster: SimulatedProvider) -> None:
    cluster.ensure_config(REF, FILES | {"master-0/conf/dfs.exclude": "worker-1.c1.acme.lab\n"})
    assert cluster.execute(MASTER, Command(("hdfs", "dfsadmin", "-refreshNodes"), user="hdfs")).exit_code == 0
    assert live(cluster) == {"worker-0": "In Service", "worker-1": "Decommissioned"}
    managers = json.loads(bean(cluster, "ResourceManager,name=RMNMInfo")["LiveNodeManagers"])
    assert [each["HostName"] for each in managers] == ["worker-0.c1.acme.lab"]


def test_the_resource_manager_knows_its_nodes(cluster: SimulatedProvider) -> None:
    nodes = json.loads(cluster.request(MASTER, 8088, "/ws/v1/cluster/nodes").body)["nodes"]["node"]
    assert [(each["nodeHostName"], each["state"]) for each in nodes] == [(f"worker-{index}.c1.acme.lab", "RUNNING") for index in range(2)]
    assert json.loads(cluster.request(MASTER, 8088, "/ws/v1/cluster/metrics").body)["clusterMetrics"]["activeNodes"] == 2
    cluster.stop_node(worker(0))
    cluster.stop_node(worker(1))
    assert json.loads(cluster.request(MASTER, 8088, "/ws/v1/cluster/nodes").body) == {"nodes": None}


def test_unknown_beans_and_pages_answer_as_hadoop_does(cluster: SimulatedProvider) -> None:
    assert json.loads(cluster.request(MASTER, 50070, "/jmx?qry=Hadoop:service=Odd").body) == {"beans": []}
    assert cluster.request(MASTER, 8088, "/odd").status == 404
    with pytest.raises(EngineError):
        cluster.request(worker(7), 8088, "/")


def test_daemons_refuse_while_they_start() -> None:
    provider = open_provider(startup=2)
    build(provider)
    for _ in range(2):
        with pytest.raises(EngineError, match="nothing listens"):
            live(provider)
    assert len(live(provider)) == 2
    provider.stop_node(MASTER)
    provider.ensure_node(spec(MASTER))
    with pytest.raises(EngineError, match="nothing listens"):
        live(provider)


def follow(provider: Provider, answer: Response, method: str, body: bytes = b"") -> Response:
    assert answer.status == 307
    place = urlsplit(answer.headers["Location"])
    index = int(str(place.hostname).partition(".")[0].partition("-")[2])
    return provider.request(worker(index), place.port or 0, f"{place.path}?{place.query}", method=method, body=body)


def test_webhdfs_keeps_files(cluster: SimulatedProvider) -> None:
    def ask(method: str, path: str, query: str) -> Response:
        return cluster.request(MASTER, 50070, f"/webhdfs/v1{path}?user.name=hdfs&op={query}", method=method)

    assert json.loads(ask("PUT", "/user/ada", "MKDIRS&permission=750").body) == {"boolean": True}
    assert ask("PUT", "/user/ada", "SETOWNER&owner=ada&group=ada").status == 200
    status = json.loads(ask("GET", "/user/ada", "GETFILESTATUS").body)["FileStatus"]
    assert (status["type"], status["owner"], status["permission"]) == ("DIRECTORY", "ada", "750")
    assert follow(cluster, ask("PUT", "/user/ada/a%20b", "CREATE"), "PUT", b"content").status == 201
    assert ask("PUT", "/user/ada/a%20b", "CREATE").status == 403
    assert follow(cluster, ask("GET", "/user/ada/a%20b", "OPEN"), "GET").body == b"content"
    for ref in (MASTER, worker(0), worker(1)):
        cluster.delete_node(ref)
        cluster.ensure_node(spec(ref))
    assert follow(cluster, ask("GET", "/user/ada/a%20b", "OPEN"), "GET").body == b"content"
    assert ask("DELETE", "/user/ada", "DELETE").status == 403
    assert json.loads(ask("DELETE", "/user/ada", "DELETE&recursive=true").body) == {"boolean": True}
    missing = ask("GET", "/user/ada", "GETFILESTATUS")
    assert (missing.status, json.loads(missing.body)["RemoteException"]["exception"]) == (404, "FileNotFoundException")


def test_webhdfs_renames_what_has_no_name_taken(cluster: SimulatedProvider) -> None:
    def rename(path: str, to: str) -> bool:
        answer = cluster.request(MASTER, 50070, f"/webhdfs/v1{path}?user.name=hdfs&op=RENAME&destination={to}", method="PUT")
        return bool(json.loads(answer.body)["boolean"])

    follow(cluster, cluster.request(MASTER, 50070, "/webhdfs/v1/a/b/c?user.name=hdfs&op=CREATE", method="PUT"), "PUT", b"content")
    assert rename("/a/b", "/a/d")
    assert follow(cluster, cluster.request(MASTER, 50070, "/webhdfs/v1/a/d/c?op=OPEN"), "GET").body == b"content"
    assert not rename("/a/b", "/a/e")
    assert not rename("/a/d/c", "/a/d")
    assert not rename("/a/d/c", "/x/y")


def test_webhdfs_needs_a_datanode(cluster: SimulatedProvider) -> None:
    for index in range(2):
        cluster.stop_node(worker(index))
    assert cluster.request(MASTER, 50070, "/webhdfs/v1/x?op=CREATE", method="PUT").status == 403


# Commands, images, memory between commands


def test_answers_can_be_registered(cluster: SimulatedProvider) -> None:
    cluster.answer(["hadoop"], Result(0, b"Hadoop 2.7.7\n"))
    cluster.answer(["hadoop", "fail"], Result(3))
    assert cluster.execute(MASTER, Command(("hadoop", "version"))).stdout == b"Hadoop 2.7.7\n"
    assert cluster.execute(MASTER, Command(("hadoop", "fail", "x"))).exit_code == 3
    assert cluster.execute(MASTER, Command(("odd",))).exit_code == 127


def test_images_are_there_unless_it_is_told_otherwise() -> None:
    assert open_provider().image("hadoop-3.4") == "labcloud/hadoop-3.4:simulated"
    with pytest.raises(NotFoundError):
        open_provider(images=()).image("hadoop-3.4")


def test_the_state_is_kept_between_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCLOUD_SIMULATED_STATE", str(tmp_path / "state.json"))
    first = open_provider()
    build(first)
    first.ensure_node(spec(worker(0), publish={9870: 0}))
    first.put_file(MASTER, "/data/0/file", [b"\xff\x00"], size=2, owner=7)
    first.stop_node(worker(1))
    first.close()
    second = open_provider()
    assert second.find() == first.find()
    assert second.find().nodes[2].status is Status.STOPPED
    assert second.execute(MASTER, Command(("cat", "/data/0/file"))).stdout == b"\xff\x00"
    second.ensure_node(spec(worker(2), publish={9870: 0}))
    ports = Counter(place for node in second.find().nodes for place in node.published.values())
    assert set(ports.values()) == {1}
    (tmp_path / "state.json").write_text("[]")
    with pytest.raises(ConfigError, match="simulated engine"):
        open_provider()


def test_a_deleted_lab_leaves_nothing(cluster: SimulatedProvider) -> None:
    found = cluster.find()
    for node in found.nodes:
        cluster.delete_node(node.ref)
    for ref, number in found.volumes:
        cluster.delete_volume(ref, number)
    cluster.delete_config(REF)
    cluster.delete_datasets(REF)
    cluster.delete_network(REF.tenant)
    lab = cluster._lab
    assert (lab.networks, lab.clusters, lab.by_tenant) == ({}, {}, {})


def test_five_thousand_nodes_are_quick() -> None:
    provider = open_provider()
    began = time.process_time()  # others work on this machine as well
    build(provider, workers=4999)
    assert len(provider.find(cluster=REF).nodes) == 5000
    assert len(live(provider)) == 4999
    assert time.process_time() - began < 2  # 0.15 s on a quiet machine


def test_one_cluster_among_many_is_found_quickly() -> None:
    provider = open_provider()
    build(provider, workers=4999)
    other = ClusterRef("other", "c")
    provider.ensure_network("other")
    provider.ensure_config(other, FILES)
    provider.ensure_node(spec(NodeRef(other, "master", 0)))
    began = time.process_time()
    for _ in range(1000):
        assert len(provider.find(cluster=other).nodes) == 1
    assert time.process_time() - began < 0.5


def test_a_network_is_where_it_shall_be_and_overlaps_no_other() -> None:
    provider = open_provider()
    provider.ensure_network("acme", "10.200.0.0/22")
    provider.ensure_network("acme", "10.200.0.0/22")
    with pytest.raises(ConflictError, match=r"10\.200\.1\.0/24 overlaps 10\.200\.0\.0/22, the network of acme") as caught:
        provider.ensure_network("other", "10.200.1.0/24")
    assert caught.value.resolution == "choose another: labcloud tenant set other --subnet NETWORK"
    provider.delete_network("acme")
    provider.ensure_network("other", "10.200.1.0/24")
    assert provider.find().networks == {"other"}
