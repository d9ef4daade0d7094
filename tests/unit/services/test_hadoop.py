"""HDFS and YARN as their daemons describe them: answers shaped as Hadoop 2.7 and 3.4 give them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from labcloud.apply.decommission import Decommissioner
from labcloud.apply.watch import Deadline, Watch
from labcloud.errors import DeadlineError, EngineError
from labcloud.model import Cluster, ClusterRef, NodeGroup, NodeRef
from labcloud.profiles import load
from labcloud.providers.base import Response
from labcloud.providers.simulated import SimulatedProvider, World
from labcloud.services.files import FileStatus, WebFiles
from labcloud.services.hadoop import DECOMMISSIONED, IN_SERVICE, Hadoop

REF = ClusterRef("acme", "c")
CLUSTER = Cluster(REF, "hadoop-2.7", "simulated", "0" * 32, "image:1", (NodeGroup("master", 1, 1536), NodeGroup("worker", 3, 2048)))
DOMAIN = "c.acme.lab"


class Answering(SimulatedProvider):
    """Gives the answers that it holds, in turn, and keeps what it was asked."""

    def __init__(self, home: Path) -> None:
        super().__init__(home, "0", world=World())
        self.answers: Iterator[Response] = iter(())
        self.asked: list[tuple[str, int, str, str]] = []

    def say(self, *answers: Response) -> None:
        self.answers = iter(answers)

    def request(self, ref: NodeRef, port: int, path: str, *, method: str = "GET", body: bytes = b"", timeout: float = 5.0) -> Response:  # noqa: ARG002
        self.asked.append((ref.name, port, method, unquote(path)))
        return next(self.answers)


@pytest.fixture
def engine(tmp_path: Path) -> Answering:
    return Answering(tmp_path)


@pytest.fixture
def hadoop(engine: Answering) -> Hadoop:
    return Hadoop(engine, CLUSTER, load("hadoop-2.7"))


def body(value: object, status: int = 200, **headers: str) -> Response:
    return Response(status, json.dumps(value).encode(), headers)


def beans(**facts: object) -> Response:
    """A bean as the servlet prints it: maps and lists of the NameNode are JSON within JSON."""
    return body({"beans": [{name: json.dumps(each) if isinstance(each, dict | list) else each for name, each in facts.items()}]})


def live(state: str = IN_SERVICE, **more: Any) -> dict[str, Any]:
    return {
        "infoAddr": "172.18.0.3:50075", "infoSecureAddr": "172.18.0.3:0", "xferaddr": "172.18.0.3:50010", "lastContact": 0,
        "usedSpace": 28672, "adminState": state, "nonDfsUsedSpace": 1, "capacity": 1, "numBlocks": 0, "version": "2.7.7",
        "used": 28672, "remaining": 1, "blockScheduled": 0, "blockPoolUsed": 28672, "blockPoolUsedPercent": 0.0, "volfails": 0, **more,
    }  # fmt: skip


def namenode(**changed: object) -> Response:
    facts = {
        "name": "Hadoop:service=NameNode,name=NameNodeInfo", "modelerType": "org.apache.hadoop.hdfs.server.namenode.FSNamesystem",
        "Safemode": "", "LiveNodes": {}, "DeadNodes": {}, "DecomNodes": {}, "NumberOfMissingBlocks": 0,
    }  # fmt: skip
    return beans(**(facts | changed))


def test_datanodes_go_by_their_nodes_names_whatever_their_port_and_domain(engine: Answering, hadoop: Hadoop) -> None:
    engine.say(
        namenode(LiveNodes={f"worker-0.{DOMAIN}:50010": live(), "worker-1:9866": live(DECOMMISSIONED), f"worker-2.{DOMAIN}": live()})
    )
    assert hadoop.hdfs().live == {"worker-0": IN_SERVICE, "worker-1": DECOMMISSIONED, "worker-2": IN_SERVICE}


def test_the_namenodes_own_port_is_asked_for_one_bean(engine: Answering, hadoop: Hadoop) -> None:
    engine.say(namenode())
    hadoop.hdfs()
    assert engine.asked == [("master-0", 50070, "GET", "/jmx?qry=Hadoop:service=NameNode,name=NameNodeInfo")]


def test_dead_datanodes_say_whether_they_were_decommissioned(engine: Answering, hadoop: Hadoop) -> None:
    dead = {"lastContact": 631, "xferaddr": "172.18.0.5:50010"}
    engine.say(
        namenode(DeadNodes={"worker-1:50010": {**dead, "decommissioned": True}, "worker-2:50010": {**dead, "decommissioned": False}})
    )
    assert hadoop.hdfs().dead == {"worker-1": DECOMMISSIONED, "worker-2": "dead"}


def test_leaving_datanodes_tell_what_is_left_to_copy(engine: Answering, hadoop: Hadoop) -> None:
    left = {"xferaddr": "172.18.0.4:50010", "underReplicatedBlocks": 7, "decommissionOnlyReplicas": 2, "underReplicateInOpenFiles": 0}
    engine.say(namenode(DecomNodes={"worker-1:50010": left}, LiveNodes={"worker-1:50010": live("Decommission In Progress")}))
    state = hadoop.hdfs()
    assert (state.leaving, state.under_replicated(["worker-0", "worker-1"])) == ({"worker-1": 7}, 7)


def test_a_datanode_that_is_readied_for_maintenance_tells_what_is_left_to_copy(engine: Answering, hadoop: Hadoop) -> None:
    """As Hadoop 2.10 and 3.4 give it; older ones have no such attribute."""
    left = {"xferaddr": "10.192.0.4:9866", "underReplicatedBlocks": 2, "maintenanceOnlyReplicas": 2, "underReplicateInOpenFiles": 0}
    there = {"worker-1:9866": live("Entering Maintenance")}
    engine.say(namenode(EnteringMaintenanceNodes={"worker-1:9866": left}, LiveNodes=there), namenode(LiveNodes=there))
    assert hadoop.hdfs().leaving == {"worker-1": 2}
    assert hadoop.hdfs().leaving == {}


def test_safe_mode_missing_blocks_and_failed_disks_are_told(engine: Answering, hadoop: Hadoop) -> None:
    engine.say(
        namenode(Safemode="Safe mode is ON.", NumberOfMissingBlocks=3, LiveNodes={"worker-0:1": live(volfails=1), "worker-1:1": live()})
    )
    state = hadoop.hdfs()
    assert (state.safe_mode, state.missing_blocks, state.failed_volumes) == ("Safe mode is ON.", 3, 1)


@pytest.mark.parametrize(
    "answer",
    [
        Response(200, b"<html>starting</html>", {}),
        Response(503, b"", {}),
        body({"beans": []}),
        body({"result": "ERROR"}),
        body([]),
        beans(Safemode=""),  # attributes that fail are left out
        namenode(LiveNodes="null"),
        namenode(NumberOfMissingBlocks=None),
        namenode(LiveNodes='{"worker-0'),
    ],
    ids=["html", "unavailable", "no bean", "error", "list", "attributes missing", "null", "none", "torn"],
)
def test_a_namenode_that_does_not_publish_its_state_yet_is_an_engine_error(engine: Answering, hadoop: Hadoop, answer: Response) -> None:
    engine.say(answer)
    with pytest.raises(EngineError, match="namenode of acme/c does not publish Hadoop:service=NameNode,name=NameNodeInfo yet"):
        hadoop.hdfs()


def test_nodemanagers_go_by_their_nodes_names_with_their_state(engine: Answering, hadoop: Hadoop) -> None:
    facts = {"Rack": "/default-rack", "NodeId": "worker-0:40001", "NodeHTTPAddress": "worker-0:8042", "HealthReport": ""}
    managers = [{**facts, "HostName": f"worker-0.{DOMAIN}", "State": "RUNNING"}, {**facts, "HostName": "worker-1", "State": "UNHEALTHY"}]
    managers += [{**facts, "HostName": "worker-2", "State": "RUNNING", "HealthReport": "Healthy"}]  # no heartbeat has brought its own
    engine.say(beans(LiveNodeManagers=managers))
    assert hadoop.yarn() == {"worker-0": "RUNNING", "worker-1": "UNHEALTHY", "worker-2": "SILENT"}


def test_a_resourcemanager_that_is_starting_is_an_engine_error(engine: Answering, hadoop: Hadoop) -> None:
    engine.say(body({"beans": []}))
    with pytest.raises(EngineError, match="resourcemanager"):
        hadoop.yarn()


# Leaving


def wait_for(engine: Answering, *answers: Response) -> None:
    engine.say(*answers)
    profile = load("hadoop-2.7")
    Decommissioner(engine, CLUSTER, profile, watch=Watch(), deadline=Deadline(0)).wait([NodeRef(REF, "worker", 1)])


IDLE = beans(LiveNodeManagers=[])


def test_a_node_has_left_when_hdfs_says_so_and_yarn_does_not_know_it(engine: Answering) -> None:
    wait_for(engine, namenode(LiveNodes={"worker-1:1": live(DECOMMISSIONED)}), IDLE)
    wait_for(engine, namenode(DeadNodes={"worker-1:1": {"decommissioned": True}}), IDLE)
    wait_for(engine, namenode(), IDLE)
    assert len(engine.asked) == 6


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([namenode(LiveNodes={"worker-1:1": live()})], "HDFS copies the blocks of worker-1"),
        ([namenode(DeadNodes={"worker-1:1": {"decommissioned": False}})], "HDFS copies the blocks of worker-1"),
        ([namenode(Safemode="Safe mode is ON.")], "HDFS is in safe mode"),
        ([namenode(NumberOfMissingBlocks=2)], "HDFS misses 2 blocks, and knows nothing of worker-1 yet"),
        ([namenode(), beans(LiveNodeManagers=[{"HostName": "worker-1", "State": "RUNNING"}])], "YARN lets go of worker-1"),
    ],
    ids=["live", "dead", "safe mode", "missing blocks", "yarn"],
)
def test_a_node_has_not_left_while(engine: Answering, answers: list[Response], said: str) -> None:
    with pytest.raises(DeadlineError, match=said):
        wait_for(engine, *answers)


# WebHDFS


@pytest.fixture
def files(engine: Answering) -> WebFiles:
    return WebFiles(engine, NodeRef(REF, "master", 0), 50070)


def redirect(host: str = f"worker-1.{DOMAIN}", port: int = 50075) -> Response:
    place = f"http://{host}:{port}/webhdfs/v1/a%20b?op=CREATE&user.name=hdfs&namenoderpcaddress=master-0:8020&overwrite=true"
    return Response(307, b"", {"Content-Type": "application/octet-stream", "Location": place})


def test_bytes_are_written_to_the_datanode_that_the_namenode_names(engine: Answering, files: WebFiles) -> None:
    engine.say(redirect(), Response(201, b"", {}))
    files.write("/a b", b"x")
    first, second = engine.asked
    assert first == ("master-0", 50070, "PUT", "/webhdfs/v1/a b?user.name=hdfs&op=CREATE&overwrite=true")
    assert second[:3] == ("worker-1", 50075, "PUT")
    assert second[3].endswith("?op=CREATE&user.name=hdfs&namenoderpcaddress=master-0:8020&overwrite=true")


def test_bytes_are_read_from_the_datanode_that_the_namenode_names(engine: Answering, files: WebFiles) -> None:
    engine.say(redirect(), Response(200, b"content", {}))
    assert files.read("/a b") == b"content"


@pytest.mark.parametrize(
    "answer", [redirect("172.18.0.9"), Response(307, b"", {}), Response(200, b"{}", {})], ids=["address", "none", "200"]
)
def test_a_redirect_to_no_node_of_the_cluster_is_an_engine_error(engine: Answering, files: WebFiles, answer: Response) -> None:
    engine.say(answer)
    with pytest.raises(EngineError, match="named no DataNode for CREATE /x"):
        files.write("/x", b"")


# As Hadoop 2.7.7 gives it: 28 bytes, and four more.
CHECKSUM = {
    "FileChecksum": {
        "algorithm": "MD5-of-2048MD5-of-512CRC32C",
        "bytes": "000002000000000000000800254beeb395d0f9a6e25f9cc102eaa59f00000000",
        "length": 28,
    }
}


def test_a_checksum_is_what_the_datanode_makes_of_the_blocks(engine: Answering, files: WebFiles) -> None:
    engine.say(redirect(), body(CHECKSUM))
    assert files.checksum("/a b") == "MD5-of-2048MD5-of-512CRC32C:000002000000000000000800254beeb395d0f9a6e25f9cc102eaa59f"
    assert engine.asked[0] == ("master-0", 50070, "GET", "/webhdfs/v1/a b?user.name=hdfs&op=GETFILECHECKSUM")
    assert engine.asked[1][:3] == ("worker-1", 50075, "GET")


def test_the_namenode_is_asked_for_a_datanode_once(engine: Answering, files: WebFiles) -> None:
    refused = body({"RemoteException": {"exception": "IOException", "message": "no replica"}}, 403)
    engine.say(redirect(), body(CHECKSUM), body(CHECKSUM), refused, redirect(f"worker-0.{DOMAIN}"), body(CHECKSUM))
    files.checksum("/a b")
    files.checksum("/p+q %")
    with pytest.raises(EngineError) as caught:
        files.checksum("/c")
    assert caught.value.details == "no replica"
    files.checksum("/c")
    assert [(node, path.partition("?")[0]) for node, _, _, path in engine.asked] == [
        ("master-0", "/webhdfs/v1/a b"), ("worker-1", "/webhdfs/v1/a b"), ("worker-1", "/webhdfs/v1/p+q %"), ("worker-1", "/webhdfs/v1/c"),
        ("master-0", "/webhdfs/v1/c"), ("worker-0", "/webhdfs/v1/c"),
    ]  # fmt: skip


@pytest.mark.parametrize("answer", [body({}), body({"FileChecksum": None}), Response(200, b"<html>", {})], ids=["none", "null", "html"])
def test_an_odd_checksum_is_an_engine_error(engine: Answering, files: WebFiles, answer: Response) -> None:
    engine.say(redirect(), answer)
    with pytest.raises(EngineError, match="gives no checksum of /x"):
        files.checksum("/x")


def test_a_file_that_is_no_more_has_no_checksum(engine: Answering, files: WebFiles) -> None:
    gone = body({"RemoteException": {"exception": "FileNotFoundException", "message": "File does not exist: /x"}}, 404)
    engine.say(gone, redirect(), gone)
    assert files.checksum("/x") == ""
    assert files.checksum("/x") == ""


def test_what_is_in_a_folder_has_length_and_time(engine: Answering, files: WebFiles) -> None:
    found = [
        {"pathSuffix": "d", "type": "DIRECTORY", "length": 0, "modificationTime": 1600000000000},
        {"pathSuffix": "f", "type": "FILE", "length": 7, "modificationTime": 1600000000001},
    ]
    engine.say(body({"FileStatuses": {"FileStatus": found}}), body({"RemoteException": {"message": "no"}}, 404), body({"odd": 1}))
    assert files.statuses("/x") == {"d": FileStatus(folder=True), "f": FileStatus(folder=False, length=7, modified=1600000000001)}
    assert files.statuses("/x") == {}
    with pytest.raises(EngineError, match="does not say what is in /x"):
        files.statuses("/x")


# What fsck prints of open files

FSCK_2 = """FSCK started by hdfs (auth:SIMPLE) from /10.192.4.1 for path / at Wed Nov 25 23:20:14 UTC 2026
....................................................................................................
./user/a/put._COPYING_ 0 bytes, 0 block(s), OPENFORWRITE: ............/user/a/empty 0 bytes, 0 block(s), OPENFORWRITE: ./user/a/n w; 5 bytes 12 bytes, 1 block(s), OPENFORWRITE: ......Status: HEALTHY
 Total size:	503030495 B
FSCK ended at Wed Nov 25 23:20:14 UTC 2026 in 27 milliseconds
"""  # noqa: E501 - as it is

FSCK_3 = """FSCK started by hdfs (auth:SIMPLE) from /10.192.12.1 for path / at Wed Nov 25 23:27:16 UTC 2026

./user/a/put._COPYING_ 0 bytes, replicated: replication=2, 1 block(s), OPENFORWRITE: /user/a/empty 0 bytes, replicated: replication=2, 0 block(s), OPENFORWRITE: ./user/a/n w; 5 bytes 12 bytes, erasure-coded: policy=RS-6-3-1024k, 1 block(s), OPENFORWRITE: 
Status: HEALTHY
FSCK ended at Wed Nov 25 23:27:16 UTC 2026 in 27 milliseconds
"""  # noqa: E501, W291 - as it is


@pytest.mark.parametrize("said", [FSCK_2, FSCK_3], ids=["2.7", "3.4"])
def test_open_files_are_found_in_what_fsck_prints(engine: Answering, hadoop: Hadoop, said: str) -> None:
    engine.say(Response(200, said.encode(), {}))
    assert hadoop.open_files() == {"/user/a/put._COPYING_", "/user/a/empty", "/user/a/n w; 5 bytes"}
    assert engine.asked == [("master-0", 50070, "GET", "/fsck?ugi=hdfs&path=/&openforwrite=1")]


@pytest.mark.parametrize("text", ["", FSCK_2[:200], "FSCK started by hdfs\nFsck on path '/' FAILED"], ids=["none", "cut off", "failed"])
def test_half_an_answer_of_fsck_is_an_engine_error(engine: Answering, hadoop: Hadoop, text: str) -> None:
    engine.say(Response(200, text.encode(), {}))
    with pytest.raises(EngineError, match="which files are open"):
        hadoop.open_files()


def test_a_folder_is_made_and_then_given_to_its_owner(engine: Answering, files: WebFiles) -> None:
    engine.say(body({"boolean": True}), Response(200, b"", {}))
    files.make_folder("/user/acme", owner="acme", group="acme", mode="750")
    assert [path for *_, path in engine.asked] == [
        "/webhdfs/v1/user/acme?user.name=hdfs&op=MKDIRS&permission=750",
        "/webhdfs/v1/user/acme?user.name=hdfs&op=SETOWNER&owner=acme&group=acme",
    ]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (body({"RemoteException": {"exception": "SafeModeException", "message": "Name node is in safe mode."}}, 403), "in safe mode"),
        (Response(500, b"<html>boom</html>", {}), "boom"),
        (body({"RemoteException": None}, 404), "RemoteException"),
    ],
    ids=["exception", "html", "odd"],
)
def test_what_hdfs_refuses_is_told_in_its_own_words(engine: Answering, files: WebFiles, answer: Response, said: str) -> None:
    engine.say(answer)
    with pytest.raises(EngineError, match="HDFS refused DELETE /x") as caught:
        files.delete("/x")
    assert said in caught.value.details


# Any bean, any page


def test_beans_are_found_by_their_short_names(tmp_path: Path) -> None:
    provider = Answering(tmp_path)
    hadoop = Hadoop(provider, CLUSTER, load("hadoop-2.7"))
    beans = [
        {"name": "Hadoop:service=ResourceManager,name=QueueMetrics,q0=root,q1=default", "PendingMB": 1},
        {"name": "java.lang:type=Runtime", "Uptime": 2},
        {"without": "a name"},
    ]
    answer = Response(200, json.dumps({"beans": beans}).encode(), {})
    provider.say(answer, answer)
    assert hadoop.beans("resourcemanager").keys() == {"QueueMetrics,q0=root,q1=default", "java.lang:type=Runtime"}
    assert hadoop.beans("nodemanager", "java.lang:type=Runtime", node=NodeRef(REF, "worker", 2))["java.lang:type=Runtime"]["Uptime"] == 2
    assert provider.asked[-1] == ("worker-2", 8042, "GET", "/jmx")


def test_a_page_that_is_refused_or_is_no_json_is_an_error(tmp_path: Path) -> None:
    provider = Answering(tmp_path)
    hadoop = Hadoop(provider, CLUSTER, load("hadoop-2.7"))
    provider.say(Response(404, b"", {}), Response(200, b"<html>", {}))
    with pytest.raises(EngineError, match="answers /ws with 404"):
        hadoop.page("resourcemanager", "/ws")
    with pytest.raises(EngineError, match="with what is no JSON"):
        hadoop.page("resourcemanager", "/ws")
