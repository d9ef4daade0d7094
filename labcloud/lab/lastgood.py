"""A file that somebody broke does not stop the lab: what it last said well stays in force, and the fault is told.

Knows nothing of what files say: whoever asks brings the reader.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from labcloud.errors import ConfigError, ConflictError, EngineError, LabError
from labcloud.lab.conflicts import first_marker
from labcloud.lab.history import SHORT, History
from labcloud.lab.sources import Source

Value = TypeVar("Value")

_AT_ONCE: Final = 16
_CONFLICT: Final = "a merge conflict is not resolved here"


@dataclass(frozen=True, order=True)
class Broken:
    """A file that cannot be read: ``problem`` stands on ``line`` (from 1), and what it said at the revision ``good`` is in force."""

    path: str
    line: int
    problem: str
    good: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.problem}; what it said at {self.good[:SHORT]} stays in force"


class LastGood:
    """What files of ``source`` said before they were broken, out of ``history``. Threads may ask at once."""

    def __init__(self, history: History, source: Source) -> None:
        self._history = history
        self._source = source
        self._lock = threading.Lock()
        self._broken: dict[str, Broken] = {}
        self._texts: dict[tuple[str, int], tuple[str, str]] = {}

    @property
    def broken(self) -> list[Broken]:
        """The files that were found broken, by path."""
        with self._lock:
            return sorted(self._broken.values())

    def sound(self, path: str) -> None:
        """Note that a file reads well."""
        if self._broken:
            with self._lock:
                self._broken.pop(path, None)

    def value(self, path: str, read: Callable[[str, Path], Value], exc: ConfigError) -> Value:
        """What ``read`` makes of a file's newest text that it can read, now that the file gave ``exc``. Raise that if there is none."""
        line, problem = self._fault(path, exc)
        known = self._key(path)
        with self._lock:
            found = self._texts.get(known)
        for revision, text in [found] if found else self._past(path):
            with suppress(ConfigError):
                value = read(text, Path(f"{revision[:SHORT]}:{path}"))
                with self._lock:
                    self._texts[known] = (revision, text)
                    self._broken[path] = Broken(path, line, problem, revision)
                return value
        raise self._named(path, exc)

    def refusal(self, path: str, exc: ConfigError) -> LabError:
        """The error for who wants to change a file that is broken, as ``exc`` says."""
        named = self._named(path, exc)
        return type(named)(
            named.brief,
            details="nothing was changed, so that what somebody wrote there is not lost",
            resolution=f"correct it: labcloud config edit {path}; or take the last good one back: labcloud config rollback --file {path}",
        )

    def _named(self, path: str, exc: ConfigError) -> LabError:
        line, problem = self._fault(path, exc)
        if problem != _CONFLICT:
            return exc
        return ConflictError(
            f"{self._source.where(path)}:{line}: {problem}",
            resolution=f"choose between the marks <<<<<<< and >>>>>>> and remove them: labcloud config edit {path}",
        )

    def _fault(self, path: str, exc: ConfigError) -> tuple[int, str]:
        with suppress(ConfigError):
            marker = first_marker(self._source.text(path) or "")
            if marker:
                return marker, _CONFLICT
        said = exc.brief.removeprefix(f"{self._source.where(path)}:")
        number, _, problem = said.partition(": ")
        return (int(number), problem) if number.isdigit() else (1, said)

    def _past(self, path: str) -> Iterator[tuple[str, str]]:
        """What a file said, newest first, with the revisions."""
        try:
            revisions = self._history.revisions(path) if self._history.head() else []
            for start in range(0, len(revisions), _AT_ONCE):
                names = {f"{each}:{path}": each for each in revisions[start : start + _AT_ONCE]}
                for name, data in self._history.blobs(names).items():
                    with suppress(UnicodeDecodeError):
                        yield names[name], data.decode()
        except EngineError:  # without git there is no past, and the file's own fault is the one to tell
            return

    def _key(self, path: str) -> tuple[str, int]:
        try:
            return path, self._source.where(path).stat().st_mtime_ns
        except OSError:
            return path, 0
