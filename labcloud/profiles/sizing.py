"""A node's memory as arithmetic: heaps, overheads, and what is left for work, by the formulas of the profile.

Sizes are MiB. For one node: ``inputs`` → heaps and overheads of its services → ``reserved`` (``system`` and all of these) →
``values``. It holds that ``reserved + workload <= memory``, or UsageError names the memory that would do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from labcloud.errors import ConfigError, UsageError
from labcloud.model import Cluster, NodeGroup, format_memory
from labcloud.profiles import files
from labcloud.profiles.expressions import ExpressionError, number
from labcloud.profiles.model import GroupDefaults, Profile

_STEP: Final = 16  # minimum memory is rounded up to this
_ROUNDS: Final = 100


@dataclass(frozen=True)
class ServiceMemory:
    """What a daemon may take: its heap, and the JVM besides."""

    heap: int
    overhead: int


@dataclass(frozen=True)
class GroupSizing:
    """How a node of a group shares out its memory; ``values`` are all inputs and values of the profile by name."""

    group: str
    count: int
    memory: int
    minimum: int
    system: int
    workload: int
    services: Mapping[str, ServiceMemory]
    values: Mapping[str, int | float]

    @property
    def reserved(self) -> int:
        """What daemons and system may take; the rest is for work and for the page cache."""
        return self.system + sum(each.heap + each.overhead for each in self.services.values())


def sizing(profile: Profile, cluster: Cluster) -> dict[str, GroupSizing]:
    """Return the sizes of every group's nodes. Raise UsageError for a group that the profile lacks, or with too little memory."""
    check_groups(profile, cluster)
    counts = {group.name: group.count for group in cluster.groups}
    return {group.name: size_group(profile, group, counts) for group in cluster.groups}


def check_groups(profile: Profile, cluster: Cluster) -> None:
    """Raise UsageError unless the cluster has just the profile's groups."""
    wanted = {group.name for group in cluster.groups}
    if strange := sorted(wanted ^ set(profile.groups)):
        raise UsageError(
            f"{profile.name} has the node groups {', '.join(profile.groups)}: {strange[0]!r} does not fit",
            resolution="name each of the profile's groups once",
        )


def check_memory(profile: Profile, group: str, memory: int, counts: Mapping[str, int] | None = None) -> None:
    """Raise UsageError if ``memory`` MiB cannot hold what runs on a node of ``group``; it names the minimum.

    ``counts`` are the nodes of each group; the profile's defaults otherwise.
    """
    minimum = minimum_memory(profile, group, counts)
    if memory < minimum:
        daemons = ", ".join(each.title or name for name, each in profile.services_of(group).items())
        raise UsageError(
            f"{format_memory(memory)} of memory cannot hold a {group} of {profile.name}: it needs at least {format_memory(minimum)}",
            details=f"a {group} runs {daemons}, and the work it is there for",
            resolution=f"give the group {group} at least {format_memory(minimum)} of memory",
        )


def minimum_memory(profile: Profile, group: str, counts: Mapping[str, int] | None = None) -> int:
    """Return the least memory (MiB) for which ``reserved + workload <= memory``: the fixed point, from below.

    Formulas give a node's services less than one MiB for each that it has more, so this ends.
    """
    defaults = _defaults(profile, group)
    numbers = counts or {name: each.count for name, each in profile.groups.items()}
    memory = 0
    for _ in range(_ROUNDS):
        node = NodeGroup(group, numbers.get(group, 1), memory, defaults.cpus, defaults.data_volumes)
        sized = _share_out(profile, node, numbers, minimum=0)
        needed = -(-(sized.reserved + sized.workload) // _STEP) * _STEP
        if needed <= memory:
            return memory
        memory = needed
    raise ConfigError(
        f"the memory formulas of {profile.name} for {group} reserve all that a node has, however large it is",
        resolution="let the heaps of a group grow by less than its memory",
    )


def size_group(profile: Profile, group: NodeGroup, counts: Mapping[str, int]) -> GroupSizing:
    """Return how a node of ``group`` shares out its memory. Raise UsageError if it has too little."""
    check_memory(profile, group.name, group.memory, counts)
    return _share_out(profile, group, counts, minimum=minimum_memory(profile, group.name, counts))


def _defaults(profile: Profile, group: str) -> GroupDefaults:
    if group not in profile.groups:
        raise UsageError(f"{profile.name} has no node group {group!r}", resolution=f"its groups are {', '.join(profile.groups)}")
    return profile.groups[group]


def _share_out(profile: Profile, group: NodeGroup, counts: Mapping[str, int], *, minimum: int) -> GroupSizing:
    defaults = profile.groups[group.name]
    names: dict[str, Any] = {
        **profile.variables, "counts": counts, "count": group.count,
        "memory": group.memory, "cpus": group.cpus, "volumes": len(group.volumes),
    }  # fmt: skip
    place: tuple[str, ...] = ()
    values: dict[str, int | float] = {}
    try:
        for name, formula in defaults.inputs.items():
            place = ("groups", group.name, "inputs", name)
            values[name] = names[name] = number(formula, names)
        services = {}
        for name, each in profile.services_of(group.name).items():
            place = ("services", name, "heap")
            heap = int(number(each.heap, names))
            place = ("services", name, "overhead")
            services[name] = ServiceMemory(heap, int(number(each.overhead, names)))
        place = ("groups", group.name, "system")
        system = int(number(defaults.system, names))
        place = ("groups", group.name, "workload")
        workload = int(number(defaults.workload, names))
        reserved = system + sum(each.heap + each.overhead for each in services.values())
        names["reserved"] = reserved
        for name, formula in defaults.values.items():
            place = ("groups", group.name, "values", name)
            values[name] = names[name] = number(formula, names)
    except ExpressionError as exc:
        raise files.error(profile.folders, place, str(exc)) from exc
    return GroupSizing(group.name, group.count, group.memory, minimum, system, workload, services, values)
