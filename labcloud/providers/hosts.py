"""What an engine whose hosts can be emptied offers for that: its hosts, all that runs on them, and ways from one host to another.

This is an administrator's view: it sees servers of all projects and labs. Methods raise EngineError for a refusal; a move is only begun
by the call that asks for it, and `moves` tells how it goes on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import ClassVar

from labcloud.model.checks import Finding
from labcloud.model.hosts import Guest, Host, How, Migration, Room


class Hosts(ABC):
    """The hosts of one engine. ``way`` is how they move what runs."""

    way: ClassVar[How] = How.LIVE

    @abstractmethod
    def hosts(self) -> list[Host]:
        """All of them, by name."""

    @abstractmethod
    def guests(self) -> list[Guest]:
        """Everything that runs, or could be started again, on any of them."""

    @abstractmethod
    def room(self, guest: Guest) -> dict[str, Room]:
        """By their ids, the hosts with room for one more of the same, by the engine's own reckoning; its own host may be among them."""

    def data(self, guest: Guest) -> int:
        """MiB on its host's disks that a move has to copy, at most."""
        return guest.disk << 10

    def judge(self, guest: Guest, target: Host) -> Sequence[tuple[str, Finding]]:
        """What this engine knows besides of a move to ``target``: names of checks (``move.network``), and what they found."""
        del guest, target
        return ()

    @abstractmethod
    def traits(self, host: Host) -> frozenset[str]:
        """What a host's processor and hypervisor can do, in Placement's words (``HW_CPU_X86_AVX2``)."""

    @abstractmethod
    def set_enabled(self, host: Host, *, enabled: bool, reason: str = "") -> None:
        """Let the host get new servers, or not, for a ``reason``."""

    @abstractmethod
    def fence(self, host: Host) -> None:
        """Note that a host is off for certain: what ran there may be made anew elsewhere."""

    # Moves

    @abstractmethod
    def move(self, guest: Guest, target: str) -> None:
        """Begin to move a running server live to the host ``target``, which the engine checks once more; disks go along if they must."""

    @abstractmethod
    def move_cold(self, guest: Guest, target: str) -> None:
        """Begin to move a server that is off, or will be for as long as it takes; it is afterwards what it was before."""

    @abstractmethod
    def settle(self, guest: Guest) -> bool:
        """Confirm a cold move that has come to its end. Returns whether there was one."""

    @abstractmethod
    def rebuild(self, guest: Guest, target: str = "") -> None:
        """Begin to make the server of a host that is down anew, elsewhere: with its volumes, and with what hosts share of its own disk."""

    @abstractmethod
    def moves(self, since: datetime) -> list[Migration]:
        """All moves that changed after ``since``, the newest first."""

    @abstractmethod
    def measured(self, guest: Guest) -> Migration | None:
        """The live move of one server that is under way, with its bytes; None if there is none."""

    @abstractmethod
    def complete(self, move: Migration) -> None:
        """Let a live move that copies faster than memory changes no longer wait for that: the server pauses until it is over there."""

    @abstractmethod
    def abort(self, move: Migration) -> None:
        """Let a live move be as if it had not begun; the server goes on where it is."""

    @abstractmethod
    def why(self, guest: Guest) -> Sequence[str]:
        """What the engine remembers of the last thing that failed with a server: the action, its fault, the id of the request."""

    def direct_ports(self, host: str) -> Collection[str]:
        """Ids of the servers of ``host`` that have ports in its own network cards."""
        del host
        return ()

    @abstractmethod
    def close(self) -> None: ...
