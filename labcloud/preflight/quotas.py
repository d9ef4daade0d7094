"""Quota arithmetic: what a tenant would take with a cluster, against what it may have. Pure.

Growth is what is refused: a quota that was lowered under what is used keeps nobody from stopping, starting or shrinking what there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from labcloud.errors import QuotaError
from labcloud.model import Cluster, Resource, Tenant, committed_memory, demand, format_amount, total
from labcloud.model.checks import Capacity, Verdict
from labcloud.preflight.families.host import judge_commitment
from labcloud.preflight.growth import OVERCOMMIT


@dataclass(frozen=True)
class Balance:
    """One quota of a tenant, were a cluster declared: ``others`` is taken by its other clusters, ``before`` and ``asked`` by this one.

    ``limit`` is None where there is no quota. Units are those of `Resource`.
    """

    resource: str
    others: float
    before: float
    asked: float
    limit: float | None

    @property
    def short(self) -> float:
        """How much is missing; nothing for what does not grow."""
        if self.limit is None or self.asked <= self.before:
            return 0.0
        return max(0.0, self.others + self.asked - self.limit)

    def __str__(self) -> str:
        amounts = (amount(self.resource, each) for each in (self.asked - self.before, self.others + self.before, self.limit or 0.0))
        return "{} more asked for, {} of {} taken".format(*amounts)


def balances(tenant: Tenant, cluster: Cluster, declared: Sequence[Cluster]) -> dict[str, Balance]:
    """Every quota that a cluster counts for, by resource, and that of its profile (``"profile"``), as if ``cluster`` were declared.

    ``declared`` are all clusters of the lab; one of the same name among them is replaced.
    """
    own = [each for each in declared if each.ref.tenant == tenant.name]
    there = [each for each in own if each.ref == cluster.ref]
    others, before, asked = total(each for each in own if each.ref != cluster.ref), total(there), demand(cluster)
    found = {
        str(resource): Balance(str(resource), others[resource], before[resource], amount, tenant.quotas.get(resource))
        for resource, amount in asked.items()
    }
    same = sum(each.profile == cluster.profile and each.ref != cluster.ref for each in own)
    held = float(any(each.profile == cluster.profile for each in there))
    return found | {"profile": Balance("profile", same, held, 1.0, tenant.limits.get(cluster.profile))}


def admit(tenant: Tenant, cluster: Cluster, declared: Sequence[Cluster]) -> None:
    """Raise QuotaError if the tenant's quotas have no place for ``cluster`` beside all that is declared."""
    short = [each for each in balances(tenant, cluster, declared).values() if each.short]
    if short:
        raise QuotaError(
            f"the quota of {tenant.name} has no place for {cluster.ref}",
            details="\n".join(f"{name_of(each, cluster)}: {each}" for each in short),
            resolution=raise_limit(tenant, cluster, short[0]),
        )


def admit_memory(cluster: Cluster, declared: Sequence[Cluster], room: Capacity) -> None:
    """Raise QuotaError if the machine has no memory for ``cluster`` beside all that is declared on its engine."""
    others = [each for each in declared if each.provider == cluster.provider and each.ref != cluster.ref]
    before = [each for each in declared if each.ref == cluster.ref]
    promised = committed_memory([*others, *before]), committed_memory([*others, cluster])
    finding = judge_commitment(*promised, room, OVERCOMMIT.value(), "")
    if finding.verdict is Verdict.FAIL:
        figures = finding.evidence
        raise QuotaError(
            f"the machine has no memory left for {cluster.ref}",
            details=f"{figures['after_mib']} MiB would be promised to nodes, {figures['limit_mib']} MiB may be: somebody else was quicker",
            resolution="stop or delete a cluster, then run the same command again",
        )


def name_of(balance: Balance, cluster: Cluster) -> str:
    return f"clusters of {cluster.profile}" if balance.resource == "profile" else balance.resource


def raise_limit(tenant: Tenant, cluster: Cluster, balance: Balance) -> str:
    """The command that gives the tenant just enough."""
    needed = balance.others + balance.asked
    if balance.resource == "profile":
        return f"labcloud tenant set {tenant.name} --limit {cluster.profile}={needed:g}"
    return f"labcloud tenant set {tenant.name} --quota {balance.resource}={amount(balance.resource, needed)}"


def amount(resource: str, value: float) -> str:
    """``value`` as quotas are written: ``1536m``, ``40g``, ``3``, ``2.5``. A profile's clusters are counted as clusters are."""
    return format_amount(Resource.CLUSTERS if resource == "profile" else Resource(resource), value)


def evidence(balance: Balance) -> Mapping[str, float | None]:
    """The figures of a balance, with the unit in their names where there is one."""
    unit = {str(Resource.MEMORY): "_mib", str(Resource.VOLUMES): "_gib"}.get(balance.resource, "")
    figures = {"quota": balance.limit, "taken_by_others": balance.others, "taken_by_this": balance.before, "asked": balance.asked}
    return {f"{name}{unit}": value for name, value in figures.items()}
