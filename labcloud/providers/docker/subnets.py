"""Which subnet a tenant's network gets. Docker's own pools end after some thirty networks; a lab has more tenants."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv4Network
from pathlib import Path
from typing import Final

from labcloud.errors import ConflictError, QuotaError

POOL: Final = IPv4Network("10.192.0.0/12")
_PREFIX: Final = 22  # 1,024 tenants with 1,021 nodes each
_ROUTES: Final = Path("/proc/net/route")


def free_subnet(taken: Iterable[IPv4Network], pool: IPv4Network = POOL) -> IPv4Network:
    """The first subnet of ``pool`` that overlaps none of ``taken``. Raise QuotaError when there is none."""
    used = [each for each in taken if each.overlaps(pool)]
    for subnet in pool.subnets(new_prefix=_PREFIX):
        if not any(subnet.overlaps(each) for each in used):
            return subnet
    raise QuotaError(f"no free subnet is left in {pool}", resolution="delete tenants' networks that are no longer used")


def claimed_subnet(tenant: str, subnet: str, taken: Iterable[IPv4Network]) -> IPv4Network:
    """The subnet that ``tenant`` shall have. Raise ConflictError if it overlaps one of ``taken``."""
    wanted = IPv4Network(subnet)
    for each in taken:
        if wanted.overlaps(each):
            raise ConflictError(
                f"could not create the network of {tenant}: {subnet} overlaps {each}, which this machine routes already",
                resolution=f"choose another: labcloud tenant set {tenant} --subnet NETWORK; 'none' leaves it to labcloud",
            )
    return wanted


def host_routes(table: Path = _ROUTES) -> list[IPv4Network]:
    """The networks that this machine routes, without the default route (``proc(5)``: hexadecimal, host byte order)."""
    routes = []
    for line in table.read_text().splitlines()[1:]:
        fields = line.split()
        destination, mask = int(fields[1], 16), int(fields[7], 16)
        if mask:
            routes.append(IPv4Network((_dotted(destination), _dotted(mask)), strict=False))
    return routes


def _dotted(number: int) -> str:
    return socket.inet_ntoa(struct.pack("=I", number))
