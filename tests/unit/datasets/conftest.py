"""A store of its own, and what is imported into it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from labcloud.datasets.importing import Importing, Source
from labcloud.datasets.manifest import Manifest
from labcloud.datasets.store import Store
from labcloud.model.dataset import DatasetVersion, StoredDataset

Imported = Callable[..., DatasetVersion]
MOMENT = datetime(2026, 11, 21, 18, tzinfo=UTC)


def version_of(manifest: Manifest, number: int) -> DatasetVersion:
    return DatasetVersion(number, manifest.sha256, manifest.bytes, len(manifest.files), MOMENT, "here")


@dataclass
class Shelf:
    """A store, and the folder of broken-off downloads beside it."""

    home: Path
    store: Store

    def importing(self) -> Importing:
        return Importing(self.store, self.home / "cache" / "datasets")

    def stage(self, text: object, **options: object) -> Manifest:
        """Import and forget."""
        with self.store.staging("d") as staging:
            return self.importing().stage(Source(str(text), **options), staging)  # type: ignore[arg-type]

    def put(self, text: object, number: int = 1, name: str = "d", **options: object) -> DatasetVersion:
        with self.store.staging(name) as staging:
            manifest = self.importing().stage(Source(str(text), **options), staging)  # type: ignore[arg-type]
            self.store.publish(staging, manifest, name, number)
        self.store.known(name, number)
        return version_of(manifest, number)

    def stored(self, version: DatasetVersion, name: str = "d") -> StoredDataset:
        return self.store.stored(name, version)

    def left(self) -> list[str]:
        """What lies in the staging folder."""
        return [path.name for path in (self.store.root / ".staging").glob("*")]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    home = tmp_path / "home"
    return Shelf(home, Store(home / "datasets" / "store"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "a" / "b" / "one").write_text("one\n")
    (folder / "two").write_text("two\n")
    return folder
