from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labcloud.errors import DeadlineError, EngineError
from labcloud.protect.processes import Ended, Running, run

ENV = {"PATH": os.environ["PATH"]}


def _sh(script: str, how: Running | None = None) -> Ended:
    return run(["sh", "-c", script], ENV, how or Running(20))


def _gone(pid: int, within: float = 10) -> bool:
    end = time.monotonic() + within
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.02)
    return False


def test_lines_come_whole_and_codes_are_told() -> None:
    lines: list[bytes] = []
    ended = _sh("printf 'a\\nb'; sleep 0.3; printf 'c\\n\\nd'; echo oh no >&2; exit 7", Running(20, line=lines.append))
    assert (ended.code, ended.stderr, lines) == (7, "oh no\n", [b"a", b"bc", b"", b"d"])
    assert 0.3 <= ended.seconds < 20


def test_long_output_on_both_sides_does_not_block() -> None:
    count = 0

    def take(data: bytes) -> None:
        nonlocal count
        count += len(data)

    ended = _sh("head -c 3000000 /dev/zero; head -c 300000 /dev/zero | tr '\\0' x >&2; echo; echo end >&2", Running(60, chunk=take))
    assert count == 3_000_001
    assert ended.stderr.endswith("end\n")
    assert len(ended.stderr) <= 65536


def test_it_runs_in_the_background_s_priority_without_a_terminal() -> None:
    lines: list[bytes] = []
    _sh("nice; ionice; (: </dev/tty) 2>/dev/null || echo no terminal", Running(20, line=lines.append))
    assert int(lines[0]) >= 10
    assert lines[1:] == [b"best-effort: prio 7", b"no terminal"]


def test_a_missing_program_is_named() -> None:
    with pytest.raises(EngineError, match="no program restic-none"):
        run(["restic-none"], ENV, Running(5))


@pytest.mark.parametrize("trap", ["", "trap '' INT;", "trap '' INT TERM;"])
def test_a_limit_ends_all_that_was_started(trap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labcloud.protect.processes._GRACE", ((signal.SIGINT, 0.3), (signal.SIGTERM, 0.3)))
    with pytest.raises(DeadlineError):
        _sh(f"{trap} sleep 300 & echo $$ $! >{tmp_path}/pids; while :; do wait; sleep 0.1; done", Running(0.5))
    for pid in (tmp_path / "pids").read_text().split():
        assert _gone(int(pid))


def test_it_is_asked_first_so_that_it_can_clear_up(tmp_path: Path) -> None:
    with pytest.raises(DeadlineError):
        _sh(f"trap 'echo cleared >{tmp_path}/said; exit' INT; while :; do sleep 0.1; done", Running(0.5))
    assert (tmp_path / "said").read_text() == "cleared\n"


def test_who_stops_it_is_heard() -> None:
    calls = 0

    def stop() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        _sh("exec sleep 300", Running(60, stop=stop))
    assert time.monotonic() - began < 9


def test_a_reader_that_raises_ends_it() -> None:
    def take(_: bytes) -> None:
        raise EngineError("too much")

    with pytest.raises(EngineError, match="too much"):
        _sh("echo x; exec sleep 300", Running(60, line=take))


def test_a_child_that_keeps_the_pipes_is_not_waited_for() -> None:
    began = time.monotonic()
    assert _sh("sleep 30 & echo $!", Running(25)).code == 0
    assert time.monotonic() - began < 20


def test_it_dies_with_who_called_it(tmp_path: Path) -> None:
    code = f"""
from labcloud.protect.processes import Running, run
run(["sh", "-c", "echo $$ >{tmp_path}/pid; exec sleep 300"], {ENV!r}, Running(300))
"""
    caller = subprocess.Popen([sys.executable, "-c", code])
    end = time.monotonic() + 30
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < end
        time.sleep(0.05)
    caller.kill()
    caller.wait()
    assert _gone(int((tmp_path / "pid").read_text()))
