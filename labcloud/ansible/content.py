"""What one node is told: an archive of its configuration, its name and its neighbours' names. Pure.

``playbooks/files/take.sh`` takes it, and says what each part of it is.
"""

from __future__ import annotations

import base64
import io
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

TAKE: Final = Path(__file__).resolve().parents[2] / "playbooks" / "files" / "take.sh"
SERVED: Final = "served"
_PRIVATE: Final = "declared"


@dataclass(frozen=True)
class Content:
    """None, or nothing, stays as it is on the node. ``cluster`` and ``base`` map relative paths to what stands there, ``hosts`` addresses
    to names, ``disks`` folders to the serial numbers of the disks that are mounted there; ``folders`` are made, ``start`` starts the
    services. ``datasets`` is where they are: `SERVED` to the others by this node, or at the address of the node that serves them."""

    name: str = ""
    cluster: Mapping[str, bytes] | None = field(default=None, repr=False)
    base: Mapping[str, bytes] | None = field(default=None, repr=False)
    hosts: Mapping[str, Iterable[str]] | None = None
    folders: Iterable[str] = ()
    disks: Mapping[str, str] = field(default_factory=dict)
    start: bool = False
    datasets: str = ""

    def archive(self) -> bytes:
        """The tar archive, in base64."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
            for folder, files in (("cluster", self.cluster), ("base", self.base)):
                if files is not None:
                    _add_tree(tar, folder, files)
            for name, text in self._words().items():
                _add_file(tar, name, text.encode())
        return base64.b64encode(packed.getvalue())

    def _words(self) -> dict[str, str]:
        words = {"name": f"{self.name}\n"} if self.name else {}
        if self.hosts is not None:
            words["hosts"] = "".join(f"{address} {' '.join(names)}\n" for address, names in self.hosts.items())
        folders = "".join(f"{each}\n" for each in self.folders)
        disks = "".join(f"{folder} {serial}\n" for folder, serial in self.disks.items())
        lists = {"folders": folders, "disks": disks, "datasets": f"{self.datasets}\n" if self.datasets else ""}
        return words | {name: text for name, text in lists.items() if text} | ({"start": ""} if self.start else {})


def _add_tree(tar: tarfile.TarFile, folder: str, files: Mapping[str, bytes]) -> None:
    """A folder of files; what becomes a file of its own on the node is root's alone until then (docs/node.md)."""
    folders = {folder, *(str(parent) for name in files for parent in Path(folder, name).parents if str(parent) != ".")}
    for each in sorted(folders):
        entry = tarfile.TarInfo(each)
        entry.type, entry.mode = tarfile.DIRTYPE, 0o700 if Path(each).name == _PRIVATE else 0o755
        tar.addfile(entry)
    for name, content in sorted(files.items()):
        _add_file(tar, f"{folder}/{name}", content, 0o600 if Path(name).parent.name == _PRIVATE else 0o644)


def _add_file(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))
