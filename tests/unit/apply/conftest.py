"""A lab and a simulated engine that outlive the processes that work on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labcloud.apply.clusters import Clusters
from labcloud.apply.configuring import Configuring
from labcloud.apply.drifting import Drifting
from labcloud.apply.journal import Journal
from labcloud.apply.requests import CreateRequest
from labcloud.apply.verbs import Terms
from labcloud.apply.watch import Event, Watch
from labcloud.lab import Lab
from labcloud.model import Cluster, ClusterRef, Configuration, Found, NodeRef
from labcloud.providers.base import Command, Result
from labcloud.providers.simulated import Faults, SimulatedProvider, World

_RESTARTS = ("s6-svc", "s6-svlisten1")

REF = ClusterRef("acme", "c")
TERMS = Terms(timeout=20)


def asked(ref: ClusterRef = REF, **changed: Any) -> CreateRequest:
    return CreateRequest(**({"ref": ref, "profile": "hadoop-2.7", "provider": "simulated", "workers": 2} | changed))


class Recorder(SimulatedProvider):
    """A simulated engine that keeps what nodes were asked to run, what of it restarted a service, and what was written for nodes."""

    def __init__(self, *where: Any, **options: Any) -> None:
        super().__init__(*where, **options)
        self.ran: list[tuple[str, tuple[str, ...]]] = []
        self.written: list[dict[str, str]] = []
        self.resized: list[tuple[str, int]] = []
        self.restarts: list[str] = []

    def execute(self, ref: NodeRef, command: Command, **streams: Any) -> Result:
        self.ran.append((ref.name, command.argv))
        result = super().execute(ref, command, **streams)
        service = next((word.rpartition("/")[2] for word in command.argv if word.startswith("/run/service/")), "")
        if command.argv[0] in _RESTARTS and result.exit_code == 0:
            self.restarts.append(f"{service} on {ref.name}")
        return result

    def ensure_config(self, cluster: ClusterRef, files: Mapping[str, str]) -> bool:
        self.written.append(dict(files))
        return super().ensure_config(cluster, files)

    def resize_node(self, ref: NodeRef, *, memory: int, cpus: float) -> None:
        super().resize_node(ref, memory=memory, cpus=cpus)
        self.resized.append((ref.name, memory))
        self.ran.append((ref.name, ("resize", str(memory))))

    def told(self, *argv: str) -> list[str]:
        """The nodes on which commands that begin with ``argv`` were run, in order."""
        return [node for node, each in self.ran if each[: len(argv)] == argv]


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

    def recorder(self, **options: Any) -> Recorder:
        return Recorder(self.home, self.lab.id, world=self.world, **options)

    def configuring(self, provider: SimulatedProvider | None = None, *, faults: Faults | None = None) -> Configuring:
        engine = provider or self.provider(faults=faults)
        return Configuring(self.lab, self.journal(), lambda _: engine, self.watch)

    def drifting(self, provider: SimulatedProvider | None = None) -> Drifting:
        engine = provider or self.provider()
        return Drifting(self.lab, self.journal(), lambda _: engine, self.watch)

    def want(self, ref: ClusterRef = REF, **changed: Any) -> Cluster:
        """Let the lab repository want another cluster than it does, as somebody's edit of the file would."""
        there = self.lab.cluster(ref)
        assert there
        wanted = replace(there, **changed)
        self.lab.save(wanted, "an edit")
        return wanted

    def configure(self, settings: Mapping[str, str], ref: ClusterRef = REF) -> None:
        """Let the cluster's own file say these settings, and no others."""
        self.want(ref, configuration=Configuration(settings=settings))

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
