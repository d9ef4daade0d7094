"""What the room needs of an engine that holds images. Knows no engine; `labcloud.providers` has the implementations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from labcloud.images.model import StoredImage


class Sandbox(Protocol):
    """A throw-away container, without a network, running its image's own entry point."""

    def run(self, argv: Sequence[str], *, user: str = "root") -> tuple[int, str]:
        """The exit code of ``argv`` in it, and what it printed on both streams."""
        ...


class ImageStore(Protocol):
    """Where images are. Errors are labcloud's."""

    def images(self, *, layers: bool = False) -> Sequence[StoredImage]:
        """Every image that labcloud made, with its layers if asked (one request an image then)."""
        ...

    def import_tar(self, archive: Path, tag: str, labels: Mapping[str, str]) -> None:
        """Make an image of one layer, tagged ``tag``, from a root file system."""
        ...

    def build(self, context: Path, tag: str) -> None:
        """Build the folder ``context`` (a Dockerfile and what it adds), without a network. What its steps
        print is in ``details`` of the EngineError if one fails."""
        ...

    def build_online(self, context: Path, tag: str) -> None:
        """As `build`, with a network: for a declaration that installs packages in a hub's image."""
        ...

    def tag(self, image: str, tag: str) -> None: ...

    def save(self, image: str, archive: Path) -> None:
        """Write the image with all its layers into the tar file ``archive``, as `labcloud.images.layers` reads it."""
        ...

    def remove(self, image: str) -> None:
        """Remove an image and its names; one that is gone already is removed."""
        ...

    def sandbox(self, image: str) -> AbstractContextManager[Sandbox]:
        """A container of ``image`` for as long as the context lasts."""
        ...

    def output(self, image: str, argv: Sequence[str]) -> bytes:
        """What ``argv`` prints on standard output in a container made for it. Raise EngineError if it fails."""
        ...
