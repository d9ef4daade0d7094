"""What a recipe is: one image to make, its digest, what it needs from elsewhere, how it is built. Knows no kind of image."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from labcloud.images import tree
from labcloud.images.download import Cache, Wanted
from labcloud.images.model import LABEL_CREATED_BY, LABEL_DIGEST, LABEL_JAVA, LABEL_NAME, LABEL_VERSION, REPOSITORY, Event, Level, Progress
from labcloud.images.store import ImageStore

_DIGITS: Final = 12


@dataclass(frozen=True)
class Tools:
    """What recipes work with. ``work`` is a folder of one build's own."""

    store: ImageStore
    cache: Cache
    work: Path
    progress: Progress


class Recipe(ABC):
    """One image to make. ``parent`` is None for the operating system."""

    name: str
    parent: Recipe | None = None
    version: str = ""
    java: str = ""

    @cached_property
    def digest(self) -> str:
        """12 hexadecimal digits over declaration, lock, files and the parent's digest. Taken once: files may change meanwhile."""
        return digest_of(*self.facts(), self.parent.digest if self.parent else "")

    @property
    def parent_reference(self) -> str:
        return self.parent.reference if self.parent else ""

    @abstractmethod
    def facts(self) -> Sequence[object]:
        """All that the image's content depends on, but its parent."""

    @property
    def reference(self) -> str:
        return f"{REPOSITORY}/{self.name}:{self.digest}"

    @property
    def latest(self) -> str:
        return f"{REPOSITORY}/{self.name}:latest"

    def labels(self) -> dict[str, str]:
        labels = {LABEL_NAME: self.name, LABEL_DIGEST: self.digest, LABEL_VERSION: self.version, LABEL_JAVA: self.java}
        return labels | {LABEL_CREATED_BY: "labcloud"}

    def downloads(self) -> Sequence[Wanted]:
        """What comes from elsewhere. Without a checksum: what no cache can hold, because it is fetched by another program."""
        return ()

    @abstractmethod
    def fetch(self, tools: Tools) -> None:
        """Bring everything from elsewhere into the cache. May run before the parent is built."""

    @abstractmethod
    def build(self, tools: Tools) -> None:
        """Make the image, tagged `reference`. The parent exists."""

    def ancestry(self) -> list[Recipe]:
        """The recipe and its parents, itself last."""
        return [*(self.parent.ancestry() if self.parent else ()), self]

    def say(self, tools: Tools, message: str, level: Level = Level.INFO) -> None:
        tools.progress(Event(message, self.name, level))


class FilesRecipe(Recipe):
    """What adds a folder of files, and more, to its parent: ``text`` is the declaration that says what."""

    parent: Recipe

    def __init__(self, name: str, parent: Recipe, files: Path, text: str, epoch: int) -> None:
        self.name, self.parent, self.version = name, parent, parent.version
        self._files, self._text, self._epoch = files, text, epoch

    def facts(self) -> Sequence[object]:
        return [self._text, tree.digest_of_folder(self._files)]

    def fetch(self, tools: Tools) -> None:
        """Nothing comes from elsewhere before it is built; packages are brought by apt, while it is."""


def digest_of(*facts: object) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:_DIGITS]


@dataclass(frozen=True)
class Dockerfile:
    """The few instructions that recipes use. ``first`` is run before anything is added, so that the engine's cache keeps what it made."""

    parent: str
    labels: Mapping[str, str]
    archives: Sequence[str] = ()
    environment: Mapping[str, str] | None = None
    entrypoint: Sequence[str] = ()
    runs: Sequence[Sequence[str]] = ()
    first: Sequence[str] = ()

    def text(self) -> str:
        lines = [f"FROM {self.parent}"]
        lines += [f"RUN {json.dumps(list(self.first))}"] if self.first else []
        lines += [f"ADD {archive} /" for archive in self.archives]
        lines += [f"ENV {key}={json.dumps(value)}" for key, value in (self.environment or {}).items()]
        lines += [f"RUN {json.dumps(list(argv))}" for argv in self.runs]
        if self.entrypoint:
            lines.append(f"ENTRYPOINT {json.dumps(list(self.entrypoint))}")
        lines += [f"LABEL {key}={json.dumps(value)}" for key, value in sorted(self.labels.items())]
        return "\n".join(lines) + "\n"
