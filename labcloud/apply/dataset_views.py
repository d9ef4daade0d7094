"""Shared datasets as somebody looks at them: what is wanted, who uses it, what it takes. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from labcloud.datasets.placement import store_of
from labcloud.lab import Lab
from labcloud.model import Cluster
from labcloud.model.dataset import Dataset, known_dataset
from labcloud.model.periods import stamp

PUBLIC = "public"


@dataclass(frozen=True)
class Row:
    """A dataset in a list, by its newest ``version``: ``bytes`` and ``files`` are its. ``access`` names tenants, or is ``public``."""

    name: str
    title: str
    access: str
    storage: str
    version: int
    versions: int
    bytes: int
    files: int
    clusters: tuple[str, ...]


@dataclass(frozen=True)
class VersionView:
    """One version; ``added`` is UTC, ``sha256`` that of the manifest."""

    version: int
    bytes: int
    files: int
    added: str
    source: str
    sha256: str
    folder: str
    clusters: tuple[str, ...]


@dataclass(frozen=True)
class DatasetView:
    """All about a dataset. ``stored`` are the bytes that all versions take together, what they share counted once."""

    name: str
    title: str
    access: str
    storage: str
    stored: int
    versions: tuple[VersionView, ...]


def rows(lab: Lab) -> list[Row]:
    """All datasets, by name."""
    clusters = lab.clusters()
    return [_row(each, clusters) for each in lab.datasets().values()]


def view(lab: Lab, name: str) -> DatasetView:
    """One dataset. Raise NotFoundError, with the nearest name, if there is none."""
    dataset, clusters = known_dataset(name, lab.datasets()), lab.clusters()
    store = store_of(lab, dataset.storage)
    versions = tuple(
        VersionView(
            each.number, each.bytes, each.files, stamp(each.added), each.source, each.sha256, str(store.folder(name, each.number)),
            _users(name, clusters, each.number),
        )
        for each in dataset.versions
    )  # fmt: skip
    return DatasetView(name, dataset.title, access_of(dataset), dataset.storage, store.occupied(name), versions)


def access_of(dataset: Dataset) -> str:
    return PUBLIC if dataset.tenants is None else ", ".join(sorted(dataset.tenants))


def _row(dataset: Dataset, clusters: Iterable[Cluster]) -> Row:
    newest = dataset.newest
    return Row(
        dataset.name, dataset.title, access_of(dataset), dataset.storage, newest.number, len(dataset.versions), newest.bytes, newest.files,
        _users(dataset.name, clusters),
    )  # fmt: skip


def _users(name: str, clusters: Iterable[Cluster], number: int = 0) -> tuple[str, ...]:
    return tuple(str(each.ref) for each in clusters if name in each.datasets and number in (0, each.datasets[name]))
