"""Moves, several at once: begun, watched, kept to a policy, proved.

One loop asks the engine for all moves by one question a round. Of each cluster one node is on its way at a time, and nobody else changes
the cluster meanwhile. An interruption ends the watching; what the engine has begun goes on, and the same command finds it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

from labcloud.apply.journal import Operation
from labcloud.apply.watch import Deadline, Event, Kind, Watch
from labcloud.errors import ConflictError, DeadlineError, EngineError, LabError, NotFoundError
from labcloud.lab.locks import cluster_lock
from labcloud.migrate.caring import Care
from labcloud.migrate.estimating import MaintenancePolicy
from labcloud.migrate.planning import Move
from labcloud.model.hosts import Guest, How, Migration, Phase
from labcloud.model.names import ClusterRef, NodeRef
from labcloud.providers.hosts import Hosts

_LEAST_PAUSE: Final = 0.5
_REST: Final = 1.0  # times what a question takes
_KNOWN_SECONDS: Final = 90.0
"""How long the engine may take to tell of a move at all."""
_SHORT: Final = 2.0
"""Seconds of copying in which nobody asks how many bytes are left."""
_LOOK_BACK: Final = timedelta(minutes=15)
_MIB: Final = 1 << 20


class AtLimit(StrEnum):
    """What is done with a live move that copies for longer than its limit."""

    WAIT = "wait"
    FORCE = "force-complete"
    ABORT = "abort"
    COLD = "cold"


@dataclass(frozen=True)
class Policy:
    """``parallel`` moves at once; each may copy for ``limit`` seconds, then ``at_limit``; ``drain`` lets YARN's containers end before, and
    ``maintenance`` tells HDFS; either is waited for up to ``drain_limit`` seconds. The cluster may take ``settle`` seconds to be as it was.
    ``timeout`` is for all of it."""

    parallel: int = 4
    limit: float = 600.0
    at_limit: AtLimit = AtLimit.ABORT
    drain: bool = False
    maintenance: MaintenancePolicy = MaintenancePolicy.AUTO
    drain_limit: float = 300.0
    settle: float = 120.0
    timeout: float = 7200.0


@dataclass(frozen=True)
class Outcome:
    """How one move ended: ``moved``; if not, ``why`` in a sentence, and what the engine remembers in ``details``. ``disturbed`` is what did
    not survive it; ``final``: another try would end as this one. ``seconds`` is from the request until it was proved, ``pause`` how long
    it stood still, where the engine says that."""

    guest: Guest
    target: str
    moved: bool
    seconds: float
    how: How = How.LIVE
    why: str = ""
    details: tuple[str, ...] = ()
    disturbed: tuple[str, ...] = ()
    final: bool = False
    pause: float = 0.0


class _Stage(StrEnum):
    HOLDING = "holding"
    MOVING = "moving"
    SETTLING = "settling"


@dataclass
class _Way:
    """One move that is under way. ``known`` is the engine's last word of it; what it said up to its record ``before`` is of other moves.
    ``awaited`` is what its node waits for before it goes."""

    move: Move
    began: float
    stage: _Stage
    locked: ExitStack
    before: int
    since: float = 0.0
    how: How = How.LIVE
    known: Migration | None = None
    copying: float = 0.0
    ended: bool = False
    awaited: str = ""
    after: list[str] = field(default_factory=list)

    @property
    def guest(self) -> Guest:
        return self.move.guest

    @property
    def cared(self) -> NodeRef | None:
        """The node that can be asked how it is."""
        return None if self.how is How.REBUILD else self.guest.ref

    @property
    def adopted(self) -> bool:
        """Whether the engine was at it already."""
        return bool(self.guest.task)


class Mover:
    """For one lab at ``home``, and one operation: its target is what the news are about."""

    def __init__(self, hosts: Hosts, care: Care, home: Path, watch: Watch, operation: Operation, policy: Policy) -> None:
        self._hosts = hosts
        self._care = care
        self._home = home
        self._watch = watch
        self._operation = operation
        self._subject = operation.target
        self._policy = policy
        self._clock = time.monotonic
        self._newest = 0
        self._told = ""
        self._ways: list[_Way] = []
        self._outcomes: list[Outcome] = []

    def run(self, moves: Sequence[Move]) -> list[Outcome]:
        """Do all of ``moves``; return how each ended, the first first. Raise DeadlineError, with what is left, at the limit."""
        deadline, waiting, self._outcomes = Deadline(self._policy.timeout), list(moves), []
        if moves:
            self._watch.tell(Event(self._subject, Kind.PLANNED, "", count=len(moves)))
        self._newest = max((int(each.id) for each in self._asked()), default=0)
        try:
            while waiting or self._ways:
                began = self._clock()
                self._begin(waiting)
                self._look()
                self._tell(waiting)
                if not deadline.left:
                    raise self._too_late(waiting)
                if self._ways or waiting:
                    self._watch.pause(max(_LEAST_PAUSE, _REST * (self._clock() - began)))
        finally:
            for way in self._ways:
                if way.cared:
                    with suppress(LabError):  # whoever goes on finds out what else is wrong
                        self._care.release(way.cared)
                way.locked.close()
            self._ways = []
        return self._outcomes

    def _too_late(self, waiting: Sequence[Move]) -> DeadlineError:
        left = [each.guest.label for each in (*(way.move for way in self._ways), *waiting)]
        return DeadlineError(
            f"{len(left)} moves were not over after {self._policy.timeout:g} s: {', '.join(left[:5])}",
            resolution="what the engine has begun goes on; the same command, with a longer --timeout, goes on as well",
        )

    def _asked(self) -> list[Migration]:
        return self._hosts.moves(datetime.now(UTC) - _LOOK_BACK)

    # Beginning

    def _begin(self, waiting: list[Move]) -> None:
        for move in list(waiting):
            if len(self._ways) >= self._policy.parallel:
                return
            busy = {way.move.cluster for way in self._ways} - {None}
            if move.cluster in busy:
                continue
            locked = ExitStack()
            if move.cluster and not self._lock(move.cluster, locked):
                continue
            waiting.remove(move)
            now = self._clock()
            way = _Way(move, now, _Stage.HOLDING, locked, self._newest, since=now, how=move.how)
            self._ways.append(way)
            self._step(way, None)

    def _lock(self, cluster: ClusterRef, locked: ExitStack) -> bool:
        try:
            locked.enter_context(cluster_lock(self._home, cluster, verb="migrate", timeout=0))
        except DeadlineError as exc:
            self._watch.tell(Event(self._subject, Kind.WAITING, exc.brief))
            return False
        return True

    # Watching

    def _look(self) -> None:
        newest: dict[str, Migration] = {}
        if any(way.stage is _Stage.MOVING for way in self._ways):
            for each in self._asked():
                newest.setdefault(each.server, each)
        for way in list(self._ways):
            self._step(way, newest.get(way.guest.id))

    def _step(self, way: _Way, said: Migration | None) -> None:
        """One step on of one way; whatever is refused ends it, and no other."""
        try:
            match way.stage:
                case _Stage.HOLDING:
                    self._hold(way)
                case _Stage.MOVING:
                    self._follow(way, said)
                case _Stage.SETTLING:
                    self._settle(way)
        except LabError as exc:
            self._end(way, why=exc.brief, details=(exc.details,) if exc.details else ())

    def _hold(self, way: _Way) -> None:
        if way.cared:
            away = self._policy.timeout if self._policy.maintenance.of(way.how, way.move.estimate.pause) else 0
            way.awaited = self._care.hold(way.cared, drain=self._policy.drain, away=away)
        if way.awaited and self._clock() - way.since < self._policy.drain_limit:
            return
        if not way.adopted or way.how is not way.move.how:
            self._ask(way)
        self._enter(way, _Stage.MOVING)

    def _ask(self, way: _Way) -> None:
        target = way.move.target.name if way.move.target else ""
        self._operation.event("asked", server=way.guest.label, id=way.guest.id, source=way.guest.host, target=target, how=way.how)
        ask = {How.LIVE: self._hosts.move, How.RESTART: self._hosts.move, How.COLD: self._hosts.move_cold, How.REBUILD: self._hosts.rebuild}
        try:
            ask[way.how](way.guest, target)
        except LabError as exc:
            raise EngineError(exc.brief, details="\n".join(filter(None, (exc.details, *self._hosts.why(way.guest))))) from exc

    def _enter(self, way: _Way, stage: _Stage) -> None:
        way.stage, way.since = stage, self._clock()

    def _follow(self, way: _Way, said: Migration | None) -> None:
        if said is None or (int(said.id) <= way.before and said.phase.over and not way.adopted):
            if self._clock() - way.since > _KNOWN_SECONDS:
                raise EngineError(f"nothing is known of the move of {way.guest.label}", details="\n".join(self._hosts.why(way.guest)))
            return
        way.known = said
        if said.phase is Phase.COPYING and said.how is not How.COLD:
            self._copy(way, said)
        elif said.phase in (Phase.FAILED, Phase.CANCELLED):
            self._failed(way, said)
        elif said.phase is Phase.DONE and not self._to_confirm(way, said):
            self._enter(way, _Stage.SETTLING)
            self._settle(way)

    def _to_confirm(self, way: _Way, said: Migration) -> bool:
        """Whether a cold move waits to be confirmed, which is asked for then."""
        return said.how is How.COLD and said.word == "finished" and (self._hosts.settle(way.guest) or True)

    def _copy(self, way: _Way, said: Migration) -> None:
        way.copying = way.copying or self._clock()
        took = self._clock() - way.copying
        if took > _SHORT:
            way.known = self._hosts.measured(way.guest) or said
        if way.ended or took < self._policy.limit:
            return
        way.ended = self._policy.at_limit is not AtLimit.WAIT
        self._operation.event("limit", server=way.guest.label, seconds=self._policy.limit, then=self._policy.at_limit)
        try:
            if self._policy.at_limit is AtLimit.FORCE:
                self._hosts.complete(said)
            elif way.ended:
                self._hosts.abort(said)
        except (ConflictError, NotFoundError, EngineError) as exc:  # it has come to its end in this very moment
            way.after.append(exc.brief)

    def _failed(self, way: _Way, said: Migration) -> None:
        if way.ended and self._policy.at_limit is AtLimit.COLD and way.how is not How.COLD:
            way.how, way.before = How.COLD, int(said.id)
            self._enter(way, _Stage.HOLDING)
            self._hold(way)
            return
        if said.phase is Phase.CANCELLED:
            why = f"it was aborted after {self._policy.limit:g} s of copying" if way.ended else "somebody aborted it"
        else:
            why = f"the engine gave up ({said.word})"
        self._end(way, why=why, details=tuple(self._hosts.why(way.guest)), final=said.phase is Phase.CANCELLED)

    def _settle(self, way: _Way) -> None:
        missing = self._care.missing(way.cared) if way.cared else ""
        if missing and self._clock() - way.since < self._policy.settle:
            return
        if missing:
            self._end(way, moved=True, why=f"it runs there, and {self._policy.settle:g} s later there still was to wait for {missing}")
        else:
            self._end(way, moved=True)

    # Ending

    def _end(self, way: _Way, *, moved: bool = False, why: str = "", details: tuple[str, ...] = (), final: bool = False) -> None:
        target = (way.known.target if way.known else "") or (way.move.target.name if way.move.target else "")
        disturbed: list[str] = []
        if way.cared:
            try:
                self._care.release(way.cared)
                disturbed = self._care.disturbed(way.cared)
            except LabError as exc:
                disturbed = [exc.brief]
        if moved and way.awaited:
            disturbed.append(f"after {self._policy.drain_limit:g} s it no longer waited for {way.awaited}")
        if moved and way.known and way.known.note:
            disturbed.append(way.known.note)
        way.locked.close()
        self._ways.remove(way)
        seconds = self._clock() - way.began
        pause = way.known.pause if way.known else 0.0
        outcome = Outcome(way.guest, target, moved, seconds, way.how, why, (*way.after, *details), tuple(disturbed), final, pause)
        self._outcomes.append(outcome)
        self._operation.event(
            "moved" if moved and not why else "failed", server=way.guest.label, id=way.guest.id, source=way.guest.host, target=target,
            seconds=round(seconds, 2), pause=round(outcome.pause, 2), why=why, details=list(outcome.details), disturbed=disturbed,
        )  # fmt: skip
        text = f"{way.guest.label} → {target}" if moved else f"{way.guest.label} stays on {way.guest.host}: {why}"
        self._watch.tell(Event(self._subject, Kind.DONE, text, seconds=seconds))

    # Telling

    def _tell(self, waiting: Sequence[Move]) -> None:
        if self._ways:
            shown = "; ".join(map(self._said, self._ways[:3])) + (f"; {len(self._ways) - 3} more" if len(self._ways) > 3 else "")
            text = shown + (f"; {len(waiting)} to come" if waiting else "")
            if text != self._told:
                self._watch.tell(Event(self._subject, Kind.WAITING, text))
            self._told = text

    def _said(self, way: _Way) -> str:
        label, known = way.guest.ref.name if way.guest.ref else way.guest.name, way.known
        if way.stage is _Stage.HOLDING:
            return f"{label} waits for {way.awaited or 'its turn'}"
        if way.stage is _Stage.SETTLING:
            return f"{label} is being proved"
        if known is None:
            return f"{label} is asked for"
        total, left = known.memory + known.disk, known.memory_left + known.disk_left
        if known.phase is not Phase.COPYING or not total:
            return f"{label} {known.word or known.phase}"
        took = max(self._clock() - way.copying, 0.1)
        rate = (total - left) / took
        to_go = f", {left / rate:.0f} s to go" if rate else ""
        return f"{label} {1 - left / total:.0%}, {left / _MIB:.0f} MiB left at {rate / _MIB:.0f} MiB/s{to_go}"
