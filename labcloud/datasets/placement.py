"""Where the bytes of datasets lie: the one place that knows folders of the lab's home and of storage classes.

A cluster's view of a dataset is made of hard links, which cannot cross file systems: a storage class serves datasets only if its folder
and the lab's home are on one.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from labcloud.datasets.store import Store
from labcloud.errors import ConflictError, NotFoundError
from labcloud.lab import Lab
from labcloud.lab.files import disk_errors, make_private
from labcloud.model.dataset import StoredDataset, known_dataset


def class_paths(lab: Lab) -> dict[str, Path]:
    """The folders of those storage classes of a lab that lie in one, by name."""
    return {name: Path(each.path) for name, each in lab.storage().items() if each.path}


def views_root(home: Path) -> Path:
    """The folder with a view for each cluster."""
    return home / "datasets" / "views"


def store_root(home: Path, storage: str, paths: Mapping[str, Path]) -> Path:
    """The folder of all datasets of a storage class; the lab's own for "". Raise NotFoundError for a class without a folder."""
    if not storage:
        return home / "datasets" / "store"
    if storage not in paths:
        there = ", ".join(sorted(paths)) or "none"
        raise NotFoundError(
            f"there is no storage class {storage!r} that lies in a folder of this machine",
            resolution=f"those that do: {there}; or leave out --storage",
        )
    return paths[storage] / "datasets"


def store_of(lab: Lab, storage: str) -> Store:
    """The store of a storage class. Raise NotFoundError for a class without a folder."""
    return Store(store_root(lab.home, storage, class_paths(lab)))


def stored_datasets(lab: Lab, wanted: Mapping[str, int]) -> dict[str, StoredDataset]:
    """Where each of ``wanted`` (numbers by name) is. Raise NotFoundError for one that the lab does not declare."""
    datasets = lab.datasets() if wanted else {}
    known = ((known_dataset(name, datasets), number) for name, number in wanted.items())
    return {each.name: store_of(lab, each.storage).stored(each.name, each.version(number)) for each, number in known}


def check_placement(home: Path, storage: str, paths: Mapping[str, Path]) -> Path:
    """`store_root`, made if it is not there. Raise ConflictError if clusters could not be shown what lies in it."""
    root, views = store_root(home, storage, paths), views_root(home)
    with disk_errors(f"make {root}"):
        make_private(root)
        make_private(views)
    if not _can_link(root, views):
        raise ConflictError(
            f"the storage class {storage!r} cannot hold datasets: {root} and {views} are on different file systems, "
            "and a hard link does not lead from one to the other",
            resolution="name a storage class on the lab's own file system, or leave out --storage",
        )
    return root


def _can_link(source: Path, target: Path) -> bool:
    """Tried rather than told by device numbers: two mounts of one file system have one number, and refuse links all the same."""
    name = f".probe-{secrets.token_hex(6)}"
    try:
        (source / name).touch(mode=0o600)
        os.link(source / name, target / name)
    except OSError:
        return False
    finally:
        for folder in (source, target):
            with suppress(OSError):
                (folder / name).unlink()
    return True
