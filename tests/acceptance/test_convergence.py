"""Whatever interrupts labcloud or Docker: the same command, run again, ends as if nothing had happened, and delete leaves nothing."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.driver import Cluster, Labcloud, docker, ended, real_text, run, wait_for

pytestmark = pytest.mark.timeout(300)

PROFILE = "hadoop-2.7"


@pytest.fixture
def cluster(labcloud: Labcloud, mark: str) -> Iterator[Cluster]:
    """A cluster to be; deleted afterwards, however far it came."""
    made = Cluster(labcloud, f"{mark}-c", PROFILE)
    yield made
    labcloud("delete", "--yes", made.ref, expect=None)
    assert labcloud.leftovers(made.tenant) == []


@pytest.fixture(scope="module")
def running(labcloud: Labcloud, mark: str) -> Iterator[Cluster]:
    """A cluster with data in it, that grew and shrank undisturbed."""
    made = Cluster(labcloud, f"{mark}-r", PROFILE)
    made.create("--workers", "2")
    made.put("text", real_text())
    for count in ("3", "2"):
        labcloud("scale", made.ref, "--workers", count)
    made.wait_until_all_runs()
    yield made
    labcloud("delete", "--yes", made.ref, expect=None)


def outcome(cluster: Cluster) -> dict[str, Any]:
    """All that there is of a cluster, but for what differs each time."""
    mine = ("--filter", f"label=labcloud.lab={cluster.labcloud.id}", "--filter", f"label=labcloud.tenant={cluster.tenant}")
    home = cluster.labcloud.home
    wanted = (home / "lab" / "clusters" / cluster.tenant / f"{cluster.name}.yaml").read_text()
    return {
        "services": cluster.states(),
        "containers": sorted(docker("ps", "-a", *mine, "--format", "{{.Names}} {{.State}} {{.Image}}").splitlines()),
        "volumes": sorted(docker("volume", "ls", *mine, "--format", "{{.Name}}").splitlines()),
        "networks": docker("network", "ls", *mine, "--format", "{{.Name}}").splitlines(),
        "wanted": re.sub(r"(?m)^id: .*\n", "", wanted),
        "rendered": sorted(str(path.relative_to(home)) for path in (home / "rendered" / cluster.tenant).rglob("*")),
    }


# Death of labcloud. Progress is one line an event, so lines are points in time: each step that is done, each thing waited for.


@pytest.fixture(scope="module")
def undisturbed(labcloud: Labcloud, mark: str) -> dict[str, Any]:
    """What a create that nothing disturbs ends with."""
    made = Cluster(labcloud, f"{mark}-c", PROFILE)
    made.create()
    made.wait_until_all_runs()
    result = outcome(made)
    made.delete()
    assert labcloud.leftovers(made.tenant) == []
    return result


THOROUGH = [pytest.param(*lines, marks=pytest.mark.thorough) for lines in ((0, 0), (3, 4), (8, 9))]


@pytest.mark.parametrize(("lines", "lines_of_delete"), [(1, 1), (5, 6), *THOROUGH])
def test_create_and_delete_survive_the_death_of_labcloud(
    cluster: Cluster, undisturbed: dict[str, Any], lines: int, lines_of_delete: int
) -> None:
    labcloud = cluster.labcloud
    create = ("create", PROFILE, "--tenant", cluster.tenant)
    assert labcloud.kill_after(lines, *create).code == -signal.SIGKILL
    labcloud(*create)
    cluster.wait_until_all_runs()
    assert outcome(cluster) == undisturbed
    delete = ("delete", "--yes", cluster.ref)
    assert labcloud.kill_after(lines_of_delete, *delete).code == -signal.SIGKILL
    # A delete that died after its last step has nothing left to delete.
    assert labcloud(*delete, expect=None).code in (0, 4)
    assert labcloud.leftovers(cluster.tenant) == []


def test_a_create_that_died_can_be_deleted_instead(cluster: Cluster) -> None:
    assert cluster.labcloud.kill_after(3, "create", PROFILE, "--tenant", cluster.tenant).code == -signal.SIGKILL
    cluster.delete()
    assert cluster.labcloud.leftovers(cluster.tenant) == []


@pytest.mark.parametrize("lines", [2])
def test_scale_survives_the_death_of_labcloud(running: Cluster, lines: int) -> None:
    before = outcome(running)
    for count in ("3", "2"):
        scale = ("scale", running.ref, "--workers", count)
        assert running.labcloud.kill_after(lines, *scale).code == -signal.SIGKILL
        running.labcloud(*scale)
        assert len(running.datanodes()) == len(running.nodemanagers()) == int(count)
    running.wait_until_all_runs()
    assert outcome(running) == before
    running.check_files()


def test_interrupting_says_what_exists(cluster: Cluster) -> None:
    done = cluster.labcloud.kill_after(4, "create", PROFILE, "--tenant", cluster.tenant, with_signal=signal.SIGINT)
    assert done.code == 130, done
    assert f"labcloud delete {cluster.ref}" in done.said
    assert "Traceback" not in done.said
    cluster.delete()


def test_two_creates_at_once_make_one_cluster(cluster: Cluster, undisturbed: dict[str, Any]) -> None:
    both = [cluster.labcloud.begin("create", PROFILE, "--tenant", cluster.tenant) for _ in range(2)]
    first, second = (ended(each) for each in both)
    assert (first.code, second.code) == (0, 0), f"{first}\n{second}"
    assert any("'create' has it" in each.said for each in (first, second))
    cluster.wait_until_all_runs()
    assert outcome(cluster) == undisturbed


# Death of Docker


def restart_docker(*, killed: bool = False) -> None:
    """End the engine as the system would, or kill it, and start it again as it was started."""
    if Path("/run/systemd/system").is_dir():
        if killed:
            run(("systemctl", "kill", "--signal", "SIGKILL", "docker"))
        run(("systemctl", "restart", "docker"))
        return
    process = Path("/proc", Path("/run/docker.pid").read_text().strip())
    argv = process.joinpath("cmdline").read_bytes().split(b"\0")[:-1]
    with process.joinpath("fd/1").open("ab") as log:
        run(("kill", "-KILL" if killed else "-TERM", process.name))
        wait_for("the end of Docker", lambda: not process.exists(), seconds=120)
        subprocess.run([b"setsid", b"--fork", *argv], stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True)
    wait_for("Docker", lambda: run(("docker", "version"), expect=None).code == 0)


@pytest.mark.alone
def test_a_cluster_survives_a_restart_of_docker(running: Cluster) -> None:
    before = outcome(running)
    restart_docker()
    running.labcloud("start", running.ref)
    running.wait_until_all_runs()
    assert outcome(running) == before
    running.check_files()
