"""What HDFS had at the point in time of a copy, so that what is restored of it can be compared file by file.

HDFS is listed before and after the copy is taken. A file that is equal in path, length and time of change in both lists, and that
nobody had open for writing, is in the copy as it was listed: those are kept, with HDFS' own checksums. All others are counted.
"""

from __future__ import annotations

import gzip
import json
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final, TypeVar

from labcloud.apply.watch import Deadline
from labcloud.errors import ConfigError, EngineError, LabError
from labcloud.services.files import UNFINISHED, Files
from labcloud.services.hadoop import Hadoop

NAME: Final = "files.json.gz"
_VERSION: Final = 1
_PASSING: Final = ("/tmp",)  # noqa: S108 - of HDFS: what jobs leave there means nothing to a restored copy
_THREADS: Final = 4
_TRIES: Final = 3
_PAUSE: Final = 0.2
_SECONDS: Final = 30.0
_BYTES_A_SECOND: Final = 2**30
_MOST_UNANSWERED: Final = 50

CHANGED: Final = "changed while the copy was taken"
OPEN: Final = "being written"
NO_CHECKSUM: Final = "HDFS gave no checksum"
NO_TIME: Final = "no time was left for its checksum"

T = TypeVar("T")
Listing = Mapping[str, tuple[int, int]]
"""Files by path: length in bytes, and time of change in milliseconds since 1970."""


@dataclass(frozen=True)
class Entry:
    """A file as it surely is in the copy. ``checksum`` is HDFS' own, ``ALGORITHM:HEX``; empty for an empty file, which has nothing else."""

    path: str
    length: int
    mtime_ms: int
    checksum: str = ""


@dataclass(frozen=True)
class Contents:
    """Files by path in order; how many are not among them, by reason; and why there are none, where HDFS did not answer."""

    entries: tuple[Entry, ...] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)
    why: str = ""

    @property
    def size(self) -> int:
        """The bytes of all files together."""
        return sum(each.length for each in self.entries)

    def dump(self) -> bytes:
        """Lines of JSON, compressed: one of the whole, then one a file. The same contents are the same bytes."""
        head = {"version": _VERSION, "files": len(self.entries), "skipped": dict(sorted(self.skipped.items())), "why": self.why}
        rows = ([each.path, each.length, each.mtime_ms, each.checksum] for each in self.entries)
        return gzip.compress("".join(json.dumps(each) + "\n" for each in (head, *rows)).encode(), mtime=0)

    @classmethod
    def load(cls, data: bytes) -> Contents:
        """What ``dump`` made. Raise ConfigError if it is something else, or not all of it, or of a newer labcloud."""
        try:
            lines = gzip.decompress(data).splitlines()
            head: dict[str, Any] = json.loads(lines[0])
            if head["version"] != _VERSION:
                raise ConfigError(f"{NAME} is of another version ({head['version']})", resolution="use the labcloud that wrote it")
            entries = tuple(
                Entry(str(path), int(length), int(mtime), str(made)) for path, length, mtime, made in map(json.loads, lines[1:])
            )
            if len(entries) != head["files"]:
                raise ConfigError(f"{NAME} has {len(entries)} files, not {head['files']}", resolution="use another copy")
            return cls(entries, {str(reason): int(count) for reason, count in head["skipped"].items()}, str(head["why"]))
        except (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError, AttributeError) as exc:
            raise ConfigError(f"{NAME} is not what a copy says of its files", details=str(exc), resolution="use another copy") from exc


@dataclass(frozen=True)
class Comparison:
    """``files`` that are as the copy says, with their ``bytes``; paths that are not there; and what is wrong with others, by path."""

    files: int
    bytes: int
    missing: tuple[str, ...] = ()
    differing: Mapping[str, str] = field(default_factory=dict)

    @property
    def equal(self) -> bool:
        return not self.missing and not self.differing


def listing(files: Files) -> dict[str, tuple[int, int]]:
    """Length and time of change (ms since 1970) of all files of HDFS by path: not those below ``/tmp`` or being put there.

    A folder that goes away meanwhile is passed over. Raise EngineError if HDFS does not answer.
    """
    found: dict[str, tuple[int, int]] = {}
    left = [""]
    while left:
        folder = left.pop()
        for name, status in files.statuses(folder or "/").items():
            path = f"{folder}/{name}"
            if path in _PASSING:
                continue
            if status.folder:
                left.append(path)
            elif not name.endswith(UNFINISHED):
                found[path] = (status.length, status.modified)
    return found


def describe(hadoop: Hadoop, around: Callable[[], T], previous: Contents | None = None, *, limit: float = 600.0) -> tuple[T, Contents]:
    """What ``around`` returns, which takes the copy, and the files that are in that copy.

    ``previous`` is what an earlier copy of the same cluster had: a file that is still equal in path, length and time of change keeps
    the checksum from there. A file whose time was set back by hand after its content was changed to another of the same length would
    have a wrong one, and a later comparison would call it different. It could not call a lost file good: the old content, which the
    old checksum fits, is in no block of the new copy.

    ``limit`` is for all checksums, in seconds; files that are left when it is over are not kept, and the next copy goes on with them.
    If HDFS does not answer, the contents are empty and say why: a copy is taken all the same. What ``around`` raises is raised.
    """
    try:
        before, why = listing(hadoop.files()), ""
    except LabError as exc:
        before, why = {}, exc.brief
    result = around()
    if why:
        return result, Contents(why=why)
    try:
        return result, _contents(hadoop, before, previous or Contents(), Deadline(limit))
    except LabError as exc:
        return result, Contents(why=exc.brief)


def _contents(hadoop: Hadoop, before: Listing, previous: Contents, deadline: Deadline) -> Contents:
    known = {each.path: each.checksum for each in previous.entries if before.get(each.path) == (each.length, each.mtime_ms)}
    asked = Checksums(hadoop, deadline)
    asked.ask({path: length for path, (length, _) in before.items() if length and path not in known})
    # In this order: what was open during the copy is open still, or was closed before the second list, which gave it another time.
    opened = hadoop.open_files()
    after = listing(hadoop.files())
    made, skipped = {**known, **asked.made}, Counter[str]()
    entries = []
    for path in sorted(before.keys() | after.keys()):
        length, modified = facts = before.get(path, (0, 0))
        if path in opened:
            skipped[OPEN] += 1
        elif path not in before or after.get(path) != facts:
            skipped[CHANGED] += 1
        elif length and not made.get(path):
            skipped[NO_TIME if path in asked.left else NO_CHECKSUM] += 1
        else:
            entries.append(Entry(path, length, modified, made.get(path, "")))
    return Contents(tuple(entries), dict(skipped))


def compare(hadoop: Hadoop, contents: Contents, moved: Mapping[str, str] | None = None, *, limit: float = 3600.0) -> Comparison:
    """Compare every file of ``contents`` with what a restored cluster's HDFS has.

    ``moved`` says which folders have another path there (``{"/user/old": "/user/new"}``); what was not moved is looked for where it
    was. ``limit`` is for all checksums, in seconds: what is not compared by then counts as differing. Raise EngineError if HDFS does
    not answer.
    """
    there = listing(hadoop.files())
    places = {each.path: _place(each.path, moved or {}, there) for each in contents.entries}
    asked = Checksums(hadoop, Deadline(limit))
    asked.ask({
        places[each.path]: each.length
        for each in contents.entries
        if each.length and there.get(places[each.path], (-1, 0))[0] == each.length
    })  # fmt: skip
    missing, differing, equal = [], {}, []
    for each in contents.entries:
        place = places[each.path]
        if place not in there:
            missing.append(each.path)
        elif what := _difference(each, there[place][0], asked, place):
            differing[each.path] = what
        else:
            equal.append(each)
    return Comparison(len(equal), sum(each.length for each in equal), tuple(missing), differing)


def _place(path: str, moved: Mapping[str, str], there: Listing) -> str:
    for before, after in moved.items():
        if path.startswith(f"{before}/") and (place := after + path.removeprefix(before)) in there:
            return place
    return path


def _difference(entry: Entry, length: int, asked: Checksums, place: str) -> str:
    if length != entry.length:
        return f"{length} bytes, not {entry.length}"
    if not length or asked.made.get(place) == entry.checksum:
        return ""
    if place in asked.left:
        return NO_TIME
    return "another checksum" if place in asked.made else asked.refused.get(place, NO_CHECKSUM)


class Checksums:
    """Asks HDFS for the checksums of files, several at once.

    ``made`` holds them by path, ``refused`` what HDFS said instead, ``left`` the files that were not asked for: the time was over, or
    HDFS had not answered for many in a row.
    """

    def __init__(self, hadoop: Hadoop, deadline: Deadline) -> None:
        self._files = hadoop.web_files()
        self._deadline = deadline
        self._lock = Lock()
        self._unanswered = 0
        self.made: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self.left: set[str] = set()

    def ask(self, lengths: Mapping[str, int]) -> None:
        """Ask for the checksums of complete files, given with their lengths in bytes. Never raises LabError."""
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="checksums") as pool:
            _all(pool.map(lambda each: self._ask(*each), lengths.items()))

    def _ask(self, path: str, length: int) -> None:
        if not self._deadline.left or self._unanswered >= _MOST_UNANSWERED:
            self.left.add(path)
            return
        try:
            checksum, said = self._tried(path, _SECONDS + length / _BYTES_A_SECOND), ""
        except LabError as exc:
            checksum, said = "", exc.details or exc.brief
        with self._lock:
            self._unanswered = self._unanswered + 1 if said else 0
            if checksum:
                self.made[path] = checksum
            elif said:
                self.refused[path] = said

    def _tried(self, path: str, seconds: float) -> str:
        for attempt in range(1, _TRIES):
            try:
                return self._files.checksum(path, timeout=min(seconds, max(self._deadline.left, 1.0)))
            except EngineError:
                time.sleep(min(_PAUSE * 2**attempt, self._deadline.left))
        return self._files.checksum(path, timeout=min(seconds, max(self._deadline.left, 1.0)))


def _all(results: Iterable[None]) -> None:
    for _ in results:
        pass
