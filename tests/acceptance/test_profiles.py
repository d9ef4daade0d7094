"""Each profile's life, on one cluster a profile: create → jobs → scale → losses → stop and start → delete with nothing left.

The tests of a profile follow one another on the same cluster; what each puts into HDFS, the later ones look after.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
import urllib.request
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from labcloud.profiles import load
from tests.acceptance.conftest import PROFILES
from tests.acceptance.driver import Cluster, Labcloud, count_words, docker, ended, read_counts, real_text, wait_for
from tests.acceptance.reconfiguring import reconfigurable, written_down

pytestmark = pytest.mark.timeout(400)

SERVICES = {
    "master-0": ("namenode", "secondarynamenode", "resourcemanager", "historyserver"),
    "worker-0": ("datanode", "nodemanager"),
    "worker-1": ("datanode", "nodemanager"),
}
TEXT = real_text()
ROWS = 200_000  # of 100 bytes each
MANY_MAPS = f"-Dmapreduce.input.fileinputformat.split.maxsize={len(TEXT) // 6}"


@pytest.fixture(scope="module", params=PROFILES)
def cluster(request: pytest.FixtureRequest, labcloud: Labcloud, mark: str) -> Iterator[Cluster]:
    made = Cluster(labcloud, f"{mark}-p", request.param)
    try:
        made.create()
        made.put("text/licences.txt", TEXT)
        yield made
    finally:
        labcloud("delete", "--yes", made.ref, expect=None)


# What a new cluster is


def test_create_ends_with_a_cluster_that_is_ready(cluster: Cluster) -> None:
    view = cluster.show()
    assert (view["tenant"], view["name"], view["profile"], view["provider"]) == (cluster.tenant, cluster.name, cluster.profile, "docker")
    assert view["status"] == "ready"
    assert {node["name"]: tuple(each["name"] for each in node["services"]) for node in view["nodes"]} == SERVICES
    cluster.wait_until_all_runs()
    assert set(cluster.datanodes()) == set(cluster.nodemanagers()) == {"worker-0", "worker-1"}


def test_creating_it_again_changes_nothing(cluster: Cluster) -> None:
    containers = ("ps", "-q", "--no-trunc", "--filter", f"label=labcloud.tenant={cluster.tenant}")
    before = docker(*containers)
    assert "there already" in cluster.labcloud("create", cluster.profile, "--tenant", cluster.tenant).said
    assert docker(*containers) == before


def test_names_resolve_forward_and_reverse_on_every_node(cluster: Cluster) -> None:
    addresses = {node["name"]: node["address"] for node in cluster.show()["nodes"]}
    script = 'for name; do forward=$(getent ahostsv4 "$name") address=${forward%% *}; echo "$name" $(getent hosts "$address"); done'
    for node in SERVICES:
        lines = cluster.exec("bash", "-c", script, "bash", *SERVICES, node=node).text.splitlines()
        for name, address, reverse, *_ in (line.split() for line in lines):
            assert address == addresses[name]
            assert reverse.startswith(f"{name}.{cluster.name}.{cluster.tenant}.labcloud-{cluster.tenant}")


def test_user_interfaces_answer_on_this_machine_only(cluster: Cluster) -> None:
    endpoints = cluster.show()["endpoints"]
    assert set(endpoints) == set(SERVICES["master-0"])
    for url in endpoints.values():
        address = urlsplit(url)
        assert address.hostname == "127.0.0.1"
        with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310
            assert answer.status == 200
            assert b"<html" in answer.read().lower()
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((cluster.gateway(), address.port), timeout=3)


def test_commands_behave_as_upstreams(cluster: Cluster) -> None:
    version = cluster.labcloud.json("profile", "show", cluster.profile)["version"]
    for command in ("hadoop", "hdfs", "yarn"):
        assert cluster.exec(command, "version").text.splitlines()[0] == f"Hadoop {version}"
    assert "share/hadoop/mapreduce" in cluster.exec("mapred", "classpath").text
    for command in ("hadoop", "hdfs", "yarn", "mapred"):
        assert "not COMMAND nor fully qualified CLASSNAME" in cluster.exec(command, "nonsense", expect=1).said
        assert "SUBCOMMAND" in cluster.exec(command, expect=1).said
    cluster.exec("hdfs", "dfs", "-test", "-e", "/nonsense", expect=1)
    assert "No such file or directory" in cluster.exec("hdfs", "dfs", "-cat", "/nonsense", expect=1).said


# `-reconfig … properties` came after 2.7, whose DataNode takes up its folders, and whose NameNode nothing.
CANNOT_SAY = {"hadoop-2.7"}


def test_daemons_take_up_what_the_profile_says(cluster: Cluster) -> None:
    profile = load(cluster.profile)
    for service, node in (("namenode", "master-0"), ("datanode", "worker-0")):
        expected = None if cluster.profile in CANNOT_SAY else written_down(profile, service)
        assert reconfigurable(cluster, profile, service, node) == expected


def test_bytes_pass_unchanged(cluster: Cluster) -> None:
    content = bytes(range(256)) * 16 + secrets.token_bytes(3 << 20)
    cluster.put("bytes", content)
    assert cluster.cat("bytes") == content


# The oldest and the newest version do all that follows; those between, under `thorough`.
ENDS = pytest.mark.enough("hadoop-2.7", "hadoop-3.4")


# Jobs


@ENDS
def test_a_new_worker_joins_while_rows_are_sorted(cluster: Cluster) -> None:
    generated = cluster.submit("teragen", "-Dmapreduce.job.maps=2", str(ROWS), "tera/in").said
    sorting = cluster.begin("terasort", "-Dmapreduce.job.reduces=2", "tera/in", "tera/out")
    cluster.running_app()
    cluster.labcloud("scale", cluster.ref, "--workers", "3")
    assert set(cluster.datanodes()) == set(cluster.nodemanagers()) == {"worker-0", "worker-1", "worker-2"}
    assert ended(sorting).code == 0
    cluster.submit("teravalidate", "tera/out", "tera/report")
    key, checksum = cluster.cat("tera/report/part-*").decode().split()
    assert key == "checksum"
    said = re.search(r"CHECKSUM=(\d+)", generated)
    assert said
    assert int(checksum, 16) % 2**64 == int(said[1])


@ENDS
def test_finished_jobs_are_in_the_history(cluster: Cluster) -> None:
    page = cluster.page("historyserver", "/ws/v1/history/mapreduce/jobs")

    def finished() -> dict[str, str]:
        jobs = ((page() or {}).get("jobs") or {}).get("job") or []
        return {job["name"]: job["state"] for job in jobs}

    expected = {"TeraGen": "SUCCEEDED", "TeraSort": "SUCCEEDED", "TeraValidate": "SUCCEEDED"}
    wait_for(f"jobs in the history: {expected}", lambda: finished() == expected or None, seconds=30)


# Scaling down


@ENDS
def test_scaling_down_is_refused_where_data_needs_the_node(cluster: Cluster) -> None:
    cluster.exec("hdfs", "dfs", "-setrep", "3", "text/licences.txt")
    wait_for("a block on the new node", lambda: cluster.datanodes()["worker-2"]["numBlocks"])
    before = cluster.states()
    refused = cluster.labcloud("scale", cluster.ref, "--workers", "2", expect=5).said
    assert "text/licences.txt" in refused
    assert "setrep" in refused
    assert cluster.states() == before
    assert set(cluster.datanodes()) == {"worker-0", "worker-1", "worker-2"}


@ENDS
def test_scaling_down_loses_no_block(cluster: Cluster) -> None:
    cluster.exec("hdfs", "dfs", "-setrep", "2", "text/licences.txt")
    # TeraSort's partition list wants ten replicas on whatever cluster: that keeps no node from leaving.
    cluster.labcloud("scale", cluster.ref, "--workers", "2")
    cluster.exec("hdfs", "dfs", "-rm", "-r", "-skipTrash", "tera")
    assert cluster.wait_until_all_runs().keys() >= {"worker-0", "worker-1"}
    assert "worker-2" not in cluster.states()
    assert set(cluster.datanodes()) == set(cluster.nodemanagers()) == {"worker-0", "worker-1"}
    cluster.check_files()
    left = docker("volume", "ls", "-q", "--filter", f"label=labcloud.tenant={cluster.tenant}").splitlines()
    assert sorted(left) == [f"{cluster.container(node)}.data-0" for node in SERVICES]


# Losses


def docker_kill(cluster: Cluster, node: str) -> None:
    """Docker leaves such a container where it is: it is `labcloud start` that brings it back."""
    docker("kill", cluster.container(node))


def kill_init(cluster: Cluster, node: str) -> None:
    """As a node that crashes: Docker starts it again by itself."""
    os.kill(cluster.pid(node), signal.SIGKILL)


# How the worker dies, and whether it is the one with the ApplicationMaster: each way once with each.
DEATHS: dict[str, tuple[Callable[[Cluster, str], None], bool]] = {
    "hadoop-2.7": (docker_kill, False),
    "hadoop-2.10": (kill_init, False),
    "hadoop-3.3": (kill_init, True),
    "hadoop-3.4": (docker_kill, True),
}


@ENDS
def test_a_job_survives_the_death_of_a_worker(cluster: Cluster) -> None:
    kill, master = DEATHS[cluster.profile]
    job = cluster.begin("wordcount", MANY_MAPS, "text", "words-survived")
    app = cluster.running_app(progress=10)
    host = app["amHostHttpAddress"].split(".")[0]
    victim = next(node for node in ("worker-0", "worker-1") if (node == host) is master)
    kill(cluster, victim)
    done = ended(job)
    assert done.code == 0, str(done)
    assert read_counts(cluster.cat("words-survived/part-*")) == count_words(TEXT)
    cluster.labcloud("start", cluster.ref)
    cluster.wait_until_all_runs()
    cluster.check_files()


# The whole set where versions differ most; elsewhere the two that hold the data.
DAEMONS = {
    "hadoop-2.7": SERVICES,
    "hadoop-2.10": {"master-0": ("namenode",), "worker-1": ("datanode",)},
    "hadoop-3.3": {"master-0": ("namenode",), "worker-1": ("datanode",)},
    "hadoop-3.4": SERVICES,
}


def process_of(cluster: Cluster, node: str, service: str) -> str:
    """The number of a daemon's process on its node; -1 while there is none."""
    return cluster.exec("s6-svstat", "-o", "pid", f"/run/service/{service}", node=node, user="root").text


def kill_daemon(cluster: Cluster, node: str, service: str) -> None:
    """Kill a daemon, and wait until its supervisor has started another one."""
    before = process_of(cluster, node, service)
    cluster.exec("kill", "-9", before, node=node, user="root")
    wait_for(f"another {service}", lambda: process_of(cluster, node, service) not in (before, "-1"), seconds=20)


@ENDS
def test_a_killed_daemon_is_started_again(cluster: Cluster) -> None:
    for node, services in DAEMONS[cluster.profile].items():
        for service in services:
            kill_daemon(cluster, node, service)
            cluster.labcloud("start", cluster.ref)
    cluster.wait_until_all_runs()
    cluster.check_files()


def test_stop_and_start_keep_all_data(cluster: Cluster) -> None:
    cluster.labcloud("stop", cluster.ref)
    view = cluster.show()
    assert view["status"] == "stopped"
    assert {node["status"] for node in view["nodes"]} == {"stopped"}
    cluster.labcloud("start", cluster.ref)
    assert cluster.show()["status"] == "ready"
    assert set(cluster.datanodes()) == set(cluster.nodemanagers()) == {"worker-0", "worker-1"}
    cluster.check_files()


def test_words_are_counted(cluster: Cluster) -> None:
    """The last job of a cluster that has seen all of the above."""
    cluster.submit("wordcount", "text", "words")
    assert read_counts(cluster.cat("words/part-*")) == count_words(TEXT)


def test_delete_leaves_nothing(cluster: Cluster) -> None:
    cluster.delete()
    assert cluster.labcloud.leftovers(cluster.tenant) == []
    cluster.labcloud("show", cluster.ref, expect=4)
    cluster.labcloud("delete", "--yes", cluster.ref, expect=4)
