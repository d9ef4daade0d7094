"""What goes wrong: refusals, waits without an end, interruptions, two at once, bad requests."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labcloud.apply.clusters import Clusters
from labcloud.apply.journal import Result as Outcome
from labcloud.apply.verbs import Terms
from labcloud.apply.watch import Event, Kind, Watch
from labcloud.errors import ConflictError, DeadlineError, EngineError, LabError, NotFoundError, UsageError
from labcloud.lab.locks import cluster_lock
from labcloud.model import ClusterRef, Found
from labcloud.plan import Plan
from labcloud.providers.base import Result
from labcloud.providers.simulated import Faults, Killed
from tests.unit.apply.conftest import REF, TERMS, Shop, asked

SOON = Terms(timeout=0.3)
Verb = Callable[[Clusters], object]


def create(clusters: Clusters) -> object:
    return clusters.create(asked(), TERMS)


def scale_up(clusters: Clusters) -> object:
    return clusters.scale(REF, 3, TERMS)


def scale_down(clusters: Clusters) -> object:
    return clusters.scale(REF, 1, TERMS)


def delete(clusters: Clusters) -> object:
    return clusters.delete(REF, TERMS)


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize(
    ("before", "verb", "workers"), [((), create, 2), ((create,), scale_up, 3), ((create,), scale_down, 1)], ids=["create", "up", "down"]
)
def test_one_refusal_at_any_call_is_retried_or_told_and_the_same_command_goes_on(
    tmp_path: Path, before: tuple[Verb, ...], verb: Verb, workers: int
) -> None:
    refused = 0
    for number in range(1, 100):
        shop = Shop(tmp_path / str(number))
        for each in before:
            each(shop.clusters())
        faults = Faults()
        faults.fail(EngineError("the engine is tired"), number=number)
        try:
            verb(shop.clusters(faults=faults))
        except LabError:
            refused += 1
            verb(shop.clusters())
        assert shop.running() == ["master-0", *(f"worker-{index}" for index in range(workers))]
        if len(faults.calls) < number:
            break
    assert 0 < refused < number / 2, "most refusals are retried"


@pytest.mark.usefixtures("no_pauses")
def test_one_refusal_at_any_call_of_delete_leaves_nothing_in_the_end(tmp_path: Path) -> None:
    for number in range(1, 100):
        shop = Shop(tmp_path / str(number))
        create(shop.clusters())
        faults = Faults()
        faults.fail(EngineError("the engine is tired"), number=number)
        try:
            delete(shop.clusters(faults=faults))
        except LabError:
            delete(shop.clusters())
        assert (shop.found(), shop.lab.clusters()) == (Found(), [])
        if len(faults.calls) < number:
            return
    pytest.fail("it never came to an end")


@pytest.mark.usefixtures("no_pauses")
def test_an_engine_that_goes_on_refusing_is_told_after_three_tries(shop: Shop) -> None:
    faults = Faults()
    faults.fail(EngineError("no room"), name="ensure_node", target="acme/c/worker-1")
    with pytest.raises(EngineError, match="no room"):
        create(shop.clusters(faults=faults))
    assert [call.target for call in faults.calls].count("acme/c/worker-1") == 3
    (record,) = shop.journal().operations()
    events = shop.journal().read(record.id).events
    assert (record.result, record.error) == (Outcome.ERROR, "no room")
    assert [event.details["attempt"] for event in events if event.kind == "refused"] == [1, 2, 3]


@pytest.mark.usefixtures("no_pauses")
def test_the_other_failures_of_a_stage_stand_in_the_details(shop: Shop) -> None:
    both = threading.Barrier(2, timeout=10)
    faults = Faults(pause=lambda name: both.wait() and None if name == "ensure_node" else None)
    for index in range(2):
        faults.fail(ConflictError(f"port {index} is taken"), target=f"acme/c/worker-{index}")
    create_master_only = asked(workers=1)
    faults.fail(ConflictError("port 9 is taken"), target="acme/c/master-0")
    with pytest.raises(ConflictError) as caught:
        shop.clusters(faults=faults).create(create_master_only, TERMS)
    assert {caught.value.brief, caught.value.details.removeprefix("also: ")} == {"port 0 is taken", "port 9 is taken"}


def test_a_fault_of_our_own_is_no_error_of_the_engine(shop: Shop) -> None:
    def stumble(name: str) -> None:
        if name == "ensure_node":
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        create(shop.clusters(faults=Faults(pause=stumble)))
    (record,) = shop.journal().operations()
    assert record.error.startswith("a bug")


def test_a_network_that_another_deletion_took_is_made_again(shop: Shop) -> None:
    faults = Faults()
    faults.fail(NotFoundError("there is no network"), name="ensure_node", number=1)
    create(shop.clusters(faults=faults))
    assert faults.names().count("ensure_network") == 2


# Waits without an end


def test_a_cluster_that_never_answers_ends_at_the_deadline_with_what_was_waited_for(shop: Shop) -> None:
    with pytest.raises(DeadlineError, match=r"acme/c was not ready after 0.3 s: the NameNode is starting") as caught:
        shop.clusters(shop.provider(startup=10**9)).create(asked(), SOON)
    assert "--timeout" in caught.value.resolution
    assert "namenode on master-0" in caught.value.details


def test_the_wait_names_datanodes_that_are_missing(shop: Shop) -> None:
    create(shop.clusters())
    engine = shop.provider()
    engine.answer(("hdfs", "dfsadmin"), Result(0))  # it does not read its list, so that worker-1 stays excluded
    with pytest.raises(DeadlineError, match=r"HDFS copies the blocks of worker-1 elsewhere \(0 left\)"):
        shop.clusters(engine).scale(REF, 1, SOON)
    assert "worker-1" in shop.running()


def test_what_is_waited_for_is_told_once(shop: Shop) -> None:
    shop.clusters(shop.provider(startup=3)).create(asked(), TERMS)
    waits = [event.text for event in shop.events if event.kind is Kind.WAITING]
    assert waits[0] == "the NameNode is starting"
    assert len(waits) == len(set(waits))


def test_without_waiting_nothing_is_asked_of_the_services(shop: Shop) -> None:
    faults = Faults()
    shop.clusters(faults=faults).create(asked(), Terms(wait=False))
    assert {"request", "execute"}.isdisjoint(faults.names())


# Interruptions


def interrupted(shop: Shop) -> bool:
    return shop.journal().operations(1)[0].result is Outcome.INTERRUPTED


def test_whoever_stops_the_watch_ends_the_run_cleanly_and_can_go_on(shop: Shop) -> None:
    watch = Watch()
    faults = Faults(pause=lambda name: watch.stop() if name == "ensure_node" else None)
    with pytest.raises(KeyboardInterrupt):
        create(shop.clusters(faults=faults, watch=watch))
    assert interrupted(shop)
    create(shop.clusters())
    assert shop.running() == ["master-0", "worker-0", "worker-1"]


def test_ctrl_c_ends_a_wait_for_readiness(shop: Shop) -> None:
    watch = Watch(press_ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        shop.clusters(shop.provider(startup=10**9), watch=watch).create(asked(), TERMS)
    assert interrupted(shop)


@pytest.mark.timeout(60)
def test_ctrl_c_ends_a_decommissioning_that_a_thread_waits_for(shop: Shop) -> None:
    create(shop.clusters())
    engine = shop.provider()
    engine.answer(("hdfs", "dfsadmin"), Result(0))
    with pytest.raises(KeyboardInterrupt):
        shop.clusters(engine, watch=Watch(press_ctrl_c)).scale(REF, 1, Terms(timeout=600))
    assert interrupted(shop)
    assert "worker-1" in shop.running()
    scale_down(shop.clusters())
    assert shop.running() == ["master-0", "worker-0"]


def press_ctrl_c(event: Event) -> None:
    if event.kind is Kind.WAITING:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def test_whoever_stops_the_watch_ends_a_wait_for_another_process(shop: Shop) -> None:
    create(shop.clusters())
    watch = Watch(lambda _: watch.stop())
    with cluster_lock(shop.home, REF, verb="scale"), pytest.raises(KeyboardInterrupt):
        shop.clusters(watch=watch).stop(REF, TERMS)
    assert "master-0" in shop.running()


# Two at once


def test_of_two_creates_at_once_one_works_and_the_other_finds_all_done(shop: Shop) -> None:
    with ThreadPoolExecutor(2) as pool:
        plans = list(pool.map(lambda _: shop.clusters().create(asked(), TERMS), range(2)))
    assert sorted(len(plan) for plan in plans) == [0, 5]


def test_create_and_delete_at_once_end_in_one_of_their_two_states(shop: Shop) -> None:
    create(shop.clusters())
    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(verb, shop.clusters()) for verb in (create, delete)]:
            future.result()
    assert shop.running() in ([], ["master-0", "worker-0", "worker-1"])
    assert bool(shop.running()) == bool(shop.lab.clusters())


def test_clusters_of_one_tenant_come_and_go_at_once(shop: Shop) -> None:
    refs = [ClusterRef("acme", f"c{index}") for index in range(4)]

    def come_and_go(ref: ClusterRef) -> None:
        shop.clusters().create(asked(ref, workers=1), TERMS)
        shop.clusters().delete(ref, TERMS)

    with ThreadPoolExecutor(len(refs)) as pool:
        list(pool.map(come_and_go, refs))
    assert (shop.found(), shop.lab.clusters()) == (Found(), [])


def test_a_cluster_that_comes_while_the_last_one_goes_keeps_the_network(shop: Shop) -> None:
    create(shop.clusters())
    other = replace(REF, name="other")
    come = iter([lambda: shop.clusters().create(asked(other), TERMS)])
    faults = Faults(pause=lambda name: next(come, int)() and None if name == "delete_network" else None)
    delete(shop.clusters(faults=faults))
    assert (shop.found().networks, {node.ref.cluster for node in shop.found().nodes}) == ({"acme"}, {other})


HOLD = """
import sys
from pathlib import Path
from labcloud.lab.locks import cluster_lock
from labcloud.model import ClusterRef

with cluster_lock(Path(sys.argv[1]), ClusterRef("acme", "c"), verb="scale"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_another_process_that_works_on_the_cluster_is_named_and_waited_for(shop: Shop) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, shop.home], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(DeadlineError, match=rf"the cluster acme/c is busy: 'scale' has it since .* \(process {other.pid} on "):
            shop.clusters().create(asked(), SOON)
        assert shop.found() == Found()
        let_go = Watch(lambda event: other.stdin.close() if "waiting for the cluster acme/c" in event.text else None)
        assert len(shop.clusters(watch=let_go).create(asked(), TERMS)) == 5


# Bad requests


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"profile": "hadop-2.7"}, NotFoundError, "hadop-2.7"),
        ({"profile": "hadoop"}, NotFoundError, "not a profile"),
        ({"profile": "../hadoop-2.7"}, NotFoundError, "../hadoop-2.7"),
        ({"workers": 0}, UsageError, "0 workers"),
        ({"workers": -1}, UsageError, "-1 workers"),
        ({"workers": 10_000}, UsageError, "10000 workers"),
        ({"memory": 64}, UsageError, "64m"),
        ({"cpus": 0.0}, UsageError, "0 cores"),
        ({"cpus": float("nan")}, UsageError, "nan cores"),
        ({"settings": {"hdfs-site": "2"}}, UsageError, "does not name a setting"),
        ({"settings": {"../x:dfs.replication": "2"}}, UsageError, "no settings file"),
        ({"settings": {"hdfs-site:a": "\x00"}}, UsageError, "cannot hold"),
        ({"publish": {"datanode": 80}}, UsageError, "no user interface to publish"),
        ({"publish": {"namenode": 0}}, UsageError, "is not a port"),
        ({"publish": {"namenode": 65536}}, UsageError, "is not a port"),
    ],
    ids=lambda each: str(each) if isinstance(each, dict) else "",
)
def test_a_request_that_cannot_be_is_refused_in_one_sentence_before_anything_is_made(
    shop: Shop, changed: dict[str, Any], error: type[LabError], said: str
) -> None:
    with pytest.raises(error) as caught:
        shop.clusters().create(asked(**changed), TERMS)
    assert said in caught.value.brief
    assert "\n" not in caught.value.brief
    assert caught.value.resolution
    assert (shop.found(), shop.lab.clusters(), shop.lab.tenants(), shop.journal().operations()) == (Found(), [], [], [])


def test_the_nearest_profile_is_named(shop: Shop) -> None:
    with pytest.raises(NotFoundError) as caught:
        shop.clusters().create(asked(profile="hadop-3.3"), TERMS)
    assert "hadoop-3.3" in caught.value.resolution


def test_an_image_that_was_not_built_is_told_before_anything_is_made(shop: Shop) -> None:
    with pytest.raises(NotFoundError) as caught:
        shop.clusters(shop.provider(images=())).create(asked(), TERMS)
    assert caught.value.resolution == "run 'labcloud image build hadoop-2.7' first"
    assert (shop.found(), shop.lab.tenants()) == (Found(), [])


def test_a_cluster_that_is_there_keeps_its_image_when_that_is_gone(shop: Shop) -> None:
    create(shop.clusters())
    assert shop.clusters(shop.provider(images=())).create(asked(), TERMS) == Plan()


def test_a_create_that_contradicts_the_cluster_names_each_difference(shop: Shop) -> None:
    shop.clusters().create(asked(memory=2048, cpus=1.0), TERMS)
    other = asked(workers=5, memory=3072, cpus=2.5, settings={"hdfs-site:dfs.replication": "1"}, publish={"namenode": 9870})
    with pytest.raises(ConflictError) as caught:
        shop.clusters().create(other, TERMS)
    for difference in (
        "settings is none, not hdfs-site:dfs.replication=1",
        "publish is none, not namenode=9870",
        "worker nodes is 2, not 5",
        "worker memory is 2g, not 3g",
        "worker cpus is 1, not 2.5",
    ):
        assert difference in caught.value.brief
    assert "labcloud delete acme/c" in caught.value.resolution
    assert shop.running() == ["master-0", "worker-0", "worker-1"]


@pytest.mark.usefixtures("no_pauses")
def test_a_port_that_is_taken_is_named(shop: Shop) -> None:
    shop.clusters().create(asked(publish={"namenode": 9870}), TERMS)
    other = replace(REF, name="other")
    with pytest.raises(ConflictError, match="9870"):
        shop.clusters().create(asked(other, publish={"namenode": 9870}), TERMS)
    shop.clusters().delete(other, TERMS)
    assert {node.ref.cluster for node in shop.found().nodes} == {REF}


# Death, then delete


@pytest.mark.parametrize("verb", [scale_up, scale_down], ids=["up", "down"])
def test_delete_leaves_nothing_of_a_scale_that_died_at_any_call(tmp_path: Path, verb: Verb) -> None:
    for number in range(1, 100):
        shop = Shop(tmp_path / str(number))
        create(shop.clusters())
        faults = Faults()
        faults.die(number=number, after=number % 2 == 0)
        died = False
        try:
            verb(shop.clusters(faults=faults))
        except Killed:
            died = True
        delete(shop.clusters())
        assert (shop.found(), shop.lab.clusters()) == (Found(), []), f"died at call {number}"
        if not died:
            return
    pytest.fail("it never came to an end")


def test_a_worker_can_come_back_after_a_scale_down_that_died_at_any_call(tmp_path: Path) -> None:
    for number in range(1, 100):
        shop = Shop(tmp_path / str(number))
        create(shop.clusters())
        faults = Faults()
        faults.die(number=number)
        died = False
        try:
            scale_down(shop.clusters(faults=faults))
        except Killed:
            died = True
        shop.clusters().scale(REF, 3, TERMS)
        assert shop.running() == ["master-0", "worker-0", "worker-1", "worker-2"], f"died at call {number}"
        if not died:
            return
    pytest.fail("it never came to an end")
