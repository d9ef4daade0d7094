"""What is counted over time, and what it costs. Pure; amounts of money and prices are exact decimals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Metered(StrEnum):
    """What clusters take as time goes by."""

    NODES = "nodes"
    CPUS = "cpus"
    MEMORY = "memory"
    VOLUMES = "volumes"


UNITS: Final[Mapping[Metered, str]] = {
    Metered.NODES: "node-hour", Metered.CPUS: "cpu-hour", Metered.MEMORY: "GiB-hour", Metered.VOLUMES: "GiB-hour",
}  # fmt: skip

PRICED: Final[Mapping[Metered, str]] = {
    Metered.NODES: "node_hour", Metered.CPUS: "cpu_hour", Metered.MEMORY: "memory_gib_hour", Metered.VOLUMES: "volume_gib_hour",
}  # fmt: skip
"""The names that price books have for one unit of each."""

Prices = Mapping[Metered, Decimal]
_NONE: Final[Mapping[str, Prices]] = MappingProxyType({})


@dataclass(frozen=True)
class PriceBook:
    """What a unit of each thing costs in ``currency`` (three letters, ISO 4217). What has no price costs nothing.

    ``profiles`` and ``tenants`` have prices of their own for some things; a tenant's go before its cluster's profile's.
    """

    currency: str
    prices: Prices
    profiles: Mapping[str, Prices] = field(default_factory=lambda: _NONE)
    tenants: Mapping[str, Prices] = field(default_factory=lambda: _NONE)

    def price(self, what: Metered, *, profile: str, tenant: str) -> Decimal:
        """What one unit of ``what`` costs for a tenant's cluster of a profile."""
        for prices in (self.tenants.get(tenant, {}), self.profiles.get(profile, {}), self.prices):
            if what in prices:
                return prices[what]
        return Decimal(0)
