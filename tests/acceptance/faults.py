"""Real faults, one entry each: how it is made, what has to be named as its cause, how it is mended.

Add one by adding an entry to FAULTS. ``inject`` breaks the cluster, and returns what is asked about instead of it, if anything
(an operation); ``heal`` puts it right. ``asks`` is who has to name the cause; `named_by_diagnose` unless another is given.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from tests.acceptance.driver import Cluster, docker, ended, run, wait_for

SETTINGS = (
    "yarn-site:yarn.nodemanager.disk-health-checker.interval-ms=5000",  # a mended disk is used again at once
)
"""What the cluster has to be created with."""

Names = Callable[[Cluster, str], set[str]]


def named_by_diagnose(cluster: Cluster, target: str) -> set[str]:
    """The causes that ``labcloud diagnose`` names."""
    return {each["id"] for each in cluster.labcloud.json("diagnose", target or cluster.ref, expect=None)["causes"]}


@dataclass(frozen=True)
class Fault:
    """``cause`` has to be named within ``seconds``; what follows from the fault and may be named besides stands in ``also``."""

    name: str
    cause: str
    inject: Callable[[Cluster], str | None]
    heal: Callable[[Cluster], object]
    also: frozenset[str] = frozenset()
    seconds: float = 25.0
    asks: Names = named_by_diagnose


# Tools


def service(cluster: Cluster, node: str, name: str, order: str) -> None:
    """Tell a node's supervisor: ``-d`` down, ``-u`` up, ``-r`` restart."""
    cluster.exec("s6-svc", order, f"/run/service/{name}", node=node, user="root")


def bash(cluster: Cluster, node: str, script: str, *arguments: str) -> str:
    return cluster.exec("bash", "-c", script, "bash", *arguments, node=node, user="root").text


def inside(cluster: Cluster, node: str, *argv: str) -> None:
    """Run a program of this machine among a node's mounts."""
    run(("nsenter", "--target", str(cluster.pid(node)), "--mount", "--pid", "--", *argv))


def rewrite(cluster: Cluster, path: str, old: str, new: str) -> None:
    """Change a rendered file behind labcloud's back."""
    file = cluster.rendered(path)
    text = file.read_text()
    assert old in text, f"{path} does not say {old}"
    file.write_text(text.replace(old, new))


def start(cluster: Cluster) -> None:
    cluster.labcloud("start", cluster.ref)


def nothing(cluster: Cluster) -> None:
    """It mends itself."""


def mend(cluster: Cluster) -> None:
    """What ``diagnose --fix`` takes for safe is enough."""
    cluster.labcloud("diagnose", "--fix", cluster.ref, expect=None)


def restart(name: str) -> Callable[[Cluster], None]:
    def heal(cluster: Cluster) -> None:
        start(cluster)
        service(cluster, "worker-0", name, "-r")

    return heal


def blocks_of(cluster: Cluster, path: str) -> list[str]:
    """The names of a file's blocks."""
    said = cluster.exec("hdfs", "fsck", path, "-files", "-blocks", user="hdfs").text
    return [word.split(":")[-1].rpartition("_")[0] for word in said.split() if word.startswith("BP-")]


# Faults of daemons


def kept_down(cluster: Cluster) -> None:
    service(cluster, "worker-1", "datanode", "-d")


def suspended(cluster: Cluster) -> None:
    bash(cluster, "worker-0", "kill -STOP $(s6-svstat -o pid /run/service/nodemanager)")


def killed_again_and_again(cluster: Cluster) -> None:
    script = (
        "for turn in 1 2 3; do until s6-svwait -u -t 4000 $0 && kill -9 $(s6-svstat -o pid $0); do :; done; s6-svwait -d -t 2000 $0; done"
    )
    cluster.exec("bash", "-c", script, "/run/service/historyserver", node="master-0", user="root", expect=None)


def port_taken(cluster: Cluster) -> None:
    listener = "use IO::Socket::INET; my $s = IO::Socket::INET->new(Listen => 5, LocalPort => 8042, ReuseAddr => 1) or die; sleep 600"
    service(cluster, "worker-0", "nodemanager", "-d")
    bash(cluster, "worker-0", 's6-svwait -D -t 20000 /run/service/nodemanager; setsid perl -e "$1" >/dev/null 2>&1 & sleep 0.3', listener)
    service(cluster, "worker-0", "nodemanager", "-u")


def free_port(cluster: Cluster) -> None:
    bash(cluster, "worker-0", "pkill perl; s6-svc -r /run/service/nodemanager")


def heap_too_small(cluster: Cluster) -> None:
    text = cluster.rendered("worker-0/services/datanode").read_text()
    heap = next(word.strip("'") for word in text.split() if word.strip("'").startswith("-Xmx"))
    first = next(word.strip("'") for word in text.split() if word.strip("'").startswith("-Xms"))
    rewrite(cluster, "worker-0/services/datanode", f"{first} {heap}", "-Xms4m -Xmx4m")
    service(cluster, "worker-0", "datanode", "-r")


def broken_configuration(cluster: Cluster) -> None:
    rewrite(cluster, "worker-0/conf/hdfs-site.xml", "</configuration>", "<property>")
    service(cluster, "worker-0", "datanode", "-r")


def broken_number(cluster: Cluster) -> None:
    rewrite(cluster, "worker-0/conf/yarn-site.xml", ">0.0.0.0:8042<", ">0.0.0.0:eight<")
    service(cluster, "worker-0", "nodemanager", "-r")


# Faults of storage


def other_cluster_id(cluster: Cluster) -> None:
    bash(cluster, "worker-0", "sed -i 's/^clusterID=.*/clusterID=CID-another/' /data/0/hdfs/data/current/VERSION")
    service(cluster, "worker-0", "datanode", "-r")


def mend_even_unsafe(cluster: Cluster) -> None:
    cluster.labcloud("diagnose", "--fix", "--yes", cluster.ref, expect=None)


def corrupt_one(cluster: Cluster, node: str = "worker-0") -> None:
    """A replica gets other bytes; HDFS knows it when it is read. Who reads on a node that has a replica reads that one."""
    if "/tmp/corrupt" not in cluster.files:
        cluster.put("/tmp/corrupt", b"to be corrupted" * 1000)
    for block in blocks_of(cluster, "/tmp/corrupt"):
        bash(cluster, node, 'for file in $(find /data -name "$1"); do printf XXXX | dd of=$file bs=1 conv=notrunc status=none; done', block)
    cluster.exec("hdfs", "dfs", "-D", "dfs.client.max.block.acquire.failures=0", "-cat", "/tmp/corrupt", node=node, expect=None)


def corrupt_all(cluster: Cluster) -> None:
    """One after the other: a client does not report what it finds corrupt on all nodes, for then it may be to blame itself (HDFS-1371)."""
    for node in ("worker-0", "worker-1"):
        corrupt_one(cluster, node)


def remove_file(path: str) -> Callable[[Cluster], None]:
    def heal(cluster: Cluster) -> None:
        cluster.files.pop(path, None)
        cluster.exec("hdfs", "dfs", "-rm", "-f", "-skipTrash", path, user="hdfs")
        service(cluster, "worker-0", "datanode", "-u")

    return heal


def delete_block_files(cluster: Cluster) -> None:
    cluster.put("/tmp/deleted", b"to be deleted" * 1000)
    for block in blocks_of(cluster, "/tmp/deleted"):
        for node in ("worker-0", "worker-1"):
            bash(cluster, node, 'find /data -name "$1*" -delete', block)


def replica_on_absent_node(cluster: Cluster) -> None:
    """A file of one replica, and its DataNode down for so long that the NameNode gave it up."""
    cluster.exec("hdfs", "dfs", "-D", "dfs.replication=1", "-put", "-", "/tmp/single", stdin=b"alone" * 1000, node="worker-0")
    service(cluster, "worker-0", "datanode", "-d")


def full_disk(cluster: Cluster) -> None:
    inside(cluster, "worker-0", "mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", "/data/0/yarn/local")
    bash(cluster, "worker-0", "chown yarn /data/0/yarn/local; head -c 9M /dev/zero >/data/0/yarn/local/filler; true")


def unmount(path: str) -> Callable[[Cluster], None]:
    return lambda cluster: inside(cluster, "worker-0", "umount", "-l", path)


def read_only_disk(cluster: Cluster) -> None:
    """A volume of its own for a NodeManager's logs, which can only be read."""
    inside(cluster, "worker-0", "mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", "/data/0/yarn/logs")


def foreign_folder(cluster: Cluster) -> None:
    bash(cluster, "worker-1", "chown root:root /data/0/yarn/logs; chmod 700 /data/0/yarn/logs")


# Faults of HDFS


def safe_mode(cluster: Cluster) -> None:
    cluster.exec("hdfs", "dfsadmin", "-safemode", "enter", user="hdfs")


_NAME = "/data/0/hdfs/name"


def namenode_disk_full(cluster: Cluster) -> None:
    """The NameNode's folder on a disk with less room than it insists on (100 MB)."""
    service(cluster, "master-0", "namenode", "-d")
    bash(cluster, "master-0", f"s6-svwait -D -t 30000 /run/service/namenode; cp -a {_NAME} /var/tmp/name")
    inside(cluster, "master-0", "mount", "-t", "tmpfs", "-o", "size=64m,mode=755", "tmpfs", _NAME)
    bash(
        cluster, "master-0", f"cp -a /var/tmp/name/. {_NAME}; chown hdfs:hadoop {_NAME}; chmod 700 {_NAME}; s6-svc -u /run/service/namenode"
    )
    # That they are not back yet is true, and named, but is not this fault.
    wait_for("the DataNodes", lambda: all_registered(cluster))


def all_registered(cluster: Cluster) -> bool:
    answer = cluster.page("namenode", "/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState")() or {}
    return any(bean.get("NumLiveDataNodes") == 2 for bean in answer.get("beans", ()))


def namenode_disk_free(cluster: Cluster) -> None:
    service(cluster, "master-0", "namenode", "-d")
    bash(cluster, "master-0", f"s6-svwait -D -t 30000 /run/service/namenode; rm -rf /var/tmp/name; cp -a {_NAME} /var/tmp/name")
    inside(cluster, "master-0", "umount", _NAME)
    bash(
        cluster, "master-0", f"rm -rf {_NAME}/current; cp -a /var/tmp/name/. {_NAME}; rm -rf /var/tmp/name; s6-svc -u /run/service/namenode"
    )
    ask = ("hdfs", "dfsadmin", "-safemode", "get")
    wait_for("the NameNode", lambda: not cluster.exec(*ask, user="hdfs", expect=None).code)


def excluded_datanode(cluster: Cluster) -> None:
    name = bash(cluster, "worker-1", "hostname -f")
    old, new = cluster.rendered("master-0/conf/dfs.exclude"), cluster.rendered("master-0/conf/dfs.hosts.json")
    if old.exists():
        old.write_text(f"{name}\n")
    else:
        new.write_text(json.dumps([{"hostName": name, "adminState": "DECOMMISSIONED"}]))
    cluster.exec("hdfs", "dfsadmin", "-refreshNodes", user="hdfs")


# Faults of nodes and networks


def stopped_node(cluster: Cluster) -> None:
    docker("stop", "-t", "10", cluster.container("worker-1"))


def paused_node(cluster: Cluster) -> None:
    docker("pause", cluster.container("worker-1"))


def removed_node(cluster: Cluster) -> None:
    docker("rm", "-f", cluster.container("worker-1"))


def detached_node(cluster: Cluster) -> None:
    docker("network", "disconnect", f"labcloud-{cluster.tenant}", cluster.container("worker-1"))


def attached_node(cluster: Cluster) -> None:
    docker("network", "connect", f"labcloud-{cluster.tenant}", cluster.container("worker-1"))
    docker("restart", "-t", "10", cluster.container("worker-1"))


def broken_resolver(cluster: Cluster) -> None:
    bash(cluster, "worker-1", "cp /etc/resolv.conf /var/tmp/resolv.conf; echo nameserver 127.0.0.99 >/etc/resolv.conf")


def mended_resolver(cluster: Cluster) -> None:
    bash(cluster, "worker-1", "cat /var/tmp/resolv.conf >/etc/resolv.conf")


# Faults of memory and processor


def lowered_memory(cluster: Cluster) -> None:
    docker("update", "--memory", "1g", "--memory-swap", "1g", cluster.container("worker-1"))


def raised_memory(cluster: Cluster) -> None:
    docker("update", "--memory", "2g", "--memory-swap", "2g", cluster.container("worker-1"))


def lowered_cpus(cluster: Cluster) -> None:
    docker("update", "--cpus", "0.2", cluster.container("worker-1"))


def raised_cpus(cluster: Cluster) -> None:
    docker("update", "--cpus", "2", cluster.container("worker-1"))


def eaten_memory(cluster: Cluster) -> None:
    cluster.exec("perl", "-e", "my $eaten = 'x' x (3 << 30)", node="worker-1", expect=None)


def fresh_node(cluster: Cluster) -> None:
    docker("restart", "-t", "10", cluster.container("worker-1"))


def busy_processor(cluster: Cluster) -> None:
    """More threads than cores, under the declared limit."""
    bash(cluster, "worker-1", "for each in 1 2 3 4 5 6 7 8; do setsid perl -e '1 while 1' >/dev/null 2>&1 & done; sleep 0.2")


def idle_processor(cluster: Cluster) -> None:
    bash(cluster, "worker-1", "pkill -9 perl; true")


# Faults of jobs


def masters_at_limit(cluster: Cluster) -> None:
    _CLIENTS.extend(cluster.begin("pi", "-Dyarn.app.mapreduce.am.resource.mb=1024", "1", "1000000000") for _ in range(2))


_CLIENTS: list[subprocess.Popen[bytes]] = []


def no_jobs(cluster: Cluster) -> None:
    """Kill what runs, and who waits for it."""
    listed = cluster.exec("yarn", "application", "-list", user="yarn").text
    for word in listed.split():
        if word.startswith("application_"):
            cluster.exec("yarn", "application", "-kill", word, user="yarn", expect=None)
    while _CLIENTS:
        client = _CLIENTS.pop()
        client.kill()
        ended(client)


# Faults of operations


def operation_on_taken_port(cluster: Cluster) -> str:
    """A create whose port another cluster publishes; it makes nothing."""
    port = cluster.show()["endpoints"]["namenode"].rpartition(":")[2].partition("/")[0]
    cluster.labcloud("create", "hadoop-2.7", "--tenant", cluster.tenant, "--name", "taken", "--publish", f"namenode={port}", expect=None)
    return str(next(each["id"] for each in cluster.labcloud.json("operation", "list") if each["target"].endswith("/taken")))


def operation_broken_off(cluster: Cluster) -> str:
    cluster.labcloud.kill_after(1, "create", "hadoop-2.7", "--tenant", cluster.tenant, "--name", "broken", "--workers", "1")
    return str(next(each["id"] for each in cluster.labcloud.json("operation", "list") if each["target"].endswith("/broken")))


def nothing_of(name: str) -> Callable[[Cluster], None]:
    return lambda cluster: cluster.labcloud("delete", "--yes", f"{cluster.tenant}/{name}", expect=None) and None


_UNREADY = frozenset({"datanode.not-registered", "nodemanager.not-registered", "daemon.hangs"})

FAULTS = (
    Fault("a DataNode's supervisor was told to keep it down", "daemon.kept-down", kept_down, mend),
    Fault("a NodeManager is stopped by SIGSTOP", "daemon.suspended", suspended, mend),
    Fault("a daemon is killed again and again", "daemon.killed", killed_again_and_again, nothing),
    Fault("another process has a NodeManager's port", "daemon.port-taken", port_taken, free_port, seconds=60),
    Fault(
        "a DataNode's heap is too small", "daemon.out-of-heap", heap_too_small, mend,
        also=frozenset({"configuration.changed"}), seconds=60,
    ),
    Fault(
        "a configuration file is no XML", "daemon.bad-configuration", broken_configuration, restart("datanode"),
        also=frozenset({"configuration.changed"}), seconds=60,
    ),
    Fault(
        "a setting is no port", "daemon.bad-configuration", broken_number, restart("nodemanager"),
        also=frozenset({"configuration.changed"}), seconds=60,
    ),
    Fault("a DataNode's cluster id is another", "datanode.cluster-id-mismatch", other_cluster_id, mend_even_unsafe),
    Fault("one of two replicas of a block is corrupt", "hdfs.replica-corrupt", corrupt_one, remove_file("/tmp/corrupt")),
    Fault("both replicas of a block are corrupt", "hdfs.replicas-corrupt", corrupt_all, remove_file("/tmp/corrupt")),
    Fault("block files are deleted, unnoticed", "hdfs.block-files-gone", delete_block_files, remove_file("/tmp/deleted")),
    Fault("the only replica's node is down", "hdfs.replicas-on-absent-nodes", replica_on_absent_node, remove_file("/tmp/single"),
          also=frozenset({"daemon.kept-down"}), seconds=90),
    Fault("a disk is full", "disk.full", full_disk, unmount("/data/0/yarn/local"), also=frozenset({"nodemanager.disk-full"})),
    Fault("a disk is read-only", "disk.read-only", read_only_disk, unmount("/data/0/yarn/logs"), also=frozenset({"nodemanager.unhealthy"})),
    Fault("a daemon's folder is another user's", "disk.folder-denied", foreign_folder, mend),
    Fault("HDFS was put into safe mode", "hdfs.safe-mode-manual", safe_mode, mend),
    Fault("the NameNode's disk is nearly full", "hdfs.namenode-disk-full", namenode_disk_full, namenode_disk_free, seconds=60,
          also=frozenset({"hdfs.blocks-not-reported", "hdfs.too-few-datanodes"})),
    Fault("a DataNode is excluded", "datanode.excluded", excluded_datanode, mend, also=frozenset({"configuration.changed"})),
    Fault("a node is stopped", "node.stopped", stopped_node, mend),
    Fault("a node is paused", "node.paused", paused_node, lambda cluster: docker("unpause", cluster.container("worker-1"))),
    Fault("a node is removed", "node.missing", removed_node, mend),
    Fault("a node is cut off from its network", "network.detached", detached_node, attached_node),
    Fault("a node's resolver is broken", "network.names-unresolved", broken_resolver, mended_resolver),
    Fault("a node's memory limit was lowered", "limits.memory-changed", lowered_memory, raised_memory),
    Fault("a node's cores were lowered", "limits.cpus-changed", lowered_cpus, raised_cpus),
    Fault("a process was killed at the memory limit", "memory.process-killed", eaten_memory, fresh_node),
    Fault("application masters have reached their limit", "yarn.masters-at-limit", masters_at_limit, no_jobs, seconds=60),
    Fault("create was refused for a port", "operation.preflight-refused", operation_on_taken_port, nothing_of("taken")),
    Fault("create was killed", "operation.broken-off", operation_broken_off, nothing_of("broken"),
          also=frozenset({"node.missing", "cluster.nothing-there", "network.missing", "configuration.changed", "configuration.missing"})),
)  # fmt: skip
