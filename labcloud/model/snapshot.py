"""Snapshots by name: a moment of a cluster. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from labcloud.errors import UsageError
from labcloud.model.names import ClusterRef

_ID: Final = re.compile(r"[0-9]{8}t[0-9]{6}-[0-9a-f]{4}")
_TIME: Final = "%Y%m%dt%H%M%S"


def new_snapshot_id(now: datetime) -> str:
    """A name for a snapshot that is taken now: in the order of time, within a second as well, and fit for names of volumes."""
    return f"{now.astimezone(UTC):{_TIME}}-{now.microsecond * 0x10000 // 1_000_000:04x}"


def snapshot_id(text: str) -> str:
    """``text`` if it can name a snapshot. Raise UsageError otherwise."""
    try:
        if _ID.fullmatch(text):
            snapshot_time(text)
            return text
    except ValueError:
        pass
    raise UsageError(f"{text!r} cannot name a snapshot", resolution="'labcloud snapshot list' shows those that there are")


def snapshot_time(id: str) -> datetime:
    """When the snapshot with this name was begun, by its second."""
    return datetime.strptime(id.partition("-")[0], _TIME).replace(tzinfo=UTC)


@dataclass(frozen=True, order=True)
class SnapshotRef:
    """A snapshot of a cluster: ``TENANT/CLUSTER@ID``."""

    cluster: ClusterRef
    id: str

    def __str__(self) -> str:
        return f"{self.cluster}@{self.id}"

    @classmethod
    def parse(cls, text: str, tenant: str | None = None) -> SnapshotRef:
        """Read ``TENANT/CLUSTER@ID``. Raise UsageError on anything else."""
        cluster, at, id = text.partition("@")
        if not at:
            raise UsageError(f"{text!r} names no snapshot", resolution="write TENANT/CLUSTER@ID; 'labcloud snapshot list' shows them")
        return cls(ClusterRef.parse(cluster, tenant), snapshot_id(id))
