"""What the room of images talks about. Pure: values only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

REPOSITORY: Final = "labcloud"
LABEL_NAME: Final = "labcloud.image"
LABEL_DIGEST: Final = "labcloud.digest"
LABEL_VERSION: Final = "labcloud.version"
LABEL_JAVA: Final = "labcloud.java"
LABEL_CREATED_BY: Final = "labcloud.created-by"


class Level(StrEnum):
    INFO = "info"
    WARNING = "warning"


@dataclass(frozen=True)
class Event:
    """Something that a person who waits wants to know. ``image`` is the name of what is being built, or empty."""

    message: str
    image: str = ""
    level: Level = Level.INFO


Progress = Callable[[Event], None]


@dataclass(frozen=True)
class LockedFile:
    """A file of a stack: ``path`` in the Maven repository, or ``url``, or ``file``; ``size`` in bytes; ``to``: its folder in the stack."""

    sha256: str
    size: int
    to: str
    path: str = ""
    url: str = ""
    file: str = ""

    @property
    def name(self) -> str:
        return (self.path or self.url or self.file).rsplit("/", 1)[-1]


@dataclass(frozen=True)
class LockedPackage:
    """A Debian package: ``path`` in the mirror."""

    package: str
    version: str
    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Layer:
    """A layer as the engine has it. Those with the same ``id`` are stored once; ``size`` in bytes, uncompressed."""

    id: str
    size: int


@dataclass(frozen=True)
class StoredImage:
    """An image as the engine has it. ``layers`` from the bottom; ``in_use`` by a container, running or not."""

    id: str
    tags: tuple[str, ...]
    labels: Mapping[str, str]
    layers: tuple[Layer, ...] = ()
    in_use: bool = False

    @property
    def name(self) -> str:
        return self.labels.get(LABEL_NAME, "")

    @property
    def digest(self) -> str:
        return self.labels.get(LABEL_DIGEST, "")

    @property
    def key(self) -> tuple[str, str]:
        """Name and digest; empty for what a failed build left, which has its parent's labels but no name of its own."""
        return (self.name, self.digest) if f"{REPOSITORY}/{self.name}:{self.digest}" in self.tags else ("", "")

    @property
    def size(self) -> int:
        return sum(layer.size for layer in self.layers)


@dataclass(frozen=True)
class Built:
    """What a build did: ``made`` is false where the image existed. ``seconds`` is how long it took."""

    name: str
    reference: str
    digest: str
    made: bool
    seconds: float


@dataclass(frozen=True)
class ImageRow:
    """One built image: ``own`` is what it adds to ``parent``, ``shared`` what it shares with others; in bytes."""

    name: str
    reference: str
    version: str
    java: str
    parent: str
    own: int
    shared: int
    current: bool
    in_use: bool

    @property
    def size(self) -> int:
        return self.own + self.shared


class DiskFormat(StrEnum):
    RAW = "raw"
    QCOW2 = "qcow2"


@dataclass(frozen=True)
class DiskImage:
    """A machine's disk with an image on it: ``virtual`` bytes, of which the file takes ``stored``. ``built``: seconds since 1970.

    ``min_disk`` in GiB and ``min_ram`` in MiB are the least for a machine that boots from it.
    """

    name: str
    digest: str
    format: DiskFormat
    path: Path
    version: str
    java: str
    virtual: int
    stored: int
    sha512: str
    built: int
    min_disk: int
    min_ram: int


@dataclass(frozen=True)
class BuiltDisk:
    """What a build of a disk did: ``made`` is false where it existed. ``seconds`` is how long it took."""

    disk: DiskImage
    made: bool
    seconds: float


@dataclass(frozen=True)
class DiskRow:
    disk: DiskImage
    current: bool


@dataclass(frozen=True)
class ImageList:
    """All images, and what they take together, in bytes (shared layers once); and the disks of machines that were made of them."""

    images: tuple[ImageRow, ...]
    total: int
    disks: tuple[DiskRow, ...] = ()


@dataclass(frozen=True)
class Check:
    """One thing that was verified of an image."""

    id: str
    ok: bool
    summary: str


@dataclass(frozen=True)
class Verified:
    name: str
    reference: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)


@dataclass(frozen=True)
class Pruned:
    """What was removed, and the bytes that it gave back."""

    removed: tuple[str, ...] = field(default=())
    freed: int = 0


def silent(event: Event) -> None:
    """A progress that nobody watches."""
    del event
