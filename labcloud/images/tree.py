"""Layers as tar files whose bytes depend on nothing but their content: sorted, with fixed times and named owners.

Knows no engine. What goes in is said by paths inside the image.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class Entry:
    """A file (``content``: bytes or where they are), a link (``link``), or a folder (neither)."""

    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    content: bytes | Path | None = None
    link: str = ""


class Tree:
    """What a layer adds. Folders that are missing on the way are added, owned by root."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._entries: dict[str, Entry] = {}

    def add(self, path: str, entry: Entry) -> None:
        self._entries[path.strip("/")] = entry

    def add_file(self, path: str, content: bytes | Path, mode: int = 0o644) -> None:
        self.add(path, Entry(mode=mode, content=content))

    def add_link(self, path: str, target: str) -> None:
        self.add(path, Entry(mode=0o777, link=target))

    def add_folder(self, source: Path, target: str = "") -> None:
        """Everything under ``source``; what its owner may execute, all may."""
        for path in sorted(source.rglob("*")):
            if path.is_file():
                mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
                self.add_file(f"{target}/{path.relative_to(source).as_posix()}", path, mode)

    def paths(self) -> list[str]:
        return sorted(self._entries)

    def write(self, target: Path) -> str:
        """Write the tar file; return its SHA-256. A file of this name is always whole."""
        new = target.with_name(target.name + ".new")
        with tarfile.open(new, "w", format=tarfile.GNU_FORMAT) as archive:
            for path, entry in sorted(self._with_parents().items()):
                self._write_entry(archive, path, entry)
        new.replace(target)
        with target.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _with_parents(self) -> Mapping[str, Entry]:
        parents = {str(parent): Entry() for path in self._entries for parent in PurePosixPath(path).parents if str(parent) != "."}
        return parents | self._entries

    def _write_entry(self, archive: tarfile.TarFile, path: str, entry: Entry) -> None:
        info = tarfile.TarInfo(path)
        info.mtime, info.mode, info.uid, info.gid = self._epoch, entry.mode, entry.uid, entry.gid
        if entry.link:
            info.type, info.linkname = tarfile.SYMTYPE, entry.link
            archive.addfile(info)
        elif entry.content is None:
            info.type = tarfile.DIRTYPE
            archive.addfile(info)
        elif isinstance(entry.content, Path):
            info.size = entry.content.stat().st_size
            with entry.content.open("rb") as file:
                archive.addfile(info, file)
        else:
            info.size = len(entry.content)
            archive.addfile(info, io.BytesIO(entry.content))


def digest_of_folder(folder: Path) -> str:
    """A hash of every file under ``folder``: its path, whether it can be executed, its bytes."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            total.update(f"{path.relative_to(folder).as_posix()}\0{bool(path.stat().st_mode & 0o100)}\0".encode())
            with path.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()
