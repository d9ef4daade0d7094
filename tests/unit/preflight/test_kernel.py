"""Figures of proc(5), read from files that look like it."""

from __future__ import annotations

from pathlib import Path

import pytest

from labcloud.preflight import kernel

LIMITS = "Limit             Soft Limit   Hard Limit   Units\nMax open files    1024         {}           files\n"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    files = {
        "meminfo": "MemTotal: 24684000 kB\nMemFree: 1 kB\nMemAvailable: 10485760 kB\nSwapTotal: 2097152 kB\nHugePages_Total: 0\n",
        "sys/vm/swappiness": "60\n",
        "sys/kernel/pid_max": "32768\n",
        "sys/kernel/threads-max": "192730\n",
        "sys/fs/file-nr": "1952\t0\t2466170\n",
        "loadavg": "10.47 6.42 4.34 3/751 10262\n",
        "self/limits": LIMITS.format(777),
        "self/stat": "99 (python) S 1",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def add_process(proc: Path, pid: int, name: str, limit: object) -> None:
    (proc / str(pid)).mkdir()
    (proc / str(pid) / "comm").write_text(f"{name}\n")
    (proc / str(pid) / "limits").write_text(LIMITS.format(limit))
    (proc / str(pid) / "stat").write_text(f"{pid} ({name}) S 1")


def test_memory_is_mib(proc: Path) -> None:
    assert kernel.memory(proc) == kernel.Memory(24105, 10240, 2048)


def test_tasks(proc: Path) -> None:
    assert kernel.tasks(proc) == kernel.Tasks(751, 32768, 192730)


def test_a_setting_is_a_number(proc: Path) -> None:
    assert kernel.number("vm/swappiness", proc) == 60


def test_who_starts_containers_sets_their_limit(proc: Path) -> None:
    add_process(proc, 10, "dockerd", 5000)
    add_process(proc, 11, "bash", 1)
    assert kernel.file_limit(proc) == kernel.FileLimit(5000, "dockerd", 10, 1952, 2466170)
    add_process(proc, 12, "containerd", 6000)
    assert kernel.file_limit(proc).hard == 6000


def test_no_limit_is_the_machines(proc: Path) -> None:
    add_process(proc, 10, "dockerd", "unlimited")
    assert kernel.file_limit(proc).hard == 2466170


def test_where_nobody_is_seen_this_process_stands_for_them(proc: Path) -> None:
    assert kernel.file_limit(proc) == kernel.FileLimit(777, "labcloud", 99, 1952, 2466170)


@pytest.mark.parametrize(("text", "mode"), [("always [madvise] never\n", "madvise"), ("[always] madvise never\n", "always")])
def test_the_mode_of_huge_pages_is_in_brackets(tmp_path: Path, text: str, mode: str) -> None:
    (tmp_path / "enabled").write_text(text)
    assert kernel.huge_pages(tmp_path / "enabled") == mode


def test_a_kernel_without_huge_pages(tmp_path: Path) -> None:
    assert kernel.huge_pages(tmp_path / "enabled") == ""


def test_this_kernel_can_be_read() -> None:
    assert kernel.memory().total > 0
    assert kernel.tasks().running > 0
    assert kernel.file_limit().hard > 0
