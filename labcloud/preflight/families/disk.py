"""Whether the disks can hold it, and are fast enough."""

from __future__ import annotations

from typing import Final

from labcloud.model.checks import Check

CHECKS: Final[tuple[Check, ...]] = ()
