"""Which layers hold for a node, and which of them wins; where labels and expressions choose nodes."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations
from xml.etree import ElementTree as ET

import pytest

from labcloud.errors import ConfigError, UsageError
from labcloud.model import (
    MAX_NODES,
    Binding,
    Cluster,
    Configuration,
    Level,
    NodeFile,
    NodeFolder,
    NodeGroup,
    NodeOverride,
    NodeRef,
    Shared,
    Volume,
)
from labcloud.profiles import load, render
from labcloud.profiles.golden import DOMAIN, sample
from labcloud.profiles.layering import Layering, merged

PROFILE = load("hadoop-2.7")
PLAIN = sample(PROFILE)
KEY = "hdfs-site:dfs.replication"
LAYERS = (
    "base", "profile", "lab binding", "tenant", "tenant binding", "cluster", "cluster binding", "group", "group binding", "node",
    "node binding",
)  # fmt: skip


def says(value: str) -> Configuration:
    return Configuration(settings={KEY: value})


def lab_of(said: Iterable[str]) -> tuple[Cluster, Shared]:
    """A cluster and a lab of which each layer in ``said`` says its place in LAYERS."""
    values = {name: says(str(LAYERS.index(name))) for name in said}
    silent = Configuration()
    bindings = tuple(
        Binding(f"of-{level}", values[f"{level} binding"], level) for level in reversed(list(Level)) if f"{level} binding" in values
    )
    groups = tuple(replace(each, configuration=values.get("group", silent)) for each in PLAIN.groups)
    own = {"worker-0": NodeOverride(configuration=values["node"])} if "node" in values else {}
    cluster = replace(PLAIN, groups=groups, own=own, configuration=values.get("cluster", silent))
    return cluster, Shared(base=values.get("base", silent), bindings=bindings, tenant=values.get("tenant", silent))


def replication(cluster: Cluster, shared: Shared, node: str = "worker-0") -> str | None:
    return value_of(render(PROFILE, cluster, DOMAIN, shared=shared), node, "hdfs-site", "dfs.replication")


def value_of(tree: dict[str, str], node: str, file: str, name: str) -> str | None:
    root = ET.fromstring(tree[f"{node}/conf/{file}.xml"].encode())  # noqa: S314
    return next((each.findtext("value") for each in root if each.findtext("name") == name), None)


@pytest.mark.parametrize(("lower", "higher"), list(combinations([name for name in LAYERS if name != "profile"], 2)))
def test_of_two_layers_the_later_one_wins(lower: str, higher: str) -> None:
    expected = str(LAYERS.index(higher))
    assert replication(*lab_of([lower, higher])) == expected
    assert replication(*lab_of([higher, lower])) == expected


def test_the_profile_wins_over_the_base_alone() -> None:
    own = replication(PLAIN, Shared())
    assert own is not None
    assert replication(*lab_of(["base"])) == own
    assert replication(*lab_of(["lab binding"])) == str(LAYERS.index("lab binding"))


def test_the_base_says_what_no_profile_does() -> None:
    shared = Shared(base=Configuration(settings={"core-site:my.own": "x", "hbase-site:of.another.profile": "y"}))
    tree = render(PROFILE, PLAIN, DOMAIN, shared=shared)
    assert value_of(tree, "master-0", "core-site", "my.own") == "x"
    assert not [path for path in tree if "hbase" in path]


def test_settings_that_follow_others_follow_the_layers() -> None:
    tree = render(PROFILE, *lab_of(["node"])[:1], DOMAIN, shared=lab_of(["node"])[1])
    follows = ("mapred-site", "mapreduce.client.submit.file.replication")
    assert value_of(tree, "worker-0", *follows) == str(LAYERS.index("node"))
    assert value_of(tree, "worker-1", *follows) != str(LAYERS.index("node"))


def test_layers_say_who_said_it_and_where() -> None:
    cluster, shared = lab_of(LAYERS)
    layers = Layering(PROFILE, cluster, shared).of(NodeRef(cluster.ref, "worker", 0))
    own = "clusters/acme/lab.yaml"
    assert [(each.level, each.source, each.place) for each in layers] == [
        (Level.LAB, "bindings/of-lab.yaml", ()),
        (Level.TENANT, "tenants/acme.yaml", ()),
        (Level.TENANT, "bindings/of-tenant.yaml", ()),
        (Level.CLUSTER, own, ()),
        (Level.CLUSTER, "bindings/of-cluster.yaml", ()),
        (Level.GROUP, own, ("groups", "1")),
        (Level.GROUP, "bindings/of-group.yaml", ()),
        (Level.NODE, own, ("nodes", "worker-0")),
        (Level.NODE, "bindings/of-node.yaml", ()),
    ]


def test_bindings_of_one_level_go_by_their_order() -> None:
    bindings = tuple(Binding(name, says(value)) for name, value in (("a", "1"), ("b", "2")))
    assert replication(PLAIN, Shared(bindings=bindings)) == "2"


def test_what_is_said_of_a_node_or_a_group_is_of_no_other() -> None:
    cluster, shared = lab_of(["node"])
    assert replication(cluster, shared, "worker-1") == replication(PLAIN, Shared())
    groups = (PLAIN.groups[0], replace(PLAIN.groups[1], configuration=says("7")))
    assert replication(replace(PLAIN, groups=groups), Shared(), "master-0") == replication(PLAIN, Shared())


# Where


def chosen(where: str, cluster: Cluster = PLAIN) -> list[str]:
    """The nodes for which a binding holds."""
    layering = Layering(PROFILE, cluster, Shared(bindings=(Binding("b", says("9"), where=where),)))
    return [ref.name for ref in cluster.nodes() if layering.of(ref)]


@pytest.mark.parametrize(
    ("where", "nodes"),
    [
        ("", ["master-0", "worker-0", "worker-1"]),
        ("group == 'worker'", ["worker-0", "worker-1"]),
        ("node == 'worker-1'", ["worker-1"]),
        ("index % 2 == 1", ["worker-1"]),
        ("tenant == 'acme' and cluster == 'lab' and group == 'master'", ["master-0"]),
        ("profile == 'hadoop-2.7' and version == '2.7.7' and provider == 'docker' and index == 0", ["master-0", "worker-0"]),
        ("tenant == 'blue'", []),
        ("labels.disk == 'ssd'", ["worker-0", "worker-1"]),
        ("labels.disk == 'hdd'", ["master-0"]),
        ("labels.rack == 'r2'", ["worker-1"]),
        ("labels.rack == ''", ["master-0", "worker-0"]),
        ("labels['rack'] != 'r2'", ["master-0", "worker-0"]),
        ("labels.rack", ["worker-1"]),
        ("not labels.rack", ["master-0", "worker-0"]),
    ],
)
def test_where_chooses_nodes(where: str, nodes: list[str]) -> None:
    groups = (PLAIN.groups[0], replace(PLAIN.groups[1], labels={"disk": "ssd"}))
    cluster = replace(PLAIN, labels={"disk": "hdd"}, groups=groups, own={"worker-1": NodeOverride(labels={"rack": "r2"})})
    assert chosen(where, cluster) == nodes


@pytest.mark.parametrize("name", ["items", "get", "values"])
def test_a_label_may_have_any_name(name: str) -> None:
    assert chosen(f"labels.{name} == 'x'", replace(PLAIN, labels={name: "x"})) == ["master-0", "worker-0", "worker-1"]


@pytest.mark.parametrize("where", ["groups == 'worker'", "group ==", "index / 0 == 1", "labels.a.b.c == 1", "__import__('os')", "[].x()"])
def test_what_cannot_be_evaluated_is_an_error_of_the_bindings_file(where: str) -> None:
    with pytest.raises(ConfigError, match=r"^bindings/b\.yaml: where: ") as caught:
        chosen(where)
    assert "group" in caught.value.resolution


# What layers say together


def test_all_kinds_are_merged_and_packages_by_their_names() -> None:
    first = Configuration(
        {"a:x": "1", "a:y": "1"}, {"A": "1"}, {"/a": NodeFile("1"), "/b": NodeFile("1")}, {"/d": NodeFolder()}, ("jq", "tree=1")
    )
    second = Configuration({"a:x": "2"}, {"B": "2"}, {"/a": NodeFile("2")}, {"/d": NodeFolder(mode="0700")}, ("jq=2", "vim"))
    cluster = replace(PLAIN, configuration=second)
    layers = Layering(PROFILE, cluster, Shared(tenant=first)).of(NodeRef(PLAIN.ref, "worker", 0))
    assert merged(layers) == Configuration(
        {"a:x": "2", "a:y": "1"}, {"A": "1", "B": "2"}, {"/a": NodeFile("2"), "/b": NodeFile("1")}, {"/d": NodeFolder(mode="0700")},
        ("jq=2", "tree=1", "vim"),
    )  # fmt: skip


def test_variables_reach_the_nodes_and_labclouds_own_stay() -> None:
    said = Configuration(environment={"PROXY": "http://p:1", "LABCLOUD_TENANT": "eve"})
    env = render(PROFILE, replace(PLAIN, configuration=said), DOMAIN)["worker-0/node.env"]
    assert "PROXY=http://p:1\n" in env
    assert "LABCLOUD_TENANT=acme\n" in env


def test_lines_for_log4j_stand_after_the_profiles() -> None:
    tree = render(PROFILE, PLAIN, DOMAIN, shared=Shared(log4j="log4j.logger.my=DEBUG\n"))
    plain = render(PROFILE, PLAIN, DOMAIN)
    assert tree["master-0/conf/log4j.properties"] == plain["master-0/conf/log4j.properties"] + "log4j.logger.my=DEBUG\n"


def test_a_setting_of_a_file_that_the_profile_has_not_is_refused() -> None:
    with pytest.raises(UsageError, match="no settings file 'hbase-site'"):
        render(PROFILE, replace(PLAIN, own={"worker-1": NodeOverride(configuration=Configuration({"hbase-site:a": "1"}))}), DOMAIN)


# Sizes


def test_a_node_with_memory_of_its_own_has_heaps_and_yarn_memory_of_its_own() -> None:
    tree = render(PROFILE, replace(PLAIN, own={"worker-1": NodeOverride(memory=8192)}), DOMAIN)
    plain = render(PROFILE, PLAIN, DOMAIN)
    yarn = ("yarn-site", "yarn.nodemanager.resource.memory-mb")
    same, more = (int(value_of(tree, node, *yarn) or 0) for node in ("worker-0", "worker-1"))
    assert same == int(value_of(plain, "worker-0", *yarn) or 0) < more
    assert tree["worker-1/services/datanode"] != plain["worker-1/services/datanode"]
    unlike = {path for path in plain if tree[path] != plain[path]}
    assert {path.partition("/")[0] for path in unlike} == {"worker-1"}


def test_a_node_that_is_too_small_is_refused_by_its_name_or_group() -> None:
    with pytest.raises(UsageError, match="worker"):
        render(PROFILE, replace(PLAIN, own={"worker-1": NodeOverride(memory=64)}), DOMAIN)


# Many


def many(own: dict[str, NodeOverride] | None = None) -> Cluster:
    master, worker = PLAIN.groups
    groups = (master, NodeGroup("worker", MAX_NODES - 1, worker.memory, worker.cpus, (Volume(),)))
    return replace(PLAIN, groups=groups, own=own or {})


PARITY = Shared(bindings=(Binding("odd", says("1"), where="index % 2 == 1"),))
EACH = {f"worker-{index}": NodeOverride(configuration=says(str(index % 500 + 1))) for index in range(MAX_NODES - 1)}


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("own", "shared", "seconds", "values"),
    [({}, Shared(), 3, 1), ({}, PARITY, 3, 2), (EACH, Shared(), 12, 500)],
    ids=["plain", "a binding", "each its own"],
)
def test_thousands_of_nodes_are_rendered_quickly(own: dict[str, NodeOverride], shared: Shared, seconds: float, values: int) -> None:
    cluster = many(own)
    began = time.process_time()
    tree = render(PROFILE, cluster, DOMAIN, shared=shared)
    took = time.process_time() - began
    texts = {id(tree[f"{ref.name}/conf/hdfs-site.xml"]): tree[f"{ref.name}/conf/hdfs-site.xml"] for ref in cluster.nodes("worker")}
    assert len(set(texts.values())) == values
    assert replication_in(texts.values()) >= {"1"} if values > 1 else True
    assert took < 4 * seconds, "four times what it takes on a machine that has nothing else to do"


def replication_in(texts: Iterable[str]) -> set[str | None]:
    return {value_of({"n/conf/hdfs-site.xml": text}, "n", "hdfs-site", "dfs.replication") for text in texts}
