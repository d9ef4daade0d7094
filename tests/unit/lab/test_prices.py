"""Price books: what they say, and what is refused with its line."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from labcloud.errors import ConfigError
from labcloud.lab import Lab
from labcloud.lab.prices import read_prices
from labcloud.model.prices import Metered, PriceBook

PATH = Path("prices.yaml")
BOOK = """\
currency: EUR
node_hour: 0.01
cpu_hour: 0.02
profiles:
  hadoop-3.4: {cpu_hour: 0.03, node_hour: 0}
tenants:
  acme: {cpu_hour: 0.1}
  blue:
"""


def price(book: PriceBook, what: Metered, profile: str = "hadoop-2.7", tenant: str = "red") -> Decimal:
    return book.price(what, profile=profile, tenant=tenant)


def test_a_tenants_price_goes_before_a_profiles_and_that_before_the_general_one() -> None:
    book = read_prices(BOOK.replace("  blue:\n", "  blue: {}\n"), PATH)
    assert book.currency == "EUR"
    assert price(book, Metered.CPUS) == Decimal("0.02")
    assert price(book, Metered.CPUS, "hadoop-3.4") == Decimal("0.03")
    assert price(book, Metered.CPUS, "hadoop-3.4", "acme") == Decimal("0.1")
    assert price(book, Metered.NODES, "hadoop-3.4", "acme") == 0
    assert price(book, Metered.NODES, "hadoop-2.7", "blue") == Decimal("0.01")


def test_what_has_no_price_costs_nothing() -> None:
    assert price(read_prices("currency: EUR\n", PATH), Metered.VOLUMES) == 0


def test_the_labs_prices_are_read_if_there_are_any(lab: Lab) -> None:
    assert lab.prices() is None
    (lab.home / "lab").mkdir(parents=True)
    (lab.home / "lab" / "prices.yaml").write_text("currency: CHF\nnode_hour: 2\n")
    book = lab.prices()
    assert book is not None
    assert (book.currency, price(book, Metered.NODES)) == ("CHF", 2)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("node_hour: 1\n", 1, "'currency' is missing"),
        ("currency: EUR\nnode_hour: -0.01\n", 2, "'-0.01' is not a price"),
        ("currency: EUR\ncpu_hour: 1e3\n", 2, "'1e3' is not a price"),
        ("currency: EUR\ncpu_hour: .nan\n", 2, "'.nan' is not a price"),
        ("currency: EUR\ncpu_hour: 9999999999\n", 2, "'9999999999' is not a price"),
        ("currency: EUR\ncpu_hour: 0,5\n", 2, "'0,5' is not a price"),
        ("currency: EUR\ncpu_hour: [1]\n", 2, "one value is expected here"),
        ("currency: EUR\ncpu_hours: 1\n", 2, "'cpu_hours' means nothing here"),
        ("currency: euro\n", 1, "'euro' is not a currency"),
        ("currency: EUR\nprofiles:\n  hadoop-3.4: {nodes: 1}\n", 3, "'nodes' means nothing here"),
        ("currency: EUR\nprofiles:\n  Hadoop 3: {}\n", 3, "'Hadoop 3' is not a profile"),
        ("currency: EUR\ntenants:\n  acme: {node_hour: -1}\n", 3, "'-1' is not a price"),
        ("currency: EUR\ntenants:\n  Acme: {}\n", 3, "'Acme' cannot name a tenant"),
        ("currency: EUR\ntenants:\n  acme: 5\n", 3, "'key: value' lines are expected here"),
        ("currency: EUR\ntenants: {acme: {}, acme: {}}\n", 2, "'acme' is said twice"),
        ("", 1, "the file says nothing"),
        ("- EUR\n", 1, "'key: value' lines are expected here"),
        ("currency: [\n", 2, "this is not YAML"),
    ],
)
def test_a_wrong_price_book_is_refused_with_the_line(text: str, line: int, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_prices(text, PATH)
    assert refused.value.brief.startswith(f"prices.yaml:{line}: {words}")
    assert refused.value.resolution
