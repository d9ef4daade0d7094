"""Whether the machine can carry it: memory, processors, kernel settings that daemons need."""

from __future__ import annotations

from typing import Final

from labcloud.model.checks import Check

CHECKS: Final[tuple[Check, ...]] = ()
