"""Which reader each file of a lab repository has: what none reads without an error may not be written. Knows no repository."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from labcloud.errors import ConfigError, UsageError
from labcloud.lab.configurations import read_base, read_binding
from labcloud.lab.datasets import read_dataset
from labcloud.lab.document import Document
from labcloud.lab.documents import read_cluster
from labcloud.lab.places import BACKUP, BASE_SETTINGS, BINDINGS, PRICES, REVIEW, STORAGE, cluster_of, dataset_of, tenant_of
from labcloud.lab.prices import read_prices
from labcloud.lab.protection import read_backup
from labcloud.lab.review import read_review
from labcloud.lab.storage import read_storage
from labcloud.lab.tenants import read_tenant

Reader = Callable[[str, Path], object]

_READERS: dict[str, Reader] = {
    PRICES: read_prices, REVIEW: read_review, BASE_SETTINGS: read_base, STORAGE: read_storage, BACKUP: read_backup,
}  # fmt: skip


def reader(path: str) -> Reader | None:
    """What reads the file at ``path``, raising ConfigError with its line; None for one that may say anything."""
    try:
        ref, tenant, dataset = cluster_of(path), tenant_of(path), dataset_of(path)
    except UsageError:
        return None  # none of them can have this name: nobody reads it
    if ref is not None:
        return lambda text, where: read_cluster(text, ref, where)
    if tenant is not None:
        return lambda text, where: read_tenant(text, tenant, where)
    if dataset is not None:
        return lambda text, where: read_dataset(text, dataset, where)
    folder, _, name = path.partition("/")
    if folder == BINDINGS:
        return lambda text, where: read_binding(text, name.removesuffix(".yaml"), where)
    return _READERS.get(path) or (_mapping if path.endswith(".yaml") else None)


def check(path: str, text: str, where: Path) -> None:
    """Raise ConfigError, naming ``where``, if ``text`` cannot stand at ``path``."""
    if "\0" in text:
        raise ConfigError(f"{where}:{text[: text.index(chr(0))].count(chr(10)) + 1}: a NUL byte is no text", resolution="remove it")
    read = reader(path)
    if read is not None:
        read(text, where)


def _mapping(text: str, where: Path) -> None:
    """Any YAML that has keys and values."""
    document = Document(where)
    document.pairs(document.root(text))
