"""Why a node is configured as it is: value, layer, file and line of each that says something of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from labcloud.lab import Lab
from labcloud.model import Cluster, ClusterRef, NodeRef
from labcloud.profiles import load
from labcloud.profiles.explaining import Explained, Explaining, Origin
from labcloud.profiles.golden import DOMAIN

KEY = "hdfs-site:dfs.replication"
REF = ClusterRef("acme", "c")
BASE = "# all\nhdfs-site:dfs.replication: 1\ncore-site:my.own: base\n"
BINDING = "where: group == 'worker'\nlevel: {level}\nsettings:\n  hdfs-site:dfs.replication: {value}\n"
TENANT = "user_id: 20000\nsettings:\n  core-site:a: b\n  hdfs-site:dfs.replication: 3\nenvironment: {PROXY: t}\n"
CLUSTER = """\
profile: hadoop-3.4
provider: docker
id: 0123456789abcdef0123456789abcdef
image: x
groups:
- name: master
  count: 1
  memory: 2g
- name: worker
  count: 2
  memory: 2g
  settings:
    hdfs-site:dfs.replication: 5
  packages:
  - tree
  - jq=1.6
settings: {core-site:a: c, hdfs-site:dfs.replication: 4}
environment:
  PROXY: c
files:
  /etc/motd: {content: hello, mode: '600', owner: ada}
  /etc/issue:
    source: issue
directories:
  /srv/data:
nodes:
  worker-1:
    settings:
      hdfs-site:dfs.replication: 6
    packages: [jq=1.7]
"""
TEXTS = {
    "base/settings.yaml": BASE,
    "bindings/of-lab.yaml": BINDING.format(level="lab", value=2),
    "bindings/of-node.yaml": BINDING.format(level="node", value=7),
    "tenants/acme.yaml": TENANT,
    "clusters/acme/c.yaml": CLUSTER,
    "files/issue": "hello\n",
}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path)
    lab.change(TEXTS, "all of it")
    return lab


@pytest.fixture
def cluster(lab: Lab) -> Cluster:
    found = lab.cluster(REF)
    assert found
    return found


def explained(lab: Lab, node: str) -> dict[tuple[str, str], Explained]:
    cluster = lab.cluster(REF)
    assert cluster
    explaining = Explaining(load(cluster.profile), cluster, lab.shared("acme"), domain=DOMAIN, text=lambda path: lab.text(path) or "")
    return {(each.kind, each.name): each for each in explaining.node(NodeRef.parse(REF, node))}


def where(found: Explained) -> list[tuple[str, str, int, str]]:
    return [(each.layer, each.source, each.line, each.value) for each in found.origins if each.layer != "profile"]


def test_each_layer_is_said_with_file_and_line_the_one_that_wins_first(lab: Lab) -> None:
    found = explained(lab, "worker-1")["settings", KEY]
    assert found.value == "7"
    assert [each.layer for each in found.origins] == ["node", "node", "group", "cluster", "tenant", "lab", "profile", "base"]
    own = "clusters/acme/c.yaml"
    assert where(found) == [
        ("node", "bindings/of-node.yaml", 4, "7"),
        ("node", own, 29, "6"),
        ("group", own, 13, "5"),
        ("cluster", own, 17, "4"),
        ("tenant", "tenants/acme.yaml", 4, "3"),
        ("lab", "bindings/of-lab.yaml", 4, "2"),
        ("base", "base/settings.yaml", 2, "1"),
    ]
    for _, source, line, value in where(found):
        assert value in TEXTS[source].splitlines()[line - 1]


def test_a_node_is_not_told_what_is_said_of_others(lab: Lab) -> None:
    assert [each.layer for each in explained(lab, "master-0")["settings", KEY].origins] == ["cluster", "tenant", "profile", "base"]
    assert [each.layer for each in explained(lab, "worker-0")["settings", KEY].origins][:2] == ["node", "group"]


def test_the_profiles_line_is_that_of_the_parent_that_says_it(lab: Lab) -> None:
    found = explained(lab, "worker-0")
    folders = {each.parent.name for each in Path(load("hadoop-3.4").folders[0]).parent.glob("*/profile.yaml")}
    said = {}
    for (kind, name), each in found.items():
        for origin in each.origins:
            if kind == "settings" and origin.layer == "profile":
                file = Path(origin.source)
                assert name.partition(":")[2] in file.read_text(encoding="utf-8").splitlines()[origin.line - 1]
                said[name] = file.parent.name
    assert said[KEY] == "hadoop"
    assert {"hadoop", "hadoop-3"} <= set(said.values()) <= folders


def test_the_profiles_value_is_shown_evaluated_and_its_origin_as_it_stands(lab: Lab) -> None:
    found = explained(lab, "worker-0")["settings", "core-site:fs.defaultFS"]
    assert found.value == f"hdfs://master-0.c.acme.{DOMAIN}:8020"
    assert "{{" in found.origins[0].value
    assert len(found.origins) == 1


def test_what_the_base_alone_says(lab: Lab) -> None:
    assert explained(lab, "worker-0")["settings", "core-site:my.own"] == Explained(
        "settings", "core-site:my.own", "base", (Origin("base", "base/settings.yaml", 3, "base"),)
    )


def test_everything_else_is_explained_as_well(lab: Lab) -> None:
    found = explained(lab, "worker-1")
    own = "clusters/acme/c.yaml"
    assert where(found["environment", "PROXY"]) == [("cluster", own, 19, "c"), ("tenant", "tenants/acme.yaml", 5, "t")]
    assert where(found["files", "/etc/motd"]) == [("cluster", own, 21, "0600 ada:root 5 characters")]
    assert where(found["files", "/etc/issue"]) == [("cluster", own, 22, "0644 root:root files/issue")]
    assert where(found["directories", "/srv/data"]) == [("cluster", own, 25, "0755 root:root")]
    assert where(found["packages", "jq"]) == [("node", own, 30, "jq=1.7"), ("group", own, 16, "jq=1.6")]
    assert where(found["packages", "tree"]) == [("group", own, 15, "tree")]
    assert ("packages", "jq") not in explained(lab, "master-0")


def test_values_are_those_that_are_rendered(lab: Lab, cluster: Cluster) -> None:
    from labcloud.profiles import render
    from labcloud.profiles.formats import hadoop_xml

    tree = render(load(cluster.profile), cluster, DOMAIN, shared=lab.shared("acme"))
    for node in ("master-0", "worker-0", "worker-1"):
        found = explained(lab, node)
        for file in load(cluster.profile).settings:
            values = {name.partition(":")[2]: each.value for (_, name), each in found.items() if name.startswith(f"{file}:")}
            assert tree[f"{node}/conf/{file}.xml"] == hadoop_xml(values)


def test_a_file_that_is_not_in_its_text_any_more_is_said_with_line_one(lab: Lab, cluster: Cluster) -> None:
    explaining = Explaining(load(cluster.profile), cluster, lab.shared("acme"), domain=DOMAIN, text=lambda _: "")
    (found,) = [each for each in explaining.node(NodeRef(REF, "worker", 1)) if each.name == KEY]
    assert {each.line for each in found.origins if each.layer != "profile"} == {1}
