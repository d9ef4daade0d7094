"""Telling tenants that a lease ends soon: a message to the tenant's URL, and a file on nodes that login shells show.

Nothing here is ever an obstacle: what could not be told is said in a word, and the caller tries again later.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from labcloud.apply.journal import Journal
from labcloud.errors import LabError
from labcloud.model import AtEnd, Cluster, Lease, NodeRef, Status
from labcloud.model.periods import milliseconds, stamp
from labcloud.providers.base import Command, Provider

NOTICE_FILE: Final = "/run/labcloud/notice"
"""On a node: until when it is true (seconds since 1970), a space, one line of text. An empty one says nothing."""

NOTICE_EVENT: Final = "lease-notice"
_FOLDER: Final = "/run/labcloud"
_THREADS: Final = 16


@dataclass(frozen=True)
class Told:
    """What the journal knows of a notice: whether the tenant's URL has it, and whether every running node shows it."""

    posted: bool = False
    shown: bool = False


NOTHING_TOLD: Final = Told()


def told(journal: Journal, cluster: Cluster) -> Told:
    """What was told of the lease that ``cluster`` has now; another end, or another cluster of that name, is another notice."""
    lease = cluster.lease
    so_far = NOTHING_TOLD
    for target, event in journal.events(NOTICE_EVENT):
        if (
            lease
            and target == str(cluster.ref)
            and (event.details.get("id"), event.details.get("until")) == (cluster.id, stamp(lease.until))
        ):
            so_far = Told(so_far.posted or event.details.get("posted") is True, so_far.shown or event.details.get("shown") is True)
    return so_far


def message(cluster: Cluster, lease: Lease, left: str) -> dict[str, object]:
    """What a tenant's URL is sent before the end of a lease."""
    return {
        "event": "lease-ends", "tenant": cluster.ref.tenant, "cluster": cluster.ref.name, "until": stamp(lease.until),
        "then": str(lease.then), "left": left, "text": f"The lease of {cluster.ref} {_ends(lease)}.",
        "extend": f"labcloud lease extend {cluster.ref} 4h",
    }  # fmt: skip


def show_on_nodes(provider: Provider, cluster: Cluster, lease: Lease) -> int:
    """Have login shells on the running nodes say when the lease ends. Returns how many nodes could not be told.

    Raise EngineError if the engine cannot say which run; so does `clear_nodes`.
    """
    seconds = milliseconds(lease.until) // 1000
    return _write(provider, cluster, f"{seconds} The lease of this cluster {_ends(lease)}.\n".encode())


def clear_nodes(provider: Provider, cluster: Cluster) -> int:
    """Have login shells on the running nodes say nothing any more. Returns how many nodes could not be reached."""
    return _write(provider, cluster, b"")


def _write(provider: Provider, cluster: Cluster, text: bytes) -> int:
    running = [node.ref for node in provider.find(cluster=cluster.ref).nodes if node.status is Status.RUNNING]
    if not running:
        return 0

    def write(node: NodeRef) -> bool:
        commands = (Command(("mkdir", "-p", _FOLDER)), Command(("tee", NOTICE_FILE), stdin=text))
        try:
            return all(provider.execute(node, command).exit_code == 0 for command in commands)
        except LabError:
            return False

    with ThreadPoolExecutor(min(len(running), _THREADS)) as pool:
        return sum(not told for told in pool.map(write, running))


def _ends(lease: Lease) -> str:
    what = "deleted with all its data" if lease.then is AtEnd.DELETE else "stopped, and its data stays"
    return f"ends at {stamp(lease.until)}; then it is {what}"
