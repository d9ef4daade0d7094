"""Who edits which file, or folder, of the lab repository since when: HOME/locks/edit/ has a small JSON file for each.

A lock keeps people from changing the same by hand at once. One that is held for an editor ends with its process, however that ends; one
that a person took ends when they say so, or at its time. It keeps nobody from `create`, `scale` and the like. Knows nothing of git.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote

from labcloud.errors import ConflictError, NotFoundError
from labcloud.lab import files, places
from labcloud.lab.git import Author
from labcloud.lab.locks import lab_lock
from labcloud.lab.processes import lives, ticks
from labcloud.model.periods import stamp

_SUFFIX: Final = ".json"
_TEXTS: Final = ("path", "author", "mail", "host", "since", "reason")


@dataclass(frozen=True, order=True)
class EditLock:
    """``path`` (a file, or a folder with a slash) is edited by ``author`` since ``since`` (UTC).

    ``pid`` is the process that edits, with the ticks at which it began; 0 for a lock that a person holds, up to ``until`` if that is set.
    ``reason`` says why it was taken.
    """

    path: str
    author: str
    mail: str
    since: datetime
    host: str = field(default_factory=socket.gethostname)
    pid: int = 0
    began: int = 0
    until: datetime | None = None
    reason: str = ""

    def __str__(self) -> str:
        until = f" until {stamp(self.until)}" if self.until else ""
        process = f", process {self.pid} on {self.host}" if self.pid else ""
        return f"{self.author} <{self.mail}> has {self.path} since {stamp(self.since)}{until}{process}"

    def stale(self, now: datetime) -> bool:
        """Whether it is over, though nobody said so: its process has died, or its time has come."""
        return not lives(self.host, self.pid, self.began) if self.pid else self.until is not None and self.until <= now

    def overlaps(self, path: str) -> bool:
        return places.covers(self.path, path) or places.covers(path, self.path)


@dataclass(frozen=True)
class Taken:
    """A lock that was taken, and those that were in its way: ``stale`` ones, and what was ``stolen``."""

    lock: EditLock
    stale: tuple[EditLock, ...] = ()
    stolen: tuple[EditLock, ...] = ()


class EditLocks:
    """The edit locks of the lab at ``home``, for the person ``who``."""

    def __init__(self, home: Path, who: Author) -> None:
        self._home = home
        self._folder = home / "locks" / "edit"
        self._who = who

    def listed(self) -> list[EditLock]:
        """Those that are held, by path."""
        now = datetime.now(UTC)
        return sorted(each for each in self._all() if not each.stale(now))

    def take(self, path: str, *, until: datetime | None = None, editing: bool = False, reason: str = "", steal: bool = False) -> Taken:
        """Lock ``path``: for as long as this process lives if it is ``editing``, else until somebody unlocks it, or ``until``.

        Taking one's own again renews it, unless an editor of one's own has it. Raise ConflictError, naming who holds it, or something
        in it, since when; ``steal`` takes it all the same.
        """
        now = datetime.now(UTC).replace(microsecond=0)
        until = until and until.replace(microsecond=0)
        wanted = EditLock(path, self._who.name, self._who.mail, now, until=until, reason=reason)
        if editing:
            wanted = replace(wanted, pid=os.getpid(), began=ticks(os.getpid()))
        with lab_lock(self._home), files.disk_errors(f"lock {path}"):
            there = [each for each in self._all() if each.overlaps(path)]
            stale = tuple(each for each in there if each.stale(now))
            others = tuple(each for each in there if each not in stale and self._hinders(each))
            if others and not steal:
                raise self._busy(path, others)
            for each in (*stale, *others):
                self._file(each).unlink(missing_ok=True)
            self._write(wanted)
        return Taken(wanted, stale, others)

    def release(self, lock: EditLock) -> None:
        """Let go of a lock, if it is still this one: it may have been stolen."""
        with lab_lock(self._home), files.disk_errors(f"unlock {lock.path}"):
            if self._read(self._file(lock)) == lock:
                self._file(lock).unlink(missing_ok=True)

    def check_held(self, lock: EditLock) -> None:
        """Raise ConflictError, naming the thief, if the lock is no longer held."""
        if self._read(self._file(lock)) != lock:
            thieves = [each for each in self.listed() if each.overlaps(lock.path)]
            reason = f" ({thieves[0].reason})" if thieves and thieves[0].reason else ""
            raise ConflictError(
                f"somebody has taken {lock.path} from you meanwhile: {thieves[0] if thieves else 'and has let go of it since'}{reason}",
                resolution="ask them, then do it anew",
            )

    def unlock(self, path: str) -> EditLock:
        """Let go of a lock that the person holds. Raise NotFoundError if nobody has it, ConflictError if somebody else has."""
        with lab_lock(self._home), files.disk_errors(f"unlock {path}"):
            now = datetime.now(UTC)
            held = [each for each in self._all() if each.path == path and not each.stale(now)]
            own = next((each for each in held if each.mail == self._who.mail and not each.pid), None)
            if own is None and held:
                raise self._busy(path, held)
            if own is None:
                raise NotFoundError(f"nobody has locked {path}", resolution="'labcloud config locks' lists what is locked")
            self._file(own).unlink(missing_ok=True)
        return own

    def check_free(self, paths: Iterable[str]) -> None:
        """Raise ConflictError, naming who, if somebody else edits one of ``paths``."""
        held = self.listed()
        for path in paths:
            others = tuple(each for each in held if each.mail != self._who.mail and each.overlaps(path))
            if others:
                raise self._busy(path, others)

    # Inside

    def _hinders(self, lock: EditLock) -> bool:
        """Another's lock does, and an editor of one's own."""
        return lock.mail != self._who.mail or (lock.pid != 0 and lock.pid != os.getpid())

    def _busy(self, path: str, others: Sequence[EditLock]) -> ConflictError:
        return ConflictError(
            f"{path} is locked: {'; '.join(map(str, others))}",
            details="\n".join(each.reason for each in others if each.reason),
            resolution="ask them; if it cannot wait: labcloud config edit or lock, with --steal REASON, takes it from them",
        )

    def _all(self) -> list[EditLock]:
        with files.disk_errors(f"read {self._folder}"):
            found = [self._read(path) for path in self._folder.glob(f"*{_SUFFIX}")]
        return sorted(each for each in found if each)

    def _file(self, lock: EditLock) -> Path:
        # Who edits what they have locked for longer has both locks.
        return self._folder / f"{quote(lock.path, safe='')}.{'editing' if lock.pid else 'held'}{_SUFFIX}"

    def _write(self, lock: EditLock) -> None:
        files.make_private(self._folder)
        facts = {key: stamp(value) if isinstance(value, datetime) else value for key, value in asdict(lock).items()}
        path = self._file(lock)
        files.replace(path, json.dumps(facts) + "\n", scratch=path.with_name(f".{path.name}.new"))

    def _read(self, path: Path) -> EditLock | None:
        """The lock that a file describes; None if it is gone, or is none: nobody can say whose it was."""
        try:
            facts = json.loads(path.read_bytes())
            texts = {key: str(facts[key]) for key in _TEXTS}
            since, until = datetime.fromisoformat(texts.pop("since")), facts.get("until")
            lock = EditLock(**texts, since=since, pid=int(facts["pid"]), began=int(facts["began"]))  # type: ignore[arg-type]
            return replace(lock, until=datetime.fromisoformat(until) if until else None)
        except (OSError, ValueError, KeyError, TypeError):
            return None
