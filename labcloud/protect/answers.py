"""What restic answers, read from its JSON, and the words for what it found. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from labcloud.errors import EngineError


class Keep(Protocol):
    """How many copies stay: the last ones, and the last one of so many days, weeks and months."""

    @property
    def last(self) -> int: ...
    @property
    def daily(self) -> int: ...
    @property
    def weekly(self) -> int: ...
    @property
    def monthly(self) -> int: ...


@dataclass(frozen=True)
class Progress:
    """How far a run is. Totals are 0 until they are known, and grow while restic still counts; ``speed`` is in bytes a second."""

    bytes_done: int
    bytes_total: int
    files_done: int
    files_total: int
    seconds_left: float | None
    speed: float


@dataclass(frozen=True)
class Copy:
    """A copy in a repository. ``time`` is in UTC; ``parent`` is empty for one that was compared with none."""

    id: str
    short: str
    time: datetime
    host: str
    tags: tuple[str, ...]
    parent: str


@dataclass(frozen=True)
class Stored:
    """A copy that was made. ``bytes_added`` is what the repository had not yet, before compression; None where it does not tell.
    ``copies`` are all of its host now, newest first."""

    id: str
    bytes_added: int | None
    bytes_processed: int
    files: int
    seconds: float
    copies: tuple[Copy, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A file or folder in a copy. ``kind`` is restic's: file, dir, symlink…; ``size`` in bytes."""

    path: str
    kind: str
    size: int
    mtime: datetime


@dataclass(frozen=True)
class Kept:
    """What rules of keeping do: which copies go, and which stay, newest first."""

    go: tuple[Copy, ...]
    stay: tuple[Copy, ...]


@dataclass(frozen=True)
class Verdict:
    """What a check found. ``packs`` are damaged or missing, ``copies`` the ids of those that may need them, or what was in them."""

    ok: bool
    problems: tuple[str, ...]
    packs: tuple[str, ...]
    copies: tuple[str, ...]
    seconds: float


_PACK: Final = re.compile(r"(?:want |[Pp]ack )([0-9a-f]{64})")
_TREE: Final = re.compile(r"\btree ([0-9a-f]{64})\b")
_KNOWN: Final = "labcloud knows restic 0.14 to 0.17: install one of these"
_ID: Final = re.compile(r"[0-9a-f]{8,64}")
_HARMLESS: Final = re.compile(
    r"not referenced in any index|This is non-critical|likely contain duplicate|returned error, retrying|^Fatal: repository contains"
)
_UNREADABLE: Final = re.compile(r"could not load snapshot ([0-9a-f]{8,64})")


def decoded(text: bytes | str, what: str) -> Any:
    """``text`` as JSON; None if there is none. Raise EngineError if it is something else."""
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except ValueError:
        shown = text[:200] if isinstance(text, str) else text[:200].decode(errors="replace")
        raise EngineError(f"restic's answer to {what!r} is no JSON", details=shown, resolution=_KNOWN) from None


def message(line: bytes) -> Mapping[str, Any]:
    """A line of a run's JSON; empty for any other line."""
    with suppress(ValueError):
        found = json.loads(line)
        if isinstance(found, dict):
            return found
    return {}


def progress(said: Mapping[str, Any], seconds: float) -> Progress:
    """A status line of restic's, ``seconds`` after the run began."""
    done = int(said.get("bytes_done", 0))
    left = said.get("seconds_remaining")
    return Progress(
        bytes_done=done, bytes_total=int(said.get("total_bytes", 0)), files_done=int(said.get("files_done", 0)),
        files_total=int(said.get("total_files", 0)), seconds_left=None if left is None else float(left),
        speed=done / seconds if seconds > 0 else 0.0,
    )  # fmt: skip


def written(done: int, total: int, seconds: float) -> Progress:
    """How far a restore is that has written ``done`` of ``total`` bytes (0: nobody knows) in ``seconds``."""
    done = min(done, total) if total else done
    speed = done / seconds if seconds > 0 else 0.0
    left = (total - done) / speed if total and speed else None
    return Progress(bytes_done=done, bytes_total=total, files_done=0, files_total=0, seconds_left=left, speed=speed)


def time_of(text: str) -> datetime:
    """A time as restic writes it (RFC 3339, nanoseconds), in UTC, in microseconds."""
    return datetime.fromisoformat(text).astimezone(UTC)


def copies(listed: Iterable[Mapping[str, Any]] | None) -> list[Copy]:
    """The copies of a list of snapshots, newest first."""
    found = [
        Copy(
            id=each["id"], short=each["short_id"], time=time_of(each["time"]), host=each.get("hostname", ""),
            tags=tuple(each.get("tags") or ()), parent=each.get("parent", ""),
        )
        for each in listed or ()
    ]  # fmt: skip
    return sorted(found, key=lambda each: (each.time, each.id), reverse=True)


def entry(said: Mapping[str, Any]) -> Entry | None:
    """A line of ``ls``; None for the one that names the copy."""
    if said.get("struct_type") != "node":
        return None
    return Entry(path=said["path"], kind=said["type"], size=int(said.get("size", 0)), mtime=time_of(said["mtime"]))


def unreadable(stderr: str) -> list[str]:
    """The ids of copies that restic passed over, for it cannot read what describes them."""
    return _UNREADABLE.findall(stderr)


def problems(stderr: str) -> tuple[str, ...]:
    """What a check complains of, a sentence each; what does no harm is left out."""
    lines = (line.strip() for line in stderr.splitlines())
    return tuple(dict.fromkeys(line.removeprefix("Fatal: ") for line in lines if line and not _HARMLESS.search(line)))


def packs(found: Iterable[str]) -> tuple[str, ...]:
    """The packs (64 hexadecimal digits) that problems name."""
    return tuple(dict.fromkeys(name for line in found for name in _PACK.findall(line)))


def trees(found: Iterable[str]) -> tuple[str, ...]:
    """The folders of copies (64 hexadecimal digits) that problems name: something in them is missing."""
    return tuple(dict.fromkeys(name for line in found for name in _TREE.findall(line)))


def is_id(text: str) -> bool:
    """Whether ``text`` can be a copy's id, or the beginning of one."""
    return _ID.fullmatch(text) is not None


def literal(path: str) -> str:
    """``path`` as a pattern of restic's that fits it alone."""
    return "/" + re.sub(r"([\\*?\[])", r"\\\1", path.strip("/"))
