"""migrate, drain, undrain, evacuate: servers moved to other hosts, those of clusters with care for what Hadoop does on them.

Nothing is kept of a drain but what the engine itself knows: which host gets no servers, why, and who is still there. So a run that was
killed is finished by the same command.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from labcloud.apply.journal import Journal, Operation
from labcloud.apply.watch import Watch
from labcloud.errors import ConflictError, PartlyDoneError
from labcloud.lab import Lab
from labcloud.migrate.caring import Care
from labcloud.migrate.moving import Mover, Outcome, Policy
from labcloud.migrate.planning import Move, Planner, Wish
from labcloud.model.hosts import MOVED, Guest, Host, How
from labcloud.model.names import ClusterRef, NodeRef
from labcloud.model.periods import stamp
from labcloud.providers.hosts import Hosts

_MARK: Final = "labcloud drain"
_ROUNDS: Final = 3
"""How often a drain looks for other targets for what could not be moved: hosts come and go meanwhile."""


@dataclass(frozen=True)
class Drained:
    """What a drain did. ``left`` runs there still."""

    host: str
    outcomes: tuple[Outcome, ...]
    left: tuple[Guest, ...]
    enabled: bool


class Migrating:
    """The verbs, for one lab and one engine's hosts. ``who`` is noted where hosts are disabled."""

    def __init__(self, lab: Lab, journal: Journal, hosts: Hosts, care: Care, watch: Watch, *, who: str = "") -> None:
        self._lab = lab
        self._journal = journal
        self._hosts = hosts
        self._care = care
        self._watch = watch
        self._who = who

    def hosts(self) -> list[tuple[Host, list[Guest]]]:
        """Every host with what runs on it."""
        guests = self._hosts.guests()
        return [(host, [each for each in guests if each.host == host.name]) for host in self._hosts.hosts()]

    # Nodes and clusters

    def plan(self, cluster: ClusterRef, node: NodeRef | None, wish: Wish) -> list[Move]:
        """A node's move, or those of a whole cluster; nothing is changed."""
        planner = Planner(self._hosts, self._care)
        return planner.plan(planner.of(cluster, node), wish)

    def migrate(self, cluster: ClusterRef, node: NodeRef | None, wish: Wish, policy: Policy) -> list[Outcome]:
        """Move them, one after the other. Raise PreflightError, with all that speaks against it, before anything is moved."""
        target = str(node or cluster)
        with self._journal.operation("migrate", target, {"to": wish.to, "cold": wish.cold}) as operation:
            finished = self._confirm(Planner(self._hosts, self._care))
            planner = Planner(self._hosts, self._care)
            guests = planner.of(cluster, node)
            if finished and wish.to and all(each.host == wish.to for each in guests):
                return [Outcome(each, each.host, moved=True, seconds=0.0, how=How.COLD) for each in guests if each.id in finished]
            moves = planner.plan(guests, wish)
            _note(operation, moves)
            for move in moves:
                move.report.refuse(f"to move {move.guest.label}")
            return check_all(self._mover(operation, policy).run(moves))

    def _mover(self, operation: Operation, policy: Policy) -> Mover:
        return Mover(self._hosts, self._care, self._lab.home, self._watch, operation, policy)

    # Hosts

    def plan_drain(self, name: str, wish: Wish) -> list[Move]:
        planner = Planner(self._hosts, self._care)
        return planner.plan(planner.on(planner.host(name)), wish)

    def drain(self, name: str, wish: Wish, policy: Policy, *, enable: bool = False) -> Drained:
        """Disable the host and move all away that is there; with ``enable`` it gets servers again once it is empty.

        What cannot be moved keeps nobody else. Raise PartlyDoneError, with the reasons, if anything is left.
        """
        with self._journal.operation("drain", name, {"to": wish.to, "then": "enable" if enable else "disable"}) as operation:
            planner = Planner(self._hosts, self._care)
            host = planner.host(name)
            if host.enabled:
                self._hosts.set_enabled(host, enabled=False, reason=self._reason())
                operation.event("disabled", host=name)
            self._confirm(planner)
            outcomes: list[Outcome] = []
            for _ in range(_ROUNDS):
                planner = Planner(self._hosts, self._care)
                moves = planner.plan(planner.on(host), wish)
                _note(operation, moves)
                settled = {each.guest.id for each in outcomes if each.final}
                able = [each for each in moves if each.report.ok and each.guest.id not in settled]
                outcomes += [_refused(each) for each in moves if not each.report.ok]
                outcomes += self._mover(operation, policy).run(able)
                left = [each for each in self._hosts.guests() if each.host == name]
                if not left or not able:
                    break
            last = {each.guest.id: each for each in outcomes}  # of several tries of one server the last counts
            if left:
                raise _left(host, left, [last[each.id] for each in left if each.id in last])
            if enable:
                self._enable(host, operation)
            check_all([each for each in last.values() if each.moved])  # the others have left by somebody else
            return Drained(name, tuple(last.values()), (), enabled=enable)

    def _confirm(self, planner: Planner) -> set[str]:
        """Confirm the cold moves of runs that were killed: nobody else does. Returns the ids of their servers."""
        ended = [each for each in planner.guests if each.state == MOVED and not each.task]
        return {each.id for each in ended if self._hosts.settle(each)}

    def undrain(self, name: str, *, force: bool = False) -> bool:
        """Let the host get servers again. Returns whether it did not before. Without ``force``, raise ConflictError if somebody else has
        disabled it."""
        with self._journal.operation("undrain", name) as operation:
            host = Planner(self._hosts, self._care).host(name)
            if host.enabled:
                return False
            if not host.reason.startswith(_MARK) and not force:
                raise ConflictError(
                    f"{name} was disabled by somebody else{f': {host.reason}' if host.reason else ', who gave no reason'}",
                    resolution=f"if it is well again: labcloud undrain {name} --force",
                )
            self._enable(host, operation)
            return True

    # Hosts that are gone

    def plan_evacuate(self, name: str, wish: Wish) -> list[Move]:
        planner = Planner(self._hosts, self._care)
        return planner.plan(planner.on(planner.host(name)), replace(wish, rebuild=True))

    def evacuate(self, name: str, wish: Wish, policy: Policy, *, fenced: bool = False) -> list[Outcome]:
        """Make what ran on a host that is gone anew elsewhere. ``fenced``: somebody knows that it is off.

        Raise ConflictError if it is up, or nobody has said that it is off: a server that still runs there would run twice, and write to
        the same volumes. What cannot be made anew is among the outcomes, with the reason: see `check_all`.
        """
        with self._journal.operation("evacuate", name, {"to": wish.to, "fenced": fenced}) as operation:
            planner = Planner(self._hosts, self._care)
            host = planner.host(name)
            self._check_gone(host, fenced=fenced)
            if not host.fenced:
                self._hosts.fence(host)
                operation.event("fenced", host=name, by=self._who)
            moves = planner.plan(planner.on(host), replace(wish, rebuild=True))
            _note(operation, moves)
            refused = [_refused(each) for each in moves if not each.report.ok]
            return [*refused, *self._mover(operation, policy).run([each for each in moves if each.report.ok])]

    def _check_gone(self, host: Host, *, fenced: bool) -> None:
        if host.up:
            raise ConflictError(f"{host.name} is up", resolution=f"what runs there can be moved: labcloud drain {host.name}")
        if not (host.fenced or fenced):
            raise ConflictError(
                f"nobody has heard of {host.name} since {host.heard or 'an unknown time'}, and it may run still",
                resolution=f"switch it off, so that nothing can run twice; then labcloud evacuate {host.name} --fenced",
            )

    def _enable(self, host: Host, operation: Operation) -> None:
        self._hosts.set_enabled(host, enabled=True)
        operation.event("enabled", host=host.name)

    def _reason(self) -> str:
        return f"{_MARK}{f' by {self._who}' if self._who else ''} at {stamp(datetime.now(UTC))}"


def _note(operation: Operation, moves: Sequence[Move]) -> None:
    for each in moves:
        checks = [answer.noted() for answer in each.report.checks]
        target = each.target.name if each.target else ""
        operation.event("planned", server=each.guest.label, source=each.source.name, target=target, how=each.how, checks=checks)


def _refused(move: Move) -> Outcome:
    said = [f"{each.id}: {each.summary}" for each in move.report.checks if each.refuses]
    return Outcome(move.guest, "", moved=False, seconds=0.0, how=move.how, why=said[0], details=tuple(said[1:]))


def check_all(outcomes: list[Outcome]) -> list[Outcome]:
    """Raise PartlyDoneError if one stayed or is not well."""
    bad = [each for each in outcomes if each.why]
    if bad:
        raise PartlyDoneError(
            f"{len(bad)} of {len(outcomes)} moves did not go well: {bad[0].guest.label}: {bad[0].why}",
            details="\n".join(line for each in bad for line in (f"{each.guest.label}: {each.why}", *each.details)),
            resolution="mend what it says and run the same command again",
        )
    return outcomes


def _left(host: Host, left: Sequence[Guest], outcomes: Sequence[Outcome]) -> PartlyDoneError:
    why = {each.guest.id: each for each in outcomes}
    lines = [f"{each.label} ({each.state}): {why[each.id].why if each.id in why else 'it came meanwhile'}" for each in left]
    more = [line for each in outcomes for line in each.details]
    return PartlyDoneError(
        f"{len(left)} servers are still on {host.name}, which gets no others: {lines[0]}", details="\n".join((*lines[1:], *more)),
        resolution=f"mend what it says, then labcloud drain {host.name} goes on; labcloud undrain {host.name} gives it up",
    )  # fmt: skip
