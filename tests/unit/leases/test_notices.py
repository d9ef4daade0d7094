"""Telling: what a URL is sent, what is noted of it, how long it may take, and what login shells make of it."""

from __future__ import annotations

import os
import pty
import socket
import subprocess
import time
from pathlib import Path

import pytest

from labcloud.lab.repository import _BASHRC
from labcloud.leases.notices import NOTICE_FILE, post, shown_host


def test_a_web_service_that_says_nothing_costs_no_more_than_the_limit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        wrong = post(f"http://127.0.0.1:{silent.getsockname()[1]}/secret", {}, seconds=0.2)
        assert wrong in ("no answer within 0.2 s", "no answer in time")
        assert time.monotonic() - began < 2


def test_a_look_up_that_hangs_costs_no_more_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labcloud.leases.notices._send", lambda *_: time.sleep(1))
    began = time.monotonic()
    assert post("http://slow.example.org/", {}, seconds=0.1) == "no answer within 0.1 s"
    assert time.monotonic() - began < 0.9


@pytest.mark.parametrize("url", ["http://127.0.0.1:secret/", "http://[secret/", "http:///secret", "file:///etc/secret", "secret"])
def test_a_url_that_is_none_is_no_error_and_not_quoted(url: str) -> None:
    wrong = post(url, {}, seconds=2)
    assert wrong
    assert "secret" not in wrong


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pw@chat.example.org/hooks/T0/B0?token=x#y", "https://chat.example.org"),
        ("http://127.0.0.1:8080/x", "http://127.0.0.1:8080"),
        ("http://[::1]:8080/x", "http://[::1]:8080"),
    ],
)
def test_only_scheme_and_host_of_a_url_are_shown(url: str, shown: str) -> None:
    assert shown_host(url) == shown


def login(folder: Path, notice: str | None) -> str:
    """What a login shell on a terminal shows, of the notice and nothing else."""
    file = folder / "notice"
    if notice is not None:
        file.write_text(notice)
    (folder / "bashrc").write_text(_BASHRC.replace(NOTICE_FILE, str(file)))
    near, far = pty.openpty()
    try:
        script = f". {folder}/bashrc; echo end"
        subprocess.run(["/bin/bash", "--norc", "--noprofile", "-c", script], stdout=far, stderr=far, stdin=subprocess.DEVNULL, check=True)
        shown = b""
        while b"end" not in shown:
            shown += os.read(near, 4096)
    finally:
        os.close(far)
        os.close(near)
    return shown.decode().replace("\r\n", "\n").removesuffix("end\n")


def test_a_login_shell_shows_a_notice_while_it_is_true(tmp_path: Path) -> None:
    assert NOTICE_FILE in _BASHRC
    assert login(tmp_path, f"{int(time.time()) + 60} The lease ends *soon*.\n") == "The lease ends *soon*.\n"


@pytest.mark.parametrize("notice", [None, "", "\n", "nonsense\n", "1795264200", "1000 It is over.\n", "soon The lease ends.\n"])
def test_a_login_shell_shows_nothing_else(tmp_path: Path, notice: str | None) -> None:
    assert login(tmp_path, notice) == ""


def test_a_shell_without_a_terminal_shows_nothing(tmp_path: Path) -> None:
    (tmp_path / "notice").write_text(f"{int(time.time()) + 60} The lease ends.\n")
    (tmp_path / "bashrc").write_text(_BASHRC.replace(NOTICE_FILE, str(tmp_path / "notice")))
    done = subprocess.run(["/bin/bash", "--norc", "-c", f". {tmp_path}/bashrc"], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")
