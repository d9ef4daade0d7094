"""What is in one version of a dataset: each file with its size and its sum, and the folders that are empty. Pure but for reading it.

Kept as lines of JSON beside the content, sorted, in ASCII: the same content has the same manifest, whoever imported it from where, and a
name that is no text (bytes that are not UTF-8) survives as it is.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from labcloud.errors import EngineError


@dataclass(frozen=True, order=True)
class Entry:
    """A file: its ``path`` below the version's folder, its ``size`` in bytes, its SHA-256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """All files, and the folders in which nothing is."""

    files: tuple[Entry, ...]
    folders: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        return sum(each.size for each in self.files)

    @cached_property
    def text(self) -> str:
        lines = [json.dumps({"folder": path}) for path in sorted(self.folders)]
        lines += [json.dumps({"path": each.path, "size": each.size, "sha256": each.sha256}) for each in sorted(self.files)]
        return "".join(f"{line}\n" for line in lines)

    @property
    def sha256(self) -> str:
        """What a version is known by."""
        return hashlib.sha256(self.text.encode("ascii")).hexdigest()


def read_manifest(path: Path) -> Manifest:
    """The manifest that the file holds. Raise EngineError if it is gone, or is none."""
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]
        files = tuple(Entry(each["path"], int(each["size"]), each["sha256"]) for each in lines if "path" in each)
        return Manifest(files, tuple(each["folder"] for each in lines if "folder" in each))
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise EngineError(
            f"the manifest {path} cannot be read", details=str(exc), resolution="restore the file from a backup, or add the dataset anew"
        ) from exc
