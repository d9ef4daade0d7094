"""How files come into a snapshot. Needs nothing but the standard library, for nodes get this file as it is."""

from __future__ import annotations

from enum import StrEnum


class Way(StrEnum):
    """How a file comes into a snapshot: as another name of the same file, which never changes; as a copy, because it is written in
    place; or as a copy of what it has at that moment, because it only grows."""

    LINK = "link"
    COPY = "copy"
    GROW = "grow"
