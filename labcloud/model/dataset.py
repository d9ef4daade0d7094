"""Shared datasets: bytes that a lab holds once and that many clusters read. Pure: knows neither where the bytes lie nor who mounts them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from labcloud.errors import ConflictError, NotFoundError, UsageError
from labcloud.model.cluster import Cluster
from labcloud.model.names import ClusterRef

NEWEST: Final = 0
"""Stands for a dataset's newest version where somebody names none."""

MOUNTED: Final = "/datasets"
"""Where nodes see datasets, each by its name."""

MOST_VERSIONS: Final = 999_999
"""The highest number of a version."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]*")
_LENGTH: Final = 63
_VERSION: Final = re.compile(r"[1-9][0-9]{0,5}")
_TAG_DIGITS: Final = 12


@dataclass(frozen=True)
class DatasetVersion:
    """One content of a dataset, which never changes: ``sha256`` is that of its manifest, ``bytes`` and ``files`` are its size, ``added``
    (UTC) and ``source`` say when it came from where."""

    number: int
    sha256: str
    bytes: int
    files: int
    added: datetime
    source: str

    @property
    def tag(self) -> str:
        """What tells this content from any other, also from one that had the same name and number before."""
        return f"{self.number}-{self.sha256[:_TAG_DIGITS]}"


@dataclass(frozen=True)
class Dataset:
    """A dataset as the lab wants it. ``tenants`` are those that may have it; None for everybody. ``storage`` is the storage class that
    its bytes lie in, empty for the lab's own folder. ``used`` is the highest number that a version ever had: none comes back."""

    name: str
    versions: tuple[DatasetVersion, ...]
    title: str = ""
    tenants: frozenset[str] | None = None
    storage: str = ""
    used: int = 0

    @property
    def newest(self) -> DatasetVersion:
        return max(self.versions, key=lambda each: each.number)

    @property
    def next_number(self) -> int:
        return max([self.used, *(each.number for each in self.versions)]) + 1

    def open_to(self, tenant: str) -> bool:
        return self.tenants is None or tenant in self.tenants

    def version(self, number: int) -> DatasetVersion:
        """The version ``number``, or the newest. Raise NotFoundError if there is none."""
        found = self.newest if number == NEWEST else next((each for each in self.versions if each.number == number), None)
        if found is None:
            there = ", ".join(str(each.number) for each in self.versions)
            raise NotFoundError(
                f"the dataset {self.name} has no version {number}",
                resolution=f"it has {there}; 'labcloud dataset show {self.name}' says more",
            )
        return found


@dataclass(frozen=True)
class StoredDataset:
    """A version where its bytes are: ``tag`` as `DatasetVersion` has it, and the ``folder`` of this machine that holds the files."""

    tag: str
    folder: Path


def dataset_name(text: str) -> str:
    """Return ``text`` if it can name a dataset; raise UsageError with the rule otherwise."""
    if len(text) > _LENGTH or not _NAME.fullmatch(text):
        raise UsageError(
            f"{text!r} cannot name a dataset",
            resolution=f"use 1 to {_LENGTH} lower-case letters, digits, dots and hyphens, as in 'taxi-2024'",
        )
    return text


def parse_dataset(text: str) -> tuple[str, int]:
    """The name and the number of ``NAME@VERSION``; the number is `NEWEST` for a bare name. Raise UsageError for anything else."""
    name, at, number = text.partition("@")
    if at and not _VERSION.fullmatch(number):
        raise UsageError(
            f"{text!r} names no version of a dataset", resolution="write NAME, or NAME@VERSION with a number, as in taxi-2024@2"
        )
    return dataset_name(name), int(number) if at else NEWEST


def known_dataset(name: str, datasets: Mapping[str, Dataset]) -> Dataset:
    """The dataset ``name`` of all ``datasets``. Raise NotFoundError, with the nearest name, if there is none."""
    if name not in datasets:
        near = get_close_matches(name, datasets, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise NotFoundError(f"there is no dataset {name}", resolution=f"{hint}'labcloud dataset list' shows those that there are")
    return datasets[name]


def check_use(tenant: str, wanted: Mapping[str, int], datasets: Mapping[str, Dataset]) -> None:
    """Raise NotFoundError or ConflictError unless ``tenant`` may have each of ``wanted`` (numbers by name), and all are there."""
    for name, number in wanted.items():
        dataset = known_dataset(name, datasets)
        if not dataset.open_to(tenant):
            raise ConflictError(
                f"the dataset {name} is not shared with {tenant}", resolution=f"labcloud dataset share {name} --for {tenant}"
            )
        dataset.version(number)


def check_covers(dataset: Dataset, clusters: Iterable[Cluster]) -> None:
    """Raise ConflictError if one of ``clusters`` uses a version that ``dataset`` has not, or could not have it any more."""
    numbers = {each.number for each in dataset.versions}
    for cluster in clusters:
        number = cluster.datasets.get(dataset.name)
        if number is not None and (number not in numbers or not dataset.open_to(cluster.ref.tenant)):
            check_unused(dataset.name, number, [cluster.ref])


def check_unused(name: str, number: int, users: Collection[ClusterRef]) -> None:
    """Raise ConflictError if clusters use a version (or, for `NEWEST`, any) of the dataset."""
    if users:
        what = f"version {number} of the dataset {name}" if number else f"the dataset {name}"
        refs = sorted(users)
        raise ConflictError(
            f"{what} is used by {', '.join(map(str, refs))}", resolution=f"detach it first: labcloud dataset detach {name} {refs[0]}"
        )
