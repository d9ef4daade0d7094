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
from typing import Final

from labcloud.datasets.store import Store
from labcloud.errors import ConflictError, EngineError, NotFoundError
from labcloud.lab import Lab
from labcloud.lab.files import disk_errors, make_private
from labcloud.model.dataset import StoredDataset, known_dataset

_FOLDER: Final = "datasets"


def views_root(home: Path) -> Path:
    """The folder with a view for each cluster."""
    return home / "datasets" / "views"


def store_root(lab: Lab, storage: str) -> Path:
    """The folder of all datasets of a storage class; the lab's own for "". Raise NotFoundError for a class without a folder."""
    if not storage:
        return lab.home / "datasets" / "store"
    paths = {name: each.path for name, each in lab.storage().items() if each.path}
    if storage not in paths:
        there = ", ".join(sorted(paths)) or "none"
        raise NotFoundError(
            f"there is no storage class {storage!r} that lies in a folder of this machine",
            resolution=f"those that do: {there}; or leave out --storage",
        )
    return Path(paths[storage], _FOLDER, lab.id)  # several labs may name one folder


def store_of(lab: Lab, storage: str) -> Store:
    """The store of a storage class. Raise NotFoundError for a class without a folder."""
    return Store(store_root(lab, storage))


def stored_datasets(lab: Lab, wanted: Mapping[str, int]) -> dict[str, StoredDataset]:
    """Where each of ``wanted`` (numbers by name) is. Raise NotFoundError for one that the lab does not declare."""
    datasets = lab.datasets() if wanted else {}
    known = ((known_dataset(name, datasets), number) for name, number in wanted.items())
    return {each.name: store_of(lab, each.storage).stored(each.name, each.version(number)) for each, number in known}


def check_placement(lab: Lab, storage: str) -> Path:
    """`store_root`, made if it is not there.

    Raise ConflictError if clusters could not be shown what lies in it, EngineError if there should be datasets and its disk is missing.
    """
    root, views = store_root(lab, storage), views_root(lab.home)
    if storage and not root.is_dir() and any(each.storage == storage for each in lab.datasets().values()):
        raise EngineError(
            f"datasets of the storage class {storage} lie in {root}, and that is not there",
            resolution="mount its disk, then run the same command again",
        )
    with disk_errors(f"make {root}"):
        made = _make_in_class(root) if storage else []
        make_private(root)
        make_private(views)
    if not _can_link(root, views):
        with suppress(OSError):
            for folder in reversed(made):
                folder.rmdir()
        raise ConflictError(
            f"the storage class {storage!r} cannot hold datasets: {root} and {views} are on different file systems, "
            "and a hard link does not lead from one to the other",
            resolution="name a storage class on the lab's own file system, or leave out --storage",
        )
    return root


def _make_in_class(root: Path) -> list[Path]:
    """What had to be made of a store, from the top: the folder of the class, which its volumes need as well, is open to all."""
    private, top = root.parents[:2]
    missing = [folder for folder in (top, private, root) if not folder.is_dir()]
    for folder in missing:
        folder.mkdir(mode=0o755 if folder == top else 0o700, exist_ok=True)
    return missing


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
