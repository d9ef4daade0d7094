"""Probes of what the engine says: the cluster as a whole, each node, the limits that are really set."""

from __future__ import annotations

from typing import Final

from labcloud.diagnosis.model import Case, Results
from labcloud.diagnosis.probes.base import Probe
from labcloud.diagnosis.subject import Subject
from labcloud.errors import EngineError
from labcloud.model import FoundNode, NodeRef, Status, Wanted, format_memory
from labcloud.providers.base import NO_NETWORK, NO_ROOM, Inspection

_RUNNING: Final = ("running", "ACTIVE")
_KINDS: Final = {NO_ROOM: "node-unplaced", NO_NETWORK: "node-unplugged"}
_STATES: Final = ("node-stopped", "node-killed", "node-paused", "node-failed", "node-unplaced", "node-unplugged", "node-detached")


def _cluster(subject: Subject) -> Results:
    wanted = subject.wanted
    if wanted is None:
        return {"undeclared": [{}]}
    if wanted.state is Wanted.DELETED:
        return {"deletion-begun": [{}]}
    try:
        found = subject.found()
    except EngineError as exc:
        return {"engine-silent": [{"said": exc.brief, "way-out": exc.resolution}]}
    running = [node for node in found.nodes if node.status is Status.RUNNING]
    if wanted.state is Wanted.STOPPED:
        return {"stopped-as-wanted": [{}]} if not running else {}
    if not found.nodes:
        return {"nothing-there": [{}]}
    return {"network-missing": [{"tenant": wanted.ref.tenant}]} if wanted.ref.tenant not in found.networks else {}


def _nodes(subject: Subject) -> Results:
    there, inspections = subject.nodes(), subject.inspections()
    results: dict[str, list[Case]] = {}
    for ref in subject.cluster.nodes():
        if ref not in there:
            results.setdefault("node-missing", []).append({"node": ref.name})
        elif ref in inspections:
            name = _state(there[ref], inspections[ref])
            if name:
                network = {"container": ref.qualified, "network": subject.provider.domain(ref.cluster.tenant)}
                results.setdefault(name, []).append({**_case(ref, inspections[ref]), **network})
    return results


def _state(node: FoundNode, seen: Inspection) -> str:
    """What is wrong with a node that exists; empty for nothing."""
    if seen.state.lower() == "paused":
        return "node-paused"
    if node.status is Status.RUNNING and seen.state in _RUNNING:
        return "" if seen.attached else "node-detached"
    if seen.killed_for_memory:
        return "node-killed"
    if seen.why in _KINDS:
        return _KINDS[seen.why]
    return "node-failed" if node.status in (Status.FAILED, Status.CREATED) or seen.state == "restarting" else "node-stopped"


def _case(ref: NodeRef, seen: Inspection) -> Case:
    when = seen.ended.partition(".")[0].replace("T", " ")
    return {
        "node": ref.name, "state": seen.state, "code": str(seen.exit_code), "ended": when, "said": seen.said,
        "history": "; ".join(seen.history),
    }  # fmt: skip


def _limits(subject: Subject) -> Results:
    """Limits that are set, against those that are declared. What no limit is set for (0) is no change if none can be set."""
    specs = subject.blueprint.specs
    memory: list[Case] = []
    cpus: list[Case] = []
    for ref, seen in subject.inspections().items():
        if ref not in specs:
            continue
        wanted, case = specs[ref], {"node": ref.name, "container": ref.qualified}
        if seen.memory != wanted.memory:
            memory.append({**case, "set": format_memory(seen.memory), "wanted": format_memory(wanted.memory)})
        if round(seen.cpus, 3) != round(wanted.cpus, 3):
            cpus.append({**case, "set": f"{seen.cpus:g}", "wanted": f"{wanted.cpus:g}"})
    return {"memory-limit-changed": memory, "cpu-limit-changed": cpus}


_SEEN: Final = ("node", "state", "code", "ended", "said", "history", "container", "network")
_LIMIT: Final = ("node", "set", "wanted", "container")

PROBES: Final = (
    Probe(
        "cluster",
        {
            "undeclared": (), "deletion-begun": (), "engine-silent": ("said", "way-out"), "stopped-as-wanted": (),
            "nothing-there": (), "network-missing": ("tenant",),
        },
        _cluster,
    ),
    Probe(
        "nodes",
        {"node-missing": ("node",), **dict.fromkeys(_STATES, _SEEN)},
        _nodes,
    ),
    Probe("limits", {"memory-limit-changed": _LIMIT, "cpu-limit-changed": _LIMIT}, _limits),
)  # fmt: skip
