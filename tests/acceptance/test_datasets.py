"""Shared datasets on the real Docker Engine and the real Hadoop: held once, seen by any tenant and version, changed by nobody."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.driver import Cluster, Labcloud, count_words, docker, read_counts, real_text

pytestmark = pytest.mark.timeout(600)

SIZE = 40_000_000


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Text to count, names that are hard to write, and bytes that compress to nothing less."""
    folder = tmp_path_factory.mktemp("source")
    (folder / "text").mkdir()
    (folder / "text" / "licences.txt").write_bytes(real_text())
    (folder / "odd names").mkdir()
    (folder / "odd names" / "50% größer & mehr.txt").write_text("größer\n")
    (folder / "odd names" / "[set] {a,b} *?.txt").write_text("patterns\n")
    (folder / "noise.bin").write_bytes(random.Random(7).randbytes(SIZE))  # noqa: S311 - no secret
    return folder


@pytest.fixture(scope="module")
def shared(labcloud: Labcloud, mark: str, source: Path) -> Iterator[tuple[str, Cluster, Cluster]]:
    """A dataset for two tenants, whose clusters are of two versions: one had it from the start, in HDFS as well; one has none yet."""
    name, one, other = (
        f"{mark}.books",
        Cluster(labcloud, f"{mark}-ds-a", "hadoop-2.7", "lab"),
        Cluster(labcloud, f"{mark}-ds-b", "hadoop-3.4", "lab"),
    )
    for each in (one, other):
        labcloud("tenant", "create", each.tenant)
    try:
        labcloud("dataset", "add", name, str(source), "--title", "Books", "--for", one.tenant, "--for", other.tenant)
        one.create("--workers", "1", "--memory", "1536m", "--dataset", name, "--load")
        other.create("--workers", "1", "--memory", "1536m")
        yield name, one, other
    finally:
        labcloud("delete", "--yes", one.ref, other.ref, expect=None)
        labcloud("dataset", "remove", "--yes", name, expect=None)


def inodes(folder: Path) -> dict[int, int]:
    """The bytes on the disk of each inode below a folder."""
    facts = [path.lstat() for path in folder.rglob("*") if path.is_file()]
    return {each.st_ino: each.st_blocks * 512 for each in facts}


def test_a_dataset_is_attached_to_a_cluster_that_runs(labcloud: Labcloud, shared: tuple[str, Cluster, Cluster], source: Path) -> None:
    name, _, other = shared
    began = docker("inspect", "--format", "{{.State.StartedAt}}", other.container("worker-0"))
    assert other.exec("ls", f"/datasets/{name}", expect=None).code != 0
    assert labcloud.json("dataset", "attach", name, other.ref)["changed"] is True
    for node in ("master-0", "worker-0"):
        assert other.exec("cat", f"/datasets/{name}/text/licences.txt", node=node).stdout == real_text()
    assert docker("inspect", "--format", "{{.State.StartedAt}}", other.container("worker-0")) == began
    assert "nothing had to be done" in labcloud("dataset", "attach", name, other.ref).said
    assert labcloud.json("show", other.ref)["datasets"] == {name: 1}


def test_bytes_are_stored_once(labcloud: Labcloud, shared: tuple[str, Cluster, Cluster], source: Path) -> None:
    name, one, other = shared
    labcloud("dataset", "attach", name, other.ref)
    folder = labcloud.home / "datasets"
    before = inodes(folder / "store" / name)
    assert sum(before.values()) < SIZE * 1.1
    for each in (one, other):
        view = inodes(folder / "views" / each.tenant / each.name / name)
        assert len(view) == 4
        assert view.items() <= before.items(), "the view has bytes of its own"


def test_nobody_in_a_node_changes_a_dataset(shared: tuple[str, Cluster, Cluster]) -> None:
    name, one, _ = shared
    file = f"/datasets/{name}/text/licences.txt"
    for user in ("root", one.tenant):
        for argv in (
            ("tee", "-a", file),
            ("rm", "-f", file),
            ("touch", f"/datasets/{name}/new"),
            ("mkdir", "/datasets/new"),
            ("chmod", "666", file),
        ):
            done = one.exec(*argv, user=user, stdin=b"x", expect=None)
            assert done.code != 0
            assert ("Read-only file system" if user == "root" else "denied") in done.said or "Read-only" in done.said
    assert one.exec("cat", file).stdout == real_text()


def test_a_loaded_dataset_is_counted_by_a_job(labcloud: Labcloud, shared: tuple[str, Cluster, Cluster]) -> None:
    name, one, _ = shared
    assert one.cat(f"/datasets/{name}/odd names/50% größer & mehr.txt") == "größer\n".encode()
    owner = one.exec("hdfs", "dfs", "-stat", "%u", f"/datasets/{name}").text
    assert owner == one.tenant
    one.submit("wordcount", f"/datasets/{name}/text", "counted")
    assert read_counts(one.cat("counted/part-r-00000")) == count_words(real_text())


def test_a_load_goes_on_where_it_was_broken_off(labcloud: Labcloud, shared: tuple[str, Cluster, Cluster]) -> None:
    name, one, other = shared
    labcloud("dataset", "attach", name, other.ref)
    for each in (one, other):
        target = f"/user/{each.tenant}/books"
        first = labcloud.json("dataset", "load", name, each.ref, "--to", target)
        assert (first["files"], first["skipped"]) == (4, 0)
        each.exec("hdfs", "dfs", "-rm", "-r", "-skipTrash", f"{target}/odd names")
        again = labcloud.json("dataset", "load", name, each.ref, "--to", target)
        assert (again["files"], again["skipped"]) == (2, 2)
        assert each.cat(f"{target}/odd names/50% größer & mehr.txt") == "größer\n".encode()
        assert labcloud.json("dataset", "load", name, each.ref, "--to", target)["files"] == 0


def test_a_third_tenant_is_refused(labcloud: Labcloud, shared: tuple[str, Cluster, Cluster], mark: str) -> None:
    name, one, _ = shared
    third = Cluster(labcloud, f"{mark}-ds-c", "hadoop-2.7", "lab")
    done = labcloud("create", "hadoop-2.7", "--tenant", third.tenant, "--name", "lab", "--dataset", name, expect=11)
    assert f"labcloud dataset share {name} --for {third.tenant}" in done.said
    report = labcloud.json("preflight", "hadoop-2.7", "--tenant", third.tenant, "--dataset", name, expect=11)
    assert "not shared" in str(report)
    assert labcloud.leftovers(third.tenant) == []
    assert one.ref in labcloud("dataset", "remove", "--yes", name, expect=5).said
    assert labcloud("dataset", "share", name, "--not-for", one.tenant, expect=5).said


def test_a_changed_byte_is_found(labcloud: Labcloud, shared: tuple[str, Cluster, Cluster]) -> None:
    name, *_ = shared
    labcloud("dataset", "verify", name)
    file = labcloud.home / "datasets" / "store" / name / "1" / "content" / "odd names" / "50% größer & mehr.txt"
    content = file.read_bytes()
    file.chmod(0o644)
    try:
        file.write_bytes(content.upper())
        assert "mehr.txt changed" in labcloud("dataset", "verify", name, expect=3).said
    finally:
        file.write_bytes(content)
        os.chmod(file, 0o444)  # noqa: PTH101 - as it was
    labcloud("dataset", "verify", name)


def test_a_new_version_shares_what_did_not_change(labcloud: Labcloud, shared: tuple[str, Cluster, Cluster], source: Path) -> None:
    name, one, other = shared
    (source / "text" / "more.txt").write_text("more\n")
    assert labcloud.json("dataset", "add", name, str(source))["version"] == 2
    assert "already" in labcloud("dataset", "add", name, str(source)).said
    stored = inodes(labcloud.home / "datasets" / "store" / name)
    assert sum(stored.values()) < SIZE * 1.1, "two versions take hardly more than one"
    labcloud("dataset", "attach", f"{name}@2", other.ref)
    assert other.exec("cat", f"/datasets/{name}/text/more.txt").text == "more"
    assert one.exec("cat", f"/datasets/{name}/text/more.txt", expect=None).code != 0
    labcloud("dataset", "detach", name, other.ref)
    assert other.exec("ls", "/datasets").text == ""
    labcloud("dataset", "remove", "--yes", name, "--version", "2")
