"""A changed configuration reaches running nodes: what is told, what restarts and what stays; and nodes get another size."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labcloud.apply.configuring import Applied, Size
from labcloud.apply.reverting import Reverting
from labcloud.apply.rollout import Pace
from labcloud.errors import ConfiguringError, ConflictError, EngineError, NotFoundError, PreflightError, UsageError
from labcloud.model import Configuration, NodeOverride, NodeRef, Wanted
from labcloud.providers.base import Result
from labcloud.providers.simulated import Faults, Killed
from tests.unit.apply.conftest import REF, TERMS, Recorder, Shop, asked

AT_ONCE = Pace()
HANDLERS = {"hdfs-site:dfs.datanode.handler.count": "20"}
BOTH = {**HANDLERS, "hdfs-site:dfs.namenode.handler.count": "30"}
PROXY = {"core-site:hadoop.proxyuser.ada.hosts": "*"}
CLIENTS = {"hdfs-site:dfs.client.retry.max.attempts": "3"}
TELL = {
    "hdfs": ("hdfs", "dfsadmin", "-refreshSuperUserGroupsConfiguration"),
    "yarn": ("yarn", "rmadmin", "-refreshSuperUserGroupsConfiguration"),
    "mapred": ("mapred", "hsadmin", "-refreshSuperUserGroupsConfiguration"),
}
YARN_MEMORY = "yarn.nodemanager.resource.memory-mb"


@pytest.fixture
def shop(shop: Shop) -> Shop:
    shop.clusters().create(asked(), TERMS)
    return shop


@pytest.fixture
def engine(shop: Shop) -> Recorder:
    return shop.recorder()


def apply(shop: Shop, engine: Recorder | None = None, pace: Pace = AT_ONCE) -> Applied:
    return shop.configuring(engine).apply(REF, TERMS, pace)


def on_nodes(shop: Shop, node: str, name: str, file: str = "hdfs-site") -> str | None:
    root = ET.fromstring(shop.provider().config(REF)[f"{node}/conf/{file}.xml"].encode())  # noqa: S314
    return next((each.findtext("value") for each in root if each.findtext("name") == name), None)


def heap(shop: Shop, node: str, service: str) -> int:
    text = shop.provider().config(REF)[f"{node}/services/{service}"]
    return int(text.partition("-Xmx")[2].partition("m")[0])


def wanted_memory(shop: Shop) -> dict[str, int]:
    cluster = shop.lab.cluster(REF)
    assert cluster
    return {ref.name: cluster.size(ref).memory for ref in cluster.nodes()}


def memory(shop: Shop) -> dict[str, int]:
    return {node.ref.name: node.memory for node in shop.found().nodes}


def events(shop: Shop, kind: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Kind and details of the events of the last operation."""
    last = max(shop.journal().operations(), key=lambda each: each.id)
    return [(each.kind, dict(each.details)) for each in shop.journal().read(last.id).events if kind in ("", each.kind)]


# Applying


def test_where_nothing_changed_nothing_is_done(shop: Shop, engine: Recorder) -> None:
    done = apply(shop, engine)
    assert (done, bool(done)) == (Applied(), False)
    assert (engine.restarts, engine.resized) == ([], [])
    assert events(shop)[-1] == ("configured", {"revision": shop.lab.revision()})


def test_readers_of_what_changed_restart_workers_before_masters(shop: Shop, engine: Recorder) -> None:
    shop.configure(BOTH)
    done = apply(shop, engine)
    assert engine.restarts == ["datanode on worker-0", "datanode on worker-1", "namenode on master-0"]
    assert list(done.restarted) == engine.restarts
    assert (done.told, done.steps, done.adopted) == ((), (), ())
    assert {on_nodes(shop, node, "dfs.datanode.handler.count") for node in memory(shop)} == {"20"}
    reasons = [details for _, details in events(shop, "restarting")]
    assert reasons[0] == {"node": "worker-0", "services": {"datanode": ["hdfs-site:dfs.datanode.handler.count 3 → 20"]}}


def test_a_second_apply_does_nothing(shop: Shop, engine: Recorder) -> None:
    shop.configure(BOTH)
    apply(shop)
    assert apply(shop, engine) == Applied()
    assert engine.restarts == []


def test_what_can_be_told_is_told_and_noted(shop: Shop, engine: Recorder) -> None:
    for argv in TELL.values():
        engine.answer(argv, Result(0))
    shop.configure(PROXY)
    done = apply(shop, engine)
    assert engine.restarts == list(done.restarted) == []
    assert [line.partition(":")[0] for line in done.told] == [
        "namenode on master-0", "resourcemanager on master-0", "historyserver on master-0",
    ]  # fmt: skip
    assert [engine.told(*argv) for argv in TELL.values()] == [["master-0"]] * 3
    assert apply(shop, engine) == Applied()
    assert [engine.told(*argv) for argv in TELL.values()] == [["master-0"]] * 3
    told = [each["service"] for kind, each in all_events(shop) if kind == "told"]
    assert told == ["namenode", "resourcemanager", "historyserver"]


def all_events(shop: Shop) -> list[tuple[str, dict[str, Any]]]:
    journal = shop.journal()
    records = sorted(journal.operations(), key=lambda each: each.id)
    return [(each.kind, dict(each.details)) for record in records for each in journal.read(record.id).events]


def test_a_service_that_refuses_to_be_told_is_restarted(shop: Shop, engine: Recorder) -> None:
    for name, argv in TELL.items():
        engine.answer(argv, Result(int(name == "yarn"), stderr=b"access denied"))
    shop.configure(PROXY)
    done = apply(shop, engine)
    assert engine.restarts == list(done.restarted) == ["resourcemanager on master-0"]
    assert [line.partition(":")[0] for line in done.told] == ["namenode on master-0", "historyserver on master-0"]
    (refused,) = [details for _, details in events(shop, "refused")]
    assert (refused["service"], refused["said"]) == ("resourcemanager", "access denied")
    assert apply(shop, engine) == Applied()


def test_what_clients_alone_read_restarts_nobody(shop: Shop, engine: Recorder) -> None:
    shop.configure(CLIENTS)
    assert apply(shop, engine) == Applied()
    assert on_nodes(shop, "worker-1", "dfs.client.retry.max.attempts") == "3"
    assert engine.restarts == []


def test_a_nodes_own_setting_is_that_nodes_alone(shop: Shop, engine: Recorder) -> None:
    shop.want(own={"worker-1": NodeOverride(configuration=Configuration(HANDLERS))})
    assert list(apply(shop, engine).restarted) == ["datanode on worker-1"]
    assert on_nodes(shop, "worker-0", "dfs.datanode.handler.count") != "20"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("base/settings.yaml", "hdfs-site:dfs.datanode.scan.period.hours: 20\n"),
        ("bindings/w.yaml", "where: group == 'worker'\nsettings: {hdfs-site:dfs.datanode.handler.count: 20}\n"),
        ("tenants/acme.yaml", "user_id: 20000\nsettings: {hdfs-site:dfs.datanode.handler.count: 20}\n"),
    ],
)
def test_what_the_lab_or_the_tenant_says_is_applied(shop: Shop, engine: Recorder, path: str, text: str) -> None:
    shop.lab.change({path: text}, "say so")
    assert list(apply(shop, engine).restarted) == ["datanode on worker-0", "datanode on worker-1"]
    shop.lab.change({path: "user_id: 20000\n" if path.startswith("tenants") else None}, "say nothing")
    assert list(apply(shop).restarted) == ["datanode on worker-0", "datanode on worker-1"]


def test_a_plan_says_what_apply_does_and_changes_nothing(shop: Shop, engine: Recorder) -> None:
    assert shop.configuring().plan(REF) == []
    shop.configure(HANDLERS)
    before = shop.provider().config(REF)
    plan = shop.configuring(engine).plan(REF)
    assert {each.ref.name: set(each.effects.restart) for each in plan if each.effects.restart} == {
        "worker-0": {"datanode"}, "worker-1": {"datanode"},
    }  # fmt: skip
    assert (shop.provider().config(REF), engine.restarts, engine.written) == (before, [], [])
    assert [each.verb for each in shop.journal().operations()] == ["create"]


def test_a_value_of_the_wrong_kind_is_refused_before_anything_is_written(shop: Shop, engine: Recorder) -> None:
    for place in (
        {"configuration": Configuration({"hdfs-site:dfs.replication": "two"})},
        {
            "configuration": Configuration(),
            "own": {"worker-0": NodeOverride(configuration=Configuration({"hdfs-site:dfs.replication": "two"}))},
        },
    ):
        shop.want(**place)
        with pytest.raises(UsageError, match="'two' is not a whole number"):
            apply(shop, engine)
    assert engine.written == []


def test_a_wrong_value_of_a_binding_or_a_tenant_is_refused_too(shop: Shop, engine: Recorder) -> None:
    shop.lab.change({"bindings/w.yaml": "settings: {hdfs-site:dfs.replication: two}\n"}, "wrong")
    with pytest.raises(UsageError, match="'two' is not a whole number"):
        apply(shop, engine)
    assert engine.written == []


def test_a_stopped_cluster_is_configured_for_its_next_start(shop: Shop, engine: Recorder) -> None:
    shop.clusters().stop(REF, TERMS)
    shop.configure(HANDLERS)
    assert apply(shop, engine) == Applied()
    assert on_nodes(shop, "worker-0", "dfs.datanode.handler.count") == "20"
    assert shop.running() == []


def test_a_node_that_was_lost_is_made_again(shop: Shop, engine: Recorder) -> None:
    engine.delete_node(NodeRef(REF, "worker", 1))
    shop.configure(HANDLERS)
    done = apply(shop, engine)
    assert any("worker-1" in step for step in done.steps)
    assert list(done.restarted) == ["datanode on worker-0"], "the new one starts with what is wanted"
    assert shop.running() == ["master-0", "worker-0", "worker-1"]


def test_clusters_that_are_not_there_or_go_are_refused(shop: Shop) -> None:
    with pytest.raises(NotFoundError):
        shop.configuring().apply(replace(REF, name="none"), TERMS, AT_ONCE)
    shop.want(state=Wanted.DELETED)
    with pytest.raises(ConflictError, match="deletion"):
        apply(shop)


def test_a_restart_that_fails_is_told_and_finished_by_the_next_apply(shop: Shop, engine: Recorder) -> None:
    shop.configure(HANDLERS)
    engine.answer(("s6-svc",), Result(1, stderr=b"timed out"))
    with pytest.raises(ConfiguringError, match="could not restart datanode on acme/c/worker-0"):
        apply(shop, engine)
    assert list(apply(shop).restarted) == ["datanode on worker-0", "datanode on worker-1"]


def test_what_a_node_cannot_be_made_is_an_error(shop: Shop, engine: Recorder) -> None:
    shop.configure(HANDLERS)
    engine.answer(("/usr/lib/labcloud/refresh",), Result(1, stderr=b"no such package"))
    with pytest.raises(ConfiguringError, match="could not be made all that is declared") as caught:
        apply(shop, engine)
    assert "no such package" in caught.value.details


def test_what_changed_on_nodes_is_told(shop: Shop, engine: Recorder) -> None:
    engine.answer(("/usr/lib/labcloud/refresh",), Result(0, b"file /etc/motd written\n"))
    assert list(apply(shop, engine).refreshed) == [f"{node}: file /etc/motd written" for node in ("worker-0", "worker-1", "master-0")]


def test_an_edit_during_apply_is_not_taken_for_applied(shop: Shop) -> None:
    class Meanwhile(Recorder):
        def ensure_config(self, *what: Any) -> bool:
            if not self.written:
                shop.lab.change({"base/settings.yaml": "core-site:late: 1\n"}, "meanwhile")
            return super().ensure_config(*what)

    shop.configure(HANDLERS)
    revision = shop.lab.revision()
    apply(shop, Meanwhile(shop.home, shop.lab.id, world=shop.world))
    assert Reverting(shop.lab, shop.journal()).applied(REF) == revision


# Death


@pytest.mark.timeout(180)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_apply_finishes_what_death_broke_off(tmp_path: Path, after: bool) -> None:
    smooth = changed(tmp_path / "smooth")
    faults = Faults()
    smooth.configuring(faults=faults).apply(REF, TERMS, AT_ONCE)
    calls = len(faults.calls)
    config = stable(smooth)
    for number in range(1 + int(after), calls + 1, 3):
        shop = changed(tmp_path / str(number))
        faults = Faults()
        faults.die(number=number, after=after)
        with pytest.raises(Killed):
            shop.configuring(faults=faults).apply(REF, TERMS, AT_ONCE)
        apply(shop)
        assert stable(shop) == config, f"died at call {number}: {faults.calls[number - 1]}"
        assert shop.drifting().find(REF) == []
        assert not apply(shop)


def changed(home: Path) -> Shop:
    shop = Shop(home)
    shop.clusters().create(asked(), TERMS)
    shop.configure(BOTH)
    return shop


def stable(shop: Shop) -> dict[str, str]:
    """The configuration that nodes see, without what differs from one making to the next."""
    cluster = shop.lab.cluster(REF)
    assert cluster
    return {path: text.replace(cluster.id, "ID") for path, text in shop.provider().config(REF).items()}


@pytest.mark.usefixtures("no_pauses")
def test_one_refusal_at_any_call_is_finished_by_the_next_apply(tmp_path: Path) -> None:
    for number in range(2, 60, 5):
        shop = changed(tmp_path / str(number))
        faults = Faults()
        faults.fail(EngineError("the engine is tired"), number=number)
        try:
            shop.configuring(faults=faults).apply(REF, TERMS, AT_ONCE)
        except EngineError:
            apply(shop)
        except ConfiguringError:
            apply(shop)
        assert shop.drifting().find(REF) == []
        if len(faults.calls) < number:
            return


# Limits that were changed by hand


def test_a_limit_that_was_changed_by_hand_is_adopted_with_what_follows(shop: Shop, engine: Recorder) -> None:
    before = heap(shop, "worker-1", "datanode"), on_nodes(shop, "worker-1", YARN_MEMORY, "yarn-site")
    engine.resize_node(NodeRef(REF, "worker", 1), memory=4096, cpus=1)
    engine.ran.clear()
    done = apply(shop, engine)
    (said,) = done.adopted
    assert said.startswith("worker-1 has 4096m, ")
    assert wanted_memory(shop)["worker-1"] == memory(shop)["worker-1"] == 4096
    assert wanted_memory(shop)["worker-0"] != 4096
    assert (heap(shop, "worker-1", "datanode"), on_nodes(shop, "worker-1", YARN_MEMORY, "yarn-site")) != before
    assert engine.restarts
    assert {each.partition(" on ")[2] for each in engine.restarts} == {"worker-1"}
    assert apply(shop) == Applied()


def test_the_limit_of_all_nodes_of_a_group_becomes_the_groups(shop: Shop, engine: Recorder) -> None:
    for index in range(2):
        engine.resize_node(NodeRef(REF, "worker", index), memory=4096, cpus=1)
    assert len(apply(shop, engine).adopted) == 2
    cluster = shop.lab.cluster(REF)
    assert cluster
    assert (cluster.group("worker").memory, dict(cluster.own)) == (4096, {})


def test_a_limit_is_put_right_where_it_shall_not_be_adopted(shop: Shop, engine: Recorder) -> None:
    before = memory(shop)
    engine.resize_node(NodeRef(REF, "worker", 1), memory=4096, cpus=1)
    done = shop.configuring(engine).apply(REF, TERMS, AT_ONCE, adopting=False)
    assert (done.adopted, memory(shop), wanted_memory(shop)) == ((), before, before)


def test_a_limit_that_cannot_hold_what_runs_there_is_not_adopted(shop: Shop, engine: Recorder) -> None:
    engine.resize_node(NodeRef(REF, "worker", 1), memory=100, cpus=1)
    with pytest.raises(UsageError, match="worker"):
        apply(shop, engine)
    assert wanted_memory(shop)["worker-1"] != 100


def test_a_size_that_somebody_wrote_into_the_file_is_applied_and_not_taken_back(shop: Shop, engine: Recorder) -> None:
    there = shop.lab.cluster(REF)
    assert there
    shop.want(groups=(there.groups[0], replace(there.groups[1], memory=4096)))
    done = apply(shop, engine)
    assert done.adopted == ()
    assert memory(shop)["worker-0"] == wanted_memory(shop)["worker-0"] == 4096


# Resizing


def resize(shop: Shop, name: str, engine: Recorder | None = None, **size: Any) -> Applied:
    return shop.configuring(engine).resize(REF, name, Size(**size), TERMS)


def order(engine: Recorder) -> list[str]:
    """What was done to nodes: limits and restarts, in order."""
    return ["resize" if argv[0] == "resize" else "restart" for _, argv in engine.ran if argv[0] in ("resize", "s6-svc")]


def test_what_grows_grows_before_its_services_take_more(shop: Shop, engine: Recorder) -> None:
    yarn = int(on_nodes(shop, "worker-0", YARN_MEMORY, "yarn-site") or 0)
    before = heap(shop, "worker-0", "datanode")
    done = resize(shop, "worker", engine, memory=8192)
    assert engine.resized == [("worker-0", 8192), ("worker-1", 8192)]
    assert order(engine)[:2] == ["resize"] * 2
    assert set(order(engine)[2:]) == {"restart"}
    assert heap(shop, "worker-0", "datanode") > before
    assert int(on_nodes(shop, "worker-0", YARN_MEMORY, "yarn-site") or 0) > yarn
    assert {each.partition(" on ")[2] for each in done.restarted} >= {"worker-0", "worker-1"}
    assert wanted_memory(shop)["worker-1"] == 8192
    assert apply(shop) == Applied()


def test_what_shrinks_shrinks_after_its_services_take_less(shop: Shop, engine: Recorder) -> None:
    resize(shop, "worker", memory=8192)
    before = heap(shop, "worker-0", "datanode")
    resize(shop, "worker", engine, memory=1536)
    assert order(engine)[-2:] == ["resize"] * 2
    assert set(order(engine)[:-2]) == {"restart"}
    assert heap(shop, "worker-0", "datanode") < before
    assert memory(shop)["worker-0"] == 1536


def test_one_node_is_resized_alone(shop: Shop, engine: Recorder) -> None:
    resize(shop, "worker-1", engine, memory=8192, cpus=2.0)
    cluster = shop.lab.cluster(REF)
    assert cluster
    assert dict(cluster.own) == {"worker-1": NodeOverride(memory=8192, cpus=2.0)}
    assert [node for node, _ in engine.resized] == ["worker-1"]
    assert {each.partition(" on ")[2] for each in engine.restarts} == {"worker-1"}


def test_a_groups_new_size_is_that_of_nodes_that_had_their_own(shop: Shop) -> None:
    shop.want(own={"worker-0": NodeOverride(labels={"disk": "ssd"}, memory=2048)})
    resize(shop, "worker-1", memory=4096)
    resize(shop, "worker", memory=3072)
    cluster = shop.lab.cluster(REF)
    assert cluster
    assert dict(cluster.own) == {"worker-0": NodeOverride(labels={"disk": "ssd"})}
    assert set(list(memory(shop).values())[1:]) == {3072}


def test_a_stopped_clusters_size_waits_for_its_start(shop: Shop) -> None:
    shop.clusters().stop(REF, TERMS)
    assert resize(shop, "worker", memory=4096) == Applied()
    shop.clusters().start(REF, TERMS)
    assert memory(shop)["worker-0"] == wanted_memory(shop)["worker-0"] == 4096
    assert apply(shop) == Applied()


@pytest.mark.parametrize(
    ("name", "size", "error", "said"),
    [
        ("worker", {"memory": 100}, UsageError, "worker"),
        ("worker-1", {"memory": 100}, UsageError, "worker"),
        ("gateway", {"memory": 4096}, UsageError, "has no group and no node 'gateway'"),
        ("worker-7", {"memory": 4096}, UsageError, "has no group and no node 'worker-7'"),
    ],
)
def test_a_size_that_cannot_be_is_refused_before_anything(
    shop: Shop, engine: Recorder, name: str, size: dict[str, int], error: type[Exception], said: str
) -> None:
    before = shop.lab.revision()
    with pytest.raises(error, match=said):
        resize(shop, name, engine, **size)
    assert (shop.lab.revision(), engine.written, engine.resized) == (before, [], [])


def test_a_size_beyond_the_tenants_quota_is_refused(shop: Shop, engine: Recorder) -> None:
    shop.lab.change({"tenants/acme.yaml": "user_id: 20000\nquotas: {memory: 8g}\n"}, "a quota")
    before = memory(shop)
    with pytest.raises(PreflightError):
        resize(shop, "worker", engine, memory=16384)
    assert (memory(shop), wanted_memory(shop), engine.resized) == (before, before, [])


@pytest.mark.timeout(180)
@pytest.mark.parametrize("size", [8192, 1536], ids=["grow", "shrink"])
def test_resize_again_finishes_what_death_broke_off(tmp_path: Path, size: int) -> None:
    def broken_off(number: int) -> Shop | None:
        shop = Shop(tmp_path / f"{size}-{number}")
        shop.clusters().create(asked(), TERMS)
        faults = Faults()
        faults.die(number=number, after=number % 2 == 0)
        try:
            shop.configuring(faults=faults).resize(REF, "worker", Size(memory=size), TERMS)
        except Killed:
            return shop
        return None

    number = 3
    while shop := broken_off(number):
        resize(shop, "worker", memory=size)
        assert memory(shop)["worker-0"] == wanted_memory(shop)["worker-1"] == size
        assert shop.drifting().find(REF) == []
        assert apply(shop) == Applied()
        number += 4
    assert number > 20


def test_apply_goes_on_with_a_resize_that_death_broke_off(shop: Shop) -> None:
    faults = Faults()
    faults.die(name="resize_node")
    with pytest.raises(Killed):
        shop.configuring(faults=faults).resize(REF, "worker", Size(memory=8192), TERMS)
    apply(shop)
    assert memory(shop)["worker-0"] == wanted_memory(shop)["worker-0"] == 8192
