"""Talking to servers by OpenSSH's client: one connection a server, which further commands share, and host keys that are pinned.

A server's key is taken on the first connection after it was made and never changes after that: it is kept by the server's id, not by its
address. Knows nothing of OpenStack.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import os
import re
import shlex
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, Final, cast

from labcloud.errors import DeadlineError, EngineError
from labcloud.providers.base import Command, Result, Sink

_CHUNK: Final = 1 << 16
_FAILED: Final = 255
# What ssh itself says when it ends with 255; a command that ends with 255 says something else.
_TROUBLE: Final = re.compile(
    rb"ssh: |kex_exchange|Connection (?:closed|reset|timed out|refused)|Permission denied|Host key verification|"
    rb"mux_client|client_loop|Timeout, server"
)
_CONNECT_SECONDS: Final = 5
_KEEP_SECONDS: Final = 60
_PAUSE: Final = 0.3
_FORWARD_SECONDS: Final = 30.0
# The environment of the image; sudo gives a command a new one.
_AS_USER: Final = 'set -a; . /etc/environment; set +a; cd / && exec "$@"'


@dataclass(frozen=True)
class Target:
    """A server: its id, the address by which it is reached, its name for people, and ssh's options that lead there."""

    id: str
    address: str
    name: str
    way: tuple[str, ...] = ()


class Ssh:
    """The client of one lab. ``folder`` is where its key and the servers' keys are kept, ``user`` who logs in."""

    def __init__(self, folder: Path, user: str) -> None:
        self._folder = folder
        self.user = user
        self._lock = threading.Lock()

    # The lab's key

    @property
    def key(self) -> Path:
        return self._folder / "id_ed25519"

    def public_key(self) -> str:
        """The lab's public key; both are made when they are first asked for."""
        with self._lock:
            if not self.key.exists():
                self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                with tempfile.TemporaryDirectory(dir=self._folder) as beside:
                    made = Path(beside) / self.key.name
                    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "labcloud", "-f", str(made)]
                    subprocess.run(argv, check=True, capture_output=True, stdin=subprocess.DEVNULL)
                    os.replace(made.with_suffix(".pub"), self.key.with_suffix(".pub"))  # noqa: PTH105 - atomic
                    os.replace(made, self.key)  # noqa: PTH105
        return self.key.with_suffix(".pub").read_text().strip()

    def forget(self, id: str) -> None:
        """A server is gone: its key says nothing any more, and the connection to it ends."""
        for each in (self._known(id), self._socket(id)):
            each.unlink(missing_ok=True)

    def _known(self, id: str) -> Path:
        return self._folder / "hosts" / id

    def _socket(self, id: str) -> Path:
        # A socket's path may have 104 characters, and a lab's folder may lie deep.
        mark = hashlib.sha256(f"{self._folder}/{id}".encode()).hexdigest()[:20]
        return _sockets() / mark

    # Command lines

    def options(self, target: Target) -> list[str]:
        """What ssh needs to reach a server: also for programs that call ssh themselves."""
        self._known(target.id).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        pairs = {
            "BatchMode": "yes", "IdentityFile": str(self.key), "IdentitiesOnly": "yes", "PreferredAuthentications": "publickey",
            "UserKnownHostsFile": str(self._known(target.id)), "GlobalKnownHostsFile": "/dev/null", "HostKeyAlias": target.id,
            "StrictHostKeyChecking": "accept-new", "UpdateHostKeys": "no", "ConnectTimeout": str(_CONNECT_SECONDS), "LogLevel": "ERROR",
            "ControlMaster": "auto", "ControlPath": str(self._socket(target.id)), "ControlPersist": str(_KEEP_SECONDS),
            "ServerAliveInterval": "15", "ServerAliveCountMax": "4", "ForwardAgent": "no", "ForwardX11": "no",
        }  # fmt: skip
        return ["-F", "none", *(word for name, value in pairs.items() for word in ("-o", f"{name}={value}")), *target.way]

    def argv(self, target: Target, argv: Sequence[str], *, user: str, terminal: bool = False) -> list[str]:
        """The command line that runs ``argv`` on a server as ``user``."""
        words = ("sudo", "-n", "-H", "-u", user, "--", "/bin/sh", "-c", _AS_USER, "sh", *argv)
        flags = ["-tt"] if terminal else ["-T"]
        return ["ssh", *self.options(target), *flags, f"{self.user}@{target.address}", "--", shlex.join(words)]

    # Running

    def run(self, target: Target, command: Command, *, stdout: Sink | None = None, stderr: Sink | None = None) -> Result:
        """Run a command and wait for its end; see `Provider.execute`. Raise EngineError if the server cannot be reached."""
        argv = self.argv(target, command.argv, user=command.user)
        out, err = stdout or io.BytesIO(), _Kept(stderr or io.BytesIO())
        stdin = subprocess.PIPE if command.stdin else subprocess.DEVNULL
        with subprocess.Popen(argv, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            try:
                feeder = _start(_feed, process.stdin, command.stdin) if command.stdin else None
                pumps = [_start(_pump, process.stdout, out), _start(_pump, process.stderr, err)]
                code = process.wait()
                for each in pumps:
                    each.join()
                if feeder is not None and not hasattr(command.stdin, "read"):
                    feeder.join()
            except BaseException:
                process.kill()
                raise
        if code == _FAILED and _TROUBLE.search(err.end):
            raise EngineError(f"the node {target.name} cannot be reached by ssh", details=err.end.decode(errors="replace").strip())
        return Result(code, _held(out, stdout), _held(err.target, stderr))

    def wait(self, target: Target, seconds: float) -> None:
        """Return when a command can be run on a server that starts. Raise DeadlineError, with what ssh said last."""
        end = time.monotonic() + seconds
        while True:
            try:
                result = self.run(target, Command(("true",)))
            except EngineError as exc:
                said = exc.details
            else:
                if result.exit_code == 0:
                    return
                said = result.stderr.decode(errors="replace")
            if time.monotonic() > end:
                raise DeadlineError(
                    f"the node {target.name} did not let ssh in within {seconds:g} s, at {target.address}", details=said.strip(),
                    resolution="look at its console (openstack console log show), and at the way to its network (docs/openstack.md)",
                )  # fmt: skip
            time.sleep(_PAUSE)

    def forward(self, target: Target, host: str, pairs: Mapping[int, int]) -> contextlib.AbstractContextManager[None]:
        """While the block lasts, local ports (keys, on 127.0.0.1) lead to ports of ``host`` as the server itself reaches it."""
        ways = [word for here, there in pairs.items() for word in ("-L", f"127.0.0.1:{here}:{host}:{there}")]
        # A connection of its own, so that nothing is forwarded any more when that ends. Of two values ssh takes the first.
        own = ["-o", "ControlMaster=no", "-o", "ControlPath=none", "-o", "ExitOnForwardFailure=yes"]
        return forwarding(["ssh", *own, *self.options(target), "-T", *ways, f"{self.user}@{target.address}", "cat"], list(pairs))

    @contextlib.contextmanager
    def channel(self, target: Target, host: str, port: int, *, timeout: float) -> Iterator[socket.socket]:
        """A connection to a TCP port of ``host``, as the server itself reaches it."""
        ours, theirs = socket.socketpair()
        ours.settimeout(timeout)
        argv = ["ssh", *self.options(target), "-W", f"{host}:{port}", f"{self.user}@{target.address}"]
        with ours, theirs, subprocess.Popen(argv, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.DEVNULL) as process:
            theirs.close()
            try:
                yield ours
            finally:
                process.terminate()


@contextlib.contextmanager
def forwarding(argv: Sequence[str], ports: Sequence[int]) -> Iterator[None]:
    """While ``argv``, an ssh that forwards local ``ports``, does so. Raise EngineError if it cannot, DeadlineError if that takes long.

    It ends with its standard input, however this process ends.
    """
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            end = time.monotonic() + _FORWARD_SECONDS
            while not all(map(_listens, ports)):
                if process.poll() is not None or time.monotonic() > end:
                    process.terminate()
                    said = process.stderr.read().decode(errors="replace").strip() if process.stderr else ""
                    kind = EngineError if process.returncode is not None else DeadlineError
                    raise kind("ports of nodes cannot be reached over ssh", details=said, resolution="run the same command again")
                time.sleep(_PAUSE / 10)
            yield
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port(wanted: int = 0) -> int:
    """A port of this machine's loopback that nobody has: ``wanted``, if that is one. Raise EngineError if somebody has it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError as exc:
            raise EngineError(f"port {wanted} of this machine is taken", details=str(exc), resolution="end what has it") from exc
        return int(probe.getsockname()[1])


class Tunnelled(http.client.HTTPConnection):
    """HTTP over a connection that is there already."""

    def __init__(self, host: str, port: int, over: socket.socket) -> None:
        super().__init__(host, port)
        self.sock = over

    def connect(self) -> None:
        """The connection is there."""


def chunks(content: Iterable[bytes]) -> BinaryIO:
    """What is made piece by piece, as a file to read."""
    return cast(BinaryIO, _Chunks(content))


class _Chunks(io.RawIOBase):
    def __init__(self, content: Iterable[bytes]) -> None:
        self._content = iter(content)

    def read(self, size: int = -1) -> bytes:  # noqa: ARG002 - pieces are as large as they are made
        return next((each for each in self._content if each), b"")


class _Kept:
    """Passes on what it is given, and remembers the end of it."""

    def __init__(self, target: Sink) -> None:
        self.target = target
        self.end = b""

    def write(self, chunk: bytes, /) -> object:
        self.end = (self.end + chunk)[-4096:]
        return self.target.write(chunk)

    def flush(self) -> object:
        return self.target.flush()


def _sockets() -> Path:
    """A folder of this user's alone, with a short name, for the connections that commands share."""
    folder = Path(tempfile.gettempdir()) / f"labcloud-ssh-{os.getuid()}"
    folder.mkdir(exist_ok=True, mode=0o700)
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077 or folder.is_symlink():
        raise EngineError(f"{folder} belongs to somebody else, or others may write there", resolution=f"remove it: rm -r {folder}")
    return folder


def _start(do: Callable[..., None], *args: object) -> threading.Thread:
    thread = threading.Thread(target=do, args=args, daemon=True)
    thread.start()
    return thread


def _pump(source: IO[bytes], target: Sink) -> None:
    while chunk := cast(io.BufferedReader, source).read1(_CHUNK):
        target.write(chunk)
        target.flush()


def _feed(target: IO[bytes], stdin: bytes | BinaryIO) -> None:
    source = io.BytesIO(stdin) if isinstance(stdin, bytes) else stdin
    with contextlib.suppress(BrokenPipeError), target:
        while chunk := source.read(_CHUNK):
            target.write(chunk)
            target.flush()


def _held(target: Sink, given: Sink | None) -> bytes:
    return target.getvalue() if given is None and isinstance(target, io.BytesIO) else b""
