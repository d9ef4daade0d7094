"""What a machine does to its own memory. Runs on the machine itself, as root; needs nothing but Python and Linux.

The kernel marks the pages that a process writes to (soft-dirty: Documentation/admin-guide/mm/soft-dirty.rst). What is read from disks or
written to files changes memory as well, in the page cache. Prints one line of JSON: ``used`` MiB, and ``dirtied`` MiB/s over a second; null
if the kernel marks nothing (it was built without CONFIG_MEM_SOFT_DIRTY).
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_ENTRY = 8  # bytes of a page in pagemap
_AT_ONCE = 65536
_SOFT_DIRTY = 1 << 55
_MIB = 1 << 20
_LEAST = 4 * _MIB  # smaller processes change next to nothing
_SECONDS = 1.0


def _marks() -> bool:
    """Whether this kernel marks pages at all."""
    with mmap.mmap(-1, _PAGE) as own:
        own[0] = 1
        view = ctypes.c_char.from_buffer(own)
        start = ctypes.addressof(view)
        del view
        if not _forget("self"):
            return False
        own[0] = 2
        return _marked("self", start, start + _PAGE) > 0


def _resident(process: str) -> int:
    try:
        return int((_PROC / process / "statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _forget(process: str) -> bool:
    try:
        (_PROC / process / "clear_refs").write_text("4")
    except OSError:
        return False
    return True


def _areas(process: str) -> Iterator[tuple[int, int]]:
    """Beginning and end of each mapping that can be written and has pages in memory."""
    start, end = 0, 0
    for line in (_PROC / process / "smaps").read_text().splitlines():
        head = line.split(None, 2)
        if "-" in head[0]:
            start, end = (int(each, 16) for each in head[0].split("-")) if "w" in head[1] else (0, 0)
        elif head[0] == "Rss:" and end and int(head[1]):
            yield start, end


def _marked(process: str, start: int, end: int) -> int:
    """How many pages between two addresses are marked."""
    pages = 0
    with (_PROC / process / "pagemap").open("rb", buffering=0) as entries:
        entries.seek(start // _PAGE * _ENTRY)
        left = (end - start) // _PAGE
        while left and (read := entries.read(min(left, _AT_ONCE) * _ENTRY)):
            pages += sum(1 for each in memoryview(read).cast("Q") if each & _SOFT_DIRTY)
            left -= len(read) // _ENTRY
    return pages


def _changed(process: str) -> int:
    """Bytes that were written to since `_forget`."""
    pages = 0
    with suppress(OSError):  # it has ended meanwhile
        for start, end in _areas(process):
            pages += _marked(process, start, end)
    return pages * _PAGE


def _cached() -> int:
    """Bytes that came into the page cache since the machine's start, read or written."""
    facts = dict(line.split() for line in (_PROC / "vmstat").read_text().splitlines())
    return int(facts.get("pgpgin", 0)) * 1024 + int(facts.get("nr_dirtied", 0)) * _PAGE


def _used() -> int:
    facts = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in (_PROC / "meminfo").read_text().splitlines()}
    return facts["MemTotal"] - facts["MemFree"]


def measure() -> dict[str, float | None]:
    if not _marks():
        return {"used": _used() / _MIB, "dirtied": None}
    others = [each.name for each in _PROC.glob("[0-9]*") if int(each.name) != os.getpid()]
    began, cached = time.monotonic(), _cached()
    watched = [each for each in others if _resident(each) > _LEAST and _forget(each)]
    time.sleep(_SECONDS)
    changed = sum(map(_changed, watched)) + _cached() - cached
    return {"used": _used() / _MIB, "dirtied": changed / _MIB / (time.monotonic() - began)}


if __name__ == "__main__":
    print(json.dumps(measure()))  # noqa: T201 - it is a program
