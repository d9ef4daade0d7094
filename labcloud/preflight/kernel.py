"""What the kernel of this machine says of itself: figures of proc(5), unjudged. Sizes are MiB."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_HUGE_PAGES: Final = Path("/sys/kernel/mm/transparent_hugepage/enabled")
# Who starts containers hands its limits down to them; the nearest to them counts.
_HOLDERS: Final = ("containerd", "dockerd")


@dataclass(frozen=True)
class Memory:
    """``available`` is what can be had without swapping, as the kernel estimates it."""

    total: int
    available: int
    swap: int


@dataclass(frozen=True)
class FileLimit:
    """How many files a process in a container may open (``hard``: a JVM raises its soft limit to that), of whom it has that limit (the
    process ``holder`` with the id ``pid``), and how many of the whole machine's are open."""

    hard: int
    holder: str
    pid: int
    used: int
    system: int


@dataclass(frozen=True)
class Tasks:
    """Processes and threads: those there are, and the two limits of the machine."""

    running: int
    pid_max: int
    threads_max: int


def memory(proc: Path = _PROC) -> Memory:
    rows = (line.split() for line in (proc / "meminfo").read_text().splitlines())
    kib = {row[0].rstrip(":"): int(row[1]) for row in rows if len(row) > 1}
    return Memory(kib["MemTotal"] // 1024, kib["MemAvailable"] // 1024, kib["SwapTotal"] // 1024)


def number(name: str, proc: Path = _PROC) -> int:
    """A setting of the kernel by its path below /proc/sys, as ``vm/swappiness``."""
    return int((proc / "sys" / name).read_text().split()[0])


def huge_pages(path: Path = _HUGE_PAGES) -> str:
    """The mode of transparent huge pages that stands in brackets; empty for a kernel without them."""
    found = re.search(r"\[(\w+)\]", path.read_text()) if path.exists() else None
    return found[1] if found else ""


def tasks(proc: Path = _PROC) -> Tasks:
    running = int((proc / "loadavg").read_text().split()[3].partition("/")[2])
    return Tasks(running, number("kernel/pid_max", proc), number("kernel/threads-max", proc))


def file_limit(proc: Path = _PROC) -> FileLimit:
    """The limit of whoever starts containers here; of this process where nobody is seen to."""
    used, _, system = (proc / "sys/fs/file-nr").read_text().split()
    holders = _named(proc, _HOLDERS)
    name, pid = next(((name, holders[name]) for name in _HOLDERS if name in holders), ("labcloud", "self"))
    row = next(line for line in (proc / pid / "limits").read_text().splitlines() if line.startswith("Max open files"))
    hard = row.split()[4]
    number_of_pid = int((proc / pid / "stat").read_text().split()[0])
    return FileLimit(int(system) if hard == "unlimited" else int(hard), name, number_of_pid, int(used), int(system))


def _named(proc: Path, names: tuple[str, ...]) -> dict[str, str]:
    """The process ids of programs by their names; the first one of each."""
    found: dict[str, str] = {}
    for folder in proc.glob("[0-9]*"):
        try:
            name = (folder / "comm").read_text().strip()
        except OSError:  # it has ended meanwhile
            continue
        if name in names:
            found.setdefault(name, folder.name)
    return found
