"""Probes of what nodes say of themselves: names, clocks, disks, memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from labcloud.diagnosis.facts import Disk, Facts
from labcloud.diagnosis.model import Case, Results
from labcloud.diagnosis.probes.base import Probe
from labcloud.diagnosis.subject import Subject
from labcloud.model import NodeRef, format_bytes

_FULL: Final = 97
_LEAST_FREE: Final = 32 * 2**20
_LEAST_INODES: Final = 200
_CLOCK: Final = 5.0


def _inside(subject: Subject) -> Results:
    attached = {ref for ref, seen in subject.inspections().items() if seen.attached}
    unresolved: list[Case] = []
    clocks: list[Case] = []
    for ref, facts in subject.facts().items():
        if ref in attached:
            unresolved += _unresolved(ref, facts, attached)
        if abs(facts.skew) > _CLOCK:
            clocks.append({"node": ref.name, "seconds": f"{facts.skew:+.0f}"})
    mute: list[Case] = [{"node": ref.name, "said": why} for ref, why in subject.mute().items()]
    return {"node-mute": mute, "name-unresolved": unresolved, "clock-off": clocks}


def _unresolved(ref: NodeRef, facts: Facts, attached: set[NodeRef]) -> Iterator[Case]:
    """Names that do not resolve, though their nodes are there."""
    there = {each.qualified for each in attached}
    for name, address in facts.names.items():
        if not address and any(name.startswith(f"{qualified}.") for qualified in there):
            yield {"node": ref.name, "name": name}


def _disks(subject: Subject) -> Results:
    results: dict[str, list[Case]] = {"disk-full": [], "inodes-full": [], "disk-read-only": [], "folder-denied": []}
    for ref, facts in subject.facts().items():
        for disk in facts.disks:
            name = _disk_state(disk)
            if name:
                case = {"node": ref.name, "folder": disk.folder, "used": f"{disk.used_percent} %", "free": format_bytes(disk.free)}
                results[name].append(case)
        results["folder-denied"] += _denied(ref, facts)
    return results


def _disk_state(disk: Disk) -> str:
    if not disk.writable:
        return "disk-read-only"
    if disk.size and (disk.used_percent >= _FULL or disk.free < _LEAST_FREE):
        return "disk-full"
    return "inodes-full" if disk.inodes and disk.inodes_free < _LEAST_INODES else ""


def _denied(ref: NodeRef, facts: Facts) -> Iterator[Case]:
    """Folders that their service cannot use. One that is not there at all is made when the service starts."""
    read_only = {disk.folder for disk in facts.disks if not disk.writable}
    for service in facts.services:
        for folder in service.folders:
            usable = folder.owner == folder.user and folder.mode[-3:-2] == "7"
            if service.up and not usable and not any(folder.path.startswith(each) for each in read_only):
                case = {"node": ref.name, "service": service.name, "folder": folder.path, "user": folder.user}
                yield {**case, "owner": folder.owner or "nobody (it is not there)", "mode": folder.mode or "-"}


def _memory(subject: Subject) -> Results:
    killed: list[Case] = []
    short: list[Case] = []
    for ref, facts in subject.facts().items():
        memory = facts.memory
        if not memory.limit:
            continue
        case = {"node": ref.name, "limit": f"{memory.limit // 2**20}m", "used": f"{100 * memory.used // memory.limit} %"}
        if memory.kills:
            killed.append({**case, "kills": str(memory.kills)})
        elif memory.used > 0.97 * memory.limit:
            short.append(case)
    return {"killed-for-memory": killed, "memory-short": short}


_DISK: Final = ("node", "folder", "used", "free")

PROBES: Final = (
    Probe("inside", {"node-mute": ("node", "said"), "name-unresolved": ("node", "name"), "clock-off": ("node", "seconds")}, _inside),
    Probe(
        "disks",
        {
            "disk-full": _DISK, "inodes-full": _DISK, "disk-read-only": _DISK,
            "folder-denied": ("node", "service", "folder", "user", "owner", "mode"),
        },
        _disks,
    ),
    Probe("memory", {"killed-for-memory": ("node", "kills", "limit", "used"), "memory-short": ("node", "limit", "used")}, _memory),
)  # fmt: skip
