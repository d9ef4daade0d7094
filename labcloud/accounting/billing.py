"""Usage as lines of a bill: a row for each cluster and each thing that it took. Pure.

Only quantities are rounded (to six places). An amount is its quantity times its price, exactly: who writes the invoice rounds its sum.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from decimal import Context, Decimal
from typing import Final

from labcloud.accounting.usage import Share, quantity
from labcloud.model.periods import Period, stamp
from labcloud.model.prices import UNITS, Metered, PriceBook

_EXACT: Final = Context(prec=60)


@dataclass(frozen=True)
class Line:
    """One row; its fields are the columns of the CSV, in this order. The last three are empty without a price book."""

    since: str
    until: str
    tenant: str
    cluster: str
    profile: str
    resource: str
    quantity: str
    unit: str
    unit_price: str = ""
    amount: str = ""
    currency: str = ""


def bill(shares: Iterable[Share], period: Period, book: PriceBook | None = None) -> list[Line]:
    """The rows of what was taken in ``period``: all four things for each cluster and profile, in the order of their names."""
    return [_line(share, what, period, book) for share in sorted(shares, key=lambda each: (each.cluster, each.profile)) for what in Metered]


def cost(shares: Iterable[Share], book: PriceBook) -> Decimal:
    """What shares cost together: the sum of their rows."""
    total = Decimal(0)
    for share in shares:
        for what in Metered:
            total = _EXACT.add(total, _EXACT.multiply(quantity(what, share.hours[what]), _price(share, what, book)))
    return total


def to_csv(lines: Iterable[Line]) -> str:
    """The rows as RFC 4180 has it: a header, commas, CRLF."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(field.name for field in fields(Line))
    writer.writerows(astuple(line) for line in lines)
    return text.getvalue()


def plain_decimal(value: Decimal) -> str:
    """``value`` without an exponent and without zeros at its end."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _line(share: Share, what: Metered, period: Period, book: PriceBook | None) -> Line:
    taken = quantity(what, share.hours[what])
    line = (
        stamp(period.since), stamp(period.until), share.cluster.tenant, share.cluster.name, share.profile, str(what),
        f"{taken:f}", UNITS[what],
    )  # fmt: skip
    if book is None:
        return Line(*line)
    price = _price(share, what, book)
    return Line(*line, plain_decimal(price), plain_decimal(_EXACT.multiply(taken, price)), book.currency)


def _price(share: Share, what: Metered, book: PriceBook) -> Decimal:
    return book.price(what, profile=share.profile, tenant=share.cluster.tenant)
