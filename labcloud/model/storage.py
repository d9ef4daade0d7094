"""Data volumes of nodes, and the storage classes that say where they lie. Pure: no I/O, and no knowledge of engines or files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from itertools import groupby
from types import MappingProxyType
from typing import Final

from labcloud.errors import NotFoundError, UsageError
from labcloud.model.sizes import parse_gigabytes

DEFAULT_VOLUME_SIZE: Final = 10
"""GiB of a data volume, where nobody says otherwise."""

DEFAULT_CLASS: Final = "default"
"""The name by which a lab may redefine the class of volumes that name none."""

MOST_VOLUMES: Final = 64
"""The most data volumes that one node may have."""

_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
_COUNT: Final = re.compile(r"0|[1-9][0-9]{0,2}")
_PART: Final = re.compile(r"(?:(?P<count>[1-9][0-9]*)x)?(?P<size>[0-9]+[A-Za-z]+)(?:@(?P<storage>.+))?")


class Media(StrEnum):
    """What a volume is made of, in the words of HDFS' storage types."""

    DISK = "disk"
    SSD = "ssd"
    ARCHIVE = "archive"
    RAM_DISK = "ram_disk"


@dataclass(frozen=True)
class StorageClass:
    """Where volumes of one kind lie: below ``path``, a folder of this machine; or what the engine's volume ``driver`` makes with
    ``options``; with neither of them where the engine keeps volumes by itself.

    ``shared`` says that every machine of the lab finds the same there, as on NFS.
    """

    name: str = ""
    path: str = ""
    driver: str = ""
    options: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    media: Media = Media.DISK
    shared: bool = False
    title: str = ""

    @property
    def where(self) -> str:
        """Its place, for people."""
        return self.path or (f"driver {self.driver}" if self.driver else "the engine's own")


LOCAL: Final = StorageClass()
"""The class of volumes that name none, unless the lab redefines it."""

_LIKE_DISKS: Final = (Media.DISK, Media.SSD, Media.ARCHIVE, Media.RAM_DISK)

Classes = Mapping[str, StorageClass]
"""The classes that a lab declares, by name."""

NO_CLASSES: Final[Classes] = MappingProxyType({})


@dataclass(frozen=True)
class Volume:
    """A data volume that each node of a group has: ``size`` GiB, of the storage class ``storage`` (empty: the default one)."""

    size: int = DEFAULT_VOLUME_SIZE
    storage: str = ""


@dataclass(frozen=True)
class NodeVolume:
    """What an engine must know of a volume to make it: ``size`` GiB, in a place that ``storage`` says."""

    size: int = DEFAULT_VOLUME_SIZE
    storage: StorageClass = LOCAL


def storage_name(text: str) -> str:
    """``text`` if it can name a storage class; empty for the default one. Raise UsageError otherwise."""
    if not _NAME.fullmatch(text):
        raise UsageError(
            f"{text!r} cannot name a storage class", resolution="write up to 32 lower-case letters, digits and hyphens, as in fast or nfs-2"
        )
    return "" if text == DEFAULT_CLASS else text


def storage_class(classes: Classes, name: str) -> StorageClass:
    """The class ``name`` of a lab; for the empty name the default one. Raise NotFoundError, with the nearest name, if there is none."""
    if not name:
        return classes.get(DEFAULT_CLASS, LOCAL)
    if name not in classes:
        near = get_close_matches(name, classes, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise NotFoundError(
            f"there is no storage class {name!r}",
            resolution=f"{hint}'labcloud storage list' shows all; 'labcloud storage set {name}' makes it",
        )
    return classes[name]


def parse_volumes(text: str) -> int | tuple[Volume, ...]:
    """What ``2``, ``20g@fast`` or ``2x20g@fast+1x100g@bulk`` says: how many volumes, or just which. Raise UsageError on anything else."""
    if _COUNT.fullmatch(text):
        return _checked(int(text), text)
    found: list[Volume] = []
    for part in text.split("+"):
        said = _PART.fullmatch(part)
        if not said:
            raise UsageError(f"{text!r} does not say which volumes", resolution="write a number, or as in 2x20g@fast+1x100g@bulk")
        volume = Volume(parse_gigabytes(said["size"]), storage_name(said["storage"]) if said["storage"] else "")
        found += [volume] * _checked(int(said["count"] or 1), text)
    _checked(len(found), text)
    return tuple(found)


def _checked(count: int, text: str) -> int:
    if count > MOST_VOLUMES:
        raise UsageError(f"{text!r} is more volumes than a node may have", resolution=f"give it at most {MOST_VOLUMES}")
    return count


def format_volumes(volumes: Iterable[Volume]) -> str:
    """``volumes`` as `parse_volumes` reads them: ``2x20g@fast+1x100g@bulk``; ``0`` for none."""
    runs = [(len(list(run)), volume) for volume, run in groupby(volumes)]
    return "+".join(f"{count}x{each.size}g" + (f"@{each.storage}" if each.storage else "") for count, each in runs) or "0"


def media_tags(volumes: Sequence[Media]) -> tuple[str, ...]:
    """What HDFS is told of each of a node's ``volumes``, before its folder: ``[SSD]``, or nothing for a disk.

    Its default policy (HOT) writes to disks and nowhere else. So where a node has none, what comes next to one stands for it, and a
    node with volumes of one kind just has disks. ("BlockStoragePolicySuite" of Hadoop: HOT falls back to nothing when files are made.)
    """
    disk = next((each for each in _LIKE_DISKS if each in volumes), Media.DISK)
    return tuple("" if each is disk else f"[{each.name}]" for each in volumes)


def gibibytes(volumes: Iterable[Volume]) -> int:
    """GiB of ``volumes`` together."""
    return sum(each.size for each in volumes)
