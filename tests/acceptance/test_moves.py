"""What Hadoop on a node means for its move to another host, asked of real clusters: nothing of the care for it is the engine's."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from labcloud.apply.look import Look
from labcloud.lab import Lab
from labcloud.migrate.caring import HadoopCare
from labcloud.model import ClusterRef, NodeRef
from labcloud.model.checks import Verdict
from labcloud.providers.docker.provider import DockerProvider
from tests.acceptance.driver import Cluster, Labcloud, ended, wait_for


@pytest.fixture(scope="module", params=["hadoop-2.7", "hadoop-3.4"])
def cluster(request: pytest.FixtureRequest, labcloud: Labcloud, mark: str) -> Iterator[Cluster]:
    """HDFS takes a node for dead after 20 s here."""
    patience = ("--set", "hdfs-site:dfs.heartbeat.interval=1", "--set", "hdfs-site:dfs.namenode.heartbeat.recheck-interval=5000")
    made = Cluster(labcloud, f"{mark}-mv", request.param)
    made.create("--workers", "2", *patience)
    made.wait_until_all_runs()
    yield made
    made.delete()


@pytest.fixture
def care(cluster: Cluster) -> Iterator[HadoopCare]:
    lab = Lab(cluster.labcloud.home)
    provider = DockerProvider(lab.home, lab.id)
    look = Look(lab, lambda _: provider)
    yield HadoopCare(lambda ref: look.cluster(ref.cluster))
    provider.close()


def node(cluster: Cluster, name: str) -> NodeRef:
    return NodeRef.parse(ClusterRef.parse(cluster.ref), name)


def containers(cluster: Cluster) -> dict[str, int]:
    return {name: int(each["numContainers"]) for name, each in cluster.nodemanagers().items()}


def wait_until_lacking(care: HadoopCare, ref: NodeRef, what: str, *, seconds: float = 120) -> None:
    """Wait until this is what is not as it was before, or nothing. On a machine with much to do, others are silent for a moment, too."""
    end = time.monotonic() + seconds
    while (said := care.missing(ref)) != what:
        assert time.monotonic() < end, f"{said!r} is lacking, where {what!r} was expected"
        time.sleep(0.1)


@contextmanager
def job_of_many_maps(cluster: Cluster) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A job, and the node of its master, whose drain would last as long as the job. Neither it nor its pipes outlive the block.

    Its maps take both nodes many rounds, of which a drain waits for one, however slow the machine is. Its reducer waits for all maps, and
    would wait for them on the node that shall be empty.
    """
    with cluster.begin("pi", "-Dmapreduce.job.reduce.slowstart.completedmaps=1", "24", "60000000") as job:
        try:
            app = cluster.running_app()
            try:
                yield job, app["amHostHttpAddress"].split(".")[0]
            finally:
                if job.poll() is None:
                    cluster.exec("yarn", "application", "-kill", app["id"], user="yarn", expect=None)
        finally:
            job.kill()


def test_a_well_cluster_lets_its_nodes_go(cluster: Cluster, care: HadoopCare) -> None:
    wait_for("a healthy file system", cluster.healthy)
    found = {each.id: each.status for each in care.judge(node(cluster, "worker-0"))}
    assert found == dict.fromkeys(("hadoop.answers", "hadoop.nodes", "hadoop.blocks", "hadoop.work"), Verdict.PASS)
    master = {each.id: each for each in care.judge(node(cluster, "master-0"))}
    assert master["hadoop.role"].status is Verdict.WARN
    assert "namenode and resourcemanager" in master["hadoop.role"].summary
    wait_until_lacking(care, node(cluster, "worker-0"), "")


def test_a_node_gives_up_its_work_and_gets_it_back_while_a_job_goes_on(cluster: Cluster, care: HadoopCare) -> None:
    if cluster.profile == "hadoop-2.7":
        assert care.hold(node(cluster, "worker-0"), drain=True) == "", "its YARN has no such command: nobody waits for it"
        care.release(node(cluster, "worker-0"))
        assert care.disturbed(node(cluster, "worker-0")) == ["this version of YARN cannot let a node's containers end first"]
        return
    with job_of_many_maps(cluster) as (job, master):
        name = next(each for each in ("worker-0", "worker-1") if each != master)
        moving = node(cluster, name)
        try:
            wait_for("containers on the node", lambda: containers(cluster).get(name, 0) or None, seconds=90)
            assert care.hold(moving, drain=True) != ""
            assert "containers run on it" in next(each.summary for each in care.judge(moving) if each.id == "hadoop.work")
            wait_for("its work to end", lambda: care.hold(moving, drain=True) == "", seconds=240)
            assert job.poll() is None, "the job goes on, on the other node"
            assert containers(cluster)[name] == 0
            care.release(moving)
            wait_for("work again", lambda: containers(cluster)[name] or job.poll() is not None, seconds=90)
            done = ended(job)
        finally:
            care.release(moving)
    assert done.code == 0, done
    wait_until_lacking(care, moving, "")
    assert care.disturbed(moving) == []


def test_hdfs_does_without_a_node_that_will_be_back(cluster: Cluster, care: HadoopCare) -> None:
    moving = node(cluster, "worker-1")
    (said,) = care.absence(moving)
    if cluster.profile == "hadoop-2.7":
        assert (said.status, "knows no maintenance" in said.summary) == (Verdict.WARN, True)
        assert care.hold(moving, drain=False, away=300) == ""
        care.release(moving)
        assert care.disturbed(moving) == ["this version of HDFS knows no maintenance"]
        return
    assert said.status is Verdict.PASS
    cluster.exec("bash", "-c", "hdfs dfs -D dfs.replication=1 -put /etc/services /tmp/alone", node="worker-1", user="hdfs")
    twice = f"/user/{cluster.tenant}/twice"
    cluster.put(twice, b"everywhere")
    wait_for("HDFS to do without the node", lambda: care.hold(moving, drain=False, away=300) == "")
    cluster.exec("s6-svc", "-wD", "-d", "/run/service/datanode", node="worker-1", user="root")
    try:
        wait_for("HDFS to take it for dead", lambda: name_node(cluster)["NumDeadDataNodes"] == 1, seconds=90)
        assert cluster.exec("hdfs", "dfs", "-cat", "/tmp/alone").stdout == cluster.exec("cat", "/etc/services").stdout
        assert "Under-replicated blocks:\t0" in cluster.exec("hdfs", "fsck", twice, user="hdfs").text, "nobody copies what is on it"
    finally:
        cluster.exec("s6-svc", "-u", "/run/service/datanode", node="worker-1", user="root")
    wait_until_lacking(care, moving, "")
    care.release(moving)
    assert cluster.datanodes().keys() == {"worker-0", "worker-1"}
    assert care.disturbed(moving) == []


def test_what_a_killed_move_leaves_in_hdfs_is_told_and_taken_back(cluster: Cluster, care: HadoopCare) -> None:
    if cluster.profile == "hadoop-2.7":
        assert not cluster.rendered("master-0/conf/dfs.hosts.json").exists()
        return
    wait_for("HDFS to do without the node", lambda: care.hold(node(cluster, "worker-1"), drain=False, away=300) == "")
    told = cluster.labcloud("diagnose", cluster.ref, expect=None)
    assert "In Maintenance" in told.said + told.text
    cluster.labcloud("start", cluster.ref)
    assert cluster.datanodes().keys() == {"worker-0", "worker-1"}
    assert cluster.rendered("master-0/conf/dfs.hosts.json").read_text() == "[]\n"


def name_node(cluster: Cluster) -> dict[str, int]:
    state: dict[str, int] = cluster.page("namenode", "/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState")()["beans"][0]
    return state


def test_what_is_not_well_is_named_and_awaited(cluster: Cluster, care: HadoopCare) -> None:
    moving = node(cluster, "worker-1")
    care.hold(moving, drain=False)
    cluster.exec("s6-svc", "-wD", "-d", "/run/service/datanode", node="worker-1", user="root")
    try:
        wait_until_lacking(care, moving, "the DataNode of worker-1 to report")
    finally:
        cluster.exec("s6-svc", "-u", "/run/service/datanode", node="worker-1", user="root")
    wait_until_lacking(care, moving, "")
    cluster.exec("hdfs", "dfsadmin", "-safemode", "enter", user="hdfs")
    try:
        assert {each.id for each in care.judge(moving) if each.status is Verdict.FAIL} == {"hadoop.answers"}
        wait_until_lacking(care, moving, "HDFS to leave safe mode")
    finally:
        cluster.exec("hdfs", "dfsadmin", "-safemode", "leave", user="hdfs")
