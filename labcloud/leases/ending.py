"""Does what leases ask for: tells tenants, stops or deletes. One pass is complete in itself; a missed one is made up by the next.

Two passes at once do no harm: each cluster is held while something is done to it, and is looked at again before that.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from labcloud.apply.clusters import Clusters
from labcloud.apply.journal import Journal
from labcloud.apply.verbs import Terms
from labcloud.apply.watch import Watch
from labcloud.apply.webhooks import post, shown_host
from labcloud.errors import DeadlineError, LabError
from labcloud.lab import Lab
from labcloud.lab.locks import cluster_lock
from labcloud.leases.notices import NOTICE_EVENT, Told, message, show_on_nodes, told
from labcloud.model import AtEnd, Cluster, ClusterRef, Lease, Status
from labcloud.model.leases import NOTICE, Due, due, next_moment, time_left
from labcloud.model.periods import stamp
from labcloud.providers.base import Provider

TOLD: Final = "told"
FAILED: Final = "failed"
_CLUSTERS_AT_ONCE: Final = 16
_NOTICE_LOCK_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Outcome:
    """What a pass did with a cluster: ``told``, ``stopped``, ``deleted`` or ``failed``. ``warning`` is for what is tried again."""

    ref: ClusterRef
    did: str
    until: str = ""
    warning: str = ""
    error: LabError | None = None


class _OvertakenError(LabError):
    """The cluster is not any more what the pass has seen: the next pass sees to it."""


def no_snapshot(cluster: Cluster) -> None:
    """What is done to a cluster before its lease ends it: nothing, where snapshots are not."""


class Ending:
    """Passes over the leases of one lab.

    ``provider`` opens an engine by its name, ``notice`` is how long before its end a lease is told of. ``before_end`` is called with
    each cluster that is going to be stopped or deleted, without its lock; what it raises keeps the cluster.
    """

    def __init__(
        self, lab: Lab, journal: Journal, provider: Callable[[str], Provider], watch: Watch, *,
        notice: timedelta = NOTICE, before_end: Callable[[Cluster], None] = no_snapshot,
    ) -> None:  # fmt: skip
        self._lab = lab
        self._journal = journal
        self._provider = provider
        self._watch = watch
        self._notice = notice
        self._before_end = before_end
        self._clusters = Clusters(lab, journal, provider, watch)

    def run(self, now: datetime) -> list[Outcome]:
        """One pass: everything that is due at ``now``, several clusters at once. Errors of clusters are in the outcomes."""
        refs = self._lab.refs()
        if not refs:
            return []
        with ThreadPoolExecutor(min(len(refs), _CLUSTERS_AT_ONCE), thread_name_prefix="lease") as pool:
            futures: list[Future[Outcome | None]] = [pool.submit(self._guarded, ref, now) for ref in refs]
            try:
                wait(futures)
            except KeyboardInterrupt:
                self._watch.stop()
                raise
        return [outcome for future in futures if (outcome := future.result())]

    def pause(self, now: datetime, longest: float) -> float:
        """How many seconds to wait for the next pass: until something is due, at least one, at most ``longest``."""
        leases = [cluster.lease for ref in self._lab.refs() if (cluster := self._read(ref)) and cluster.lease]
        moment = next_moment(leases, now, self._notice)
        return longest if moment is None else min(longest, max(1.0, (moment - now).total_seconds()))

    def _guarded(self, ref: ClusterRef, now: datetime) -> Outcome | None:
        try:
            return self._one(ref, now)
        except _OvertakenError:
            return None
        except LabError as exc:
            return Outcome(ref, FAILED, error=exc)

    def _one(self, ref: ClusterRef, now: datetime) -> Outcome | None:
        cluster = self._lab.cluster(ref)
        if cluster is None or cluster.lease is None:
            return None
        asked = due(cluster, now, self._notice)
        if asked is Due.NOTICE:
            return self._tell(cluster, now)
        # A stop that broke off is wanted already, but nodes still run.
        if asked is Due.END or (asked is Due.ENDED and self._runs(cluster)):
            return self._end(cluster, cluster.lease, finishing=asked is Due.ENDED)
        return None

    def _read(self, ref: ClusterRef) -> Cluster | None:
        """The cluster; None for one whose file is broken, which the pass tells of."""
        try:
            return self._lab.cluster(ref)
        except LabError:
            return None

    def _runs(self, cluster: Cluster) -> bool:
        found = self._provider(cluster.provider).find(cluster=cluster.ref)
        return any(node.status is Status.RUNNING for node in found.nodes)

    # Telling

    def _tell(self, cluster: Cluster, now: datetime) -> Outcome | None:
        url = self._notify(cluster)
        if _complete(told(self._journal, cluster), url):
            return None
        try:
            with cluster_lock(self._lab.home, cluster.ref, verb="lease", timeout=_NOTICE_LOCK_SECONDS, pause=self._watch.pause):
                self._still(cluster)
                so_far = told(self._journal, cluster)
                return None if _complete(so_far, url) else self._told(cluster, url, so_far, now)
        except DeadlineError:  # somebody works on the cluster: the next pass tells
            return None

    def _told(self, cluster: Cluster, url: str, so_far: Told, now: datetime) -> Outcome:
        lease = _lease(cluster)
        with self._journal.operation("lease-notice", str(cluster.ref), {"until": stamp(lease.until), "then": str(lease.then)}) as operation:
            wrong = post(url, message(cluster, lease, time_left(lease, now))) if url and not so_far.posted else ""
            missed = 0 if so_far.shown else self._show(cluster, lease)
            operation.event(
                NOTICE_EVENT, id=cluster.id, until=stamp(lease.until), url=shown_host(url) if url else "",
                posted=bool(url) and not wrong, shown=not missed, error=wrong,
            )  # fmt: skip
        warnings = [f"{shown_host(url)}: {wrong}"] if wrong else []
        warnings += [f"{missed} nodes could not be told"] if missed else []
        return Outcome(cluster.ref, TOLD, stamp(lease.until), "; ".join(warnings))

    def _show(self, cluster: Cluster, lease: Lease) -> int:
        try:
            return show_on_nodes(self._provider(cluster.provider), cluster, lease)
        except LabError:  # the engine is away
            return sum(group.count for group in cluster.groups)

    def _notify(self, cluster: Cluster) -> str:
        tenant = self._lab.tenant(cluster.ref.tenant)
        return tenant.notify if tenant else ""

    # Ending

    def _end(self, cluster: Cluster, lease: Lease, *, finishing: bool) -> Outcome:
        self._before_end(cluster)

        def still() -> None:
            self._still(cluster)
            # Another pass may have been about to stop it, and has done so while this one waited for the lock.
            if finishing and not self._runs(cluster):
                raise _OvertakenError(f"{cluster.ref} was stopped meanwhile")

        terms = Terms(still=still)
        if lease.then is AtEnd.DELETE:
            self._clusters.delete(cluster.ref, terms)
        else:
            self._clusters.stop(cluster.ref, terms)
        did = "deleted" if lease.then is AtEnd.DELETE else "stopped"
        with self._journal.operation("lease-end", str(cluster.ref), {"until": stamp(lease.until), "then": str(lease.then)}) as operation:
            operation.event(did)
        return Outcome(cluster.ref, did, stamp(lease.until))

    def _still(self, cluster: Cluster) -> None:
        """Give up if anything about the cluster was changed since the pass has seen it."""
        if self._lab.cluster(cluster.ref) != cluster:
            raise _OvertakenError(f"{cluster.ref} was changed meanwhile")


def _complete(so_far: Told, url: str) -> bool:
    return so_far.shown and (so_far.posted or not url)


def _lease(cluster: Cluster) -> Lease:
    assert cluster.lease is not None  # noqa: S101  # only clusters with a lease come here
    return cluster.lease
