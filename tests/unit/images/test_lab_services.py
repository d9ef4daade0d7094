"""The lab's own services on a node: the program that takes them up, the one that runs each, and the hook for services that ended."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.unit.images.sandbox import LIB, STUBS, Node

SERVICES = "etc/labcloud/base/supervision/services"
HOOK = "etc/labcloud/base/supervision/ended"
OWN = "run/labcloud/supervision"
NOTE = '#!/bin/sh\nprintf "%s\\n" "${0##*/} $*" | sed "s#$LABCLOUD_ROOT##g" >>"$LABCLOUD_ROOT/asked"\n'
SUPERVISOR = dict.fromkeys(("s6-svc", "s6-svscanctl", "s6-svunlink"), NOTE)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    node = Node(tmp_path / "node", {**STUBS, **SUPERVISOR})
    node.put(f"{SERVICES}/agent", "#!/bin/sh\nexit 0\n")
    return node


def test_a_service_comes_changes_and_goes(node: Node) -> None:
    assert node.run("lab-services", "--check").lines == ["lab service agent missing"]
    assert not (node.root / OWN).exists()
    assert node.run("lab-services").lines == ["lab service agent made"]
    assert node.asked() == ["s6-svscanctl -a /run/service"]
    shown = node.root / "run/service/lab.agent"
    assert shown.resolve() == (node.root / OWN / "agent").resolve()
    assert (shown / "run").resolve() == LIB / "lab-service/run"
    assert (shown / "log/run").resolve() == LIB / "lab-service/log/run"
    assert [(each.code, each.lines) for each in (node.run("lab-services"), node.run("lab-services", "--check"))] == [(0, []), (0, [])]

    node.put(f"{SERVICES}/agent", "#!/bin/sh\nexit 1\n")
    assert node.run("lab-services", "--check").lines == ["lab service agent changed"]
    assert node.run("lab-services").lines == ["lab service agent changed"]
    assert node.asked() == ["s6-svc -r /run/service/lab.agent"]
    assert node.read(f"{OWN}/agent/program") == "#!/bin/sh\nexit 1\n"

    (node.root / SERVICES / "agent").unlink()
    assert node.run("lab-services", "--check").lines == ["lab service agent is the lab's no longer"]
    assert node.run("lab-services").lines == ["lab service agent removed"]
    assert node.asked() == ["s6-svunlink -t 10000 /run/service lab.agent"]
    assert not (node.root / OWN).exists()
    assert not shown.is_symlink()


def test_at_a_nodes_start_the_supervisor_is_not_asked(node: Node) -> None:
    node.put(f"{SERVICES}/old", "#!/bin/sh\n")
    node.run("lab-services", "--start")
    (node.root / SERVICES / "old").unlink()
    node.put(f"{SERVICES}/agent", "#!/bin/sh\n# new\n")
    done = node.run("lab-services", "--start")
    assert done.lines == ["lab service agent changed", "lab service old removed"]
    assert node.asked() == []


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("notes", "no program\n", "notes does not begin with #!"),
        ("empty", "", "empty does not begin with #!"),
        ("a.b", "#!/bin/sh\n", "a.b: a name has letters, digits, _ and - only"),
        ("-x", "#!/bin/sh\n", "-x: a name has"),
        ("snake", "#!/opt/nothing/python4 -u\n", "snake: there is no /opt/nothing/python4 on this node"),
    ],
)
def test_what_cannot_be_a_service_is_named_and_the_others_are_made(node: Node, name: str, text: str, why: str) -> None:
    node.put(f"{SERVICES}/{name}", text)
    done = node.run("lab-services")
    assert (done.code, done.lines) == (1, ["lab service agent made"])
    assert f"base/supervision/services: {why}" in done.said
    assert [path.name for path in (node.root / "run/service").iterdir()] == ["lab.agent"]


def test_one_that_was_broken_by_an_edit_runs_on_as_it_was(node: Node) -> None:
    node.run("lab-services")
    node.put(f"{SERVICES}/agent", "oops\n")
    done = node.run("lab-services")
    assert (done.code, done.lines) == (1, [])
    assert node.read(f"{OWN}/agent/program") == "#!/bin/sh\nexit 0\n"


def test_refresh_takes_them_up_and_a_node_starts_in_spite_of_a_broken_one(node: Node) -> None:
    node.put(f"{SERVICES}/broken", "oops\n")
    start = node.run("refresh", "--start")
    assert (start.code, "lab service agent made" in start.lines) == (1, True)
    assert node.run("refresh", "--check").lines == []
    (node.root / SERVICES / "broken").unlink()
    node.put(f"{SERVICES}/agent", "#!/bin/sh\n")
    assert node.run("refresh", "--check").lines == ["lab service agent changed"]
    assert node.run("refresh").lines == ["lab service agent changed"]


def run_service(node: Node, pause: int = 10) -> subprocess.Popen[bytes]:
    environment = {"PATH": "/usr/bin:/bin", "LABCLOUD_ROOT": str(node.root), "LABCLOUD_LAB_SERVICE_PAUSE": str(pause)}
    return subprocess.Popen([str(LIB / "lab-service/run")], cwd=node.root / OWN / "agent", env=environment, stdout=subprocess.PIPE)


def test_a_service_runs_with_the_nodes_environment_and_yields(node: Node) -> None:
    node.put("etc/labcloud/base/environment", "MIRROR=a b\nLABCLOUD_TENANT=other\n")
    node.put(f"{SERVICES}/agent", '#!/bin/sh -u\necho "$LABCLOUD_TENANT" "$MIRROR" "${HADOOP_OPTS-none}" "$(nice)"\n')
    node.run("lab-services")
    said, _ = run_service(node).communicate(timeout=20)
    assert said.decode() == f"labcloud: starting agent\nacme a b none {min(19, os.nice(0) + 5)}\n"


def test_one_that_ends_at_once_waits_before_it_is_started_again(node: Node) -> None:
    node.run("lab-services")
    run_service(node).communicate(timeout=20)
    begun = time.monotonic()
    run_service(node, pause=4).communicate(timeout=60)
    assert 0.5 < time.monotonic() - begun < 20
    with run_service(node, pause=60) as waiting:
        time.sleep(0.3)
        assert waiting.poll() is None
        waiting.terminate()  # as the supervisor does
        waiting.communicate(timeout=20)
    assert waiting.returncode == -15


def ended(node: Node, *how: str) -> None:
    """Let the DataNode end."""
    folder = node.root / "run/service/datanode"
    folder.mkdir(parents=True, exist_ok=True)
    node.put("etc/labcloud/cluster/node.env", f"LABCLOUD_TENANT=acme\nHADOOP_LOG_DIR={node.root}\n")
    assert node.run("service/finish", *how, cwd=folder).code == 0


def said(node: Node, lines: int) -> list[str]:
    """What the DataNode's output has, once it has so many lines."""
    deadline = time.monotonic() + 30
    while len(found := node.read("datanode.out").splitlines()) < lines:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


def test_the_hook_hears_who_ended_and_how(node: Node) -> None:
    node.put(HOOK, '#!/bin/sh\necho "heard $*"\n')
    ended(node, "256", "9")
    assert said(node, 2) == ["labcloud: datanode ended by signal 9", "heard datanode 256 9"]


@pytest.mark.parametrize("hook", ["oops\n", "#!/nowhere/sh\n", "#!\n", ""])
def test_a_hook_that_is_broken_changes_nothing(node: Node, hook: str) -> None:
    node.put(HOOK, hook)
    ended(node, "1", "0")
    assert said(node, 1)[0] == "labcloud: datanode ended with exit code 1"


def test_nobody_waits_for_the_hook(node: Node) -> None:
    node.put(HOOK, f'#!/bin/sh\nuntil [ -e {node.root}/over ]; do sleep 0.1; done\necho "heard $1"\n')
    ended(node, "1", "0")
    node.put("over", "")
    assert said(node, 2)[1] == "heard datanode"
