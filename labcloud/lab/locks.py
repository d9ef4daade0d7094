"""One writer at a time: a short lock on the lab, and a long one for each cluster. Knows nothing of what is done under them.

All locks are ``flock``: the kernel frees them when their holder dies, however it dies. A lock's file exists only while it is
held or waited for; who gets the lock of a file that was removed meanwhile (another inode) tries again.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from labcloud.errors import DeadlineError
from labcloud.lab.files import disk_errors, make_private
from labcloud.model import ClusterRef

_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 0.1
_LAB_TIMEOUT = 30.0


@contextmanager
def cluster_lock(
    home: Path, ref: ClusterRef, *, verb: str, timeout: float = 600.0,
    waiting: Callable[[str], None] = lambda _: None, pause: Callable[[float], None] = time.sleep,
) -> Iterator[None]:  # fmt: skip
    """Hold the cluster ``ref`` for ``verb`` (as ``"create"``): no other process or thread changes it meanwhile.

    ``waiting`` is told, once a holder, who has it; ``pause`` waits some seconds, or raises what ends the wait. Raise DeadlineError,
    naming the holder, after ``timeout`` seconds.
    """
    path = home / "locks" / ref.tenant / f"{ref.name}.lock"
    with _held(path, f"the cluster {ref}", verb, timeout=timeout, waiting=waiting, pause=pause):
        yield


@contextmanager
def backup_lock(
    home: Path, ref: ClusterRef, *, verb: str, timeout: float = 600.0,
    waiting: Callable[[str], None] = lambda _: None, pause: Callable[[float], None] = time.sleep,
) -> Iterator[None]:  # fmt: skip
    """Hold the backups of the cluster ``ref``, as `cluster_lock` does the cluster, which others may change meanwhile."""
    path = home / "locks" / ref.tenant / f"{ref.name}+backup.lock"  # no cluster's name has such a sign
    with _held(path, f"the backup of {ref}", verb, timeout=timeout, waiting=waiting, pause=pause):
        yield


@contextmanager
def tenant_lock(
    home: Path, name: str, *, verb: str, timeout: float = 600.0,
    waiting: Callable[[str], None] = lambda _: None, pause: Callable[[float], None] = time.sleep,
) -> Iterator[None]:  # fmt: skip
    """Hold the tenant ``name``, as `cluster_lock` does a cluster: no other process or thread changes what it may have meanwhile."""
    # No cluster's name begins so.
    with _held(home / "locks" / name / "_tenant.lock", f"the tenant {name}", verb, timeout=timeout, waiting=waiting, pause=pause):
        yield


@contextmanager
def dataset_lock(
    home: Path, name: str, *, verb: str, timeout: float = 600.0,
    waiting: Callable[[str], None] = lambda _: None, pause: Callable[[float], None] = time.sleep,
) -> Iterator[None]:  # fmt: skip
    """Hold the shared dataset ``name``, as `cluster_lock` does a cluster: no other process or thread adds to it or removes from it."""
    # No tenant's name begins so.
    with _held(home / "locks" / "_datasets" / f"{name}.lock", f"the dataset {name}", verb, timeout=timeout, waiting=waiting, pause=pause):
        yield


@contextmanager
def lab_lock(home: Path) -> Iterator[int]:
    """Hold the lab repository for one change. Gives the descriptor that children inherit, to hold the lock as long as they run."""
    with _held(
        home / "locks" / "lab.lock", "the lab repository", "change", timeout=_LAB_TIMEOUT, waiting=lambda _: None, pause=time.sleep
    ) as fd:
        yield fd


@contextmanager
def _held(
    path: Path, what: str, verb: str, *, timeout: float, waiting: Callable[[str], None], pause: Callable[[float], None]
) -> Iterator[int]:
    with disk_errors(f"lock {what} at {path}"):
        fd = _acquire(path, what, timeout=timeout, waiting=waiting, pause=pause)
    try:
        with disk_errors(f"lock {what} at {path}"):
            _sign(fd, verb)
        yield fd
    finally:
        # Removed while it is held, so that nobody else's file is removed.
        path.unlink(missing_ok=True)
        os.close(fd)
        with suppress(OSError):
            path.parent.rmdir()


def _acquire(path: Path, what: str, *, timeout: float, waiting: Callable[[str], None], pause: Callable[[float], None]) -> int:
    deadline = time.monotonic() + timeout
    seconds, told = _FIRST_PAUSE, ""
    while True:
        fd = _attempt(path)
        if fd is not None:
            return fd
        holder = _holder(path)
        if holder and holder != told:
            told = holder
            waiting(f"waiting for {what}: {holder}")
        left = deadline - time.monotonic()
        if left <= 0:
            raise DeadlineError(
                f"{what} is busy: {holder or told or 'another process has it'}",
                details=f"waited {timeout:g} s for {path}",
                resolution="wait until that has ended, or stop it, then run the same command again",
            )
        pause(min(seconds, left))
        seconds = min(seconds * 2, _LONGEST_PAUSE)


def _attempt(path: Path) -> int | None:
    """Take the lock if it is free. Returns its descriptor."""
    try:
        make_private(path.parent)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:  # the folder was removed by who left
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(fd), path.stat()):
            return fd
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


def _sign(fd: int, verb: str) -> None:
    facts = {"verb": verb, "pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
    os.ftruncate(fd, 0)
    os.pwrite(fd, json.dumps(facts).encode(), 0)


def _holder(path: Path) -> str:
    """Who has the lock, as a sentence; empty if that cannot be read just now."""
    try:
        facts = json.loads(path.read_bytes())
        return f"'{facts['verb']}' has it since {facts['since']} (process {facts['pid']} on {facts['host']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
