"""How clusters are protected, told without asking any repository: from policies, and from what the journal has of backups."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from labcloud.apply.journal import Journal
from labcloud.apply.look import Protection
from labcloud.lab import Lab
from labcloud.model import ClusterRef
from labcloud.model.periods import stamp
from labcloud.model.protection import due
from labcloud.protect.notes import MADE

_GRACE: Final = timedelta(hours=6)
"""A night may take so long before what it has not done yet is overdue."""


def last_made(journal: Journal) -> dict[tuple[str, str], datetime]:
    """When the newest good backup of each cluster was taken that this lab made, by its name and its id."""
    found: dict[tuple[str, str], datetime] = {}
    for target, event in journal.events(MADE):
        if event.details.get("consistent"):
            key, taken = (target, str(event.details.get("cluster_id"))), datetime.fromisoformat(event.details.get("taken", event.time))
            found[key] = max(taken, found.get(key, taken))
    return found


def protections(lab: Lab, journal: Journal, refs: Iterable[ClusterRef], now: datetime) -> dict[ClusterRef, Protection]:
    """The protection of each of ``refs``; of those that are not wanted (any more) none."""
    policies = lab.backup_policies()
    ids = {each.ref: each.id for each in lab.clusters()}
    last = last_made(journal)
    found = {}
    for ref in refs:
        if ref in policies and ref in ids:
            taken = last.get((str(ref), ids[ref]))
            fresh = taken is None or now - _GRACE <= taken <= now
            late = not fresh and due(policies[ref], taken, now - _GRACE)
            found[ref] = Protection(policies[ref].enabled, stamp(taken) if taken else "", late)
    return found
