"""The data of nodes as folders of this machine, while a command lasts: by SFTP, which sshfs shows as a file system.

It takes the ssh connection that commands share. Folders that a process left which was killed are let go of by the next one.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from labcloud.errors import DeadlineError, EngineError
from labcloud.lab.files import disk_errors, make_private
from labcloud.lab.processes import lives, ticks
from labcloud.providers.openstack.ssh import Ssh, Target

_SECONDS: Final = 30.0
_GLANCE: Final = 0.02
# Links are the node's to follow: who is root there must not lead this machine to files of its own. What sshfs knows of files it would
# believe for twenty seconds, and nodes change them.
_OPTIONS: Final = "passive,follow_symlinks,dcache_timeout=1,no_check_root,idmap=none"
_SERVER: Final = ("/usr/lib/openssh/sftp-server",)


class Folders:
    """What of nodes is a folder here. ``place`` is the path on nodes, ``home`` the lab's folder."""

    def __init__(self, ssh: Ssh, place: str, home: Path) -> None:
        self._ssh, self._place = ssh, place
        self._all = home / "mounts"
        self._own = self._all / f"{os.getpid()}.{ticks(os.getpid())}"
        self._shown: dict[str, tuple[Path, tuple[subprocess.Popen[bytes], ...]]] = {}
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}

    def of(self, target: Target) -> Path:
        """The folder of a node that runs. Raise EngineError if it cannot be had."""
        with self._lock:
            lock = self._locks.setdefault(target.id, threading.Lock())
        with lock:
            folder, processes = self._shown.get(target.id, (None, ()))
            if folder and all(each.poll() is None for each in processes):
                return folder
            self.forget(target.id)
            return self._show(target)

    def _show(self, target: Target) -> Path:
        if not shutil.which("sshfs"):
            raise EngineError("the data of nodes is reached by sshfs, which is not installed", resolution="apt-get install sshfs")
        folder = self._own / target.id
        with disk_errors(f"make {folder}"):
            make_private(self._all)
            with self._lock:
                self._sweep()
            make_private(self._own)
            folder.mkdir(mode=0o700, exist_ok=True)
        near, far = socket.socketpair()
        with near, far:
            over = _begin(self._ssh.argv(target, _SERVER, user="root"), far)
            shown = _begin(["sshfs", "-f", "-o", _OPTIONS, f":{self._place}", str(folder)], near)
        self._shown[target.id] = folder, (over, shown)
        end = time.monotonic() + _SECONDS
        while not os.path.ismount(folder):
            if over.poll() is not None or shown.poll() is not None or time.monotonic() > end:
                self.forget(target.id)
                said = b"".join(each.stderr.read() for each in (over, shown) if each.stderr).decode(errors="replace").strip()
                kind = DeadlineError if time.monotonic() > end else EngineError
                raise kind(f"the data of {target.name} cannot be reached from here", details=said, resolution="run the same command again")
            time.sleep(_GLANCE)
        return folder

    def forget(self, id: str) -> None:
        """Let go of a node's folder, if it is shown."""
        folder, processes = self._shown.pop(id, (None, ()))
        if folder is None:
            return
        _let_go(folder)
        for each in processes:
            with each:  # it is waited for, and what it said on its errors closed
                with suppress(subprocess.TimeoutExpired):
                    each.wait(1)
                each.kill()

    def close(self) -> None:
        for id in list(self._shown):
            self.forget(id)
        with suppress(OSError):
            self._own.rmdir()

    def _sweep(self) -> None:
        """Let go of what processes left that do not live any more."""
        for left in self._all.iterdir():
            pid, _, began = left.name.partition(".")
            if pid.isdecimal() and began.isdecimal() and not lives(socket.gethostname(), int(pid), int(began)):
                for folder in left.iterdir():
                    _let_go(folder)
                with suppress(OSError):
                    left.rmdir()


def _begin(argv: Sequence[str], both: socket.socket) -> subprocess.Popen[bytes]:
    """A program that reads from, and writes to, a connection; a Ctrl-C in the terminal is not for it."""
    ends = both.fileno()
    return subprocess.Popen(argv, stdin=ends, stdout=ends, stderr=subprocess.PIPE, start_new_session=True)


def _let_go(folder: Path) -> None:
    subprocess.run(["fusermount3", "-u", "-z", "-q", str(folder)], check=False, capture_output=True)
    with suppress(OSError):
        folder.rmdir()
