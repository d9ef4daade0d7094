from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from labcloud.errors import EngineError
from labcloud.protect.calling import Restic, Watcher
from labcloud.protect.stalls import Idleness, Work, work
from labcloud.protect.targets import Secrets, Target
from tests.unit.protect.conftest import Place


def _idle(steps: list[tuple[float, int, float] | None]) -> list[float]:
    """Seconds of idleness at each look: time, bytes, processor seconds; None where nothing could be read."""
    now, found = 0.0, []
    done: Work | None = None
    idleness = Idleness(look=lambda _: done, clock=lambda: now)
    for each in steps:
        now, done = (each[0], Work(each[1], each[2])) if each else (now + 1, None)
        found.append(idleness.seconds(1))
    return found


def test_a_progress_line_now_and_then_is_no_work() -> None:
    assert _idle([(0, 0, 0), (1, 300, 0.01), (2, 600, 0.01), (60, 18_000, 0.3)]) == [0, 1, 2, 60]


def test_bytes_or_computing_are_work() -> None:
    assert _idle([(0, 0, 0), (10, 100, 0), (11, 5000, 0), (12, 5000, 0), (13, 5000, 0.5), (14, 5000, 0.5)]) == [0, 10, 0, 1, 0, 1]


def test_what_cannot_be_read_is_no_idleness() -> None:
    assert _idle([(0, 0, 0), (5, 0, 0), None, (9, 0, 0), (10, 0, 0)]) == [0, 5, 0, 0, 1]


def test_real_processes() -> None:
    assert work(999_999_999) is None
    assert work(os.getpid()) is not None
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    lazy = subprocess.Popen(["sleep", "60"])
    try:
        time.sleep(0.5)
        one, other = Idleness(), Idleness()
        for _ in range(4):
            seconds = one.seconds(busy.pid), other.seconds(lazy.pid)
            time.sleep(1.1)
        assert seconds[0] < 2
        assert seconds[1] > 2.5
    finally:
        for each in (busy, lazy):
            each.kill()
            each.wait()


@pytest.mark.parametrize(
    ("room", "limit", "brief"), [(1 << 40, 1.0, "has done nothing for"), (1000, 300.0, "no space is left"), (None, 1.0, "nothing")]
)
def test_a_restic_that_waits_for_itself_is_ended(
    place: Place, monkeypatch: pytest.MonkeyPatch, room: int | None, limit: float, brief: str
) -> None:
    monkeypatch.setattr("labcloud.protect.calling._IDLE", limit)
    monkeypatch.setattr("labcloud.protect.calling._IDLE_FULL", 1.0)
    monkeypatch.setattr(Target, "room", lambda _: room)
    program = place.root / "restic"
    program.write_text("#!/bin/sh\nexec sleep 300\n")
    program.chmod(0o755)
    password = Secrets(place.root / "home").password_file("acme")
    restic = Restic(place.target, password, {"PATH": f"{place.root}:{os.environ['PATH']}"}, place.root / "cache", Watcher())
    with pytest.raises(EngineError, match=brief) as caught:
        restic.ask("backup", limit=60)
    assert caught.value.resolution
