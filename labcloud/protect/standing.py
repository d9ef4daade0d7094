"""How clusters are protected, told without asking any repository: from policies, and from what the journal has of backups."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from labcloud.apply.journal import Journal
from labcloud.apply.look import Protection
from labcloud.lab import Lab
from labcloud.model import ClusterRef
from labcloud.model.protection import due
from labcloud.protect.notes import MADE

_GRACE: Final = timedelta(hours=6)
"""A night may take so long before what it has not done yet is overdue."""


def protections(lab: Lab, journal: Journal, refs: Iterable[ClusterRef], now: datetime) -> dict[ClusterRef, Protection]:
    """The protection of each of ``refs``; of those that are not wanted (any more) none."""
    policies = lab.backup_policies()
    ids = {each.ref: each.id for each in lab.clusters()}
    last: dict[str, str] = {}
    for target, event in journal.events(MADE):
        if event.details.get("consistent"):
            last[f"{target} {event.details.get('cluster_id')}"] = str(event.details.get("taken", event.time))
    found = {}
    for ref in refs:
        if ref in policies and ref in ids:
            taken = last.get(f"{ref} {ids[ref]}", "")
            moment = datetime.fromisoformat(taken) if taken else None
            late = moment is not None and moment <= now - _GRACE and due(policies[ref], moment, now - _GRACE)
            found[ref] = Protection(policies[ref].enabled, taken, late)
    return found
