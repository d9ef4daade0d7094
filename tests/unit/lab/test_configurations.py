"""Configurations in files of clusters, tenants, bindings and the base: read as written, and refused with the line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labcloud.errors import ConfigError, UsageError
from labcloud.lab import Lab, configurations
from labcloud.lab.configurations import configuration_document, read_base, read_binding
from labcloud.lab.documents import cluster_document, dump, read_cluster
from labcloud.lab.readers import check
from labcloud.lab.tenants import read_tenant, tenant_document
from labcloud.model import Binding, Configuration, Level, NodeFile, NodeFolder, NodeOverride, Tenant
from tests.unit.lab.conftest import make_cluster
from tests.unit.lab.test_documents import configurations as some
from tests.unit.lab.test_documents import labels

PATH = Path("/lab/bindings/ssd.yaml")
GOOD = """\
title: Nodes with fast disks
level: cluster
where: labels.disk == 'ssd'
settings:
  hdfs-site:dfs.replication: 2
  core-site:version: 2.10
environment:
  PROXY: http://proxy:3128
files:
  /etc/motd: {content: "hello\\n", mode: '600', owner: ada, group: users}
  /etc/issue:
    source: issue.j2
    template: true
directories:
  /srv/data: {owner: ada, mode: '1777'}
  /srv/more:
packages:
- jq
- tree=2.1.0-1
"""

bindings = st.builds(
    Binding, st.just("ssd"), some, st.sampled_from([level for level in Level if level is not Level.BASE]), st.text("abc =='.", max_size=20)
)
overrides = st.builds(NodeOverride, st.none() | st.integers(1, 99999), st.none() | st.sampled_from([0.5, 2.0]), labels, some)


def test_a_binding_is_read_as_it_stands() -> None:
    found = read_binding(GOOD, "ssd", PATH)
    assert (found.name, found.level, found.where) == ("ssd", Level.CLUSTER, "labels.disk == 'ssd'")
    assert dict(found.configuration.settings) == {"hdfs-site:dfs.replication": "2", "core-site:version": "2.10"}
    assert dict(found.configuration.environment) == {"PROXY": "http://proxy:3128"}
    assert dict(found.configuration.files) == {
        "/etc/motd": NodeFile(content="hello\n", mode="0600", owner="ada", group="users"),
        "/etc/issue": NodeFile(source="issue.j2", template=True),
    }
    assert dict(found.configuration.directories) == {"/srv/data": NodeFolder("ada", mode="1777"), "/srv/more": NodeFolder()}
    assert found.configuration.packages == ("jq", "tree=2.1.0-1")


def test_a_binding_is_the_labs_and_for_all_nodes_unless_it_says_so() -> None:
    assert read_binding("packages: [jq]\n", "jq", PATH) == Binding("jq", Configuration(packages=("jq",)), Level.LAB, "")


@given(bindings)
def test_what_is_written_of_a_binding_is_read_the_same(binding: Binding) -> None:
    text = dump({"level": str(binding.level), "where": binding.where, **configuration_document(binding.configuration)})
    assert read_binding(text, "ssd", PATH) == binding


@given(some)
def test_what_a_tenant_says_is_read_the_same(configuration: Configuration) -> None:
    tenant = Tenant("acme", 20000, configuration=configuration)
    assert read_tenant(dump(tenant_document(tenant)), "acme", PATH) == tenant


@given(st.dictionaries(st.sampled_from(["master-0", "worker-0", "worker-1"]), overrides, max_size=3))
def test_what_nodes_have_of_their_own_is_read_the_same(own: dict[str, NodeOverride]) -> None:
    cluster = make_cluster(own=own)
    assert read_cluster(dump(cluster_document(cluster)), cluster.ref, PATH) == cluster


@given(some)
def test_what_is_not_said_is_not_written(configuration: Configuration) -> None:
    document = configuration_document(configuration)
    assert all(document.values())
    assert bool(document) == bool(configuration)


WRONG = [
    ("title:", "headline:", 1, "'headline' means nothing here"),
    ("level: cluster", "level: base", 2, "'base' is no level of a binding"),
    ("level: cluster", "level: galaxy", 2, "'galaxy' is no level of a binding"),
    ("where: labels.disk == 'ssd'", "where: [a, b]", 3, "one value is expected"),
    ("hdfs-site:dfs.replication", "dfs.replication", 5, "write FILE:NAME"),
    ("hdfs-site:dfs.replication", "hdfs-site:", 5, "write FILE:NAME"),
    ("core-site:version", "hdfs-site:dfs.replication", 6, "said twice"),
    ("core-site:version: 2.10", "core-site:version: [1]", 6, "one value is expected"),
    ("PROXY:", "1PROXY:", 8, "not the name of an environment variable"),
    ("PROXY:", "LABCLOUD_TENANT:", 8, "labcloud's own"),
    ("PROXY:", "SERVICE_OPTS:", 8, "labcloud's own"),
    ("http://proxy:3128", '"a\\nb"', 8, "more than one line"),
    ("/etc/motd", "etc/motd", 10, "not an absolute path"),
    ("/etc/motd", "/etc/../etc/motd", 10, "not the shortest form of a path"),
    ("/etc/motd", "/etc/motd/", 10, "not the shortest form of a path"),
    ("mode: '600'", "mode: '800'", 10, "not a mode"),
    ("mode: '600'", "mode: rw", 10, "not a mode"),
    ("owner: ada, group", "owner: Ada, group", 10, "not an OS user or group"),
    ("group: users", "group: a b", 10, "not an OS user or group"),
    ('content: "hello\\n"', "source: a, content: b", 10, "either content or a source"),
    ('content: "hello\\n", ', "", 10, "either content or a source"),
    ('content: "hello\\n"', "text: hello", 10, "'text' means nothing here"),
    ("source: issue.j2", "source: ../issue.j2", 12, "not a file below"),
    ("source: issue.j2", "source: a/../../issue.j2", 12, "leads out of"),
    ("source: issue.j2", "source: /etc/passwd", 12, "not a file below"),
    ("template: true", "template: yes", 13, "neither true nor false"),
    ("/srv/data: {owner: ada", "/srv/data: {content: ada", 15, "means nothing here"),
    ("/srv/more:", "/srv/more: 0755", 16, "'key: value' lines are expected"),
    ("- jq", "- JQ", 18, "not a Debian package"),
    ("- jq", "- jq; reboot", 18, "not a Debian package"),
    ("tree=2.1.0-1", "tree=", 19, "not a Debian package"),
    ("tree=2.1.0-1", "-y", 19, "not a Debian package"),
]


@pytest.mark.parametrize(("old", "new", "line", "said"), WRONG)
def test_what_is_wrong_is_said_with_its_line(old: str, new: str, line: int, said: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        read_binding(GOOD.replace(old, new, 1), "ssd", PATH)
    assert caught.value.brief.startswith(f"{PATH}:{line}: ")
    assert said in caught.value.brief
    assert caught.value.resolution


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("nodes:\n  worker-9x: {}\n", 2, "cannot name a node"),
        ("nodes:\n  gateway-0: {memory: 1g}\n", 2, "is a node of no group here"),
        ("nodes:\n  worker-0: {storage: fast}\n", 2, "'storage' means nothing here"),
        ("nodes:\n  worker-0:\n    memory: much\n", 3, "amount of memory"),
        ("nodes:\n  worker-0:\n    settings: {dfs.replication: 1}\n", 3, "write FILE:NAME"),
        ("labels:\n  a b: c\n", 2, "is not a label"),
    ],
)
def test_what_is_wrong_in_a_clusters_file_is_said_with_its_line(text: str, line: int, said: str) -> None:
    cluster = make_cluster()
    head = dump(cluster_document(cluster))
    with pytest.raises(ConfigError) as caught:
        read_cluster(head + text, cluster.ref, PATH)
    assert caught.value.brief.startswith(f"{PATH}:{head.count(chr(10)) + line}: ")
    assert said in caught.value.brief


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (lambda: read_binding(text, "ssd", PATH), lambda: read_base(text, PATH)):
        try:
            read()
        except ConfigError as exc:
            assert exc.brief.startswith(f"{PATH}:")


# The base


def test_the_base_says_settings_alone() -> None:
    assert read_base("# all\nhdfs-site:dfs.replication: 2\n", PATH) == Configuration(settings={"hdfs-site:dfs.replication": "2"})


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("settings:\n  a: b\n", 1, "write FILE:NAME"),
        ("core-site:a: 1\ncore-site:a: 2\n", 2, "said twice"),
        ("- a\n", 1, "'key: value' lines"),
        ("# nothing\n", 1, "says nothing"),
    ],
)
def test_what_is_wrong_in_the_base_is_said_with_its_line(text: str, line: int, said: str) -> None:
    with pytest.raises(ConfigError, match=rf":{line}: ") as caught:
        read_base(text, PATH)
    assert said in caught.value.brief


# Words


@pytest.mark.parametrize("text", ["hdfs-site:dfs.replication", "core-site:a", "ssl-client:x.y-z"])
def test_what_names_a_setting(text: str) -> None:
    assert configurations.setting(text) == text


@pytest.mark.parametrize("text", ["", ":", "a", "a:", ":a", "a: b", "A:b", "a::b", "../x:y", "a:b c", "a:b\n"])
def test_what_names_no_setting(text: str) -> None:
    with pytest.raises(UsageError, match="is not a setting"):
        configurations.setting(text)


@pytest.mark.parametrize("text", ["/", "/a\nb", "/a\tb", "a", "", "~/a", "/a//b", "/a/.", "/a/./b"])
def test_what_is_no_path_on_nodes(text: str) -> None:
    with pytest.raises(UsageError):
        configurations.node_path(text)


# In a lab


def test_a_lab_reads_what_all_clusters_share(lab: Lab) -> None:
    lab.ensure_tenant("acme")
    text = lab.text("tenants/acme.yaml") or ""
    lab.change(
        {
            "base/settings.yaml": "core-site:a: base\n",
            "bindings/b.yaml": "where: index == 0\nsettings: {core-site:a: b}\n",
            "bindings/a.yaml": "settings: {core-site:a: a}\n",
            "tenants/acme.yaml": text + "settings: {core-site:a: tenant}\n",
            "files/deep/motd": "hello\n",
            "base/log4j.properties": "log4j.logger.a=DEBUG\n",
        },
        "all of it",
    )
    shared = lab.shared("acme")
    assert dict(shared.base.settings) == {"core-site:a": "base"}
    assert [(each.name, each.where) for each in shared.bindings] == [("a", ""), ("b", "index == 0")], "in order of their names"
    assert dict(shared.tenant.settings) == {"core-site:a": "tenant"}
    assert dict(shared.sources) == {"deep/motd": "hello\n"}
    assert shared.log4j == "log4j.logger.a=DEBUG\n"
    assert not lab.shared("blue").tenant


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("bindings/x.yaml", "where: a\nnothing: b\n"),
        ("base/settings.yaml", "dfs.replication: 2\n"),
        ("tenants/acme.yaml", "user_id: 20000\nenvironment: {A B: c}\n"),
    ],
)
def test_what_does_not_read_well_is_not_written(lab: Lab, path: str, text: str) -> None:
    lab.ensure_tenant("blue")
    before = lab.revision()
    with pytest.raises(ConfigError, match=rf"{path}:\d: "):
        lab.change({path: text}, "wrong")
    assert (lab.revision(), lab.text(path)) == (before, None)
    with pytest.raises(ConfigError):
        check(path, text, Path(path))
