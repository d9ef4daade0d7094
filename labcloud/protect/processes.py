"""Runs one program with a limit, line by line, and leaves nothing of it behind. Knows nothing of what the program is."""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Final

from labcloud.errors import DeadlineError, EngineError

Line = Callable[[bytes], None]

_CHUNK: Final = 1 << 16
_TICK: Final = 0.2
_GRACE: Final = ((signal.SIGINT, 10.0), (signal.SIGTERM, 3.0))
_KEPT: Final = 64 * 1024


@dataclass(frozen=True)
class Ended:
    """How a program ended: its exit code (negative: the signal), its standard error (the last 64 kB) and how long it took."""

    code: int
    stderr: str
    seconds: float


@dataclass(frozen=True)
class Running:
    """How to run: ``limit`` in seconds; ``stop`` is called five times a second and raises what ends it; ``tick`` gets the process' number.

    ``line`` gets standard output, a line at a time, without its end; ``chunk``, if given, gets it as it comes instead.
    ``complaint`` gets the standard error so far whenever there is more of it; it may raise what ends the program.
    """

    limit: float
    stop: Callable[[], None] = lambda: None
    line: Line = lambda _: None
    chunk: Line | None = None
    complaint: Callable[[str], None] = lambda _: None
    tick: Callable[[int], None] = lambda _: None


def run(argv: Sequence[str], environment: Mapping[str, str], how: Running) -> Ended:
    """Run ``argv`` in a process group of its own, in the background's priority, without a terminal, until it ends.

    It is ended — asked, then told, then killed, with all that it started — when the limit is over (DeadlineError), when ``stop`` or a
    reader raises, at Ctrl-C, and by the kernel if this process dies. Raise EngineError if the program is not there.
    """
    if not shutil.which(argv[0], path=environment.get("PATH")):
        raise EngineError(f"there is no program {argv[0]} on this machine", resolution=f"apt-get install {argv[0]}")
    began = time.monotonic()
    process = subprocess.Popen(
        [*_prefix(), *argv], env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    try:
        stderr = _follow(process, how, began + how.limit)
    except BaseException:
        _end(process)
        raise
    finally:
        _close(process)
    return Ended(process.returncode, stderr.decode(errors="replace"), time.monotonic() - began)


def _prefix() -> list[str]:
    """What comes before the program, of what this machine has; each makes room for the next, so that one process is left."""
    programs = (
        ("setpriv", "--pdeathsig", "INT"),  # an orphan would go on writing while its successor begins
        ("nice", "-n", "10"),
        ("ionice", "-c", "2", "-n", "7"),
    )
    return [word for program in programs if shutil.which(program[0]) for word in program]


@dataclass
class _Reader:
    """Takes one pipe apart."""

    how: Running
    rest: bytes = b""
    errors: bytearray = field(default_factory=bytearray)

    def output(self, data: bytes) -> None:
        if self.how.chunk is not None:
            self.how.chunk(data)
            return
        *lines, self.rest = (self.rest + data).split(b"\n")
        for each in lines:
            self.how.line(each)

    def error(self, data: bytes) -> None:
        self.errors += data
        del self.errors[:-_KEPT]
        self.how.complaint(self.errors.decode(errors="replace"))

    def done(self) -> None:
        if self.rest:
            self.how.line(self.rest)


def _follow(process: subprocess.Popen[bytes], how: Running, deadline: float) -> bytes:
    reader = _Reader(how)
    with selectors.DefaultSelector() as selector:
        for pipe, take in ((process.stdout, reader.output), (process.stderr, reader.error)):
            assert pipe is not None  # noqa: S101 (asked for above)
            selector.register(pipe, selectors.EVENT_READ, take)
        ended = False
        while selector.get_map():
            ready = selector.select(_TICK)
            if ended and not ready:  # something that it started still has its pipes
                break
            for key, _ in ready:
                if not _take(key.fileobj, key.data):
                    selector.unregister(key.fileobj)
            ended = process.poll() is not None
            if not ended:
                _look(process, how, deadline)
    reader.done()
    while process.poll() is None:  # it has closed its pipes, and not ended yet
        _look(process, how, deadline)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_TICK)
    return bytes(reader.errors)


def _take(pipe: object, take: Line) -> bool:
    data = os.read(pipe.fileno(), _CHUNK) if hasattr(pipe, "fileno") else b""
    if data:
        take(data)
    return bool(data)


def _look(process: subprocess.Popen[bytes], how: Running, deadline: float) -> None:
    how.stop()
    if time.monotonic() > deadline:
        raise DeadlineError(f"it did not end within {how.limit:g} s", resolution="run it again with a longer --timeout")
    how.tick(process.pid)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and its group. A second Ctrl-C does not wait."""
    try:
        for number, grace in _GRACE:
            with suppress(subprocess.TimeoutExpired, ProcessLookupError):
                process.send_signal(number)  # to itself alone: what it has started serves it to the end, as ssh does
                process.wait(grace)
                break
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _close(process: subprocess.Popen[bytes]) -> None:
    pipe: IO[bytes] | None
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
