"""Whether the tenant may have it: quotas, limits of profiles, names."""

from __future__ import annotations

from typing import Final

from labcloud.model.checks import Check

CHECKS: Final[tuple[Check, ...]] = ()
