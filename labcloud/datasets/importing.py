"""From a source (a file, a folder, an archive, an address) to the content of a version in a staging folder. Publishes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from labcloud.datasets.content import Content, check_room
from labcloud.datasets.manifest import Manifest
from labcloud.datasets.pace import Pace, Tell, silent
from labcloud.datasets.sources import archive_items, file_item, folder_items, inside
from labcloud.datasets.store import CONTENT, Store
from labcloud.errors import ConflictError, EngineError, NotFoundError, UsageError
from labcloud.images.download import Cache, GoneError, Patience, Wanted, sha256_of
from labcloud.lab.files import disk_errors, make_private

_PATIENCE: Final = Patience(tries=4)
_WEB: Final = frozenset({"http", "https"})


@dataclass(frozen=True)
class Source:
    """What somebody names: a path or an address in ``text``; the ``sha256`` that the one file has to have, or ""; whether an archive is
    to be taken apart."""

    text: str
    sha256: str = ""
    extract: bool = False

    @property
    def public(self) -> str:
        """The text for people and files: an address without what may be a secret in it."""
        parts = urlsplit(self.text)
        if parts.scheme not in _WEB:
            return str(Path(parts.path if parts.scheme == "file" else self.text).absolute())
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


class Importing:
    """Imports into ``store``. ``partial`` is the folder for what is left of broken-off downloads; ``tell`` is given sentences, and
    ``check``, which is called all the time, ends it all by raising."""

    def __init__(self, store: Store, partial: Path, tell: Tell = silent, check: Callable[[], None] = lambda: None) -> None:
        self._store = store
        self._partial = partial
        self._tell = tell
        self._check = check

    def stage(self, source: Source, staging: Path) -> Manifest:
        """Put the content into ``staging``; the manifest says what it is.

        Raise NotFoundError for what is not there, UsageError for what cannot be a dataset, ConflictError for a wrong checksum, EngineError
        for what the disk or the network refuses.
        """
        parts = urlsplit(source.text)
        if parts.scheme in _WEB:
            return self._downloaded(source, parts, staging)
        if parts.scheme == "file":
            return self._local(source, Path(unquote(parts.path)), staging)
        if "://" in source.text:
            raise UsageError(f"{parts.scheme} is no address of a dataset", resolution="name a path, or an address with http, https or file")
        return self._local(source, Path(source.text).expanduser(), staging)

    def _local(self, source: Source, path: Path, staging: Path) -> Manifest:
        if not path.exists():
            raise NotFoundError(f"there is no file or folder {path}", resolution="name what is there, or an address: https://…")
        if not path.is_dir():
            return self._archive(source, path, staging) if source.extract else self._one(source, path, staging)
        if source.sha256 or source.extract:
            option = "--sha256" if source.sha256 else "--extract"
            raise UsageError(f"{path} is a folder: {option} is for one file", resolution=f"leave out {option}")
        with disk_errors(f"read {path}"):
            items = folder_items(path)
        check_room(staging, sum(each.size for each in items))
        content = self._content(staging, sum(each.size for each in items))
        for item in items:
            content.add(item)
        return content.finish()

    def _one(self, source: Source, path: Path, staging: Path) -> Manifest:
        with disk_errors(f"read {path}"):
            item = file_item(path)
        content = self._content(staging, item.size)
        content.add(item)
        manifest = content.finish()
        _check_sum(source, manifest.files[0].sha256)
        return manifest

    def _archive(self, source: Source, path: Path, staging: Path) -> Manifest:
        with disk_errors(f"read {path}"):
            file_item(path)
            if source.sha256:
                _check_sum(source, sha256_of(path))
            with archive_items(path) as items:
                content = self._content(staging)
                for item in items:
                    content.add(item)
                return content.finish()

    def _downloaded(self, source: Source, parts: SplitResult, staging: Path) -> Manifest:
        if "@" in parts.netloc:
            raise UsageError("the address has a user or a password in it", resolution="download the file with a program that asks for it")
        file = self._download(source, staging)
        name = inside(PurePosixPath(unquote(parts.path)).name, source.public) or "data"
        if source.extract:
            manifest = self._archive(Source(name, extract=True), file, staging)
            file.unlink()
            return manifest
        content = self._content(staging, file.stat().st_size)
        content.take(file, name)
        return content.finish()

    def _download(self, source: Source, staging: Path) -> Path:
        """The file, with the right sum. Without one nobody could say whether the rest of a broken-off download fits its beginning."""
        file = make_private(self._partial) / f"{source.sha256}.part" if source.sha256 else staging / "download"
        whole = file.exists() and sha256_of(file) == source.sha256
        resumed = file.exists()
        if not whole:
            self._bring(source, file)
        found = sha256_of(file) if source.sha256 else ""
        if found != source.sha256 and resumed:  # the beginning was not this file's
            file.unlink()
            self._bring(source, file)
            found = sha256_of(file)
        if found != source.sha256:
            file.unlink()
            _check_sum(source, found)
        return file

    def _bring(self, source: Source, file: Path) -> None:
        pace = Pace("downloading", tell=self._tell)
        asked: list[int] = []

        def reached(done: int, total: int) -> None:
            self._check()
            if not asked:
                asked.append(total)
                check_room(file.parent, max(0, total - done))
            pace.reach(done, total)

        try:
            Cache(self._partial, _PATIENCE).bring(Wanted(source.text, ""), file, reached)
        except GoneError as exc:
            raise NotFoundError(
                f"could not download {source.public}: {exc.details}", resolution="correct the address, then run the same command again"
            ) from exc
        except EngineError as exc:
            if not exc.brief.startswith("could not download"):
                raise
            raise EngineError(
                f"could not download {source.public}",
                details=exc.details,
                resolution="check the network and the server, then run the same command again"
                + (": it goes on where it stopped" if source.sha256 else ""),
            ) from exc

    def _content(self, staging: Path, total: int = 0) -> Content:
        return Content(staging / CONTENT, self._store.by_sum(), Pace("importing", total, self._tell), self._check)


def _check_sum(source: Source, found: str) -> None:
    if source.sha256 and found != source.sha256:
        raise ConflictError(
            f"{source.public} has the SHA-256 {found}, not {source.sha256}", resolution="get the file anew, or correct --sha256"
        )
