"""Trees of files, taken while they change: what never changes gets a second name, the rest is copied while all stands still.

Knows nothing of clusters: a `Mirror` is told by patterns which file is of which kind. Hard links cost neither time nor room, but both names
are one file; a reflink (btrfs, XFS) shares the bytes only until one of the two is written.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import translate
from pathlib import Path
from typing import Final

from labcloud.profiles.model import Way

FICLONE: Final = 0x40049409  # linux/fs.h
_NO_REFLINK: Final = {errno.EOPNOTSUPP, errno.EXDEV, errno.ENOTTY, errno.EINVAL, errno.ENOSYS, errno.EPERM}
_MOMENT: Final = 50_000_000  # ns; a folder that changed just before it was read may have changed just after it, with the same time
_CHUNK: Final = 8 << 20


class Rules:
    """Which file of a volume comes into a snapshot how: ``files`` are patterns and ways, the first that fits counts."""

    def __init__(self, files: Iterable[tuple[str, Way]]) -> None:
        self._ways = [(re.compile(translate(pattern)).match, way) for pattern, way in files]
        self.roots = _roots(pattern for pattern, _ in files)

    def way(self, path: str) -> Way | None:
        """How ``path``, relative to its volume, comes into a snapshot; None for not at all."""
        return next((way for fits, way in self._ways if fits(path)), None)


def _roots(patterns: Iterable[str]) -> tuple[str, ...]:
    """The folders that everything which fits lies in: the patterns' beginnings without wildcards, those within others left out."""
    fixed = {"/".join(_fixed(pattern.split("/")[:-1])) for pattern in patterns}
    return tuple(sorted(each for each in fixed if not any(each != other and each.startswith(f"{other}/".lstrip("/")) for other in fixed)))


def _fixed(parts: Iterable[str]) -> Iterator[str]:
    for part in parts:
        if any(sign in part for sign in "*?["):
            return
        yield part


@dataclass
class _Folder:
    """What was seen of a folder: when it changed last, whether that tells of everything, its files by way, its folders."""

    changed: int
    sure: bool
    links: dict[str, int] = field(default_factory=dict)  # names → inodes
    loose: dict[str, Way] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)


class Mirror:
    """One volume and the folder that shall hold its snapshot. `link` while all runs, `settle` while nothing changes, `finish` after it.

    `settle` takes as long as there are folders and changes since `link`, however much data there is. All raise OSError.
    """

    def __init__(self, source: Path, target: Path, rules: Rules) -> None:
        self._source, self._target, self._rules = source, target, rules
        self._seen: dict[str, _Folder] = {}
        self._grown: dict[str, int] = {}

    def link(self) -> None:
        """Give everything that never changes its second name."""
        for root in self._rules.roots:
            self._make_parents(root)
            self._scan(root)

    def settle(self) -> None:
        """Make the copy what the source is at this moment."""
        self._grown.clear()
        for root in self._rules.roots:
            self._compare(root)
        self._take_loose()

    def finish(self) -> None:
        """Cut off what has been written since `settle` to files that only grow: they become files of their own."""
        for path, length in self._grown.items():
            target = self._target / path
            if target.stat().st_nlink > 1:
                new = target.with_name(f".{target.name}.new")
                _copy(target, new, length)
                new.replace(target)
            elif target.stat().st_size > length:
                os.truncate(target, length)

    def _make_parents(self, root: str) -> None:
        for parent in reversed(Path(root).parents):
            if (self._source / parent).is_dir():
                _like(self._source / parent, self._target / parent)

    def _scan(self, path: str) -> None:
        """Read a folder anew, and bring its links and those of what is in it up to date."""
        before = self._seen.pop(path, None) or _Folder(0, sure=False)
        try:
            here = self._read(path)
        except FileNotFoundError:
            self._drop(path)
            return
        self._seen[path] = here
        _like(self._source / path, self._target / path)
        for name in before.links.keys() - here.links.keys() | before.loose.keys() - here.loose.keys():
            (self._target / path / name).unlink(missing_ok=True)
        for gone in set(before.folders) - set(here.folders):
            self._drop(gone)
        for name, inode in here.links.items():
            if before.links.get(name) != inode:
                _link(self._source / path / name, self._target / path / name)
        for folder in here.folders:
            self._compare(folder)

    def _read(self, path: str) -> _Folder:
        began = time.time_ns()
        changed = (self._source / path).stat().st_mtime_ns
        here = _Folder(changed, sure=began - changed > _MOMENT)
        with os.scandir(self._source / path) as entries:
            for entry in entries:
                inside = f"{path}/{entry.name}" if path else entry.name
                if entry.is_dir(follow_symlinks=False):
                    here.folders.append(inside)
                elif entry.is_file(follow_symlinks=False) and (way := self._rules.way(inside)):
                    if way is Way.LINK:
                        here.links[entry.name] = entry.inode()
                    else:
                        here.loose[entry.name] = way
        return here

    def _compare(self, path: str) -> None:
        """Bring the links of a folder up to date, reading only what has changed since it was read."""
        seen = self._seen.get(path)
        if seen is None or not seen.sure or not self._unchanged(path, seen):
            self._scan(path)
        else:
            for folder in seen.folders:
                self._compare(folder)

    def _take_loose(self) -> None:
        """Copy all that is written in place."""
        for folder, seen in self._seen.items():
            for name, way in seen.loose.items():
                inside = f"{folder}/{name}" if folder else name
                source, target = self._source / inside, self._target / inside
                if way is Way.GROW:
                    self._grown[inside] = source.stat().st_size
                    _link(source, target)
                else:
                    target.unlink(missing_ok=True)
                    _copy(source, target)

    def _unchanged(self, path: str, seen: _Folder) -> bool:
        try:
            return (self._source / path).stat().st_mtime_ns == seen.changed
        except FileNotFoundError:
            return False

    def _drop(self, path: str) -> None:
        for each in [each for each in self._seen if each == path or each.startswith(f"{path}/")]:
            del self._seen[each]
        shutil.rmtree(self._target / path, ignore_errors=True)


def clone(source: Path, target: Path, shared: Callable[[str], bool], wanted: Callable[[str], bool] = lambda _: True) -> int:
    """Make ``target``, which is not there or empty, a copy of the tree ``source``; return how many bytes of its own it has.

    Bytes are shared by reflinks where the file system can; else files for which ``shared`` (of the relative path) holds are the same
    files by hard links, because nobody writes to them. Files and folders for which ``wanted`` does not hold are left out.
    """
    own, reflinks = 0, True
    for folder, names, files in os.walk(source):
        place = os.path.relpath(folder, source)
        inside = "" if place == "." else f"{place}/"
        names[:] = [name for name in names if wanted(inside + name)]
        _like(Path(folder), target / place)
        for name in files:
            path = inside + name
            if not wanted(path):
                continue
            if reflinks and _reflink(source / path, target / path):
                continue
            reflinks = False
            if shared(path):
                own += _link(source / path, target / path)
            else:
                own += _copy(source / path, target / path)
    return own


def _like(source: Path, target: Path) -> None:
    """A folder with the owner and mode of another."""
    with suppress(FileNotFoundError):  # it has just been removed
        there = source.stat()
        with suppress(FileExistsError):
            target.mkdir()
        os.chown(target, there.st_uid, there.st_gid)
        target.chmod(there.st_mode & 0o7777)


def _link(source: Path, target: Path) -> int:
    """A second name for a file, or a copy where there can be none; returns how many bytes that took. What is gone is passed over."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except FileNotFoundError:
        return 0
    except OSError as exc:
        if exc.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM):
            raise
        return _copy(source, target)
    return 0


def _copy(source: Path, target: Path, length: int | None = None) -> int:
    """A copy with owner, mode and times; of the first ``length`` bytes, where that is given. Returns how many bytes it has."""
    if length is None and _reflink(source, target):
        return 0
    with source.open("rb") as reading, target.open("wb") as writing:
        left = os.fstat(reading.fileno()).st_size if length is None else length
        copied = 0
        while copied < left:
            count = os.copy_file_range(reading.fileno(), writing.fileno(), min(_CHUNK, left - copied))
            if not count:
                break
            copied += count
    _dress(source, target)
    return copied


def _reflink(source: Path, target: Path) -> bool:
    """Share all bytes of a file with a new one; False if the file system cannot."""
    with source.open("rb") as reading, target.open("wb") as writing:
        try:
            fcntl.ioctl(writing.fileno(), FICLONE, reading.fileno())
        except OSError as exc:
            if exc.errno not in _NO_REFLINK:
                raise
            target.unlink()
            return False
    _dress(source, target)
    return True


def _dress(source: Path, target: Path) -> None:
    there = source.stat()
    os.chown(target, there.st_uid, there.st_gid)
    shutil.copystat(source, target)
