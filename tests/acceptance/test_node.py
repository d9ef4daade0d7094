"""The node's side of configuration on a real cluster: what its services were started with, what all nodes share, and what is declared
for it, followed on the running node."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from labcloud.errors import ConfiguringError
from labcloud.model import ClusterRef, NodeRef
from labcloud.providers.docker.provider import DockerProvider
from labcloud.services import refreshing, started
from tests.acceptance.driver import Cluster, Labcloud, docker, wait_for

pytestmark = pytest.mark.timeout(600)
BASE_FILES = ("hosts", "resolver", "users", "environment", "health", "profile.d", "authorized_keys", "supervision")


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Where the storage classes of the cluster's worker lie, by their names."""
    return {name: tmp_path_factory.mktemp(name) for name in ("bulk", "quick")}


@pytest.fixture(scope="module")
def cluster(labcloud: Labcloud, mark: str, disks: dict[str, Path]) -> Iterator[Cluster]:
    """A master with the profile's own volume, and a worker with one of each class."""
    labcloud("storage", "set", "bulk", "--path", str(disks["bulk"]))
    labcloud("storage", "set", "quick", "--path", str(disks["quick"]), "--media", "ssd")
    made = Cluster(labcloud, f"{mark}-nd", "hadoop-2.7", "c")
    made.create("--group", "worker:count=1,volumes=1x2g@bulk+1x1g@quick")
    yield made
    made.delete()
    for name, folder in disks.items():
        labcloud("storage", "remove", name)
        assert [path for path in folder.rglob("*") if made.tenant in path.name] == []


@pytest.fixture(scope="module")
def provider(labcloud: Labcloud, cluster: Cluster) -> Iterator[DockerProvider]:
    with_lab = DockerProvider(labcloud.home, labcloud.id)
    yield with_lab
    with_lab.close()


@pytest.fixture
def base(labcloud: Labcloud, cluster: Cluster) -> Iterator[Path]:
    """The lab's base/, as it was before afterwards."""
    folder = labcloud.home / "lab/base"
    yield folder
    for name in BASE_FILES:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    cluster.exec("/usr/lib/labcloud/refresh", node="worker-0", user="root")


@pytest.fixture
def worker(cluster: Cluster) -> NodeRef:
    return NodeRef(ClusterRef(cluster.tenant, cluster.name), "worker", 0)


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def shell(cluster: Cluster, line: str, user: str = "") -> str:
    return cluster.exec("bash", "-lc", line, node="worker-0", user=user).text


def state_of_worker(cluster: Cluster) -> tuple[str, str]:
    """What the ResourceManager thinks of it, and why."""
    found = cluster.page("resourcemanager", "/ws/v1/cluster/nodes")() or {}
    nodes = (found.get("nodes") or {}).get("node") or [{}]
    # A NodeManager that was started anew may be listed beside its former self.
    return max((node.get("state", ""), node.get("healthReport", "")) for node in nodes if node.get("state") != "LOST")


def test_a_groups_volumes_lie_where_their_classes_say_and_hdfs_knows_their_media(cluster: Cluster, disks: dict[str, Path]) -> None:
    def blocks(name: str) -> set[str]:
        return {path.name for path in disks[name].rglob("blk_*") if not path.name.endswith(".meta")}

    mounts = json.loads(docker("inspect", "--format", "{{json .Mounts}}", cluster.container("worker-0")))
    assert {each["Destination"] for each in mounts if each["Destination"].startswith("/data/")} == {"/data/0", "/data/1"}
    assert cluster.exec("hdfs", "getconf", "-confKey", "dfs.datanode.data.dir", node="worker-0").text.split(",")[1].startswith("[SSD]")
    cluster.exec("hdfs", "dfs", "-mkdir", "-p", "/quick", user="hdfs")
    cluster.exec("hdfs", "dfs", "-chown", cluster.tenant, "/quick", user="hdfs")
    cluster.exec("hdfs", "storagepolicies", "-setStoragePolicy", "-path", "/quick", "-policy", "ALL_SSD", user="hdfs")
    before = {name: blocks(name) for name in disks}
    cluster.put("/quick/file", b"quick")
    assert (len(blocks("quick") - before["quick"]), blocks("bulk")) == (1, before["bulk"])
    cluster.put("/tmp/file", b"hot")
    assert len(blocks("bulk") - before["bulk"]) == 1


def test_services_say_what_they_were_started_with(cluster: Cluster, provider: DockerProvider, worker: NodeRef, labcloud: Labcloud) -> None:
    found = started.read(provider, worker)
    folder = cluster.rendered("worker-0")
    assert set(found) == {"datanode", "nodemanager"}
    for service, files in found.items():
        paths = [*(folder / "conf").iterdir(), folder / "node.env", folder / "services" / service]
        assert files == {str(path.relative_to(folder)): path.read_text() for path in paths if not path.name.startswith(".")}
    site = folder / "conf/hdfs-site.xml"
    before = site.read_text()
    site.write_text(before + "<!-- told -->\n")
    assert started.read(provider, worker) == found
    started.update(provider, worker, "datanode", {"conf/hdfs-site.xml": site.read_text()})
    assert started.read(provider, worker)["datanode"] == found["datanode"] | {"conf/hdfs-site.xml": before + "<!-- told -->\n"}
    site.write_text(before)
    cluster.exec("s6-svc", "-r", "/run/service/datanode", node="worker-0", user="root")
    wait_for("the DataNode's new start", lambda: started.read(provider, worker) == found)


def test_what_the_lab_says_for_all_nodes_reaches_running_ones(
    cluster: Cluster, provider: DockerProvider, worker: NodeRef, base: Path
) -> None:
    put(base / "hosts", "192.0.2.7 printer.lab printer\n")
    put(base / "resolver", "options timeout:2\n")
    put(base / "users", "olga 3001\n")
    put(base / "authorized_keys/olga", "ssh-ed25519 AAAA olga\n")
    put(base / "environment", "LAB_MIRROR=http://printer.lab/a b\nJAVA_HOME=/nowhere\n")
    put(base / "profile.d/greet.sh", "GREETED=$LAB_MIRROR\n")
    expected = ["group hadoop differs", "hosts differ", "keys of olga differ", "options of the resolver differ", "user olga missing"]
    assert sorted(refreshing.drift(provider, worker)) == expected
    assert refreshing.refresh(provider, worker) == [
        "user olga made",
        "group hadoop changed",
        "hosts changed",
        "options of the resolver changed",
    ]
    assert refreshing.refresh(provider, worker) == []
    assert refreshing.drift(provider, worker) == []
    assert shell(cluster, "getent hosts printer").split() == ["192.0.2.7", "printer.lab", "printer"]
    assert shell(cluster, "getent hosts master-0")
    assert shell(cluster, 'echo "$GREETED" "$JAVA_HOME"') == "http://printer.lab/a b /opt/java"
    assert shell(cluster, "id -nG olga; hostname -f").splitlines() == ["hadoop", provider_name(provider, worker)]
    cluster.exec("s6-svc", "-r", "/run/service/nodemanager", node="worker-0", user="root")
    wait_for("the NodeManager's new start", lambda: "base/environment" in started.read(provider, worker)["nodemanager"])


def provider_name(provider: DockerProvider, ref: NodeRef) -> str:
    return f"{ref.qualified}.{provider.domain(ref.cluster.tenant)}"


def test_a_failing_check_takes_the_node_out_and_its_mending_brings_it_back(cluster: Cluster, base: Path) -> None:
    wait_for("a healthy worker", lambda: state_of_worker(cluster)[0] == "RUNNING")
    put(base / "health/licence", "#!/bin/sh\necho the licence server is away\nexit 1\n")
    wait_for("an unhealthy worker", lambda: state_of_worker(cluster)[0] == "UNHEALTHY", seconds=60)
    assert "ERROR licence: the licence server is away" in state_of_worker(cluster)[1]
    put(base / "health/licence", "#!/bin/sh\nexit 0\n")
    wait_for("a healthy worker", lambda: state_of_worker(cluster)[0] == "RUNNING", seconds=60)


def test_services_of_the_lab_run_beside_hadoops_and_break_nothing(
    cluster: Cluster, provider: DockerProvider, worker: NodeRef, base: Path, labcloud: Labcloud
) -> None:
    agent = base / "supervision/services/agent"
    put(agent, '#!/bin/bash\necho "at work for $LABCLOUD_TENANT"\necho $$ >/run/agent\nexec sleep 1000\n')
    put(base / "supervision/services/ill", "#!/bin/sh\necho ill\nexit 1\n")
    put(base / "supervision/services/none", "not a program\n")
    put(base / "supervision/ended", '#!/bin/sh\necho "heard $*" >>/run/heard\n')
    assert "lab service agent missing" in refreshing.drift(provider, worker)
    with pytest.raises(ConfiguringError) as refused:  # the one that cannot be is named; the others are there
        refreshing.refresh(provider, worker)
    assert "base/supervision/services: none does not begin with #!" in refused.value.details
    first = wait_for("the agent", lambda: shell(cluster, "cat /run/agent 2>/dev/null || true", "root"))
    shell(cluster, f"kill -9 {first} $(s6-svstat -o pid /run/service/datanode)", "root")
    wait_for("the hook", lambda: "heard datanode 256 9" in shell(cluster, "cat /run/heard || true", "root"))
    wait_for("the agent's second start", lambda: shell(cluster, "cat /run/agent", "root") != first, seconds=30)
    log = shell(cluster, "sed 's/^[^ ]* [^ ]* *//' /var/log/labcloud/agent/current", "root")
    assert log.splitlines() == ["labcloud: starting agent", f"at work for {cluster.tenant}"] * 2
    assert shell(cluster, "grep -c starting /var/log/labcloud/ill/current", "root") in {"1", "2", "3", "4"}, "one start in ten seconds"

    # Whatever the lab's own services do, the node starts, and stops in time, with Hadoop's.
    labcloud("restart", cluster.ref)
    labcloud("stop", cluster.ref)
    labcloud("start", cluster.ref)
    cluster.wait_until_all_runs()
    second = wait_for("the agent's start with its node", lambda: shell(cluster, "cat /run/agent", "root"))

    (base / "supervision/services/none").unlink()
    (base / "supervision/services/ill").unlink()
    put(agent, "#!/bin/sh\necho another >/run/agent\nexec sleep 1000\n")
    assert refreshing.drift(provider, worker) == ["lab service agent changed", "lab service ill is the lab's no longer"]
    assert refreshing.refresh(provider, worker) == ["lab service agent changed", "lab service ill removed"]
    wait_for("the changed agent", lambda: shell(cluster, "cat /run/agent", "root") == "another", seconds=30)
    assert shell(cluster, f"kill -0 {second} 2>/dev/null || echo gone", "root") == "gone"
    agent.unlink()
    assert refreshing.refresh(provider, worker) == ["lab service agent removed"]
    assert shell(cluster, "ls /run/service; pgrep -x sleep || true", "root").split() == ["datanode", "nodemanager"]


def test_declared_files_and_packages(cluster: Cluster, provider: DockerProvider, worker: NodeRef, labcloud: Labcloud) -> None:
    declared = cluster.rendered("worker-0/declared")
    lines = (
        f"directory\t/opt/acme\t{cluster.tenant}\thadoop\t0750",
        f"file\t/opt/acme/a.conf\t{cluster.tenant}\thadoop\t0600\tone",
        "file\t/usr/local/bin/greet\troot\troot\t0755\ttwo",
        f"file\t/home/{cluster.tenant}/.greet\t{cluster.tenant}\thadoop\t0644\tone",
        "package\ttree",
    )
    put(declared / "manifest", "\n".join(lines) + "\n")
    put(declared / "one", "secret\n")
    put(declared / "two", "#!/bin/sh\necho hello\n")
    made = [
        "directory /opt/acme made",
        *(f"file {path} made" for path in ("/opt/acme/a.conf", "/usr/local/bin/greet", f"/home/{cluster.tenant}/.greet")),
    ]
    assert refreshing.refresh(provider, worker) == [*made, "package tree installed"]
    assert (refreshing.refresh(provider, worker), refreshing.drift(provider, worker)) == ([], [])
    assert shell(cluster, "greet; cat /opt/acme/a.conf; tree --version | head -c 4").split() == ["hello", "secret", "tree"]
    shell(cluster, "echo more >>/opt/acme/a.conf; chmod 0640 ~/.greet")
    assert refreshing.drift(provider, worker) == [
        "file /opt/acme/a.conf changed",
        f"file /home/{cluster.tenant}/.greet mode 0640 wanted 0644",
    ]
    assert "+more" in refreshing.difference(provider, worker, "/opt/acme/a.conf")
    # A tenant who leads a file of theirs elsewhere leads labcloud nowhere that they cannot go themselves.
    shell(cluster, "mv /opt/acme /tmp/acme 2>/dev/null; rm -rf /opt/acme/a.conf; ln -s /etc/passwd /opt/acme/a.conf")
    refreshing.refresh(provider, worker)
    assert shell(cluster, "cat /opt/acme/a.conf") == "secret"
    # A node that is stopped and started has it all, and one that is made again gets it; packages come behind the services.
    labcloud("restart", cluster.ref)
    assert refreshing.drift(provider, worker) == []
    shutil.rmtree(declared)
    gone = refreshing.refresh(provider, worker)
    assert sorted(gone) == sorted([each.replace(" made", " removed") for each in made] + ["package tree removed"])
    assert refreshing.drift(provider, worker) == []
