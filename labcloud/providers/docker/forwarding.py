"""The socket of another machine's Docker Engine as one of this machine, over ssh, for as long as a command lasts.

By OpenSSH itself, so that its configuration, agents and known hosts count. (The SDK's own way over ssh ignores ports and keys of that
configuration.)
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from labcloud.errors import EngineError

_SOCKET: Final = "/var/run/docker.sock"
_SECONDS: Final = 20.0
_OPTIONS: Final = ("BatchMode=yes", "ExitOnForwardFailure=yes", "ConnectTimeout=10", "ServerAliveInterval=15", "ServerAliveCountMax=3")


class Forwarded:
    """Of the engine of the host ``name``, at ``url`` (``ssh://[USER@]HOST[:PORT]``)."""

    def __init__(self, name: str, url: str) -> None:
        self._name = name
        self._url = url
        self._lock = threading.Lock()
        self._folder: Path | None = None
        self._process: subprocess.Popen[str] | None = None

    def url(self) -> str:
        """Where the engine is reached here. Raise EngineError, with what ssh said, if that cannot be."""
        with self._lock:
            if self._folder is None or self._process is None or self._process.poll() is not None:
                self._end()
                self._begin()
            return f"unix://{self._folder}/docker.sock"

    def _begin(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="labcloud-"))
        socket = self._folder / "docker.sock"
        argv = ["ssh", "-NT", *(word for each in _OPTIONS for word in ("-o", each)), "-L", f"{socket}:{_SOCKET}", "--", self._url]
        try:
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        except FileNotFoundError as exc:
            raise EngineError(
                f"could not reach {self._name}: the program ssh is missing", resolution="apt-get install openssh-client"
            ) from exc
        deadline = time.monotonic() + _SECONDS
        while not socket.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = self._end()
                raise EngineError(
                    f"could not reach {self._name} by ssh",
                    details=said,
                    resolution=f"this has to work without a question: ssh {self._url} docker ps",
                )
            time.sleep(0.02)

    def _end(self) -> str:
        """What ssh said."""
        said = ""
        if self._process:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                _, said = self._process.communicate(timeout=5)
            self._process = None
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        return said.strip()

    def close(self) -> None:
        with self._lock:
            self._end()
