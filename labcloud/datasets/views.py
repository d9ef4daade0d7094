"""What each cluster sees of datasets: a folder of hard links into the store, which all its nodes have mounted. Knows no engine.

::

    VIEWS/TENANT/CLUSTER/NAME/      the files of a version: no bytes of their own
                         .NAME.new  .NAME.old   what is being made or removed; nodes see it, and nobody looks
    VIEWS/TENANT/.CLUSTER.json      which version each of them is, and of which inode that is said: it is believed of no other

The folder of the cluster stays the same inode, because running nodes have it mounted: what comes and goes in it comes and goes there.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from labcloud.datasets.store import remove_tree
from labcloud.errors import EngineError
from labcloud.lab.files import clusters_below, disk_errors, make_private, replace
from labcloud.model import ClusterRef
from labcloud.model.dataset import StoredDataset


class Views:
    """The views below ``root``. Who changes one holds its cluster."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, cluster: ClusterRef) -> Path:
        """What nodes of ``cluster`` have mounted."""
        return self._root / cluster.tenant / cluster.name

    def clusters(self, tenant: str | None = None, cluster: ClusterRef | None = None) -> Iterator[ClusterRef]:
        """All clusters that have a view, one tenant's, or one if it has."""
        return clusters_below(self._root, tenant, cluster)

    def shown(self, cluster: ClusterRef) -> dict[str, str]:
        """The datasets in a view, by name, each with its `StoredDataset.tag`; "" for one of which nobody knows what it is."""
        records = self._records(cluster)
        there = {path.name: path.stat().st_ino for path in self.folder(cluster).glob("[!.]*")}
        return {name: str(records[name]["tag"]) if _says(records.get(name), inode) else "" for name, inode in sorted(there.items())}

    def prepare(self, cluster: ClusterRef) -> Path:
        """The folder of a view, made if it is not there; what is in it stays."""
        folder = self.folder(cluster)
        with disk_errors(f"make {folder}"):
            make_private(folder.parent)
            if not folder.is_dir():
                folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
        return folder

    def ensure(self, cluster: ClusterRef, datasets: Mapping[str, StoredDataset]) -> bool:
        """Make the view exactly ``datasets``; return whether anything changed.

        Raise EngineError for one that the store has not, or that lies on another file system.
        """
        folder = self.prepare(cluster)
        for left in folder.glob(".*"):
            remove_tree(left)
        shown = self.shown(cluster)
        for name in shown.keys() - datasets.keys():
            _take_away(folder, name)
        changed = {name: each for name, each in datasets.items() if shown.get(name) != each.tag}
        for name, each in sorted(changed.items()):
            self._show(cluster, name, each)
        return bool(changed) or shown.keys() != datasets.keys()

    def delete(self, cluster: ClusterRef) -> None:
        """The view, and its tenant's folder if it was the last; nothing happens where there is none."""
        remove_tree(self.folder(cluster))
        with suppress(OSError):
            self._record(cluster).unlink()
        with suppress(OSError):  # another cluster's view is there still, or nothing is
            self.folder(cluster).parent.rmdir()

    def _show(self, cluster: ClusterRef, name: str, dataset: StoredDataset) -> None:
        folder = self.folder(cluster)
        new = folder / f".{name}.new"
        with disk_errors(f"show {name} to {cluster}"):
            if not dataset.folder.is_dir():
                raise EngineError(
                    f"the store has no files of the dataset {name} in {dataset.folder}",
                    resolution=f"restore that folder from a backup, or detach it: labcloud dataset detach {name} {cluster}",
                )
            _link_tree(dataset.folder, new)
            records = self._records(cluster) | {name: {"tag": dataset.tag, "inode": new.stat().st_ino}}
            path = self._record(cluster)
            replace(path, json.dumps(records), scratch=path.with_name(f"{path.name}.new"))
            # The rename of a folder onto one that is not empty is refused: for a moment there is none of that name.
            _take_away(folder, name, then=new)

    def _record(self, cluster: ClusterRef) -> Path:
        return self._root / cluster.tenant / f".{cluster.name}.json"

    def _records(self, cluster: ClusterRef) -> dict[str, Any]:
        with suppress(OSError, ValueError):
            read = json.loads(self._record(cluster).read_text(encoding="utf-8"))
            return dict(read) if isinstance(read, dict) else {}
        return {}


def _says(record: Any, inode: int) -> bool:
    return isinstance(record, dict) and record.get("inode") == inode and "tag" in record


def _take_away(folder: Path, name: str, then: Path | None = None) -> None:
    """Remove what is shown as ``name``; ``then`` gets the name at once."""
    old = folder / f".{name}.old"
    with disk_errors(f"change {folder / name}"):
        with suppress(FileNotFoundError):
            (folder / name).rename(old)
        if then is not None:
            then.rename(folder / name)
    remove_tree(old)


def _link_tree(source: Path, target: Path) -> None:
    """Make ``target`` a folder like ``source`` whose files are the same files."""
    for folder, _, files in os.walk(source):
        place = target / os.path.relpath(folder, source)
        place.mkdir(mode=0o755)
        for name in files:
            _link(Path(folder, name), place / name)
    for folder, _, _ in os.walk(target, topdown=False):
        Path(folder).chmod(0o555)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as exc:
        if exc.errno == errno.EXDEV:
            raise EngineError(
                f"{source} and {target.parent} are on different file systems, and a hard link does not lead from one to the other",
                resolution="add the dataset anew with a storage class on the lab's own file system",
            ) from exc
        if exc.errno != errno.EMLINK:
            raise
        # ext4 allows 65,000 names of a file: one that has them all is a small one that every version and cluster has.
        shutil.copyfile(source, target)
        target.chmod(0o444)
