"""Moves and drains, on an engine that does what a test wants."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from labcloud.apply.journal import Journal
from labcloud.apply.watch import Event, Watch
from labcloud.errors import ConflictError, DeadlineError, PartlyDoneError, PreflightError
from labcloud.lab import Lab
from labcloud.lab.locks import cluster_lock
from labcloud.migrate.estimating import MaintenancePolicy
from labcloud.migrate.moving import AtLimit, Policy
from labcloud.migrate.planning import Wish
from labcloud.migrate.verbs import Migrating, check_all
from labcloud.model import ClusterRef, NodeRef
from labcloud.model.checks import Finding, failed, passed
from labcloud.model.hosts import MOVED, Guest, Host, How, Migration, Phase
from tests.cared import Cared
from tests.unit.migrate.conftest import Fleet, fleet, guest

REF = ClusterRef("acme", "c")
NODE = NodeRef(REF, "worker", 1)


class Bench:
    def __init__(self, home: Path, hosts: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("labcloud.migrate.moving._LEAST_PAUSE", 0.001)
        monkeypatch.setattr("labcloud.migrate.moving._SHORT", 0.002)
        self.hosts, self.care, self.home = hosts, Cared(), home
        self.told: list[Event] = []
        self.verbs = Migrating(Lab(home), Journal(home), hosts, self.care, Watch(self.told.append), who="somebody")

    def places(self) -> dict[str, str]:
        return {id: each.host for id, each in self.hosts.there.items()}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    there = [guest("1", cluster="c"), guest("2", cluster="c"), guest("3", cluster="d"), guest("4"), guest("5", "b")]
    return Bench(tmp_path, fleet(*there), monkeypatch)


def test_a_drain_empties_a_host_and_says_who_did(bench: Bench) -> None:
    done = bench.verbs.drain("a", Wish(), Policy())
    assert "a" not in bench.places().values()
    assert sorted(each.guest.id for each in done.outcomes) == ["1", "2", "3", "4"]
    assert bench.hosts.known["a"].reason.startswith("labcloud drain by somebody")
    assert not bench.hosts.known["a"].enabled
    assert bench.verbs.undrain("a")
    assert bench.hosts.known["a"].enabled


def test_moves_are_bounded_and_one_of_a_cluster_at_a_time(bench: Bench) -> None:
    bench.verbs.drain("a", Wish(), Policy(parallel=2))
    assert bench.hosts.most == 2
    ways = [(what, ref) for what, ref in bench.care.seen if ref.cluster == REF]
    assert ways == [(what, NodeRef(REF, "worker", index)) for index in (1, 2) for what in ("held", "proved", "released")]


def test_who_is_refused_keeps_nobody_else(bench: Bench) -> None:
    bench.care.ill = {NODE}
    with pytest.raises(PartlyDoneError) as caught:
        bench.verbs.drain("a", Wish(), Policy())
    assert "acme/c/worker-1 (ACTIVE): hadoop.answers: asked of acme/c" in caught.value.brief
    assert [id for id, host in bench.places().items() if host == "a"] == ["1"]
    bench.verbs.drain("a", Wish(ignored={"hadoop.answers": "it is a test"}), Policy())
    assert "a" not in bench.places().values()


def test_another_target_is_found_for_what_failed(bench: Bench) -> None:
    bench.hosts.refused = {"b"}
    with pytest.raises(PartlyDoneError):
        bench.verbs.drain("a", Wish(to="b"), Policy())
    bench.hosts.set_enabled(bench.hosts.known["b"], enabled=False)
    bench.verbs.drain("a", Wish(), Policy())
    assert {host for id, host in bench.places().items() if id != "5"} == {"c"}


def test_a_migrate_refuses_before_anything_moves(bench: Bench) -> None:
    bench.care.ill = {NodeRef(REF, "worker", 2)}
    with pytest.raises(PreflightError):
        bench.verbs.migrate(REF, None, Wish(), Policy())
    assert bench.hosts.orders == []
    assert [each.moved for each in bench.verbs.migrate(REF, NODE, Wish(), Policy())] == [True]


@pytest.mark.parametrize(
    ("at_limit", "orders"),
    [(AtLimit.FORCE, ["complete 4"]), (AtLimit.ABORT, ["abort 4"]), (AtLimit.WAIT, [])],
)
def test_a_slow_move_meets_its_limit(bench: Bench, at_limit: AtLimit, orders: list[str]) -> None:
    bench.hosts.there = {"4": bench.hosts.there["4"]}
    bench.hosts.course["4"] = lambda asked: Phase.COPYING if asked < 20 else Phase.DONE
    try:
        bench.verbs.drain("a", Wish(), Policy(limit=0.005, at_limit=at_limit))
    except PartlyDoneError as exc:
        assert at_limit is AtLimit.ABORT
        assert "aborted after 0.005 s" in exc.brief
    assert [each for each in bench.hosts.orders if not each.startswith("live")][:1] == orders


def test_how_far_a_move_is_is_told(bench: Bench) -> None:
    bench.hosts.course["4"] = lambda asked: Phase.COPYING if asked < 20 else Phase.DONE
    bench.verbs.drain("a", Wish(), Policy())
    assert any("server-4 75%, 25 MiB left at" in each.text for each in bench.told)


def test_what_is_not_well_afterwards_is_told(bench: Bench) -> None:
    bench.care.awaited = "the DataNode to report"
    with pytest.raises(PartlyDoneError, match="there still was to wait for the DataNode to report"):
        bench.verbs.migrate(REF, NODE, Wish(), Policy(settle=0.01))
    assert bench.places()["1"] != "a"


def test_a_cluster_that_somebody_changes_is_waited_for(bench: Bench) -> None:
    with cluster_lock(bench.home, REF, verb="scale"), pytest.raises(DeadlineError, match="2 moves were not over"):
        bench.verbs.drain("a", Wish(), Policy(timeout=0.2))
    assert sorted(id for id, host in bench.places().items() if host == "a") == ["1", "2"]
    assert any("scale" in each.text for each in bench.told)


def test_a_move_that_is_under_way_is_awaited_and_not_asked_for_again(bench: Bench) -> None:
    bench.hosts.move(bench.hosts.there["4"], "b")
    bench.hosts.there["4"] = guest("4", task="migrating", state="MIGRATING")
    bench.verbs.drain("a", Wish(), Policy())
    assert [each for each in bench.hosts.orders if " 4 " in each] == ["live 4 to b"]
    assert bench.places()["4"] == "b"


def test_of_moves_that_fail_each_has_a_second_way_of_its_own(bench: Bench) -> None:
    """What one of them goes through must not hide what the engine says of the others."""
    bench.hosts.there = {"4": guest("4"), "6": guest("6")}
    bench.hosts.course["4"] = lambda asked: Phase.WAITING if asked < 60 else Phase.DONE
    bench.hosts.course["6"] = lambda asked: Phase.COPYING if asked < 40 else Phase.DONE
    done = bench.verbs.drain("a", Wish(), Policy(limit=0.01, at_limit=AtLimit.COLD, timeout=5))
    assert {each.guest.id for each in done.outcomes if each.moved} == {"4", "6"}


def test_hdfs_is_told_of_a_node_that_will_be_away_for_long(bench: Bench) -> None:
    def told(wish: Wish, policy: Policy) -> list[float]:
        bench.hosts.there["1"] = guest("1", cluster="c")
        bench.care.told = []
        bench.verbs.migrate(REF, NODE, wish, policy)
        return bench.care.told

    def said(wish: Wish) -> list[str]:
        (move,) = bench.verbs.plan(REF, NODE, wish)
        return [each.summary for each in move.report.checks if each.id == "hadoop.maintenance"]

    assert (told(Wish(), Policy(timeout=99)), said(Wish())) == ([0], [])
    bench.hosts.there["1"] = guest("1", cluster="c")
    assert said(Wish(cold=True)) == [f"HDFS is told of {NODE}"]
    assert told(Wish(cold=True), Policy(timeout=99)) == [99]
    assert told(Wish(cold=True), Policy(maintenance=MaintenancePolicy.NEVER)) == [0]
    assert told(Wish(), Policy(maintenance=MaintenancePolicy.ALWAYS, timeout=99)) == [99]


def test_hdfs_is_told_when_a_slow_live_move_becomes_a_cold_one(bench: Bench) -> None:
    bench.hosts.course["1"] = lambda asked: Phase.COPYING if asked < 40 else Phase.DONE
    (outcome,) = bench.verbs.migrate(REF, NODE, Wish(), Policy(limit=0.01, at_limit=AtLimit.COLD, timeout=99))
    assert (outcome.how, outcome.moved) == (How.COLD, True)
    assert bench.care.told == [0, 99]


def test_a_node_is_waited_for_up_to_a_limit_that_is_told(bench: Bench) -> None:
    bench.care.work = "its containers"
    (outcome,) = bench.verbs.migrate(REF, NODE, Wish(), Policy(drain=True, drain_limit=0.01))
    assert outcome.disturbed == ("after 0.01 s it no longer waited for its containers",)
    assert any("worker-1 waits for its containers" in each.text for each in bench.told)


def test_an_interruption_gives_nodes_their_work_back(bench: Bench) -> None:
    bench.hosts.course["1"] = lambda _: Phase.COPYING

    def interrupt(event: Event) -> None:
        if "copying" in event.text:
            raise KeyboardInterrupt

    bench.verbs._watch.tell = interrupt
    with pytest.raises(KeyboardInterrupt):
        bench.verbs.migrate(REF, NODE, Wish(), Policy())
    assert bench.care.seen[-1] == ("released", NODE)


def test_cold_moves_of_a_killed_run_are_confirmed(bench: Bench) -> None:
    bench.hosts.there["6"] = guest("6", "b", state="VERIFY_RESIZE")
    bench.verbs.drain("a", Wish(), Policy())
    assert "confirm 6" in bench.hosts.orders


def test_what_is_off_moves_cold(bench: Bench) -> None:
    bench.hosts.there = {"4": guest("4", state="SHUTOFF")}
    (outcome,) = bench.verbs.drain("a", Wish(), Policy()).outcomes
    assert (outcome.how, outcome.moved) == (How.COLD, True)


def test_only_a_host_that_is_off_for_certain_is_evacuated(bench: Bench) -> None:
    with pytest.raises(ConflictError, match="is up"):
        bench.verbs.evacuate("a", Wish(), Policy(), fenced=True)
    bench.hosts.known["a"] = replace(bench.hosts.known["a"], up=False, heard="2026-01-01T00:00:00")
    with pytest.raises(ConflictError, match="may run still"):
        bench.verbs.evacuate("a", Wish(), Policy())
    outcomes = bench.verbs.evacuate("a", Wish(), Policy(), fenced=True)
    assert {each.how for each in outcomes} == {How.REBUILD}
    assert "a" not in bench.places().values()
    assert bench.hosts.known["a"].fenced
    assert bench.care.seen == [], "nobody can be asked"


def test_a_master_whose_data_are_lost_is_left_to_its_backup(bench: Bench) -> None:
    bench.hosts.known["a"] = replace(bench.hosts.known["a"], up=False, fenced=True)
    lost = {"disk": 10, "local": frozenset({0})}
    bench.hosts.there = {"1": guest("1", cluster="c", **lost), "2": guest("2", **{**lost, "ref": NodeRef(REF, "master", 0)})}
    with pytest.raises(PartlyDoneError) as caught:
        check_all(bench.verbs.evacuate("a", Wish(), Policy()))
    assert "acme/c/master-0: move.data: /data/0 with the file system's own metadata" in caught.value.details
    assert bench.places() == {"1": bench.places()["1"], "2": "a"}
    assert bench.places()["1"] != "a"
    assert all(each.moved for each in bench.verbs.evacuate("a", Wish(shared=True), Policy()))


# Engines that move what runs by a short stop


class Restarting(Fleet):
    """Moves carry 2 GiB, and nobody goes to ``c``."""

    way = How.RESTART

    def data(self, guest: Guest) -> int:
        return 2048 if guest.ref else 0

    def judge(self, guest: Guest, target: Host) -> list[tuple[str, Finding]]:
        assert guest.host != target.name
        return [("move.network", failed("no way", "build one") if target.name == "c" else passed("a way"))]

    def moves(self, since: datetime) -> list[Migration]:
        return [replace(each, pause=1.5, note="a crumb" if each.server == "2" else "") for each in super().moves(since)]


@pytest.fixture
def restarting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    there = {each.id: each for each in (guest("1", cluster="c"), guest("2", cluster="c"))}
    return Bench(tmp_path, Restarting({name: Host(name, id=name) for name in "abc"}, there), monkeypatch)


def test_what_an_engine_knows_of_its_moves_is_asked_and_told(restarting: Bench) -> None:
    (move,) = restarting.verbs.plan(REF, NODE, Wish(to="b"))
    said = {each.id: each for each in move.report.checks}
    assert (move.how, move.report.ok, said["move.network"].summary) == (How.RESTART, True, "a way")
    assert said["move.network"].why
    assert "2g are copied while it runs, in about 19 s" in said["move.storage"].summary
    assert "move.convergence" not in said
    with pytest.raises(PreflightError, match="1 of"):
        restarting.verbs.migrate(REF, NODE, Wish(to="c"), Policy())
    first, second = restarting.verbs.migrate(REF, None, Wish(to="b"), Policy())
    assert restarting.hosts.orders == ["live 1 to b", "live 2 to b"]
    assert (first.how, first.pause, first.disturbed) == (How.RESTART, 1.5, ())
    assert second.disturbed == ("a crumb",)


def test_a_move_that_was_killed_at_its_end_is_finished_and_not_begun_again(restarting: Bench) -> None:
    restarting.hosts.there = {id: replace(each, host="b") for id, each in restarting.hosts.there.items()}
    restarting.hosts.there["1"] = replace(restarting.hosts.there["1"], state=MOVED)
    (outcome,) = restarting.verbs.migrate(REF, NODE, Wish(to="b"), Policy())
    assert (outcome.moved, outcome.target) == (True, "b")
    assert restarting.hosts.orders == ["confirm 1"]
    restarting.hosts.there["1"] = replace(restarting.hosts.there["1"], state="ACTIVE")
    with pytest.raises(ConflictError, match="runs on b already"):
        restarting.verbs.migrate(REF, NODE, Wish(to="b"), Policy())
