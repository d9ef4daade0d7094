"""Walking a graph: what is asked when, what is followed, what is said of the rest."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from labcloud.diagnosis.checking import check
from labcloud.diagnosis.model import Checkpoint, Diagnosis, Graph, Results
from labcloud.diagnosis.walking import Walk
from labcloud.errors import EngineError

from .conftest import Write

GRAPH = """
title: what is wrong
about: cluster
start: [first, other]
checkpoints:
  first:
    {script}
    gives: {{disk-full: [node], quota: [limit]}}
    beside: [helper]
    seconds: 1
    edges:
      - {{when: disk-full & not quota, cause: my.disk}}
      - {{when: disk-full, to: second}}
      - {{when: helped, cause: my.help}}
  helper:
    {script}
    gives: {{helped: []}}
    seconds: 1
  other:
    {script}
    gives: {{cold: []}}
    seconds: 1
    edges:
      - {{when: cold, cause: my.cold}}
      - {{when: other-unknown, cause: my.unasked}}
  second:
    {script}
    gives: {{deeper: [what]}}
    seconds: 1
    edges:
      - {{when: deeper & disk-full, cause: my.deep}}
      - {{cause: my.always}}
causes:
  my.disk: {{verdict: "{{disk-full.node}} is full in {{cluster}}"}}
  my.help: {{verdict: helped}}
  my.cold: {{verdict: cold}}
  my.unasked: {{verdict: "{{other-unknown.why}}"}}
  my.deep: {{verdict: "{{deeper.what}} on {{disk-full.node}}", fix: [{{labcloud: [start, "{{cluster}}"], safe: yes}},
    {{run: [rm, "{{node}}"], on: "{{node}}", each: disk-full, safe: no}}]}}
  my.always: {{verdict: always, fault: no}}
""".format(script='script: ["true"]')

Answer = Results | Callable[[], Results]


class Told:
    """Answers as it was told to, and notes who asked when."""

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def ask(self, checkpoint: Checkpoint) -> Results:
        self.asked.append(checkpoint.name)
        answer = self.answers.get(checkpoint.name, {})
        return answer() if callable(answer) else answer


@pytest.fixture
def walk(graph: Write) -> Callable[..., Diagnosis]:
    graphs: dict[str, Graph] = {"mine": graph(GRAPH)}
    check(graphs)

    def run(told: Told, seconds: float = 10) -> Diagnosis:
        return Walk(graphs, told, {"cluster": "acme/c"}, seconds=seconds).run("acme/c", "mine")  # type: ignore[arg-type]

    return run


def fails() -> Results:
    raise EngineError("nobody answers")


def test_nothing_wrong_is_said_with_what_was_ruled_out(walk: Callable[..., Diagnosis]) -> None:
    told = Told({})
    found = walk(told)
    assert found.healthy
    assert found.found == ()
    assert set(found.ruled_out) == {"my.disk", "my.help", "my.cold", "my.deep", "my.always", "my.unasked"}
    assert sorted(told.asked) == ["first", "helper", "other"]


def test_every_edge_that_holds_is_followed_and_each_cause_found(walk: Callable[..., Diagnosis]) -> None:
    cases = [{"node": "worker-0"}, {"node": "worker-1"}]
    told = Told(
        {"first": {"disk-full": cases}, "helper": {"helped": [{}]}, "other": {"cold": [{}]}, "second": {"deeper": [{"what": "rust"}]}}
    )
    found = walk(told)
    verdicts = {each.id: each.verdict for each in found.found}
    assert verdicts == {
        "my.disk": "worker-0, worker-1 is full in acme/c", "my.help": "helped", "my.cold": "cold",
        "my.deep": "rust on worker-0, worker-1", "my.always": "always",
    }  # fmt: skip
    assert [each.id for each in found.notes] == ["my.always"]
    assert sorted(told.asked) == ["first", "helper", "other", "second"]
    deep = next(each for each in found.causes if each.id == "my.deep")
    assert deep.path == ("mine", "first", "second")
    assert deep.evidence == {"deeper": [{"what": "rust"}], "disk-full": cases}
    assert [(command.argv, command.on, command.safe) for command in deep.fix] == [
        (("start", "acme/c"), "", True),
        (("rm", "worker-0"), "worker-0", False),
        (("rm", "worker-1"), "worker-1", False),
    ]
    assert not found.healthy


def test_what_one_edge_excludes_is_ruled_out(walk: Callable[..., Diagnosis]) -> None:
    found = walk(Told({"first": {"disk-full": [{}], "quota": [{}]}}))
    assert {each.id for each in found.found} == {"my.always"}
    assert "my.disk" in found.ruled_out
    assert found.healthy


@pytest.mark.parametrize("answer", [fails, lambda: 1 / 0])  # type: ignore[list-item]
def test_what_cannot_be_asked_is_unknown_and_rules_nothing_out(walk: Callable[..., Diagnosis], answer: Answer) -> None:
    found = walk(Told({"first": answer, "other": answer}))
    assert found.unknown.keys() == {"mine.first", "mine.other"}
    assert [each.id for each in found.causes] == ["my.unasked"]
    assert set(found.ruled_out) == {"my.help"}
    assert not found.healthy


def test_one_that_hangs_is_unknown_after_its_own_time(walk: Callable[..., Diagnosis]) -> None:
    stop = threading.Event()
    began = time.monotonic()
    found = walk(Told({"first": lambda: {"disk-full": [{}]} if stop.wait(20) else {}, "other": {"cold": [{}]}}))
    stop.set()
    assert 0.9 < time.monotonic() - began < 15
    assert found.unknown.keys() == {"mine.first"}
    assert re.fullmatch(r"no answer within \d+ s", found.unknown["mine.first"])
    assert [each.id for each in found.causes] == ["my.cold"]


def test_the_whole_walk_has_a_limit(graph: Write) -> None:
    patient = {"mine": graph(GRAPH.replace("seconds: 1", "seconds: 60"))}
    stop = threading.Event()
    began = time.monotonic()
    told: Any = Told({"first": lambda: {"disk-full": [{}]} if stop.wait(60) else {}})
    found = Walk(patient, told, {"cluster": "acme/c"}, seconds=0.2).run("acme/c", "mine")
    stop.set()
    assert time.monotonic() - began < 20
    assert "mine.first" in found.unknown


def test_what_is_needed_at_the_same_time_is_asked_at_the_same_time(walk: Callable[..., Diagnosis]) -> None:
    together = threading.Barrier(3)

    def meet() -> Results:
        together.wait(5)
        return {}

    assert walk(Told(dict.fromkeys(("first", "helper", "other"), meet))).healthy


def test_graphs_lead_to_graphs_and_joined_ones_are_walked(graph: Write) -> None:
    leaf = """
    title: t
    about: cluster
    start: only
    checkpoints:
      only:
        script: ["true"]
        gives: {wet: []}
        edges:
          - {when: wet, cause: NAME.wet}
    causes:
      NAME.wet: {verdict: wet}
    """
    main = leaf.replace("NAME", "main").replace(
        "- {when: wet, cause: main.wet}", "- {when: wet, cause: main.wet}\n          - {when: wet, graph: below}"
    )
    graphs = {
        "main": graph(main, "main"),
        "below": graph(leaf.replace("NAME", "below"), "below"),
        "side": graph(leaf.replace("NAME", "side"), "side"),
    }
    graphs["main"] = Graph(**{**graphs["main"].__dict__, "joined": ("side",)})
    check(graphs)
    found = Walk(graphs, Told({"only": {"wet": [{}]}}), {}, seconds=5).run("t", "main")  # type: ignore[arg-type]
    assert {each.id: each.path for each in found.causes} == {
        "main.wet": ("main", "only"), "side.wet": ("main", "side", "only"), "below.wet": ("main", "only", "below", "only"),
    }  # fmt: skip
    dry = Walk(graphs, Told({}), {}, seconds=5).run("t", "main")  # type: ignore[arg-type]
    assert set(dry.ruled_out) == {"main.wet", "below.wet", "side.wet"}
