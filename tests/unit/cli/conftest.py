"""The command line in this process, on a simulated engine that a file keeps between commands."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from labcloud.cli.main import run


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


Labcloud = Callable[..., Done]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the lab will be; nothing is there yet."""
    folder = tmp_path / "home"
    monkeypatch.setenv("LABCLOUD_HOME", str(folder))
    monkeypatch.setenv("LABCLOUD_SIMULATED_STATE", str(tmp_path / "engine.json"))
    monkeypatch.setenv("LABCLOUD_AUTHOR", "Ada <ada@example.org>")
    return folder


@pytest.fixture
def labcloud(home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Labcloud:
    def command(*argv: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["labcloud", *argv])
        capfd.readouterr()
        code = run()
        sys.stdout.flush()
        return Done(code, *capfd.readouterr())

    return command


@pytest.fixture
def cluster(labcloud: Labcloud) -> str:
    """A cluster of one master and two workers."""
    assert labcloud("create", "hadoop-2.7", "--tenant", "acme", "--name", "c", "--provider", "simulated", "--workers", "2").code == 0
    return "acme/c"
