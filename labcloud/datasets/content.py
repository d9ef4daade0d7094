"""Writes the content of a new version into a staging folder: each file copied and summed at once, what is stored already linked to.

Files get their names only when they are whole, so that nothing that exists is ever opened for writing: it may be another version's, too.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Final

from labcloud.datasets.manifest import Entry, Manifest
from labcloud.datasets.pace import Pace
from labcloud.datasets.sources import Item
from labcloud.errors import EngineError, UsageError
from labcloud.lab.files import disk_errors
from labcloud.model import format_bytes

_CHUNK: Final = 1 << 20
_KEEP_FREE: Final = 0.02
"""The share of the disk that stays free: below it YARN calls the nodes on it unhealthy, as the check disk.space does."""


class Content:
    """What will be a version, below ``folder``. ``stored`` are files that can be linked to, by their sum; ``check`` is called between
    chunks, and ends it by raising."""

    def __init__(self, folder: Path, stored: Mapping[str, Path], pace: Pace, check: Callable[[], None] = lambda: None) -> None:
        self._folder = folder
        self._stored = dict(stored)
        self._pace = pace
        self._check = check
        self._entries: dict[str, Entry] = {}
        self._links: dict[str, str] = {}
        folder.mkdir(mode=0o700)
        self._fresh = folder.with_name("fresh")

    def add(self, item: Item) -> None:
        """Raise EngineError if there is no room for it, or the disk refuses."""
        with disk_errors(f"import {item.path}"):
            if item.leads:
                self._links[item.path] = item.leads
            elif item.read is None:
                self._make(item.path)
            else:
                check_room(self._folder, item.size)
                with item.read() as source:
                    entry = self._copied(item.path, source)
                self._place(entry)

    def take(self, path: Path, name: str) -> None:
        """Take a file that is on the store's file system already: it is not copied, and gone from where it was."""
        with disk_errors(f"import {name}"), path.open("rb") as file:
            total, size = hashlib.sha256(), 0
            while chunk := self._read(file):
                total.update(chunk)
                size += len(chunk)
            path.rename(self._fresh)
            self._fresh.chmod(0o444)
            self._place(Entry(name, size, total.hexdigest()))

    def finish(self) -> Manifest:
        """The manifest, when everything was added; nothing in it can be written to from now on."""
        with disk_errors("import the links"):
            self._follow()
        empty = []
        for folder, names, files in os.walk(self._folder, topdown=False):
            path = Path(folder)
            path.chmod(0o555)
            if not names and not files and path != self._folder:
                empty.append(str(path.relative_to(self._folder)))
        if not self._entries:
            raise UsageError("there is no file in it", resolution="a dataset has at least one file")
        return Manifest(tuple(sorted(self._entries.values())), tuple(sorted(empty)))

    def _copied(self, name: str, source: IO[bytes]) -> Entry:
        total, size = hashlib.sha256(), 0
        self._fresh.unlink(missing_ok=True)
        with self._fresh.open("xb") as target:
            os.fchmod(target.fileno(), 0o444)
            while chunk := self._read(source):
                total.update(chunk)
                target.write(chunk)
                size += len(chunk)
        return Entry(name, size, total.hexdigest())

    def _read(self, source: IO[bytes]) -> bytes:
        self._check()
        chunk = source.read(_CHUNK)
        self._pace.add(len(chunk))
        return chunk

    def _place(self, entry: Entry) -> None:
        """Give the fresh file its name, or to what has the same content; an archive may say a name twice, and its last word counts."""
        path = self._folder / entry.path
        if path.is_dir() and not path.is_symlink():
            raise UsageError(f"{entry.path} is both a file and a folder", resolution="correct the archive")
        self._make(os.path.dirname(entry.path))  # noqa: PTH120 - paths inside are texts
        self._forget(path, self._entries.get(entry.path))
        there = self._stored.get(entry.sha256)
        if not (there and entry.size and _linked(there, path, entry.size)):
            self._fresh.rename(path)
            self._stored[entry.sha256] = path
        self._entries[entry.path] = entry
        self._links.pop(entry.path, None)

    def _forget(self, path: Path, before: Entry | None) -> None:
        """Take away what had the name before, so that nothing is linked to it for a content that it has no more."""
        path.unlink(missing_ok=True)
        if before and self._stored.get(before.sha256) == path:
            del self._stored[before.sha256]

    def _make(self, folder: str) -> None:
        try:
            (self._folder / folder).mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as exc:
            raise UsageError(f"a part of {folder} is both a file and a folder", resolution="correct the archive") from exc

    def _follow(self) -> None:
        """Make links the files that they lead to, through other links as well."""
        for path in list(self._links):
            seen, target = {path}, self._links[path]
            while target in self._links and target not in seen:
                seen.add(target)
                target = self._links[target]
            if target not in self._entries:
                raise UsageError(
                    f"{path} is a link that leads to no file inside: {self._links[path]}", resolution="put a file in its place"
                )
            with (self._folder / target).open("rb") as source:
                self._place(self._copied(path, source))


def check_room(folder: Path, need: int) -> None:
    """Raise EngineError if ``need`` bytes more would fill the file system of ``folder``."""
    facts = os.statvfs(folder)
    free, keep = facts.f_bavail * facts.f_frsize, round(facts.f_blocks * facts.f_frsize * _KEEP_FREE)
    if need > free - keep:
        raise EngineError(
            f"there is no room in {folder.parent}: {format_bytes(need)} are needed, {format_bytes(max(0, free - keep))} may be taken",
            details=f"{format_bytes(free)} are free, of which {format_bytes(keep)} stay so",
            resolution="remove a dataset that nobody uses (labcloud dataset list), or choose another --storage",
        )


def _linked(there: Path, path: Path, size: int) -> bool:
    """Whether ``path`` could be made the same file as ``there``, which may be damaged or have all the links that its file system allows."""
    try:
        if there.lstat().st_size != size:
            return False
        os.link(there, path)
    except OSError as exc:
        if exc.errno in (errno.ENOENT, errno.EMLINK, errno.EXDEV, errno.EPERM):
            return False
        raise
    return True
