"""What a changed configuration means for the services of a node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labcloud.model import Configuration
from labcloud.profiles import load, names, render
from labcloud.profiles.catalogue import catalogue
from labcloud.profiles.effects import Change, Effects, differences, effects, readers, same
from labcloud.profiles.golden import DOMAIN, sample

Files = dict[str, str]


def node(name: str, group: str, **changed: object) -> Files:
    """The files of a node of the profile's sample cluster."""
    profile = load(name)
    tree = render(profile, replace(sample(profile), **changed), DOMAIN)  # type: ignore[arg-type]
    return {path.removeprefix(f"{group}-0/"): text for path, text in tree.items() if path.startswith(f"{group}-0/")}


def of(name: str, group: str, settings: dict[str, str]) -> Effects:
    """What setting these on the sample cluster means."""
    profile = load(name)
    return effects(
        profile, group, same(profile, group, node(name, group)), node(name, group, configuration=Configuration(settings=settings))
    )


def edited(name: str, group: str, path: str, change: Callable[[str], str]) -> Effects:
    """What another text of one file means."""
    profile, before = load(name), node(name, group)
    return effects(profile, group, same(profile, group, before), before | {path: change(before.get(path, ""))})


def reasons(found: Effects) -> dict[str, list[str]]:
    return {service: [str(each) for each in changes] for service, changes in found.restart.items()}


@pytest.mark.parametrize("group", ["master", "worker"])
@pytest.mark.parametrize("name", names())
def test_nothing_changed_is_nothing_to_do(name: str, group: str) -> None:
    found = of(name, group, {})
    assert not found
    assert found.unchanged == tuple(load(name).services_of(group))


def test_what_clients_read_restarts_nothing() -> None:
    found = of("hadoop-2.7", "worker", {"hdfs-site:dfs.replication": "1", "mapred-site:mapreduce.job.maps": "4"})
    assert found.unchanged == ("datanode", "nodemanager")
    assert not found.restart
    said = {str(each) for each in found.clients}
    assert "hdfs-site:dfs.replication 2 → 1" in said
    assert "mapred-site:mapreduce.job.maps none → 4" in said


def test_a_static_setting_restarts_its_readers_only() -> None:
    changed = {"hdfs-site:dfs.namenode.handler.count": "20", "yarn-site:yarn.log.server.url": "http://elsewhere"}
    master, worker = (of("hadoop-3.4", group, changed) for group in ("master", "worker"))
    assert reasons(master) == {
        "namenode": ["hdfs-site:dfs.namenode.handler.count 6 → 20"],
        "resourcemanager": [str(each) for each in master.restart["resourcemanager"]],
    }
    assert list(worker.restart) == ["nodemanager"]
    assert worker.unchanged == ("datanode",)


def test_one_setting_is_told_here_and_restarts_there() -> None:
    changed = {"hdfs-site:dfs.heartbeat.interval": "4"}
    (told,) = of("hadoop-3.4", "master", changed).live
    assert told.on("nn.lab").argv == ("hdfs", "dfsadmin", "-reconfig", "namenode", "nn.lab:8020", "start")
    assert told.on("nn.lab").status[-2:] == ("nn.lab:8020", "status")
    assert (told.service, told.at, told.user, told.reconfigures) == ("namenode", "namenode", "hdfs", True)
    assert [str(each) for each in told.changes] == ["hdfs-site:dfs.heartbeat.interval 2 → 4"]
    assert reasons(of("hadoop-3.4", "worker", changed)) == {"datanode": ["hdfs-site:dfs.heartbeat.interval 2 → 4"]}
    assert list(of("hadoop-2.7", "master", changed).restart) == ["namenode"]


def test_a_restart_makes_telling_needless() -> None:
    found = of("hadoop-3.4", "master", {"hdfs-site:dfs.heartbeat.interval": "4", "hdfs-site:dfs.namenode.handler.count": "20"})
    assert found.live == ()
    assert reasons(found) == {"namenode": ["hdfs-site:dfs.namenode.handler.count 6 → 20"]}


@pytest.mark.parametrize("name", names())
def test_queues_are_told(name: str) -> None:
    found = of(name, "master", {"capacity-scheduler:yarn.scheduler.capacity.root.queues": "default,extra"})
    assert [each.argv for each in found.live] == [("yarn", "rmadmin", "-refreshQueues")]
    assert not found.restart
    assert of(name, "worker", {"capacity-scheduler:yarn.scheduler.capacity.root.queues": "default,extra"}).unchanged


def test_what_the_scheduler_reads_once_is_not() -> None:
    key = "capacity-scheduler:yarn.scheduler.capacity.resource-calculator"
    assert list(of("hadoop-3.3", "master", {key: "x.DominantResourceCalculator"}).restart) == ["resourcemanager"]


def test_commands_come_in_the_order_of_the_table() -> None:
    changed = {
        "hdfs-site:dfs.heartbeat.interval": "4",
        "capacity-scheduler:yarn.scheduler.capacity.root.default.maximum-applications": "5",
        "core-site:hadoop.proxyuser.oozie.hosts": "*",
        "core-site:hadoop.proxyuser.oozie.groups": "*",
    }
    found = of("hadoop-3.4", "master", changed)
    assert [(each.service, each.argv[2]) for each in found.live] == [
        ("namenode", "-refreshSuperUserGroupsConfiguration"),
        ("resourcemanager", "-refreshSuperUserGroupsConfiguration"),
        ("historyserver", "-refreshSuperUserGroupsConfiguration"),
        ("resourcemanager", "-refreshQueues"),
        ("namenode", "-reconfig"),
    ]
    assert len(found.live[0].changes) == 2


def test_memory_of_a_nodemanager_is_told_where_the_version_can() -> None:
    changed = {"yarn-site:yarn.nodemanager.resource.memory-mb": "1000"}
    (told,) = of("hadoop-3.3", "worker", changed).live
    assert told.on("w0.lab").argv == ("yarn", "rmadmin", "-updateNodeResource", "w0.lab:45454", "1000", "4")
    assert (told.service, told.at) == ("nodemanager", "resourcemanager")
    for name in ("hadoop-2.7", "hadoop-2.10"):
        assert list(of(name, "worker", changed).restart) == ["nodemanager"]


def test_a_value_that_no_command_line_can_have_restarts() -> None:
    changed = {"yarn-site:yarn.nodemanager.resource.memory-mb": "-1"}
    assert list(of("hadoop-3.3", "worker", changed).restart) == ["nodemanager"]


POLICY = "<configuration><property><name>security.client.protocol.acl</name><value>bob</value></property></configuration>"


def test_the_policy_concerns_whom_it_is_in_force_for() -> None:
    assert not edited("hadoop-2.7", "master", "conf/hadoop-policy.xml", lambda _: POLICY)
    profile, before = (
        load("hadoop-2.7"),
        node("hadoop-2.7", "master", configuration=Configuration(settings={"core-site:hadoop.security.authorization": "true"})),
    )
    found = effects(profile, "master", same(profile, "master", before), before | {"conf/hadoop-policy.xml": POLICY})
    assert [each.argv for each in found.live] == [("hdfs", "dfsadmin", "-refreshServiceAcl"), ("yarn", "rmadmin", "-refreshServiceAcl")]
    assert list(found.restart) == ["secondarynamenode", "historyserver"]


def test_a_heap_is_a_reason_of_its_own() -> None:
    found = edited("hadoop-2.7", "master", "services/namenode", lambda text: text.replace("-Xmx142m", "-Xmx152m"))
    assert reasons(found) == {"namenode": ["heap 142m → 152m"]}


def test_other_options_of_a_service() -> None:
    found = edited("hadoop-2.7", "worker", "services/datanode", lambda text: text.replace("SERVICE_NICE=0", "SERVICE_NICE=5"))
    assert reasons(found) == {"datanode": ["SERVICE_NICE 0 → 5"]}
    assert not edited("hadoop-2.7", "worker", "services/datanode", lambda text: text.replace("SERVICE_AFTER=", "SERVICE_AFTER=x"))


def test_variables_of_the_node() -> None:
    everything = edited("hadoop-3.4", "worker", "node.env", lambda text: text.replace("MALLOC_ARENA_MAX=2", "MALLOC_ARENA_MAX=4"))
    assert reasons(everything) == {each: ["MALLOC_ARENA_MAX 2 → 4"] for each in ("datanode", "nodemanager")}
    clients = edited("hadoop-3.4", "worker", "node.env", lambda text: text + "SPARK_HOME='/opt/a b'\n")
    assert not clients.restart
    assert clients.clients == (Change("SPARK_HOME", None, "/opt/a b"),)


def test_whole_files() -> None:
    assert list(edited("hadoop-2.7", "worker", "conf/log4j.properties", lambda text: text + "#").restart) == ["datanode", "nodemanager"]
    assert not edited("hadoop-2.7", "worker", "conf/hadoop-env.sh", lambda text: text + "#").restart
    assert not edited("hadoop-2.7", "worker", "users", lambda _: "bob 20001\n")
    assert not edited("hadoop-2.7", "master", "conf/fair-scheduler.xml", lambda _: "<allocations/>").restart
    excluded = edited("hadoop-2.7", "master", "conf/dfs.exclude", lambda _: "worker-1\n")
    assert [each.argv for each in excluded.live] == [("hdfs", "dfsadmin", "-refreshNodes")]


def test_a_file_that_nobody_describes_restarts_what_may_read_it() -> None:
    found = edited("hadoop-2.7", "worker", "conf/tenants-own.xml", lambda _: "<other/>")
    assert reasons(found) == {each: ["tenants-own.xml"] for each in ("datanode", "nodemanager")}


def test_services_are_compared_with_what_each_was_started_with() -> None:
    profile, old = (
        load("hadoop-2.7"),
        node("hadoop-2.7", "worker", configuration=Configuration(settings={"core-site:ipc.client.connect.timeout": "1"})),
    )
    new = node("hadoop-2.7", "worker")
    found = effects(profile, "worker", {"datanode": old, "nodemanager": new}, new)
    assert (list(found.restart), found.unchanged) == (["datanode"], ("nodemanager",))
    unknown = effects(profile, "worker", {"datanode": new}, new)
    assert reasons(unknown) == {"nodemanager": ["what it was started with is not known"]}


def test_services_may_have_been_started_with_different_things() -> None:
    profile, new = (
        load("hadoop-2.7"),
        node("hadoop-2.7", "worker", configuration=Configuration(settings={"hdfs-site:dfs.replication": "3"})),
    )
    without = new | {"conf/hdfs-site.xml": "<configuration/>"}
    found = effects(profile, "worker", {"datanode": without, "nodemanager": node("hadoop-2.7", "worker")}, new)
    assert [str(each) for each in found.clients if "dfs.replication" in str(each)] == [
        "hdfs-site:dfs.replication 2 → 3",
        "hdfs-site:dfs.replication none → 3",
    ]


def test_an_old_name_is_read_by_who_reads_the_new() -> None:
    assert readers(load("hadoop-3.4"), "core-site", "dfs.df.interval") == ("datanode",)
    assert readers(load("hadoop-3.4"), "mapred-site", "mapred.reduce.tasks") == ()


@pytest.mark.parametrize("name", names())
def test_every_setting_has_a_decided_answer(name: str) -> None:
    profile = load(name)
    for each in catalogue(profile):
        assert set(each.services) <= set(profile.services)
        assert set(each.live) <= set(each.services)
    everyone = tuple(profile.services)
    assert readers(profile, "no-such-file", "a") == everyone
    for file in profile.settings:
        assert readers(profile, file, "no.such.setting") in (everyone, *(tuple(each) for each in FALL_BACK.values()))
        assert readers(profile, file, "no.such.setting") == tuple(FALL_BACK.get(file, everyone))


FALL_BACK = {
    "hdfs-site": ["namenode", "secondarynamenode", "datanode"],
    "yarn-site": ["resourcemanager", "nodemanager"],
    "mapred-site": ["historyserver"],
    "capacity-scheduler": ["resourcemanager"],
}


def test_a_profile_that_says_nothing_restarts_everything(tmp_path: Path) -> None:
    profile = replace(load("hadoop-2.7"), folders=(tmp_path,))
    before = node("hadoop-2.7", "worker")
    after = before | {"node.env": before["node.env"] + "X=1\n"}
    assert list(effects(profile, "worker", same(profile, "worker", before), after).restart) == ["datanode", "nodemanager"]


KEYS = sorted(f"{each.file}:{each.name}" for each in catalogue(load("hadoop-3.4")) if "*" not in each.name)
CHANGES = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(["1", "true", "", "a <&> b", "ünï"]), max_size=6)


@settings(max_examples=40, deadline=None)
@given(old=CHANGES, new=CHANGES, group=st.sampled_from(["master", "worker"]))
def test_each_service_has_one_verdict(old: dict[str, str], new: dict[str, str], group: str) -> None:
    profile = load("hadoop-3.4")
    before, after = (
        node("hadoop-3.4", group, configuration=Configuration(settings=old)),
        node("hadoop-3.4", group, configuration=Configuration(settings=new)),
    )
    found = effects(profile, group, same(profile, group, before), after)
    told = {each.service for each in found.live}
    assert sorted([*found.unchanged, *told, *found.restart]) == sorted(profile.services_of(group))
    reported = {change for each in found.live for change in each.changes} | {each for changes in found.restart.values() for each in changes}
    assert reported | set(found.clients) <= set(differences(before, after))
    assert not effects(profile, group, same(profile, group, after), after)
    if not found.restart and not found.live and not found.clients:
        services = set(profile.services_of(group))
        assert all(not services & set(readers(profile, *each.what.split(":", 1))) for each in differences(before, after))
