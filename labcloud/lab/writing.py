"""How files of a lab repository are changed: under the lab's lock, after what was left uncommitted, each change one commit.

Whoever changes files knows what they should say; here is how that comes onto the disk and into the history, and what keeps it out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from labcloud.errors import ConfigError, LabError
from labcloud.lab import files, places, readers
from labcloud.lab.history import Commit, History
from labcloud.lab.lastgood import LastGood
from labcloud.lab.locks import lab_lock
from labcloud.lab.merging import merged
from labcloud.lab.sources import Revision, WorkTree
from labcloud.lab.unfinished import Unfinished

Texts = Mapping[str, str | None]
"""What files shall say, by their paths in the repository; None for one that shall not be there."""

_NOTHING: Final[Texts] = {}


class Writer:
    """Changes the repository of the lab at ``home``; ``begin``, given the lock's descriptor, makes it."""

    def __init__(self, home: Path, history: History, last_good: LastGood, begin: Callable[[int], None]) -> None:
        self._home = home
        self._history = history
        self._last_good = last_good
        self._begin = begin
        self._source = WorkTree(history.folder)
        self._unfinished = Unfinished(history.unfinished)

    @contextmanager
    def hold(self, reason: str, *, seen: Texts = _NOTHING, given_up: Collection[str] = ()) -> Iterator[int]:
        """Hold the lab for one change; gives the lock's descriptor. What was left uncommitted is committed first, if it reads well;
        a change that was killed while it wrote is taken back before.

        Who has ``seen`` what a broken file says may write over just that. What is ``given_up`` is committed as it is, broken or not.
        Raise ConflictError if a merge is not finished.
        """
        with lab_lock(self._home) as lock, files.disk_errors(f"change the lab repository {self._history.folder}"):
            if self._history.begun:
                self._take_back(lock)
                corrected = [path for path, text in seen.items() if not self._sound(path) and self._says(path, text)]

                def sound(path: str) -> bool:
                    return any(places.covers(each, path) for each in given_up) or self._sound(path)

                self._history.heal(reason, lock, sound=sound, left=corrected)
            else:
                self._begin(lock)
            yield lock

    def prepared(self, texts: Texts, base: str | Texts | None = None) -> dict[str, str | None]:
        """Those of ``texts`` that are not there already, merged with what is there now where ``base`` says what they began from.

        ``base`` is a revision, or the texts themselves; without it they are written as they are. Raise ConfigError for a text that
        cannot stand there, or a file that is broken now (unless ``base`` is just that), ConflictError if both changed the same lines.
        """
        before = self._at(base, texts) if isinstance(base, str) else base
        wanted = {}
        for path, text in texts.items():
            now = self.now(path, before)
            result = text if before is None else merged(self._history, path, (now, before.get(path), text))
            if result is not None:
                readers.check(path, result, Path(path))
            if result != now:
                wanted[path] = result
        return wanted

    def now(self, path: str, seen: Texts | None = None) -> str | None:
        """What a file says. Raise ConfigError, with the way out, if it is broken, and not just what was ``seen``."""
        places.file_path(path)
        try:
            text = self._source.text(path)
            if text is not None and not (seen and seen.get(path) == text):
                readers.check(path, text, self._source.where(path))
        except ConfigError as exc:
            raise self._last_good.refusal(path, exc) from exc
        return text

    def put(self, contents: Mapping[str, str | bytes | None], commit: Commit, lock: int) -> str:
        """Make files say, or not be, what ``contents`` has, as one commit: all of it, or nothing if it is interrupted.

        Returns the revision that is committed then.
        """
        head = self._history.head()
        if not contents:
            return head
        wanted = {path: content.encode() if isinstance(content, str) else content for path, content in contents.items()}
        self._unfinished.begin(head, {path: self._bytes(path) for path in wanted}, wanted)
        try:
            for path, content in wanted.items():
                self._place(path, content)
            self._history.commit([self._history.folder / path for path in wanted], commit, lock)
        except BaseException:
            with suppress(LabError, OSError):  # then whoever comes next does it
                self._take_back(lock)
            raise
        self._unfinished.end()
        return self._history.head()

    def mend(self) -> None:
        """Take back a change that was killed while it wrote; of one that is at work, wait for its end. Else this is one look at a file."""
        if self._unfinished.there:
            with lab_lock(self._home) as lock, files.disk_errors(f"mend the lab repository {self._history.folder}"):
                self._take_back(lock)

    def _take_back(self, lock: int) -> None:
        """Let files say again what they said before a change that was killed; not those that somebody changed since."""
        begun = self._unfinished.read()
        if begun is not None and self._history.head() == begun.head:
            for path in begun.written(self._bytes):
                self._place(path, begun.before[path])
            self._history.unstage(begun.before, lock)
        self._unfinished.end()

    def _place(self, path: str, content: bytes | None) -> None:
        where = self._history.folder / path
        if content is None:
            self._remove(where)
        else:
            self.write(where, content)

    def _bytes(self, path: str) -> bytes | None:
        try:
            return (self._history.folder / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, path: Path, content: str | bytes) -> None:
        """Make one file say ``content``; who holds the lab commits it. What nodes mount is readable to all, the rest to its owner."""
        base = self._history.folder / places.BASE
        if base not in path.parents:
            files.make_private(path.parent)
            files.replace(path, content, scratch=self._history.scratch)
            return
        for folder in reversed(path.parents):
            if base in (folder, *folder.parents) and not folder.is_dir():
                folder.mkdir()
                folder.chmod(0o755)
        executable = content[:2] in ("#!", b"#!") or (path.exists() and bool(path.stat().st_mode & 0o100))
        files.replace(path, content, mode=0o755 if executable else 0o644, scratch=self._history.scratch)

    def _remove(self, path: Path) -> None:
        """Remove a file, and the folders that hold nothing more."""
        path.unlink(missing_ok=True)
        kept = (self._history.folder, self._history.folder / places.BASE)
        with suppress(OSError):
            for folder in path.parents:
                if folder in kept:
                    break
                folder.rmdir()

    def _at(self, revision: str, paths: Iterable[str]) -> Texts:
        source = Revision(self._history, self._history.resolve(revision))
        return {path: source.text(path) for path in paths}

    def _sound(self, path: str) -> bool:
        if readers.reader(path) is None:
            return True
        try:
            text = self._source.text(path)
            if text is not None:
                readers.check(path, text, self._source.where(path))
        except ConfigError:
            return False
        return True

    def _says(self, path: str, text: str | None) -> bool:
        try:
            return self._source.text(path) == text
        except ConfigError:
            return False
