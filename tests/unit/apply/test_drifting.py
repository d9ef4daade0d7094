"""What was changed by hand is found thing by thing, put right, or adopted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from labcloud.apply.configuring import Applied
from labcloud.apply.drifting import Drift
from labcloud.apply.rollout import Pace
from labcloud.errors import UsageError
from labcloud.model import Cluster, NodeOverride, NodeRef
from labcloud.providers.base import Command, Result
from tests.unit.apply.conftest import REF, TERMS, Shop, asked

HANDLERS = "hdfs-site:dfs.datanode.handler.count"
WORKER = NodeRef(REF, "worker", 1)


@pytest.fixture
def shop(shop: Shop) -> Shop:
    shop.clusters().create(asked(), TERMS)
    return shop


def edit(shop: Shop, change: Callable[[str], str], *nodes: str, file: str = "conf/hdfs-site.xml") -> None:
    """Somebody edits a rendered file of nodes."""
    engine = shop.provider()
    config = engine.config(REF)
    engine.ensure_config(REF, config | {f"{node}/{file}": change(config[f"{node}/{file}"]) for node in nodes})


def handlers(value: str) -> Callable[[str], str]:
    line = "<property><name>dfs.datanode.handler.count</name><value>{}</value></property>"
    return lambda text: text.replace("</configuration>", line.format(value) + "</configuration>")


def cluster(shop: Shop) -> Cluster:
    found = shop.lab.cluster(REF)
    assert found
    return found


def fix(shop: Shop) -> Applied:
    return shop.configuring().apply(REF, TERMS, Pace(), adopting=False)


def kinds(found: list[Drift]) -> list[tuple[str, str]]:
    return [(each.node, each.kind) for each in found]


def test_what_is_as_it_is_wanted_has_not_drifted(shop: Shop) -> None:
    assert shop.drifting().find(REF) == []
    shop.clusters().stop(REF, TERMS)
    assert shop.drifting().find(REF) == []


def test_an_edited_file_is_found_with_what_differs(shop: Shop) -> None:
    edit(shop, handlers("50"), "worker-1")
    engine = shop.recorder()
    file, service = shop.drifting(engine).find(REF)
    assert (file.node, file.kind, file.what) == ("worker-1", "file", "conf/hdfs-site.xml")
    assert "--- wanted/conf/hdfs-site.xml\n+++ found/conf/hdfs-site.xml\n" in file.difference
    assert "\n+<property><name>dfs.datanode.handler.count</name><value>50</value></property></configuration>\n" in file.difference
    assert (service.node, service.kind) == ("worker-1", "service")
    assert service.what.startswith("datanode runs with another configuration: hdfs-site:dfs.datanode.handler.count")
    assert (engine.written, engine.restarts) == ([], [])


def test_an_edited_file_is_put_right_and_its_services_with_it(shop: Shop) -> None:
    before = shop.provider().config(REF)
    edit(shop, handlers("50"), "worker-1")
    engine = shop.recorder()
    engine.execute(WORKER, Command(("s6-svc", "-r", "/run/service/datanode")))
    assert kinds(shop.drifting().find(REF)) == [("worker-1", "file")], "the service has taken it up"
    assert list(fix(shop).restarted) == ["datanode on worker-1"]
    assert (shop.provider().config(REF), shop.drifting().find(REF)) == (before, [])


def test_files_that_are_gone_or_new_are_found(shop: Shop) -> None:
    engine = shop.provider()
    config = engine.config(REF)
    del config["worker-0/conf/yarn-site.xml"]
    engine.ensure_config(REF, config | {"worker-1/conf/mine.xml": "<configuration/>\n"})
    found = [each for each in shop.drifting().find(REF) if each.kind == "file"]
    assert [(each.node, each.what) for each in found] == [("worker-1", "conf/mine.xml"), ("worker-0", "conf/yarn-site.xml")]
    fix(shop)
    assert shop.drifting().find(REF) == []


def test_a_limit_that_was_changed_is_found_and_put_right(shop: Shop) -> None:
    wanted = cluster(shop).group("worker").memory
    shop.provider().resize_node(WORKER, memory=4096, cpus=1)
    (found,) = shop.drifting().find(REF)
    assert found == Drift("worker-1", "limit", f"its memory is 4096m, and {wanted}m is wanted")
    fix(shop)
    assert shop.drifting().find(REF) == []
    assert cluster(shop).group("worker").memory == wanted


def test_nodes_that_are_gone_stopped_or_nobodys_are_found(shop: Shop) -> None:
    engine = shop.provider()
    engine.delete_node(WORKER)
    engine.stop_node(NodeRef(REF, "worker", 0))
    there = cluster(shop)
    assert [(each.node, each.what) for each in shop.drifting().find(REF) if each.kind == "node"] == [
        ("worker-0", "it is stopped, and shall run"), ("worker-1", "it does not exist"),
    ]  # fmt: skip
    fix(shop)
    shop.want(groups=(there.groups[0], replace(there.groups[1], count=1)))
    assert ("worker-1", "node", "it exists, and nobody declared it") in [
        (each.node, each.kind, each.what) for each in shop.drifting().find(REF)
    ]


def test_a_node_that_was_made_for_another_declaration_is_found(shop: Shop) -> None:
    shop.want(image="labcloud/hadoop-2.7:other")
    assert {each.what for each in shop.drifting().find(REF)} == {"it was made for another declaration (image, ports, volumes)"}


def test_what_nodes_say_of_themselves_is_told(shop: Shop) -> None:
    engine = shop.recorder()
    engine.answer(("/usr/lib/labcloud/refresh", "--check"), Result(1, b"file /etc/motd changed\npackage jq absent\n"))
    engine.answer(("/usr/lib/labcloud/refresh", "--diff", "/etc/motd"), Result(0, b"-a\n+b\n"))
    found = shop.drifting(engine).find(REF)
    assert [(each.node, each.what, each.difference) for each in found[:2]] == [
        ("master-0", "file /etc/motd changed", "-a\n+b\n"), ("master-0", "package jq absent", ""),
    ]  # fmt: skip
    assert {each.kind for each in found} == {"declared"}
    assert len(found) == 6


def test_a_node_that_cannot_be_compared_is_drift_of_its_own(shop: Shop) -> None:
    engine = shop.recorder()
    engine.answer(("/usr/lib/labcloud/refresh",), Result(127, stderr=b"not found"))
    assert [(each.kind, "could not be compared" in each.what) for each in shop.drifting(engine).find(REF)] == [("declared", True)] * 3


# Adopting


def test_a_setting_of_one_node_becomes_that_nodes_own(shop: Shop) -> None:
    edit(shop, handlers("50"), "worker-1")
    assert shop.drifting().adopt(REF, TERMS) == [f"{HANDLERS} = 50 on worker-1"]
    assert dict(cluster(shop).own["worker-1"].configuration.settings) == {HANDLERS: "50"}
    assert not cluster(shop).configuration
    assert list(fix(shop).restarted) == ["datanode on worker-1"], "it takes up what it was edited to"
    assert shop.drifting().find(REF) == []


def test_a_setting_of_all_nodes_becomes_the_clusters(shop: Shop) -> None:
    edit(shop, handlers("50"), "master-0", "worker-0", "worker-1")
    assert shop.drifting().adopt(REF, TERMS) == [f"{HANDLERS} = 50"]
    assert dict(cluster(shop).configuration.settings) == {HANDLERS: "50"}
    assert dict(cluster(shop).own) == {}
    fix(shop)
    assert shop.drifting().find(REF) == []


def test_some_of_all_and_some_of_one(shop: Shop) -> None:
    edit(shop, handlers("50"), "master-0", "worker-0", "worker-1")
    edit(
        shop,
        lambda text: text.replace("</configuration>", "<property><name>my.own</name><value>x</value></property></configuration>"),
        "worker-0",
    )
    assert shop.drifting().adopt(REF, TERMS) == [f"{HANDLERS} = 50", "hdfs-site:my.own = x on worker-0"]
    assert dict(cluster(shop).own["worker-0"].configuration.settings) == {"hdfs-site:my.own": "x"}


def test_a_limit_becomes_the_nodes_own_and_what_it_has_stays(shop: Shop) -> None:
    shop.want(own={"worker-1": NodeOverride(labels={"disk": "ssd"})})
    fix(shop)
    shop.provider().resize_node(WORKER, memory=4096, cpus=1)
    assert shop.drifting().adopt(REF, TERMS) == ["memory of worker-1 = 4096m"]
    assert dict(cluster(shop).own) == {"worker-1": NodeOverride(memory=4096, labels={"disk": "ssd"})}
    fix(shop)
    assert shop.drifting().find(REF) == []


def test_adopting_is_one_change_of_the_lab_and_told(shop: Shop) -> None:
    edit(shop, handlers("50"), "worker-1")
    before = shop.lab.revision()
    shop.drifting().adopt(REF, TERMS)
    assert [each.revision for each in shop.lab.log()].index(before) == 1
    last = max(shop.journal().operations(), key=lambda each: each.id)
    (event,) = [each for each in shop.journal().read(last.id).events if each.kind == "adopted"]
    assert event.details == {"settings": [f"{HANDLERS} = 50 on worker-1"], "limits": []}


def test_where_nothing_was_changed_nothing_is_adopted(shop: Shop) -> None:
    before = shop.lab.revision()
    assert shop.drifting().adopt(REF, TERMS) == []
    assert shop.lab.revision() == before


def test_what_is_no_configuration_any_more_is_not_adopted(shop: Shop) -> None:
    edit(shop, lambda text: text.replace("</configuration>", ""), "worker-1")
    with pytest.raises(UsageError, match=r"conf/hdfs-site\.xml on worker-1 is no Hadoop configuration any more"):
        shop.drifting().adopt(REF, TERMS)
    fix(shop)
    assert shop.drifting().find(REF) == []


def test_what_is_wanted_and_not_applied_yet_is_not_taken_back(shop: Shop) -> None:
    shop.configure({"hdfs-site:dfs.datanode.handler.count": "20"})
    assert shop.drifting().adopt(REF, TERMS) == []
    assert dict(cluster(shop).configuration.settings) == {HANDLERS: "20"}


def test_a_limit_that_cannot_be_is_not_adopted(shop: Shop) -> None:
    before = shop.lab.revision()
    shop.provider().resize_node(WORKER, memory=100, cpus=1)
    with pytest.raises(UsageError, match="worker"):
        shop.drifting().adopt(REF, TERMS)
    assert shop.lab.revision() == before
