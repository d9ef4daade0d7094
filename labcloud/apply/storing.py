"""The storage classes of a lab as somebody looks at them and changes them. Reads disks; makes nothing on any of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from labcloud.errors import ConflictError, NotFoundError, UsageError
from labcloud.lab import Lab
from labcloud.lab.storage import class_name, use_of
from labcloud.model import Cluster, StorageClass
from labcloud.model.storage import DEFAULT_CLASS, Classes, Media, storage_class


@dataclass(frozen=True)
class StorageView:
    """A storage class, how many MiB its folder's file system has and has free (None where it has no folder on this machine that is there),
    and what clusters declare in it: volumes, their GiB, and whose they are."""

    name: str
    path: str
    driver: str
    options: Mapping[str, str]
    where: str
    media: Media
    shared: bool
    title: str
    size_mib: int | None
    free_mib: int | None
    volumes: int
    volumes_gib: int
    clusters: tuple[str, ...]


@dataclass(frozen=True)
class StorageChange:
    """What is to change of a class; None stays as it is. A path takes the place of a driver and its options, and the other way round."""

    path: str | None = None
    driver: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    media: Media | None = None
    shared: bool | None = None
    title: str | None = None


class Storage:
    """The verbs of storage classes, for one lab."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def views(self) -> list[StorageView]:
        """Every class by name, the default one first, which is always there."""
        classes, clusters = self._lab.storage(), self._lab.clusters()
        names = [DEFAULT_CLASS, *sorted(classes.keys() - {DEFAULT_CLASS})]
        return [_view(name, classes, clusters) for name in names]

    def show(self, name: str) -> StorageView:
        """One class. Raise NotFoundError if the lab has none of that name."""
        classes = self._lab.storage()
        storage_class(classes, "" if name == DEFAULT_CLASS else name)
        return _view(name, classes, self._lab.clusters())

    def set(self, name: str, change: StorageChange) -> bool:
        """Make the class ``name``, or change it. Volumes that exist stay where they are. Returns whether that changed anything.

        Raise ConflictError for another folder of a class in which shared datasets lie.
        """
        name = class_name(name)

        def changed(classes: Classes, _: Sequence[Cluster]) -> Classes:
            there, new = classes.get(name), _changed(name, classes.get(name), change)
            if there is not None and there.path != new.path:
                self._check_datasets(name)
            return {**classes, name: new}

        return self._lab.change_storage(changed, f"set the storage class {name}")

    def remove(self, name: str) -> None:
        """Want the class ``name`` no longer.

        Raise NotFoundError if there is none, ConflictError if a cluster has volumes in it, or the lab shared datasets.
        """

        def without(classes: Classes, clusters: Sequence[Cluster]) -> Classes:
            if name not in classes:
                if name == DEFAULT_CLASS:
                    raise NotFoundError(
                        "the lab does not redefine the default storage class", resolution="'labcloud storage list' shows all"
                    )
                storage_class(classes, name)
            use = use_of(name, clusters)
            if use.clusters and name != DEFAULT_CLASS:
                whose = ", ".join(map(str, use.clusters))
                raise ConflictError(
                    f"{use.volumes} volumes lie in the storage class {name}: those of {whose}",
                    resolution=f"delete them first: labcloud delete {' '.join(map(str, use.clusters))}",
                )
            self._check_datasets(name)
            return {each: kept for each, kept in classes.items() if each != name}

        self._lab.change_storage(without, f"remove the storage class {name}")

    def _check_datasets(self, name: str) -> None:
        lying = [each.name for each in self._lab.datasets().values() if each.storage == name]
        if lying:
            raise ConflictError(
                f"shared datasets lie in the storage class {name}: {', '.join(lying)}",
                resolution=f"remove them first: labcloud dataset remove {lying[0]}",
            )


def _changed(name: str, there: StorageClass | None, change: StorageChange) -> StorageClass:
    if change.path is not None and (change.driver is not None or change.options):
        raise UsageError("a storage class has a path, or a driver with options, not both", resolution="leave out --path, or the others")
    new = there or StorageClass(name)
    if change.path is not None:
        new = replace(new, path=change.path, driver="", options={})
    elif change.driver is not None:
        same = change.driver == new.driver
        new = replace(new, path="", driver=change.driver, options={**(new.options if same else {}), **change.options})
    elif change.options:
        new = replace(new, options={**new.options, **change.options})
    if not new.path and not new.driver:
        raise UsageError(
            f"nothing says where volumes of {name} shall lie",
            resolution=f"labcloud storage set {name} --path /FOLDER, or --driver D with --option KEY=VALUE",
        )
    said = {key: value for key in ("media", "shared", "title") if (value := getattr(change, key)) is not None}
    return replace(new, **said)


def _view(name: str, classes: Classes, clusters: Sequence[Cluster]) -> StorageView:
    storage = storage_class(classes, "" if name == DEFAULT_CLASS else name)
    use = use_of(name, clusters)
    size, free = _room(storage.path)
    return StorageView(
        name=name, path=storage.path, driver=storage.driver, options=dict(storage.options), where=storage.where, media=storage.media,
        shared=storage.shared, title=storage.title, size_mib=size, free_mib=free, volumes=use.volumes, volumes_gib=use.gib,
        clusters=tuple(map(str, use.clusters)),
    )  # fmt: skip


def _room(path: str) -> tuple[int | None, int | None]:
    """MiB that the file system of ``path`` has, and that everybody may take of it. A folder that is not made yet lies in its parent."""
    if not path:
        return None, None
    there = Path(path) if Path(path).is_dir() else Path(path).parent
    try:
        facts = os.statvfs(there)
    except OSError:
        return None, None
    mib = facts.f_frsize / 2**20
    return round(facts.f_blocks * mib), round(facts.f_bavail * mib)
