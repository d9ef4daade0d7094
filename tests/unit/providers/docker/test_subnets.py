"""Which subnet a tenant's network gets: a free one of the pool, or the one that it shall have, unless somebody has it."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labcloud.errors import ConflictError, QuotaError
from labcloud.providers.docker.subnets import POOL, claimed_subnet, free_subnet, host_routes

networks = st.builds(
    lambda number, prefix: IPv4Network((number, prefix), strict=False), st.integers(int(POOL[0]), int(POOL[-1])), st.integers(16, 30)
)


@given(st.lists(networks, max_size=8))
def test_a_free_subnet_is_of_the_pool_and_nobodys(taken: list[IPv4Network]) -> None:
    subnet = free_subnet(taken)
    assert subnet.subnet_of(POOL)
    assert not any(subnet.overlaps(each) for each in taken)


def test_a_full_pool_is_said() -> None:
    with pytest.raises(QuotaError, match="no free subnet is left in 10"):
        free_subnet([POOL])


def test_a_subnet_that_is_asked_for_is_taken_unless_it_is_routed_already() -> None:
    taken = [IPv4Network("172.17.0.0/16"), IPv4Network("10.200.0.0/22")]
    assert claimed_subnet("acme", "10.200.4.0/22", taken) == IPv4Network("10.200.4.0/22")
    with pytest.raises(ConflictError, match=r"network of acme: 10\.200\.1\.0/24 overlaps 10\.200\.0\.0/22") as caught:
        claimed_subnet("acme", "10.200.1.0/24", taken)
    assert caught.value.resolution == "choose another: labcloud tenant set acme --subnet NETWORK; 'none' leaves it to labcloud"


def test_routes_are_read_without_the_default_one(tmp_path: Path) -> None:
    table = tmp_path / "route"
    table.write_text(
        "Iface Destination Gateway Flags RefCnt Use Metric Mask\neth0 00000000 0 3 0 0 0 00000000\neth0 000011AC 0 1 0 0 0 0000FFFF\n"
    )
    assert host_routes(table) == [IPv4Network("172.17.0.0/16")]
