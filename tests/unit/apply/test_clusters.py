"""The verbs on the simulated engine: what they do, what is wanted afterwards, what the journal says."""

from __future__ import annotations

import multiprocessing
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labcloud.apply.clusters import Clusters
from labcloud.apply.journal import Journal
from labcloud.apply.journal import Result as Outcome
from labcloud.apply.watch import Event, Kind, Watch
from labcloud.errors import ConfiguringError, ConflictError, NotFoundError, UsageError
from labcloud.model import Found, NodeRef, Wanted
from labcloud.model.checks import Check, Finding, Subject, passed
from labcloud.model.protection import BackupTerms
from labcloud.plan import EnsureNode, Plan
from labcloud.providers.base import Command, Response, Result
from labcloud.providers.simulated import Faults, Killed, SimulatedProvider, World
from tests.unit.apply.conftest import REF, TERMS, Recorder, Shop, asked

THREE_COPIES = b"-rw-r--r--   3 acme acme         12 2026-01-01 10:00 /user/acme/text\n"


def test_create_makes_what_is_declared_and_wants_it(shop: Shop) -> None:
    plan = shop.clusters().create(asked(), TERMS)
    assert [str(step) for step in plan] == [
        "make the network of acme",
        "write the configuration",
        "make the node master-0",
        "make the node worker-0",
        "make the node worker-1",
    ]
    assert shop.running() == ["master-0", "worker-0", "worker-1"]
    wanted = shop.lab.cluster(REF)
    assert wanted is not None
    assert (wanted.profile, wanted.state, [group.count for group in wanted.groups]) == ("hadoop-2.7", Wanted.RUNNING, [1, 2])


def test_create_again_has_nothing_to_do_and_keeps_the_identity(shop: Shop) -> None:
    shop.clusters().create(asked(), TERMS)
    before = shop.lab.cluster(REF)
    assert shop.clusters().create(asked(), TERMS) == Plan()
    assert shop.lab.cluster(REF) == before


def test_a_dry_run_says_the_same_and_makes_nothing(shop: Shop) -> None:
    plan = shop.clusters().plan_create(asked())
    assert (shop.found(), shop.lab.clusters(), shop.journal().operations()) == (Found(), [], [])
    assert [str(step) for step in shop.clusters().create(asked(), TERMS)] == [str(step) for step in plan]


def test_checks_are_told_how_the_cluster_will_be_protected(shop: Shop) -> None:
    def target(subject: Subject) -> Finding:
        assert subject.cluster
        return passed(subject.policy(subject.cluster).target)

    class Curious(SimulatedProvider):
        def checks(self) -> tuple[Check, ...]:
            return (Check("engine.target", "a test asks", target),)

    shop.lab.change_backup(lambda old: replace(old, terms=BackupTerms(target="engine:simulated")), "a policy")
    report = shop.clusters(Curious(shop.home, shop.lab.id)).preflight(asked(), {})
    assert next(each.summary for each in report.checks if each.id == "engine.target") == "engine:simulated"


def test_the_journal_has_what_was_asked_planned_done_and_the_end(shop: Shop) -> None:
    shop.clusters().create(asked(), TERMS)
    (last,) = shop.journal().operations()
    record = shop.journal().read(last.id)
    assert (record.verb, record.target, record.result) == ("create", "acme/c", Outcome.OK)
    assert record.spec == {"profile": "hadoop-2.7", "provider": "simulated", "workers": 2}
    assert [event.kind for event in record.events] == ["preflight", "allocated", "planned", *["done"] * 5, "ready", "configured"]
    assert record.events[-1].details == {"revision": shop.lab.revision()}


def test_events_tell_the_plan_each_step_and_the_end(shop: Shop) -> None:
    shop.clusters().create(asked(), TERMS)
    kinds = [event.kind for event in shop.events]
    assert (kinds[0], shop.events[0].count, kinds.count(Kind.DONE), kinds[-1]) == (Kind.PLANNED, 5, 5, Kind.READY)


def test_stop_and_start_keep_the_data(shop: Shop) -> None:
    shop.clusters().create(asked(), TERMS)
    volumes, worker = shop.found().volumes, NodeRef(REF, "worker", 0)
    shop.provider().execute(worker, Command(("tee", "/data/0/kept"), stdin=b"kept"))
    shop.clusters().stop(REF, TERMS)
    wanted = shop.lab.cluster(REF)
    assert (shop.running(), wanted and wanted.state, shop.found().volumes) == ([], Wanted.STOPPED, volumes)
    shop.clusters().start(REF, TERMS)
    assert shop.running() == ["master-0", "worker-0", "worker-1"]
    assert shop.provider().execute(worker, Command(("cat", "/data/0/kept"))).stdout == b"kept"


def test_stopping_twice_has_nothing_to_do(shop: Shop) -> None:
    shop.clusters().create(asked(), TERMS)
    shop.clusters().stop(REF, TERMS)
    assert shop.clusters().stop(REF, TERMS) == Plan()


def test_start_heals_a_cluster_that_lost_a_node(shop: Shop) -> None:
    shop.clusters().create(asked(), TERMS)
    shop.provider().delete_node(NodeRef(REF, "worker", 1))
    assert [str(step) for step in shop.clusters().start(REF, TERMS)] == ["make the node worker-1"]


def test_scale_up_makes_only_the_new_nodes(shop: Shop) -> None:
    shop.clusters().create(asked(), TERMS)
    made = [str(step) for step in shop.clusters().scale(REF, 4, TERMS) if isinstance(step, EnsureNode)]
    assert made == ["make the node worker-2", "make the node worker-3"]
    wanted = shop.lab.cluster(REF)
    assert wanted is not None
    assert wanted.group("worker").count == 4


def test_a_worker_that_left_can_come_back(shop: Shop) -> None:
    shop.clusters().create(asked(), TERMS)
    shop.clusters().scale(REF, 1, TERMS)
    assert shop.running() == ["master-0", "worker-0"]
    shop.clusters().scale(REF, 2, TERMS)
    assert shop.running() == ["master-0", "worker-0", "worker-1"]


def test_scale_down_refuses_to_go_below_the_copies_that_files_have(shop: Shop) -> None:
    shop.clusters().create(asked(workers=3), TERMS)
    engine = shop.provider()
    engine.answer(("hdfs", "dfs", "-ls"), Result(0, THREE_COPIES))
    with pytest.raises(ConflictError, match="cannot do with 2 workers: 1 files have up to 3 replicas, the first is /user/acme/text"):
        shop.clusters(engine).scale(REF, 2, TERMS)
    wanted = shop.lab.cluster(REF)
    assert wanted is not None
    assert (wanted.group("worker").count, len(shop.running())) == (3, 4)


@pytest.mark.parametrize(("default", "refused"), [(b"1", False), (b"2", False), (b"3", True)])
def test_files_that_want_more_copies_than_there_are_workers_need_the_default_only(shop: Shop, default: bytes, refused: bool) -> None:
    shop.clusters().create(asked(workers=3), TERMS)
    engine = shop.provider()
    engine.answer(("hdfs", "dfs", "-ls"), Result(0, THREE_COPIES.replace(b"   3 ", b"  10 ")))
    engine.answer(("hdfs", "getconf", "-confKey", "dfs.replication"), Result(0, default + b"\n"))
    if refused:
        with pytest.raises(ConflictError, match="up to 10 replicas"):
            shop.clusters(engine).scale(REF, 2, TERMS)
    else:
        shop.clusters(engine).scale(REF, 2, TERMS)
    assert len(shop.running()) == (4 if refused else 3)


def test_scale_down_stops_where_hdfs_cannot_be_asked(shop: Shop) -> None:
    shop.clusters().create(asked(), TERMS)
    engine = shop.provider()
    engine.answer(("hdfs", "dfs", "-ls"), Result(255, stderr=b"Connection refused"))
    with pytest.raises(ConfiguringError) as caught:
        shop.clusters(engine).scale(REF, 1, TERMS)
    assert caught.value.details == "Connection refused"


def test_a_daemon_that_refuses_its_list_ends_the_scale_down_before_a_node_goes(shop: Shop) -> None:
    shop.clusters().create(asked(), TERMS)
    engine = shop.provider()
    engine.answer(("yarn", "rmadmin"), Result(1, stderr=b"no"))
    with pytest.raises(ConfiguringError, match="resourcemanager of acme/c refused"):
        shop.clusters(engine).scale(REF, 1, TERMS)
    assert "worker-1" in shop.running()


def test_a_stopped_cluster_is_not_scaled(shop: Shop) -> None:
    shop.clusters().create(asked(), TERMS)
    shop.clusters().stop(REF, TERMS)
    with pytest.raises(ConflictError, match="is stopped"):
        shop.clusters().scale(REF, 3, TERMS)


@pytest.mark.parametrize("count", [-1, 0, 10_000])
def test_scale_refuses_a_count_that_cannot_be(shop: Shop, count: int) -> None:
    shop.clusters().create(asked(), TERMS)
    with pytest.raises(UsageError, match=f"cannot have {count} workers"):
        shop.clusters().scale(REF, count, TERMS)


@pytest.mark.parametrize("rolling", [False, True])
def test_restart_restarts_one_service_on_each_of_its_nodes(shop: Shop, rolling: bool) -> None:
    shop.clusters().create(asked(), TERMS)
    engine = shop.recorder()
    shop.clusters(engine).restart(REF, TERMS, service="datanode", rolling=rolling)
    assert engine.restarts == ["datanode on worker-0", "datanode on worker-1"]


def test_a_rolling_restart_waits_for_readiness_after_each_node(shop: Shop) -> None:
    shop.clusters().create(asked(), TERMS)
    shop.events.clear()
    shop.clusters().restart(REF, TERMS, service="datanode", rolling=True)
    assert [event.kind for event in shop.events] == [Kind.DONE, Kind.READY] * 2


class Mute(Recorder):
    """A NodeManager has registered, and sends no heartbeat until it is started again."""

    def request(self, ref: NodeRef, *what: Any, **how: Any) -> Response:
        answer = super().request(ref, *what, **how)
        if "nodemanager on worker-1" in self.restarts:
            return answer
        return replace(answer, body=re.sub(rb'(worker-1.*?HealthReport\\": \\")', rb"\1Healthy", answer.body))


def test_a_nodemanager_without_heartbeats_is_started_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.clusters().create(asked(), TERMS)
    monkeypatch.setattr("labcloud.apply.ready._HEARTBEAT", 0.0)
    engine = Mute(shop.home, shop.lab.id, world=shop.world)
    shop.clusters(engine).restart(REF, TERMS, service="resourcemanager")
    assert engine.restarts == ["resourcemanager on master-0", "nodemanager on worker-1"]


def test_restart_names_the_service_that_did_not_come_back(shop: Shop) -> None:
    shop.clusters().create(asked(), TERMS)
    engine = shop.provider()
    engine.answer(("s6-svc",), Result(1, stderr=b"timed out"))
    with pytest.raises(ConfiguringError, match="could not restart namenode on acme/c/master-0"):
        shop.clusters(engine).restart(REF, TERMS, service="namenode")


def test_restart_refuses_an_unknown_service_and_a_stopped_cluster(shop: Shop) -> None:
    shop.clusters().create(asked(), TERMS)
    with pytest.raises(UsageError, match="has no service 'hbase'"):
        shop.clusters().restart(REF, TERMS, service="hbase")
    shop.clusters().stop(REF, TERMS)
    with pytest.raises(ConflictError, match="does not run"):
        shop.clusters().restart(REF, TERMS)


def test_delete_leaves_nothing(shop: Shop) -> None:
    shop.clusters().create(asked(), TERMS)
    shop.clusters().delete(REF, TERMS)
    assert (shop.found(), shop.lab.clusters()) == (Found(), [])
    assert not list(shop.home.glob("lab/clusters/*"))
    assert not list(shop.home.glob("locks/*"))


def _die(home: Path) -> None:
    with Journal(home).operation("create", str(REF)) as operation:
        operation.event("planned")
        os._exit(9)


def test_delete_waits_for_what_a_killed_create_asked_the_engine_for(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.clusters().create(asked(), TERMS)
    process = multiprocessing.get_context("spawn").Process(target=_die, args=(shop.lab.home,))
    process.start()
    process.join(30)
    pauses: list[float] = []
    events: list[Event] = []
    watch = Watch(events.append)
    monkeypatch.setattr(watch, "pause", pauses.append)
    monkeypatch.setattr("labcloud.apply.clusters._LANDING", 60.0)
    shop.clusters(watch=watch).delete(REF, TERMS)
    assert [0 < each <= 60 for each in pauses] == [True]
    assert any("when it was killed" in each.text for each in events)
    assert REF not in {node.ref.cluster for node in shop.found().nodes}


def test_delete_keeps_the_network_of_the_tenants_other_cluster(shop: Shop) -> None:
    other = replace(REF, name="other")
    for ref in (REF, other):
        shop.clusters().create(asked(ref), TERMS)
    shop.clusters().delete(REF, TERMS)
    assert (shop.found().networks, {node.ref.cluster for node in shop.found().nodes}) == ({"acme"}, {other})
    shop.clusters().delete(other, TERMS)
    assert shop.found() == Found()


def test_delete_takes_what_nobody_wants_any_more(shop: Shop) -> None:
    shop.clusters().create(asked(), TERMS)
    shop.lab.remove(REF, "by hand")
    shop.clusters().delete(REF, TERMS)
    assert shop.found() == Found()


@pytest.mark.parametrize("verb", ["start", "stop", "delete", "restart"])
def test_a_cluster_that_is_not_there_is_named_with_those_that_are(shop: Shop, verb: str) -> None:
    shop.clusters().create(asked(replace(REF, name="other")), TERMS)
    with pytest.raises(NotFoundError, match="there is no cluster acme/c") as caught:
        getattr(shop.clusters(), verb)(REF, TERMS)
    assert "acme/other" in caught.value.resolution


def broken_off_deletion(shop: Shop) -> None:
    shop.clusters().create(asked(), TERMS)
    faults = Faults()
    faults.die(name="delete_node")
    with pytest.raises(Killed):
        shop.clusters(faults=faults).delete(REF, TERMS)


def test_create_finishes_a_broken_off_deletion_and_makes_another_cluster(shop: Shop) -> None:
    shop.clusters().create(asked(), TERMS)
    old = shop.lab.cluster(REF)
    broken_off_deletion(shop)
    faults = Faults()
    shop.clusters(faults=faults).create(asked(workers=1), TERMS)
    new = shop.lab.cluster(REF)
    assert old is not None
    assert new is not None
    assert (old.id == new.id, new.group("worker").count, shop.running()) == (False, 1, ["master-0", "worker-0"])
    names = faults.names()
    assert names.index("ensure_node") > max(index for index, name in enumerate(names) if name.startswith("delete_"))


def test_a_broken_off_deletion_is_finished_on_the_engine_that_has_the_nodes(shop: Shop) -> None:
    broken_off_deletion(shop)
    other = SimulatedProvider(shop.home, shop.lab.id, world=World())
    engines = {"simulated": shop.provider(), "other": other}
    Clusters(shop.lab, Journal(shop.home), engines.__getitem__, shop.watch).create(asked(provider="other"), TERMS)
    assert (shop.found(), len(other.find().nodes)) == (Found(), 3)


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
def test_a_cluster_whose_deletion_was_begun_can_only_be_deleted(shop: Shop, verb: str) -> None:
    broken_off_deletion(shop)
    with pytest.raises(ConflictError, match="deletion of acme/c was begun") as caught:
        getattr(shop.clusters(), verb)(REF, TERMS)
    assert caught.value.resolution == "finish it: labcloud delete acme/c"
    shop.clusters().delete(REF, TERMS)
    assert shop.found() == Found()
