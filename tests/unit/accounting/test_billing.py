"""Bills: exact decimals, stable columns."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labcloud.accounting.billing import bill, cost, plain_decimal, to_csv
from labcloud.accounting.usage import Share, quantity
from labcloud.model import ClusterRef
from labcloud.model.periods import month
from labcloud.model.prices import Metered, PriceBook

HOUR = 3_600_000
PERIOD = month("2026-10")
BOOK = PriceBook("EUR", {Metered.NODES: Decimal("0.03"), Metered.MEMORY: Decimal("0.0125")}, tenants={"blue": {Metered.NODES: Decimal(1)}})


def share(name: str, nodes: int = 0, cpus: int = 0, memory: int = 0, volumes: int = 0, profile: str = "hadoop-2.7") -> Share:
    hours = dict(zip(Metered, (nodes, cpus, memory, volumes), strict=True))
    return Share(ClusterRef.parse(name), profile, hours)


SHARES = [share("blue/x", nodes=HOUR // 3), share("acme/c", 3 * HOUR, 1500 * HOUR, 6144 * HOUR, 30 * HOUR)]


def test_a_bill_has_a_row_for_each_cluster_and_resource_and_these_columns() -> None:
    assert to_csv(bill(SHARES, PERIOD, BOOK)) == "".join(
        f"{line}\r\n"
        for line in (
            "since,until,tenant,cluster,profile,resource,quantity,unit,unit_price,amount,currency",
            "2026-10-01T00:00:00Z,2026-11-01T00:00:00Z,acme,c,hadoop-2.7,nodes,3.000000,node-hour,0.03,0.09,EUR",
            "2026-10-01T00:00:00Z,2026-11-01T00:00:00Z,acme,c,hadoop-2.7,cpus,1.500000,cpu-hour,0,0,EUR",
            "2026-10-01T00:00:00Z,2026-11-01T00:00:00Z,acme,c,hadoop-2.7,memory,6.000000,GiB-hour,0.0125,0.075,EUR",
            "2026-10-01T00:00:00Z,2026-11-01T00:00:00Z,acme,c,hadoop-2.7,volumes,30.000000,GiB-hour,0,0,EUR",
            "2026-10-01T00:00:00Z,2026-11-01T00:00:00Z,blue,x,hadoop-2.7,nodes,0.333333,node-hour,1,0.333333,EUR",
            "2026-10-01T00:00:00Z,2026-11-01T00:00:00Z,blue,x,hadoop-2.7,cpus,0.000000,cpu-hour,0,0,EUR",
            "2026-10-01T00:00:00Z,2026-11-01T00:00:00Z,blue,x,hadoop-2.7,memory,0.000000,GiB-hour,0.0125,0,EUR",
            "2026-10-01T00:00:00Z,2026-11-01T00:00:00Z,blue,x,hadoop-2.7,volumes,0.000000,GiB-hour,0,0,EUR",
        )
    )


def test_without_prices_the_last_columns_are_empty() -> None:
    header, first, *_ = to_csv(bill(SHARES, PERIOD)).split("\r\n")
    assert header.endswith(",unit_price,amount,currency")
    assert first.endswith(",acme,c,hadoop-2.7,nodes,3.000000,node-hour,,,")


def test_a_bill_of_nothing_is_a_header() -> None:
    assert to_csv(bill([], PERIOD, BOOK)).count("\r\n") == 1


small = st.integers(0, 10**18)
shares = st.lists(
    st.builds(share, st.sampled_from(["acme/a", "acme/b", "blue/x"]), small, small, small, small),
    max_size=5,
    unique_by=lambda each: each.cluster,
)
prices = st.decimals(0, 999_999_999, places=9)


@given(shares, st.fixed_dictionaries({}, optional=dict.fromkeys(Metered, prices)))
def test_each_amount_is_its_quantity_times_its_price_and_their_sum_is_the_cost(shares: list[Share], prices: dict[Metered, Decimal]) -> None:
    book = PriceBook("EUR", prices)
    rows = list(csv.DictReader(io.StringIO(to_csv(bill(shares, PERIOD, book)), newline="")))
    amounts = [Fraction(row["amount"]) for row in rows]
    assert amounts == [Fraction(row["quantity"]) * Fraction(row["unit_price"]) for row in rows]
    assert Fraction(cost(shares, book)) == sum(amounts)


@given(small)
def test_a_quantity_is_off_by_half_a_millionth_at_most(amount: int) -> None:
    assert abs(Fraction(quantity(Metered.NODES, amount)) - Fraction(amount, HOUR)) <= Fraction(1, 2_000_000)


@pytest.mark.parametrize(
    ("value", "text"), [("0.10", "0.1"), ("0", "0"), ("100", "100"), ("0E-15", "0"), ("1E+3", "1000"), ("12.500000", "12.5")]
)
def test_decimals_are_written_plainly(value: str, text: str) -> None:
    assert plain_decimal(Decimal(value)) == text
