"""Whether what must be downloaded can be."""

from __future__ import annotations

from typing import Final

from labcloud.model.checks import Check

CHECKS: Final[tuple[Check, ...]] = ()
