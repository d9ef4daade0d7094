"""A change that goes out in steps: only the nodes of a step have it, and what goes wrong takes everything back."""

from __future__ import annotations

from typing import Any

import pytest

from labcloud.apply.reverting import Reverting
from labcloud.apply.rollout import Pace, check_expression
from labcloud.apply.watch import Kind
from labcloud.errors import ConfiguringError, EngineError, UsageError
from labcloud.model import NodeRef
from labcloud.providers.base import Command, Result
from labcloud.providers.simulated import Faults, Killed
from tests.unit.apply.conftest import REF, TERMS, Recorder, Shop, asked

HANDLERS = {"hdfs-site:dfs.datanode.handler.count": "20"}
NAMENODE = {"hdfs-site:dfs.namenode.handler.count": "30"}
NODES = ["worker-0", "worker-1", "worker-2", "master-0"]
STEPS = Pace((0.25, 0.5, 1.0), check="yarn.unhealthy == 0 and hdfs.live == 3", patience=5)


@pytest.fixture
def shop(shop: Shop) -> Shop:
    shop.clusters().create(asked(workers=3), TERMS)
    shop.configure(HANDLERS)
    return shop


@pytest.fixture
def engine(shop: Shop) -> Recorder:
    return shop.recorder()


def apply(shop: Shop, pace: Pace, engine: Recorder | None = None) -> Any:
    return shop.configuring(engine).apply(REF, TERMS, pace)


def having_it(config: dict[str, str], text: str = "handler.count") -> list[str]:
    """The nodes whose rendered files have the change, in the order in which it goes out."""
    found = {path.partition("/")[0] for path, each in config.items() if path.endswith("hdfs-site.xml") and "<value>20</value>" in each}
    return [node for node in NODES if node in found]


def events(shop: Shop, *kinds: str) -> list[tuple[str, dict[str, Any]]]:
    last = max(shop.journal().operations(), key=lambda each: each.id)
    return [(each.kind, dict(each.details)) for each in shop.journal().read(last.id).events if each.kind in kinds]


# Steps


def test_each_step_writes_to_its_own_nodes_only(shop: Shop, engine: Recorder) -> None:
    apply(shop, STEPS, engine)
    seen = list(dict.fromkeys(tuple(having_it(each)) for each in engine.written))
    assert [nodes for nodes in seen if nodes] == [("worker-0",), ("worker-0", "worker-1"), tuple(NODES)]
    assert engine.restarts == [f"datanode on worker-{index}" for index in range(3)]
    assert [details for _, details in events(shop, "step")] == [
        {"share": 0.25, "nodes": ["worker-0"]},
        {"share": 0.5, "nodes": ["worker-1"]},
        {"share": 1.0, "nodes": ["worker-2", "master-0"]},
    ]


def test_a_node_restarts_after_it_has_the_files_and_before_the_next_step(shop: Shop) -> None:
    seen: list[tuple[str, list[str]]] = []

    class Watching(Recorder):
        def execute(self, ref: NodeRef, command: Command, **streams: Any) -> Result:
            if command.argv[0] == "s6-svc":
                seen.append((ref.name, having_it(self.config(REF))))
            return super().execute(ref, command, **streams)

    apply(shop, STEPS, Watching(shop.home, shop.lab.id, world=shop.world))
    assert seen == [("worker-0", NODES[:1]), ("worker-1", NODES[:2]), ("worker-2", NODES)]


def test_masters_come_last(shop: Shop, engine: Recorder) -> None:
    shop.configure({**HANDLERS, **NAMENODE})
    apply(shop, Pace((0.75, 1.0)), engine)
    assert engine.restarts == [*(f"datanode on worker-{index}" for index in range(3)), "namenode on master-0"]


def test_what_does_not_run_has_what_is_wanted_from_the_first_step(shop: Shop, engine: Recorder) -> None:
    found: list[list[str]] = []

    class Watching(Recorder):
        def ensure_config(self, *what: Any) -> bool:
            found.append(having_it(what[1]))
            return super().ensure_config(*what)

    watching = Watching(shop.home, shop.lab.id, world=shop.world)
    engine.delete_node(NodeRef(REF, "worker", 2))
    apply(shop, STEPS, watching)
    assert "worker-2" in found[0], "it is made with what is wanted"
    assert having_it(shop.provider().config(REF)) == NODES


def test_between_steps_there_is_a_pause_and_after_the_last_none(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(shop.watch, "pause", pauses.append)
    apply(shop, Pace((0.25, 0.5, 1.0), pause=600))
    assert pauses.count(600) == 2
    assert sum(event.kind is Kind.WAITING and "pausing for 600 s" in event.text for event in shop.events) == 2


@pytest.mark.parametrize(("share", "nodes"), [(0.01, 1), (0.25, 1), (0.3, 1), (0.5, 2), (0.7, 3), (0.75, 3), (0.9, 4)])
def test_a_share_of_the_nodes_is_the_nearest_number_of_them_and_one_at_least(shop: Shop, share: float, nodes: int) -> None:
    apply(shop, Pace((share, 1.0)))
    first = events(shop, "step")[0][1]
    assert first["nodes"] == NODES[:nodes]


def test_a_share_that_is_a_whole_number_of_nodes_is_that_number(tmp_path: Any) -> None:
    shop = Shop(tmp_path)
    shop.clusters().create(asked(workers=99), TERMS)
    shop.configure(HANDLERS)
    apply(shop, Pace((0.07, 1.0)))
    assert len(events(shop, "step")[0][1]["nodes"]) == 7


# Back


@pytest.mark.parametrize(("check", "reached"), [("done < 2", 2), ("done == 0", 1), ("done < 4", 4), ("hdfs.live == 7", 1)])
def test_a_check_that_fails_takes_everything_back(shop: Shop, engine: Recorder, check: str, reached: int) -> None:
    revision = Reverting(shop.lab, shop.journal()).applied(REF)
    before = shop.provider().config(REF)
    with pytest.raises(ConfiguringError, match=f"stopped after {reached} of 4 nodes and taken back") as caught:
        apply(shop, Pace((0.25, 0.5, 1.0), check=check, patience=0.3), engine)
    assert "'done'" in caught.value.details
    assert "clusters/acme/c.yaml" in caught.value.details
    assert shop.provider().config(REF) == before
    restarted = [f"datanode on {node}" for node in NODES[:reached] if node != "master-0"]
    assert engine.restarts == restarted * 2
    cluster = shop.lab.cluster(REF)
    assert cluster
    assert not cluster.configuration.settings
    assert shop.drifting().find(REF) == []
    (failed,), (back,), (reverted,) = (events(shop, kind) for kind in ("check failed", "rolled back", "reverted"))
    assert check in failed[1]["error"]
    assert back[1] == {"nodes": sorted(NODES[:reached])}
    assert reverted[1]["paths"] == ["clusters/acme/c.yaml"]
    assert shop.lab.log()[0].revision == reverted[1]["revision"]
    assert "take back" in shop.lab.log()[0].reason
    assert Reverting(shop.lab, shop.journal()).applied(REF) == revision


def test_what_was_taken_back_may_be_tried_again(shop: Shop) -> None:
    with pytest.raises(ConfiguringError):
        apply(shop, Pace((0.5, 1.0), check="done < 1", patience=0.1))
    shop.configure(HANDLERS)
    assert len(apply(shop, STEPS).restarted) == 3
    assert having_it(shop.provider().config(REF)) == NODES


def test_a_service_that_does_not_come_back_takes_everything_back(shop: Shop) -> None:
    class Broken(Recorder):
        def execute(self, ref: NodeRef, command: Command, **streams: Any) -> Result:
            if command.argv[0] == "s6-svc" and ref.name == "worker-1" and having_it(self.config(REF)):
                return Result(1, stderr=b"timed out")
            return super().execute(ref, command, **streams)

    before = shop.provider().config(REF)
    broken = Broken(shop.home, shop.lab.id, world=shop.world)
    with pytest.raises(ConfiguringError, match=r"taken back: could not restart datanode on acme/c/worker-1"):
        apply(shop, Pace((0.25, 0.5, 1.0), patience=2), broken)
    assert shop.provider().config(REF) == before
    assert shop.drifting().find(REF) == []
    assert "datanode on worker-0" in broken.restarts[-2:]


def test_without_steps_and_a_check_nothing_is_taken_back(shop: Shop, engine: Recorder) -> None:
    engine.answer(("s6-svc",), Result(1))
    with pytest.raises(ConfiguringError, match="could not restart"):
        apply(shop, Pace(), engine)
    assert having_it(shop.provider().config(REF)) == NODES
    cluster = shop.lab.cluster(REF)
    assert cluster
    assert dict(cluster.configuration.settings) == HANDLERS


def test_what_was_told_is_told_back(shop: Shop, engine: Recorder) -> None:
    proxy = {"core-site:hadoop.proxyuser.ada.hosts": "*"}
    for argv in (("hdfs", "dfsadmin"), ("yarn", "rmadmin"), ("mapred", "hsadmin")):
        engine.answer(argv, Result(0))
    shop.configure(proxy)
    with pytest.raises(ConfiguringError, match="taken back"):
        apply(shop, Pace(check="done < 4", patience=0.1), engine)
    assert set(engine.restarts) == {f"{name} on master-0" for name in ("namenode", "resourcemanager", "historyserver")}
    assert shop.drifting().find(REF) == []


def test_only_what_changed_since_is_taken_back_in_the_lab(shop: Shop) -> None:
    shop.lab.change({"base/settings.yaml": "core-site:a: 1\n", "tenants/blue.yaml": "user_id: 20007\n"}, "others")
    with pytest.raises(ConfiguringError):
        apply(shop, Pace((0.5, 1.0), check="done < 1", patience=0.1))
    assert shop.lab.text("base/settings.yaml") is None
    assert shop.lab.tenant("blue")


# Death


@pytest.mark.timeout(180)
@pytest.mark.parametrize("check", ["", "done < 2"], ids=["forth", "back"])
def test_apply_again_finishes_steps_that_death_broke_off(tmp_path: Any, check: str) -> None:
    pace = Pace((0.25, 0.5, 1.0), check=check, patience=0.2)

    def broken_off(number: int) -> Shop | None:
        shop = Shop(tmp_path / str(number))
        shop.clusters().create(asked(workers=3), TERMS)
        shop.configure(HANDLERS)
        faults = Faults()
        faults.die(number=number, after=number % 2 == 0)
        try:
            shop.configuring(faults=faults).apply(REF, TERMS, pace)
        except Killed:
            return shop
        except ConfiguringError:
            return None
        return None

    number = 4
    while shop := broken_off(number):
        apply(shop, Pace())
        cluster = shop.lab.cluster(REF)
        assert cluster
        assert having_it(shop.provider().config(REF)) == (NODES if cluster.configuration.settings else [])
        assert shop.drifting().find(REF) == []
        assert not apply(shop, Pace())
        number += 9
    assert number > 20


# Checks


@pytest.mark.parametrize(
    "check",
    ["", "yarn.unhealthy == 0", "hdfs.dead + hdfs.failed_volumes == 0", "not hdfs.safe_mode"],
)
def test_checks_that_can_be_evaluated(check: str) -> None:
    check_expression(check)


@pytest.mark.parametrize("check", ["yarn.sick == 0", "unhealthy == 0", "done <", "hdfs.live ==", "1 +"])
def test_a_check_that_cannot_be_evaluated_is_refused_before_anything(shop: Shop, engine: Recorder, check: str) -> None:
    with pytest.raises(UsageError, match="the check cannot be evaluated") as caught:
        apply(shop, Pace(check=check), engine)
    assert "hdfs.live" in caught.value.resolution
    assert (engine.written, engine.ran) == ([], [])


def test_a_check_may_divide_by_the_number_of_nodes(shop: Shop) -> None:
    apply(shop, Pace((0.5, 1.0), check="done / nodes <= 1", patience=1))


def test_a_check_sees_what_hdfs_and_yarn_say(shop: Shop) -> None:
    check = "nodes == 4 and done == 4 and hdfs.live == 3 and hdfs.dead == 0 and not hdfs.safe_mode and yarn.running == yarn.known == 3"
    apply(shop, Pace(check=check, patience=1))


def test_a_check_that_cannot_be_evaluated_with_what_is_seen_does_not_hold(shop: Shop) -> None:
    before = shop.provider().config(REF)
    with pytest.raises(ConfiguringError, match="taken back"):
        apply(shop, Pace((0.25, 0.5, 1.0), check="1 / (2 - done) > 0", patience=0.2))
    assert shop.provider().config(REF) == before


def test_a_check_is_tried_until_the_masters_answer(shop: Shop) -> None:
    faults = Faults()
    faults.fail(EngineError("nothing listens"), name="request", number=1)
    shop.configure({"hdfs-site:dfs.client.retry.max.attempts": "3"})
    shop.configuring(faults=faults).apply(REF, TERMS, Pace(check="hdfs.live == 3", patience=5))
