"""Booting a disk on this machine, to look at it: QEMU emulates the processor, so neither KVM nor a cloud is needed. Knows no image.

The machine gets what OpenStack would give it, a configuration drive with a name and a key, and is reached by ssh through QEMU's
own network; nothing of it is to be seen outside. The disk is not changed: what the machine writes is thrown away.
"""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from labcloud.errors import DeadlineError, EngineError
from labcloud.images.disk import run
from labcloud.images.model import DiskFormat

USER: Final = "labcloud"
_PROGRAM: Final = "qemu-system-x86_64"
_MEMORY: Final = 1024
_GROWN: Final = 1 << 30
_POLL: Final = 1.0
# Of ssh: what it says when it did not get as far as the command.
_NO_CONNECTION: Final = 255


class Guest:
    """A machine that has booted; a Sandbox. Commands have the environment of a login."""

    def __init__(self, ssh: Sequence[str], console: Path) -> None:
        self._ssh = ssh
        self._console = console

    def run(self, argv: Sequence[str], *, user: str = "root") -> tuple[int, str]:
        login = ["sudo", "-n", "-H", "-u", user, "--", "bash", "-lc", 'exec "$@"', "bash", *argv]
        # Two streams: ssh would cut lines of the one with lines of the other.
        done = subprocess.run([*self._ssh, shlex.join(login)], capture_output=True, check=False)
        if done.returncode == _NO_CONNECTION:
            raise EngineError("the machine cannot be reached any more", details=self.console(), resolution="see what its console says")
        return done.returncode, (done.stdout + done.stderr).decode(errors="replace")

    def console(self) -> str:
        """The end of what it has said on its serial console."""
        return self._console.read_text(encoding="utf-8", errors="replace")[-3000:] if self._console.exists() else ""

    def answers(self) -> bool:
        return subprocess.run([*self._ssh, "true"], capture_output=True, check=False).returncode == 0


@contextmanager
def booted(disk: Path, format: DiskFormat, work: Path, *, seconds: float) -> Iterator[Guest]:
    """A machine with a copy of ``disk`` that is 1 GiB larger, once it can be logged in to. ``work`` is an empty folder.

    Raise DeadlineError, with the console's end, if that takes longer than ``seconds``; EngineError if QEMU fails.
    """
    port = _free_port()
    key, console, overlay, seed = work / "key", work / "console", work / "overlay", work / "seed"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "labcloud image verify", "-f", str(key)])
    _write_seed(seed, work / "config-drive", key.with_suffix(".pub").read_text(encoding="utf-8").strip())
    _write_overlay(disk, format, overlay)
    argv = [_PROGRAM, "-accel", "tcg,thread=multi", "-smp", "2", "-m", str(_MEMORY), "-display", "none", "-monitor", "none", "-no-reboot"]
    argv += ["-serial", f"file:{console}", "-drive", f"file={overlay},if=virtio,format=qcow2,cache=unsafe"]
    argv += ["-drive", f"file={seed},if=virtio,format=raw,readonly=on", "-device", "virtio-rng-pci"]
    argv += ["-nic", f"user,model=virtio-net-pci,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"]
    guest = Guest(_ssh(work, port), console)
    with _emulated(argv, work / "qemu") as process:
        _await(guest, process, work / "qemu", seconds)
        yield guest


def _write_seed(image: Path, folder: Path, public_key: str) -> None:
    """A configuration drive: https://docs.openstack.org/nova/latest/user/metadata.html. cloud-init takes any file system with its label."""
    latest = folder / "openstack/latest"
    latest.mkdir(parents=True)
    facts = {"uuid": "00000000-0000-4000-8000-000000000001", "name": "verify", "hostname": "verify", "public_keys": {"verify": public_key}}
    (latest / "meta_data.json").write_text(json.dumps(facts), encoding="utf-8")
    run(["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-L", "config-2", "-d", str(folder), str(image), "4M"])


def _write_overlay(disk: Path, format: DiskFormat, overlay: Path) -> None:
    facts = json.loads(run(["qemu-img", "info", "--output=json", "-f", str(format), str(disk)]))
    size = str(facts["virtual-size"] + _GROWN)
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", str(format), "-b", str(disk.resolve()), str(overlay), size])


def _ssh(work: Path, port: int) -> list[str]:
    options = {
        "IdentityFile": str(work / "key"),
        "IdentitiesOnly": "yes",
        "BatchMode": "yes",
        "ConnectTimeout": "10",
        "ServerAliveInterval": "15",
        "UserKnownHostsFile": str(work / "known_hosts"),
        "StrictHostKeyChecking": "accept-new",
        "ControlMaster": "auto",
        "ControlPath": str(work / "ctl"),
        "ControlPersist": "60",
        "LogLevel": "ERROR",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return ["ssh", "-F", "none", *words, "-p", str(port), f"{USER}@127.0.0.1"]


@contextmanager
def _emulated(argv: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    try:
        with log.open("wb") as said:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    except FileNotFoundError as exc:
        raise EngineError(f"the program {argv[0]} is missing", resolution="install it: apt-get install qemu-system-x86") from exc
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _await(guest: Guest, process: subprocess.Popen[bytes], log: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not guest.answers():
        if process.poll() is not None:
            details = log.read_text(encoding="utf-8", errors="replace") + guest.console()
            raise EngineError("the machine went off while it booted", details=details[-3000:], resolution="see what its console says")
        if time.monotonic() > deadline:
            brief = f"nobody could log in to the machine within {seconds:.0f} s"
            raise DeadlineError(brief, details=guest.console(), resolution="see what its console says; --timeout gives it longer")
        time.sleep(_POLL)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
