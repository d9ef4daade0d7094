"""Files from elsewhere, through one content-addressed cache: verified, resumed where they broke, tried again, named if lost.

Knows no Hadoop and no Debian: a file is an address and a checksum. What is in the cache under its checksum is whole; what
is not whole has another name, so that an interrupted run leaves nothing that could be mistaken for the file.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import random
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from labcloud.errors import EngineError

_CHUNK: Final = 1 << 18
_THREADS: Final = 8
_FOR_GOOD: Final = frozenset({400, 401, 403, 404, 405, 410, 451})
_GO_AGAIN: Final = (
    "check the network and the mirror (LABCLOUD_DEBIAN_MIRROR, LABCLOUD_MAVEN_MIRROR), then run the same command again: "
    "it goes on where it stopped"
)


@dataclass(frozen=True)
class Wanted:
    """A file: where it is, its SHA-256, and its size in bytes where that is known."""

    url: str
    sha256: str
    size: int = 0


@dataclass(frozen=True)
class Patience:
    """How often to try, the first pause between tries and the time limit of a silence, in seconds."""

    tries: int = 5
    pause: float = 0.5
    silence: float = 60.0


class GoneError(EngineError):
    """The server says that there is no such file, for good."""


class Cache:
    """Downloaded files by their checksum, in ``folder``. Safe for several threads and several processes."""

    def __init__(self, folder: Path, patience: Patience | None = None) -> None:
        self._folder = folder
        self._patience = patience or Patience()
        self._stop = threading.Event()

    def path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256

    def has(self, sha256: str) -> bool:
        return self.path(sha256).is_file()

    def get(self, wanted: Wanted) -> Path:
        """The file, from the cache or from its address. Raise GoneError or EngineError with its address."""
        path = self.path(wanted.sha256)
        if path.is_file():
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")
        _adopt_leftover(path, partial)
        try:
            self._fetch(wanted, partial)
        except BaseException:
            _keep_for_later(partial, path)
            raise
        partial.replace(path)
        return path

    def bring(self, wanted: Wanted, path: Path, tell: Callable[[int, int], None] = lambda *_: None) -> None:
        """The file at ``path`` instead of in the cache, going on with what is there of it already.

        ``tell`` is given the bytes that there are and, 0 if the server does not say, those that there will be; what it raises ends the
        download. Nothing is compared where ``wanted`` has no checksum. Raise GoneError or EngineError with the address.
        """
        self._fetch(wanted, path, tell)

    def get_all(self, wanted: Sequence[Wanted], done: Callable[[Wanted], None] = lambda _: None) -> list[Path]:
        """All the files, eight at a time, in the order asked for. The first failure stops the others and is raised."""
        self._stop.clear()
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="download") as pool:
            futures = [pool.submit(self._one_of_many, each, done) for each in wanted]
            try:
                return [future.result() for future in futures]
            except BaseException:
                self._stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _one_of_many(self, wanted: Wanted, done: Callable[[Wanted], None]) -> Path:
        path = self.get(wanted)
        done(wanted)
        return path

    def _fetch(self, wanted: Wanted, partial: Path, tell: Callable[[int, int], None] = lambda *_: None) -> None:
        failure: Exception | None = None
        for turn in range(self._patience.tries):
            # Servers that fail under a crowd recover sooner if the crowd does not come back in step.
            pause = self._patience.pause * 2 ** (turn - 1) * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
            if turn and self._stop.wait(pause):
                break
            try:
                self._attempt(wanted, partial, tell)
            except urllib.error.HTTPError as exc:
                exc.close()
                if exc.code in _FOR_GOOD:
                    raise _gone(wanted, exc) from exc
                failure = exc
            except (OSError, http.client.HTTPException) as exc:
                failure = exc
            else:
                failure = _mismatch(wanted, partial)
                if failure is None:
                    return
                partial.unlink()
        if isinstance(failure, EngineError):
            raise failure
        raise EngineError(f"could not download {wanted.url}", details=str(failure), resolution=_GO_AGAIN) from failure

    def _attempt(self, wanted: Wanted, partial: Path, tell: Callable[[int, int], None]) -> None:
        have = partial.stat().st_size if partial.exists() else 0
        if wanted.size and have >= wanted.size:
            return
        request = urllib.request.Request(wanted.url, headers={"User-Agent": "labcloud"})  # noqa: S310 - addresses come from lock files
        if have:
            request.add_header("Range", f"bytes={have}-")
        with urllib.request.urlopen(request, timeout=self._patience.silence) as answer:  # noqa: S310
            resumed = have > 0 and answer.status == 206
            done = have if resumed else 0
            total = done + answer.length if answer.length else 0
            tell(done, total)
            with partial.open("ab" if resumed else "wb") as out:
                while chunk := answer.read(_CHUNK):
                    if self._stop.is_set():
                        raise ConnectionAbortedError("another download failed")
                    out.write(chunk)
                    done += len(chunk)
                    tell(done, total)
            if answer.length:  # the connection ended before the promised number of bytes
                raise ConnectionResetError(f"{answer.length} bytes are missing")


def text(url: str, patience: Patience | None = None) -> bytes:
    """The bytes at ``url``: for indexes, whose checksum nobody knows beforehand. Raise GoneError or EngineError."""
    wait = patience or Patience()
    failure: Exception | None = None
    for turn in range(wait.tries):
        if turn:
            threading.Event().wait(wait.pause * 2 ** (turn - 1))
        try:
            request = urllib.request.Request(url, headers={"User-Agent": "labcloud"})  # noqa: S310
            with urllib.request.urlopen(request, timeout=wait.silence) as answer:  # noqa: S310
                return bytes(answer.read())
        except urllib.error.HTTPError as exc:
            exc.close()
            if exc.code in _FOR_GOOD:
                raise _gone(Wanted(url, ""), exc) from exc
            failure = exc
        except (OSError, http.client.HTTPException) as exc:
            failure = exc
    raise EngineError(f"could not download {url}", details=str(failure), resolution=_GO_AGAIN) from failure


def exists(url: str) -> bool:
    """Whether a server has ``url``. Raise EngineError if it does not say."""
    request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "labcloud"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=60):  # noqa: S310
            return True
    except urllib.error.HTTPError as exc:
        exc.close()
        if exc.code in _FOR_GOOD:
            return False
        raise EngineError(f"could not ask for {url}", details=str(exc), resolution=_GO_AGAIN) from exc
    except OSError as exc:
        raise EngineError(f"could not ask for {url}", details=str(exc), resolution=_GO_AGAIN) from exc


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _adopt_leftover(path: Path, partial: Path) -> None:
    # Renaming is what makes it ours: of two processes, one wins and the other begins anew.
    try:
        path.with_name(path.name + ".part").rename(partial)
    except FileNotFoundError:
        return


def _keep_for_later(partial: Path, path: Path) -> None:
    if partial.exists():
        partial.replace(path.with_name(path.name + ".part"))


def _mismatch(wanted: Wanted, partial: Path) -> EngineError | None:
    if not wanted.sha256 or (found := sha256_of(partial)) == wanted.sha256:
        return None
    return EngineError(
        f"{wanted.url} has another content than the lock says",
        details=f"SHA-256 is {found}, should be {wanted.sha256}",
        resolution=_GO_AGAIN,
    )


def _gone(wanted: Wanted, exc: urllib.error.HTTPError) -> GoneError:
    return GoneError(
        f"could not download {wanted.url}: the server answers {exc.code}",
        details=str(exc),
        resolution="name a mirror that has it (LABCLOUD_DEBIAN_MIRROR, LABCLOUD_MAVEN_MIRROR), or run 'labcloud image lock'",
    )
