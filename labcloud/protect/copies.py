"""What a cluster that is made of another's data is declared as. Pure but for chance."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace

from labcloud.model import Cluster, ClusterRef, Lease, Wanted


@dataclass(frozen=True)
class Copying:
    """A copy that somebody asks for: its name, and what it shall have of its own: MiB of memory and cores of each node, a lease."""

    ref: ClusterRef
    memory: int | None = None
    cpus: float | None = None
    lease: Lease | None = None

    def cluster(self, source: Cluster) -> Cluster:
        """The cluster: as ``source`` is declared, with an id of its own. Ports that are published stay the other's."""
        groups = tuple(replace(each, memory=self.memory or each.memory, cpus=self.cpus or each.cpus, used=0) for each in source.groups)
        return replace(
            source, ref=self.ref, id=secrets.token_hex(16), groups=groups, publish={}, lease=self.lease, state=Wanted.RUNNING, restoring="",
        )  # fmt: skip


def declared_like(wanted: Cluster, then: Cluster) -> Cluster:
    """``wanted`` with the nodes and volumes that it had ``then``. Names of nodes that came since stay retired."""
    groups = []
    for group in wanted.groups:
        before = then.group(group.name)
        used = max(group.used, group.count, before.used)
        groups.append(replace(group, count=before.count, volumes=before.volumes, used=used if used > before.count else 0))
    return replace(wanted, groups=tuple(groups))
