"""A Hadoop cluster of fully virtual machines: qemu's, whose processors are emulated, from the qcow2 disk that labcloud built and published.

What a container as a guest cannot show is shown here: GRUB, the kernel and cloud-init of the disk, volumes of Cinder as disks of the
machine, and datasets by NFS, which is the kernel's on both sides. The cloud is another one, beside that of the other tests.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.driver import Cluster, Labcloud, wait_for
from tests.openstack import driver
from tests.openstack.driver import Cloud
from tests.openstack.inventory import inventory
from tests.openstack.labs import lab_of_guests

SECONDS = 1500
"""How long an emulated cluster may take to be ready."""
PROFILE = "hadoop-2.7"

pytestmark = pytest.mark.timeout(SECONDS + 300)


@pytest.fixture(scope="module")
def emulated() -> Iterator[Cloud]:
    with driver.own_cloud("emulated", GUESTS="qemu", HOSTS="1") as made:
        yield made


@pytest.fixture(scope="module")
def labcloud(emulated: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labcloud]:
    with lab_of_guests(emulated, tmp_path_factory.mktemp("lab") / "home", PROFILE) as lab:
        yield lab


@pytest.fixture(scope="module")
def cluster(labcloud: Labcloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A master and a worker, with data volumes in Cinder, that see the dataset ``books``."""
    books = tmp_path_factory.mktemp("books")
    (books / "one.txt").write_text("one fish\n")
    made = Cluster(labcloud, f"vm-{secrets.token_hex(3)}", PROFILE)
    labcloud("image", "build", PROFILE, "--format", "qcow2", timeout=900)
    labcloud("image", "publish", PROFILE, "--format", "qcow2", timeout=300)
    labcloud("storage", "set", "default", "--driver", "cinder")
    labcloud("dataset", "add", "books", str(books))
    words = ("--provider", "openstack", "--workers", "1", "--volume-size", "1g", "--dataset", "books", "--timeout", str(SECONDS))
    labcloud("create", PROFILE, "--tenant", made.tenant, *words, timeout=SECONDS + 60)
    yield made
    labcloud("delete", "--yes", made.ref, expect=None, timeout=600)


def test_a_cluster_of_virtual_machines_gets_ready(cluster: Cluster) -> None:
    """And so it has written a file to HDFS and read it back."""
    # What a tenant does not need at once takes its time here, and is told as silent after a minute.
    wait_for("every service", lambda: cluster.show()["status"] == "ready", seconds=SECONDS / 3)
    assert cluster.show()["provider"] == "openstack"
    assert cluster.exec("systemd-detect-virt", user="root").text == "qemu"
    assert cluster.exec("systemctl", "is-system-running", user="root").text == "running"


def test_data_lies_on_disks_of_cinder(cluster: Cluster, emulated: Cloud) -> None:
    volumes = list(emulated.member.block_storage.volumes())
    assert [(each.status, each.size) for each in volumes] == [("in-use", 1)] * 2
    for node in ("master-0", "worker-0"):
        source, kind = cluster.exec("findmnt", "-n", "-o", "SOURCE,FSTYPE", "/data/0", node=node, user="root").text.split()
        assert (source.startswith("/dev/vd"), kind) == (True, "ext4")
    assert "/BP-" in cluster.exec("find", "/data/0", "-name", "BP-*", node="worker-0", user="root").text  # its pool of blocks


def test_datasets_are_seen_by_all_machines_and_changed_by_none(cluster: Cluster, tmp_path: Path) -> None:
    labcloud = cluster.labcloud
    (tmp_path / "two.txt").write_text("two fish\n")
    labcloud("dataset", "add", "more", str(tmp_path / "two.txt"))
    labcloud("dataset", "attach", "more", cluster.ref)  # while all of it runs
    for node in ("master-0", "worker-0"):
        seen = cluster.exec("cat", "/datasets/books/one.txt", "/datasets/more/two.txt", node=node)
        assert seen.text == "one fish\ntwo fish"
        for argv in (("touch", "/datasets/mine"), ("sh", "-c", "echo mine >/datasets/books/one.txt")):
            assert "Read-only file system" in cluster.exec(*argv, node=node, user="root", expect=None).said
    assert cluster.exec("findmnt", "-n", "-o", "FSTYPE", "/datasets", node="worker-0", user="root").text == "nfs4"
    assert "nothing had to be done" in labcloud("dataset", "attach", "more", cluster.ref).said
    labcloud("dataset", "load", "books", cluster.ref, timeout=300)
    assert cluster.exec("hdfs", "dfs", "-cat", "/datasets/books/one.txt").text == "one fish"
    labcloud("dataset", "detach", "books", cluster.ref)
    assert cluster.exec("ls", "/datasets", node="worker-0").text.split() == ["more"]


def test_cinder_keeps_backups_that_become_another_cluster(cluster: Cluster, emulated: Cloud) -> None:
    labcloud, copy = cluster.labcloud, Cluster(cluster.labcloud, cluster.tenant, PROFILE, "copy")
    labcloud("backup", "policy", "set", cluster.ref, "target=engine:openstack")
    cluster.put("text", b"of the first night\n")
    labcloud("backup", "run", cluster.ref, timeout=SECONDS)
    cluster.put("more", b"that the second has\n")
    labcloud("backup", "run", cluster.ref, timeout=SECONDS)
    found = sorted((each.created_at, each.is_incremental) for each in emulated.member.block_storage.backups())
    assert [incremental for _, incremental in found] == [False, False, True, True]
    assert [each["state"] for each in labcloud.json("backup", "list", cluster.ref)] == ["consistent", "consistent"]

    labcloud("backup", "restore", cluster.ref, "--to", copy.name, "--timeout", str(SECONDS), timeout=SECONDS + 60)
    assert (copy.cat("text"), copy.cat("more")) == (b"of the first night\n", b"that the second has\n")
    assert labcloud.json("snapshot", "list", copy.ref) == []
    copy.delete()
    labcloud("backup", "policy", "set", cluster.ref, "keep=last=0,daily=0,weekly=0,monthly=0", "--yes")
    labcloud("backup", "prune", cluster.ref, "--yes", timeout=SECONDS)
    assert list(emulated.member.block_storage.backups()) == []


def test_delete_leaves_nothing(cluster: Cluster, emulated: Cloud) -> None:
    cluster.delete()
    found = inventory(emulated.member)
    assert {kind: names for kind, names in found.items() if names} == {"images": [f"labcloud/{PROFILE}"]}
    assert cluster.labcloud.leftovers(cluster.tenant) == []
