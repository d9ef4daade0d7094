"""What clusters took of their tenants' resources: over time, and now. Pure; `labcloud.accounting.meter` reads what is counted here.

Amounts are whole numbers of small units (thousandths of a core, MiB, GiB, milliseconds), so that sums are exact and the sum over a
month is the sum over its days. A stopped cluster keeps its volumes and takes nothing else; one whose deletion has begun likewise,
until nothing of it is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Context, Decimal
from itertools import groupby
from operator import attrgetter
from typing import Final

from labcloud.apply.admission import GONE
from labcloud.model import Cluster, ClusterRef, FoundNode, NodeRef, Resource, Tenant, Wanted, demand
from labcloud.model.prices import Metered

_EXACT: Final = Context(prec=60, rounding=ROUND_HALF_EVEN)
_PLACES: Final = Decimal("0.000001")
_HOUR: Final = 3_600_000
_SMALL: Final[Mapping[Metered, int]] = {
    Metered.NODES: _HOUR, Metered.CPUS: 1000 * _HOUR, Metered.MEMORY: 1024 * _HOUR, Metered.VOLUMES: _HOUR,
}  # fmt: skip


Hours = Mapping[Metered, int]
"""What was taken, in small units: nodes, thousandths of cores, MiB and GiB, each times milliseconds."""


def quantity(what: Metered, small: int) -> Decimal:
    """Small units of `Hours` as node-hours, cpu-hours or GiB-hours: to six places, half to even. Nothing else is rounded."""
    return _EXACT.divide(Decimal(small), Decimal(_SMALL[what])).quantize(_PLACES, context=_EXACT)


@dataclass(frozen=True)
class Allocation:
    """What a cluster takes from ``time`` on (milliseconds since 1970): ``nodes``, ``cpus`` in thousandths, ``memory`` in MiB, ``volumes``
    in GiB. ``state`` is one of `Wanted`, or ``gone``."""

    time: int
    cluster: ClusterRef
    profile: str
    state: str
    nodes: int = 0
    cpus: int = 0
    memory: int = 0
    volumes: int = 0

    def takes(self, what: Metered) -> int:
        """How much of ``what`` counts: a cluster that does not run takes volumes alone."""
        if self.state == Wanted.RUNNING or (what is Metered.VOLUMES and self.state != GONE):
            return int(getattr(self, what))
        return 0

    @property
    def facts(self) -> tuple[str | int, ...]:
        """All but the time: two allocations of the same facts are no change."""
        return self.profile, self.state, self.nodes, self.cpus, self.memory, self.volumes


@dataclass(frozen=True)
class Share:
    """What a cluster took in some time. One that was made anew of another profile has a share for each."""

    cluster: ClusterRef
    profile: str
    hours: Hours


def allocation(cluster: Cluster, time: int) -> Allocation:
    """What a declared cluster takes from ``time`` on."""
    takes = demand(cluster)
    return Allocation(
        time, cluster.ref, cluster.profile, str(cluster.state),
        nodes=round(takes[Resource.NODES]), cpus=round(takes[Resource.CPUS] * 1000),
        memory=round(takes[Resource.MEMORY]), volumes=round(takes[Resource.VOLUMES]),
    )  # fmt: skip


def histories(allocations: Iterable[Allocation]) -> dict[ClusterRef, list[Allocation]]:
    """The allocations of each cluster in order of time; those of the same time stay in their order."""
    by_cluster: dict[ClusterRef, list[Allocation]] = {}
    for each in allocations:
        by_cluster.setdefault(each.cluster, []).append(each)
    return {ref: sorted(by_cluster[ref], key=attrgetter("time")) for ref in sorted(by_cluster)}


def reconciled(history: Sequence[Allocation], declared: Allocation | None) -> list[Allocation]:
    """The history of a cluster, ending with what is declared of it.

    A run may die after it has changed the lab repository and before it could note that. ``declared`` is what the repository says,
    with when it was changed; it counts from then on, or from the last note if that is newer.
    """
    if declared is None or (history and history[-1].facts == declared.facts):
        return list(history)
    if not history:
        return [declared] if declared.state != GONE else []
    return [*history, replace(declared, time=max(declared.time, history[-1].time))]


def shares(history: Sequence[Allocation], since: int, until: int) -> list[Share]:
    """What one cluster took from ``since`` up to ``until`` (milliseconds since 1970), by profile; nothing for one that took nothing."""
    spans = [
        (each, max(since, each.time), min(until, following))
        for each, following in zip(history, [*(each.time for each in history[1:]), until], strict=False)
    ]
    found = []
    taken = sorted((span for span in spans if span[1] < span[2]), key=lambda span: span[0].profile)
    for profile, group in groupby(taken, key=lambda span: span[0].profile):
        parts = list(group)
        hours = {what: sum(each.takes(what) * (end - begin) for each, begin, end in parts) for what in Metered}
        if any(hours.values()):
            found.append(Share(parts[0][0].cluster, profile, hours))
    return found


def added(parts: Iterable[Share]) -> dict[Metered, int]:
    """What several shares are together."""
    several = list(parts)
    return {what: sum(each.hours[what] for each in several) for what in Metered}


@dataclass(frozen=True)
class Standing:
    """How a tenant stands with one quota: ``used`` exists on the engine, ``reserved`` is declared and not made (yet). Units are those of
    `Resource`. ``quota`` and ``free`` are None without a limit; ``free`` is negative where the limit was lowered under what is taken."""

    resource: str
    used: float
    reserved: float
    free: float | None
    quota: float | None


def usage_now(tenant: Tenant, declared: Iterable[Cluster], found: Iterable[FoundNode]) -> dict[Resource, Standing]:
    """How ``tenant`` stands with each resource. ``declared`` and ``found`` may be the whole lab's."""
    exists = {node.ref for node in found}
    own = [each for each in declared if each.ref.tenant == tenant.name]
    used = dict.fromkeys(Resource, 0.0)
    wanted = dict.fromkeys(Resource, 0.0)
    for cluster in own:
        for sums, part in ((wanted, demand(cluster)), (used, _made(cluster, exists))):
            for resource, amount in part.items():
                sums[resource] = round(sums[resource] + amount, 3)
    return {each: _standing(each, used[each], wanted[each], tenant.quotas.get(each)) for each in Resource}


def profiles_now(tenant: Tenant, declared: Iterable[Cluster], found: Iterable[FoundNode]) -> list[Standing]:
    """How ``tenant`` stands with its limits of clusters of a profile."""
    exists = {node.ref.cluster for node in found}
    own = [each for each in declared if each.ref.tenant == tenant.name]
    standings = []
    for profile, limit in sorted(tenant.limits.items()):
        clusters = [each.ref for each in own if each.profile == profile]
        standings.append(_standing(f"clusters of {profile}", sum(each in exists for each in clusters), len(clusters), limit))
    return standings


def _made(cluster: Cluster, exists: set[NodeRef]) -> dict[Resource, float]:
    """The part of what ``cluster`` takes that exists: its declared nodes that the engine has, with their volumes."""
    counts = {group.name: sum(ref in exists for ref in cluster.nodes(group.name)) for group in cluster.groups}
    if not any(counts.values()):
        return {}
    return demand(replace(cluster, groups=tuple(replace(group, count=counts[group.name]) for group in cluster.groups)))


def _standing(resource: str, used: float, wanted: float, quota: float | None) -> Standing:
    free = None if quota is None else _neat(quota - wanted)
    return Standing(str(resource), _neat(used), _neat(wanted - used), free, None if quota is None else _neat(quota))


def _neat(amount: float) -> float:
    """``amount`` to a thousandth, as a whole number where it is one."""
    rounded = round(amount, 3)
    return int(rounded) if rounded == int(rounded) else rounded
