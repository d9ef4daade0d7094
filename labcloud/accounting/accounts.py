"""What tenants have, had, and owe, put together for whoever asks. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from labcloud.accounting.billing import cost, plain_decimal
from labcloud.accounting.meter import Meter
from labcloud.accounting.usage import Share, Standing, added, profiles_now, quantity, usage_now
from labcloud.apply.journal import Journal
from labcloud.errors import NotFoundError
from labcloud.lab import Lab
from labcloud.model import FIRST_USER_ID, Cluster, FoundNode, Tenant, tenant_name
from labcloud.model.periods import Period, stamp
from labcloud.model.prices import Metered, PriceBook
from labcloud.providers.base import Provider


@dataclass(frozen=True)
class Hours:
    """What was taken, in hours, to six places. ``amount`` is an exact decimal number as text; None without a price book."""

    node_hours: float
    cpu_hours: float
    memory_gib_hours: float
    volume_gib_hours: float
    amount: str | None = None


@dataclass(frozen=True)
class ClusterUsage:
    """What a cluster took while it was of a profile."""

    cluster: str
    profile: str
    hours: Hours


@dataclass(frozen=True)
class TenantUsage:
    """What a tenant took from ``since`` up to ``until``. ``now`` is how it stands with its quotas; None where that was not asked."""

    tenant: str
    since: str
    until: str
    now: tuple[Standing, ...] | None
    clusters: tuple[ClusterUsage, ...]
    total: Hours
    currency: str | None = None


class Accounts:
    """The accounts of one lab. ``provider`` opens an engine by its name."""

    def __init__(self, lab: Lab, journal: Journal, provider: Callable[[str], Provider]) -> None:
        self._lab = lab
        self._meter = Meter(lab, journal)
        self._provider = provider

    def shares(self, tenant: str | None, period: Period) -> list[Share]:
        """What clusters took in ``period``. Raise NotFoundError for a tenant that is not declared and took nothing."""
        found = self._meter.shares(period, tenant)
        if tenant is not None and not found and self._lab.tenant(tenant) is None:
            raise NotFoundError(f"there is no tenant {tenant}", resolution="'labcloud tenant list' shows those that there are")
        return found

    def usage(self, tenant: str | None, period: Period, *, now: bool, book: PriceBook | None = None) -> list[TenantUsage]:
        """The usage of ``tenant``, or of every tenant that is declared or took something; ``now`` asks engines what exists."""
        found = self.shares(tenant, period)
        tenants = {each.name: each for each in self._lab.tenants() if tenant in (None, each.name)}
        names = sorted({*tenants, *(each.cluster.tenant for each in found)})
        declared = self._lab.clusters(tenant) if now else []
        nodes = self._nodes(declared, tenant)
        usages = []
        for name in names:
            known = tenants.get(name, Tenant(tenant_name(name), FIRST_USER_ID))
            standings = (*usage_now(known, declared, nodes).values(), *profiles_now(known, declared, nodes)) if now else None
            usages.append(_tenant_usage(name, period, standings, [each for each in found if each.cluster.tenant == name], book))
        return usages

    def _nodes(self, declared: Sequence[Cluster], tenant: str | None) -> list[FoundNode]:
        engines = sorted({each.provider for each in declared})
        return [node for engine in engines for node in self._provider(engine).find(tenant=tenant).nodes]


def _tenant_usage(
    name: str, period: Period, now: tuple[Standing, ...] | None, shares: Sequence[Share], book: PriceBook | None
) -> TenantUsage:
    clusters = tuple(ClusterUsage(str(each.cluster), each.profile, _hours([each], book)) for each in shares)
    currency = book.currency if book else None
    return TenantUsage(name, stamp(period.since), stamp(period.until), now, clusters, _hours(shares, book), currency)


def _hours(shares: Sequence[Share], book: PriceBook | None) -> Hours:
    sums = added(shares)
    nodes, cpus, memory, volumes = (float(quantity(what, sums[what])) for what in Metered)
    return Hours(nodes, cpus, memory, volumes, plain_decimal(cost(shares, book)) if book else None)
