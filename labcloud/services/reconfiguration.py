"""What ``hdfs dfsadmin -reconfig`` prints, read: which settings a daemon takes up as it runs, and how a reconfiguration ended.

All versions from 2.7 on print the same words (DFSAdmin.java); what was tried is told property by property. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_LISTED: Final = "Reconfigurable properties:"
_CHANGED: Final = re.compile(r"^SUCCESS: Changed? property (\S+)$", re.MULTILINE)
_FAILED: Final = re.compile(r"^FAILED: Change property (\S+)\n\tFrom: .*\n\tTo: .*\n\tError: (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Reconfiguration:
    """How one ended, or that it has not. ``changed`` are the names of settings that the daemon took up, ``failed`` those that it did
    not, with its reason; among them are always some that Hadoop sets by itself, as ``dfs.datanode.startup``."""

    finished: bool = False
    changed: frozenset[str] = frozenset()
    failed: Mapping[str, str] = field(default_factory=dict)


def properties(printed: str) -> frozenset[str] | None:
    """The settings that ``-reconfig SERVICE HOST:PORT properties`` lists; None if the version cannot say (2.7)."""
    _, listed, names = printed.partition(_LISTED)
    return frozenset(names.split()) if listed else None


def outcome(printed: str) -> Reconfiguration:
    """What ``-reconfig SERVICE HOST:PORT status`` says."""
    return Reconfiguration(" finished at " in printed, frozenset(_CHANGED.findall(printed)), dict(_FAILED.findall(printed)))
