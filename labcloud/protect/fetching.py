"""Fetches volumes of a copy into folders. Knows nothing of clusters, and of HDFS only that replicas have the same path on each worker.

All volumes come by one run of restic, which reads and decrypts once what several of them have alike. Much is fetched in parts, each with
what lies at the same paths of all volumes; every volume has a note of the parts of it that are there, so that a restore which was broken
off fetches only the others.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from labcloud.errors import EngineError
from labcloud.lab.files import disk_errors
from labcloud.lab.files import replace as write
from labcloud.protect.answers import Entry
from labcloud.protect.manifest import NAME
from labcloud.protect.restic import Repository, Told

_NOTE: Final = ".labcloud-restored"
_NEW: Final = ".labcloud-part"
_WHOLE: Final = ""  # the path of a volume below itself
_MUCH: Final = 16 * 2**30  # bytes: a minute's work from a disk; beside it the seconds that a run takes to begin do not count
_WRITTEN_SECONDS: Final = 1.0
_NEVER: Final = 0  # seconds since 1970: the time of a folder that nothing was restored into
_UNREADABLE: Final = "\N{REPLACEMENT CHARACTER}"  # stands for what is no UTF-8, so that no pattern can be made of the name


@dataclass
class Part:
    """What is fetched together: paths below their volumes, by the volume's place in the copy. ``size`` in bytes, 0 if nobody knows."""

    size: int = 0
    paths: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Fetching:
    """Fetches from the copy ``copy``, which has ``size`` bytes. ``stage`` is a folder for what that takes; ``told`` makes what is told how
    far a part is out of the words for it."""

    repository: Repository
    copy: str
    size: int
    stage: Path
    told: Callable[[str], Told]

    def fetch(self, folders: Mapping[str, Path]) -> None:
        """Fill each of ``folders`` with what the copy has at its key. What is noted in them as fetched stays; all else goes."""
        volumes = {place: _Volume(place, folder) for place, folder in folders.items()}
        for volume in volumes.values():
            volume.prepare()
        parts = self._parts(list(volumes))
        for number, part in enumerate(parts, 1):
            left = {place: volumes[place].left(paths) for place, paths in part.paths.items()}
            words = "restored" if self.size <= _MUCH else f"of part {number} of {len(parts)} restored"
            self._fetch(Part(part.size, left), volumes, self.told(words))
        for volume in volumes.values():
            volume.settle()

    def _fetch(self, part: Part, volumes: Mapping[str, _Volume], told: Told) -> None:
        paths = {place: each for place, each in part.paths.items() if each}
        if not paths:
            return
        with _written_back():  # what is noted as fetched survives a power cut
            self.repository.restore(
                self.copy, {place: volumes[place].new for place in paths}, stage=self.stage,
                include=[f"{place}/{path}" for place, each in paths.items() for path in each], total=part.size, progress=told,
            )  # fmt: skip
        for place, each in paths.items():
            volumes[place].note(each)

    def _parts(self, places: list[str]) -> list[Part]:
        """All at once; or, where that is much, what `divide` makes of it."""
        if self.size > _MUCH:
            found = divide(self.repository.walk(self.copy), places, _MUCH)
            if found:
                return found
        return [Part(self.size, {place: [_WHOLE] for place in places})]


def divide(entries: Iterable[Entry], places: Iterable[str], most: int) -> list[Part]:
    """The volumes at ``places`` in parts of about ``most`` bytes, out of all that the copy has, parents first.

    What has the same path below several volumes comes into the same part, so that restic reads once what they have alike. A folder that
    has only files is never divided: restic compares each file with each pattern. Nothing if a name is none of which a pattern can be made.
    """
    found: dict[str, Part] = {}
    for path, size in _units(entries):
        _, *names = path.split("/", 3)
        place, below = "/".join(names[:2]), "".join(names[2:])
        if place in places:
            if _UNREADABLE in path:
                return []
            unit = found.setdefault(below, Part())
            unit.size += size
            unit.paths[place] = [below]
    parts: list[Part] = []
    for _, unit in sorted(found.items()):
        if not parts or parts[-1].size + unit.size > most:
            parts.append(Part())
        parts[-1].size += unit.size
        for place, paths in unit.paths.items():
            parts[-1].paths.setdefault(place, []).extend(paths)
    return parts


def _units(entries: Iterable[Entry]) -> Iterator[tuple[str, int]]:
    """Folders that have no folders, with the bytes in them, and what lies beside folders, file by file."""
    folder, files = "", list[tuple[str, int]]()
    for entry in entries:
        inside = str(PurePosixPath(entry.path).parent) == folder
        if entry.kind != "dir":
            if inside:
                files.append((entry.path, entry.size))
                continue
            yield entry.path, entry.size
        if inside:
            yield from files
        elif folder:
            yield folder, sum(size for _, size in files)
        folder, files = entry.path if entry.kind == "dir" else "", []
    if folder:
        yield folder, sum(size for _, size in files)


@contextmanager
def _written_back() -> Iterator[None]:
    """What is written meanwhile is on the disk at the end. The disk begins at once, so that little is left to wait for then."""
    ended = threading.Event()

    def write() -> None:
        while not ended.wait(_WRITTEN_SECONDS):
            os.sync()

    writing = threading.Thread(target=write, daemon=True)
    writing.start()
    try:
        yield
    finally:
        ended.set()
    writing.join()
    os.sync()


@dataclass(frozen=True)
class _Volume:
    """A folder that is to have what the copy has at ``place``: in ``new`` at first, and where it belongs when it is whole."""

    place: str
    folder: Path

    @property
    def new(self) -> Path:
        return self.folder / _NEW

    def prepare(self) -> None:
        """Remove what is in the way, unless it is what was fetched."""
        with self._disk_errors():
            if not self._noted():
                clear(self.folder)
                self.new.mkdir(mode=0o700)
                os.utime(self.new, (_NEVER, _NEVER))

    def left(self, paths: Iterable[str]) -> list[str]:
        """Those of ``paths`` that are not there yet."""
        with self._disk_errors():
            noted = self._noted()
        return [] if _WHOLE in noted else [path for path in paths if path not in noted]

    def note(self, paths: Iterable[str]) -> None:
        """``paths`` are there now."""
        with self._disk_errors():
            self._write([*self._noted(), *paths])

    def settle(self) -> None:
        """What was fetched comes to where it belongs. Raise EngineError if the copy had nothing for this volume."""
        with self._disk_errors():
            if not self.new.exists():
                return
            if self.new.stat().st_mtime == _NEVER:  # restic gives even an empty one the time that it had
                raise EngineError(f"the backup has no {self.place}", resolution="check it: labcloud backup verify")
            self._write([_WHOLE])
            for entry in list(self.new.iterdir()):
                if entry.name != NAME:  # the manifest comes later, for all volumes
                    entry.rename(self.folder / entry.name)
            shutil.rmtree(self.new)

    def _noted(self) -> list[str]:
        try:
            return list(json.loads((self.folder / _NOTE).read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError):
            return []

    def _write(self, paths: list[str]) -> None:
        write(self.folder / _NOTE, json.dumps(paths), scratch=self.folder / f"{_NOTE}.new")

    def _disk_errors(self) -> AbstractContextManager[None]:
        return disk_errors(f"restore into {self.folder}")


def forget(folder: Path) -> None:
    """Remove the note of what was fetched into ``folder``: all of it is there, and whoever needs that knows it."""
    (folder / _NOTE).unlink(missing_ok=True)


def clear(folder: Path) -> None:
    """Remove what is in a folder."""
    for entry in folder.iterdir():
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
