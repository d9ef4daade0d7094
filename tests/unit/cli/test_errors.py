"""How commands fail: the exit code of each kind, one sentence, a way out, and nothing made of what was refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from labcloud import errors
from labcloud.lab.locks import cluster_lock
from labcloud.model import ClusterRef
from tests.unit.cli.conftest import Labcloud

SIMULATED = ("--provider", "simulated")
HOSTILE = [
    "",
    " ",
    "../x",
    "a/b/c",
    "a b",
    "a;rm",
    "$(x)",
    "`x`",
    "x\n",
    "{{7*7}}",
    "{%x%}",
    "*",
    "é",
    "A",
    "-x",
    "x-",
    "1x",
    "!!int 1",
    "x" * 99,
]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.LabError, 1), (errors.UsageError, 2), (errors.ConfigError, 3), (errors.NotFoundError, 4), (errors.ConflictError, 5),
        (errors.EngineError, 6), (errors.QuotaError, 7), (errors.DeadlineError, 8), (errors.ConfiguringError, 9),
        (errors.PartlyDoneError, 10), (errors.PreflightError, 11),
    ],
)  # fmt: skip
def test_each_kind_of_error_has_its_exit_code_and_a_way_out(
    labcloud: Labcloud, monkeypatch: pytest.MonkeyPatch, kind: type[errors.LabError], code: int
) -> None:
    def fail() -> None:
        raise kind("it did not work", details="it said no\nand no again", resolution="try it tomorrow")

    monkeypatch.setattr("labcloud.cli.session.home", fail)
    done = labcloud("list")
    said = "error: it did not work\n  it said no\n  and no again\n  try: try it tomorrow\n"
    assert (done.code, done.out, done.err) == (code, "", said)


def test_ctrl_c_exits_with_130_and_says_so(cluster: str, home: Path) -> None:
    argv = [sys.executable, "-m", "labcloud.cli.main", "stop", cluster]
    with cluster_lock(home, ClusterRef("acme", "c"), verb="scale"), subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as waiting:
        assert waiting.stderr is not None
        assert "waiting for the cluster acme/c" in waiting.stderr.readline()
        waiting.send_signal(signal.SIGINT)
        said = waiting.stderr.read()
    assert waiting.returncode == 130
    assert "interrupted" in said
    assert "Traceback" not in said


def test_a_bug_leaves_a_report_and_exits_with_70(labcloud: Labcloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def stumble() -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("labcloud.cli.session.home", stumble)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    done = labcloud("list")
    (report,) = tmp_path.glob("labcloud-bug-*.txt")
    assert (done.code, done.err.splitlines()[0]) == (70, "bug: ZeroDivisionError: by zero")
    assert str(report) in done.err
    assert "in stumble" in report.read_text()


@pytest.mark.parametrize(
    "argv",
    [
        ("create", "hadoop-2.7"), ("create", "--tenant", "acme"), ("nonsense",), ("show",), ("show", "c"), ("scale", "acme/c"),
        ("show", "acme/c", "--tenant", "other"), ("show", "--tenant", "other", "acme/c"), ("list", "--output", "xml"), ("exec", "acme/c"),
        ("create", "hadoop-2.7", "--tenant", "acme", "--workers", "many"), ("logs", "acme/c", "--lines", "-1"),
        ("create", "hadoop-2.7", "--tenant", "acme", "--provider", "vmware"), ("create", "hadoop-2.7", "--tenant", "acme", "--memory", ""),
        ("create", "hadoop-2.7", "--tenant", "acme", "--memory", "lots"), ("create", "hadoop-2.7", "--tenant", "acme", "--set", "x"),
        ("create", "hadoop-2.7", "--tenant", "acme", "--publish", "namenode=²"),
        ("create", "hadoop-2.7", "--tenant", "acme", "--publish", "namenode=99999", *SIMULATED),
        ("create", "hadoop-2.7", "--tenant", "acme", "--timeout", "0"),
        ("create", "hadoop-2.7", "--tenant", "acme", "--timeout", "nan"),
        ("create", "hadoop-2.7", "--tenant", "acme", "--workers", "0", *SIMULATED),
        ("create", "hadoop-2.7", "--tenant", "acme", "--workers", "10000", *SIMULATED),
        ("create", "hadoop-2.7", "--tenant", "acme", "--memory", "64m", *SIMULATED),
        ("create", "hadoop-2.7", "--tenant", "root", *SIMULATED),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_wrong_command_line_exits_with_2_and_makes_nothing(labcloud: Labcloud, home: Path, argv: tuple[str, ...]) -> None:
    done = labcloud(*argv)
    assert (done.code, done.out) == (2, "")
    assert done.err
    assert not (home / "lab").exists()


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize(
    "argv",
    [
        ("create", "hadoop-2.7", *SIMULATED, "--tenant={}"), ("create", "hadoop-2.7", *SIMULATED, "--tenant=acme", "--name={}"),
        ("show", "--", "acme/{}"), ("show", "--tenant=acme", "--", "{}"), ("delete", "--yes", "--", "acme/{}"), ("list", "--tenant={}"),
        ("scale", "--workers=2", "--", "acme/{}"),
    ],
    ids=lambda argv: argv[0],
)  # fmt: skip
def test_a_hostile_name_is_refused_before_anything_is_made(labcloud: Labcloud, home: Path, argv: tuple[str, ...], name: str) -> None:
    done = labcloud(*(word.replace("{}", name) for word in argv))
    assert (done.code, done.out) == (2, "")
    assert not home.exists() or [path.name for path in home.iterdir()] == ["lab-id"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_node_is_refused(labcloud: Labcloud, cluster: str, name: str) -> None:
    done = labcloud("exec", f"--node={name}", cluster, "true")
    assert (done.code, done.out) == (2, "")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_profile_is_no_profile(labcloud: Labcloud, home: Path, name: str) -> None:
    assert labcloud("create", *SIMULATED, "--tenant", "acme", "--", name).code == 4
    assert not (home / "lab").exists()


def test_an_unknown_cluster_exits_with_4(labcloud: Labcloud, cluster: str) -> None:
    done = labcloud("show", "acme/other")
    assert (done.code, done.err.splitlines()[0]) == (4, "error: there is no cluster acme/other")
    assert labcloud("exec", cluster, "--node", "worker-7", "--", "true").code == 4
    assert labcloud("operation", "show", "../../x").code == 4


def test_an_unknown_profile_exits_with_4_and_names_the_nearest(labcloud: Labcloud) -> None:
    done = labcloud("create", "hadop-2.7", "--tenant", "acme", *SIMULATED)
    assert done.code == 4
    assert "hadoop-2.7" in done.err


def test_another_specification_exits_with_5(labcloud: Labcloud, cluster: str) -> None:
    done = labcloud("create", "hadoop-2.7", "--tenant", "acme", "--name", "c", *SIMULATED, "--workers", "4")
    assert done.code == 5
    assert "worker nodes is 2, not 4" in done.err


def test_no_docker_exits_with_6_in_one_sentence(home: Path, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "labcloud.cli.main", "create", "hadoop-2.7", "--tenant", "acme"]
    environment = {**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/nothing.sock"}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert (done.returncode, len(lines), "Docker" in lines[0]) == (6, 1, True)
    assert "try: " in done.stderr
    assert "Traceback" not in done.stderr
    assert not (home / "lab").exists()


def test_a_broken_profile_exits_with_3_and_names_file_and_line(labcloud: Labcloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "profiles" / "mine" / "profile.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("extends: hadoop-2.7\ntitle: [\n")
    monkeypatch.setenv("LABCLOUD_PROFILES", str(tmp_path / "profiles"))
    done = labcloud("create", "mine", "--tenant", "acme", *SIMULATED)
    assert done.code == 3
    assert f"{path}:3" in done.err.splitlines()[0]


def test_a_broken_cluster_file_exits_with_3_and_names_file_and_line(labcloud: Labcloud, cluster: str, home: Path) -> None:
    path = home / "lab" / "clusters" / "acme" / "new.yaml"
    path.write_text("profile: [\n")
    for argv in (("show", "acme/new"), ("list",)):
        done = labcloud(*argv)
        assert done.code == 3
        assert f"{path}:" in done.err.splitlines()[0]


def test_a_cluster_that_is_busy_exits_with_8(labcloud: Labcloud, cluster: str, home: Path) -> None:
    with cluster_lock(home, ClusterRef("acme", "c"), verb="scale"):
        done = labcloud("stop", cluster, "--timeout", "1")
    assert done.code == 8
    assert "'scale' has it" in done.err


def test_where_one_of_two_clusters_fails_the_other_is_made_and_10_told(labcloud: Labcloud, cluster: str) -> None:
    done = labcloud("create", "hadoop-2.7", "--tenant", "acme", "--tenant", "other", "--name", "c", *SIMULATED, "--workers", "1")
    assert done.code == 10
    assert "1 of 2 clusters failed: acme/c" in done.err
    assert "worker nodes is 2, not 1" in done.err
    states = {each["tenant"]: each["status"] for each in json.loads(labcloud("list", "-o", "json").out)}
    assert states == {"acme": "running", "other": "running"}
