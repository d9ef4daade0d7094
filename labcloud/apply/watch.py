"""How whoever waits is told what happens, can stop it, and does not wait for ever. Knows nothing of screens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from labcloud.errors import DeadlineError

_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 0.1


class Kind(StrEnum):
    """``PLANNED``: so many steps will be done. ``DONE``: one is. ``WAITING``: what the run waits for now."""

    PLANNED = "planned"
    DONE = "done"
    WAITING = "waiting"
    READY = "ready"


@dataclass(frozen=True)
class Event:
    """One piece of news about ``subject`` (a cluster). ``count`` is that of planned steps; ``seconds`` is how long it took."""

    subject: str
    kind: Kind
    text: str
    count: int = 0
    seconds: float = 0.0


class Watch:
    """Who is told, and whether to stop. One for all threads of a command."""

    def __init__(self, tell: Callable[[Event], None] = lambda _: None) -> None:
        self.tell = tell
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._waits = 0

    def stop(self) -> None:
        """Ask every wait and every run to end; they raise KeyboardInterrupt in their own thread."""
        self._stop.set()

    def check(self) -> None:
        if self._stop.is_set():
            raise KeyboardInterrupt

    def pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise KeyboardInterrupt

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count a wait while it lasts."""
        with self._lock:
            self._waits += 1
        try:
            yield
        finally:
            with self._lock:
                self._waits -= 1

    @property
    def longest_pause(self) -> float:
        """Seconds between two looks at the same thing: 0.1, and more where many are waited for, for each look costs what is looked at."""
        return _LONGEST_PAUSE * max(1.0, self._waits / 2)


class Deadline:
    """A limit for several waits together, in seconds from now."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        return max(0.0, self._end - time.monotonic())


def wait_until_nothing(missing: Callable[[], str], *, subject: str, watch: Watch, deadline: Deadline) -> None:
    """Call ``missing`` until it returns nothing: fast at first, then every 100 ms, or less often if much else is waited for as well.

    Each new answer is told as what is waited for. Raise DeadlineError with the last one at the deadline.
    """
    with watch.waiting():
        _wait(missing, subject, watch, deadline)


def _wait(missing: Callable[[], str], subject: str, watch: Watch, deadline: Deadline) -> None:
    pause, told = _FIRST_PAUSE, ""
    while what := missing():
        if what != told:
            told = what
            watch.tell(Event(subject, Kind.WAITING, what))
        if not deadline.left:
            raise DeadlineError(
                f"{subject} was not ready after {deadline.seconds:g} s: {what}",
                resolution=f"see 'labcloud show {subject}' and 'labcloud logs {subject}'; the same command with a longer --timeout goes on",
            )
        watch.pause(min(pause, deadline.left))
        pause = min(pause * 1.5, watch.longest_pause)
