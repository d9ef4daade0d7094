"""The events of the journal that tell of copies, for who writes them and who reads them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from labcloud.apply.journal import Event

TAKEN: Final = "snapshot"
MADE: Final = "backup"
VERIFIED: Final = "verified"
DRILLED: Final = "drilled"
PRUNED: Final = "pruned"
LOOKED_AFTER: Final = "looked-after"
RESTORED: Final = "restored"

GOOD: Final = "good"
DAMAGED: Final = "damaged"


@dataclass(frozen=True)
class Checked:
    """What the newest check of a copy said, and when (as the journal has it). ``read`` is the part of the data that it read."""

    time: str = ""
    verdict: str = ""
    read: str = ""

    def lifted(self, read: str) -> bool:
        """Whether a good check that read ``read`` says more than this one: what one part showed, another part does not disprove."""
        return self.verdict != DAMAGED or read == "all" or self.read in ("", read)


UNCHECKED: Final = Checked()


def checks(events: Iterable[tuple[str, Event]]) -> dict[str, Checked]:
    """What holds of each copy after all ``events`` of one kind, oldest first, by its id."""
    found: dict[str, Checked] = {}
    for _, event in events:
        checked = Checked(event.time, str(event.details.get("verdict", "")), str(event.details.get("read", "")))
        for copy in event.details.get("copies") or [event.details.get("copy", "")]:
            if checked.verdict != GOOD or found.get(copy, UNCHECKED).lifted(checked.read):
                found[copy] = checked
    return found
