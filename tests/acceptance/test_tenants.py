"""Tenants are walls: same names, other versions, side by side, and no way from one to the other."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.driver import PROGRAM, Cluster, Labcloud, docker, ended, run, wait_for

pytestmark = pytest.mark.timeout(300)

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPqPBm+FAYEkL2awpWgPxiBtulyj5w9mNxTVrdKN7n5A ada@desk"

WRITERS = (("master-0", "namenode"), ("master-0", "resourcemanager"), ("worker-0", "datanode"), ("worker-0", "nodemanager"))


@pytest.fixture(scope="module")
def pair(labcloud: Labcloud, mark: str) -> Iterator[tuple[Cluster, Cluster]]:
    """Two tenants' clusters of one name, of two versions."""
    one, other = Cluster(labcloud, f"{mark}-a", "hadoop-2.7", "lab"), Cluster(labcloud, f"{mark}-b", "hadoop-3.4", "lab")
    try:
        one.create("--workers", "1", "--memory", "1536m")
        other.create("--workers", "1", "--memory", "1536m")
        yield one, other
    finally:
        labcloud("delete", "--yes", one.ref, other.ref, expect=None)


def test_versions_live_side_by_side(labcloud: Labcloud, pair: tuple[Cluster, Cluster]) -> None:
    assert [cluster.exec("hadoop", "version").text.splitlines()[0] for cluster in pair] == ["Hadoop 2.7.7", "Hadoop 3.4.3"]
    listed = {(row["tenant"], row["name"]): row["status"] for row in labcloud.json("list")}
    assert [listed[cluster.tenant, cluster.name] for cluster in pair] == ["running", "running"]


def test_a_tenant_reaches_its_own_nodes_and_no_other(pair: tuple[Cluster, Cluster]) -> None:
    one, other = pair
    script = 'timeout 3 bash -c \'exec 3<>/dev/tcp/$0/$1\' "$0" "$1"'

    def reaches(address: str, port: int) -> bool:
        return one.exec("bash", "-c", script, address, str(port), expect=None).code == 0

    own = {node["name"]: node["address"] for node in one.show()["nodes"]}
    foreign = {node["name"]: node["address"] for node in other.show()["nodes"]}
    assert reaches(own["master-0"], 8020)
    assert reaches(own["worker-0"], 50010)
    for node, port in (("master-0", 8020), ("master-0", 9870), ("master-0", 8088), ("worker-0", 9866), ("worker-0", 8042)):
        assert not reaches(foreign[node], port), f"{one.tenant} reaches {node}:{port} of {other.tenant}"


def test_published_pages_are_not_reached_through_a_gateway(pair: tuple[Cluster, Cluster]) -> None:
    one, other = pair
    port = other.show()["endpoints"]["namenode"].split(":")[2].split("/")[0]
    for each in pair:
        assert re.fullmatch(r"\d+(\.\d+){3}", each.gateway())
        assert one.exec("timeout", "3", "bash", "-c", "exec 3<>/dev/tcp/$0/$1", each.gateway(), port, expect=None).code != 0


def test_names_of_another_tenant_do_not_resolve(pair: tuple[Cluster, Cluster]) -> None:
    one, other = pair
    assert one.exec("getent", "hosts", f"master-0.lab.{one.tenant}").code == 0
    assert one.exec("getent", "hosts", f"master-0.lab.{other.tenant}", expect=None).code != 0


def test_a_tenant_is_a_user_with_a_home(pair: tuple[Cluster, Cluster]) -> None:
    for cluster in pair:
        assert cluster.exec("id", "-un").text == cluster.tenant
        environment = dict(line.split("=", 1) for line in cluster.exec("env").text.splitlines())
        assert environment["HADOOP_HOME"] == "/opt/stacks/hadoop"
        assert "/opt/stacks/hadoop/bin" in environment["PATH"].split(":")
        cluster.put("mine", b"x")
        assert f"/user/{cluster.tenant}/mine" in cluster.exec("hdfs", "dfs", "-ls", f"/user/{cluster.tenant}").text


def test_a_shell_is_the_tenants_on_a_terminal(labcloud: Labcloud, pair: tuple[Cluster, Cluster]) -> None:
    """As a person at a terminal has it, who types three lines."""
    command = shlex.join((str(PROGRAM), "shell", "--node", "worker-0", pair[0].ref))
    typed = b'echo "I am $(id -un) in $PWD, on $(tty)"\nhdfs dfs -touchz typed && hdfs dfs -ls typed\nexit 7\n'
    done = run(("script", "-qec", command, "/dev/null"), stdin=typed, env=labcloud.env, expect=7, timeout=60)
    assert f"I am {pair[0].tenant} in /home/{pair[0].tenant}, on /dev/pts/" in done.text
    assert re.search(r"-rw-r--r-- .* typed", done.text)


def test_a_jar_of_this_machine_runs(labcloud: Labcloud, pair: tuple[Cluster, Cluster], tmp_path: Path) -> None:
    one = pair[0]
    jar = tmp_path / "mine.jar"
    jar.write_bytes(one.exec("bash", "-c", "cat $HADOOP_HOME/share/hadoop/mapreduce/hadoop-mapreduce-examples-*.jar").stdout)
    done = labcloud("submit", one.ref, str(jar), expect=255)  # asks what to run: that it runs on YARN is the profiles' to show
    assert "pi: A map/reduce program that estimates Pi" in done.text + done.said
    assert one.exec("bash", "-c", "ls -d /tmp/*mine.jar* 2>/dev/null || true").text == ""


def test_logs_are_what_services_wrote(labcloud: Labcloud, pair: tuple[Cluster, Cluster]) -> None:
    one = pair[0]
    said = labcloud("logs", "--service", "datanode", "-n", "100000", one.ref).text.splitlines()
    wrote = one.exec("cat", "/var/log/hadoop/datanode.log", node="worker-0").text.splitlines()[:50]
    assert [line for line in wrote if line not in said] == []
    every = labcloud("logs", "-n", "1", one.ref).text
    assert all(re.search(rf"^{node}: .*/{service}\.log <==$", every, re.MULTILINE) for node, service in WRITERS)


def test_following_a_log_leaves_nothing_on_the_nodes(labcloud: Labcloud, pair: tuple[Cluster, Cluster]) -> None:
    one = pair[0]
    following = labcloud.begin("logs", "--follow", "--service", "namenode", one.ref)
    assert following.stdout is not None
    assert following.stdout.readline()
    assert one.exec("pgrep", "tail", user="root").text
    following.kill()
    ended(following)
    wait_for("tail to end with who asked for it", lambda: one.exec("pgrep", "tail", user="root", expect=None).code == 1, seconds=15)


def test_two_clusters_of_one_tenant_have_names_of_their_own(labcloud: Labcloud, pair: tuple[Cluster, Cluster]) -> None:
    one, _ = pair
    second = Cluster(labcloud, one.tenant, "hadoop-2.7", "second")
    try:
        second.create("--workers", "1", "--memory", "1536m", "--no-wait")
        assert one.exec("hostname", "-f").text != second.exec("hostname", "-f").text
        mine, theirs = (cluster.exec("getent", "hosts", "master-0").text.split()[0] for cluster in (one, second))
        assert mine != theirs
    finally:
        second.delete()
    assert one.exec("hdfs", "dfs", "-ls", "/").code == 0


def test_a_tenant_with_people_a_subnet_and_a_quota(labcloud: Labcloud, mark: str) -> None:
    cluster = Cluster(labcloud, f"{mark}-people", "hadoop-2.7", "lab")
    labcloud("tenant", "create", cluster.tenant, "--member", f"ada={KEY}", "--subnet", "10.209.4.0/22", "--quota", "clusters=1")
    try:
        view = cluster.create("--workers", "1", "--memory", "1536m")
        assert all(node["address"].startswith("10.209.") for node in view["nodes"])
        assert labcloud("exec", "--as", "ada", cluster.ref, "--", "cat", "/home/ada/.ssh/authorized_keys").text == KEY
        assert "groups=900(hadoop)" in labcloud("exec", "--as", "ada", cluster.ref, "--", "id").text
        labcloud("exec", "-i", "--as", "ada", cluster.ref, "--", "hdfs", "dfs", "-put", "-", "/user/ada/mine", stdin=b"x")
        began = docker("inspect", "--format", "{{.State.StartedAt}}", cluster.container("worker-0"))
        labcloud("tenant", "set", cluster.tenant, "--member", "bob", "--remove-member", "ada")
        assert labcloud("exec", "--as", "bob", cluster.ref, "--", "id", "-un").text == "bob"
        assert "no member 'ada'" in labcloud("exec", "--as", "ada", cluster.ref, "--", "id", expect=4).said
        assert cluster.exec("su", "ada", "-c", "true", user="root", expect=None).code != 0
        assert docker("inspect", "--format", "{{.State.StartedAt}}", cluster.container("worker-0")) == began
        refused = labcloud("create", "hadoop-2.7", "--tenant", cluster.tenant, "--name", "second", expect=11)
        assert f"labcloud tenant set {cluster.tenant} --quota clusters=2" in refused.said
        assert cluster.ref in labcloud("tenant", "delete", cluster.tenant, expect=5).said
        hours = labcloud.json("tenant", "usage", cluster.tenant)
        assert cluster.ref in json.dumps(hours) or cluster.name in json.dumps(hours)
    finally:
        labcloud("delete", "--yes", cluster.ref, expect=None)
        labcloud("tenant", "delete", cluster.tenant)
    assert labcloud.leftovers(cluster.tenant) == []


def test_one_command_makes_a_cluster_for_each_tenant(labcloud: Labcloud, mark: str) -> None:
    tenants = [f"{mark}-m{number}" for number in range(3)]
    words = [word for tenant in tenants for word in ("--tenant", tenant)]
    try:
        views = labcloud.json("create", "hadoop-2.7", *words, "--name", "many", "--workers", "1", "--memory", "1536m")
        assert [(view["tenant"], view["status"]) for view in views] == [(tenant, "ready") for tenant in tenants]
    finally:
        labcloud("delete", "--yes", *(f"{tenant}/many" for tenant in tenants))
    assert not [line for line in labcloud.leftovers() if any(tenant in line for tenant in tenants)]


def test_an_engine_is_told_no_secret(pair: tuple[Cluster, Cluster]) -> None:
    for cluster in pair:
        told = json.loads(docker("inspect", cluster.container("master-0")))[0]
        words = " ".join([*told["Config"]["Env"], *told["Config"]["Labels"], *told["Config"]["Labels"].values(), *told["Args"]]).lower()
        assert not any(word in words for word in ("password", "secret", "token", "private"))
