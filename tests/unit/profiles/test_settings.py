"""Settings that people give are checked by name, file and kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from labcloud.errors import UsageError
from labcloud.model import ClusterRef
from labcloud.profiles import load, names
from labcloud.profiles.catalogue import Uptake, catalogue
from labcloud.profiles.settings import Level, SettingFinding, check_settings, wrong


def found(profile: str, key: str, value: str) -> list[SettingFinding]:
    return check_settings(load(profile), {key: value})


@pytest.mark.parametrize("name", names())
def test_what_profiles_set_themselves_is_known_and_in_place(name: str) -> None:
    profile = load(name)
    # The values are templates, which refer to others as Hadoop's own ${…} do.
    settings = {f"{file}:{key}": value.replace("{{", "${") for file, each in profile.settings.items() for key, value in each.items()}
    assert check_settings(profile, settings) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hdfs-site:dfs.replication", "2"),
        ("hdfs-site:dfs.replication", "0x2"),
        ("hdfs-site:dfs.replication", " 2 "),
        ("hdfs-site:dfs.replication", "${my.replication}"),
        ("hdfs-site:dfs.blocksize", "64m"),
        ("hdfs-site:dfs.permissions.enabled", "FALSE"),
        ("hdfs-site:dfs.namenode.safemode.threshold-pct", "0.999f"),
        ("core-site:hadoop.proxyuser.oozie.hosts", "*"),
        ("core-site:fs.viewfs.mounttable.default.link./data", "hdfs://other/data"),
        ("core-site:ipc.8020.callqueue.impl", "org.apache.hadoop.ipc.FairCallQueue"),
        ("hdfs-site:dfs.namenode.rpc-address.ns1.nn2", "host:8020"),
        ("yarn-site:yarn.nodemanager.aux-services.spark_shuffle.class", "org.apache.spark.network.yarn.YarnShuffleService"),
        ("yarn-site:yarn.resourcemanager.hostname.rm1", "host"),
        ("capacity-scheduler:yarn.scheduler.capacity.root.a.b.capacity", "30"),
    ],
)
@pytest.mark.parametrize("name", names())
def test_what_is_right_is_let_pass(name: str, key: str, value: str) -> None:
    assert found(name, key, value) == []


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("hdfs-site:dfs.replication", "two", "'two' is not a whole number of at most 2147483647"),
        ("hdfs-site:dfs.replication", "3000000000", "'3000000000' is not a whole number of at most 2147483647"),
        ("hdfs-site:dfs.replication", "", "'' is not a whole number of at most 2147483647"),
        ("hdfs-site:dfs.permissions.enabled", "yes", "'yes' is not true or false"),
        ("hdfs-site:dfs.blocksize", "64mb", "'64mb' is not a size"),
        ("hdfs-site:dfs.namenode.safemode.threshold-pct", "99%", "'99%' is not a number"),
        ("mapred-site:mapreduce.map.memory.mb", "1g", "'1g' is not a whole number"),
        ("capacity-scheduler:yarn.scheduler.capacity.root.a.user-limit-factor", "double", "'double' is not a number"),
        ("core-site:ipc.8020.backoff.enable", "on", "'on' is not true or false"),
    ],
)
@pytest.mark.parametrize("name", names())
def test_values_of_the_wrong_kind(name: str, key: str, value: str, text: str) -> None:
    (finding,) = found(name, key, value)
    assert (finding.key, finding.level) == (key, Level.ERROR)
    assert finding.text.startswith(text)
    assert finding.resolution.startswith("give ")


def test_durations_came_with_later_versions() -> None:
    assert found("hadoop-3.4", "hdfs-site:dfs.heartbeat.interval", "5s") == []
    assert found("hadoop-2.7", "hdfs-site:dfs.heartbeat.interval", "5s")[0].level is Level.ERROR
    assert found("hadoop-3.4", "hdfs-site:dfs.heartbeat.interval", "5 s")[0].text.startswith("'5 s' is not a duration")


def test_shares_of_queues_became_more_than_numbers() -> None:
    key = "capacity-scheduler:yarn.scheduler.capacity.root.a.capacity"
    assert found("hadoop-3.4", key, "[memory=1024,vcores=1]") == []
    assert found("hadoop-2.10", key, "[memory=1024,vcores=1]")[0].level is Level.ERROR


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    assert [str(each) for each in found("hadoop-2.7", "hdfs-site:dfs.replicaton", "2")] == [
        "hdfs-site:dfs.replicaton: hadoop-2.7.7 knows no setting dfs.replicaton; did you mean hdfs-site:dfs.replication?"
    ]
    (far,) = found("hadoop-2.7", "hdfs-site:my.own", "2")
    assert (far.level, far.resolution) == (Level.WARNING, "see 'labcloud profile settings hadoop-2.7' for what there is")


@pytest.mark.parametrize(
    ("key", "belongs"),
    [
        ("yarn-site:dfs.replication", "hdfs-site:dfs.replication"),
        ("hdfs-site:hadoop.proxyuser.bob.hosts", "core-site:hadoop.proxyuser.bob.hosts"),
        ("yarn-site:yarn.scheduler.capacity.root.queues", "capacity-scheduler:yarn.scheduler.capacity.root.queues"),
    ],
)
def test_a_name_in_the_wrong_file(key: str, belongs: str) -> None:
    (finding,) = found("hadoop-3.3", key, "2")
    assert (finding.level, finding.resolution) == (Level.WARNING, f"write {belongs}")


def test_old_names_are_told_and_their_values_checked() -> None:
    assert [(each.level, each.resolution) for each in found("hadoop-3.4", "mapred-site:mapred.reduce.tasks", "many")] == [
        (Level.ERROR, "give digits only"),
        (Level.WARNING, "write mapreduce.job.reduces instead"),
    ]
    assert [each.level for each in found("hadoop-3.4", "core-site:fs.default.name", "file:///")] == [Level.WARNING]


def test_errors_come_first() -> None:
    levels = [each.level for each in check_settings(load("hadoop-2.7"), {"core-site:a.b": "1", "hdfs-site:dfs.replication": "x"})]
    assert levels == [Level.ERROR, Level.WARNING]


def test_a_version_whose_jars_nobody_read_is_not_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCLOUD_PROFILES", str(tmp_path))
    (tmp_path / "hadoop-9.9").mkdir()
    (tmp_path / "hadoop-9.9" / "profile.yaml").write_text("extends: hadoop-3\nversion: 9.9.1\ntitle: Next\njava: 21\n")
    settings = {"core-site:new.in.nine": "1", "yarn-site:dfs.replication": "2", "core-site:fs.default.name": "x"}
    assert check_settings(load("hadoop-9.9"), settings) == []
    assert [each.level for each in found("hadoop-9.9", "hdfs-site:dfs.replication", "x")] == [Level.ERROR]


def test_text_may_be_anything() -> None:
    assert wrong("text", "<&>\n") == ""


# What is done with it


def test_create_refuses_what_does_not_work() -> None:
    from labcloud.apply.requests import CreateRequest, declared

    settings = {"hdfs-site:dfs.replication": "x", "core-site:a.b": "1", "hdfs-site:dfs.blocksize": "y"}
    request = CreateRequest(ClusterRef("acme", "c"), "hadoop-2.7", settings=settings)
    with pytest.raises(UsageError, match=r"the setting hdfs-site:dfs\.replication: 'x' is not a whole number") as caught:
        declared(request, load("hadoop-2.7"), user_id=1)
    assert caught.value.resolution == "give digits only"
    assert "hdfs-site:dfs.blocksize" in caught.value.details
    assert declared(request, load("hadoop-2.7"), user_id=1, sized=False).configuration.settings == settings


def test_the_catalogue_says_what_a_change_takes() -> None:
    entries = {each.name: each for each in catalogue(load("hadoop-3.4"))}
    assert entries["dfs.replication"].change is Uptake.CLIENT
    assert entries["dfs.replication"].services == ()
    heartbeat = entries["dfs.heartbeat.interval"]
    assert (heartbeat.change, heartbeat.services, list(heartbeat.live)) == (Uptake.STATIC, ("namenode", "datanode"), ["namenode"])
    assert entries["fs.protected.directories"].change is Uptake.LIVE
    assert entries["hadoop.proxyuser.*.hosts"].live["namenode"] == "hdfs dfsadmin -refreshSuperUserGroupsConfiguration"
    assert "fs.default.name" not in entries


@pytest.mark.parametrize(
    ("pattern", "name"),
    [("dfs.replicat*", "dfs.replication.max"), ("hdfs-site:dfs.ha.*", "dfs.ha.namenodes.*"), ("default.name", "fs.default.name")],
)
def test_the_catalogue_is_searched(pattern: str, name: str) -> None:
    chosen = catalogue(load("hadoop-2.7"), pattern)
    assert name in [each.name for each in chosen]
    assert len(chosen) < 100
