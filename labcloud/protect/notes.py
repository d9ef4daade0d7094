"""The events of the journal that tell of copies: their names, for who writes them and who reads them."""

from __future__ import annotations

from typing import Final

TAKEN: Final = "snapshot"
MADE: Final = "backup"
VERIFIED: Final = "verified"
DRILLED: Final = "drilled"
PRUNED: Final = "pruned"
LOOKED_AFTER: Final = "looked-after"
RESTORED: Final = "restored"
