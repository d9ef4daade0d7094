"""What happened: operations and their events, appended as lines of JSON. Never asked what exists or what is wanted.

HOME/journal/YYYY-MM.jsonl holds one object a line: ``time`` (UTC, milliseconds), ``operation``, ``verb``, ``target``, ``event``,
``details``. A line is written by one call in append mode, so processes may write at once and a killed one tears at most its last
line, which readers pass over. Values that may be secrets are replaced before they are written.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from labcloud.errors import EngineError, LabError, NotFoundError
from labcloud.lab.processes import lives, ticks

_BEGIN: Final = "begin"
_END: Final = "end"
# Keys stand in this order in each line, and quotes inside strings are escaped: so this finds the ends of operations, and only them.
_FRAME: Final = re.compile(rb'"event":"(?:begin|end)","details":')
_SECRET_KEY: Final = re.compile(r"passw|passphrase|secret|token|credential|private|key", re.IGNORECASE)
_SECRET_TEXT: Final = re.compile(r"((?:password|passwd|secret|token|api[_-]?key)\s*[=:]\s*)\S+|(://[^/\s:@]+:)[^/\s@]+(?=@)", re.IGNORECASE)
_REDACTED: Final = "[redacted]"
_DIGITS: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_EPOCH: Final = 1_704_067_200_000  # 2024-01-01, in milliseconds


class Result(StrEnum):
    """How an operation ended. ``BROKEN_OFF``: its process died without a word."""

    RUNNING = "running"
    OK = "ok"
    ERROR = "error"
    INTERRUPTED = "interrupted"
    BROKEN_OFF = "broken off"


@dataclass(frozen=True)
class Event:
    """One thing that happened in an operation. ``time`` is UTC in ISO 8601."""

    time: str
    kind: str
    details: Mapping[str, Any]


@dataclass(frozen=True)
class Record:
    """An operation as the journal has it. ``error`` is the brief of what it failed with, ``kind`` that error's class and ``said`` its
    details; ``events`` only where they were asked for."""

    id: str
    verb: str
    target: str
    began: str
    result: Result
    ended: str = ""
    error: str = ""
    by: Mapping[str, Any] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    kind: str = ""
    said: str = ""


class Operation:
    """An operation that runs. Its events may come from several threads."""

    def __init__(self, journal: Journal, verb: str, target: str) -> None:
        self._journal = journal
        self.id = new_id()
        self.verb = verb
        self.target = target

    def event(self, kind: str, **facts: Any) -> None:
        """Note that ``kind`` happened (as ``"node-made"``). Raise EngineError if the disk refuses."""
        self._journal.append(self, kind, facts)


class Journal:
    """The journal of the lab at ``home``."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "journal"
        self._lock = threading.Lock()
        self._open: tuple[str, int] | None = None

    @contextmanager
    def operation(self, verb: str, target: str, spec: Mapping[str, Any] | None = None) -> Iterator[Operation]:
        """Run the body as the operation ``verb`` on ``target``; ``spec`` says what was asked. Its end is noted, however it ends.

        What is neither an error nor an interruption is the death of the process, which writes nothing.
        """
        operation = Operation(self, verb, target)
        self.append(operation, _BEGIN, {"by": _process(), "spec": dict(spec or {})})
        try:
            yield operation
        except (KeyboardInterrupt, SystemExit):
            self._end(operation, Result.INTERRUPTED)
            raise
        except LabError as exc:
            self._end(operation, Result.ERROR, error=exc.brief, kind=type(exc).__name__, said=exc.details)
            raise
        except Exception as exc:
            self._end(operation, Result.ERROR, error=f"a bug: {exc}", kind=type(exc).__name__)
            raise
        else:
            self.append(operation, _END, {"result": Result.OK})

    def append(self, operation: Operation, event: str, details: Mapping[str, Any]) -> None:
        """Write one line. Raise EngineError if the disk refuses."""
        now = datetime.now(UTC)
        line = {
            "time": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"), "operation": operation.id, "verb": operation.verb,
            "target": operation.target, "event": event, "details": redacted(details),
        }  # fmt: skip
        data = json.dumps(line, separators=(",", ":"), ensure_ascii=False, default=str).encode(errors="replace") + b"\n"
        with self._lock:
            try:
                written = os.write(self._descriptor(f"{now:%Y-%m}"), data)
            except OSError as exc:
                raise _refused(self._folder, str(exc)) from exc
        if written != len(data):
            raise _refused(self._folder, f"{written} of {len(data)} bytes were written: the disk is full")

    def close(self) -> None:
        with self._lock:
            if self._open:
                os.close(self._open[1])
                self._open = None

    def operations(self, limit: int | None = None) -> list[Record]:
        """Operations, newest first, without their events; at most ``limit``."""
        found: dict[str, Record] = {}
        ends: dict[str, dict[str, Any]] = {}
        for path in self._files():  # an operation's end is in the file of its beginning, or in one that was read before
            for line in _lines(path, _is_frame):
                if line["event"] == _BEGIN:
                    found[line["operation"]] = _begun(line)
                else:
                    ends[line["operation"]] = line
            if limit is not None and len(found) >= limit:
                break
        newest = sorted(found, reverse=True)[:limit]
        return [_ended(found[each], ends.get(each)) for each in newest]

    def read(self, id: str) -> Record:
        """The operation ``id``, with its events in order. Raise NotFoundError if there is none."""
        lines = [line for path in reversed(self._files()) for line in _lines(path) if line["operation"] == id]
        first = next((line for line in lines if line["event"] == _BEGIN), None)
        if first is None:
            raise NotFoundError(f"there is no operation {id!r}", resolution="'labcloud operation list' shows those that there are")
        last = next((line for line in lines if line["event"] == _END), None)
        events = tuple(Event(line["time"], line["event"], line["details"]) for line in lines if line["event"] not in (_BEGIN, _END))
        return replace(_ended(_begun(first), last), events=events)

    def events(self, *kinds: str) -> Iterator[tuple[str, Event]]:
        """Every event of ``kinds``, with the target of its operation, as they were written, oldest first; nothing else is decoded."""
        marks = [f'"event":{json.dumps(kind)},"details":'.encode() for kind in kinds]
        for path in reversed(self._files()):
            for line in _lines(path, lambda raw: any(mark in raw for mark in marks)):
                if line["event"] in kinds:
                    yield line["target"], Event(line["time"], line["event"], line["details"])

    def _end(self, operation: Operation, result: Result, **facts: str) -> None:
        # The error that ended the operation is the one to show, not a journal that cannot be written as well.
        with suppress(EngineError):
            self.append(operation, _END, {"result": result, **facts})

    def _descriptor(self, month: str) -> int:
        if self._open and self._open[0] == month:
            return self._open[1]
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self._folder / f"{month}.jsonl", os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        size = os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":  # a torn line, or one that is just being written: an empty line harms nobody
            os.write(fd, b"\n")
        if self._open:
            os.close(self._open[1])
        self._open = (month, fd)
        return fd

    def _files(self) -> list[Path]:
        """The files, newest first."""
        return sorted(self._folder.glob("[0-9][0-9][0-9][0-9]-[0-9][0-9].jsonl"), reverse=True)


class _Names:
    """Makes operations' names: 11 characters, in the order of time (milliseconds, then chance), in one process strictly."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> str:
        with self._lock:
            now = time.time_ns() // 1_000_000 - _EPOCH
            self._last = number = max(now << 15 | secrets.randbits(15), self._last + 1)
        return "".join(_DIGITS[number >> shift & 31] for shift in range(50, -5, -5))


new_id: Final = _Names().next


def redacted(value: Any, key: str = "") -> Any:
    """``value`` without what may be a secret: by the name of its key, or by what a text says (``password=…``, ``//user:…@``)."""
    if key and _SECRET_KEY.search(key):
        return _REDACTED
    if isinstance(value, Mapping):
        return {str(name): redacted(each, str(name)) for name, each in value.items()}
    if isinstance(value, str):
        return _SECRET_TEXT.sub(lambda found: f"{found[1] or found[2]}{_REDACTED}", value)
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [redacted(each) for each in value]
    return value


def _refused(folder: Path, details: str) -> EngineError:
    return EngineError(
        f"could not write the journal in {folder}",
        details=details,
        resolution="free some space, or make the folder yours, then run the same command again",
    )


def _is_frame(raw: bytes) -> bool:
    """Whether a line says where an operation begins or ends."""
    return _FRAME.search(raw) is not None


def _lines(path: Path, chosen: Callable[[bytes], bool] = lambda _: True) -> Iterator[dict[str, Any]]:
    """The lines of a file that are whole, of those that are ``chosen`` before anything is decoded."""
    with path.open("rb") as file:
        for raw in file:
            if not chosen(raw):
                continue
            line = _decoded(raw)
            if isinstance(line, dict) and {"time", "operation", "verb", "target", "event", "details"} <= line.keys():
                yield line


def _decoded(raw: bytes) -> Any:
    """What a line says; None for a torn one. A whole line that another process wrote right behind a torn one is found."""
    for start in (0, raw.rfind(b'{"time":"')):
        with suppress(ValueError):
            return json.loads(raw[max(0, start) :])
    return None


def _begun(line: Mapping[str, Any]) -> Record:
    details = line["details"]
    return Record(
        id=line["operation"], verb=line["verb"], target=line["target"], began=line["time"], result=Result.RUNNING,
        by=details.get("by", {}), spec=details.get("spec", {}),
    )  # fmt: skip


def _ended(record: Record, line: Mapping[str, Any] | None) -> Record:
    if line is None:
        return replace(record, result=Result.RUNNING if _lives(record.by) else Result.BROKEN_OFF)
    details = line["details"]
    failure = {key: details.get(key, "") for key in ("error", "kind", "said")}
    return replace(record, result=Result(details["result"]), ended=line["time"], **failure)


def _process() -> dict[str, Any]:
    """Who writes: the process, told from a later one of the same number by when it began (clock ticks since the machine started)."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "ticks": ticks(os.getpid())}


def _lives(by: Mapping[str, Any]) -> bool:
    return lives(by.get("host", ""), int(by.get("pid", 0)), by.get("ticks", -1))
