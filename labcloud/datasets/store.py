"""The folder that holds the bytes of datasets, once. Knows neither where they come from nor who sees them.

::

    STORE/NAME/NUMBER/content/    the files (mode 0444) in their folders (0555)
                      manifest    what has to be in there
                      importing   there until the lab repository knows of the version
          .staging/               what is being imported or removed; locked by whoever is at it

A version comes by one rename and goes by one. What a killed run left in ``.staging`` nobody holds, and the next one removes it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from labcloud.datasets.manifest import Manifest, read_manifest
from labcloud.errors import EngineError
from labcloud.lab.files import disk_errors, make_private
from labcloud.model.dataset import DatasetVersion, StoredDataset

CONTENT: Final = "content"
_MANIFEST: Final = "manifest"
_IMPORTING: Final = "importing"
_STAGING: Final = ".staging"


class Store:
    """The datasets below ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, name: str, number: int) -> Path:
        """Where the files of a version are, or would be."""
        return self.root / name / str(number) / CONTENT

    def stored(self, name: str, version: DatasetVersion) -> StoredDataset:
        return StoredDataset(version.tag, self.folder(name, version.number))

    def manifest(self, name: str, version: DatasetVersion) -> Manifest:
        """What has to be in a version. Raise EngineError if the store does not say, or says something else than the lab."""
        path = self.root / name / str(version.number) / _MANIFEST
        found = read_manifest(path)
        if found.sha256 != version.sha256:
            raise EngineError(
                f"the manifest {path} is not that of version {version.number} of {name}",
                details=f"its SHA-256 is {found.sha256}, that of the version {version.sha256}",
                resolution="restore the file from a backup, or add the dataset anew",
            )
        return found

    def missing(self, name: str, version: DatasetVersion) -> list[str]:
        """Files of a version that are not there, or have another size: a quick look that reads no content."""
        folder = self.folder(name, version.number)
        return [each.path for each in self.manifest(name, version).files if _size(folder / each.path) != each.size]

    def by_sum(self) -> dict[str, Path]:
        """A stored file for each content that there is, by its SHA-256."""
        found: dict[str, Path] = {}
        for path in self.root.glob(f"[!.]*/*/{_MANIFEST}"):
            with suppress(EngineError):
                found |= {each.sha256: path.parent / CONTENT / each.path for each in read_manifest(path).files}
        return found

    def highest(self, name: str) -> int:
        """The highest number of a version that is there, 0 for none."""
        return max((int(path.name) for path in (self.root / name).glob("*") if path.name.isdigit()), default=0)

    def occupied(self, name: str) -> int:
        """The bytes that all versions of a dataset take together: what they share is counted once."""
        sizes = {}
        for folder, _, files in os.walk(self.root / name):
            for file in files:
                facts = Path(folder, file).lstat()
                sizes[facts.st_ino] = facts.st_size
        return sum(sizes.values())

    # Coming

    @contextmanager
    def staging(self, name: str) -> Iterator[Path]:
        """A folder on the store's file system that nobody sees, and that is gone at the end, however that comes."""
        folder = make_private(self.root / _STAGING) / f"{name}.{secrets.token_hex(6)}"
        with disk_errors(f"make {folder}"):
            folder.mkdir(mode=0o700)
            lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with disk_errors(f"lock {folder}"):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield folder
        finally:
            remove_tree(folder)
            os.close(lock)

    def publish(self, staged: Path, manifest: Manifest, name: str, number: int) -> None:
        """Make the version of ``staged``, a folder with `CONTENT` in it. It reaches the disk before this returns."""
        with disk_errors(f"store version {number} of {name}"):
            for left in staged.iterdir():
                if left.name != CONTENT:
                    left.unlink()
            (staged / _MANIFEST).write_text(manifest.text, encoding="ascii")
            (staged / _MANIFEST).chmod(0o444)
            (staged / _IMPORTING).touch(mode=0o600)
            sync_file_system(staged)
            staged.rename(make_private(self.root / name) / str(number))
            _sync_folder(self.root / name)

    def known(self, name: str, number: int) -> None:
        """The lab repository knows of the version now."""
        (self.root / name / str(number) / _IMPORTING).unlink(missing_ok=True)

    # Going

    def remove(self, name: str, number: int) -> None:
        """The version, its bytes as far as nothing else holds them; nothing happens where it is not."""
        folder = self.root / name / str(number)
        with self.staging(name) as staging, disk_errors(f"remove {folder}"), suppress(FileNotFoundError):
            folder.rename(staging / str(number))
        with suppress(OSError):  # other versions are there still
            folder.parent.rmdir()

    def sweep(self) -> None:
        """Remove what killed runs left of imports and removals."""
        for folder in (self.root / _STAGING).glob("*"):
            try:
                lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_tree(folder)
            except BlockingIOError:
                continue  # somebody is at it
            finally:
                os.close(lock)

    def unfinished(self) -> list[tuple[str, int]]:
        """Versions whose import ended before the lab repository was told, or is at that point just now."""
        paths = self.root.glob(f"[!.]*/*/{_IMPORTING}")
        return sorted((path.parent.parent.name, int(path.parent.name)) for path in paths if path.parent.name.isdigit())


def remove_tree(folder: Path) -> None:
    """Remove a folder and what is in it, also where its folders cannot be written to."""
    if not folder.exists():
        return
    for path, _, _ in os.walk(folder):
        with suppress(OSError):
            os.chmod(path, 0o700)  # noqa: PTH101 - what os.walk gives are texts
    with disk_errors(f"remove {folder}"):
        shutil.rmtree(folder)


def sync_file_system(folder: Path) -> None:
    """Everything written to the file system of ``folder`` has reached the disk.

    One call for all files: an fsync for each of 100,000 small ones would take minutes, and Python has no other name for syncfs(2).
    """
    import ctypes  # takes longer to import than most commands need it

    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(fd):
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), str(folder))
    finally:
        os.close(fd)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return -1
