"""Calls restic: in which environment, with which patience. Knows nothing of what is asked."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from labcloud.errors import DeadlineError, EngineError
from labcloud.lab.files import disk_errors
from labcloud.protect.answers import unreadable
from labcloud.protect.complaints import Call, LockedError, complaint, is_hopeless
from labcloud.protect.processes import Ended, Running, run
from labcloud.protect.stalls import Idleness
from labcloud.protect.targets import Target

QUESTION: Final = 120.0
"""Seconds for a call that moves little."""

_FLOOR: Final = (0, 14)
_LISTED: Final = 256 * 1024 * 1024
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0
_UNLOCK_EVERY: Final = 30.0
_IDLE: Final = 300.0
_IDLE_FULL: Final = 15.0
_FULL: Final = 64 * 1024 * 1024  # what failed to be written is removed again: a few packs of 16 MB


def nobody(_: object) -> None:
    """Is told, and does nothing."""


@dataclass(frozen=True)
class Watcher:
    """Who waits. ``stop`` is called often and raises what ends the call, ``pause`` waits some seconds, ``tell`` gets a sentence at times.

    ``patience`` is how long a call waits, in seconds, while another process has the repository.
    """

    stop: Callable[[], None] = lambda: None
    pause: Callable[[float], None] = time.sleep
    tell: Callable[[str], None] = nobody
    patience: float = 600.0


@dataclass(frozen=True)
class Restic:
    """How restic is called for one repository. ``environment`` is all that it sees."""

    target: Target
    password_file: Path
    environment: Mapping[str, str]
    cache: Path
    watcher: Watcher

    def ask(self, *words: str, locks: bool = True, most: int = _LISTED, json: bool = True, limit: float = QUESTION) -> bytes:
        """What restic prints. Without ``locks`` it waits for nobody, and nobody for it. Raise EngineError for over ``most`` bytes."""
        output = bytearray()

        def take(data: bytes) -> None:
            output.extend(data)
            if len(output) > most:
                raise EngineError(f"restic {words[0]} gave more than {most} bytes", resolution="ask for less")

        options = [*(("--json",) if json else ()), *(() if locks else ("--no-lock",))]
        ended = self.do(words[0], [*options, *words], Running(limit, chunk=take))
        for each in unreadable(ended.stderr):
            self.watcher.tell(f"the copy {each} at {self.target} is damaged and cannot be listed")
        if "no matching ID found" in ended.stderr:  # which restic takes for a warning
            raise complaint(self.call(words[0]), ended.stderr)
        return bytes(output)

    def do(
        self, verb: str, words: Sequence[str], how: Running, *, before: Sequence[str] = (), fine: tuple[int, ...] | None = (0,)
    ) -> Ended:
        """Run restic; wait while another process has the repository, and remove the locks of those that died.

        Raise what it complains of if it ends with a code that is not ``fine`` (None: any is, but for a lock).
        """
        began, pause, unlock = time.monotonic(), _FIRST_PAUSE, 0.0  # the locks of the dead are removed before anything is given up
        while True:
            ended = self.once(verb, words, how, before=before)
            if ended.code in (fine or (0,)):
                return ended
            error = complaint(self.call(verb), ended.stderr)
            if not isinstance(error, LockedError):
                if fine is None:
                    return ended
                raise error
            waited = time.monotonic() - began
            if unlock and waited >= self.watcher.patience:
                raise error
            if waited >= unlock:
                unlock = waited + _UNLOCK_EVERY
                self.once("unlock", ["unlock"], Running(QUESTION))  # those of dead processes alone
            self.watcher.tell(error.brief)
            self.watcher.pause(min(pause, max(0.0, self.watcher.patience - waited)))
            pause = min(pause * 2, _LONGEST_PAUSE)

    def once(self, verb: str, words: Sequence[str], how: Running, *, before: Sequence[str] = ()) -> Ended:
        """Run restic, however it ends. Raise EngineError if it is not there, DeadlineError after the limit."""
        options = ["--password-file", str(self.password_file.absolute()), "--cache-dir", str(self.cache.absolute())]
        self.check_present()

        def complain(said: str) -> None:
            if is_hopeless(said, verb):
                raise complaint(self.call(verb), said)

        idleness = Idleness()

        def look(pid: int) -> None:
            how.tick(pid)
            self._check_alive(verb, idleness.seconds(pid))

        try:
            watched = replace(how, stop=self.watcher.stop, complaint=complain, tick=look)
            return run([*before, "restic", *options, *words], self.environment, watched)
        except DeadlineError as exc:
            raise DeadlineError(
                f"restic {verb} at {self.target} did not end within {how.limit:g} s", resolution="run it again with a longer --timeout"
            ) from exc

    def _check_alive(self, verb: str, idle: float) -> None:
        """Raise EngineError if restic has done nothing for five minutes, or for 15 seconds with a target that is full."""
        if idle < _IDLE_FULL:
            return
        room = self.target.room()
        if room is not None and room < _FULL:
            raise complaint(self.call(verb), f"{self.target} has {room} bytes free: no space left on device")
        if idle > _IDLE:
            raise EngineError(
                f"restic {verb} at {self.target} has done nothing for {idle:.0f} s, and was ended",
                resolution="look whether the target answers, then run the same command again",
            )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the password's file: of several processes with the same password, one at a time. Raise DeadlineError after two minutes."""
        with disk_errors(f"lock {self.password_file}"):
            fd = os.open(self.password_file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            began = time.monotonic()
            while not _locked(fd):
                if time.monotonic() - began > QUESTION:
                    raise DeadlineError(f"another process has {self.password_file}", resolution="run it again when that has ended")
                self.watcher.pause(_FIRST_PAUSE)
            yield
        finally:
            os.close(fd)

    def call(self, verb: str) -> Call:
        return Call(verb, str(self.target), str(self.password_file))

    def check_present(self) -> None:
        """Raise EngineError if restic is not there."""
        if not shutil.which("restic", path=self.environment.get("PATH")):
            raise EngineError("there is no program restic on this machine", resolution="apt-get install restic")

    def check_version(self) -> None:
        """Raise EngineError if restic is not there, or too old."""
        self.check_present()
        output: list[bytes] = []
        run(["restic", "version"], self.environment, Running(QUESTION, stop=self.watcher.stop, line=output.append))
        text = b"\n".join(output).decode(errors="replace")
        found = re.match(r"restic (\d+)\.(\d+)", text)
        if not found or (int(found[1]), int(found[2])) < _FLOOR:
            raise EngineError("the restic of this machine is older than 0.14", details=text, resolution="install restic 0.14 or newer")


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def environment(target: Target, credentials: Mapping[str, str]) -> dict[str, str]:
    """What restic sees: this process' environment without what would tell it of another repository, in UTC, in English."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RESTIC_")}
    own = {key: value for key, value in credentials.items() if not key.startswith("RESTIC_REST_")}
    return kept | own | {"RESTIC_REPOSITORY": _address(target, credentials), "RESTIC_PROGRESS_FPS": "2", "TZ": "UTC", "LC_ALL": "C"}


def _address(target: Target, credentials: Mapping[str, str]) -> str:
    """The address; restic before 0.16 knows a REST server's user and password from there alone."""
    user, password = credentials.get("RESTIC_REST_USERNAME", ""), credentials.get("RESTIC_REST_PASSWORD", "")
    if not target.text.startswith("rest:") or not user:
        return target.text
    url = urlsplit(target.text.removeprefix("rest:"))
    netloc = f"{quote(user, safe='')}:{quote(password, safe='')}@{url.netloc}"
    return f"rest:{url._replace(netloc=netloc).geturl()}"
