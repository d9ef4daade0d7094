"""Nodes of real clusters between two Docker hosts: under work, there and back, killed on the way, refused, deleted."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from labcloud.providers.docker import tunnel
from tests.acceptance.another_host import NAME, THIRD, AnotherHost, another_host
from tests.acceptance.conftest import remove_by_force, unprotected
from tests.acceptance.driver import Cluster, Labcloud, docker, ended, real_text, run, wait_for

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnotherHost]:
    with another_host(tmp_path_factory.mktemp("two") / "home") as made:
        yield made


@pytest.fixture(scope="module")
def two(labcloud: Labcloud, host: AnotherHost) -> Iterator[Labcloud]:
    """A lab with two hosts. What it deletes is gone on both."""
    lab = Labcloud(host.hidden, labcloud.cache)
    unprotected(lab)
    lab("image", "build", "carrier", timeout=300)
    host.describe(lab.home)
    try:
        yield lab
        refs = [f"{each['tenant']}/{each['name']}" for each in lab.json("list")]
        if refs:
            lab("delete", "--yes", *refs)
        assert (lab.leftovers(), host.left(lab.id)) == ([], [])
    finally:
        remove_by_force(lab)


@pytest.fixture
def third(two: Labcloud, host: AnotherHost) -> Iterator[AnotherHost]:
    """One more, for a while."""
    with another_host(host.hidden, THIRD, host) as made:
        host.describe(two.home, made)
        yield made
        host.describe(two.home)


@contextmanager
def ready(two: Labcloud, tenant: str, profile: str, *options: str) -> Iterator[Cluster]:
    made = Cluster(two, tenant, profile)
    made.create("--workers", "2", *options)
    try:
        made.wait_until_all_runs()
        yield made
    finally:
        made.delete()


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of this machine, for data."""
    return tmp_path_factory.mktemp("disk")


@pytest.fixture(scope="module")
def cluster(two: Labcloud, mark: str, disk: Path) -> Iterator[Cluster]:
    """The oldest Hadoop: its NodeManagers are those that may fall silent when their ResourceManager starts anew."""
    two("storage", "set", "fast", "--path", str(disk))
    with ready(two, f"{mark}-h", "hadoop-2.7", "--group", "worker:volumes=1x10g@fast") as made:
        yield made


@pytest.fixture(scope="module")
def other(two: Labcloud, mark: str) -> Iterator[Cluster]:
    """Another tenant's, of a Hadoop that can be told that a node will be away."""
    with ready(two, f"{mark}-x", "hadoop-3.4") as made:
        yield made


def hosts_of(cluster: Cluster) -> dict[str, str]:
    """By node, the host that really has it: each engine is asked."""
    found, labels = {}, '{{.Names}} {{.Label "labcloud.host"}} {{.Label "labcloud.group"}}'
    places = {name: AnotherHost(name, cluster.labcloud.home) for name in (NAME, THIRD)}
    for name, url in {"home": "", **{name: each.url for name, each in places.items() if each.folder.exists()}}.items():
        listed = run(["docker", *(["--host", url] if url else []), "ps", "--format", labels]).stdout.decode()
        for line in listed.splitlines():  # of others' containers there are names alone
            container, elsewhere, group = line.split(" ")
            if container.endswith(f".{cluster.name}.{cluster.tenant}") and group and not elsewhere:
                found[container.split(".")[0]] = name
    return found


def place(cluster: Cluster, **wanted: str) -> None:
    """Let the workers be where a test needs them: ``place(cluster, w1="home")``."""
    for short, host in wanted.items():
        node = f"worker-{short[1:]}"
        if hosts_of(cluster)[node] != host:
            cluster.labcloud("migrate", f"{cluster.ref}/{node}", "--to", host)


class Writer:
    """A client of HDFS that writes all the time, on a node that stays: `hdfs dfs -put -`, fed by and by."""

    def __init__(self, cluster: Cluster, path: str) -> None:
        argv = ["exec", "-i", "--node", "master-0", cluster.ref, "--", "hdfs", "dfs", "-put", "-", path]
        self._process = cluster.labcloud.begin_fed(*argv)
        self._digest, self._over = hashlib.sha256(), threading.Event()
        self._thread = threading.Thread(target=self._feed)
        self._thread.start()

    def _feed(self) -> None:
        assert self._process.stdin is not None
        while not self._over.wait(0.02):
            chunk = os.urandom(1 << 16)
            self._digest.update(chunk)
            self._process.stdin.write(chunk)
            self._process.stdin.flush()
        self._process.stdin.close()
        self._process.stdin = None

    def end(self) -> tuple[int, str, str]:
        """Its exit code, what it said, and the digest of what it wrote."""
        self._over.set()
        self._thread.join()
        done = ended(self._process)
        return done.code, done.said, self._digest.hexdigest()


def test_a_worker_moves_under_a_terasort_and_a_writing_client(
    cluster: Cluster, host: AnotherHost, show_table: Callable[[str, str], None]
) -> None:
    home = f"/user/{cluster.tenant}"
    cluster.submit("teragen", "-Dmapreduce.job.maps=2", "400000", f"{home}/in")
    written = "".join(cluster.exec("hdfs", "dfs", "-checksum", f"{home}/in/part-m-00000").text.split())
    sorting = cluster.begin("terasort", "-Dmapreduce.job.reduces=2", f"{home}/in", f"{home}/out")
    writer = Writer(cluster, "/tmp/stream")
    cluster.running_app()
    (moved,) = cluster.labcloud.json("migrate", f"{cluster.ref}/worker-1", "--to", NAME)
    code, said, digest = writer.end()
    assert (moved["moved"], moved["target"], moved["disturbed"]) == (True, NAME, [])
    assert hosts_of(cluster) == {"master-0": "home", "worker-0": "home", "worker-1": NAME}
    assert code == 0, said
    assert hashlib.sha256(cluster.exec("hdfs", "dfs", "-cat", "/tmp/stream").stdout).hexdigest() == digest
    done = ended(sorting)
    assert done.code == 0, done
    cluster.submit("teravalidate", f"{home}/out", f"{home}/valid")
    assert "".join(cluster.exec("hdfs", "dfs", "-checksum", f"{home}/in/part-m-00000").text.split()) == written
    assert "Status: HEALTHY" in cluster.exec("hdfs", "fsck", "/", user="hdfs").text
    assert cluster.show()["status"] == "ready"
    assert host.docker(
        "volume", "ls", "-q", "--filter", f"label=labcloud.tenant={cluster.tenant}", "--filter", "label=labcloud.volume"
    ).split() == [f"worker-1.{cluster.name}.{cluster.tenant}.data-0"]
    told = f"{cluster.profile}: stood still for {moved['pause']:.1f} s of {moved['seconds']:.1f} s"
    show_table("A worker moved to another Docker host under terasort and a writing client", told)


def test_names_agree_on_both_hosts(cluster: Cluster) -> None:
    place(cluster, w0="home", w1=NAME)
    addresses = {each["name"]: each["address"] for each in cluster.show()["nodes"]}
    domain = f"{cluster.name}.{cluster.tenant}.labcloud-{cluster.tenant}"
    for asked in ("worker-0", "worker-1"):
        for name, address in addresses.items():
            assert cluster.exec("getent", "hosts", f"{name}.{domain}", node=asked).text.split()[0] == address
            assert f"{name}.{domain}" in cluster.exec("getent", "hosts", address, node=asked).text


def test_what_is_changed_at_home_is_seen_elsewhere(cluster: Cluster, tmp_path: Path) -> None:
    lab = cluster.labcloud

    def seen(path: str) -> str:
        return cluster.exec("cat", path, node="worker-1", expect=None).text

    place(cluster, w0="home", w1=NAME)
    configured = "/etc/labcloud/cluster/conf/hdfs-site.xml"
    assert "<value>7654321</value>" not in seen(configured)
    base = lab.home / "lab/base/bashrc"
    base.write_text(f"{base.read_text()}alias answer='echo 42'\n")
    lab("config", "set", cluster.ref, "hdfs-site:dfs.stream-buffer-size=7654321")
    lab("config", "apply", cluster.ref)
    assert "<value>7654321</value>" in seen(configured)
    assert "answer" in seen("/etc/labcloud/base/bashrc")
    (tmp_path / "text").write_bytes(real_text())
    lab("dataset", "add", "books", str(tmp_path / "text"), "--for", cluster.tenant)
    lab("dataset", "attach", "books", cluster.ref)
    assert cluster.exec("cat", "/datasets/books/text", node="worker-1").stdout == real_text()
    refused = cluster.exec("touch", "/datasets/books/mine", node="worker-1", user="root", expect=None)
    assert "Read-only file system" in refused.said
    lab("dataset", "detach", "books", cluster.ref)
    assert seen("/datasets/books/text") == ""
    lab("dataset", "remove", "--yes", "books")
    lab("stop", cluster.ref)
    assert hosts_of(cluster) == {}
    lab("start", cluster.ref)
    assert hosts_of(cluster) == {"master-0": "home", "worker-0": "home", "worker-1": NAME}


def test_snapshots_and_backups_have_what_is_on_another_host_and_bring_it_back(cluster: Cluster, tmp_path: Path) -> None:
    """In place, where nodes are; as a new cluster, at home; and one node alone."""
    lab, alone, later, written = cluster.labcloud, "/tmp/alone", f"/user/{cluster.tenant}/later", os.urandom(20 << 20)
    place(cluster, w0="home", w1=NAME)
    put = ("bash", "-c", f"hdfs dfs -D dfs.replication=1 -put - {alone}")
    cluster.exec(*put, node="worker-1", stdin=written)  # a client's own DataNode has the first replica
    taken = lab.json("snapshot", "create", cluster.ref)
    assert taken["consistent"], taken
    lab("backup", "policy", "set", "--tenant", cluster.tenant, f"target={tmp_path}")
    lab("backup", "run", cluster.ref)
    cluster.put(later, b"after the snapshot")
    lab("backup", "restore", cluster.ref, "--node", "worker-1")
    assert hosts_of(cluster)["worker-1"] == NAME
    assert cluster.cat(alone) == written
    lab("snapshot", "restore", "--yes", cluster.ref, taken["id"])
    assert hosts_of(cluster) == {"master-0": "home", "worker-0": "home", "worker-1": NAME}
    assert cluster.cat(alone) == written
    assert cluster.exec("hdfs", "dfs", "-test", "-e", later, expect=None).code == 1
    copy = Cluster(lab, cluster.tenant, cluster.profile, "copy")
    try:
        lab("backup", "restore", cluster.ref, "--to", copy.name)
        assert set(hosts_of(copy).values()) == {"home"}
        assert copy.cat(alone) == written
    finally:
        copy.delete()
    lab("backup", "policy", "set", "--tenant", cluster.tenant, "--unset", "target")


def test_all_of_a_cluster_moves_and_comes_back_by_a_drain(cluster: Cluster, host: AnotherHost, disk: Path) -> None:
    lab = cluster.labcloud
    place(cluster, w0="home", w1=NAME)
    moved = lab.json("drain", "home")
    assert {each["server"].rsplit("/")[-1] for each in moved} == {"master-0", "worker-0"}
    assert set(hosts_of(cluster).values()) == {NAME}
    assert list(disk.glob("volumes/*/worker-0.*.data-0")) == [], "its place is cleared; a copy of worker-1 may be at home for snapshots"
    assert "Pi is" in cluster.submit("pi", "2", "10").text
    pages = cluster.show()["endpoints"]
    with urllib.request.urlopen(pages["namenode"], timeout=20) as answer:  # noqa: S310 - the cluster's own
        assert answer.status == 200
    refused = lab("create", cluster.profile, "--tenant", cluster.tenant, "--name", "other", "--workers", "1", expect=None)
    assert refused.code != 0
    assert "labcloud undrain home" in refused.said
    lab("delete", "--yes", f"{cluster.tenant}/other", expect=None)
    lab("undrain", "home")
    lab("drain", NAME, "--then", "enable")
    assert set(hosts_of(cluster).values()) == {"home"}
    assert len(list(disk.glob("volumes/*/*.data-0/hdfs"))) == 2, "data lie where their storage class says"
    assert host.left(lab.id) == []
    assert "Pi is" in cluster.submit("pi", "2", "10").text


@pytest.mark.parametrize("after", [pytest.param(2, marks=pytest.mark.thorough), 4, 5, pytest.param(7, marks=pytest.mark.thorough)])
def test_a_move_that_is_killed_is_finished_by_the_same_command(cluster: Cluster, after: int) -> None:
    target = NAME if hosts_of(cluster)["worker-0"] == "home" else "home"
    argv = ("migrate", f"{cluster.ref}/worker-0", "--to", target)
    killed = cluster.labcloud.kill_after(after, *argv)
    again = cluster.labcloud(*argv, expect=None)
    assert again.code == 0 or f"runs on {target} already" in again.said, (killed.said, again)
    cluster.wait_until_all_runs()
    assert hosts_of(cluster)["worker-0"] == target
    names = [
        line for line in docker("ps", "-a", "--format", "{{.Names}}").splitlines() if f"worker-0.{cluster.name}.{cluster.tenant}" in line
    ]
    assert names == [f"worker-0.{cluster.name}.{cluster.tenant}"], "nothing is left of it"


@contextmanager
def copying(cluster: Cluster, node: str) -> Iterator[subprocess.Popen[bytes]]:
    """A move of a node with much to copy, which has begun with that. Whoever asks for it ends it."""
    cluster.exec("dd", "if=/dev/urandom", "of=/data/0/ballast", "bs=1M", "count=1500", node=node, user="root")
    process = cluster.labcloud.begin("migrate", f"{cluster.ref}/{node}")
    try:
        assert process.stderr is not None
        while not re.search(rb"is copied|MiB left", line := process.stderr.readline()):
            assert line, "it ended before anything was copied"
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            ended(process)
        cluster.exec("rm", "/data/0/ballast", node=node, user="root")


@pytest.mark.thorough
def test_a_node_goes_from_another_host_to_a_third_and_home(cluster: Cluster, two: Labcloud, third: AnotherHost) -> None:
    place(cluster, w1=NAME)
    cluster.put("/tmp/journey", b"from host to host")
    place(cluster, w1=THIRD)
    assert hosts_of(cluster)["worker-1"] == THIRD
    assert "Pi is" in cluster.submit("pi", "2", "10").text
    assert cluster.exec("getent", "hosts", "worker-0", node="worker-1").text
    assert two.json("snapshot", "create", cluster.ref)["consistent"]
    place(cluster, w1="home")
    assert third.left(two.id) == []
    assert cluster.cat("/tmp/journey") == b"from host to host"
    assert "Status: HEALTHY" in cluster.exec("hdfs", "fsck", "/", user="hdfs").text


def test_ctrl_c_takes_a_move_back(cluster: Cluster, host: AnotherHost) -> None:
    place(cluster, w0="home")
    with copying(cluster, "worker-0") as process:
        process.send_signal(signal.SIGINT)
        done = ended(process)
    assert done.code == 130, done
    assert hosts_of(cluster)["worker-0"] == "home"
    assert host.docker("volume", "ls", "-q", "--filter", f"name=worker-0.{cluster.name}.{cluster.tenant}") == ""


@pytest.mark.thorough
def test_a_node_that_cannot_start_there_is_where_it_was(cluster: Cluster, host: AnotherHost) -> None:
    lab = cluster.labcloud
    place(cluster, w0=NAME, w1="home")
    address = next(each["address"] for each in cluster.show()["nodes"] if each["name"] == "worker-1")
    network = f"labcloud-{cluster.tenant}"
    image = host.docker("images", "--format", "{{.Repository}}:{{.Tag}}", "labcloud/carrier")
    host.docker("run", "-d", "--name", "squatter", "--network", network, "--ip", address, image)
    try:
        failed = lab("migrate", f"{cluster.ref}/worker-1", "--to", NAME, expect=10)
    finally:
        host.docker("rm", "-f", "squatter")
    assert "Address already in use" in failed.said
    assert hosts_of(cluster) == {"master-0": "home", "worker-0": NAME, "worker-1": "home"}
    wait_for("all to be well", lambda: cluster.show()["status"] == "ready", seconds=90)
    assert host.docker("ps", "-aq", "--filter", "name=worker-1") == ""
    assert host.docker("volume", "ls", "-q", "--filter", "name=worker-1") == ""


@pytest.mark.thorough
def test_a_move_that_takes_too_long_is_as_if_it_had_not_begun(cluster: Cluster, host: AnotherHost) -> None:
    place(cluster, w1="home")
    cluster.exec("dd", "if=/dev/urandom", "of=/data/0/ballast", "bs=1M", "count=2000", node="worker-1", user="root")
    try:
        (plan,) = cluster.labcloud.json("migrate", f"{cluster.ref}/worker-1", "--to", NAME, "--dry-run")
        copied = next(each for each in plan["checks"] if each["id"] == "move.storage")["evidence"]["disk_mib"]
        assert 2000 <= copied < 4000
        failed = cluster.labcloud("migrate", f"{cluster.ref}/worker-1", "--to", NAME, "--limit", "1", expect=10)
        assert "aborted after 1 s of copying" in failed.said
        assert hosts_of(cluster)["worker-1"] == "home"
        assert host.docker("volume", "ls", "-q", "--filter", "name=worker-1") == ""
        (forced,) = cluster.labcloud.json("migrate", f"{cluster.ref}/worker-1", "--limit", "1", "--at-limit", "force-complete")
        assert forced["moved"]
    finally:
        cluster.exec("rm", "/data/0/ballast", node="worker-1", user="root")


def test_a_node_goes_when_hdfs_and_yarn_can_do_without_it(other: Cluster) -> None:
    """What it alone has is there meanwhile, on the node that stays."""
    other.exec("bash", "-c", "hdfs dfs -D dfs.replication=1 -put /etc/services /tmp/alone", node="worker-0", user="hdfs")
    (moved,) = other.labcloud.json(
        "migrate", f"{other.ref}/worker-0", "--to", NAME, "--drain-yarn", "--hdfs-maintenance", "always", "--drain-limit", "60"
    )
    assert (moved["moved"], moved["disturbed"]) == (True, [])
    assert hosts_of(other)["worker-0"] == NAME
    assert other.datanodes().keys() == {"worker-0", "worker-1"}
    assert other.rendered("master-0/conf/dfs.hosts.json").read_text() == "[]\n"
    assert other.exec("hdfs", "dfs", "-cat", "/tmp/alone").stdout == other.exec("cat", "/etc/services").stdout


def test_tenants_cannot_speak_to_each_other_on_any_host(cluster: Cluster, other: Cluster, two: Labcloud, host: AnotherHost) -> None:
    """Not over bridges, and not by datagrams that look like another tenant's VXLAN."""
    place(other, w0=NAME)
    place(cluster, w1=NAME)
    addresses = {each["name"]: each["address"] for each in cluster.show()["nodes"]}
    for node in ("master-0", "worker-0"):
        for address in addresses.values():
            argv = ("timeout", "3", "bash", "-c", f"exec 3<>/dev/tcp/{address}/22 || exec 3<>/dev/tcp/{address}/50010")
            assert other.exec(*argv, node=node, expect=None).code != 0
    # A datagram to a host that looks as if it came by the VXLAN of the first tenant.
    here, there = host.addresses
    speaker = pid("", other.container("master-0"))
    for name, url, target in (("master-0", "", here), ("worker-1", host.url, there)):
        ears = pid(url, cluster.container(name))
        forged = vxlan(tunnel.vni(two.id, cluster.tenant), addresses["worker-0"], addresses[name], b"forged")
        assert heard(ears, lambda forged=forged, target=target: speak(speaker, target, forged)) == b""
    table = f"lc{tunnel.vni(two.id, cluster.tenant):06x}"
    for at in ((), ("--host", host.url)):
        run(("docker", *at, "exec", tunnel.link_name(cluster.tenant), "nft", "delete", "table", "inet", table))
    assert heard(ears, lambda: speak(speaker, there, forged)) == b"forged", "the table is what keeps it out"


def pid(url: str, container: str) -> str:
    return run(("docker", *(("--host", url) if url else ()), "inspect", "-f", "{{.State.Pid}}", container)).text


def within(pid: str, program: str, *argv: str) -> tuple[str, ...]:
    """A program of Python in the network of a container."""
    return ("nsenter", "--target", pid, "--net", sys.executable, "-c", program, *argv)


def speak(pid: str, target: str, content: bytes) -> None:
    program = "import socket,sys; socket.socket(type=socket.SOCK_DGRAM).sendto(bytes.fromhex(sys.argv[2]), (sys.argv[1], 4789))"
    for _ in range(3):
        run(within(pid, program, target, content.hex()))


def heard(pid: str, say: Callable[[], None]) -> bytes:
    """What comes to a port in the container's network while somebody ``says`` something."""
    program = (
        "import socket,sys; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', 9999)); s.settimeout(4); print(flush=True)\n"
        "try: sys.stdout.buffer.write(s.recv(100))\nexcept TimeoutError: pass"
    )
    with subprocess.Popen(within(pid, program), stdout=subprocess.PIPE) as listener:
        assert listener.stdout is not None
        listener.stdout.readline()
        say()
        return listener.stdout.read()


def vxlan(number: int, source: str, target: str, content: bytes) -> bytes:
    """RFC 7348: what a bridge on another host would have sent, for all to hear."""
    datagram = struct.pack(">HHHH", 9999, 9999, 8 + len(content), 0) + content
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(datagram), 0, 0, 64, 17, 0, *map(socket.inet_aton, (source, target)))
    total = sum(struct.unpack(">10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    header = header[:10] + struct.pack(">H", ~total & 0xFFFF) + header[12:]
    frame = b"\xff" * 6 + b"\x02\x00\x00\x00\x00\x99" + b"\x08\x00" + header + datagram
    return struct.pack(">II", 0x08 << 24, number << 8) + frame


def test_a_host_that_does_not_answer_is_named(cluster: Cluster, other: Cluster, host: AnotherHost) -> None:
    lab = cluster.labcloud
    lab("drain", NAME, "--then", "enable")
    host.stop()
    try:
        down = {each["name"]: each for each in lab.json("host", "list")}[NAME]
        assert (down["status"], cluster.show()["status"]) == ("down", "ready")
        refused = lab("migrate", f"{cluster.ref}/worker-1", "--to", NAME, expect=None)
        assert refused.code != 0
        assert "it is down" in refused.said
        assert "Pi is" in cluster.submit("pi", "2", "10").text
    finally:
        host.start()
    place(cluster, w1=NAME)
    host.stop()
    try:
        there = {each["name"]: each for each in lab.json("host", "list")}
        assert (there[NAME]["status"], there[NAME]["nodes"], there["home"]["nodes"]) == ("down", 1, 2 + len(other.show()["nodes"]))
        silent = lab("show", cluster.ref, expect=None)
        assert silent.code != 0
        assert NAME in silent.said
        assert {each["name"]: each["status"] for each in lab.json("list", "--tenant", cluster.tenant)} == {cluster.name: "degraded"}
    finally:
        host.start()
    wait_for("the engine's containers to be back", lambda: cluster.show()["status"] == "ready", seconds=120)
    assert cluster.exec("getent", "hosts", "master-0", node="worker-1").text


def test_a_host_that_vanishes_in_the_middle_costs_nothing(cluster: Cluster, host: AnotherHost) -> None:
    lab = cluster.labcloud
    place(cluster, w0="home", w1="home")
    with copying(cluster, "worker-0") as process:
        host.stop()
        failed = ended(process)
    try:
        assert failed.code == 10, failed
        assert cluster.show()["status"] == "ready"
        assert {each["name"]: each["status"] for each in lab.json("list", "--tenant", cluster.tenant)} == {cluster.name: "running"}
        lab("start", cluster.ref)
        assert "Pi is" in cluster.submit("pi", "2", "10").text
    finally:
        host.start()
    assert host.docker("volume", "ls", "-q", "--filter", f"name=worker-0.{cluster.name}.{cluster.tenant}")
    lab("stop", cluster.ref)
    lab("start", cluster.ref)
    assert host.docker("volume", "ls", "-q", "--filter", f"name=worker-0.{cluster.name}.{cluster.tenant}") == ""
