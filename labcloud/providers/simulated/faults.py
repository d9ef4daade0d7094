"""Faults on purpose: refuse a call, lose its answer, or die at it. Knows the calls by name only, not what they do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from labcloud.errors import LabError


class Killed(BaseException):
    """The process died here, as by SIGKILL: no error, and nothing that handles errors may see it.

    Every later call of the same provider dies as well.
    """


@dataclass(frozen=True)
class Call:
    """One call of a provider: its number (from 1, over all calls), its name and what it was about."""

    number: int
    name: str
    target: str


@dataclass
class _Fault:
    """``number`` counts the calls that ``name`` and ``target`` match, from 1; None is for each of them."""

    error: BaseException
    name: str | None
    target: str | None
    number: int | None
    after: bool
    seen: int = 0

    def strikes(self, call: Call) -> bool:
        if self.name not in (None, call.name) or self.target not in (None, call.target):
            return False
        self.seen += 1
        return self.number in (None, self.seen)


class Faults:
    """What goes wrong, and a record of all ``calls``.

    ``pause`` is run before each call with its name: a test gives a barrier or a counter there, a demonstration `time.sleep`.
    """

    def __init__(self, *, pause: Callable[[str], None] | None = None) -> None:
        self.calls: list[Call] = []
        self._pause = pause
        self._faults: list[_Fault] = []
        self._dead = False
        self._lock = threading.Lock()

    def fail(
        self, error: LabError, *, name: str | None = None, target: str | None = None, number: int | None = None, after: bool = False
    ) -> None:
        """Raise ``error`` at the calls that match: before their effect, or ``after`` it (the answer is lost)."""
        self._faults.append(_Fault(error, name, target, number, after))

    def die(self, *, name: str | None = None, target: str | None = None, number: int = 1, after: bool = False) -> None:
        """Raise Killed at the ``number``-th call that matches, before or ``after`` its effect, and at every later call."""
        self._faults.append(_Fault(Killed(), name, target, number, after))

    def clear(self) -> None:
        """Let nothing go wrong any more. The record stays; who is dead stays dead."""
        with self._lock:
            self._faults.clear()

    def names(self) -> list[str]:
        """The names of all calls so far, in order."""
        return [call.name for call in self.calls]

    @contextmanager
    def around(self, name: str, target: str) -> Iterator[None]:
        """Run a call's effect in the body, with what goes wrong before and after it."""
        if self._pause:
            self._pause(name)
        with self._lock:
            if self._dead:
                raise Killed
            call = Call(len(self.calls) + 1, name, target)
            self.calls.append(call)
            striking = [fault for fault in self._faults if fault.strikes(call)]
        self._strike(fault for fault in striking if not fault.after)
        yield
        if self._dead:
            raise Killed
        self._strike(fault for fault in striking if fault.after)

    def _strike(self, faults: Iterator[_Fault]) -> None:
        for fault in faults:
            if isinstance(fault.error, Killed):
                self._dead = True
            raise fault.error
