"""What may be expected of one move, before it begins. Pure: facts in, answers out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from labcloud.migrate.choosing import Choice, missing_traits
from labcloud.migrate.estimating import Estimate, Load
from labcloud.model import format_memory
from labcloud.model.checks import Finding, Severity, failed, passed, warned
from labcloud.model.hosts import Guest, Host, How, Need
from labcloud.preflight.checklist import Answer

_MOVABLE: Final = {
    How.LIVE: {"ACTIVE", "PAUSED"},
    How.RESTART: {"ACTIVE"},
    How.COLD: {"ACTIVE", "SHUTOFF"},
    How.REBUILD: {"ACTIVE", "SHUTOFF", "ERROR"},
}
_MOVING: Final = frozenset({"migrating", "resize_migrating", "resize_migrated", "resize_finish"})

# Each check with what goes wrong otherwise.
WHY: Final = {
    "move.state": "what is broken, rescued or suspended cannot be moved",
    "move.task": "the engine does one thing at a time with a server",
    "move.target": "a move needs a host that can take it",
    "move.processor": "a server that was started with what its processor can do fails where that is missing",
    "move.storage": "what hosts do not share has to be copied",
    "move.data": "what a host had alone is gone with it",
    "move.network": "a node keeps its name and its address",
    "move.volumes": "what is not on its host's own disk does not come along",
    "move.image": "a container needs its image",
    "move.devices": "what is plugged into a host stays there",
    "move.config-drive": "some hypervisors cannot copy the disk with a server's first configuration",
    "move.convergence": "a server that changes its memory faster than it is copied never arrives",
    "hadoop.answers": "what is not well before a move cannot be told from what the move has broken",
    "hadoop.nodes": "the node that moves may be the only one that holds a block",
    "hadoop.blocks": "a block with too few replicas is lost with the next node",
    "hadoop.role": "what there is once in a cluster stands still while its node does",
    "hadoop.work": "what runs on the node stands still while it does",
    "hadoop.maintenance": "HDFS copies the blocks of a node that says nothing",
}


@dataclass(frozen=True)
class Facts:
    """What is known of one move. ``choice`` is its target, None if there is none; then ``unfit`` says why, by host. ``traits`` are those of
    the source and the target. ``direct``: it has a port in its host's network card. ``limit`` is how many seconds a move may
    take; with ``force`` it is completed then. ``shared``: the disks of servers outlive their host;
    ``irreplaceable``: nobody else in its cluster has what the server's node has."""

    guest: Guest
    source: Host
    how: How
    choice: Choice | None
    unfit: Mapping[str, str]
    traits: tuple[Collection[str], Collection[str]]
    load: Load
    estimate: Estimate
    direct: bool = False
    limit: float = 0.0
    force: bool = False
    shared: bool = False
    irreplaceable: bool = False


def judge(facts: Facts) -> list[Answer]:
    """The answers of all checks that concern the engine."""
    return [answer(id, finding) for id, finding in _findings(facts)]


def answer(id: str, finding: Finding) -> Answer:
    """The finding of a check, with what goes wrong otherwise."""
    return Answer(id, finding.verdict, finding.summary, finding.evidence, finding.fix, Severity.BLOCKING, WHY.get(id, ""))


def _findings(facts: Facts) -> Iterator[tuple[str, Finding]]:
    guest = facts.guest
    live = facts.how is How.LIVE
    yield "move.state", _state(guest, facts.how)
    yield "move.task", _task(guest)
    yield "move.target", _target(facts)
    if live:
        yield "move.processor", _processor(facts)
        yield "move.devices", _devices(guest, direct=facts.direct)
    if facts.how is How.REBUILD:
        yield "move.data", _lost(facts)
        return
    yield "move.storage", _storage(facts)
    if live and guest.config_drive and guest.disk:
        yield (
            "move.config-drive",
            warned("it has a config drive, which libvirt copies if it is vfat", "openstack server show … -c config_drive"),
        )
    if live:
        yield "move.convergence", _convergence(facts)


def _state(guest: Guest, how: How) -> Finding:
    figures = {"state": guest.state}
    if guest.state in _MOVABLE[how] or guest.task in _MOVING:
        return passed(f"it is {guest.state}", **figures)
    return failed(f"it is {guest.state}: it cannot be moved", f"openstack server show {guest.id}", **figures)


def _task(guest: Guest) -> Finding:
    if not guest.task:
        return passed("nothing else is done with it")
    if guest.task in _MOVING:
        return passed("it is being moved already: that is awaited", task=guest.task)
    return failed(f"the engine is still at something else with it: {guest.task}", "wait for that, and try again", task=guest.task)


def _target(facts: Facts) -> Finding:
    if facts.choice:
        host = facts.choice.host.name
        return passed(f"{host}: {', '.join(facts.choice.reasons)}", host=host, free_memory=round(facts.choice.free, 3))
    said = "; ".join(f"{host}: {why}" for host, why in sorted(facts.unfit.items())[:4]) or "there is no other host"
    more = f"; and {len(facts.unfit) - 4} more" if len(facts.unfit) > 4 else ""
    return failed(f"no host can take it: {said}{more}", "make room, enable a host, or name one: --to HOST", hosts=dict(facts.unfit))


def _processor(facts: Facts) -> Finding:
    missing = missing_traits(*facts.traits)
    if not missing:
        return passed("the target's processor can do what its own can")
    names = ", ".join(each.removeprefix("HW_CPU_").lower() for each in missing[:6])
    return warned(
        f"the target's processor lacks {names}{' and more' if len(missing) > 6 else ''}",
        "choose another host, or one model for all: [libvirt] cpu_mode = custom, cpu_models",
        missing=missing,
    )


def _devices(guest: Guest, *, direct: bool) -> Finding:
    needs = {*guest.needs, *([Need.DIRECT_PORT] if direct else ())}
    bound = sorted(str(each) for each in needs & {Need.DEVICE, Need.ENCLAVE})
    if bound:
        return failed(f"it has {', '.join(bound)}, which cannot be moved live", "move it cold: --cold", needs=bound)
    if needs:
        said = sorted(map(str, needs))
        return warned(
            f"it has {', '.join(said)}: Nova moves that since Train, if the target has the same", "openstack hypervisor show", needs=said
        )
    return passed("nothing of it is plugged into its host")


def _storage(facts: Facts) -> Finding:
    guest, expected = facts.guest, facts.estimate
    if facts.how is How.RESTART:
        amount = format_memory(round(expected.copied))
        said = f"{amount} are copied while it runs, in about {expected.seconds:.0f} s; then it is stopped, and starts there"
        return passed(said, disk_mib=round(expected.copied), seconds=round(expected.seconds, 1))
    figures = {"disk_gib": guest.disk, "volumes": guest.volumes}
    elsewhere = f"{guest.volumes} volume{'s' if guest.volumes != 1 else ''} stay where they are" if guest.volumes else "it has no volumes"
    if guest.disk:
        return passed(f"up to {guest.disk} GiB on its host are copied, unless hosts share them; {elsewhere}", **figures)
    return passed(f"nothing has to be copied but memory; {elsewhere}", **figures)


def _lost(facts: Facts) -> Finding:
    """What a server that is made anew has lost."""
    guest, shared = facts.guest, facts.shared
    figures = {"disk_gib": guest.disk, "volumes": guest.volumes, "local": sorted(guest.local)}
    if shared or not guest.disk:
        return passed("its disk has outlived its host" if guest.disk else "it boots from a volume: nothing is lost", **figures)
    if guest.ref is None:
        return warned(f"its own disk of {guest.disk} GiB comes back as its image has it", "if hosts share disks: --shared", **figures)
    if not guest.local:
        return passed("its data are on volumes; the rest is configured anew", **figures)
    numbers = ", ".join(f"/data/{number}" for number in sorted(guest.local))
    if facts.irreplaceable:
        return failed(
            f"{numbers} with the file system's own metadata were on its host alone",
            f"bring back the newest backup instead: labcloud backup list {guest.ref.cluster}; labcloud backup restore {guest.ref.cluster}",
            **figures,
        )
    return warned(f"{numbers} were on its host alone: HDFS copies what others have", "if hosts share disks: --shared", **figures)


def _convergence(facts: Facts) -> Finding:
    expected, load = facts.estimate, facts.load
    figures = {
        "seconds": round(expected.seconds, 1), "pause_seconds": round(expected.pause, 2), "memory_mib": facts.guest.memory,
        "used_mib": load.used, "dirtied_mib_s": load.dirtied,
    }  # fmt: skip
    measured = (
        f"{load.dirtied:.0f} MiB/s of its memory change" if load.dirtied is not None else "nobody could measure how fast its memory changes"
    )
    memory = format_memory(facts.guest.memory)
    if not expected.converges:
        said = f"{measured}, of {memory}: by force it takes {expected.seconds:.0f} s, of which it stands still for {expected.pause:.1f} s"
        if facts.force:
            return warned(f"it will not converge by itself: {said}", "move it when it has less to do", **figures)
        return failed(
            f"it will not converge: {said}", "let it be paused: --at-limit force-complete; or move it when it has less to do", **figures
        )
    said = f"about {expected.seconds:.0f} s for {memory}, and a pause of {expected.pause:.2f} s; {measured}"
    if facts.limit and expected.seconds > facts.limit:
        return failed(f"{said}: longer than the limit of {facts.limit:g} s", f"allow more: --limit {expected.seconds * 1.5:.0f}", **figures)
    return passed(said, **figures)
