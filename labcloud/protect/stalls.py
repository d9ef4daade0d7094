"""Sees that a program does nothing any more. restic 0.14 can wait for itself for ever when an upload fails at the end of a backup, with a
progress line twice a second: of the archiver's last pack, whose uploader has ended with its error. So what it does is looked at, not what
it says.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_BYTES_A_SECOND: Final = 1024
_CPU_SHARE: Final = 0.05
_EVERY: Final = 1.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Work:
    """What a process has done so far: bytes read and written, to files, pipes and sockets, and seconds of processor time."""

    bytes: int
    cpu: float


def work(pid: int) -> Work | None:
    """What the process has done; None if that cannot be read."""
    with suppress(OSError, ValueError, IndexError):
        counts = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines())
        times = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return Work(int(counts["rchar"]) + int(counts["wchar"]), (int(times[11]) + int(times[12])) / _TICKS)
    return None


@dataclass
class Idleness:
    """For how long a process has done next to nothing: less than 1 kB a second, and 5 % of a processor."""

    look: Callable[[int], Work | None] = work
    clock: Callable[[], float] = time.monotonic
    _seen: deque[tuple[float, Work]] = field(default_factory=deque)

    def seconds(self, pid: int) -> float:
        """Seconds of idleness until now, at most those since the first call; looks once a second."""
        now = self.clock()
        if not self._seen or now - self._seen[-1][0] >= _EVERY:
            done = self.look(pid)
            if done is None:
                self._seen.clear()
                return 0.0
            if self._seen and not _idle(self._seen[-1], (now, done)):
                self._seen.clear()
            self._seen.append((now, done))
            if len(self._seen) > 2:  # the first and the last say all
                del self._seen[1]
        return self._seen[-1][0] - self._seen[0][0]


def _idle(before: tuple[float, Work], after: tuple[float, Work]) -> bool:
    seconds = after[0] - before[0]
    return after[1].bytes - before[1].bytes < _BYTES_A_SECOND * seconds and after[1].cpu - before[1].cpu < max(
        _CPU_SHARE * seconds, 2 / _TICKS
    )
