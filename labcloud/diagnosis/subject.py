"""What a diagnosis is about, and all that probes ask of it: each fact is asked for once, when it is first needed, and shared."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

from labcloud.apply.blueprint import draw
from labcloud.apply.journal import Journal, Record
from labcloud.diagnosis.facts import Facts, parse, script
from labcloud.diagnosis.masters import DataNodes, NodeManagers, read_datanodes, read_nodemanagers
from labcloud.diagnosis.model import Case
from labcloud.errors import EngineError, LabError, NotFoundError, UsageError
from labcloud.lab import Lab
from labcloud.model import Cluster, ClusterRef, Found, FoundNode, NodeRef, Status
from labcloud.plan import Blueprint
from labcloud.profiles import Profile, load
from labcloud.providers.base import Command, Inspection, Provider
from labcloud.services.hadoop import Hadoop

_THREADS: Final = 16
MEASURED: Final = 500
"""Milliseconds for which a node is measured, where speed is asked for."""

Made = TypeVar("Made")


@dataclass(frozen=True)
class Lights:
    """What a subject is seen by: the lab, its journal, and what opens an engine by its name."""

    lab: Lab
    journal: Journal
    provider: Callable[[str], Provider]


class Subject:
    """A cluster, or an operation and the cluster that it was about.

    Properties and methods raise LabError where what they ask does not answer; asked again they say the same.
    """

    def __init__(self, lights: Lights, ref: ClusterRef | None, record: Record | None = None) -> None:
        self._lights = lights
        self._made: dict[str, Future[Any]] = {}
        self._lock = threading.Lock()
        self.ref = ref
        self.record = record

    @property
    def target(self) -> str:
        return self.record.id if self.record else str(self.ref)

    def once(self, key: str, make: Callable[[], Made]) -> Made:
        """What ``make`` returned, or raised, when ``key`` was asked for first; whoever asks meanwhile waits."""
        with self._lock:
            future = self._made.get(key)
            mine = future is None
            if future is None:
                future = self._made[key] = Future()
        if mine:
            try:
                future.set_result(make())
            except BaseException as exc:  # noqa: BLE001 - handed over to everybody who asks
                future.set_exception(exc)
        made: Made = future.result()
        return made

    # What is wanted

    @property
    def home(self) -> Path:
        return self._lights.lab.home

    @property
    def journal(self) -> Journal:
        return self._lights.journal

    @property
    def wanted(self) -> Cluster | None:
        """The cluster as it is declared, if it is."""
        ref = self.ref
        return self.once("wanted", lambda: self._lights.lab.cluster(ref)) if ref else None

    @property
    def cluster(self) -> Cluster:
        """Raise NotFoundError if it is not declared."""
        if self.wanted is None:
            raise NotFoundError(f"there is no cluster {self.ref}", resolution="'labcloud list' shows those that there are")
        return self.wanted

    @cached_property
    def profile(self) -> Profile:
        return load(self.cluster.profile)

    @cached_property
    def provider(self) -> Provider:
        return self._lights.provider(self.cluster.provider)

    @property
    def blueprint(self) -> Blueprint:
        """The cluster as the engine should have it, but for its datasets: those that are gone are no reason to know nothing."""
        return self.once("blueprint", self._draw)

    def _draw(self) -> Blueprint:
        tenant = self.cluster.ref.tenant
        lab = self._lights.lab
        return draw(self.cluster, self.profile, self.provider.domain(tenant), lab.tenant(tenant), lab.shared(tenant))

    # What exists

    def found(self) -> Found:
        return self.once("found", lambda: self.provider.find(cluster=self.cluster.ref))

    def nodes(self) -> dict[NodeRef, FoundNode]:
        return {node.ref: node for node in self.found().nodes}

    def running(self) -> list[NodeRef]:
        """Declared nodes that run, as the engine says."""
        nodes = self.nodes()
        return [ref for ref in self.cluster.nodes() if ref in nodes and nodes[ref].status is Status.RUNNING]

    def inspections(self) -> dict[NodeRef, Inspection]:
        """Every node that exists, asked from the engine; one that vanishes meanwhile is left out."""
        return self.once("inspections", lambda: self._on_all(list(self.nodes()), self.provider.inspect))

    def facts(self) -> dict[NodeRef, Facts]:
        """What running nodes say of themselves; those that do not answer are left out (see `mute`)."""
        return {ref: said for ref, said in self._gathered().items() if isinstance(said, Facts)}

    def mute(self) -> dict[NodeRef, str]:
        """Running nodes that nothing can be asked of, with why."""
        return {ref: said for ref, said in self._gathered().items() if isinstance(said, str)}

    def measured(self) -> dict[NodeRef, Facts]:
        """Facts again, with processor and disk measured for a while."""
        said = self.once("measured", lambda: self._gather(MEASURED))
        return {ref: each for ref, each in said.items() if isinstance(each, Facts)}

    def _gathered(self) -> dict[NodeRef, Facts | str]:
        return self.once("facts", lambda: self._gather(0))

    def _gather(self, milliseconds: int) -> dict[NodeRef, Facts | str]:
        return self._on_all(self.running(), lambda ref: self._gather_one(ref, milliseconds))

    def _gather_one(self, ref: NodeRef, milliseconds: int) -> Facts | str:
        names = [f"{each.qualified}.{self.provider.domain(each.cluster.tenant)}" for each in self._must_know(ref)]
        asked = time.time()
        try:
            result = self.provider.execute(ref, Command(("bash", "-s", "--", str(milliseconds), *names), stdin=script()))
        except LabError as exc:
            return exc.brief
        facts = parse(result.stdout.decode(errors="replace"))
        last = (result.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
        return replace(facts, skew=facts.clock - asked) if facts.clock else f"its shell ended with {result.exit_code}: {last}"

    def _must_know(self, ref: NodeRef) -> list[NodeRef]:
        """The nodes whose names ``ref`` has to resolve: its own, and the masters'. One that is cut off resolves none."""
        inspections = self.inspections()
        running = {each for each in self.running() if each in inspections and inspections[each].attached}
        if ref not in running:
            return []
        masters = [each for each in self.cluster.nodes() if not self.profile.groups[each.group].scalable and each in running]
        return list(dict.fromkeys((ref, *masters)))

    def _on_all(self, refs: list[NodeRef], ask: Callable[[NodeRef], Made]) -> dict[NodeRef, Made]:
        def one(ref: NodeRef) -> Made | None:
            try:
                return ask(ref)
            except NotFoundError:
                return None

        if not refs:
            return {}
        with ThreadPoolExecutor(min(_THREADS, len(refs))) as pool:
            return {ref: said for ref, said in zip(refs, pool.map(one, refs), strict=True) if said is not None}

    # Its services

    @cached_property
    def hadoop(self) -> Hadoop:
        return Hadoop(self.provider, self.cluster, self.profile)

    def beans(self, service: str) -> Mapping[str, Mapping[str, Any]]:
        """All JMX beans of a master's service, by short name."""
        return self.once(f"beans {service}", lambda: self.hadoop.beans(service))

    def bean(self, service: str, name: str) -> Mapping[str, Any]:
        """One bean. Raise EngineError if the service does not publish it (yet)."""
        beans = self.beans(service)
        if name not in beans:
            raise EngineError(f"the {service} of {self.ref} does not publish {name} yet")
        return beans[name]

    def page(self, service: str, path: str) -> Any:
        return self.once(f"page {service} {path}", lambda: self.hadoop.page(service, path))

    def has(self, service: str) -> bool:
        return service in self.profile.services

    def declared(self, service: str) -> list[NodeRef]:
        """The nodes that shall have a service."""
        return list(self.cluster.nodes(self.profile.services[service].group)) if self.has(service) else []

    def datanodes(self) -> DataNodes:
        """DataNodes as the NameNode sees them."""
        return self.once("datanodes", lambda: read_datanodes(self.bean("namenode", "NameNodeInfo")))

    def nodemanagers(self) -> NodeManagers:
        """NodeManagers as the ResourceManager sees them."""
        return self.once("nodemanagers", lambda: read_nodemanagers(self.bean("resourcemanager", "RMNMInfo")))

    # Preflight

    def preflight(self, id: str) -> tuple[str, Case]:
        """What a preflight check says now: its verdict, and its summary and fix. Raise UsageError for one that does not exist."""
        from labcloud.model.checks import Subject as Asked
        from labcloud.model.checks import Verdict
        from labcloud.preflight import all_checks

        check = next((each for each in all_checks(self.provider) if each.id == id), None)
        if check is None:
            raise UsageError(f"there is no check {id!r}", resolution="'labcloud preflight --list' shows all")
        if not check.machine:
            raise UsageError(f"the check {id!r} is about a cluster that is not there yet", resolution="name one of the machine")
        declared = tuple(self._lights.lab.clusters())
        finding = check.run(Asked(self.home, self.provider.name, self.provider.capacity, declared=declared))
        if finding.verdict is Verdict.SKIP:
            raise EngineError(finding.summary)
        return str(finding.verdict), {"summary": finding.summary, "fix": finding.fix}
