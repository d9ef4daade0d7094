"""One node's way from one Docker host to another.

While it runs, what it has on disk is copied, and what it wrote meanwhile again, until little is left. Then it is stopped in order, the last
of it is copied, its name at home goes from one seat to the other, and it starts there: with its name, its address, its identity and its
data. If anything fails before it runs there, it is where it was, and runs. A labcloud that is killed leaves either that, or what
`Estate.tidy` and a start bring to its end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from labcloud.errors import EngineError, LabError
from labcloud.model import NodeRef
from labcloud.model.hosts import Migration, Phase
from labcloud.providers.docker import containers, remote, seats
from labcloud.providers.docker.carrying import Journey, Progress
from labcloud.providers.docker.engine import refused, remove_container
from labcloud.providers.docker.estate import Estate

_ROUNDS: Final = 6
_SHORT: Final = 2.0
"""Seconds in which a round copies little enough: another would not make the pause shorter."""
_STOP_SECONDS: Final = 30


@dataclass(frozen=True)
class Way:
    """Where a node goes: ``source`` and ``target`` are hosts, empty for the home. With ``copies`` its data are copied before it is stopped;
    it ``runs``, and shall afterwards."""

    ref: NodeRef
    source: str
    target: str
    copies: bool
    runs: bool


@dataclass(frozen=True)
class _Source:
    """The node as it is: the body that would make it again, how many data volumes it has, its address."""

    body: Mapping[str, Any]
    data: int
    address: str


class Moving:
    """A move that somebody follows: ``state`` is its last word, ``why`` what went wrong."""

    def __init__(self, estate: Estate, way: Way, first: Migration) -> None:
        self._estate = estate
        self._ref, self._source, self._target = way.ref, way.source, way.target
        self._copies, self._runs = way.copies, way.runs
        self._ended = threading.Event()
        self._hurry = threading.Event()
        self._journey: Journey | None = None
        self.state = first
        self.why: tuple[str, ...] = ()
        self._thread = threading.Thread(target=self._run, name=f"move-{way.ref.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def abort(self) -> None:
        """Let it be as if it had not begun, unless the node stands still for it already."""
        if self.state.phase in (Phase.PREPARING, Phase.COPYING):
            self._ended.set()
            if self._journey:
                self._journey.interrupt()

    def hurry(self) -> None:
        """No more rounds: the rest is copied while the node stands still."""
        self._hurry.set()

    def join(self) -> None:
        if self._thread.is_alive():
            self._thread.join()

    def _say(self, phase: Phase, word: str = "", **more: Any) -> None:
        """``word`` says for people what the node does, or what is done with it."""
        self.state = replace(self.state, phase=phase, word=word or str(phase), **more)

    # The way

    def _run(self) -> None:
        try:
            self._move()
        except LabError as exc:
            self.why = tuple(filter(None, (exc.brief, exc.details)))
            with suppress(LabError):
                self._estate.tidy(self._ref)
            with suppress(LabError):
                self._estate.part(self._ref.cluster.tenant)
            self._say(Phase.CANCELLED if self._ended.is_set() else Phase.FAILED)
        except BaseException as exc:
            self.why = (f"{type(exc).__name__}: {exc}",)
            self._say(Phase.FAILED)
            raise

    def _move(self) -> None:
        estate, ref = self._estate, self._ref
        estate.sweep(ref, {self._source, self._target})
        source = self._look()
        self._say(Phase.PREPARING, "waits for its image")
        estate.bring(source.body["Image"], self._target, self._source)
        self._check()
        if self._target:
            estate.sit(ref, self._target, source.address, seats.going(ref, self._target))
        self._say(Phase.PREPARING, "joins its network there")
        estate.join(ref.cluster.tenant, {self._target, self._source})
        self._say(Phase.PREPARING, "gets its place there")
        self._make(source)
        with ExitStack() as undo:
            if self._target:
                estate.fill_at(ref, self._target)
            way = self._journey = undo.enter_context(estate.journey(ref, self._source, self._target, source.data))
            self._check()
            self._copy(way)
            self._check()
            self._hand_over(way)
        note = ""
        try:
            estate.tidy(ref)
            estate.part(ref.cluster.tenant)
        except LabError as exc:
            note = f"what it had before is deleted when {ref.cluster} is next started, or moves again: {exc.brief}"
        self._say(Phase.DONE, note=note)

    def _check(self) -> None:
        if self._ended.is_set():
            raise EngineError("it was aborted")

    def _look(self) -> _Source:
        ref, host = self._ref, self._source
        with self._estate.engine(host).api(f"look at {ref}") as api:
            there = api.inspect_container(ref.qualified)
        if not there["State"]["Running"] and self._copies:
            raise EngineError(f"{ref} does not run")
        network = containers.network_name(ref.cluster.tenant)
        own = there["NetworkSettings"]["Networks"].get(network) or {}
        address = self._estate.address(ref) or own.get("IPAddress") or self._estate.free_address(ref.cluster.tenant)
        body = remote.body_of(there)
        data = sum(each["Type"] == "volume" and each["Target"].startswith("/data/") for each in body["HostConfig"]["Mounts"])
        return _Source(body, data, address)

    def _make(self, source: _Source) -> None:
        """The node's container at the target, not started; one that a killed move has left is made anew: it holds nothing."""
        estate, ref = self._estate, self._ref
        if self._target:
            name, names = ref.qualified, str(estate.layout(ref.cluster.tenant).names)
            body = remote.settled(source.body, estate.lab, ref, source.address, names)
        else:
            name, body = seats.going(ref, self._target), remote.at_home(source.body, estate.home.mounts(ref.cluster), ref)
            for number, volume in remote.class_volumes(body).items():
                estate.home.ensure_volume(ref, number, volume)
        with estate.engine(self._target).api(f"make {ref}") as api:
            from docker.errors import APIError

            try:
                api.create_container_from_config(body, name)
            except APIError as exc:
                if not refused(exc, 409):
                    raise
                remove_container(api, name)
                api.create_container_from_config(body, name)

    def _copy(self, way: Journey) -> None:
        self._say(Phase.COPYING, "is copied")
        for _ in range(_ROUNDS if self._copies else 0):
            began = time.monotonic()
            way.carry(self._watch)
            if self._hurry.is_set() or time.monotonic() - began < _SHORT:
                return
            self._check()

    def _watch(self, progress: Progress) -> None:
        whole = round(progress.done / progress.share) if progress.share else progress.done
        self.state = replace(self.state, disk=whole, disk_left=whole - progress.done)

    def _hand_over(self, way: Journey) -> None:
        """From here on the node stands still."""
        estate, ref, began = self._estate, self._ref, time.monotonic()
        self._say(Phase.FINISHING, "stands still for the last of its data")
        with ExitStack() as back:
            back.callback(self._back)
            with estate.engine(self._source).api(f"stop {ref}") as api:
                api.stop(ref.qualified, timeout=_STOP_SECONDS)
            way.carry()
            estate.rename(ref.qualified, seats.coming(ref, self._source))
            estate.rename(seats.going(ref, self._target), ref.qualified)
            estate.changed()
            if self._runs:
                self._start()
                self._check_runs()
            back.pop_all()
        self._say(Phase.FINISHING, "runs there; what it had before is deleted", pause=time.monotonic() - began)

    def _start(self) -> None:
        """Where it goes: the node and its stand-in at once, with the address that a stand-in which it had leaves."""
        estate, ref = self._estate, self._ref
        if self._source:
            estate.let_go(seats.coming(ref, self._source))
        with ThreadPoolExecutor(1) as beside:
            waking = beside.submit(estate.wake, ref) if self._target else None
            with estate.engine(self._target).api(f"start {ref}") as api:
                api.start(ref.qualified)
            if waking:
                waking.result()

    def _check_runs(self) -> None:
        with self._estate.engine(self._target).api(f"look at {self._ref}") as api:
            state = api.inspect_container(self._ref.qualified)["State"]
        if not state["Running"]:
            raise EngineError(f"{self._ref} ended at once where it was moved to: {state['Status']}", details=str(state.get("Error") or ""))

    def _back(self) -> None:
        """The node is where it was, and runs if it did. What cannot be undone now is found by the next command."""
        estate, ref = self._estate, self._ref
        taken, left = ref.qualified, seats.coming(ref, self._source)
        with suppress(LabError):
            if any(each.name == left for each in estate.places(cluster=ref.cluster).of(ref)):
                if self._target:
                    with suppress(LabError), estate.engine(self._target).api(f"stop {ref}") as api:
                        api.stop(taken, timeout=1)
                with suppress(LabError):
                    estate.rename(taken, seats.going(ref, self._target))
                with estate.home_engine.api(f"stop what was to be {ref}") as api:
                    api.stop(seats.going(ref, self._target), timeout=1)
                estate.rename(left, taken)
        estate.changed()
        if self._runs:
            with suppress(LabError):
                if self._source:
                    estate.wake(ref)
                with estate.engine(self._source).api(f"start {ref}") as api:
                    api.start(taken)
