"""Whether the nodes can hold what the profile runs."""

from __future__ import annotations

from typing import Final

from labcloud.model.checks import Check

CHECKS: Final[tuple[Check, ...]] = ()
