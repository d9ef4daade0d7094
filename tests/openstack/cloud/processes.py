"""Processes of the cloud: started in the background with a log of their own, and waited for until they serve."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from settings import Settings


class NotReadyError(Exception):
    """Something did not come up; the sentence says what, and ends with the end of its log."""


class Processes:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, argv: Sequence[str | Path], environment: Mapping[str, str] | None = None, *, user: str = "root") -> None:
        with self.log(name).open("wb") as log:
            self._running[name] = subprocess.Popen(
                [str(each) for each in argv],
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True, user=user, group=user, extra_groups=[],
            )  # fmt: skip
        (self._settings.run / "pids" / name).write_text(str(self._running[name].pid))

    def stop(self, name: str) -> None:
        """Asks it to end, and waits for that."""
        process = self._running.pop(name)
        process.terminate()
        self.wait(f"the end of {name}", lambda: process.poll() is not None)

    def kill(self, name: str) -> None:
        """Ends it and all that it has started, whatever they are about."""
        process = self._running.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def run(self, name: str, argv: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
        """A command that ends. Its output is in a log of that name."""
        with self.log(name).open("ab") as log:
            ended = subprocess.run(
                [str(each) for each in argv],
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=600, check=False,
            )  # fmt: skip
        if ended.returncode != 0:
            raise NotReadyError(f"{argv[0]} ended with {ended.returncode}: {self._end_of(name)}")

    def wait(self, what: str, ready: Callable[[], bool], *, seconds: float = 180) -> None:
        """Until it is ready. Fails as soon as any process has ended, for all of them are to live as long as the cloud."""
        limit = time.monotonic() + seconds
        while not ready():
            for name, process in self._running.items():
                if process.poll() is not None:
                    raise NotReadyError(f"{name} ended with {process.returncode}: {self._end_of(name)}")
            if time.monotonic() > limit:
                raise NotReadyError(f"{what} did not come within {seconds:.0f} s")
            time.sleep(0.2)

    def wait_for_ports(self, address: str, *ports: int) -> None:
        for port in ports:
            self.wait(f"port {port} of {address}", lambda port=port: answers(address, port))  # type: ignore[misc]

    def log(self, name: str) -> Path:
        return self._settings.logs / f"{name}.log"

    def _end_of(self, name: str) -> str:
        return "\n".join(self.log(name).read_text(errors="replace").splitlines()[-3:])


def answers(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=1):
            return True
    except OSError:
        return False
