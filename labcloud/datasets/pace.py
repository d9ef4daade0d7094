"""How far a long copy has come, as a sentence now and then. Knows nothing of screens, and of what is copied."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from labcloud.model import format_bytes

Tell = Callable[[str], None]
EVERY: Final = 1.0
"""Seconds between two sentences."""

_MINUTE: Final = 60


def silent(_: str) -> None:
    """Tells nobody."""


class Pace:
    """Counts bytes of ``total`` (0: nobody knows) from several threads, and tells of them. ``doing`` begins each sentence."""

    def __init__(self, doing: str, total: int = 0, tell: Tell = silent, clock: Callable[[], float] = time.monotonic) -> None:
        self._doing = doing
        self._total = total
        self._tell = tell
        self._clock = clock
        self._began = self._told = clock()
        self._done = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """``count`` bytes more are done."""
        self.reach(self._done + count, relative=count)

    def reach(self, done: int, total: int | None = None, *, relative: int | None = None) -> None:
        """``done`` bytes are done in all, of ``total`` if that is known now."""
        with self._lock:
            self._done = done if relative is None else self._done + relative
            self._total = self._total if total is None else total
            now = self._clock()
            if now - self._told < EVERY:
                return
            self._told = now
            text = self._sentence(now - self._began)
        self._tell(text)

    def _sentence(self, seconds: float) -> str:
        speed = self._done / seconds if seconds > 0 else 0.0
        said = [f"{format_bytes(self._done)}" + (f" of {format_bytes(self._total)}" if self._total else "")]
        if speed:
            said.append(f"{format_bytes(round(speed))}/s")
            if self._total:
                said.append(f"{_length(max(0, self._total - self._done) / speed)} left")
        return f"{self._doing}: {', '.join(said)}"


def _length(seconds: float) -> str:
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    minutes, rest = divmod(whole, _MINUTE)
    return f"{minutes} min {rest} s" if minutes < _MINUTE else f"{minutes // _MINUTE} h {minutes % _MINUTE} min"
