"""The node's health script, as a NodeManager runs it: a line that begins with ERROR for each check that fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.images.sandbox import Node


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "node")


def test_without_checks_a_node_is_well(node: Node) -> None:
    assert (node.run("health").lines, node.run("health").code) == ([], 0)


def test_checks_of_the_lab_and_of_the_cluster_are_run_whatever_their_modes(node: Node) -> None:
    node.put("etc/labcloud/base/health/disk", "#!/bin/sh\necho all well\n")
    node.put("etc/labcloud/base/health/licence", "#!/bin/bash\necho no licence server >&2\necho more\nexit 3\n")
    node.put("etc/labcloud/cluster/health/own.sh", "#! /bin/sh -e\nfalse\nexit 0\n")
    done = node.run("health")
    assert (done.code, done.lines) == (0, ["ERROR licence: no licence server", "ERROR own.sh: exit code 1"])
    node.put("etc/labcloud/base/health/licence", "#!/bin/sh\n")
    (node.root / "etc/labcloud/cluster/health/own.sh").unlink()
    assert node.run("health").lines == []


def test_what_is_no_script_is_passed_over(node: Node) -> None:
    node.put("etc/labcloud/base/health/README", "exit 1\n")
    node.put("etc/labcloud/base/health/disk~", "#!/bin/sh\nexit 1\n")
    node.put("etc/labcloud/base/health/.hidden", "#!/bin/sh\nexit 1\n")
    node.put("etc/labcloud/base/health/empty", "")
    (node.root / "etc/labcloud/base/health/folder").mkdir()
    assert node.run("health").lines == []


def test_a_check_that_hangs_is_a_failure(node: Node) -> None:
    node.put("etc/labcloud/base/health/slow", "#!/bin/sh\nexec sleep 50\n")
    node.put("etc/labcloud/base/health/then", "#!/bin/sh\necho later; exit 1\n")
    done = node.run("health", env={"LABCLOUD_HEALTH_LIMIT": "0.2"})
    assert done.lines == ["ERROR slow: no answer in 0.2 s", "ERROR then: later"]


def test_a_check_whose_program_is_missing_is_a_failure(node: Node) -> None:
    node.put("etc/labcloud/base/health/perl6", "#!/usr/bin/raku -w\n")
    (line,) = node.run("health").lines
    assert line.startswith("ERROR perl6: timeout: failed to run command")
