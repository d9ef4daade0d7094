"""Probes of YARN: NodeManagers, and applications that wait."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from labcloud.diagnosis.model import Case, Results
from labcloud.diagnosis.probes.base import Probe
from labcloud.diagnosis.subject import Subject
from labcloud.errors import EngineError
from labcloud.model import format_memory

_PATIENCE: Final = 15.0
_RECENT: Final = 600.0
_TOO_LARGE: Final = re.compile(r"(?:\w+ capability required is more than|Invalid resource request).{0,250}")
_STARTING: Final = 20
_APPS: Final = "/ws/v1/cluster/apps?states=SUBMITTED,ACCEPTED,RUNNING"
_SCHEDULER: Final = "/ws/v1/cluster/scheduler"


def _resourcemanager(subject: Subject) -> Results:
    try:
        subject.nodemanagers()
    except EngineError as exc:
        return {"resourcemanager-silent": [{"said": exc.brief}]}
    return {}


def _nodemanagers(subject: Subject) -> Results:
    known = subject.nodemanagers().known
    inspections = subject.inspections()
    running = {ref for ref in subject.running() if ref in inspections and inspections[ref].attached}
    results: dict[str, list[Case]] = {"nodemanager-absent": [], "nodemanager-unhealthy": [], "nodemanager-disk-full": []}
    for ref in subject.declared("nodemanager"):
        node = known.get(ref.name)
        if node is None or node.state not in ("RUNNING", "UNHEALTHY"):
            if ref in running:
                results["nodemanager-absent"].append({"node": ref.name, "state": node.state if node else "unknown to it"})
        elif node.state == "UNHEALTHY":
            full = "used space above threshold" in node.report
            name = "nodemanager-disk-full" if full else "nodemanager-unhealthy"
            results[name].append({"node": ref.name, "report": node.report[:300]})
    return results


def _absence(subject: Subject) -> Results:
    """NodeManagers that run for a while, and that the ResourceManager does not count on."""
    known = subject.nodemanagers().known
    results: dict[str, list[Case]] = {"nodemanager-excluded": [], "nodemanager-lost": []}
    for ref, facts in subject.facts().items():
        service, state = facts.service("nodemanager"), known[ref.name].state if ref.name in known else "not registered"
        runs = service.up and service.state != "T" and service.seconds >= _STARTING
        if ref in subject.declared("nodemanager") and runs and state not in ("RUNNING", "UNHEALTHY"):
            name = "nodemanager-excluded" if state.startswith("DECOMM") else "nodemanager-lost"
            results[name].append({"node": ref.name, "state": state})
    return results


def _jobs(subject: Subject) -> Results:
    """Applications that have waited for a while, and why the scheduler gives them nothing."""
    apps = ((subject.page("resourcemanager", _APPS).get("apps") or {}).get("app")) or []
    waiting = [each for each in apps if float(each.get("elapsedTime", 0)) >= 1000 * _PATIENCE and _starves(each)]
    if not waiting:
        return {}
    cases = [_case(each) for each in waiting]
    managers = subject.nodemanagers()
    if not managers.largest:
        return {"job-waiting": cases, "nothing-to-run-on": cases}
    queues = {each["queueName"]: each for each in _leaves(subject.page("resourcemanager", _SCHEDULER)["scheduler"]["schedulerInfo"])}
    results: dict[str, list[Case]] = {}
    for app, case in zip(waiting, cases, strict=True):
        name, more = _why(app, queues.get(str(app.get("queue", "")).rpartition(".")[2], {}), _asked(subject, app), managers.largest)
        free = max((each.available for each in managers.known.values() if each.state == "RUNNING"), default=0)
        if name:
            results.setdefault(name, []).append({**case, **more, "free": format_memory(free)})
            results.setdefault("job-waiting", []).append(case)
    return results


def _ended(subject: Subject) -> Results:
    """Applications that ended a short while ago because they asked for more than any node has.

    YARN lowers what may be asked for to what the largest node has (YARN-2604), so they do not wait: they are ended, and say why.
    """
    since = int((time.time() - _RECENT) * 1000)
    path = f"/ws/v1/cluster/apps?states=FINISHED,FAILED,KILLED&finishedTimeBegin={since}"
    apps = ((subject.hadoop.page("resourcemanager", path).get("apps") or {}).get("app")) or []
    cases: list[Case] = []
    for app in apps:
        found = _TOO_LARGE.search(" ".join(str(app.get("diagnostics") or "").split()))
        if found:
            cases.append({"application": str(app["id"]), "user": str(app.get("user", "")), "said": found[0][:250]})
    return {"request-refused": cases}


def _starves(app: Mapping[str, Any]) -> bool:
    """Whether an application has nothing yet, or nothing but its master though it asks for more."""
    return app.get("state") in ("SUBMITTED", "ACCEPTED") or int(app.get("runningContainers", 0)) <= 1


def _case(app: Mapping[str, Any]) -> Case:
    seconds = float(app.get("elapsedTime", 0)) / 1000
    return {"application": str(app["id"]), "user": str(app.get("user", "")), "seconds": f"{seconds:.0f}"}


def _asked(subject: Subject, app: Mapping[str, Any]) -> tuple[int, int]:
    """How many containers the application's queue waits for, and the memory (MiB) of one of them, on average."""
    queue = str(app.get("queue", "default")).rpartition(".")[2]
    for name, bean in subject.beans("resourcemanager").items():
        if name.startswith("QueueMetrics") and name.endswith(f"={queue}"):
            count = int(bean.get("PendingContainers", 0))
            return count, int(bean.get("PendingMB", 0)) // count if count else 0
    return 0, 0


def _why(app: Mapping[str, Any], queue: Mapping[str, Any], asked: tuple[int, int], largest: int) -> tuple[str, Case]:
    count, wanted = asked
    if app.get("state") == "RUNNING" and not count:
        return "", {}  # its master is busy with something else
    said = {"wanted": format_memory(wanted) if wanted else "", "largest": format_memory(largest)}
    if count and wanted > largest:
        return "request-too-large", said
    accepted = app.get("state") == "ACCEPTED"
    if accepted and int(queue.get("numPendingApplications", 0)) and int(queue.get("numActiveApplications", 0)):
        limit = queue.get("AMResourceLimit") or {}
        return "masters-at-limit", {
            **said,
            "limit": format_memory(int(limit.get("memory", 0))),
            "running": str(queue["numActiveApplications"]),
        }
    if queue.get("state", "RUNNING") != "RUNNING":
        return "queue-stopped", {**said, "queue": str(queue.get("queueName", ""))}
    return ("memory-used-up" if count else "waiting-unexplained"), said


def _leaves(queue: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    below = ((queue.get("queues") or {}).get("queue")) or []
    if not below:
        yield queue
    for each in below:
        yield from _leaves(each)


_APP: Final = ("application", "user", "seconds")
_ASKED: Final = (*_APP, "wanted", "largest", "free")

PROBES: Final = (
    Probe("resourcemanager", {"resourcemanager-silent": ("said",)}, _resourcemanager),
    Probe(
        "nodemanagers",
        {
            "nodemanager-absent": ("node", "state"), "nodemanager-unhealthy": ("node", "report"),
            "nodemanager-disk-full": ("node", "report"),
        },
        _nodemanagers,
    ),
    Probe("nodemanager-absence", dict.fromkeys(("nodemanager-excluded", "nodemanager-lost"), ("node", "state")), _absence),
    Probe("ended-jobs", {"request-refused": ("application", "user", "said")}, _ended),
    Probe(
        "jobs",
        {
            "job-waiting": _APP, "nothing-to-run-on": _APP, "request-too-large": _ASKED, "memory-used-up": _ASKED,
            "waiting-unexplained": _ASKED, "masters-at-limit": (*_ASKED, "limit", "running"), "queue-stopped": (*_ASKED, "queue"),
        },
        _jobs,
    ),
)  # fmt: skip
