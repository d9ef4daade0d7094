"""An engine of hosts whose moves go on as a test wants, and nodes that are looked after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from labcloud.errors import EngineError
from labcloud.model import ClusterRef, NodeRef
from labcloud.model.hosts import Guest, Host, How, Migration, Phase, Room
from labcloud.providers.hosts import Hosts

ROOM = Room({"VCPU": 64, "MEMORY_MB": 65536}, {"VCPU": 0, "MEMORY_MB": 0})
Course = Callable[[int], Phase]
"""The phase of a move when it is asked for the n-th time."""


def at_once(asked: int) -> Phase:
    return Phase.DONE if asked else Phase.COPYING


@dataclass
class Fleet(Hosts):
    """``course`` says how each server's moves go on; ``refused`` are hosts that let nobody in."""

    known: dict[str, Host]
    there: dict[str, Guest]
    course: dict[str, Course] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    made: list[Migration] = field(default_factory=list)
    asked: dict[str, int] = field(default_factory=dict)
    orders: list[str] = field(default_factory=list)
    aborted: set[str] = field(default_factory=set)
    most: int = 0

    def hosts(self) -> list[Host]:
        return list(self.known.values())

    def guests(self) -> list[Guest]:
        return list(self.there.values())

    def room(self, guest: Guest) -> dict[str, Room]:
        del guest
        return dict.fromkeys(self.known, ROOM)

    def traits(self, host: Host) -> frozenset[str]:
        del host
        return frozenset()

    def set_enabled(self, host: Host, *, enabled: bool, reason: str = "") -> None:
        self.known[host.name] = replace(self.known[host.name], enabled=enabled, reason=reason)

    def fence(self, host: Host) -> None:
        self.known[host.name] = replace(self.known[host.name], fenced=True)

    def move(self, guest: Guest, target: str, how: How = How.LIVE) -> None:
        self.orders.append(f"{how} {guest.id} to {target}")
        if target in self.refused:
            raise EngineError(f"{target} lets nobody in")
        self.made.append(Migration(str(len(self.made) + 1), guest.id, Phase.PREPARING, guest.host, target, how=how, word="preparing"))
        self.most = max(self.most, sum(not each.phase.over for each in self.made))

    def move_cold(self, guest: Guest, target: str) -> None:
        self.move(guest, target, How.COLD)

    def rebuild(self, guest: Guest, target: str = "") -> None:
        self.move(guest, target, How.REBUILD)

    def settle(self, guest: Guest) -> bool:
        self.orders.append(f"confirm {guest.id}")
        return True

    def moves(self, since: datetime) -> list[Migration]:
        del since
        self.made = [each if each.phase.over else self._on(each) for each in self.made]
        return sorted(self.made, key=lambda each: int(each.id), reverse=True)

    def _on(self, move: Migration) -> Migration:
        asked = self.asked[move.id] = self.asked.get(move.id, -1) + 1
        phase = Phase.CANCELLED if move.id in self.aborted else self.course.get(move.server, at_once)(asked)
        if phase is Phase.DONE:
            self.there[move.server] = replace(self.there[move.server], host=move.target)
        return replace(move, phase=phase, word=str(phase))

    def measured(self, guest: Guest) -> Migration | None:
        found = [each for each in self.made if each.server == guest.id and not each.phase.over]
        return replace(found[-1], memory=100 << 20, memory_left=25 << 20) if found else None

    def complete(self, move: Migration) -> None:
        self.orders.append(f"complete {move.server}")
        self.course[move.server] = lambda _: Phase.DONE

    def abort(self, move: Migration) -> None:
        self.orders.append(f"abort {move.server}")
        self.aborted.add(move.id)

    def why(self, guest: Guest) -> Sequence[str]:
        return [f"request id: req-{guest.id}"]

    def close(self) -> None: ...


def fleet(*guests: Guest, hosts: str = "abc") -> Fleet:
    return Fleet({name: Host(name, id=name) for name in hosts}, {each.id: each for each in guests})


def guest(id: str, host: str = "a", cluster: str = "", **more: object) -> Guest:
    ref = NodeRef(ClusterRef("acme", cluster), "worker", int(id)) if cluster else None
    return replace(Guest(id, f"server-{id}", host, "ACTIVE", ref=ref, memory=512, resources={"MEMORY_MB": 512}), **more)  # type: ignore[arg-type]
