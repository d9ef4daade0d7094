"""Which host takes a server: those that can, the best first, with the reasons. Pure.

Room is the engine's own reckoning, less what the same plan has given away already.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from labcloud.model.hosts import Guest, Host, Room

_MEMORY = "MEMORY_MB"


@dataclass(frozen=True)
class Choice:
    """A host, and why: ``free`` is the share of its memory that is left once the server is there."""

    host: Host
    free: float
    together: int = 0
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Places:
    """Where servers are, by their ids, as a plan goes on: those that will have been moved are where they will be."""

    host_of: Mapping[str, str]

    def neighbours(self, guest: Guest, host: str) -> int:
        """How many other members of the server's group are on ``host``."""
        members = guest.group.members if guest.group else frozenset()
        return sum(self.host_of.get(each) == host for each in members if each != guest.id)

    def others(self, guest: Guest) -> int:
        """How many other members of its group there are."""
        return sum(each in self.host_of for each in guest.group.members if each != guest.id) if guest.group else 0


def unfit(guest: Guest, source: Host, host: Host, room: Mapping[str, Room], places: Places) -> str:
    """Why ``host`` cannot take the server; empty if it can."""
    agent = "its network agent is down" if host.connected is False else "it has no network agent"
    reasons = (
        (host.name == source.name, "it is there already"),
        (not host.up, f"it is down: it last reported at {host.heard or 'an unknown time'}"),
        (not host.enabled, f"it gets no servers{f': {host.reason}' if host.reason else ''}"),
        (bool(source.hypervisor) and host.hypervisor != source.hypervisor, f"its hypervisor is {host.hypervisor}, not {source.hypervisor}"),
        (host.version < source.version, f"its hypervisor is older ({host.version}, not {source.version})"),
        (source.connected is not None and not host.connected, agent),
        (host.name not in room or not room[host.name].holds(guest.resources), f"it has no room for {_wanted(guest)}"),
        (not _with_its_group(guest, host, places), "its server group forbids it"),
    )
    return next((why for holds, why in reasons if holds), "")


def _with_its_group(guest: Guest, host: Host, places: Places) -> bool:
    """Whether a server group that has to be kept to is kept to."""
    group = guest.group
    if group is None or not group.hard:
        return True
    neighbours = places.neighbours(guest, host.name)
    return not neighbours if group.apart else neighbours == places.others(guest)


def ranked(guest: Guest, source: Host, hosts: Iterable[Host], room: Mapping[str, Room], places: Places) -> list[Choice]:
    """The hosts that can take the server, the best first: as its server group wishes, then the one with most memory left, by share."""
    fit = [each for each in hosts if not unfit(guest, source, each, room, places)]
    choices = [_choice(guest, source, each, room[each.name], places) for each in fit]
    apart = guest.group is None or guest.group.apart
    return sorted(
        choices, key=lambda each: (each.host.zone != source.zone, each.together * (1 if apart else -1), -each.free, each.host.name)
    )


def _choice(guest: Guest, source: Host, host: Host, room: Room, places: Places) -> Choice:
    after = room.after(guest.resources)
    free, together = after.free_share(_MEMORY), places.neighbours(guest, host.name)
    reasons = [f"{free:.0%} of its memory will be free"]
    if guest.group:
        reasons.append(f"{together} of {places.others(guest)} other members of its server group there")
    if host.zone != source.zone:
        reasons.append(f"in the zone {host.zone}")
    return Choice(host, free, together, tuple(reasons))


def why_none(guest: Guest, source: Host, hosts: Sequence[Host], room: Mapping[str, Room], places: Places) -> dict[str, str]:
    """By host, why it cannot take the server."""
    return {each.name: unfit(guest, source, each, room, places) for each in hosts if each.name != source.name}


def missing_traits(source: Collection[str], target: Collection[str]) -> list[str]:
    """What the processor that a server was started on can do, and the other cannot."""
    return sorted(each for each in set(source) - set(target) if each.startswith("HW_CPU_"))


def _wanted(guest: Guest) -> str:
    words = {"VCPU": "{} cores", "PCPU": "{} cores of its own", "MEMORY_MB": "{} MiB", "DISK_GB": "{} GiB of disk"}
    return ", ".join(words.get(name, f"{{}} of {name}").format(amount) for name, amount in guest.resources.items()) or guest.label
