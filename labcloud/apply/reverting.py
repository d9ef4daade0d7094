"""Takes back in the lab repository what has changed for a cluster since a configuration was last applied to it. Touches no engine."""

from __future__ import annotations

from dataclasses import dataclass

from labcloud.apply.journal import Journal
from labcloud.lab import Lab
from labcloud.lab.places import cluster_of, covers
from labcloud.model import ClusterRef

CONFIGURED = "configured"
"""The event of the journal that says from which revision of the lab repository a cluster's nodes are configured now."""


@dataclass(frozen=True)
class Back:
    """The files that have again what they had, and the revision at which they have it."""

    paths: tuple[str, ...]
    revision: str


class Reverting:
    """For one lab."""

    def __init__(self, lab: Lab, journal: Journal) -> None:
        self._lab = lab
        self._journal = journal

    def applied(self, ref: ClusterRef) -> str:
        """The revision that was last applied to a cluster; empty if none is known."""
        found = [event.details.get("revision", "") for target, event in self._journal.events(CONFIGURED) if target == str(ref)]
        return str(found[-1]) if found else ""

    def changed(self, ref: ClusterRef, since: str) -> tuple[str, ...]:
        """The files that say something to a cluster and were changed after a revision."""
        paths: dict[str, None] = {}
        for change in self._lab.log():
            if change.revision == since:
                break
            paths |= dict.fromkeys(path for path in change.paths if any(covers(place, path) for place in self._lab.inputs(ref)))
        return tuple(paths)

    def revert(self, ref: ClusterRef, reason: str) -> Back | None:
        """Let the files that concern the cluster say again what they said when it was last configured; None if nothing is known or new.

        How many nodes there are, and what they take, stays.
        """
        since = self.applied(ref)
        if not since:
            return None
        before = self._lab.revision()
        old = self._lab.at(since)
        texts = {path: self._lab.older(path, since) if cluster_of(path) else old.text(path) for path in self.changed(ref, since)}
        changed = {path: text for path, text in texts.items() if text != self._lab.text(path)}
        if not changed:
            return None
        revision = self._lab.change(changed, reason)
        return Back(tuple(changed), revision) if revision != before else None
