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
from typing import BinaryIO, Final

from labcloud.model.ways import Way

FICLONE: Final = 0x40049409  # linux/fs.h
_NO_REFLINK: Final = {errno.EOPNOTSUPP, errno.EXDEV, errno.ENOTTY, errno.EINVAL, errno.ENOSYS, errno.EPERM}
_NO_COPY_RANGE: Final = {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOSYS}  # as between two kinds of file systems
_NO_LINK: Final = {errno.EXDEV, errno.EMLINK, errno.EPERM}
_MOMENT: Final = 50_000_000  # ns; a folder that changed just before it was read may have changed just after it, with the same time
_CHUNK: Final = 8 << 20


class Rules:
    """Which file of a volume comes into a snapshot how: ``files`` are patterns and ways, the first that fits counts."""

    def __init__(self, files: Iterable[tuple[str, Way]]) -> None:
        self.files = tuple(files)
        self._ways = [(re.compile(translate(pattern)).match, way) for pattern, way in self.files]
        self.roots = _roots(pattern for pattern, _ in self.files)

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
    """What was seen of a folder: which it is and when it changed last, whether that tells of everything, its files by way, its folders.

    ``links`` are names, and what each file is told by: its inode; of one that had to be copied also when it changed, and its size.
    """

    stamp: tuple[int, ...] = ()
    sure: bool = False
    links: dict[str, tuple[int, ...]] = field(default_factory=dict)
    loose: dict[str, Way] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)


class Mirror:
    """One volume and the folder that shall hold its snapshot. `link` while all runs, `settle` while nothing changes, `finish` after it.

    `settle` takes as long as there are folders and changes since `link`, however much data there is. All raise OSError. What is neither
    a file nor a folder is left out.
    """

    def __init__(self, source: Path, target: Path, rules: Rules) -> None:
        self.source, self.target, self._rules = source, target, rules
        self._seen: dict[str, _Folder] = {}
        self._grown: dict[str, int] = {}
        self.vanished: list[str] = []
        """What went away while `settle` copied it: then something did change."""

    def link(self) -> None:
        """Give everything that never changes its second name."""
        for root in self._rules.roots:
            self._make_parents(root)
            self._scan(root)

    def settle(self) -> None:
        """Make the copy what the source is at this moment."""
        self._grown.clear()
        self.vanished.clear()
        for root in self._rules.roots:
            if root not in self._seen:
                self._make_parents(root)
            self._compare(root)
        self._take_loose()

    def finish(self) -> None:
        """Cut off what has been written since `settle` to files that only grow: they become files of their own."""
        for path, length in self._grown.items():
            target = self.target / path
            if target.stat().st_nlink > 1:
                new = target.with_name(f".{target.name}.new")
                _copy(target, new, length)
                new.replace(target)
            elif target.stat().st_size > length:
                os.truncate(target, length)

    def distrust(self) -> None:
        """Give all in the source that is written in place a time of long ago: who compares times will read it, and find what was written
        in the same moment as when it was read before."""
        for folder, _, names in os.walk(self.source):
            inside = os.path.relpath(folder, self.source)
            for name in names:
                path = name if inside == "." else f"{inside}/{name}"
                if self._rules.way(path) in (Way.COPY, Way.GROW):
                    os.utime(self.source / path, (0, 0))

    def _make_parents(self, root: str) -> None:
        for parent in reversed(Path(root).parents):
            if (self.source / parent).is_dir():
                _like((self.source / parent).stat(), self.target / parent)

    def _scan(self, path: str) -> None:
        """Read a folder anew, and bring its links and those of what is in it up to date."""
        before = self._seen.pop(path, None) or _Folder()
        try:
            here, there = self._read(path), (self.source / path).stat()
        except (FileNotFoundError, NotADirectoryError):
            self._drop(path)
            return
        self._seen[path] = here
        _like(there, self.target / path)
        for name in before.links.keys() - here.links.keys() | before.loose.keys() - here.loose.keys():
            (self.target / path / name).unlink(missing_ok=True)
        for gone in set(before.folders) - set(here.folders):
            self._drop(gone)
        for name, told in here.links.items():
            here.links[name] = self._take_link(Path(path, name), told, before.links.get(name, ()))
        for folder in here.folders:
            self._compare(folder)

    def _read(self, path: str) -> _Folder:
        began = time.time_ns()
        stamp = _stamp(self.source / path)
        here = _Folder(stamp, sure=began - max(stamp[1:]) > _MOMENT)
        with os.scandir(self.source / path) as entries:
            for entry in entries:
                inside = f"{path}/{entry.name}" if path else entry.name
                if entry.is_dir(follow_symlinks=False):
                    here.folders.append(inside)
                elif entry.is_file(follow_symlinks=False) and (way := self._rules.way(inside)):
                    if way is Way.LINK:
                        here.links[entry.name] = (entry.inode(),)
                    else:
                        here.loose[entry.name] = way
        return here

    def _take_link(self, path: Path, told: tuple[int, ...], before: tuple[int, ...]) -> tuple[int, ...]:
        """Take a file that never changes, unless that was done before. Returns what it is told by: nothing if it is gone.

        One that is gone may come back as it was: HDFS moves a block away to append to it, and back. A copy has to be made again then.
        """
        source, target = self.source / path, self.target / path
        if told == before:
            return before
        try:
            copied = _told(source)
            if copied == before:
                return before
            if _link(source, target):
                return told
            _copy(source, target)
        except FileNotFoundError:
            target.unlink(missing_ok=True)
            if not target.parent.is_dir():
                raise
            return ()
        return copied

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
                try:
                    self._take(self.source / inside, self.target / inside, way)
                except FileNotFoundError:
                    self.vanished.append(inside)
                    (self.target / inside).unlink(missing_ok=True)

    def _take(self, source: Path, target: Path, way: Way) -> None:
        length = source.stat().st_size
        if way is not Way.GROW or not _link(source, target):
            target.unlink(missing_ok=True)
            _copy(source, target)
        if way is Way.GROW:
            self._grown[str(target.relative_to(self.target))] = length

    def _unchanged(self, path: str, seen: _Folder) -> bool:
        try:
            return _stamp(self.source / path) == seen.stamp
        except FileNotFoundError:
            return False

    def _drop(self, path: str) -> None:
        for each in [each for each in self._seen if each == path or each.startswith(f"{path}/")]:
            del self._seen[each]
        with suppress(FileNotFoundError):
            shutil.rmtree(self.target / path)


def clone(source: Path, target: Path, shared: Callable[[str], bool], wanted: Callable[[str], bool] = lambda _: True) -> int:
    """Make ``target``, which is not there or empty, a copy of the tree ``source``; return how many bytes of its own it has.

    Bytes are shared by reflinks where the file system can; else files for which ``shared`` (of the relative path) holds are the same
    files by hard links, because nobody writes to them. Files and folders for which ``wanted`` does not hold are left out.
    """
    own, reflinks = 0, True
    for folder, names, files in os.walk(source, onerror=_raise):
        place = os.path.relpath(folder, source)
        inside = "" if place == "." else f"{place}/"
        names[:] = [name for name in names if wanted(inside + name)]
        _like(Path(folder).stat(), target / place)
        for name in files:
            path = inside + name
            if not wanted(path):
                continue
            if reflinks and _reflink(source / path, target / path):
                continue
            reflinks = False
            if not shared(path) or not _link(source / path, target / path):
                own += _copy(source / path, target / path)
    return own


def measured(folders: Iterable[Path]) -> tuple[int, int]:
    """Bytes and number of the files below folders."""
    sizes = [path.lstat().st_size for folder in folders for path in folder.rglob("*") if path.is_file()]
    return sum(sizes), len(sizes)


def _raise(error: OSError) -> None:
    raise error


def _stamp(folder: Path) -> tuple[int, int, int]:
    """Which folder it is, and when its names and itself changed last. The times alone may be another's: their grain is milliseconds."""
    there = folder.stat()
    return there.st_ino, there.st_mtime_ns, there.st_ctime_ns


def _told(file: Path) -> tuple[int, int, int]:
    there = file.stat()
    return there.st_ino, there.st_mtime_ns, there.st_size


def _like(there: os.stat_result, target: Path) -> None:
    """A folder with the owner and mode of another."""
    with suppress(FileExistsError):
        target.mkdir()
    os.chown(target, there.st_uid, there.st_gid)
    target.chmod(there.st_mode & 0o7777)


def _link(source: Path, target: Path) -> bool:
    """Give a file a second name, in the place of what has it; False where there can be none."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError as exc:
        if exc.errno not in _NO_LINK:
            raise
        return False
    return True


def _copy(source: Path, target: Path, length: int | None = None) -> int:
    """A new file with bytes, owner, mode and times of another; of its first ``length`` bytes, where that is given.

    Returns how many bytes it has that it does not share. Raise FileExistsError rather than write to a file that may have other names.
    """
    if length is None and _reflink(source, target):
        return 0
    with source.open("rb") as reading, target.open("xb") as writing:
        left = os.fstat(reading.fileno()).st_size if length is None else length
        copied = 0
        while copied < left and (count := _pass_on(reading, writing, min(_CHUNK, left - copied))):
            copied += count
    _dress(source, target)
    return copied


def _pass_on(reading: BinaryIO, writing: BinaryIO, count: int) -> int:
    """Copy at most ``count`` bytes from where both files stand; returns how many, 0 at the end."""
    try:
        return os.copy_file_range(reading.fileno(), writing.fileno(), count)
    except OSError as exc:
        if exc.errno not in _NO_COPY_RANGE:
            raise
        return os.sendfile(writing.fileno(), reading.fileno(), None, count)


def _reflink(source: Path, target: Path) -> bool:
    """Share all bytes of a file with a new one; False if the file system cannot."""
    with source.open("rb") as reading, target.open("xb") as writing:
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
