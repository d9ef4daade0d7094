"""config set: single values, at every level; what cannot be is refused before anything is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labcloud.lab import Lab
from labcloud.model import ClusterRef, Level
from tests.unit.cli.conftest import Labcloud

REF = ClusterRef("acme", "c")
KEY = "hdfs-site:dfs.replication"
HANDLERS = "hdfs-site:dfs.datanode.handler.count"


@pytest.fixture
def lab(home: Path) -> Lab:
    return Lab(home)


def says(lab: Lab, place: str) -> dict[str, str]:
    """The settings that one level says, whatever it is."""
    cluster, shared = lab.cluster(REF), lab.shared("acme")
    assert cluster
    found = {
        "cluster": cluster.configuration, "group": cluster.group("worker").configuration, "tenant": shared.tenant, "base": shared.base,
        **{f"binding {each.name}": each.configuration for each in shared.bindings},
        **{f"node {name}": each.configuration for name, each in cluster.own.items()},
    }.get(place)  # fmt: skip
    return dict(found.settings) if found else {}


PLACES = [
    (("acme/c",), "cluster"),
    (("c", "--tenant", "acme"), "cluster"),
    (("acme/c", "--group", "worker"), "group"),
    (("acme/c", "--node", "worker-1"), "node worker-1"),
    (("--tenant", "acme"), "tenant"),
    (("--binding", "ssd"), "binding ssd"),
    (("--base",), "base"),
]


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(("options", "place"), PLACES)
def test_a_setting_is_said_at_its_place_and_unsaid_again(labcloud: Labcloud, lab: Lab, options: tuple[str, ...], place: str) -> None:
    done = labcloud("config", "set", *options, f"{KEY}=1", f"{HANDLERS}=20", "-o", "json")
    assert (done.code, done.err) == (0, "")
    facts = json.loads(done.out)
    assert facts.keys() == {"revision", "proposal", "paths", "clusters"}
    assert (facts["revision"], facts["proposal"], facts["clusters"]) == (lab.revision(), None, ["acme/c"])
    assert says(lab, place) == {KEY: "1", HANDLERS: "20"}
    assert sum(bool(says(lab, each)) for _, each in PLACES[1:]) == 1, "and nowhere else"
    assert labcloud("config", "set", *options, "--unset", HANDLERS).code == 0
    assert says(lab, place) == {KEY: "1"}
    again = labcloud("config", "set", *options, f"{KEY}=1")
    assert (again.code, again.err) == (0, "nothing changed\n")


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(("options", "place"), PLACES)
def test_the_last_setting_of_a_place_can_be_unset(labcloud: Labcloud, lab: Lab, options: tuple[str, ...], place: str) -> None:
    assert labcloud("config", "set", *options, f"{KEY}=1").code == 0
    done = labcloud("config", "set", *options, "--unset", KEY)
    assert (done.code, says(lab, place)) == (0, {}), done.err


def test_everything_else_in_the_file_and_comments_stay(labcloud: Labcloud, lab: Lab, cluster: str) -> None:
    text = (lab.text("clusters/acme/c.yaml") or "").replace("settings: {}", "# why not\nsettings: {core-site:a: x}  # mine")
    lab.change({"clusters/acme/c.yaml": text}, "by hand")
    assert labcloud("config", "set", cluster, f"{KEY}=1").code == 0
    after = lab.text("clusters/acme/c.yaml") or ""
    assert "# why not" in after
    assert "# mine" in after
    assert says(lab, "cluster") == {"core-site:a": "x", KEY: "1"}


def test_variables_and_packages(labcloud: Labcloud, lab: Lab, cluster: str) -> None:
    assert (
        labcloud(
            "config", "set", cluster, "--group", "worker", "--env", "PROXY=http://p:1?a=b", "--package", "jq", "--package", "tree=2"
        ).code
        == 0
    )
    there = lab.cluster(REF)
    assert there
    said = there.group("worker").configuration
    assert (dict(said.environment), said.packages) == ({"PROXY": "http://p:1?a=b"}, ("jq", "tree=2"))
    assert labcloud("config", "set", cluster, "--group", "worker", "--env", "PROXY=", "--package", "jq=1.6").code == 0
    there = lab.cluster(REF)
    assert there
    said = there.group("worker").configuration
    assert (dict(said.environment), set(said.packages)) == ({}, {"jq=1.6", "tree=2"})


@pytest.mark.usefixtures("cluster")
def test_a_binding_with_where(labcloud: Labcloud, lab: Lab) -> None:
    assert labcloud("config", "set", "--binding", "odd", "--where", "index % 2 == 1", f"{KEY}=1").code == 0
    (binding,) = lab.shared("acme").bindings
    assert (binding.where, binding.level) == ("index % 2 == 1", Level.LAB)
    assert labcloud("config", "set", "--binding", "odd", "--where", "").code == 0
    assert lab.shared("acme").bindings[0].where == ""


def test_the_log_has_what_was_set_and_why(labcloud: Labcloud, lab: Lab, cluster: str) -> None:
    labcloud("config", "set", cluster, f"{KEY}=1")
    assert lab.log()[0].reason == f"set {KEY} in clusters/acme/c.yaml"
    labcloud("config", "set", cluster, f"{KEY}=2", "--reason", "two copies are enough")
    assert lab.log()[0].reason == "two copies are enough"
    assert [each["verb"] for each in json.loads(labcloud("operation", "list", "-o", "json").out)].count("config set") == 2


@pytest.mark.parametrize("options", [("acme/c",), ("--base",), ("--tenant", "acme"), ("--binding", "b"), ("acme/c", "--node", "worker-0")])
def test_a_name_that_nobody_knows_is_told_with_the_nearest(labcloud: Labcloud, cluster: str, options: tuple[str, ...]) -> None:
    done = labcloud("config", "set", *options, "hdfs-site:dfs.replicaton=1")
    assert done.code == 0
    assert "knows no setting dfs.replicaton; did you mean hdfs-site:dfs.replication?" in done.err.splitlines()[0]


REFUSED = [
    ((), "say one place to set it"),
    (("acme/c", "acme/d"), "say one place to set it"),
    (("acme/c", "--base"), "say one place to set it"),
    (("acme/c", "--binding", "b"), "say one place to set it"),
    (("--tenant", "acme", "--base"), "say one place to set it"),
    (("--binding", "b", "--base"), "say one place to set it"),
    (("--base", "--group", "worker"), "--group and --node are of one cluster"),
    (("--tenant", "acme", "--node", "worker-0"), "--group and --node are of one cluster"),
    (("acme/c", "--group", "worker", "--node", "worker-0"), "--group and --node are of one cluster"),
    (("acme/c", "--where", "index == 0"), "--where is for a binding"),
    (("--base", "--env", "A=b"), "base/environment"),
    (("acme/c", "--env", "A"), "not of the form NAME=VALUE"),
    (("acme/c", "--env", "1A=b"), "not the name of an environment variable"),
    (("acme/c", "--env", "LABCLOUD_TENANT=eve"), "labcloud's own"),
    (("acme/c", "--package", "jq; reboot"), "not a Debian package"),
    (("acme/c", "--unset", "dfs.replication"), "write FILE:NAME"),
    (("acme/c", "dfs.replication=1"), "write FILE:NAME"),
    (("acme/c", "hbase-site:a=1"), "no settings file 'hbase-site'"),
]


@pytest.mark.parametrize(("options", "said"), REFUSED)
def test_what_cannot_be_said_is_refused(labcloud: Labcloud, lab: Lab, cluster: str, options: tuple[str, ...], said: str) -> None:
    before = lab.revision()
    value = () if any("=" in each for each in options) else (f"{KEY}=1",)
    done = labcloud("config", "set", *options, *value)
    assert done.code == 2
    assert said in done.err
    assert lab.revision() == before


def test_nothing_to_set_is_refused(labcloud: Labcloud, cluster: str) -> None:
    done = labcloud("config", "set", cluster)
    assert (done.code, "nothing to set was named" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("acme/none",), "acme/none"),
        (("acme/c", "--group", "gateway"), "its groups: master, worker"),
        (("acme/c", "--node", "worker-9"), "has no node 'worker-9'"),
        (("--tenant", "blue"), "there is no tenant blue"),
    ],
)
def test_what_is_not_there_is_said(labcloud: Labcloud, lab: Lab, cluster: str, options: tuple[str, ...], said: str) -> None:
    before = lab.revision()
    done = labcloud("config", "set", *options, f"{KEY}=1")
    assert done.code == 4
    assert said in done.err
    assert lab.revision() == before


@pytest.mark.parametrize("options", [each for each, _ in PLACES])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("hdfs-site:dfs.replication=two", "'two' is not a whole number"),
        ("hdfs-site:dfs.permissions.enabled=yes", "'yes' is not true or false"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_everywhere(
    labcloud: Labcloud, lab: Lab, cluster: str, options: tuple[str, ...], value: str, said: str
) -> None:
    before = lab.revision()
    done = labcloud("config", "set", *options, value)
    assert (done.code, said in done.err) == (2, True)
    assert lab.revision() == before


@pytest.mark.parametrize("where", ["group ==", "grp == 'worker'"])
@pytest.mark.usefixtures("cluster")
def test_a_where_that_cannot_be_evaluated_is_refused(labcloud: Labcloud, lab: Lab, where: str) -> None:
    before = lab.revision()
    done = labcloud("config", "set", "--binding", "b", "--where", where, f"{KEY}=1")
    assert done.code in (2, 3)
    assert lab.revision() == before


# Right away


def test_what_is_set_can_be_applied_right_away(labcloud: Labcloud, cluster: str) -> None:
    done = labcloud("config", "set", cluster, f"{HANDLERS}=20", "--apply", "-o", "json")
    facts = json.loads(done.out)
    assert done.code == 0
    assert facts["restarted"] == ["datanode on worker-0", "datanode on worker-1"]
    assert "changed clusters/acme/c.yaml at " in done.err
    assert json.loads(labcloud("config", "drift", cluster, "-o", "json").out) == {"drift": [], "adopted": []}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--gray", "50%,10%"), "do not grow to 100%"),
        (("--gray", "10%,50%"), "do not grow to 100%"),
        (("--pause", "10m"), "--pause is for a release in steps"),
        (("--check", "yarn.sick == 0"), "the check cannot be evaluated"),
        (("--gray", "half"), "no share of the nodes"),
    ],
)
def test_a_pace_that_cannot_be_is_refused_before_anything_is_changed(
    labcloud: Labcloud, lab: Lab, cluster: str, options: tuple[str, ...], said: str
) -> None:
    before = lab.revision()
    done = labcloud("config", "set", cluster, f"{HANDLERS}=20", "--apply", *options)
    assert (done.code, said in done.err) == (2, True)
    assert lab.revision() == before


def test_data_is_printed_where_nothing_had_to_be_done_too(labcloud: Labcloud, cluster: str) -> None:
    labcloud("config", "set", cluster, f"{HANDLERS}=20", "--apply")
    done = labcloud("config", "set", cluster, f"{HANDLERS}=20", "--apply", "-o", "json")
    assert done.code == 0
    assert json.loads(done.out) is not None


def test_a_stopped_cluster_is_not_started_by_a_change(labcloud: Labcloud, cluster: str) -> None:
    assert labcloud("stop", cluster).code == 0
    done = labcloud("config", "set", cluster, f"{HANDLERS}=20", "--apply", "-o", "json")
    assert (done.code, json.loads(done.out)) == (0, [])
