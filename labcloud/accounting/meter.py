"""What clusters took, read from the journal and made whole by what is declared. Changes nothing.

The lab repository is changed first and the journal is told of it after that. Where a run died between the two, the repository is
right, and says when it was changed:

- a cluster that is declared otherwise than its last note says, or has no note at all: its file's modification time;
- one that is noted and not declared any more: the commit that removed its file. One that no commit removed counts up to its last
  note, because nobody knows better.

The journal is read before the repository, so that a change in between is seen as one whose note is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from labcloud.accounting.usage import Allocation, Share, allocation, histories, reconciled, shares
from labcloud.apply.admission import ALLOCATED, GONE
from labcloud.apply.journal import Event, Journal
from labcloud.errors import UsageError
from labcloud.lab import Lab
from labcloud.model import ClusterRef, Wanted
from labcloud.model.periods import Period, milliseconds

_STATES: Final = frozenset({*map(str, Wanted), GONE})


class Meter:
    """The usage of one lab."""

    def __init__(self, lab: Lab, journal: Journal) -> None:
        self._lab = lab
        self._journal = journal

    def shares(self, period: Period, tenant: str | None = None) -> list[Share]:
        """What every cluster, or one tenant's, took in ``period``, by cluster and profile; nothing for one that took nothing."""
        since, until = milliseconds(period.since), milliseconds(period.until)
        return [share for history in self.histories(tenant).values() for share in shares(history, since, until)]

    def histories(self, tenant: str | None = None) -> dict[ClusterRef, list[Allocation]]:
        """What each cluster that ever was took since when, in order of time."""
        noted = histories(_noted(self._journal, tenant))
        declared = {each.ref: each for each in self._lab.clusters(tenant)}
        whole = {}
        for ref in sorted({*noted, *declared}):
            history = noted.get(ref, [])
            if ref in declared:
                now: Allocation | None = allocation(declared[ref], self._changed(ref))
            else:
                now = self._removed(ref, history[-1])
            whole[ref] = reconciled(history, now)
        return whole

    def _changed(self, ref: ClusterRef) -> int:
        """When the declaration of a cluster was last written; 0 (so that the last note counts) for one that is just being removed."""
        changed = self._lab.changed(ref)
        return 0 if changed is None else milliseconds(changed)

    def _removed(self, ref: ClusterRef, last: Allocation) -> Allocation | None:
        """That nothing is left of a cluster; None where its last note says so already."""
        if last.state == GONE:
            return None
        removed = self._lab.removed(ref)
        return Allocation(last.time if removed is None else milliseconds(removed), ref, last.profile, GONE)


def _noted(journal: Journal, tenant: str | None) -> list[Allocation]:
    refs: dict[str, ClusterRef | None] = {}
    found = []
    for target, event in journal.events(ALLOCATED):
        if target not in refs:
            refs[target] = _ref(target, tenant)
        ref = refs[target]
        if ref is not None and (noted := _allocation(ref, event)):
            found.append(noted)
    return found


def _ref(target: str, tenant: str | None) -> ClusterRef | None:
    try:
        ref = ClusterRef.parse(target)
    except UsageError:
        return None
    return ref if tenant in (None, ref.tenant) else None


def _allocation(ref: ClusterRef, event: Event) -> Allocation | None:
    """What an event says; None for one that somebody has spoilt."""
    details: Mapping[str, Any] = event.details
    try:
        amounts = [int(details["nodes"]), round(float(details["cpus"]) * 1000), int(details["memory_mib"]), int(details["volumes_gib"])]
        time = milliseconds(datetime.fromisoformat(event.time))
        profile, state = str(details["profile"]), str(details["state"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return Allocation(time, ref, profile, state, *amounts) if state in _STATES and min(amounts) >= 0 else None
