"""What may stand where in a lab repository, and which clusters a file concerns. Pure: paths alone, nothing is read.

Paths are relative to the repository, with slashes: ``clusters/acme/c.yaml``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from labcloud.errors import UsageError
from labcloud.model import ClusterRef, cluster_name, tenant_name
from labcloud.model.dataset import dataset_name

BASE: Final = "base"
BINDINGS: Final = "bindings"
DATASETS: Final = "datasets"
FILES: Final = "files"
BASE_SETTINGS: Final = "base/settings.yaml"
BASE_LOG4J: Final = "base/log4j.properties"
STORAGE: Final = "storage.yaml"
REVIEW: Final = "review.yaml"
PRICES: Final = "prices.yaml"
BACKUP: Final = "backup.yaml"

_SUFFIX: Final = ".yaml"
_FILES: Final = (STORAGE, REVIEW, PRICES, BACKUP)
_KNOWN: Final = "tenants/T.yaml, clusters/T/C.yaml, base/…, files/…, bindings/NAME.yaml, datasets/NAME.yaml, " + ", ".join(_FILES)


def cluster_path(ref: ClusterRef) -> str:
    return f"clusters/{tenant_name(ref.tenant)}/{cluster_name(ref.name)}{_SUFFIX}"


def tenant_path(name: str) -> str:
    return f"tenants/{tenant_name(name)}{_SUFFIX}"


def dataset_path(name: str) -> str:
    return f"{DATASETS}/{dataset_name(name)}{_SUFFIX}"


def cluster_of(path: str) -> ClusterRef | None:
    """The cluster whose file ``path`` is; None for another file. Raise UsageError for a name that no cluster can have."""
    parts = path.split("/")
    if len(parts) == 3 and parts[0] == "clusters" and path.endswith(_SUFFIX):
        return ClusterRef(tenant_name(parts[1]), cluster_name(parts[2].removesuffix(_SUFFIX)))
    return None


def tenant_of(path: str) -> str | None:
    """The tenant whose file ``path`` is; None for another file. Raise UsageError for a name that no tenant can have."""
    parts = path.split("/")
    if len(parts) == 2 and parts[0] == "tenants" and path.endswith(_SUFFIX):
        return tenant_name(parts[1].removesuffix(_SUFFIX))
    return None


def dataset_of(path: str) -> str | None:
    """The dataset whose file ``path`` is; None for another file. Raise UsageError for a name that no dataset can have."""
    parts = path.split("/")
    if len(parts) == 2 and parts[0] == DATASETS and path.endswith(_SUFFIX):
        return dataset_name(parts[1].removesuffix(_SUFFIX))
    return None


def file_path(text: str) -> str:
    """``text`` if it names a file that a lab repository may hold. Raise UsageError otherwise."""
    path = _relative(text)
    folder, _, name = path.partition("/")
    declared = name.endswith(_SUFFIX) and "/" not in name and name != _SUFFIX
    if not (
        path in _FILES
        or cluster_of(path)
        or tenant_of(path)
        or dataset_of(path)
        or (folder in (BASE, FILES) and name)
        or (folder == BINDINGS and declared)
    ):
        raise UsageError(f"{text!r} is no file of a lab repository", resolution=f"name one of {_KNOWN}")
    return path


def prefix(text: str) -> str:
    """``text`` if it names a file, or a folder, that may be in a lab repository; a folder's ends with a slash. Raise UsageError."""
    folder = text.rstrip("/")
    if folder in (BASE, FILES, BINDINGS, DATASETS, "clusters", "tenants"):
        return f"{folder}/"
    parts = _relative(folder).split("/")
    if (parts[0] == "clusters" and len(parts) == 2 and tenant_name(parts[1])) or (parts[0] in (BASE, FILES) and text.endswith("/")):
        return f"{folder}/"
    return file_path(text)


def _relative(text: str) -> str:
    """``text`` if it is a plain relative path. Raise UsageError for one that leads elsewhere, or into what is hidden."""
    parts = text.split("/")
    if not text.isprintable() or any(not part or part.startswith(".") for part in parts):
        raise UsageError(f"{text!r} is no path in the lab repository", resolution=f"name one of {_KNOWN}")
    return text


def covers(place: str, path: str) -> bool:
    """Whether ``path`` is the file ``place``, or lies in that folder."""
    return path == place or path.startswith(f"{place.rstrip('/')}/")


def inputs(ref: ClusterRef) -> tuple[str, ...]:
    """What says how a cluster is configured: files, and folders with all that is in them."""
    return (cluster_path(ref), tenant_path(ref.tenant), BASE, BINDINGS, FILES, STORAGE)


def concerned(paths: Iterable[str], refs: Callable[[], Iterable[ClusterRef]]) -> list[ClusterRef]:
    """Those of ``refs`` (the wanted clusters, asked for where there are ``paths``) that a file, or one of a folder, says something to."""
    changed = tuple(paths)

    def meets(place: str) -> bool:
        return any(covers(place, path) or covers(path, place) for path in changed)

    return [ref for ref in refs() if any(map(meets, inputs(ref)))] if changed else []
