"""Datasets in the lab repository: what is written is read, what is wrong has a line, what is used stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from labcloud.errors import ConfigError, ConflictError
from labcloud.lab import Lab
from labcloud.lab.datasets import dataset_document, read_dataset
from labcloud.lab.documents import dump
from labcloud.model import ClusterRef
from labcloud.model.dataset import Dataset, DatasetVersion
from tests.unit.lab.conftest import make_cluster

PATH = Path("taxi.yaml")
ONE = DatasetVersion(1, "a" * 64, 734003200, 12, datetime(2026, 11, 21, 18, tzinfo=UTC), "https://example.org/taxi.tar")
TWO = replace(ONE, number=2, sha256="b" * 64)
TAXI = Dataset("taxi", (ONE, TWO), title="Rides: 2024", tenants=frozenset({"acme", "blue"}), storage="bulk", used=5)
TEXT = dump(dataset_document(TAXI))


@pytest.mark.parametrize("dataset", [TAXI, Dataset("taxi", (ONE,))])
def test_what_is_written_is_read(dataset: Dataset) -> None:
    assert read_dataset(dump(dataset_document(dataset)), "taxi", PATH) == dataset


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("bytes: 734003200", "bytes: -1", r"taxi.yaml:9: '-1' is not a whole number"),
        ("number: 2", "number: 1", r"taxi.yaml:7: two versions have one number"),
        ("number: 2", "number: 0", r"taxi.yaml:13: versions are numbered from 1"),
        ("a" * 64, "abc", r"taxi.yaml:8: 'abc' is not a SHA-256 sum"),
        ("2026-11-21T18:00:00Z", "2026-11-21T18:00:00", "is not a time"),
        ("- acme", "- ACME", r"taxi.yaml:3: 'ACME' cannot name a tenant"),
        ("storage: bulk", "storage: /x", "is not a storage class"),
        ("files: 12", "file: 12", "'file' means nothing here"),
        ("access:\n- acme\n- blue", "access: all", r"taxi.yaml:2: 'all' is no access"),
        ("used: 5", "used: many", "is not a whole number"),
    ],
)
def test_what_is_wrong_has_a_line(old: str, new: str, said: str) -> None:
    assert old in TEXT
    with pytest.raises(ConfigError, match=said):
        read_dataset(TEXT.replace(old, new), "taxi", PATH)


def test_datasets_are_kept_as_commits(lab: Lab, git: Callable[..., str]) -> None:
    assert (lab.dataset("taxi"), lab.datasets()) == (None, {})
    assert lab.save_dataset(TAXI, "add taxi") is True
    assert lab.save_dataset(TAXI, "add taxi") is False
    assert lab.dataset("taxi") == TAXI
    assert lab.datasets() == {"taxi": TAXI}
    assert lab.remove_dataset("taxi", "remove taxi") is True
    assert lab.remove_dataset("taxi", "remove taxi") is False
    assert git("log", "--format=%s").splitlines()[:2] == ["remove taxi", "add taxi"]


def test_a_cluster_names_its_datasets(lab: Lab) -> None:
    cluster = make_cluster(datasets={"taxi": 1})
    lab.save(cluster, "create")
    assert lab.cluster(cluster.ref) == cluster
    path = lab.home / "lab" / "clusters" / "acme" / "hadoop-2.7.yaml"
    assert path.read_text().endswith("datasets:\n  taxi: 1\n")
    path.write_text(path.read_text().replace("taxi: 1", "taxi: newest"))
    with pytest.raises(ConfigError, match="'newest' is not a whole number"):
        lab.cluster(cluster.ref)


def test_what_a_cluster_uses_stays(lab: Lab) -> None:
    lab.save_dataset(TAXI, "add taxi")
    lab.save(make_cluster(datasets={"taxi": 1}), "create")
    assert lab.users_of("taxi") == lab.users_of("taxi", 1) == [ClusterRef("acme", "hadoop-2.7")]
    assert lab.users_of("taxi", 2) == []
    with pytest.raises(ConflictError, match="the dataset taxi is used by acme/"):
        lab.remove_dataset("taxi", "remove")
    with pytest.raises(ConflictError, match="version 1 of the dataset taxi is used by acme/"):
        lab.save_dataset(replace(TAXI, versions=(TWO,)), "remove 1")
    with pytest.raises(ConflictError, match="used by acme/"):
        lab.save_dataset(replace(TAXI, tenants=frozenset({"blue"})), "not for acme")
    assert lab.save_dataset(replace(TAXI, versions=(ONE,)), "remove 2") is True
