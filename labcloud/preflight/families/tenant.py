"""Whether the tenant may have it: a check for each quota, and for the limit of the profile."""

from __future__ import annotations

from typing import Final

from labcloud.model import Cluster, Resource, Tenant
from labcloud.model.checks import Check, Finding, Subject, failed, passed, skipped
from labcloud.preflight.quotas import Balance, amount, balances, evidence, name_of, raise_limit

_COUNTED: Final = (Resource.CLUSTERS, Resource.NODES, Resource.CPUS, Resource.MEMORY, Resource.VOLUMES)
_WHY: Final = "a tenant takes no more than it was given, so that the others get theirs; a cluster that is refused late is half made"


def _judge(tenant: Tenant, cluster: Cluster, balance: Balance) -> Finding:
    what = name_of(balance, cluster)
    figures = evidence(balance)
    if balance.limit is None:
        return passed(f"{tenant.name} has no quota of {what}", **figures)
    if balance.short:
        return failed(f"{what}: {balance}", raise_limit(tenant, cluster, balance), **figures)
    taken = amount(balance.resource, balance.others + balance.asked)
    return passed(f"{what}: {taken} of {amount(balance.resource, balance.limit)} with this cluster", **figures)


def _quota(resource: str) -> Check:
    def run(subject: Subject) -> Finding:
        if subject.cluster is None or subject.tenant is None:
            return skipped("no tenant is asked for")
        return _judge(subject.tenant, subject.cluster, balances(subject.tenant, subject.cluster, subject.declared)[resource])

    return Check(f"quota.{resource}", _WHY, run, firm=True)


CHECKS: Final[tuple[Check, ...]] = tuple(_quota(each) for each in (*map(str, _COUNTED), "profile"))
