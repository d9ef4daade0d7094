"""What HDFS had at the newest backup of each cluster, kept on this machine: the next one then need not ask the repository for it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from labcloud.errors import LabError
from labcloud.lab.files import disk_errors, make_private, replace
from labcloud.model import ClusterRef
from labcloud.protect.contents import Contents

_SUFFIX = ".json.gz"


@dataclass(frozen=True)
class Remembered:
    """A cache for the lab at ``home``: whatever is missing there, or broken, costs a question and nothing else."""

    home: Path

    def load(self, ref: ClusterRef, copy: str) -> Contents | None:
        """The contents of a copy of ``ref``; None if they are not here."""
        try:
            return Contents.load(self._path(ref, copy).read_bytes())
        except (OSError, LabError):
            return None

    def keep(self, ref: ClusterRef, copy: str, contents: Contents) -> None:
        """Keep the contents of the newest copy of ``ref``, and those of no other. A disk that refuses keeps nothing."""
        path = self._path(ref, copy)
        with suppress(LabError), disk_errors(f"write {path}"):
            for each in make_private(path.parent).iterdir():
                each.unlink()
            replace(path, contents.dump(), scratch=path.with_name(f".{path.name}.new"))

    def _path(self, ref: ClusterRef, copy: str) -> Path:
        return self.home / "cache" / "contents" / ref.tenant / ref.name / f"{copy}{_SUFFIX}"
