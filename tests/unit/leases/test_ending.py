"""Leases on the simulated engine: who is told, who is ended, and what a pass leaves to the next."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from labcloud.apply.verbs import Terms
from labcloud.errors import ConfigError, ConflictError, EngineError, NotFoundError
from labcloud.lab.locks import cluster_lock
from labcloud.leases.ending import Ending, Outcome, no_snapshot
from labcloud.leases.leasing import Leases
from labcloud.leases.notices import NOTICE_FILE
from labcloud.model import AtEnd, Cluster, ClusterRef, Lease, NodeRef, Tenant, Wanted
from labcloud.model.periods import stamp
from labcloud.providers.base import Command
from labcloud.providers.simulated import SimulatedProvider
from tests.unit.apply.conftest import REF, TERMS, Shop, asked

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
OTHER = ClusterRef("blue", "c")


class Web:
    """A web service on this machine that notes what it is sent. ``status`` is what it answers."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/hooks/path-secret?token=query-secret"
        self.status = 204
        self.got: list[dict[str, Any]] = []
        self.asked: list[tuple[str, str, str | None]] = []


@contextmanager
def listening() -> Iterator[Web]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            web.got.append(json.loads(body))
            web.asked.append((self.command, self.path, self.headers["Authorization"]))
            self.send_response(web.status)
            if web.status == 302:
                self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    web = Web(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def web() -> Iterator[Web]:
    with listening() as served:
        yield served


def make(shop: Shop, until: datetime, then: AtEnd = AtEnd.STOP, ref: ClusterRef = REF) -> None:
    shop.clusters().create(asked(ref), TERMS)
    lease(shop, until, then, ref)


def lease(shop: Shop, until: datetime, then: AtEnd = AtEnd.STOP, ref: ClusterRef = REF) -> None:
    cluster = shop.lab.cluster(ref)
    assert cluster is not None
    shop.lab.save(replace(cluster, lease=Lease(until, then)), "for a test")


def notify(shop: Shop, url: str, name: str = "acme") -> None:
    tenant = shop.lab.tenant(name)
    assert tenant is not None
    shop.lab.save_tenant(replace(tenant, notify=url), "for a test")


def ending(shop: Shop, provider: SimulatedProvider | None = None, **options: Any) -> Ending:
    engine = provider or shop.provider()
    return Ending(shop.lab, shop.journal(), lambda _: engine, shop.watch, **options)


def leases(shop: Shop) -> Leases:
    return Leases(shop.lab, shop.journal(), lambda _: shop.provider(), shop.watch)


def did(outcomes: list[Outcome]) -> list[tuple[str, str]]:
    return [(str(each.ref), each.did) for each in outcomes]


def shown(shop: Shop, node: str = "master-0", ref: ClusterRef = REF) -> str:
    """What login shells on a node show."""
    return shop.provider().execute(NodeRef.parse(ref, node), Command(("cat", NOTICE_FILE))).stdout.decode()


def state(shop: Shop, ref: ClusterRef = REF) -> Wanted | None:
    cluster = shop.lab.cluster(ref)
    return cluster and cluster.state


def verbs(shop: Shop) -> list[str]:
    return [record.verb for record in reversed(shop.journal().operations())]


# Ending


@pytest.mark.parametrize(("then", "word", "left"), [(AtEnd.STOP, "stopped", Wanted.STOPPED), (AtEnd.DELETE, "deleted", None)])
def test_a_cluster_whose_lease_is_over_is_ended_by_its_policy(shop: Shop, then: AtEnd, word: str, left: Wanted | None) -> None:
    make(shop, NOW, then)
    assert ending(shop).run(NOW) == [Outcome(REF, word, stamp(NOW))]
    assert (state(shop), shop.running(), bool(shop.found().volumes)) == (left, [], then is AtEnd.STOP)
    assert verbs(shop) == ["create", str(then), "lease-end"]


def test_a_pass_does_nothing_to_clusters_without_a_lease_or_with_time_left(shop: Shop) -> None:
    shop.clusters().create(asked(OTHER), TERMS)
    make(shop, NOW + 31 * MINUTE)
    assert ending(shop).run(NOW) == []
    assert (state(shop), state(shop, OTHER), len(shop.running())) == (Wanted.RUNNING, Wanted.RUNNING, 6)


def test_there_is_nothing_to_do_in_an_empty_lab(shop: Shop) -> None:
    assert ending(shop).run(NOW) == []
    assert not (shop.home / "lab").exists()


def test_a_missed_run_is_made_up_and_the_next_has_nothing_to_do(shop: Shop) -> None:
    make(shop, NOW)
    assert did(ending(shop).run(NOW + 1000 * HOUR)) == [("acme/c", "stopped")]
    assert ending(shop).run(NOW + 1000 * HOUR + MINUTE) == []


def test_a_stop_that_broke_off_is_finished_by_the_next_run(shop: Shop) -> None:
    make(shop, NOW)
    cluster = shop.lab.cluster(REF)
    assert cluster is not None
    shop.lab.save(replace(cluster, state=Wanted.STOPPED), "a run died behind this")
    assert did(ending(shop).run(NOW)) == [("acme/c", "stopped")]
    assert shop.running() == []


def test_a_deletion_that_broke_off_is_finished_by_the_next_run(shop: Shop) -> None:
    make(shop, NOW, AtEnd.DELETE)
    cluster = shop.lab.cluster(REF)
    assert cluster is not None
    shop.lab.save(replace(cluster, state=Wanted.DELETED), "a run died behind this")
    assert did(ending(shop).run(NOW)) == [("acme/c", "deleted")]
    assert shop.lab.clusters() == []


class Refusing(SimulatedProvider):
    """An engine that refuses everything about one tenant's clusters."""

    def stop_node(self, ref: NodeRef, *, timeout: float = 30.0) -> None:
        if ref.cluster.tenant == "acme":
            raise EngineError("the engine is tired")
        super().stop_node(ref, timeout=timeout)


def test_one_cluster_that_fails_does_not_keep_the_others(shop: Shop, no_pauses: None) -> None:
    make(shop, NOW)
    make(shop, NOW, ref=OTHER)
    engine = Refusing(shop.home, shop.lab.id, world=shop.world)
    failed, stopped = ending(shop, engine).run(NOW)
    assert (str(failed.ref), failed.did, failed.error and failed.error.brief) == ("acme/c", "failed", "the engine is tired")
    assert (stopped, state(shop, OTHER)) == (Outcome(OTHER, "stopped", stamp(NOW)), Wanted.STOPPED)
    assert did(ending(shop).run(NOW)) == [("acme/c", "stopped")], "and the next run tries again"


def test_a_broken_file_does_not_keep_the_others(shop: Shop) -> None:
    make(shop, NOW)
    make(shop, NOW, ref=OTHER)
    (shop.home / "lab" / "clusters" / "acme" / "c.yaml").write_text("nonsense: 1\n")
    failed, stopped = ending(shop).run(NOW)
    assert isinstance(failed.error, ConfigError)
    assert (failed.did, stopped.did) == ("failed", "stopped")


def test_what_comes_before_the_end_may_keep_the_cluster(shop: Shop) -> None:
    make(shop, NOW)
    seen: list[Cluster] = []

    def refuse(cluster: Cluster) -> None:
        seen.append(cluster)
        raise EngineError("no room for a snapshot")

    (outcome,) = ending(shop, before_end=refuse).run(NOW)
    assert (outcome.did, [each.ref for each in seen], state(shop)) == ("failed", [REF], Wanted.RUNNING)
    assert did(ending(shop, before_end=no_snapshot).run(NOW)) == [("acme/c", "stopped")]


def test_a_cluster_that_is_changed_just_before_its_end_is_left_to_the_next_run(shop: Shop) -> None:
    make(shop, NOW)
    assert ending(shop, before_end=lambda _: lease(shop, NOW + HOUR)).run(NOW) == []
    assert (state(shop), verbs(shop)) == (Wanted.RUNNING, ["create"])


def test_a_cluster_that_is_deleted_just_before_its_end_is_no_failure(shop: Shop) -> None:
    make(shop, NOW, AtEnd.DELETE)
    assert ending(shop, before_end=lambda _: shop.clusters().delete(REF, TERMS) and None).run(NOW) == []


@pytest.mark.parametrize("then", list(AtEnd))
def test_two_runs_at_once_do_no_harm(shop: Shop, then: AtEnd, web: Web) -> None:
    for name in ("a", "b", "c"):
        make(shop, NOW, then, ClusterRef("acme", name))
    make(shop, NOW + MINUTE, then, OTHER)
    notify(shop, web.url, "blue")
    with ThreadPoolExecutor(3) as pool:
        runs = list(pool.map(lambda _: ending(shop).run(NOW), range(3)))
    assert [each for run in runs for each in run if each.error] == []
    assert sorted(each for run in runs for each in did(run) if each[1] == "told") == [("blue/c", "told")]
    assert len(web.got) == 1
    assert {state(shop, ClusterRef("acme", name)) for name in ("a", "b", "c")} == {Wanted.STOPPED if then is AtEnd.STOP else None}
    assert verbs(shop).count("lease-end") == 3


def test_an_interruption_is_passed_on(shop: Shop) -> None:
    make(shop, NOW)

    def press(_: Cluster) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ending(shop, before_end=press).run(NOW)


# Telling


def test_the_tenant_is_told_once_on_the_web_on_nodes_and_in_the_journal(shop: Shop, web: Web) -> None:
    make(shop, NOW + 30 * MINUTE)
    notify(shop, web.url)
    assert ending(shop).run(NOW) == [Outcome(REF, "told", stamp(NOW + 30 * MINUTE))]
    assert ending(shop).run(NOW + MINUTE) == []
    assert web.got == [
        {
            "event": "lease-ends", "tenant": "acme", "cluster": "c", "until": "2026-11-21T12:30:00Z", "then": "stop", "left": "30m",
            "text": "The lease of acme/c ends at 2026-11-21T12:30:00Z; then it is stopped, and its data stays.",
            "extend": "labcloud lease extend acme/c 4h",
        }
    ]  # fmt: skip
    assert web.asked == [("POST", "/hooks/path-secret?token=query-secret", None)]
    line = "1795264200 The lease of this cluster ends at 2026-11-21T12:30:00Z; then it is stopped, and its data stays.\n"
    assert [shown(shop, node) for node in ("master-0", "worker-0", "worker-1")] == [line] * 3
    ((target, event),) = shop.journal().events("lease-notice")
    cluster = shop.lab.cluster(REF)
    assert target == "acme/c"
    assert event.details == {
        "id": cluster and cluster.id, "until": "2026-11-21T12:30:00Z", "url": web.url.partition("/hooks")[0],
        "posted": True, "shown": True, "error": "",
    }  # fmt: skip
    assert did(ending(shop).run(NOW + 30 * MINUTE)) == [("acme/c", "stopped")]


def test_another_notice_is_possible(shop: Shop) -> None:
    make(shop, NOW + 59 * MINUTE)
    assert ending(shop).run(NOW) == []
    assert did(ending(shop, notice=HOUR).run(NOW)) == [("acme/c", "told")]


def test_nothing_of_the_url_but_its_host_is_in_the_journal(shop: Shop, web: Web) -> None:
    make(shop, NOW + MINUTE)
    shop.lab.save_tenant(Tenant("acme", 20000, notify=web.url.replace("127.0.0.1", "user-secret@127.0.0.1")), "for a test")
    for web.status in (500, 204):
        ending(shop).run(NOW)
    assert web.asked[0][2] == "Basic dXNlci1zZWNyZXQ="
    (path,) = (shop.home / "journal").iterdir()
    assert "secret" not in path.read_text()


@pytest.mark.parametrize(("status", "words"), [(500, "it answers 500"), (404, "it answers 404"), (302, "it answers 302")])
def test_a_message_that_is_refused_is_sent_again_by_the_next_run(shop: Shop, web: Web, status: int, words: str) -> None:
    make(shop, NOW + MINUTE)
    notify(shop, web.url)
    web.status = status
    (outcome,) = ending(shop).run(NOW)
    assert (outcome.did, outcome.error, outcome.warning) == ("told", None, f"{web.url.partition('/hooks')[0]}: {words}")
    web.status = 204
    (outcome,) = ending(shop).run(NOW)
    assert (outcome.warning, len(web.got)) == ("", 2)
    assert ending(shop).run(NOW) == []


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:1/x", "connection refused"),
        ("http://nowhere.invalid/x", ""),
        ("ftp://127.0.0.1/x", "it is not the URL of a web service"),
    ],
)
def test_a_url_that_nobody_answers_never_keeps_a_lease_from_ending(
    shop: Shop, url: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(shop, NOW + MINUTE)
    monkeypatch.setattr(Ending, "_notify", lambda *_: url)
    (outcome,) = ending(shop).run(NOW)
    assert words in outcome.warning
    assert outcome.warning
    assert did(ending(shop).run(NOW + MINUTE)) == [("acme/c", "stopped")]


class Deaf(SimulatedProvider):
    """An engine whose nodes take no commands."""

    def execute(self, *_: Any, **__: Any) -> Any:
        raise EngineError("the node does not answer")


def test_nodes_that_cannot_be_told_are_told_by_the_next_run(shop: Shop, web: Web) -> None:
    make(shop, NOW + MINUTE)
    notify(shop, web.url)
    (outcome,) = ending(shop, Deaf(shop.home, shop.lab.id, world=shop.world)).run(NOW)
    assert (outcome.did, outcome.warning) == ("told", "3 nodes could not be told")
    assert did(ending(shop).run(NOW)) == [("acme/c", "told")]
    assert (len(web.got), shown(shop) != "", ending(shop).run(NOW)) == (1, True, [])


def test_who_works_on_a_cluster_is_not_disturbed_by_a_notice(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    make(shop, NOW + MINUTE)
    monkeypatch.setattr("labcloud.leases.ending._NOTICE_LOCK_SECONDS", 0.05)
    with cluster_lock(shop.home, REF, verb="scale"):
        assert ending(shop).run(NOW) == []
    assert did(ending(shop).run(NOW)) == [("acme/c", "told")]


# Verbs


def test_an_extension_takes_back_what_nodes_were_told_and_another_end_is_told_anew(shop: Shop) -> None:
    make(shop, NOW + MINUTE)
    ending(shop).run(NOW)
    done = leases(shop).extend(REF, HOUR, NOW)
    assert (done.until, done.left, shown(shop)) == ("2026-11-21T13:01:00Z", "1h1m", "")
    assert ending(shop).run(NOW) == []
    assert did(ending(shop).run(NOW + 40 * MINUTE)) == [("acme/c", "told")]
    assert shown(shop).startswith("1795266060 ")


def test_an_ended_cluster_is_started_again_after_an_extension(shop: Shop) -> None:
    now = datetime.now(UTC)
    make(shop, now - MINUTE)
    ending(shop).run(now)
    leases(shop).extend(REF, HOUR, now)
    shop.clusters().start(REF, TERMS)
    assert (ending(shop).run(now), len(shop.running())) == ([], 3)


def test_a_lease_is_set_up_to_a_moment_and_keeps_its_policy(shop: Shop) -> None:
    make(shop, NOW + HOUR, AtEnd.DELETE)
    assert leases(shop).set(REF, NOW + 5 * HOUR, None, NOW).then == "delete"
    assert leases(shop).set(REF, NOW + HOUR, AtEnd.STOP, NOW).then == "stop"
    assert leases(shop).extend(REF, NOW + 3 * HOUR, NOW).until == "2026-11-21T15:00:00Z"
    with pytest.raises(ConflictError, match="ends at 2026-11-21T15:00:00Z already"):
        leases(shop).extend(REF, NOW + 2 * HOUR, NOW)


def test_a_lease_is_removed_once(shop: Shop) -> None:
    make(shop, NOW + HOUR)
    assert (leases(shop).remove(REF), leases(shop).remove(REF)) == (True, False)
    assert ending(shop).run(NOW + 9 * HOUR) == []


def test_leases_are_listed_with_the_first_to_end_first(shop: Shop) -> None:
    make(shop, NOW + HOUR)
    make(shop, NOW - HOUR, AtEnd.DELETE, OTHER)
    shop.clusters().create(asked(ClusterRef("acme", "free")), TERMS)
    views = leases(shop).list(None, NOW)
    assert [(each.tenant, each.name, each.then, each.left) for each in views] == [
        ("blue", "c", "delete", "over"),
        ("acme", "c", "stop", "1h"),
    ]
    assert [each.tenant for each in leases(shop).list("acme", NOW)] == ["acme"]


def test_clusters_that_are_not_there_or_have_no_lease_cannot_be_extended(shop: Shop) -> None:
    with pytest.raises(NotFoundError, match="there is no cluster acme/c"):
        leases(shop).extend(REF, HOUR, NOW)
    shop.clusters().create(asked(), TERMS)
    with pytest.raises(ConflictError, match="acme/c has no lease") as refused:
        leases(shop).extend(REF, HOUR, NOW)
    assert refused.value.resolution == "labcloud lease set acme/c 4h"


def test_the_next_pass_comes_when_something_is_due(shop: Shop) -> None:
    assert ending(shop).pause(NOW, 60) == 60
    make(shop, NOW + 30 * MINUTE + timedelta(seconds=20))
    assert (ending(shop).pause(NOW, 60), ending(shop).pause(NOW + timedelta(seconds=20), 60)) == (20, 60)
    assert ending(shop).pause(NOW + 30 * MINUTE + timedelta(seconds=19.9), 60) == 1


def test_a_verb_gives_up_if_what_must_still_hold_does_not(shop: Shop) -> None:
    make(shop, NOW)

    def refuse() -> None:
        raise ConflictError("not any more")

    with pytest.raises(ConflictError, match="not any more"):
        shop.clusters().stop(REF, Terms(still=refuse))
    assert (state(shop), verbs(shop)) == (Wanted.RUNNING, ["create"])
