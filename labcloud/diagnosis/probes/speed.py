"""Probes of what makes a cluster slow. They measure for a moment, and so take one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from labcloud.diagnosis.model import Case, Results
from labcloud.diagnosis.probes.base import Probe
from labcloud.diagnosis.probes.services import flaps
from labcloud.diagnosis.subject import MEASURED, Subject
from labcloud.errors import EngineError
from labcloud.model import NodeRef

_THROTTLED: Final = 25
_SLOW_DISK: Final = 200_000  # microseconds that a small write takes until the disk has it
_COLLECTING: Final = 40
_WARM: Final = 60  # seconds; a daemon that starts collects much
_LOADED: Final = 4.0
_THREADS: Final = 16
_PAUSE: Final = re.compile(r"Detected pause in JVM.*?approximately (\d+)ms")
_LONG_PAUSE: Final = 5000

_Asked = tuple[NodeRef, str]


def _speed(subject: Subject) -> Results:
    throttled: list[Case] = []
    slow: list[Case] = []
    for ref, facts in subject.measured().items():
        if facts.throttled_percent >= _THROTTLED:
            cpus = subject.blueprint.specs[ref].cpus if ref in subject.blueprint.specs else 0
            throttled.append({"node": ref.name, "percent": f"{facts.throttled_percent} %", "cpus": f"{cpus:g}"})
        if facts.latency >= _SLOW_DISK:
            slow.append({"node": ref.name, "milliseconds": str(facts.latency // 1000)})
    return {"cpu-throttled": throttled, "disk-slow": slow, "host-loaded": _loaded(subject)}


def _loaded(subject: Subject) -> list[Case]:
    """Whether the machine that the NameNode is on has far more to run than processors; its JVM sees the whole machine's load."""
    try:
        load = float(subject.bean("namenode", "java.lang:type=OperatingSystem").get("SystemLoadAverage", 0))
        cpus = subject.provider.capacity().cpus
    except EngineError:
        return []
    return [{"load": f"{load:.1f}", "cpus": f"{cpus:g}"}] if load > _LOADED * max(cpus, 1) else []


def _collection(subject: Subject) -> Results:
    """Daemons that spend their time collecting garbage: counted twice, with a measurement in between."""
    asked = [
        (ref, service.name)
        for ref, facts in subject.facts().items()
        for service in facts.services
        if service.up and service.seconds >= _WARM and service.state != "T" and subject.has(service.name) and not flaps(service)
    ]
    if not asked:
        return {}
    with ThreadPoolExecutor(min(_THREADS, len(asked))) as pool:
        before = dict(zip(asked, pool.map(lambda each: _heap(subject, each), asked), strict=True))
        subject.measured()
        again = [each for each in asked if before[each]]
        after = dict(zip(again, pool.map(lambda each: _heap(subject, each), again), strict=True))
    heavy = [case for each in again if (case := _spent(each, before[each], after[each]))]
    return {"collecting-garbage": heavy, "long-pauses": _pauses(subject)}


def _heap(subject: Subject, asked: _Asked) -> Mapping[str, Any]:
    ref, service = asked
    try:
        return subject.hadoop.beans(service, "JvmMetrics", node=ref, timeout=2.0).get("JvmMetrics", {})
    except EngineError:
        return {}


def _spent(asked: _Asked, before: Mapping[str, Any], after: Mapping[str, Any]) -> Case | None:
    if "GcTimeMillis" not in before or "GcTimeMillis" not in after:
        return None
    percent = 100 * (int(after["GcTimeMillis"]) - int(before["GcTimeMillis"])) // MEASURED
    used = f"{float(after.get('MemHeapUsedM', 0)):.0f} of {float(after.get('MemHeapMaxM', 0)):.0f} MiB"
    return {"node": asked[0].name, "service": asked[1], "percent": f"{percent} %", "heap": used} if percent >= _COLLECTING else None


def _pauses(subject: Subject) -> list[Case]:
    """Pauses that daemons noted themselves since their last start (JvmPauseMonitor)."""
    cases: list[Case] = []
    for ref, facts in subject.facts().items():
        for service in facts.services:
            times = [int(found[1]) for line in service.log if (found := _PAUSE.search(line))]
            if times and max(times) >= _LONG_PAUSE:
                cases.append({"node": ref.name, "service": service.name, "seconds": f"{max(times) / 1000:.0f}", "times": str(len(times))})
    return cases


PROBES: Final = (
    Probe(
        "speed",
        {"cpu-throttled": ("node", "percent", "cpus"), "disk-slow": ("node", "milliseconds"), "host-loaded": ("load", "cpus")},
        _speed,
    ),
    Probe(
        "collection",
        {"collecting-garbage": ("node", "service", "percent", "heap"), "long-pauses": ("node", "service", "seconds", "times")},
        _collection,
    ),
)
