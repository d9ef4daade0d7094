"""Names that people choose, and the names that are made of them. Pure.

Tenant and cluster names become parts of host names, OS users, volume names and paths, so the rules are the strictest of
those: lower-case letters, digits and inner hyphens (RFC 1123 labels); a cluster's name may have dots, as profiles' names do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from labcloud.errors import UsageError

_LABEL: Final = r"[a-z](?:[a-z0-9-]{0,29}[a-z0-9])?"
_TENANT: Final = re.compile(_LABEL)
_CLUSTER: Final = re.compile(r"[a-z](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
_CLUSTER_LENGTH: Final = 40
_NODE: Final = re.compile(r"([a-z][a-z0-9]*)-(0|[1-9][0-9]{0,4})")

# OS users that exist on a node already: a tenant's user is named as the tenant.
RESERVED: Final = frozenset(
    "root daemon bin sys sync games man lp mail news uucp proxy backup list irc nobody hdfs yarn mapred hadoop "
    "supergroup labcloud users staff all".split()
)


def tenant_name(text: str) -> str:
    """Return ``text`` if it can name a tenant; raise UsageError with the rule otherwise."""
    if not _TENANT.fullmatch(text):
        raise UsageError(
            f"{text!r} cannot name a tenant",
            resolution="use 1 to 31 lower-case letters, digits and inner hyphens, beginning with a letter, as in 'acme'",
        )
    if text in RESERVED:
        raise UsageError(f"the tenant name {text!r} is reserved for an OS user or group", resolution="choose another name")
    return text


def cluster_name(text: str) -> str:
    """Return ``text`` if it can name a cluster; raise UsageError with the rule otherwise."""
    if len(text) > _CLUSTER_LENGTH or not _CLUSTER.fullmatch(text):
        raise UsageError(
            f"{text!r} cannot name a cluster",
            resolution=f"use 1 to {_CLUSTER_LENGTH} lower-case letters, digits, dots and inner hyphens, as in 'hadoop-2.7'",
        )
    return text


@dataclass(frozen=True, order=True)
class ClusterRef:
    """The name of a cluster: ``TENANT/CLUSTER``."""

    tenant: str
    name: str

    def __str__(self) -> str:
        return f"{self.tenant}/{self.name}"

    @classmethod
    def parse(cls, text: str, tenant: str | None = None) -> ClusterRef:
        """Read ``TENANT/CLUSTER``, or ``CLUSTER`` where ``tenant`` is given. Raise UsageError on anything else."""
        head, slash, tail = text.partition("/")
        if slash and tenant is not None and head != tenant:
            raise UsageError(f"{text!r} names the tenant {head!r}, but --tenant says {tenant!r}", resolution="leave out one of the two")
        if not slash and tenant is None:
            raise UsageError(f"{text!r} names no tenant", resolution=f"write TENANT/{text}, or add --tenant TENANT")
        owner, name = (head, tail) if slash else (tenant or "", head)
        return cls(tenant_name(owner), cluster_name(name))


@dataclass(frozen=True, order=True)
class NodeRef:
    """The name of a node: its cluster, its group and its number there, counted from 0."""

    cluster: ClusterRef
    group: str
    index: int

    @property
    def name(self) -> str:
        return f"{self.group}-{self.index}"

    def __str__(self) -> str:
        return f"{self.cluster}/{self.name}"

    @property
    def qualified(self) -> str:
        """``worker-0.CLUSTER.TENANT``: unique in a lab, and the beginning of the node's host name on every engine."""
        return f"{self.name}.{self.cluster.name}.{self.cluster.tenant}"

    @classmethod
    def parse(cls, cluster: ClusterRef, text: str) -> NodeRef:
        """Read ``GROUP-INDEX``. Raise UsageError on anything else."""
        found = _NODE.fullmatch(text)
        if not found:
            raise UsageError(f"{text!r} cannot name a node", resolution="nodes are named GROUP-NUMBER, as in worker-0")
        return cls(cluster, found[1], int(found[2]))
