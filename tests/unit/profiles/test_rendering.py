"""What a cluster's own wishes do to the rendered files."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labcloud.errors import UsageError
from labcloud.model import Configuration, Member, NodeGroup, Shared, StorageClass, Volume
from labcloud.model.storage import Media
from labcloud.profiles import load, render
from labcloud.profiles.formats import unrepresentable
from labcloud.profiles.golden import DOMAIN, sample

PROFILE = load("hadoop-2.7")
CLUSTER = sample(PROFILE)


def setting(files: dict[str, str], path: str, name: str) -> str | None:
    root = ET.fromstring(files[path].encode())  # noqa: S314
    return next((each.findtext("value") for each in root if each.findtext("name") == name), None)


def test_a_users_setting_wins_and_others_follow_it() -> None:
    files = render(
        PROFILE, replace(CLUSTER, configuration=Configuration(settings={"hdfs-site:dfs.replication": "1", "core-site:my.own": "x"})), DOMAIN
    )
    for node in ("master-0", "worker-0", "worker-1"):
        assert setting(files, f"{node}/conf/hdfs-site.xml", "dfs.replication") == "1"
        assert setting(files, f"{node}/conf/mapred-site.xml", "mapreduce.client.submit.file.replication") == "1"
        assert setting(files, f"{node}/conf/core-site.xml", "my.own") == "x"


@given(st.text().filter(lambda text: not unrepresentable(text)))
def test_a_users_value_is_literal(value: str) -> None:
    files = render(PROFILE, replace(CLUSTER, configuration=Configuration(settings={"core-site:my.own": "{{ tenant }}" + value})), DOMAIN)
    assert setting(files, "worker-0/conf/core-site.xml", "my.own") == "{{ tenant }}" + value


@pytest.mark.parametrize("key", ["dfs.replication", "hdfs:dfs.replication", "hdfs-site:", "../x:y", ":", ""])
def test_settings_that_name_nothing_are_refused(key: str) -> None:
    with pytest.raises(UsageError):
        render(PROFILE, replace(CLUSTER, configuration=Configuration(settings={key: "1"})), DOMAIN)


def test_what_xml_cannot_hold_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot hold"):
        render(PROFILE, replace(CLUSTER, configuration=Configuration(settings={"core-site:a": "\0"})), DOMAIN)


def test_leaving_nodes_stand_in_the_exclude_files() -> None:
    files = render(PROFILE, CLUSTER, DOMAIN, excluded=["b.example", "a.example"])
    for file in ("dfs.exclude", "yarn.exclude"):
        assert files[f"master-0/conf/{file}"] == "a.example\nb.example\n"
    newer = render(load("hadoop-2.10"), replace(CLUSTER, profile="hadoop-2.10"), DOMAIN, excluded=["b.example", "a.example"])
    assert [each["hostName"] for each in json.loads(newer["master-0/conf/dfs.hosts.json"])] == ["a.example", "b.example"]
    assert "master-0/conf/dfs.exclude" not in newer


def test_volumes_are_all_used() -> None:
    groups = (CLUSTER.groups[0], NodeGroup("worker", 3, 4096, 2.0, (Volume(), Volume())))
    files = render(PROFILE, replace(CLUSTER, groups=groups), DOMAIN)
    assert setting(files, "worker-0/conf/hdfs-site.xml", "dfs.datanode.data.dir") == "file:///data/0/hdfs/data,file:///data/1/hdfs/data"
    assert setting(files, "worker-0/conf/hdfs-site.xml", "dfs.datanode.failed.volumes.tolerated") == "1"
    assert "SERVICE_DIRS='/data/0/hdfs/data /data/1/hdfs/data'" in files["worker-0/services/datanode"]
    assert "LABCLOUD_VOLUMES='0 1'" in files["worker-0/node.env"]


def test_one_worker_keeps_one_replica() -> None:
    files = render(PROFILE, replace(CLUSTER, groups=(CLUSTER.groups[0], NodeGroup("worker", 1, 2048))), DOMAIN)
    assert setting(files, "master-0/conf/hdfs-site.xml", "dfs.replication") == "1"


@pytest.mark.parametrize("groups", [CLUSTER.groups[:1], (*CLUSTER.groups, NodeGroup("edge", 1, 1024))])
def test_groups_have_to_be_the_profiles(groups: tuple[NodeGroup, ...]) -> None:
    with pytest.raises(UsageError, match="node groups master, worker"):
        render(PROFILE, replace(CLUSTER, groups=groups), DOMAIN)


def test_too_little_memory_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot hold a worker"):
        render(PROFILE, replace(CLUSTER, groups=(CLUSTER.groups[0], NodeGroup("worker", 2, 512))), DOMAIN)


def test_lines_of_services_are_what_the_shell_reads() -> None:
    service = render(PROFILE, CLUSTER, DOMAIN)["master-0/services/secondarynamenode"]
    assert [line.partition("=")[0] for line in service.splitlines()] == [
        "SERVICE_USER", "SERVICE_CLASS", "SERVICE_OPTS", "SERVICE_ARGS", "SERVICE_DIRS", "SERVICE_PREPARE", "SERVICE_NICE", "SERVICE_AFTER",
    ]  # fmt: skip
    assert "SERVICE_NICE=15" in service
    master = "master-0.lab.acme.lab.internal"
    page = "jmx?qry=Hadoop:service=ResourceManager,name=ClusterMetrics#NumActiveNMs..:.[1-9]"
    assert f"SERVICE_AFTER='{master}:8020 {master}:8088/{page}'" in service


def test_members_are_on_every_node_and_nothing_is_where_there_are_none() -> None:
    people = [Member("bob", 20002), Member("alice", 20001, ("ssh-ed25519 AAAA", "ssh-rsa BBBB me"))]
    more = set(files := render(PROFILE, CLUSTER, DOMAIN, members=people)) - set(render(PROFILE, CLUSTER, DOMAIN))
    assert {path: files[path] for path in more} == {
        f"{node}/{path}": text
        for node in ("master-0", "worker-0", "worker-1")
        for path, text in (
            ("users", "alice 20001\nbob 20002\n"),
            ("authorized_keys/alice", "ssh-ed25519 AAAA\nssh-rsa BBBB me\n"),
        )
    }


def test_hdfs_learns_what_volumes_are_made_of() -> None:
    classes = {"fast": StorageClass("fast", path="/mnt/nvme", media=Media.SSD), "bulk": StorageClass("bulk", path="/mnt/bulk")}
    volumes = (Volume(5, "bulk"), Volume(5, "fast"))
    cluster = replace(CLUSTER, groups=(CLUSTER.groups[0], NodeGroup("worker", 1, 2048, volumes=volumes)))
    files = render(PROFILE, cluster, DOMAIN, shared=Shared(storage=classes))
    folders = setting(files, "worker-0/conf/hdfs-site.xml", "dfs.datanode.data.dir")
    assert folders == "file:///data/0/hdfs/data,[SSD]file:///data/1/hdfs/data"
    assert "SSD" not in setting(files, "worker-0/conf/yarn-site.xml", "yarn.nodemanager.local-dirs")
