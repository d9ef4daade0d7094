"""config show and config diff: what is configured, and why; what differs."""

from __future__ import annotations

import json

import pytest

from tests.unit.cli.conftest import Labcloud

KEY = "hdfs-site:dfs.replication"


@pytest.fixture
def layered(labcloud: Labcloud, cluster: str) -> str:
    """A cluster of which several layers say something."""
    for options in (
        ("--base", f"{KEY}=1"),
        ("--tenant", "acme", f"{KEY}=3"),
        (cluster, f"{KEY}=4", "--env", "PROXY=p", "--package", "jq=1.6"),
        (cluster, "--node", "worker-1", f"{KEY}=6"),
        ("--binding", "last", "--where", "node == 'worker-1'", f"{KEY}=2"),
    ):
        assert labcloud("config", "set", *options).code == 0
    return cluster


def test_each_layer_is_shown_with_file_and_line(labcloud: Labcloud, layered: str) -> None:
    done = labcloud("config", "show", layered, "dfs.replication", "--node", "worker-1", "--explain", "-o", "json")
    ((node, (found,)),) = json.loads(done.out).items()
    assert (done.code, node) == (0, "worker-1")
    assert found.keys() == {"kind", "name", "value", "origins"}
    assert (found["kind"], found["name"], found["value"]) == ("settings", KEY, "6")
    assert [(each["layer"], each["value"]) for each in found["origins"] if each["layer"] != "profile"] == [
        ("node", "6"), ("cluster", "4"), ("tenant", "3"), ("lab", "2"), ("base", "1"),
    ]  # fmt: skip
    assert {each["source"] for each in found["origins"]} >= {"clusters/acme/c.yaml", "tenants/acme.yaml", "bindings/last.yaml"}
    assert found["origins"][0].keys() == {"layer", "source", "line", "value"}


def test_the_table_says_value_layer_and_place(labcloud: Labcloud, layered: str) -> None:
    lines = [
        line.split() for line in labcloud("config", "show", layered, "dfs.replication", "--explain", "--node", "worker-1").out.splitlines()
    ]
    assert lines[:2] == [["worker-1"], ["NAME", "VALUE", "LAYER", "SAID", "IN"]]
    assert lines[2][:3] == [KEY, "6", "node"]
    assert lines[2][3].startswith("clusters/acme/c.yaml:")
    assert lines[3][:2] == ["(4)", "cluster"]
    assert ["(1)", "base", "base/settings.yaml:1"] in lines
    short = labcloud("config", "show", layered, "dfs.replication", "--node", "worker-1").out.splitlines()
    assert len([line for line in short if line]) == 3, "without --explain, what wins alone"


def test_the_first_node_of_each_group_is_shown(labcloud: Labcloud, layered: str) -> None:
    found = json.loads(labcloud("config", "show", layered, "-o", "json").out)
    assert list(found) == ["master-0", "worker-0"]
    kinds = [each["kind"] for each in found["worker-0"]]
    assert {"settings", "environment", "packages"} <= set(kinds)
    assert [each["value"] for each in found["worker-0"] if each["kind"] != "settings"] == ["p", "jq=1.6"]


@pytest.mark.parametrize(("pattern", "names"), [("dfs.replicatio?", [KEY]), (KEY, [KEY]), ("PROXY", ["PROXY"]), ("jq", ["jq"])])
def test_names_and_patterns_choose(labcloud: Labcloud, layered: str, pattern: str, names: list[str]) -> None:
    found = json.loads(labcloud("config", "show", layered, pattern, "--node", "worker-0", "-o", "json").out)
    assert [each["name"] for each in found["worker-0"]] == names


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("acme/c", "no.such"), "nothing of acme/c is named no.such"),
        (("acme/c", "--node", "worker-9"), "its nodes: master-0, worker-0, worker-1"),
        (("acme/none",), "acme/none"),
    ],
)
@pytest.mark.usefixtures("cluster")
def test_what_is_not_there_is_said(labcloud: Labcloud, argv: tuple[str, ...], said: str) -> None:
    done = labcloud("config", "show", *argv)
    assert (done.code, said in done.err) == (4, True)


# Differences


def files(labcloud: Labcloud, *argv: str) -> list[tuple[str, list[str]]]:
    done = labcloud("config", "diff", *argv, "-o", "json")
    assert done.code == 0
    found = json.loads(done.out)
    return [(each["path"], each["nodes"]) for each in (found if isinstance(found, list) else found["acme/c"])]


def test_what_nodes_have_and_what_is_wanted(labcloud: Labcloud, cluster: str) -> None:
    assert files(labcloud, cluster) == []
    assert labcloud("config", "diff", cluster).err == "nothing differs\n"
    labcloud("config", "set", cluster, "--node", "worker-1", f"{KEY}=1")
    assert ("conf/hdfs-site.xml", ["worker-1"]) in files(labcloud, cluster)
    assert files(labcloud, cluster, "--node", "worker-0") == []
    out = labcloud("config", "diff", cluster).out
    assert "==> conf/hdfs-site.xml  (worker-1)" in out
    assert "+++ wanted/conf/hdfs-site.xml" in out
    labcloud("config", "apply", cluster)
    assert files(labcloud, cluster) == []


def test_two_revisions(labcloud: Labcloud, cluster: str) -> None:
    labcloud("config", "set", "--base", "core-site:my.own=1")
    everywhere = ["master-0", "worker-0", "worker-1"]
    assert files(labcloud, "HEAD~1..HEAD") == [("conf/core-site.xml", everywhere)]
    assert files(labcloud, "HEAD~1..", cluster) == [("conf/core-site.xml", everywhere)]
    assert files(labcloud, "HEAD..HEAD", cluster) == []
    for argv, code in ((("..HEAD",), 2), (("HEAD~1..HEAD", "acme/none"), 4)):
        assert labcloud("config", "diff", *argv).code == code


def test_two_clusters(labcloud: Labcloud, cluster: str) -> None:
    assert labcloud("create", "hadoop-2.7", "--tenant", "acme", "--name", "d", "--provider", "simulated", "--workers", "1").code == 0
    labcloud("config", "set", "acme/d", "--group", "worker", "core-site:my.own=1")
    found = dict(files(labcloud, cluster, "acme/d"))
    assert "master" in found["conf/core-site.xml"] or "worker" in found["conf/core-site.xml"]
    assert "+++ acme/d/conf/core-site.xml" in labcloud("config", "diff", cluster, "acme/d").out
    assert files(labcloud, cluster, cluster) == []
