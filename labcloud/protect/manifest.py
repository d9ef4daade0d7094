"""What a snapshot or a backup says of itself: all that is needed to bring it back, with nothing else at hand. JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from labcloud.errors import ConfigError, UsageError
from labcloud.lab.documents import read_cluster
from labcloud.model import Cluster, ClusterRef
from labcloud.model.snapshot import snapshot_id

NAME: Final = "manifest.json"
_VERSION: Final = 1


class Origin(StrEnum):
    """Why a copy was made: with its cluster, by hand, for a backup, or before something was overwritten."""

    BIRTH = "birth"
    HAND = "hand"
    BACKUP = "backup"
    SAFETY = "safety"


@dataclass(frozen=True)
class Manifest:
    """One consistent point of a cluster, or one that is not, and ``why``.

    ``taken`` is the moment (UTC) and ``pause`` for how many seconds services stood still. ``declaration`` is the cluster's file of the
    lab repository, ``tenant`` its tenant's. ``volumes`` are how many data volumes each node has, by its name. ``size`` (bytes) and
    ``files`` count what lies in them.
    """

    id: str
    ref: ClusterRef
    taken: datetime
    origin: Origin
    declaration: str
    tenant: str
    volumes: Mapping[str, int]
    pause: float = 0.0
    why: str = ""
    title: str = ""
    size: int = 0
    files: int = 0
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def consistent(self) -> bool:
        return not self.why

    @property
    def places(self) -> list[tuple[str, int]]:
        """The data volumes: the names of their nodes, and their numbers."""
        return [(node, number) for node, count in self.volumes.items() for number in range(count)]

    @property
    def cluster(self) -> Cluster:
        """The cluster as it was declared then. Raise ConfigError if that cannot be read any more."""
        return read_cluster(self.declaration, self.ref, Path(f"{NAME} of {self.ref}@{self.id}"))

    def dump(self) -> str:
        """The text that `load` reads."""
        document = {
            "version": _VERSION, "id": self.id, "tenant": self.ref.tenant, "name": self.ref.name,
            "taken": self.taken.astimezone(UTC).isoformat(timespec="milliseconds"), "origin": str(self.origin),
            "consistent": self.consistent, "why": self.why, "pause_seconds": round(self.pause, 3), "title": self.title,
            "bytes": self.size, "files": self.files, "volumes": dict(self.volumes), "facts": dict(self.facts),
            "declaration": self.declaration, "tenant_declaration": self.tenant,
        }  # fmt: skip
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def load(cls, text: str | bytes, where: str) -> Manifest:
        """The manifest that ``text`` is. Raise ConfigError, naming ``where``, if it is none, or one of a newer labcloud."""
        try:
            read: dict[str, Any] = json.loads(text)
            if read["version"] != _VERSION:
                raise ConfigError(f"{where} is of another version ({read['version']})", resolution="use the labcloud that wrote it")
            return cls(
                id=snapshot_id(read["id"]), ref=ClusterRef.parse(f"{read['tenant']}/{read['name']}"), taken=_moment(read["taken"]),
                origin=Origin(read["origin"]), declaration=_text(read["declaration"]), tenant=_text(read["tenant_declaration"]),
                volumes={str(name): int(count) for name, count in read["volumes"].items()}, pause=float(read["pause_seconds"]),
                why=_text(read["why"]), title=_text(read["title"]), size=int(read["bytes"]), files=int(read["files"]),
                facts={str(key): _text(value) for key, value in read["facts"].items()},
            )  # fmt: skip
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, UsageError) as exc:
            raise ConfigError(f"{where} is not what a copy says of itself", details=str(exc)) from exc


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} does not say of which time zone it is")
    return moment.astimezone(UTC)
