"""Configuration as code on real clusters: shared, layered, told live, rolled out node by node, taken back, followed by hand."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from labcloud.profiles import load
from tests.acceptance.driver import Cluster, Done, Labcloud, docker, wait_for

pytestmark = pytest.mark.timeout(900)

# A file a second, in one JVM each, as users do it: says how many there were and how many failed.
_WRITER = """
i=0; failed=0; end=$((SECONDS + $1))
while [ $SECONDS -lt $end ]; do
    i=$((i + 1))
    echo "line $i" | hdfs dfs -put - "/user/$(id -un)/written/$i" || failed=$((failed + 1))
    sleep 0.3
done
echo "written $i failed $failed"
"""


@pytest.fixture(scope="module")
def old(labcloud: Labcloud, mark: str) -> Iterator[Cluster]:
    made = Cluster(labcloud, f"{mark}-cf", "hadoop-2.7", "old")
    made.create("--workers", "2")
    yield made
    made.delete()


@pytest.fixture(scope="module")
def new(labcloud: Labcloud, mark: str) -> Iterator[Cluster]:
    made = Cluster(labcloud, f"{mark}-cg", "hadoop-3.4", "new")
    made.create("--workers", "1")
    yield made
    made.delete()


def running(value: str, cluster: Cluster, service: str, node: str, name: str) -> bool:
    """Whether a daemon itself says that a setting has the value: what it runs with, not what a file says."""
    port = load(cluster.profile).services[service].ports["http"]
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    address = docker("inspect", "--format", form, f"{node}.{cluster.name}.{cluster.tenant}")
    with urllib.request.urlopen(f"http://{address}:{port}/conf?format=xml", timeout=5) as answer:
        found = re.search(rf"<name>{re.escape(name)}</name><value>([^<]*)</value>", answer.read().decode())
    return bool(found and found[1] == value)


def limit(cluster: Cluster, node: str) -> int:
    """MiB that the kernel lets a node have."""
    return int(docker("inspect", "--format", "{{.HostConfig.Memory}}", f"{node}.{cluster.name}.{cluster.tenant}")) // 2**20


def made_at(cluster: Cluster, node: str) -> str:
    return docker("inspect", "--format", "{{.Created}}", f"{node}.{cluster.name}.{cluster.tenant}")


def in_background(cluster: Cluster, *argv: str) -> tuple[ThreadPoolExecutor, Future[Done]]:
    pool = ThreadPoolExecutor(1)
    return pool, pool.submit(lambda: cluster.exec(*argv, expect=None))


def test_one_edit_of_base_reaches_nodes_of_all_versions(labcloud: Labcloud, old: Cluster, new: Cluster) -> None:
    base = labcloud.home / "lab/base"
    (base / "bashrc").write_text((base / "bashrc").read_text() + "alias answer='echo 42'\n")
    (base / "settings.yaml").write_text("core-site:io.file.buffer.size: 8192\n")
    for cluster in (old, new):
        assert "answer" in cluster.exec("cat", "/etc/labcloud/base/bashrc", node="worker-0").text
        assert "Read-only file system" in cluster.exec("touch", "/etc/labcloud/base/mine", node="worker-0", user="root", expect=1).said
        labcloud("config", "apply", cluster.ref)
        assert running("8192", cluster, "datanode", "worker-0", "io.file.buffer.size")
    shown = labcloud("config", "show", new.ref, "io.file.buffer.size", "--explain").text
    assert "base/settings.yaml:1" in shown


def test_each_layer_overrides_the_one_below_and_says_where_it_stands(labcloud: Labcloud, old: Cluster) -> None:
    name = "yarn-site:yarn.nodemanager.vmem-pmem-ratio"
    labcloud("config", "set", "--binding", "workers", "--where", "group == 'worker'", f"{name}=2.5")
    labcloud("config", "set", "--tenant", old.tenant, f"{name}=3")
    labcloud("config", "set", old.ref, "--node", "worker-1", f"{name}=4", "--reason", "it swaps")
    (first,) = labcloud.json("config", "show", old.ref, name, "--node", "worker-0")["worker-0"]
    (second,) = labcloud.json("config", "show", old.ref, name, "--node", "worker-1")["worker-1"]
    assert [(each["layer"], each["value"]) for each in first["origins"]] == [("tenant", "3"), ("lab", "2.5")]
    assert [(each["layer"], each["value"]) for each in second["origins"]] == [("node", "4"), ("tenant", "3"), ("lab", "2.5")]
    plan = labcloud.json("config", "apply", old.ref, "--dry-run")[old.ref]
    assert {each["node"]: list(each["restart"]) for each in plan if each["restart"]} == {
        "worker-0": ["nodemanager"],
        "worker-1": ["nodemanager"],
    }
    labcloud("config", "apply", old.ref)
    assert running("3", old, "nodemanager", "worker-0", "yarn.nodemanager.vmem-pmem-ratio")
    assert running("4", old, "nodemanager", "worker-1", "yarn.nodemanager.vmem-pmem-ratio")
    assert "nothing had to be done" in labcloud("config", "apply", old.ref).said


def test_what_can_be_told_is_told_and_nothing_restarts(labcloud: Labcloud, new: Cluster) -> None:
    labcloud("config", "apply", new.ref)  # the binding above reaches this cluster, too
    before = new.exec("pgrep", "-f", "proc_namenode", node="master-0", user="root").text
    done = labcloud.json("config", "set", new.ref, "hdfs-site:dfs.namenode.heartbeat.recheck-interval=12000", "--apply")
    assert done["restarted"] == []
    assert any(line.startswith("namenode on master-0") for line in done["told"])
    assert new.exec("pgrep", "-f", "proc_namenode", node="master-0", user="root").text == before
    labcloud("config", "set", new.ref, "capacity-scheduler:yarn.scheduler.capacity.maximum-applications=77", "--apply")
    assert new.exec("pgrep", "-f", "proc_namenode", node="master-0", user="root").text == before
    assert labcloud.json("config", "drift", new.ref)["drift"] == []


def test_a_client_that_writes_every_second_outlives_a_rolling_restart(labcloud: Labcloud, old: Cluster) -> None:
    old.exec("hdfs", "dfs", "-mkdir", "-p", f"/user/{old.tenant}/written")
    pool, writer = in_background(old, "bash", "-c", _WRITER, "writer", "35")
    with pool:
        wait_for("the first file", lambda: old.exec("hdfs", "dfs", "-test", "-e", f"/user/{old.tenant}/written/1", expect=None).code == 0)
        settings = ("hdfs-site:dfs.namenode.handler.count=12", "hdfs-site:dfs.datanode.handler.count=11")
        done = labcloud.json("config", "set", old.ref, *settings, "--apply")
    assert set(done["restarted"]) == {"datanode on worker-0", "datanode on worker-1", "namenode on master-0"}
    written, failed = map(int, re.findall(r"written (\d+) failed (\d+)", writer.result().text)[0])
    assert (written > 10, failed) == (True, 0), writer.result()
    found = old.exec("hdfs", "dfs", "-cat", f"/user/{old.tenant}/written/*").text.splitlines()
    assert len(found) == written


def test_a_running_terasort_outlives_a_resize(labcloud: Labcloud, old: Cluster) -> None:
    home = f"/user/{old.tenant}"
    labcloud("submit", old.ref, "examples", "teragen", "1500000", f"{home}/in", timeout=300)
    made = made_at(old, "worker-0")
    process = labcloud.begin("submit", old.ref, "examples", "terasort", "-D", "mapreduce.job.reduces=2", f"{home}/in", f"{home}/out")
    wait_for(
        "a running map", lambda: "YarnChild" in old.exec("pgrep", "-af", "[Y]arnChild", node="worker-0", user="root", expect=None).text
    )
    labcloud("resize", old.ref, "--group", "worker", "--memory", "2560m")
    said = process.communicate(timeout=300)[1].decode()
    assert process.returncode == 0, said
    assert (limit(old, "worker-0"), limit(old, "worker-1"), made_at(old, "worker-0")) == (2560, 2560, made)
    nodes = old.page("resourcemanager", "/ws/v1/cluster/metrics")()
    assert nodes["clusterMetrics"]["totalMB"] == 2 * 2048
    checked = labcloud("submit", old.ref, "examples", "teravalidate", f"{home}/out", f"{home}/checked", timeout=300)
    assert "completed successfully" in checked.said


def test_a_limit_changed_behind_our_back_is_noticed_and_followed(labcloud: Labcloud, old: Cluster) -> None:
    docker("update", "--memory", "2g", "--memory-swap", "2g", f"worker-1.{old.name}.{old.tenant}")
    assert [(each["node"], each["kind"]) for each in labcloud.json("config", "drift", old.ref, expect=5)["drift"]] == [
        ("worker-1", "limit")
    ]
    done = labcloud.json("config", "apply", old.ref)
    assert done["adopted"] == ["worker-1 has 2048m, 2560m was declared"]
    assert set(done["restarted"]) == {"datanode on worker-1", "nodemanager on worker-1"}
    assert old.page("resourcemanager", "/ws/v1/cluster/metrics")()["clusterMetrics"]["totalMB"] == 2048 + 1536
    labcloud("resize", old.ref, "--group", "worker", "--memory", "2g")
    assert limit(old, "worker-0") == 2048


def test_a_bad_value_is_stopped_in_its_first_step_and_taken_back(labcloud: Labcloud, old: Cluster) -> None:
    before = labcloud.json("config", "log", old.ref, "-n", "1")[0]["revision"]
    bad = "yarn-site:yarn.nodemanager.webapp.address=0.0.0.0:8040"  # the localizer's port
    gray = ("--gray", "34%,100%", "--check", "yarn.running == 2", "--patience", "120")
    done = labcloud("config", "set", old.ref, bad, "--apply", *gray, expect=9, timeout=400)
    assert "ends again and again" in done.said
    assert "taken back" in done.said
    newest, changed = labcloud.json("config", "log", old.ref, "-n", "2")
    assert "take back" in newest["reason"]
    assert "webapp.address" in changed["reason"]
    assert labcloud("config", "diff", f"{before}..HEAD", old.ref).text == ""
    operation = next(each for each in labcloud.json("operation", "list") if each["verb"] == "config apply")
    events = [each["kind"] for each in labcloud.json("operation", "show", operation["id"])["events"]]
    assert [each for each in ("restarting", "check failed", "rolled back", "reverted") if each in events] == [
        "restarting",
        "check failed",
        "rolled back",
        "reverted",
    ]
    assert labcloud.json("show", old.ref)["status"] == "ready"
    assert labcloud.json("config", "drift", old.ref)["drift"] == []


def test_what_was_changed_by_hand_is_found_adopted_or_put_right(labcloud: Labcloud, old: Cluster) -> None:
    file = old.rendered("worker-0/conf/hdfs-site.xml")
    added = "<property><name>dfs.datanode.balance.bandwidthPerSec</name><value>2097152</value></property></configuration>"
    good = file.read_text()
    file.write_text(good.replace("</configuration>", added))
    (drift, *_) = labcloud.json("config", "drift", old.ref, expect=5)["drift"]
    assert (drift["node"], drift["kind"], drift["what"]) == ("worker-0", "file", "conf/hdfs-site.xml")
    assert "+" in drift["difference"]
    labcloud("config", "drift", old.ref, "--fix")
    assert file.read_text() == good
    file.write_text(good.replace("</configuration>", added))
    labcloud("config", "drift", old.ref, "--adopt")
    (found,) = labcloud.json("config", "show", old.ref, "dfs.datanode.balance.bandwidthPerSec", "--node", "worker-0")["worker-0"]
    assert (found["value"], found["origins"][0]["layer"]) == ("2097152", "node")
    assert labcloud.json("config", "drift", old.ref)["drift"] == []


def test_declared_files_and_templates_reach_their_nodes(labcloud: Labcloud, old: Cluster) -> None:
    text = labcloud.home / "lab/files/motd"
    text.parent.mkdir(exist_ok=True)
    text.write_text("this is {{ node }} of {{ tenant }}, labelled {{ labels.rack }}\n")
    binding = labcloud.home / "lab/bindings/motd.yaml"
    binding.write_text("where: group == 'worker'\nfiles:\n  /etc/motd: {source: motd, template: true, mode: '0640', group: hadoop}\n")
    labcloud("config", "apply", old.ref)
    assert old.exec("cat", "/etc/motd", node="worker-1", user="root").text == f"this is worker-1 of {old.tenant}, labelled"
    assert old.exec("stat", "-c", "%a %G", "/etc/motd", node="worker-1", user="root").text == "640 hadoop"
    text.write_text("{{ nobody }}\n")
    done = labcloud("config", "apply", old.ref, expect=3)
    assert "files/motd:1" in done.said
    assert "nobody" in done.said
    binding.unlink()
    labcloud("config", "apply", old.ref)
    assert "labelled" not in old.exec("cat", "/etc/motd", node="worker-1", user="root").text  # what the image had is back


@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        (("hdfs-site:dfs.replication=many",), 2, "dfs.replication"),
        (("hdfs-site:dfs.replicaton=2",), 0, "dfs.replication"),
        (("hdfs-site:dfs.namenode.handler.count=true",), 2, "whole number"),
        (("nothing-site:a.b=1",), 2, "no settings file"),
        (("core-site:a.b=\x01",), 2, "XML"),
    ],
)
def test_what_cannot_be_set_is_refused_in_one_sentence(
    labcloud: Labcloud, new: Cluster, said: tuple[str, ...], code: int, words: str
) -> None:
    done = labcloud("config", "set", new.ref, *said, expect=code)
    assert words in done.said


def test_one_setting_is_applied_within_two_seconds_beyond_its_restarts(labcloud: Labcloud, old: Cluster) -> None:
    """A setting that only clients read: rendering, asking the nodes, writing, and nothing else."""
    done = labcloud("config", "set", old.ref, "hdfs-site:dfs.client.block.write.retries=4", "--apply")
    seconds = [float(each) for each in re.findall(r"([\d.]+)s \S+: configured", done.said)]
    assert seconds[0] <= 2.0, done.said
