"""What it takes to go back: to the version of a file before its last change, or of many files at a revision. Writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from labcloud.errors import ConfigError, NotFoundError
from labcloud.lab import readers
from labcloud.lab.history import SHORT, History
from labcloud.lab.places import covers
from labcloud.lab.sources import Source


def previous(history: History, source: Source, path: str) -> str:
    """The newest revision at which a file of ``source`` said something else than now, and read well. Raise NotFoundError."""
    try:
        now = (source.text(path) or "").encode()
    except ConfigError:  # no text at all: any is another
        now = b"\0"
    for revision in history.revisions(path):
        data = history.show(revision, path)
        if data is not None and data != now and _reads(path, data, revision):
            return revision
    raise NotFoundError(
        f"no earlier version of {path} is known that reads well", resolution=f"'labcloud config log --path {path}' lists its changes"
    )


def restored(history: History, revision: str, paths: Sequence[str]) -> dict[str, bytes | None]:
    """What files in ``paths`` must say to be as they were at ``revision``, where they say something else; None for those to remove."""
    then, now = history.tree(revision), history.tree("HEAD")
    nothing = ("", "")
    changed = [path for path in sorted(then.keys() | now.keys()) if then.get(path, nothing)[1] != now.get(path, nothing)[1]]
    wanted = [path for path in changed if any(covers(each, path) for each in paths)]
    blobs = history.blobs(then[path][1] for path in wanted if path in then)
    return {path: blobs[then[path][1]] if path in then else None for path in wanted}


def _reads(path: str, data: bytes, revision: str) -> bool:
    try:
        readers.check(path, data.decode(), Path(f"{revision[:SHORT]}:{path}"))
    except (ConfigError, UnicodeDecodeError):
        return False
    return True
