"""What a real engine refuses: one sentence, the right exit code, nothing half made."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.driver import PROGRAM, Cluster, Labcloud, docker, run

pytestmark = pytest.mark.timeout(200)


def create(labcloud: Labcloud, tenant: str, check: str, code: int, *options: str) -> str:
    """Create what ``check`` refuses: before anything is made, and, if that is passed over, by the engine with the exit ``code``."""
    words = ("create", "hadoop-2.7", "--tenant", tenant, *options)
    refused = labcloud(*words, expect=11)
    assert check in refused.said
    assert labcloud.leftovers(tenant) == []
    return labcloud(*words, "--ignore", f"{check}=to see what the engine says", expect=code).said


def containers(tenant: str) -> list[str]:
    return docker("ps", "-aq", "--no-trunc", "--filter", f"label=labcloud.tenant={tenant}").splitlines()


def test_a_taken_port_is_a_conflict_and_delete_leaves_nothing(labcloud: Labcloud, mark: str) -> None:
    cluster = Cluster(labcloud, f"{mark}-t", "hadoop-2.7")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = create(labcloud, cluster.tenant, "network.ports", 5, "--publish", f"namenode={port}")
    assert "port" in said
    assert "try:" in said
    cluster.delete()
    assert not [line for line in labcloud.leftovers() if cluster.tenant in line]


def test_a_fixed_port_is_where_the_page_is(labcloud: Labcloud, mark: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cluster = Cluster(labcloud, f"{mark}-f", "hadoop-2.7")
    try:
        view = cluster.create("--publish", f"namenode={port}", "--workers", "1", "--memory", "1536m", "--no-wait")
        assert view["endpoints"]["namenode"].startswith(f"http://127.0.0.1:{port}/")
    finally:
        cluster.delete()


def test_another_specification_of_a_cluster_that_exists_is_a_conflict(labcloud: Labcloud, mark: str) -> None:
    cluster = Cluster(labcloud, f"{mark}-s", "hadoop-2.7")
    try:
        cluster.create("--workers", "1", "--memory", "1536m", "--no-wait")
        before = containers(cluster.tenant)
        done = labcloud("create", "hadoop-2.7", "--tenant", cluster.tenant, "--workers", "2", "--memory", "1536m", expect=5)
        assert "worker nodes is 1, not 2" in done.said
        done = labcloud("create", "hadoop-3.4", "--tenant", cluster.tenant, "--name", "hadoop-2.7", expect=5)
        assert "profile is hadoop-2.7, not hadoop-3.4" in done.said
        assert containers(cluster.tenant) == before
    finally:
        cluster.delete()


def test_a_name_that_somebody_else_has_is_a_conflict(labcloud: Labcloud, mark: str) -> None:
    cluster = Cluster(labcloud, f"{mark}-o", "hadoop-2.7")
    name = cluster.container("master-0")
    docker("create", "--name", name, "labcloud/hadoop-2.7:latest")
    try:
        assert name in create(labcloud, cluster.tenant, "names.free", 5)
        cluster.delete()
        assert docker("ps", "-aq", "--filter", f"name={name}")
    finally:
        docker("rm", "--force", name)


@pytest.mark.parametrize("verb", [("show",), ("delete", "--yes"), ("stop",), ("scale", "--workers", "2"), ("exec",), ("logs",)])
def test_what_does_not_exist_is_not_found(labcloud: Labcloud, mark: str, verb: tuple[str, ...]) -> None:
    words = ("--", "true") if verb == ("exec",) else ()
    done = labcloud(*verb, f"{mark}-nobody/nothing", *words, expect=4)
    assert "there is no cluster" in done.said


def test_no_permission_on_dockers_socket_is_said(labcloud: Labcloud, tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        shutil.chown(path, 65534, 65534)
        path.chmod(0o600)
        # Root may do everything but pass over the permissions of files: as a user who is not in Docker's group.
        without = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
        environment = labcloud.env | {"DOCKER_HOST": f"unix://{path}"}
        done = run((*without, str(PROGRAM), "create", "hadoop-2.7", "--tenant", "acme"), expect=6, env=environment)
    assert "no permission on Docker's socket" in done.said
    assert "group 'docker'" in done.said


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_said_and_nothing_is_made(labcloud: Labcloud, mark: str, small_disk: Path) -> None:
    lab = Labcloud(small_disk / "home", labcloud.cache)
    assert "space" in create(lab, f"{mark}-full", "disk.space", 6)
    assert containers(f"{mark}-full") == []
