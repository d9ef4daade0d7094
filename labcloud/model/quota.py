"""What tenants may have, and what clusters take of it. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from enum import StrEnum
from typing import Final

from labcloud.errors import UsageError
from labcloud.model.cluster import Cluster, Wanted
from labcloud.model.sizes import format_memory, parse_gigabytes, parse_memory
from labcloud.model.storage import gibibytes


class Resource(StrEnum):
    """What quotas count. Units: ``MEMORY`` in MiB, ``VOLUMES`` and ``BACKUPS`` in GiB, ``CPUS`` in cores; the others are numbers of
    things."""

    CLUSTERS = "clusters"
    NODES = "nodes"
    CPUS = "cpus"
    MEMORY = "memory"
    VOLUMES = "volumes"
    SNAPSHOTS = "snapshots"
    BACKUPS = "backups"


UNITS: Final[Mapping[Resource, str]] = {Resource.MEMORY: "MiB", Resource.VOLUMES: "GiB", Resource.BACKUPS: "GiB", Resource.CPUS: "cores"}

_MOST: Final = 1_000_000
_WHOLE: Final = re.compile(r"0|[1-9][0-9]{0,6}")
_DECIMAL: Final = re.compile(r"(?:0|[1-9][0-9]{0,6})(?:\.[0-9]{1,3})?")
# None of these is a way to forbid something that a cluster can do without; of the others every cluster needs some.
_MAY_BE_NONE: Final = frozenset({Resource.CLUSTERS, Resource.SNAPSHOTS, Resource.BACKUPS})

Amounts = Mapping[Resource, float]
"""How much of each resource; one that is missing is none of it (in a demand), or no limit (in a quota)."""


def demand(cluster: Cluster) -> dict[Resource, float]:
    """What a declared cluster takes of its tenant's quotas.

    It does so from its declaration to the end of its deletion, also while it is stopped: what was stopped can always be started again
    (Nova counts shut-off servers for the same reason).
    """
    groups = cluster.groups
    cpus, memory = _extra(cluster)
    return {
        Resource.CLUSTERS: 1,
        Resource.NODES: sum(each.count for each in groups),
        Resource.CPUS: round(sum(each.count * each.cpus for each in groups) + cpus, 3),
        Resource.MEMORY: sum(each.count * each.memory for each in groups) + memory,
        Resource.VOLUMES: sum(each.count * gibibytes(each.volumes) for each in groups),
    }


def _extra(cluster: Cluster) -> tuple[float, int]:
    """Cores and MiB that single nodes have beyond (or below) what their groups say."""
    nodes = [ref for ref in cluster.nodes() if ref.name in cluster.own] if cluster.own else []
    pairs = [(cluster.size(ref), cluster.group(ref.group)) for ref in nodes]
    return sum(own.cpus - group.cpus for own, group in pairs), sum(own.memory - group.memory for own, group in pairs)


def total(clusters: Iterable[Cluster]) -> dict[Resource, float]:
    """What several clusters take together; every resource is in it."""
    sums = dict.fromkeys(Resource, 0.0)
    for cluster in clusters:
        for resource, amount in demand(cluster).items():
            sums[resource] += amount
    return sums


def committed_memory(clusters: Iterable[Cluster]) -> int:
    """MiB that the nodes of those clusters that shall run may take of their engine's machines."""
    running = (each for each in clusters if each.state is Wanted.RUNNING)
    return sum(int(demand(each)[Resource.MEMORY]) for each in running)


def parse_resource(text: str) -> Resource:
    """The resource that ``text`` names. Raise UsageError, with the nearest one, if there is none."""
    try:
        return Resource(text)
    except ValueError as exc:
        near = get_close_matches(text, list(Resource), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f"there is no quota of {text!r}", resolution=f"{hint}there are quotas of {', '.join(Resource)}") from exc


def parse_amount(resource: Resource, text: str) -> float:
    """What ``text`` (``16g``, ``8``) says of ``resource``, in its unit. Raise UsageError for what cannot be a quota."""
    if text.strip() == "0" and resource in _MAY_BE_NONE:
        return 0.0
    try:
        amount = _READ.get(resource, _whole)(text.strip())
    except UsageError as exc:
        raise UsageError(f"the quota of {resource} cannot be {text!r}", resolution=exc.resolution) from exc
    if not amount and resource not in _MAY_BE_NONE:
        raise UsageError(
            f"the quota of {resource} cannot be none: every cluster needs some",
            resolution=f"give at least some, 'none' for no limit, or forbid clusters: {Resource.CLUSTERS}=0",
        )
    return amount


def format_amount(resource: Resource, amount: float) -> str:
    """``amount`` as `parse_amount` reads it: ``16g``, ``0.5``, ``3``."""
    if resource is Resource.MEMORY:
        return format_memory(round(amount))
    if resource in (Resource.VOLUMES, Resource.BACKUPS):
        return f"{round(amount)}g" if amount else "0"
    return f"{round(amount, 3):.15g}"


def parse_limit(text: str) -> int:
    """The most clusters of a profile; 0 forbids it. Raise UsageError for anything but a whole number."""
    if not _WHOLE.fullmatch(text.strip()) or int(text) > _MOST:
        raise UsageError(f"{text!r} is not a number of clusters", resolution=f"write a whole number from 0 to {_MOST}")
    return int(text)


def _whole(text: str) -> float:
    if not _WHOLE.fullmatch(text) or int(text) > _MOST:
        raise UsageError(f"{text!r} is no number", resolution=f"write a whole number up to {_MOST}")
    return float(text)


def _cores(text: str) -> float:
    if not _DECIMAL.fullmatch(text) or not math.isfinite(float(text)) or float(text) > _MOST:
        raise UsageError(f"{text!r} is no number", resolution=f"write a number of cores up to {_MOST}, as in 8 or 0.5")
    return float(text)


_READ: Final = {
    Resource.MEMORY: parse_memory, Resource.VOLUMES: parse_gigabytes, Resource.BACKUPS: parse_gigabytes, Resource.CPUS: _cores,
}  # fmt: skip
