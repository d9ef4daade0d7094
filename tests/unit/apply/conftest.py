"""A lab and a simulated engine that outlive the processes that work on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labcloud.apply.clusters import Clusters
from labcloud.apply.journal import Journal
from labcloud.apply.requests import CreateRequest
from labcloud.apply.verbs import Terms
from labcloud.apply.watch import Event, Watch
from labcloud.lab import Lab
from labcloud.model import ClusterRef, Found
from labcloud.providers.simulated import Faults, SimulatedProvider, World

REF = ClusterRef("acme", "c")
TERMS = Terms(timeout=20)


def asked(ref: ClusterRef = REF, **changed: Any) -> CreateRequest:
    return CreateRequest(**({"ref": ref, "profile": "hadoop-2.7", "provider": "simulated", "workers": 2} | changed))


class Shop:
    """One lab on one engine; each `clusters` is what another run of the program would have."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.lab = Lab(home)
        self.world = World()
        self.events: list[Event] = []
        self.watch = Watch(self.events.append)

    def provider(self, **options: Any) -> SimulatedProvider:
        return SimulatedProvider(self.home, self.lab.id, world=self.world, **options)

    def clusters(self, provider: SimulatedProvider | None = None, *, faults: Faults | None = None, watch: Watch | None = None) -> Clusters:
        engine = provider or self.provider(faults=faults)
        return Clusters(self.lab, self.journal(), lambda _: engine, watch or self.watch)

    def journal(self) -> Journal:
        return Journal(self.home)

    def found(self) -> Found:
        return self.provider().find()

    def running(self) -> list[str]:
        return [node.ref.name for node in self.found().nodes if node.status == "running"]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "home")


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that are refused are tried again at once."""
    monkeypatch.setattr("labcloud.apply.runner._PAUSE", 0.0)


Verb = Callable[[Clusters], object]
