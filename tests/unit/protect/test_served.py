"""Targets elsewhere, served on loopback: restic's own protocol with a password by rclone, and SFTP with a key by OpenSSH."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from labcloud.errors import LabError
from labcloud.protect.restic import CONSISTENT, Repository, Upload
from labcloud.protect.staging import Tree
from labcloud.protect.targets import Secrets, Target

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def served(port: int, *words: str) -> Iterator[None]:
    """A server that listens on a port of this machine."""
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            end = time.monotonic() + 20
            while not _listens(port):
                assert time.monotonic() < end and server.poll() is None, f"{words[0]} does not serve"
                time.sleep(0.05)
            yield
        finally:
            server.terminate()


def repository(home: Path, target: str, credentials: Mapping[str, str] | None = None) -> Repository:
    return Repository(Target.parse(target).of("acme"), Secrets(home).password_file("acme"), credentials, cache=home / "cache")


def comes_back(home: Path, at: Repository) -> None:
    """A copy is made there, checked, and brought back whole."""
    data = home / "data"
    data.mkdir()
    content = bytes(range(256)) * 5000
    (data / "block").write_bytes(content)
    at.ensure()
    stored = at.backup(Upload(Tree({"worker-0/0": data}, {}), "acme/c", ("labcloud", CONSISTENT), NOON), stage=home / "stage")
    assert [each.id for each in at.copies("acme/c")] == [stored.id]
    assert at.check("all").ok
    (home / "back").mkdir()
    at.restore(stored.id, {"worker-0/0": home / "back"}, stage=home / "stage")
    assert (home / "back/block").read_bytes() == content


def test_by_restics_own_protocol(tmp_path: Path) -> None:
    port, secret = _free_port(), Secrets(tmp_path)
    options = ("--config", "/dev/null", "--addr", f"127.0.0.1:{port}", "--user", "lab", "--pass", "a secret")
    (tmp_path / "served").mkdir()
    with served(port, "rclone", "serve", "restic", *options, str(tmp_path / "served")):
        place = f"rest:http://127.0.0.1:{port}/"
        secret.password_file("acme")
        (secret.folder / "nas.env").write_text("RESTIC_REST_USERNAME=lab\nRESTIC_REST_PASSWORD=a secret\n")
        (secret.folder / "nas.env").chmod(0o600)
        with pytest.raises(LabError) as caught:
            repository(tmp_path, place).ensure()
        assert "a secret" not in f"{caught.value.brief}{caught.value.details}"
        comes_back(tmp_path, repository(tmp_path, place, secret.credentials("nas")))
    assert (tmp_path / "served/acme/config").is_file()


def test_by_sftp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port, key, host = _free_port(), tmp_path / "key", tmp_path / "host"
    for each in (key, host):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(each)], check=True)
    wrapped = tmp_path / "bin" / "ssh"  # what an operator has in ~/.ssh/config
    wrapped.parent.mkdir()
    options = f"-i {key} -o IdentitiesOnly=yes -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile={tmp_path}/known"
    wrapped.write_text(f'#!/bin/sh\nexec /usr/bin/ssh {options} "$@"\n')
    wrapped.chmod(0o755)
    monkeypatch.setenv("PATH", str(wrapped.parent), prepend=":")
    config = tmp_path / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {host}\nAuthorizedKeysFile {key}.pub\nStrictModes no\nUsePAM no\n"
        f"PasswordAuthentication no\nPermitRootLogin prohibit-password\nPidFile none\nSubsystem sftp internal-sftp\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)  # where sshd gives up its rights; systemd makes it elsewhere
    (tmp_path / "backups").mkdir()
    with served(port, "/usr/sbin/sshd", "-D", "-f", str(config)):
        comes_back(tmp_path, repository(tmp_path, f"sftp://root@127.0.0.1:{port}/{tmp_path}/backups"))
    assert (tmp_path / "backups/acme/config").is_file()
