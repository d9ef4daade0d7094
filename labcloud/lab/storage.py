"""The lab's storage classes as the YAML file that people write, and what clusters declare in them. Knows nothing of disks and engines.

::

    default: {path: /srv/lab}          # where volumes lie that name no class; without it, where the engine keeps its own
    fast:
      path: /mnt/nvme
      media: ssd                       # disk (unless it is said), ssd, archive, ram_disk
      title: the two new drives
    nfs:
      driver: local                    # any volume driver of the engine, with its options
      options: {type: nfs, o: "addr=10.0.0.7,rw", device: ":/export/lab"}
      shared: true
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import yaml

from labcloud.errors import UsageError
from labcloud.lab.document import Document
from labcloud.model import Cluster, ClusterRef
from labcloud.model.storage import DEFAULT_CLASS, Classes, Media, StorageClass, storage_name

_KEYS: Final = ("path", "driver", "options", "media", "shared", "title")
_DRIVER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./:@-]{0,127}")
_OPTION: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def read_storage(text: str, path: Path) -> Classes:
    """The classes that ``text`` declares. Raise ConfigError with ``path`` and the line of what is wrong."""
    document = Document(path)
    return MappingProxyType(
        {(name := document.scalar(key, class_name)): _class(document, name, value) for key, value in document.pairs(document.root(text))}
    )


def _class(document: Document, name: str, node: yaml.Node) -> StorageClass:
    fields = document.mapping(node, required=(), more=_KEYS)
    line = node.start_mark.line
    if ("path" in fields) == ("driver" in fields):
        raise document.wrong(line, f"the storage class {name!r} needs either a path or a driver", "write path: /FOLDER, or driver: NAME")
    if "options" in fields and "driver" not in fields:
        raise document.wrong(fields["options"].start_mark.line, "options are a driver's, and this class names none")
    return StorageClass(
        name=name,
        path=document.scalar(fields.get("path"), folder, ""),
        driver=document.scalar(fields.get("driver"), driver, ""),
        options=MappingProxyType(document.entries(fields.get("options"), option, str)),
        media=document.scalar(fields.get("media"), media, Media.DISK),
        shared=document.scalar(fields.get("shared"), _flag, False),
        title=document.scalar(fields.get("title"), title, ""),
    )


def storage_document(classes: Classes) -> dict[str, Any]:
    """The plain data of storage classes, in the order in which they are written."""
    return {name: _document(each) for name, each in sorted(classes.items())}


def _document(storage: StorageClass) -> dict[str, Any]:
    place: dict[str, Any] = {"path": storage.path} if storage.path else {"driver": storage.driver}
    options = {"options": dict(sorted(storage.options.items()))} if storage.options else {}
    more: dict[str, Any] = {"media": str(storage.media)}
    more |= {"shared": True} if storage.shared else {}
    return place | options | more | ({"title": storage.title} if storage.title else {})


def class_name(text: str) -> str:
    """``text`` if a class can be declared by this name, the default one's included. Raise UsageError otherwise."""
    return storage_name(text) or DEFAULT_CLASS


def folder(text: str) -> str:
    """``text`` if it can be the folder of a class: a whole path, in plain form. Raise UsageError otherwise."""
    path = Path(text)
    if not text.isprintable() or not path.is_absolute() or ".." in path.parts or path == Path("/"):
        raise UsageError(f"{text!r} is not a folder for volumes", resolution="write the whole path, as in /mnt/bulk")
    return str(path)


def driver(text: str) -> str:
    """``text`` if it can name a volume driver. Raise UsageError otherwise."""
    if not _DRIVER.fullmatch(text):
        raise UsageError(f"{text!r} cannot name a volume driver", resolution="name one that the engine has, as in local")
    return text


def option(text: str) -> str:
    """``text`` if it can name an option of a driver. Raise UsageError otherwise."""
    if not _OPTION.fullmatch(text):
        raise UsageError(f"{text!r} cannot name an option of a driver", resolution="write KEY=VALUE, as in type=nfs")
    return text


def media(text: str) -> Media:
    """What ``text`` names. Raise UsageError for what HDFS knows no type for."""
    try:
        return Media(text)
    except ValueError as exc:
        raise UsageError(f"{text!r} is no kind of media", resolution=f"write one of {', '.join(Media)}") from exc


def title(text: str) -> str:
    """``text`` if it is one line. Raise UsageError otherwise."""
    if not text.isprintable() or len(text) > 200:
        raise UsageError("a title is one line of at most 200 characters")
    return text


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise UsageError(f"{text!r} is neither true nor false")
    return text == "true"


@dataclass(frozen=True)
class Use:
    """What clusters declare in a class: how many volumes, of how many GiB together, and whose they are."""

    volumes: int = 0
    gib: int = 0
    clusters: tuple[ClusterRef, ...] = ()


def use_of(name: str, clusters: Iterable[Cluster]) -> Use:
    """What ``clusters`` declare in the class ``name``."""
    wanted = "" if name == DEFAULT_CLASS else name
    found = [
        (cluster.ref, group.count, volume.size)
        for cluster in clusters
        for group in cluster.groups
        for volume in group.volumes
        if volume.storage == wanted
    ]
    refs = tuple(dict.fromkeys(ref for ref, _, _ in found))
    return Use(sum(count for _, count, _ in found), sum(count * size for _, count, size in found), refs)
