"""Shared datasets as the YAML files that people read and write. Knows nothing of where files and bytes are kept.

::

    title: Taxi rides of 2024
    access: public                   # or a list of the tenants that may have it
    storage: bulk                    # the storage class that its bytes lie in; the lab's own folder if it is not said
    versions:
    - number: 1
      sha256: 9f86d081884c7d65…      # of the manifest: what is in it, each file with its size and sum
      bytes: 734003200
      files: 12
      added: 2026-11-21T18:00:00Z
      source: https://example.org/taxi.tar
    used: 3                          # the highest number that there ever was, if that version is gone
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import yaml

from labcloud.errors import UsageError
from labcloud.lab.document import Document
from labcloud.model import tenant_name
from labcloud.model.dataset import MOST_VERSIONS, Dataset, DatasetVersion
from labcloud.model.periods import stamp

_PUBLIC: Final = "public"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,17}")
_STORAGE: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")
_FIELDS: Final = ("number", "sha256", "bytes", "files", "added", "source")


def dataset_document(dataset: Dataset) -> dict[str, Any]:
    """The plain data of a dataset, in the order in which it is written; what says nothing is left out."""
    document: dict[str, Any] = {
        "title": dataset.title,
        "access": _PUBLIC if dataset.tenants is None else sorted(dataset.tenants),
        "storage": dataset.storage,
        "versions": [_version_document(each) for each in dataset.versions],
        "used": dataset.used if dataset.used > max(each.number for each in dataset.versions) else 0,
    }
    return {key: value for key, value in document.items() if value}


def _version_document(version: DatasetVersion) -> dict[str, Any]:
    return {name: getattr(version, name) for name in _FIELDS} | {"added": stamp(version.added)}


def read_dataset(text: str, name: str, path: Path) -> Dataset:
    """The dataset ``name`` that ``text`` declares. Raise ConfigError with ``path`` and the line of what is wrong."""
    document = Document(path)
    fields = document.mapping(document.root(text), required=("access", "versions"), more=("title", "storage", "used"))
    versions = tuple(_version(document, item) for item in document.items(fields["versions"]))
    numbers = [each.number for each in versions]
    if len(set(numbers)) < len(numbers):
        raise document.wrong(fields["versions"].start_mark.line, "two versions have one number")
    return Dataset(
        name=name,
        versions=versions,
        title=document.scalar(fields.get("title"), str, ""),
        tenants=_access(document, fields["access"]),
        storage=document.scalar(fields.get("storage"), _storage, ""),
        used=document.scalar(fields.get("used"), lambda text: _whole(text, MOST_VERSIONS), 0),
    )


def _version(document: Document, node: yaml.Node) -> DatasetVersion:
    fields = document.mapping(node, required=_FIELDS)
    number = document.scalar(fields["number"], lambda text: _whole(text, MOST_VERSIONS))
    if not number:
        raise document.wrong(fields["number"].start_mark.line, "versions are numbered from 1")
    return DatasetVersion(
        number=number,
        sha256=document.scalar(fields["sha256"], sha256),
        bytes=document.scalar(fields["bytes"], _whole),
        files=document.scalar(fields["files"], _whole),
        added=document.scalar(fields["added"], _moment),
        source=document.scalar(fields["source"], str),
    )


def _access(document: Document, node: yaml.Node) -> frozenset[str] | None:
    if isinstance(node, yaml.SequenceNode):
        return frozenset(document.scalar(item, tenant_name) for item in document.items(node))
    document.scalar(node, _public)
    return None


def _public(text: str) -> str:
    if text != _PUBLIC:
        raise UsageError(f"{text!r} is no access", resolution=f"write {_PUBLIC}, or a list of tenants, as in [acme, blue]")
    return text


def sha256(text: str) -> str:
    """``text`` if it is a SHA-256 sum. Raise UsageError otherwise."""
    if not _SHA256.fullmatch(text):
        raise UsageError(f"{text!r} is not a SHA-256 sum", resolution="write its 64 hexadecimal digits, as sha256sum prints them")
    return text


def _storage(text: str) -> str:
    if not _STORAGE.fullmatch(text):
        raise UsageError(f"{text!r} is not a storage class")
    return text


def _whole(text: str, most: int = 2**60) -> int:
    if not _NUMBER.fullmatch(text) or int(text) > most:
        raise UsageError(f"{text!r} is not a whole number up to {most}")
    return int(text)


def _moment(text: str) -> datetime:
    wrong = UsageError(f"{text!r} is not a time", resolution="write it in UTC, as in 2026-11-21T18:00:00Z")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise wrong from exc
    if moment.tzinfo is None:
        raise wrong
    return moment.astimezone(UTC)
