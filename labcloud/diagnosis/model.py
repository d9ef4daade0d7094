"""What a decision graph is made of, and what walking one gives. Pure.

A graph has checkpoints, which give named results; edges, which lead on where an expression over results holds; and causes, where a
path ends. A result is a list of cases: the places where it was seen, each with what was measured there. It is true if it has any.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Final

from labcloud.diagnosis.expressions import Expression

Case = Mapping[str, str]
Results = Mapping[str, Sequence[Case]]
"""Results by name, each with its cases; a name that is missing is false."""

PLACEHOLDER: Final = re.compile(r"\{([a-z][a-z0-9.-]*)\}")
UNKNOWN: Final = "-unknown"


class About(StrEnum):
    """What a graph is about."""

    CLUSTER = "cluster"
    OPERATION = "operation"


class Confidence(StrEnum):
    """How sure a cause is where its path ends: it was seen itself, or what it is seen by may have others."""

    CERTAIN = "certain"
    LIKELY = "likely"
    POSSIBLE = "possible"


class Kind(StrEnum):
    """Where an edge leads."""

    CHECKPOINT = "checkpoint"
    CAUSE = "cause"
    GRAPH = "graph"


@dataclass(frozen=True)
class Source:
    """Where something was declared; ``line`` counts from 0."""

    path: Path
    line: int


@dataclass(frozen=True)
class Script:
    """A program that gives results: ``argv`` on this machine, or on each running node of ``on`` (a node, a group, ``all``) as ``user``."""

    argv: tuple[str, ...]
    on: str = ""
    user: str = "root"


@dataclass(frozen=True)
class Edge:
    """Leads to ``target`` where ``when`` holds."""

    when: Expression
    kind: Kind
    target: str
    source: Source


@dataclass(frozen=True)
class Checkpoint:
    """A question: exactly one of ``probe``, ``check`` (the id of a preflight check) and ``script``.

    ``gives`` are the names of its results with the keys that their cases have. ``beside`` are checkpoints that are asked at the same
    time, whose results its edges may use. ``seconds`` is its own time limit.
    """

    name: str
    gives: Mapping[str, tuple[str, ...]]
    source: Source
    probe: str = ""
    check: str = ""
    script: Script | None = None
    beside: tuple[str, ...] = ()
    seconds: float = 15.0
    edges: tuple[Edge, ...] = ()

    @property
    def unknown(self) -> str:
        """The result that it has if it could not be asked."""
        return f"{self.name}{UNKNOWN}"


@dataclass(frozen=True)
class Action:
    """What mends a cause: a labcloud verb, or with ``on`` a command on a node as ``user``. With ``each`` it is done for every case of
    that result, whose keys are then placeholders. Only what is ``safe`` is done without being confirmed."""

    argv: tuple[str, ...]
    safe: bool
    source: Source
    on: str = ""
    user: str = "root"
    each: str = ""


@dataclass(frozen=True)
class Cause:
    """Where a path ends. ``verdict`` is one sentence with placeholders. What is no ``fault`` is said, and the cluster is well with it."""

    id: str
    verdict: str
    source: Source
    confidence: Confidence = Confidence.CERTAIN
    fault: bool = True
    fix: tuple[Action, ...] = ()
    advice: str = ""


@dataclass(frozen=True)
class Graph:
    """One file. ``joins`` are graphs that lead to it from their start: how operators' own are reached."""

    name: str
    title: str
    about: About
    start: tuple[str, ...]
    checkpoints: Mapping[str, Checkpoint]
    causes: Mapping[str, Cause]
    path: Path
    joins: tuple[str, ...] = ()
    joined: tuple[str, ...] = ()

    def edges(self) -> Iterator[tuple[Checkpoint, Edge]]:
        for checkpoint in self.checkpoints.values():
            for edge in checkpoint.edges:
                yield checkpoint, edge


@dataclass(frozen=True)
class Command:
    """An action with its placeholders filled: a labcloud verb, or ``on`` a node (``worker-0``) as ``user``."""

    argv: tuple[str, ...]
    safe: bool
    on: str = ""
    user: str = ""


@dataclass(frozen=True)
class Found:
    """A cause that a path ended at. ``path`` names the checkpoints and graphs on the way, ``evidence`` the cases that led there."""

    id: str
    verdict: str
    confidence: Confidence
    fault: bool
    graph: str
    path: tuple[str, ...]
    evidence: Mapping[str, Sequence[Case]] = field(default_factory=lambda: MappingProxyType({}))
    fix: tuple[Command, ...] = ()
    advice: str = ""


@dataclass(frozen=True)
class Step:
    """A checkpoint that was asked: what it answered, or ``failed`` with why it could not."""

    graph: str
    checkpoint: str
    results: Results
    seconds: float
    failed: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """What a walk came to.

    ``ruled_out`` are causes that were looked for and are not there; ``unknown`` says what could not be asked, and why. ``steps`` and
    ``taken`` (edges, by graph, checkpoint and number) are the path.
    """

    target: str
    found: tuple[Found, ...]
    ruled_out: tuple[str, ...]
    unknown: Mapping[str, str]
    steps: tuple[Step, ...]
    taken: frozenset[tuple[str, str, int]]
    seconds: float

    @property
    def causes(self) -> tuple[Found, ...]:
        return tuple(each for each in self.found if each.fault)

    @property
    def notes(self) -> tuple[Found, ...]:
        return tuple(each for each in self.found if not each.fault)

    @property
    def healthy(self) -> bool:
        """Whether everything could be asked and no cause was found."""
        return not self.causes and not self.unknown
