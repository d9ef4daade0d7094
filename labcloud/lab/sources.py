"""Where the texts of a lab repository come from: its work tree, a revision of it, or one of these with changes laid over it.

Nothing is checked out: a revision is read out of git, all at once, when its first text is asked for. Knows nothing of what the
texts say. Paths are relative to the repository, with slashes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from labcloud.errors import ConfigError
from labcloud.lab import files
from labcloud.lab.history import SHORT, History

EXECUTABLE = "100755"
PLAIN = "100644"


class Source(Protocol):
    """What a lab can be read from."""

    def text(self, path: str) -> str | None:
        """What a file says; None if there is none. Raise ConfigError if it is no text."""

    def listed(self, folder: str) -> list[str]:
        """The names in a folder, in order, without hidden ones; none if there is no such folder."""

    def files(self, folder: str) -> list[str]:
        """The paths of all files below a folder, in order, without hidden ones."""

    def where(self, path: str) -> Path:
        """How errors name the file."""


class WorkTree:
    """The files as they lie in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def text(self, path: str) -> str | None:
        where = self.where(path)
        with files.disk_errors(f"read {where}"):
            try:
                return where.read_text(encoding="utf-8")
            except FileNotFoundError:
                return None
            except UnicodeDecodeError as exc:
                raise _no_text(where, exc) from exc

    def listed(self, folder: str) -> list[str]:
        with files.disk_errors(f"read {self.where(folder)}"):
            try:
                return sorted(path.name for path in self.where(folder).iterdir() if not path.name.startswith("."))
            except (FileNotFoundError, NotADirectoryError):
                return []

    def files(self, folder: str) -> list[str]:
        with files.disk_errors(f"read {self.where(folder)}"):
            found = (path.relative_to(self.folder) for path in self.where(folder).rglob("*") if path.is_file())
            return sorted(path.as_posix() for path in found if not _hidden(path.as_posix(), folder))

    def where(self, path: str) -> Path:
        return self.folder / path


class Revision:
    """The files as the commit ``revision`` (its full name) has them."""

    def __init__(self, history: History, revision: str) -> None:
        self.revision = revision
        self._history = history
        self._read: dict[str, bytes] | None = None

    def text(self, path: str) -> str | None:
        found = self._files().get(path)
        try:
            return None if found is None else found.decode()
        except UnicodeDecodeError as exc:
            raise _no_text(self.where(path), exc) from exc

    def listed(self, folder: str) -> list[str]:
        start = f"{folder}/"
        names = {path.removeprefix(start).partition("/")[0] for path in self._files() if path.startswith(start)}
        return sorted(name for name in names if not name.startswith("."))

    def files(self, folder: str) -> list[str]:
        return sorted(path for path in self._files() if path.startswith(f"{folder}/") and not _hidden(path, folder))

    def where(self, path: str) -> Path:
        return Path(f"{self.revision[:SHORT]}:{path}")

    def _files(self) -> dict[str, bytes]:
        if self._read is None:
            tree = self._history.tree(self.revision)
            blobs = self._history.blobs(blob for _, blob in tree.values())
            self._read = {path: blobs[blob] for path, (_, blob) in tree.items()}
        return self._read


class Overlay:
    """``under`` with other texts for some files; None stands for one that is not there."""

    def __init__(self, under: Source, texts: Mapping[str, str | None]) -> None:
        self._under = under
        self._texts = dict(texts)

    def text(self, path: str) -> str | None:
        return self._texts[path] if path in self._texts else self._under.text(path)

    def listed(self, folder: str) -> list[str]:
        start = f"{folder}/"
        gone = {path for path, text in self._texts.items() if text is None}
        below = {path.removeprefix(start).partition("/")[0] for path in self._texts.keys() - gone if path.startswith(start)}
        stay = {name for name in self._under.listed(folder) if f"{start}{name}" not in gone}
        return sorted(stay | {name for name in below if not name.startswith(".")})

    def files(self, folder: str) -> list[str]:
        new = {path for path in self._texts if path.startswith(f"{folder}/") and not _hidden(path, folder)}
        return sorted(path for path in new | set(self._under.files(folder)) if self._texts.get(path, "") is not None)

    def where(self, path: str) -> Path:
        return self._under.where(path)


def _hidden(path: str, folder: str) -> bool:
    return any(part.startswith(".") for part in path.removeprefix(f"{folder}/").split("/"))


def _no_text(where: Path, exc: UnicodeDecodeError) -> ConfigError:
    line = exc.object[: exc.start].count(b"\n") + 1
    return ConfigError(f"{where}:{line}: this is not UTF-8 text", resolution="correct the file, then run the same command again")
