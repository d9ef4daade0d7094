"""Files that people write: what is wrong in them is said with its line."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labcloud.errors import ConfigError
from labcloud.lab.documents import cluster_document, dump, read_cluster
from labcloud.lab.edit import update
from labcloud.model import AtEnd, Cluster, ClusterRef, Configuration, Lease, NodeFile, NodeFolder, NodeGroup, Volume, Wanted
from tests.unit.lab.conftest import ID, make_cluster
from tests.unit.model.test_protection import terms

PATH = Path("/lab/clusters/acme/c.yaml")
GOOD = f"""\
profile: hadoop-2.7
provider: docker
id: {ID}
image: labcloud/hadoop-2.7:0a1b
user_id: 20001
groups:
- name: master
  count: 1
  memory: 2g
- {{name: worker, count: 2, memory: 1536m, cpus: 0.5, volumes: 2}}
settings:
  hdfs-site:dfs.replication: 2
  core-site:version: 2.10
  yarn-site:flag: on
publish:
  namenode: 9870
"""

printable = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_categories=("Cc", "Cs")), max_size=20)
words = st.from_regex(r"[a-z][a-z0-9]{0,6}", fullmatch=True)
cores = st.floats(0.25, 64).map(lambda each: round(each, 2))
labels = st.dictionaries(words, printable, max_size=2)
paths = st.builds("/{}/{}".format, words, words)
access = {"owner": words, "group": words, "mode": st.from_regex("[0-7]{4}", fullmatch=True)}
files = st.builds(NodeFile, content=printable, template=st.booleans(), **access) | st.builds(NodeFile, source=words, **access)
configurations = st.builds(
    Configuration, st.dictionaries(st.builds("{}-site:{}".format, words, words), printable, max_size=4),
    st.dictionaries(words, printable, max_size=2), st.dictionaries(paths, files, max_size=2),
    st.dictionaries(paths, st.builds(NodeFolder, **access), max_size=2), st.lists(words.map("a{}".format), max_size=2).map(tuple),
)  # fmt: skip
volumes = st.lists(st.builds(Volume, st.integers(1, 5000), st.just("") | words), max_size=4).map(tuple)
groups = st.lists(
    st.builds(NodeGroup, words, st.integers(0, 50), st.integers(1, 99999), cores, volumes, labels=labels, configuration=configurations),
    min_size=1, max_size=4, unique_by=lambda each: each.name,
).map(tuple)  # fmt: skip
moments = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1)).map(lambda each: each.replace(microsecond=0, tzinfo=UTC))
clusters = st.builds(
    Cluster, st.just(ClusterRef("acme", "c")), words, words, st.just(ID), words, groups,
    configurations, st.dictionaries(words, st.integers(1, 65535), max_size=3),
    st.integers(20000, 99999), st.sampled_from(Wanted), st.none() | st.builds(Lease, moments, st.sampled_from(AtEnd)), labels,
    backup=terms,
)  # fmt: skip


def test_what_people_write_is_read_as_it_stands() -> None:
    cluster = read_cluster(GOOD, ClusterRef("acme", "c"), PATH)
    assert dict(cluster.configuration.settings) == {"hdfs-site:dfs.replication": "2", "core-site:version": "2.10", "yarn-site:flag": "on"}
    assert cluster.groups == (NodeGroup("master", 1, 2048, 1.0), NodeGroup("worker", 2, 1536, 0.5, (Volume(), Volume())))
    assert (cluster.user_id, cluster.state, dict(cluster.publish)) == (20001, Wanted.RUNNING, {"namenode": 9870})


@pytest.mark.parametrize(
    ("written", "volumes"),
    [
        ("volumes: 2, volume_size: 20g", (Volume(20), Volume(20))),
        ("volume_size: 20g", (Volume(20),)),
        ("volumes: 0", ()),
        ("volumes: 2, storage: fast", (Volume(10, "fast"), Volume(10, "fast"))),
        ("volumes: [{size: 20g, storage: fast}, {}]", (Volume(20, "fast"), Volume(10))),
        ("volumes: 1x20g@fast+10g", (Volume(20, "fast"), Volume(10))),
        ("storage: default", (Volume(10),)),
    ],
)
def test_volumes_are_written_in_short_or_one_by_one(written: str, volumes: tuple[Volume, ...]) -> None:
    cluster = read_cluster(GOOD.replace("volumes: 2", written, 1), ClusterRef("acme", "c"), PATH)
    assert cluster.group("worker").volumes == volumes


def test_a_lease_is_read_in_any_zone_and_written_in_utc() -> None:
    cluster = read_cluster(GOOD + "lease: {until: 2026-11-21T20:00:00+02:00}\n", ClusterRef("acme", "c"), PATH)
    assert cluster.lease == Lease(datetime(2026, 11, 21, 18, tzinfo=UTC), AtEnd.STOP)
    assert cluster_document(cluster)["lease"] == {"until": "2026-11-21T18:00:00Z", "then": "stop"}


@given(clusters)
def test_what_is_written_is_read_the_same(cluster: Cluster) -> None:
    assert read_cluster(dump(cluster_document(cluster)), cluster.ref, PATH) == cluster


@given(clusters, clusters)
def test_an_updated_text_says_what_is_wanted(old: Cluster, new: Cluster) -> None:
    text = "# head\n" + dump(cluster_document(old)) + "# tail\n"
    assert read_cluster(update(text, cluster_document(new)), new.ref, PATH) == new


def test_keys_are_written_in_one_order() -> None:
    text = dump(cluster_document(make_cluster()))
    assert re.findall(r"^\w+", text, re.MULTILINE) == [
        "profile",
        "provider",
        "id",
        "image",
        "user_id",
        "state",
        "groups",
        "settings",
        "publish",
    ]


WRONG = [
    ("provider: docker\n", "", 1, "'provider' is missing"),
    ("provider: docker", "profile: docker", 2, "said twice"),
    ("provider: docker", "privider: docker", 2, "means nothing"),
    ("provider: docker", "provider: [docker]", 2, "one value"),
    ("provider: docker", "provider: '../x'", 2, "is not a provider"),
    (f"id: {ID}", "id: 12", 3, "hexadecimal"),
    ("image: labcloud", "image: -labcloud", 4, "is not an image"),
    ("user_id: 20001", "user_id: 0", 5, "whole number from 20000"),
    ("name: master", "name: ../up", 7, "cannot name a node"),
    ("count: 1\n", "count: 10000\n", 8, "whole number from 0 to 5000"),
    ("count: 1\n", "count: yes\n", 8, "whole number"),
    ("memory: 2g", "memory: much", 9, "amount of memory"),
    ("name: worker", "name: master", 10, "declared twice"),
    ("cpus: 0.5", "cpus: nan", 10, "number of cores"),
    ("hdfs-site:dfs.replication", "dfs.replication", 12, "is not a setting"),
    ("volumes: 2}", "volumes: 65}", 10, "more volumes than a node may have"),
    ("volumes: 2}", "volumes: [{size: 2}]}", 10, "is not a size of volumes"),
    ("volumes: 2}", "volumes: [{storage: Fast}]}", 10, "cannot name a storage class"),
    ("volumes: 2}", "volumes: [{}], storage: fast}", 10, "said twice"),
    ("settings:\n", "settings: 3\n", 12, "not YAML"),
    ("namenode: 9870", "namenode: 99999", 16, "whole number from 1"),
    ("user_id: 20001", "lease: {until: 2026-11-21T18:00:00}", 5, "is not a time"),
    ("user_id: 20001", "lease: {until: tomorrow}", 5, "is not a time"),
    ("user_id: 20001", "lease: {then: stop}", 5, "'until' is missing"),
    ("user_id: 20001", "lease: {until: 2026-11-21T18:00:00Z, then: burn}", 5, "cannot become of a cluster"),
    ("user_id: 20001", "backup: maybe", 5, "neither true nor false"),
    ("user_id: 20001", "backup: {report: {}}", 5, "'report' means nothing here"),
    ("profile: hadoop-2.7", "profile: \tx: [", 2, "not YAML"),
    ("profile: hadoop-2.7", "a: b\n---\nc: d", 2, "not YAML"),
]


@pytest.mark.parametrize(("old", "new", "line", "said"), WRONG)
def test_what_is_wrong_is_said_with_its_line(old: str, new: str, line: int, said: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        read_cluster(GOOD.replace(old, new, 1), ClusterRef("acme", "c"), PATH)
    assert caught.value.brief.startswith(f"{PATH}:")
    assert said in caught.value.brief
    assert abs(int(caught.value.brief.split(":")[1]) - line) <= ("not YAML" in said)
    assert caught.value.resolution


@pytest.mark.parametrize("text", ["", "# only a comment\n", "just text", "- a\n- b\n", "[" * 5000, "a: \x00", "\x07"])
def test_what_is_no_document_is_said(text: str) -> None:
    with pytest.raises(ConfigError, match=r"c\.yaml:\d+: "):
        read_cluster(text, ClusterRef("acme", "c"), PATH)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read_cluster(text, ClusterRef("acme", "c"), PATH)
    except ConfigError as exc:
        assert exc.brief.startswith(f"{PATH}:")
