"""What tenants may have, and what clusters take of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

from labcloud.model.cluster import Cluster, Wanted


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

Amounts = Mapping[Resource, float]
"""How much of each resource; one that is missing is none of it (in a demand), or no limit (in a quota)."""


def demand(cluster: Cluster) -> dict[Resource, float]:
    """What a declared cluster takes of its tenant's quotas.

    It does so from its declaration to the end of its deletion, also while it is stopped: what was stopped can always be started again
    (Nova counts shut-off servers for the same reason).
    """
    groups = cluster.groups
    return {
        Resource.CLUSTERS: 1,
        Resource.NODES: sum(each.count for each in groups),
        Resource.CPUS: round(sum(each.count * each.cpus for each in groups), 3),
        Resource.MEMORY: sum(each.count * each.memory for each in groups),
        Resource.VOLUMES: sum(each.count * each.volumes * each.volume_size for each in groups),
    }


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
    return sum(group.count * group.memory for each in running for group in each.groups)
