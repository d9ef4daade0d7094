"""Reads every byte of a version again, and says which files are not what they were. Changes nothing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from labcloud.datasets.manifest import Entry, Manifest
from labcloud.datasets.pace import Pace

_CHUNK: Final = 1 << 20
_MOST_THREADS: Final = 8


@dataclass(frozen=True)
class Damage:
    """Files that have another content, are not there, or that nobody put there."""

    changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    surplus: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changed or self.missing or self.surplus)

    def lines(self) -> list[str]:
        """A line for each file."""
        kinds = (("changed", self.changed), ("missing", self.missing), ("surplus", self.surplus))
        return [f"{path!r} {kind}" if not path.isprintable() else f"{path} {kind}" for kind, paths in kinds for path in paths]


def verify(folder: Path, manifest: Manifest, pace: Pace, check: Callable[[], None] = lambda: None) -> Damage:
    """What is wrong with the files in ``folder``. ``check`` is called between chunks, and ends it by raising."""
    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads, thread_name_prefix="verify") as pool:
        try:
            states = list(pool.map(lambda entry: _state(folder, entry, pace, check), manifest.files))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    by = {kind: tuple(entry.path for entry, state in zip(manifest.files, states, strict=True) if state == kind) for kind in _STATES}
    return Damage(by["changed"], by["missing"], _surplus(folder, manifest))


_STATES: Final = ("changed", "missing", "")


def _state(folder: Path, entry: Entry, pace: Pace, check: Callable[[], None]) -> str:
    path = folder / entry.path
    if path.is_symlink() or not path.is_file():
        return "missing" if not path.exists() else "changed"
    total = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                check()
                total.update(chunk)
                pace.add(len(chunk))
    except OSError:  # a sector that cannot be read any more
        return "changed"
    return "" if total.hexdigest() == entry.sha256 else "changed"


def _surplus(folder: Path, manifest: Manifest) -> tuple[str, ...]:
    known = {each.path for each in manifest.files}
    found = (os.path.relpath(Path(parent, name), folder) for parent, _, files in os.walk(folder) for name in files)
    return tuple(sorted(path for path in found if path not in known))
