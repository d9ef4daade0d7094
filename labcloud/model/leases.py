"""The rules of leases: when one is over, how it is extended, and what is due. Pure; `labcloud.leases` does what is due."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from labcloud.errors import ConflictError, UsageError
from labcloud.model import AtEnd, Cluster, Lease, Wanted, format_duration
from labcloud.model.periods import stamp

NOTICE: Final = timedelta(minutes=30)
"""How long before the end of a lease its tenant is told, where nobody says otherwise."""

_MINUTE: Final = timedelta(minutes=1)
_LONGEST: Final = timedelta(days=366)


class Due(StrEnum):
    """What a cluster's lease asks for now: nothing yet, telling its tenant, ending it, or nothing more, since that was done."""

    LATER = "later"
    NOTICE = "notice"
    END = "end"
    ENDED = "ended"


def lease_for(duration: timedelta, now: datetime, then: AtEnd = AtEnd.STOP) -> Lease:
    """A lease that begins at ``now`` (with a time zone) and lasts for ``duration``; it ends on a whole second."""
    return lease_until(now + duration, now, then)


def lease_until(until: datetime, now: datetime, then: AtEnd = AtEnd.STOP) -> Lease:
    """A lease that ends at ``until``. Raise UsageError if that is over, or more than a year away."""
    end = until.astimezone(UTC).replace(microsecond=0)
    if end <= now:
        raise UsageError(f"a lease cannot end at {stamp(end)}: that is over", resolution="give a time that is to come, in UTC")
    if end - now > _LONGEST:
        raise UsageError(
            f"a lease cannot end at {stamp(end)}: that is over a year away", resolution="leave the lease out, or extend it later"
        )
    return Lease(end, then)


def extended(lease: Lease, duration: timedelta, now: datetime) -> Lease:
    """``lease`` with ``duration`` more: from its end, or from now if it is over. Raise UsageError if that is over a year away."""
    return lease_until(max(lease.until, now) + duration, now, lease.then)


def check_lease(cluster: Cluster, now: datetime) -> None:
    """Raise ConflictError if the cluster's lease is over at ``now``: then nothing starts it until it is extended."""
    if cluster.lease is not None and cluster.lease.until <= now:
        raise ConflictError(
            f"the lease of {cluster.ref} is over since {stamp(cluster.lease.until)}",
            resolution=f"extend it first: labcloud lease extend {cluster.ref} 4h",
        )


def due(cluster: Cluster, now: datetime, notice: timedelta = NOTICE) -> Due:
    """What the lease of ``cluster`` asks for at ``now``. Who loses nothing by the end is not told of it: a stopped cluster that is to
    be stopped."""
    lease = cluster.lease
    if lease is None or lease.until - notice > now:
        return Due.LATER
    loses = cluster.state is Wanted.RUNNING or (cluster.state is Wanted.STOPPED and lease.then is AtEnd.DELETE)
    if lease.until > now:
        return Due.NOTICE if loses else Due.LATER
    # A deletion that broke off is finished.
    return Due.END if loses or lease.then is AtEnd.DELETE else Due.ENDED


def next_moment(leases: Iterable[Lease], now: datetime, notice: timedelta = NOTICE) -> datetime | None:
    """When something is due next, of what is not due at ``now`` yet."""
    moments = (moment for lease in leases for moment in (lease.until - notice, lease.until) if moment > now)
    return min(moments, default=None)


def time_left(lease: Lease, now: datetime) -> str:
    """``3h20m``, minutes that have begun counted whole; or ``over``."""
    left = lease.until - now
    return format_duration(-(-left // _MINUTE) * _MINUTE) if left > timedelta() else "over"
