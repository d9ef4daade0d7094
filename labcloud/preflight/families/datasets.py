"""Whether the shared datasets that the cluster asks for are there, and for its tenant."""

from __future__ import annotations

from typing import Final

from labcloud.datasets.placement import store_of
from labcloud.lab import Lab
from labcloud.model import Cluster, format_bytes
from labcloud.model.checks import Check, Finding, Subject, failed, passed, skipped
from labcloud.model.dataset import check_use


def judge(lab: Lab, cluster: Cluster) -> Finding:
    """Whether the lab declares each dataset, its tenant may have it, and the store has all of its files, by their sizes.

    Raise NotFoundError or ConflictError, as `check_use` does, for what the lab does not allow, EngineError for a manifest that is gone.
    """
    datasets = lab.datasets()
    check_use(cluster.ref.tenant, cluster.datasets, datasets)
    wanted = {name: datasets[name].version(number) for name, number in cluster.datasets.items()}
    for name, version in wanted.items():
        store = store_of(lab, datasets[name].storage)
        missing = store.missing(name, version)
        if missing:
            return failed(
                f"version {version.number} of the dataset {name} is not whole: {len(missing)} of {version.files} files are missing or cut",
                f"labcloud dataset verify {name}",
                dataset=name, version=version.number, missing=missing[:10], folder=str(store.folder(name, version.number)),
            )  # fmt: skip
    said = ", ".join(f"{name} {version.number} ({format_bytes(version.bytes)})" for name, version in wanted.items())
    return passed(f"there, and for {cluster.ref.tenant}: {said}", bytes={name: version.bytes for name, version in wanted.items()})


def _present(subject: Subject) -> Finding:
    if subject.cluster is None or not subject.cluster.datasets:
        return skipped("no dataset is asked for")
    return judge(Lab(subject.home), subject.cluster)


CHECKS: Final[tuple[Check, ...]] = (
    Check("datasets.present", "nodes whose data is not there start, and the first job finds out", _present, firm=True),
)
