"""Whether the storage classes that a cluster names are there, and can hold its volumes. The engine's own place is `disk`'s to look at."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from labcloud.errors import NotFoundError
from labcloud.model import Cluster, StorageClass, Volume
from labcloud.model.checks import Check, Finding, Severity, Subject, failed, passed, skipped
from labcloud.model.storage import DEFAULT_CLASS, Classes, storage_class
from labcloud.preflight import growth
from labcloud.preflight.families import disk


def judge_known(cluster: Cluster, classes: Classes) -> Finding:
    """Whether the lab declares every class that ``cluster`` names."""
    names = sorted({volume.storage for volume in _volumes([cluster])} - {""})
    figures = {"classes": names, "declared": sorted(classes)}
    for name in names:
        try:
            storage_class(classes, name)
        except NotFoundError as exc:
            return failed(exc.brief, f"labcloud storage set {name} --path FOLDER", **figures)
    return passed(f"the lab has {', '.join(names)}" if names else "only the default storage class is asked for", **figures)


def judge_place(storage: StorageClass) -> Finding:
    """Whether volumes can be made in the folder of a class: it is there, or its parent is, and this user may write."""
    path = Path(storage.path)
    name = storage.name or DEFAULT_CLASS
    figures = {"class": name, "path": storage.path}
    there = path if path.exists() else path.parent
    if not there.is_dir():
        what = f"{there} is not a folder" if there.exists() else f"{there} does not exist"
        return failed(f"the storage class {name} lies in {path}, and {what}", f"mkdir -p {there}, or mount its disk", **figures)
    if not os.access(there, os.W_OK | os.X_OK):
        return failed(
            f"the storage class {name} lies in {path}, and this user may not write to {there}",
            f"sudo chown {os.getuid()} {there}",
            **figures,
        )
    return passed(f"the storage class {name} lies in {path}", **figures)


def of_class(clusters: Iterable[Cluster], classes: Classes, wanted: StorageClass) -> tuple[Cluster, ...]:
    """``clusters`` with those of their volumes only that lie where the class ``wanted`` says."""

    def kept(volumes: Iterable[Volume]) -> tuple[Volume, ...]:
        return tuple(each for each in volumes if _class_of(classes, each) == wanted)

    return tuple(replace(each, groups=tuple(replace(group, volumes=kept(group.volumes)) for group in each.groups)) for each in clusters)


def _class_of(classes: Classes, volume: Volume) -> StorageClass | None:
    try:
        return storage_class(classes, volume.storage)
    except NotFoundError:  # the file was edited by hand; `judge_known` says so of the cluster that is asked for
        return None


def _volumes(clusters: Iterable[Cluster]) -> Iterator[Volume]:
    for cluster in clusters:
        for group in cluster.groups:
            yield from group.volumes


def _placed(subject: Subject) -> Mapping[str, StorageClass]:
    """The classes with a folder that the asked clusters use."""
    used = (_class_of(subject.storage, volume) for volume in _volumes(growth.asked(subject)))
    return {each.path: each for each in used if each is not None and each.path}


def _known(subject: Subject) -> Finding:
    return judge_known(subject.cluster, subject.storage) if subject.cluster else skipped("no cluster is asked for")


def _place(subject: Subject) -> Finding:
    placed = _placed(subject).values()
    return disk.worst(judge_place(each) for each in placed) if placed else skipped("no volume is asked for in a folder of this machine")


def _space(subject: Subject) -> Finding:
    placed = _placed(subject)
    if not placed:
        return skipped("no volume is asked for in a folder of this machine")
    found = disk.disks({f"storage {each.name}": Path(path) for path, each in placed.items()})
    return disk.worst(disk.judge_space(each, growth.count_new_nodes(subject)) for each in found)


def _room(subject: Subject) -> Finding:
    placed = _placed(subject)
    if not placed:
        return skipped("no volume is asked for in a folder of this machine")
    return disk.worst(_judge_room(subject, each) for each in placed.values())


def _judge_room(subject: Subject, storage: StorageClass) -> Finding:
    clusters = of_class(growth.wanted(subject), subject.storage, storage)
    (there,) = disk.disks({f"storage {storage.name}": Path(storage.path)})
    ratio = disk.OVERCOMMIT.value()
    own = next((each for each in clusters if subject.cluster and each.ref == subject.cluster.ref), None)
    return disk.judge_volumes(there, clusters, ratio, disk.smaller_volumes(there, clusters, ratio, own, asked=subject.cluster))


CHECKS: Final[tuple[Check, ...]] = (
    Check("storage.known", "a volume of a class that nobody declares lies nowhere", _known),
    Check("storage.place", "a volume whose disk is not there keeps its node from starting", _place),
    Check("storage.space", "a full disk stops every cluster on it, and what was being written is lost", _space),
    Check(
        "storage.volumes", "volumes take space as they are filled: what was promised to all cannot be had by all",
        _room, Severity.ADVISORY, needs="storage.place",
    ),
)  # fmt: skip
