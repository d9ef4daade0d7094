"""Other Docker hosts on this machine: each an engine in a network namespace of its own, behind a pair of virtual network cards, that does
not see the lab's folder. labcloud reaches them by ssh, and they have a wire between them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from tests.acceptance.driver import run, wait_for

NAME, THIRD = "lab2", "lab3"
_PORT = 2222
_NETWORK = IPv4Network("198.51.100.0/24")  # RFC 5737: addresses for documentation
_START = 'mount -t tmpfs tmpfs "$1"; shift; exec "$@"'


@dataclass
class AnotherHost:
    """A lab at ``hidden`` is not there. Who comes to it by ssh has the key of the host ``before`` it, if there is one."""

    name: str
    hidden: Path
    before: AnotherHost | None = None
    engine: subprocess.Popen[bytes] | None = None
    sshd: subprocess.Popen[bytes] | None = None

    @property
    def folder(self) -> Path:
        return Path("/run") / f"{self.name}-{os.getpid()}"  # an engine's socket has a short name

    @property
    def space(self) -> str:
        """Its network namespace."""
        return f"{self.name}-{os.getpid()}"

    @property
    def addresses(self) -> tuple[str, str]:
        """This machine's, and the host's own; others at the same time have others."""
        between = list(_NETWORK.subnets(new_prefix=30))[(2 * os.getpid() + (self.name == THIRD)) % 64]
        return str(between[1]), str(between[2])

    @property
    def url(self) -> str:
        return f"unix://{self.folder}/docker.sock"

    def docker(self, *argv: str, expect: int | None = 0) -> str:
        return run(("docker", "--host", self.url, *argv), timeout=60, expect=expect).text

    def inside(self, *argv: str, expect: int | None = 0) -> str:
        """Run a program of this machine in the host's network."""
        return run(("ip", "netns", "exec", self.space, *argv), expect=expect).text

    def start(self) -> None:
        dockerd = ["dockerd", "--host", self.url, "--data-root", str(self.folder / "data"), "--exec-root", str(self.folder / "exec")]
        argv = ["unshare", "--mount", "sh", "-ec", _START, "start", str(self.hidden), *dockerd, "--pidfile", str(self.folder / "pid")]
        with (self.folder / "log").open("ab") as log:
            within = ["nsenter", f"--net=/run/netns/{self.space}", *argv]
            self.engine = subprocess.Popen(within, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        wait_for("the other host's engine", lambda: run(("docker", "--host", self.url, "version"), expect=None).code == 0, seconds=60)
        self._start_sshd()

    def _start_sshd(self) -> None:
        """In the engine's own namespaces, where its socket is at the usual place."""
        assert self.engine is not None
        inside = ("nsenter", "--target", str(self.engine.pid), "--mount", "--net")
        run((*inside, "mount", "--bind", f"{self.folder}/docker.sock", "/run/docker.sock"))
        with (self.folder / "log").open("ab") as log:
            argv = [*inside, "/usr/sbin/sshd", "-D", "-e", "-f", str(self.folder / "sshd_config")]
            self.sshd = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        wait_for("the other host's ssh", lambda: run((*self.ssh, "true"), expect=None).code == 0, seconds=30)

    @property
    def ssh(self) -> tuple[str, ...]:
        return (str((self.before or self).folder / "bin/ssh"), f"ssh://root@{self.addresses[1]}:{_PORT}")

    def make_keys(self) -> None:
        """For the host and who comes to it. This machine's own configuration of ssh stays as it is: a program named ssh brings another."""
        for each in ("host", "key"):
            run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / each)))
        where = self.folder
        (where / "sshd_config").write_text(
            f"Port {_PORT}\nListenAddress {self.addresses[1]}\nHostKey {where}/host\nPidFile none\n"
            f"AuthorizedKeysFile {(self.before or self).folder}/key.pub\n"
            "PermitRootLogin prohibit-password\nStrictModes no\n"
        )
        (where / "ssh_config").write_text(
            f"IdentityFile {where}/key\nUserKnownHostsFile {where}/known\nStrictHostKeyChecking accept-new\nLogLevel ERROR\n"
        )
        (where / "bin").mkdir()
        (where / "bin/ssh").write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {where}/ssh_config "$@"\n')
        (where / "bin/ssh").chmod(0o755)
        Path("/run/sshd").mkdir(exist_ok=True)

    def stop(self) -> None:
        if self.sshd:
            self.sshd.terminate()
            self.sshd.wait(30)
            self.sshd = None
        if self.engine:
            self.engine.send_signal(signal.SIGTERM)
            self.engine.wait(120)
            self.engine = None

    def left(self, lab: str) -> list[str]:
        """What there is of a lab."""
        mine = f"label=labcloud.lab={lab}"
        kinds = (("ps", "-a", "--format", "container {{.Names}}"), ("network", "ls", "--format", "network {{.Name}}"))
        kinds += (("volume", "ls", "--format", "volume {{.Name}}"),)
        found = [line for each in kinds for line in self.docker(*each, "--filter", mine).splitlines()]
        links = [line for line in self.inside("ip", "-brief", "link", "show", "type", "vxlan").splitlines() if line]
        return found + links

    def describe(self, home: Path, *others: AnotherHost) -> None:
        """Let a lab know of it, and of others."""
        text = f"address: {self.addresses[0]}\nhosts:\n"
        for each in (self, *others):
            there = each.addresses[1]
            text += f"  {each.name}: {{url: 'ssh://root@{there}:{_PORT}', address: {there}}}\n"
        (home / "lab").mkdir(parents=True, exist_ok=True)
        (home / "lab" / "docker.yaml").write_text(text)


@contextmanager
def another_host(hidden: Path, name: str = NAME, before: AnotherHost | None = None) -> Iterator[AnotherHost]:
    """The host, for as long as the block lasts."""
    made = AnotherHost(name, hidden, before)
    folder, space = made.folder, made.space
    here, there = made.addresses
    try:
        folder.mkdir()
        hidden.mkdir(parents=True, exist_ok=True)
        run(("ip", "netns", "add", space))
        run(("ip", "link", "add", f"{space}a", "type", "veth", "peer", "name", f"{space}b", "netns", space))
        run(("ip", "address", "add", f"{here}/30", "dev", f"{space}a"))
        run(("ip", "link", "set", f"{space}a", "up"))
        for argv in (
            ("ip", "address", "add", f"{there}/30", "dev", f"{space}b"),
            ("ip", "link", "set", f"{space}b", "up"),
            ("ip", "link", "set", "lo", "up"),
            ("ip", "route", "add", "default", "via", here),
            ("sysctl", "-qw", "net.ipv4.ip_forward=1"),
        ):
            made.inside(*argv)
        if before:  # a wire between them: this machine passes nobody's VXLAN on
            run(("ip", "link", "add", "wire", "netns", space, "type", "veth", "peer", "name", "wire", "netns", before.space))
            for one, other in ((made, before), (before, made)):
                one.inside("ip", "link", "set", "wire", "up")
                one.inside("ip", "route", "add", f"{other.addresses[1]}/32", "dev", "wire", "src", one.addresses[1])
        made.make_keys()
        made.start()
        with pytest.MonkeyPatch.context() as patch:
            if before is None:
                patch.setenv("PATH", f"{folder}/bin:{os.environ['PATH']}")
            yield made
    finally:
        made.stop()
        run(("ip", "link", "delete", f"{space}a"), expect=None)
        run(("ip", "netns", "delete", space), expect=None)
        shutil.rmtree(folder, ignore_errors=True)
