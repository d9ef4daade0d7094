"""Telling: what login shells make of a notice."""

from __future__ import annotations

import os
import pty
import subprocess
import time
from pathlib import Path

import pytest

from labcloud.lab.repository import _BASHRC
from labcloud.leases.notices import NOTICE_FILE


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
