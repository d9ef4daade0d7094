"""Whether a process still lives, told from a later one of the same number. Reads /proc alone."""

from __future__ import annotations

import socket
from pathlib import Path


def ticks(pid: int) -> int:
    """When a process began, in clock ticks since the machine started; -1 if there is none (or it has ended, and nobody has asked how)."""
    try:
        # The command's name, in parentheses, may hold spaces; the state is the first field behind it, the start the 20th.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return -1
    return -1 if fields[0] in "ZX" else int(fields[19])


def lives(host: str, pid: int, began: int) -> bool:
    """Whether the process that ``began`` at these ticks still runs. Another machine's cannot be seen from here and counts as running."""
    if host != socket.gethostname():
        return True
    now = ticks(pid)
    return now >= 0 and now == began
