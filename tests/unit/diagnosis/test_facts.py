"""What a node prints of itself, and what daemons' last words mean."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labcloud.diagnosis.facts import Death, Facts, ServiceFacts, parse, script
from labcloud.diagnosis.probes.services import flaps, last_words

PRINTED = """\
cpu\t100.5\t1000\t10
clock\t1795255995.222286
memory\t2147483648\t192503808\t34758656\t7\t2
disk\t/data/0\trw\t1000\t20\t100\t50
disk\t/\tro\t1000\t900\t0\t0
address\t10.192.0.4 10.193.0.1
name\tmaster-0.d.diag\t10.192.0.3
name\tnowhere\t
service\tdatanode\ttrue\ttrue\t17\t48
death\tdatanode\t60\tsignal\tSIGKILL
death\tdatanode\t9\texitcode\t143
process\tdatanode\tS\t84248
folder\tdatanode\t/data/0/hdfs/data\thdfs\troot\t700
log\tdatanode\tSTARTUP_MSG: Starting DataNode
out\tdatanode\tlabcloud: datanode ended by signal 9
service\tnodemanager\tmissing
identity\t/data/0/hdfs/data/current/VERSION\tCID-1
blocks\t12
latency\t2500
cpu\t101.5\t1010\t15
"""


def test_facts_are_read() -> None:
    facts = parse(PRINTED)
    assert (facts.memory.limit, facts.memory.used, facts.memory.refused, facts.memory.kills) == (2**31, 157745152, 7, 2)
    assert [(each.folder, each.writable, each.used_percent) for each in facts.disks] == [("/data/0", True, 98), ("/", False, 10)]
    assert facts.names == {"master-0.d.diag": "10.192.0.3", "nowhere": ""}
    assert facts.addresses == ("10.192.0.4", "10.193.0.1")
    assert (facts.blocks, facts.latency, facts.throttled_percent) == (12, 2500, 50)
    datanode = facts.service("datanode")
    assert (datanode.up, datanode.wanted, datanode.seconds, datanode.state) == (True, True, 48, "S")
    assert [str(each) for each in datanode.ends(100)] == ["signal SIGKILL"]
    assert datanode.folders[0].owner == "root"
    assert not facts.service("nodemanager").supervised
    assert not facts.service("namenode").supervised


@given(st.text(alphabet="\t\nabc0123456789servicdkmorynmu-.", max_size=300))
def test_whatever_a_broken_node_prints_is_read(text: str) -> None:
    assert isinstance(parse(text), Facts)


def test_the_script_is_sound() -> None:
    run = subprocess.run(("shellcheck", "--severity=warning", "-"), input=script(), capture_output=True, check=False)
    assert run.returncode == 0, run.stdout.decode()


def service(
    *ends: int, up: bool = True, seconds: int = 2, how: tuple[str, str] = ("exitcode", "1"), **more: tuple[str, ...]
) -> ServiceFacts:
    deaths = tuple(Death(ago, *how) for ago in ends)
    return ServiceFacts("datanode", supervised=True, up=up, wanted=True, seconds=seconds, deaths=deaths, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (service(), False),
        (service(3), False),
        (service(6, 3), True),
        (service(26, 23, seconds=23), False),
        (service(60, 3), False),
        (service(120, 60, 3), False),
        (service(123, 83, 43, 3), True),
        (service(500, 400, 300), False),
        (service(9, 6, 3, how=("signal", "SIGTERM")), False),
        (service(9, 6, 3, how=("exitcode", "143")), False),
        (service(9, 6, 3, up=False, seconds=30), True),
    ],
)
def test_flapping_is_ending_again_and_again_unasked(facts: ServiceFacts, expected: bool) -> None:
    assert flaps(facts) is expected


STAMP = "2026-11-21 10:12:36,034 FATAL org.apache.hadoop.hdfs.server.datanode."


@pytest.mark.parametrize(
    ("log", "out", "name"),
    [
        (
            "DataNode: java.io.IOException: Incompatible clusterIDs in /data/0: namenode clusterID = a; datanode clusterID = b",
            "",
            "other-cluster",
        ),
        ("DataNode: Exception in secureMain java.net.BindException: Problem binding to [0.0.0.0:50010]", "", "port-taken"),
        ("", 'Exception in thread "main" java.lang.OutOfMemoryError: Java heap space', "heap-out"),
        ("", "[Fatal Error] hdfs-site.xml:34:1: XML document structures must start and end within the same entity.", "configuration-bad"),
        ("", "Error: Could not find or load main class org.example.None", "configuration-bad"),
        ("DataNode: DiskErrorException: Too many failed volumes - current valid volumes: 0", "", "storage-refused"),
        ("DataNode: java.net.UnknownHostException: master-9", "", "master-unreachable"),
        ("DataNode: some other java.lang.IllegalStateException: surprise", "", "unexplained"),
        ("", "", "unexplained"),
    ],
)
def test_last_words_name_the_reason(log: str, out: str, name: str) -> None:
    facts = service(6, 3, log=("STARTUP_MSG: Starting DataNode", STAMP + log) if log else (), out=(out,) if out else ())
    found, said = last_words(facts)
    assert found == name
    assert said
    assert not said.startswith("2026")


def test_one_that_is_killed_says_nothing() -> None:
    noise = (STAMP + "DirectoryScanner: dfs.datanode.directoryscan.throttle.limit.ms.per.sec set to value below 1 ms/sec",)
    assert last_words(service(6, 3, how=("signal", "SIGKILL"), log=noise)) == ("killed", "signal SIGKILL")


def test_words_of_starts_long_ago_do_not_count() -> None:
    start = "STARTUP_MSG: Starting DataNode"
    log = (
        start,
        STAMP + "DataNode: Incompatible clusterIDs",
        start,
        start,
        STAMP + "DataNode: java.net.BindException: Address already in use",
    )
    assert last_words(service(6, 3, log=log))[0] == "port-taken"
