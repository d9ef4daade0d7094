"""Diagnosing: which graph a target begins at, and walking it."""

from __future__ import annotations

import re
from typing import Final

from labcloud.apply.journal import Journal, Record
from labcloud.diagnosis.asking import Asker
from labcloud.diagnosis.loading import load_graphs
from labcloud.diagnosis.model import About, Diagnosis, Graph
from labcloud.diagnosis.subject import Lights, Subject
from labcloud.diagnosis.walking import Walk
from labcloud.errors import LabError, NotFoundError, UsageError
from labcloud.model import ClusterRef

DEFAULT_SECONDS: Final = 60.0
_FIRST: Final = {About.CLUSTER: "triage", About.OPERATION: "operation"}
_OPERATION: Final = re.compile(r"[0-9a-hjkmnp-tv-z]{11}")


def is_operation(text: str) -> bool:
    """Whether ``text`` has the form of an operation's name."""
    return _OPERATION.fullmatch(text) is not None and any(each.isdigit() for each in text)


class Doctor:
    """Diagnoses what is in one lab. Raise ConfigError, when made, for a graph that is wrong."""

    def __init__(self, lights: Lights) -> None:
        self._lights = lights
        self.graphs = load_graphs(lights.lab.home)

    def cluster(self, ref: ClusterRef) -> Subject:
        """Raise NotFoundError for a cluster that neither is declared nor was."""
        if self._lights.lab.cluster(ref) is None:
            raise NotFoundError(f"there is no cluster {ref}", resolution="'labcloud list' shows those that there are")
        return Subject(self._lights, ref)

    def operation(self, id: str) -> Subject:
        """Raise NotFoundError for an operation that the journal does not have."""
        record = self._journal.read(id)
        return Subject(self._lights, _target(record), record)

    @property
    def _journal(self) -> Journal:
        return self._lights.journal

    def graph(self, name: str) -> Graph:
        if name not in self.graphs:
            raise NotFoundError(f"there is no graph {name!r}", resolution=f"there are {', '.join(sorted(self.graphs))}")
        return self.graphs[name]

    def first(self, subject: Subject) -> str:
        """The graph that a diagnosis of ``subject`` begins at."""
        return _FIRST[About.OPERATION if subject.record else About.CLUSTER]

    def diagnose(self, subject: Subject, *, start: str = "", seconds: float = DEFAULT_SECONDS) -> Diagnosis:
        """Walk from the graph ``start``, or from the first, within ``seconds``. Raise UsageError for a graph about something else."""
        name = start or self.first(subject)
        graph = self.graph(name)
        if graph.about is About.OPERATION and subject.record is None:
            raise UsageError(f"the graph {name!r} is about operations, and {subject.target} is a cluster")
        names = {
            "target": subject.target,
            "cluster": str(subject.ref or ""),
            "tenant": subject.ref.tenant if subject.ref else "",
            "operation": subject.record.id if subject.record else "",
        }
        return Walk(self.graphs, Asker(subject, names), names, seconds=seconds).run(subject.target, name)


def _target(record: Record) -> ClusterRef | None:
    """The cluster that an operation was about, if it was about one."""
    try:
        return ClusterRef.parse(record.target)
    except LabError:
        return None
