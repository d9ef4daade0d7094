"""The price book as the YAML file that people write. Knows nothing of where it is kept, and of what was used.

::

    currency: EUR
    node_hour: 0.01              # what is not said costs nothing
    cpu_hour: 0.02
    memory_gib_hour: 0.005
    volume_gib_hour: 0.0001
    profiles:
      hadoop-3.4: {cpu_hour: 0.03}
    tenants:
      acme: {memory_gib_hour: 0.004}
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Final

import yaml

from labcloud.errors import UsageError
from labcloud.lab.document import Document
from labcloud.lab.documents import word
from labcloud.model import tenant_name
from labcloud.model.prices import PRICED, Metered, PriceBook, Prices

_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_PRICE: Final = re.compile(r"(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,9})?")
_KEYS: Final = tuple(PRICED.values())


def read_prices(text: str, path: Path) -> PriceBook:
    """The prices that ``text`` says. Raise ConfigError with ``path`` and the line of what is wrong."""
    document = Document(path)
    fields = document.mapping(document.root(text), required=("currency",), more=(*_KEYS, "profiles", "tenants"))
    return PriceBook(
        document.scalar(fields["currency"], _currency),
        _prices(document, fields),
        _sections(document, fields.get("profiles"), word),
        _sections(document, fields.get("tenants"), tenant_name),
    )


def _sections(document: Document, node: yaml.Node | None, name: Callable[[str], str]) -> MappingProxyType[str, Prices]:
    return MappingProxyType(
        {
            document.scalar(key, name): _prices(document, document.mapping(value, required=(), more=_KEYS))
            for key, value in document.pairs(node)
        }
    )


def _prices(document: Document, fields: dict[str, yaml.Node]) -> Prices:
    return MappingProxyType({what: document.scalar(fields[PRICED[what]], _price) for what in Metered if PRICED[what] in fields})


def _price(text: str) -> Decimal:
    if not _PRICE.fullmatch(text):
        raise UsageError(f"{text!r} is not a price", resolution="write a decimal number that is not negative, as in 0.0125")
    return Decimal(text)


def _currency(text: str) -> str:
    if not _CURRENCY.fullmatch(text):
        raise UsageError(f"{text!r} is not a currency", resolution="write its three letters, as in EUR")
    return text
