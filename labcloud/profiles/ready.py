"""Profiles as they were read last: what `loading` made of files that have not changed since is taken from beside them.

Reading a profile anew takes a tenth of a second, most of it for a schema that only a changed file can break. As Python does with its
modules, the result lies in ``__pycache__`` beside the profiles, with the digest of all that it was made from; where nobody may write it is
not kept. A file that somebody else has put there can be nothing but values: no class that is not of `_CLASSES` is made of it.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PosixPath
from typing import Final

from labcloud.model.ways import Way
from labcloud.profiles import files, model

_CODE: Final = tuple(sorted(Path(__file__).parent.glob("*.py")))
_CLASSES: Final = {
    (each.__module__, each.__name__): each
    for each in (
        model.Artifact,
        model.Command,
        model.Folder,
        model.GroupDefaults,
        model.Probe,
        model.Profile,
        model.Service,
        model.Snapshot,
        model.UserInterface,
        Way,
        PosixPath,
    )
}


class _Values(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        try:
            return _CLASSES[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of a profile") from None


class Ready:
    """Where a profile, as read from the folders of ``root``, is kept. Raise KeyError for one that is not there, or OSError."""

    def __init__(self, name: str, root: Path | None = None) -> None:
        digest = hashlib.sha256()
        for path in (*_sources(files.roots(root)), *_CODE):
            # What labcloud's own modules say is not read, but when they were written.
            content = path.read_bytes() if path not in _CODE else str(path.stat().st_mtime_ns).encode()
            digest.update(b"%b %d " % (bytes(path), len(content)) + content)
        self._digest = digest.digest()
        self._path = files.known(root)[name].parent / "__pycache__" / f"{name}.{sys.implementation.cache_tag}.profile"

    def read(self) -> model.Profile | None:
        """The profile; None if it was not kept, or its files have changed."""
        with suppress(Exception):  # whatever is wrong with it: it is made anew
            with self._path.open("rb") as file:
                if file.read(len(self._digest)) != self._digest:
                    return None
                profile = _Values(file).load()
            return profile if isinstance(profile, model.Profile) else None
        return None

    def keep(self, profile: model.Profile) -> None:
        """Write it down, where one may and Python keeps its modules too."""
        if sys.dont_write_bytecode:
            return
        with suppress(OSError):
            self._path.parent.mkdir(exist_ok=True)
            new = self._path.with_name(f"{self._path.name}.{os.getpid()}.{threading.get_ident()}")
            new.write_bytes(self._digest + pickle.dumps(profile))
            new.replace(self._path)


def _sources(roots: Iterable[Path]) -> list[Path]:
    patterns = (f"*/{files.FILE}", "*/templates/*")
    return sorted(path for root in roots for pattern in patterns for path in root.glob(pattern) if path.is_file())
