"""The run of a checklist: all at once, under one deadline, whatever a check does."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from labcloud.errors import EngineError, PreflightError, UsageError
from labcloud.model import Cluster, ClusterRef, NodeGroup
from labcloud.model.checks import Capacity, Check, Finding, Severity, Subject, Verdict, failed, passed, skipped, warned
from labcloud.preflight import Preflight, running
from labcloud.providers.simulated import SimulatedProvider

CLUSTER = Cluster(ClusterRef("acme", "c"), "hadoop-2.7", "simulated", "0" * 32, "image:1", (NodeGroup("master", 1, 1536),))


class Checked(SimulatedProvider):
    """An engine with checks of the test's own."""

    def __init__(self, home: Path, checks: tuple[Check, ...]) -> None:
        super().__init__(home, "lab")
        self._own = checks

    def checks(self) -> tuple[Check, ...]:
        return self._own


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    return Subject(tmp_path, "simulated", lambda: Capacity(1024, 2), cluster=CLUSTER)


@pytest.fixture
def preflight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Preflight]:
    monkeypatch.setattr("labcloud.preflight.checklist._FAMILIES", ())

    def build(*checks: Check, **options: object) -> Preflight:
        return Preflight(Checked(tmp_path, checks), tmp_path, **options)  # type: ignore[arg-type]

    return build


def check(id: str, find: Callable[[Subject], Finding], **options: object) -> Check:
    return Check(id, "it matters", find, **options)  # type: ignore[arg-type]


def test_all_answers_come_at_once_in_the_order_of_the_list(preflight: Callable[..., Preflight], subject: Subject) -> None:
    together = threading.Barrier(3)

    def meet(finding: Finding) -> Callable[[Subject], Finding]:
        def run(_: Subject) -> Finding:
            together.wait(10)
            return finding

        return run

    checks = (check("a.x", meet(failed("bad", "mend it"))), check("a.y", meet(passed("good"))), check("b.z", meet(failed("worse", ""))))
    report = preflight(*checks).run(subject)
    assert [(each.id, each.status) for each in report.checks] == [("a.x", "fail"), ("a.y", "pass"), ("b.z", "fail")]
    with pytest.raises(PreflightError) as caught:
        report.refuse("acme/c")
    assert caught.value.exit_code == 11
    assert caught.value.brief == "preflight refuses acme/c: 2 of 3 checks failed"
    assert caught.value.details.splitlines() == ["a.x: bad", "    mend it: mend it", "b.z: worse"]


def test_a_failure_that_is_passed_over_is_told_and_refuses_nothing(preflight: Callable[..., Preflight], subject: Subject) -> None:
    report = preflight(check("a.x", lambda _: failed("bad", ""))).run(subject, {"a.x": "a test machine"})
    assert (report.ok, report.checks[0].status, report.checks[0].ignored) == (True, "fail", "a test machine")
    report.refuse("acme/c")


def test_an_unknown_check_cannot_be_passed_over(preflight: Callable[..., Preflight], subject: Subject) -> None:
    with pytest.raises(UsageError, match="there is no check") as caught:
        preflight(check("host.memory", lambda _: passed(""))).run(subject, {"host.memry": "why"})
    assert "did you mean host.memory?" in caught.value.resolution


def test_what_a_check_raises_is_an_answer(preflight: Callable[..., Preflight], subject: Subject) -> None:
    def refuse(_: Subject) -> Finding:
        raise EngineError("Docker sleeps", details="zzz", resolution="wake it")

    def stumble(_: Subject) -> Finding:
        raise ZeroDivisionError("by zero")

    one, two = preflight(check("a.x", refuse), check("a.y", stumble)).run(subject).checks
    assert (one.status, one.summary, one.fix, one.evidence) == ("fail", "Docker sleeps", "wake it", {"said": "zzz"})
    assert (two.status, two.summary) == ("warn", "the check itself failed: ZeroDivisionError: by zero")


def test_a_check_that_hangs_costs_the_deadline_and_nothing_else(preflight: Callable[..., Preflight], subject: Subject) -> None:
    release = threading.Event()

    def hang(_: Subject) -> Finding:
        release.wait(30)
        return passed("at last")

    began = time.monotonic()
    checklist = preflight(
        check("a.slow", hang), check("a.soft", hang, severity=Severity.ADVISORY), check("a.fast", lambda _: passed("")), deadline=1
    )
    answers = checklist.run(subject).checks
    release.set()
    assert time.monotonic() - began < 20
    assert [each.status for each in answers] == ["fail", "warn", "pass"]
    assert answers[0].summary == "no answer within 1 s"


def test_an_advisory_check_only_warns(preflight: Callable[..., Preflight], subject: Subject) -> None:
    report = preflight(check("a.x", lambda _: failed("high", "lower it"), severity=Severity.ADVISORY)).run(subject)
    assert (report.ok, report.checks[0].status, report.checks[0].fix) == (True, "warn", "lower it")


def test_a_check_that_needs_another_is_skipped_where_that_fails(preflight: Callable[..., Preflight], subject: Subject) -> None:
    asked: list[str] = []

    def note(_: Subject) -> Finding:
        asked.append("asked")
        return passed("")

    first = check("engine.reachable", lambda _: failed("no", ""))
    answers = preflight(first, check("engine.version", note, needs="engine.reachable")).run(subject).checks
    assert (answers[1].status, answers[1].summary, asked) == ("skip", "makes no sense before engine.reachable passes", [])


def test_the_machine_is_asked_once_for_all_clusters_and_clusters_each(preflight: Callable[..., Preflight], subject: Subject) -> None:
    asked: list[str] = []

    def noting(name: str) -> Callable[[Subject], Finding]:
        def run(_: Subject) -> Finding:
            asked.append(name)
            return skipped("")

        return run

    checklist = preflight(check("host.x", noting("machine"), machine=True), check("quota.x", noting("cluster")))
    checklist.run(subject)
    checklist.run(subject)
    assert sorted(asked) == ["cluster", "cluster", "machine"]
    alone = Subject(subject.home, "simulated", subject.capacity)
    assert [each.id for each in checklist.run(alone).checks] == ["host.x"]


def test_a_pass_is_remembered_for_a_while_and_a_failure_never(
    preflight: Callable[..., Preflight], subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [passed("fast", p99_ms=2.0), warned("slow", ""), passed("fast again")]
    probe = check("disk.latency", lambda _: answers.pop(0), keeps=60, machine=True)

    def ask(**options: object) -> str:
        return preflight(probe, **options).run(subject).checks[0].summary

    assert ask() == "fast"
    assert ask(fresh=False) == "fast"
    assert ask(fresh=True) == "slow"
    assert ask(fresh=False) == "fast again"
    assert ask(fresh=False) == "fast again"
    assert oct((subject.home / "cache" / "checks.json").stat().st_mode)[-3:] == "600"
    monkeypatch.setattr(running, "_boot", lambda: "another start of the machine")
    with pytest.raises(IndexError):
        answers.pop(0)
    answers.append(passed("measured anew"))
    assert ask(fresh=False) == "measured anew"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key": 1}', '{"key": "simulated@", "checks": {"a.x": 5}}'])
def test_a_broken_memory_is_measured_anew(preflight: Callable[..., Preflight], subject: Subject, text: str) -> None:
    path = subject.home / "cache" / "checks.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert preflight(check("a.x", lambda _: passed("new"), keeps=60, machine=True), fresh=False).run(subject).checks[0].summary == "new"
    assert json.loads(path.read_text())["checks"]["a.x"]["summary"] == "new"


def test_another_package_that_cannot_be_read_is_an_entry_of_the_list(
    preflight: Callable[..., Preflight], subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Entry:
        def __init__(self, name: str, loaded: object) -> None:
            self.name, self._loaded = name, loaded

        def load(self) -> object:
            if isinstance(self._loaded, Exception):
                raise self._loaded
            return self._loaded

    good = check("site.badge", lambda _: passed("worn"))
    found = [Entry("broken", ImportError("no module")), Entry("odd", [1]), Entry("good", lambda: [good])]
    monkeypatch.setattr("labcloud.preflight.checklist.entry_points", lambda group: found if group == "labcloud.checks" else [])
    answers = {each.id: each for each in preflight().run(subject).checks}
    assert {id: str(each.status) for id, each in answers.items()} == {"plugin.broken": "warn", "plugin.odd": "warn", "site.badge": "pass"}
    assert answers["plugin.broken"].summary == "the checks of 'broken' cannot be read: no module"


def test_verdicts_are_those_of_the_interface() -> None:
    assert [str(each) for each in Verdict] == ["pass", "warn", "fail", "skip"]


def test_a_pass_that_is_not_the_machines_is_believed_for_the_same_image(preflight: Callable[..., Preflight], subject: Subject) -> None:
    answers = [passed("first"), passed("second")]
    kept = check("image.x", lambda _: answers.pop(0), keeps=60)
    newer = replace(subject, cluster=replace(CLUSTER, image="image:2"))
    preflight(kept).run(subject)
    again = preflight(kept, fresh=False)
    assert [again.run(each).checks[0].summary for each in (subject, newer)] == ["first", "second"]
