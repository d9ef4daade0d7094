"""Walks a graph: asks its checkpoints, follows every edge whose expression holds, and gathers the causes that paths end at.

What is needed at the same time is asked at the same time, each checkpoint once. One that fails or takes too long is unknown, and so
is what depends on it: nothing is ruled out, or blamed, without having been seen.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from labcloud.diagnosis.asking import Asker
from labcloud.diagnosis.filling import commands, fill
from labcloud.diagnosis.model import UNKNOWN, Case, Cause, Checkpoint, Diagnosis, Edge, Found, Graph, Kind, Results, Step
from labcloud.errors import LabError

_Key = tuple[str, str]
"""A checkpoint by its graph and its name."""


@dataclass
class _Asked:
    """A checkpoint under way or answered. ``paths`` are the ways that led to it."""

    began: float
    path: tuple[str, ...]
    step: Step | None = None
    followed: bool = False


@dataclass
class _Gathered:
    found: dict[str, Found] = field(default_factory=dict)
    taken: set[tuple[str, str, int]] = field(default_factory=set)
    passed: set[str] = field(default_factory=set)
    open: set[str] = field(default_factory=set)


class Walk:
    """One walk through ``graphs``, within ``seconds``. ``names`` fill {cluster} and its like."""

    def __init__(self, graphs: Mapping[str, Graph], asker: Asker, names: Mapping[str, str], *, seconds: float) -> None:
        self._graphs = graphs
        self._asker = asker
        self._names = names
        self._end = time.monotonic() + seconds
        self._asked: dict[_Key, _Asked] = {}
        self._answers: SimpleQueue[tuple[_Key, Step]] = SimpleQueue()
        self._gathered = _Gathered()

    def run(self, target: str, start: str) -> Diagnosis:
        """Walk from the graph ``start`` until nothing leads on, or the time is over."""
        began = time.monotonic()
        self._enter(start, ())
        while waiting := [key for key, asked in self._asked.items() if asked.step is None]:
            self._take_answers(waiting)
            for key, asked in list(self._asked.items()):
                if not asked.followed and self._complete(key):
                    asked.followed = True
                    self._follow(key, asked.path)
        return self._diagnosis(target, time.monotonic() - began)

    def _enter(self, name: str, path: tuple[str, ...]) -> None:
        graph = self._graphs[name]
        for checkpoint in graph.start:
            self._begin((name, checkpoint), (*path, name))
        for joined in graph.joined:
            self._enter(joined, (*path, name))

    def _begin(self, key: _Key, path: tuple[str, ...]) -> None:
        if key in self._asked:
            return
        self._asked[key] = _Asked(time.monotonic(), (*path, key[1]))
        checkpoint = self._checkpoint(key)
        # A thread of its own: one that hangs must not keep others, or the program, from ending.
        threading.Thread(target=self._ask, args=(key, checkpoint), daemon=True, name=f"{key[0]}.{key[1]}").start()
        for name in checkpoint.beside:
            self._begin((key[0], name), path)

    def _checkpoint(self, key: _Key) -> Checkpoint:
        return self._graphs[key[0]].checkpoints[key[1]]

    def _ask(self, key: _Key, checkpoint: Checkpoint) -> None:
        began = time.monotonic()
        results: Results = {}
        failed = ""
        try:
            results = self._asker.ask(checkpoint)
        except LabError as exc:
            failed = exc.brief
        except Exception as exc:  # noqa: BLE001 - one checkpoint's bug must not hide what the others find
            failed = f"{type(exc).__name__}: {exc}"
        self._answers.put((key, Step(*key, results, time.monotonic() - began, failed)))

    def _take_answers(self, waiting: Sequence[_Key]) -> None:
        """Wait for the next answer, or until the first of ``waiting`` has had its time."""
        limits = {key: min(self._asked[key].began + self._checkpoint(key).seconds, self._end) for key in waiting}
        try:
            key, step = self._answers.get(timeout=max(0.0, min(limits.values()) - time.monotonic()))
        except Empty:
            now = time.monotonic()
            for key in (each for each, limit in limits.items() if limit <= now):
                spent = now - self._asked[key].began
                self._asked[key].step = Step(*key, {}, spent, f"no answer within {spent:.0f} s")
        else:
            if self._asked[key].step is None:  # a late answer counts no more
                self._asked[key].step = step

    def _complete(self, key: _Key) -> bool:
        """Whether the checkpoint and those beside it have answered."""
        return all(self._asked[key[0], name].step is not None for name in (key[1], *self._checkpoint(key).beside))

    # Edges

    def _follow(self, key: _Key, path: tuple[str, ...]) -> None:
        graph = self._graphs[key[0]]
        values = self._values(graph.name)
        for number, edge in enumerate(self._checkpoint(key).edges):
            holds = edge.when.holds(values)
            if not holds:
                (self._gathered.passed if holds is False else self._gathered.open).update(_causes(self._graphs, graph, edge))
                continue
            self._gathered.taken.add((*key, number))
            if edge.kind is Kind.CHECKPOINT:
                self._begin((graph.name, edge.target), path)
            elif edge.kind is Kind.GRAPH:
                self._enter(edge.target, path)
            else:
                self._end_at(graph, graph.causes[edge.target], edge, path)

    def _values(self, graph: str) -> dict[str, bool | None]:
        """Every result of the graph that is known to be true or false."""
        values: dict[str, bool | None] = {}
        for (owner, name), asked in self._asked.items():
            if owner != graph or asked.step is None:
                continue
            values[name + UNKNOWN] = bool(asked.step.failed)
            for result in self._checkpoint((owner, name)).gives:
                values[result] = None if asked.step.failed else bool(asked.step.results.get(result))
        return values

    def _cases(self, graph: str) -> dict[str, Sequence[Case]]:
        found: dict[str, Sequence[Case]] = {}
        for (owner, name), asked in self._asked.items():
            if owner == graph and asked.step is not None:
                found.update(asked.step.results)
                if asked.step.failed:
                    found[name + UNKNOWN] = ({"why": asked.step.failed},)
        return found

    def _end_at(self, graph: Graph, cause: Cause, edge: Edge, path: tuple[str, ...]) -> None:
        if cause.id in self._gathered.found:
            return
        cases = self._cases(graph.name)
        self._gathered.found[cause.id] = Found(
            id=cause.id,
            verdict=fill(cause.verdict, cases, self._names),
            confidence=cause.confidence,
            fault=cause.fault,
            graph=graph.name,
            path=path,
            evidence={name: cases[name] for name in edge.when.positive if cases.get(name)},
            fix=commands(cause.fix, cases, self._names),
            advice=fill(cause.advice, cases, self._names),
        )

    def _diagnosis(self, target: str, seconds: float) -> Diagnosis:
        gathered = self._gathered
        steps = tuple(asked.step for asked in self._asked.values() if asked.step is not None)
        return Diagnosis(
            target=target,
            found=tuple(gathered.found.values()),
            ruled_out=tuple(sorted(gathered.passed - gathered.open - gathered.found.keys())),
            unknown={f"{step.graph}.{step.checkpoint}": step.failed for step in steps if step.failed},
            steps=steps,
            taken=frozenset(gathered.taken),
            seconds=seconds,
        )


def _causes(graphs: Mapping[str, Graph], graph: Graph, edge: Edge) -> set[str]:
    """Every cause that an edge may lead to."""
    if edge.kind is Kind.CAUSE:
        return {edge.target}
    if edge.kind is Kind.GRAPH:
        onward = graphs[edge.target]
        starts = [(onward, name) for name in onward.start] + [(graphs[each], name) for each in onward.joined for name in graphs[each].start]
    else:
        starts = [(graph, edge.target)]
    return {
        id
        for owner, name in starts
        for each in owner.checkpoints[name].edges
        for id in _causes(graphs, owner, each)
    }  # fmt: skip
