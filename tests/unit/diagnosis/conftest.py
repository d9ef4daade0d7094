"""A cluster on the simulated engine, and graphs that a test writes."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from labcloud.apply.clusters import Clusters
from labcloud.apply.journal import Journal
from labcloud.apply.requests import CreateRequest
from labcloud.apply.verbs import Terms
from labcloud.apply.watch import Watch
from labcloud.diagnosis.diagnose import Doctor
from labcloud.diagnosis.loading import read_graph
from labcloud.diagnosis.model import Diagnosis, Graph
from labcloud.diagnosis.subject import Lights, Subject
from labcloud.lab import Lab
from labcloud.model import ClusterRef, NodeRef
from labcloud.providers.simulated import Faults, SimulatedProvider

REF = ClusterRef("acme", "c")
MASTER = NodeRef(REF, "master", 0)
WORKER = NodeRef(REF, "worker", 0)


class Ward:
    """One lab with one cluster on a simulated engine, and who diagnoses it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.lab = Lab(home)
        self.faults = Faults()
        self.provider = SimulatedProvider(home, self.lab.id, faults=self.faults)
        self.journal = Journal(home)
        self.clusters = Clusters(self.lab, self.journal, lambda _: self.provider, Watch())

    def create(self) -> None:
        request = CreateRequest(ref=REF, profile="hadoop-2.7", provider="simulated", workers=2)
        self.clusters.create(request, Terms(timeout=20))

    @property
    def lights(self) -> Lights:
        return Lights(self.lab, self.journal, lambda _: self.provider)

    def subject(self) -> Subject:
        return Subject(self.lights, REF)

    def diagnose(self, **options: Any) -> Diagnosis:
        doctor = Doctor(self.lights)
        return doctor.diagnose(doctor.cluster(REF), **options)

    def named(self) -> set[str]:
        return {found.id for found in self.diagnose().causes}


@pytest.fixture
def ward(tmp_path: Path) -> Ward:
    made = Ward(tmp_path / "home")
    made.create()
    return made


Write = Callable[..., Graph]


@pytest.fixture
def graph(tmp_path: Path) -> Write:
    """Reads a graph from its text, as a file of that name."""

    def read(text: str, name: str = "mine") -> Graph:
        return read_graph(textwrap.dedent(text), tmp_path / f"{name}.yaml")

    return read


Canned = Callable[[Mapping[str, Any]], None]
