"""The verbs of leases: list, set, extend, remove. Each holds the cluster, and changes what is wanted of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from labcloud.apply.journal import Journal, Operation
from labcloud.apply.watch import Event, Kind, Watch
from labcloud.errors import ConflictError, LabError, NotFoundError
from labcloud.lab import Lab
from labcloud.lab.locks import cluster_lock
from labcloud.leases.notices import NOTHING_TOLD, clear_nodes, told
from labcloud.model import AtEnd, Cluster, ClusterRef, Lease, Wanted
from labcloud.model.leases import extended, lease_until, time_left
from labcloud.model.periods import stamp
from labcloud.providers.base import Provider

_LOCK_SECONDS = 600.0


@dataclass(frozen=True)
class LeaseView:
    """A lease as somebody looks at it. ``left`` is a length of time, or ``over``; ``state`` what shall become of the cluster now."""

    tenant: str
    name: str
    state: str
    until: str
    then: str
    left: str


class Leases:
    """The leases of one lab. ``provider`` opens an engine by its name."""

    def __init__(self, lab: Lab, journal: Journal, provider: Callable[[str], Provider], watch: Watch) -> None:
        self._lab = lab
        self._journal = journal
        self._provider = provider
        self._watch = watch

    def list(self, tenant: str | None, now: datetime) -> list[LeaseView]:
        """Every cluster that has a lease, the first to end first."""
        leased = [(each.lease, each) for each in self._lab.clusters(tenant) if each.lease is not None]
        return [view(cluster, lease, now) for lease, cluster in sorted(leased, key=lambda pair: (pair[0].until, pair[1].ref))]

    def set(self, ref: ClusterRef, until: datetime, then: AtEnd | None, now: datetime) -> LeaseView:
        """Give the cluster a lease up to ``until``, whatever it had. ``then`` is that of its old lease, or stop, where it is None."""

        def change(old: Lease | None) -> Lease:
            return lease_until(until, now, then or (old.then if old else AtEnd.STOP))

        return self._change(ref, "lease-set", change, {"until": stamp(until)}, now)

    def extend(self, ref: ClusterRef, by: timedelta | datetime, now: datetime) -> LeaseView:
        """Let the cluster's lease last longer: by a length of time, from now if it is over, or up to a moment.

        Raise ConflictError for a cluster without a lease, and for a moment before the end of what it has.
        """

        def change(old: Lease | None) -> Lease:
            if old is None:
                raise ConflictError(
                    f"the cluster {ref} has no lease, and lasts until somebody ends it", resolution=f"labcloud lease set {ref} 4h"
                )
            if isinstance(by, timedelta):
                return extended(old, by, now)
            if by <= old.until:
                raise ConflictError(
                    f"the lease of {ref} ends at {stamp(old.until)} already, not before {stamp(by)}",
                    resolution=f"labcloud lease set {ref} --until {stamp(by)} makes it shorter",
                )
            return lease_until(by, now, old.then)

        said = {"until": stamp(by)} if isinstance(by, datetime) else {"minutes": by // timedelta(minutes=1)}
        return self._change(ref, "lease-extend", change, said, now)

    def remove(self, ref: ClusterRef) -> bool:
        """Let the cluster last until somebody ends it. Returns whether it had a lease."""
        with self._holding(ref, "lease-remove", {}) as (wanted, operation):
            if wanted.lease is None:
                return False
            self._save(replace(wanted, lease=None), operation)
            return True

    def _change(
        self, ref: ClusterRef, verb: str, change: Callable[[Lease | None], Lease], said: Mapping[str, object], now: datetime
    ) -> LeaseView:
        with self._holding(ref, verb, said) as (wanted, operation):
            lease = change(wanted.lease)
            self._save(replace(wanted, lease=lease), operation)
            return view(wanted, lease, now)

    def _save(self, wanted: Cluster, operation: Operation) -> None:
        """Want ``wanted``; what nodes were told of its old lease is taken back, as far as they can be reached."""
        before = self._lab.cluster(wanted.ref)
        if not self._lab.save(wanted, f"{operation.verb} {wanted.ref}"):
            return
        lease = wanted.lease
        operation.event("leased", until=stamp(lease.until) if lease else "", then=str(lease.then) if lease else "")
        if before is None or wanted.state is not Wanted.RUNNING or told(self._journal, before) == NOTHING_TOLD:
            return
        with suppress(LabError):  # what is past is not shown any more, and an engine that is away must keep nobody from an extension
            missed = clear_nodes(self._provider(wanted.provider), wanted)
            operation.event("notice-cleared", nodes_missed=missed)

    @contextmanager
    def _holding(self, ref: ClusterRef, verb: str, said: Mapping[str, object]) -> Iterator[tuple[Cluster, Operation]]:
        """The wanted cluster, which nobody else changes meanwhile. Raise NotFoundError, or ConflictError if it is being deleted."""

        def waiting(text: str) -> None:
            self._watch.tell(Event(str(ref), Kind.WAITING, text))

        with cluster_lock(self._lab.home, ref, verb=verb, timeout=_LOCK_SECONDS, waiting=waiting, pause=self._watch.pause):
            wanted = self._lab.cluster(ref)
            if wanted is None:
                raise NotFoundError(f"there is no cluster {ref}", resolution="'labcloud list' shows those that there are")
            if wanted.state is Wanted.DELETED:
                raise ConflictError(f"the deletion of {ref} was begun and not finished", resolution=f"finish it: labcloud delete {ref}")
            with self._journal.operation(verb, str(ref), said) as operation:
                yield wanted, operation


def view(cluster: Cluster, lease: Lease, now: datetime) -> LeaseView:
    """The lease of a cluster as it stands at ``now``."""
    return LeaseView(cluster.ref.tenant, cluster.ref.name, str(cluster.state), stamp(lease.until), str(lease.then), time_left(lease, now))
