"""Datasets in the lab repository: what is written is read, what is wrong has a line, what is used stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from labcloud.errors import ConfigError, ConflictError, NotFoundError
from labcloud.lab import Lab
from labcloud.lab.datasets import dataset_document, read_dataset
from labcloud.lab.documents import dump, read_cluster
from labcloud.lab.facts import check_facts
from labcloud.model import ClusterRef, StorageClass
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


def bulk(lab: Lab) -> None:
    lab.change_storage(lambda classes, _: {**classes, "bulk": StorageClass("bulk", path="/srv/bulk")}, "bulk")


def test_datasets_are_kept_as_commits(lab: Lab, git: Callable[..., str]) -> None:
    with pytest.raises(NotFoundError, match="there is no storage class 'bulk'"):
        lab.save_dataset(TAXI, "add taxi")
    bulk(lab)
    assert (lab.dataset("taxi"), lab.datasets()) == (None, {})
    assert lab.save_dataset(TAXI, "add taxi") is True
    assert lab.save_dataset(TAXI, "add taxi") is False
    assert lab.dataset("taxi") == TAXI
    assert lab.datasets() == {"taxi": TAXI}
    assert lab.remove_dataset("taxi", "remove taxi") is True
    assert lab.remove_dataset("taxi", "remove taxi") is False
    assert git("log", "--format=%s").splitlines()[:2] == ["remove taxi", "add taxi"]
    assert lab.at("HEAD~1").datasets() == {"taxi": TAXI}


def test_a_broken_file_leaves_what_it_last_said_in_force(lab: Lab) -> None:
    bulk(lab)
    lab.save_dataset(TAXI, "add taxi")
    path = lab.home / "lab" / "datasets" / "taxi.yaml"
    path.write_text(path.read_text().replace("files: 12", "files: many"))
    assert lab.datasets() == {"taxi": TAXI}
    assert [each.path for each in lab.broken] == ["datasets/taxi.yaml"]
    with pytest.raises(ConfigError, match="'many' is not a whole number"):
        lab.save_dataset(replace(TAXI, title="Rides"), "title")
    with pytest.raises(ConfigError, match="'many' is not a whole number"):
        lab.remove_dataset("taxi", "remove taxi")


def test_comments_stay(lab: Lab) -> None:
    bulk(lab)
    lab.save_dataset(TAXI, "add taxi")
    path = lab.home / "lab" / "datasets" / "taxi.yaml"
    path.write_text("# Ask Ada.\n" + path.read_text())
    assert lab.save_dataset(replace(TAXI, title="Rides"), "title") is True
    assert path.read_text().startswith("# Ask Ada.\ntitle: Rides\n")


def test_access_and_title_are_configuration_and_all_else_is_left_to_its_verbs(lab: Lab) -> None:
    bulk(lab)
    lab.save_dataset(TAXI, "add taxi")
    lab.save(make_cluster(datasets={"taxi": 1}), "create")

    def check(dataset: Dataset | None, name: str = "taxi") -> None:
        text = None if dataset is None else dump(dataset_document(dataset))
        path = f"datasets/{name}.yaml"
        lab.change({path: text}, "edit", check=lambda after: check_facts(lab, after, [path], []))

    check(replace(TAXI, title="Rides", tenants=None))
    assert lab.dataset("taxi") == replace(TAXI, title="Rides", tenants=None)
    for wrong, said in (
        (replace(TAXI, versions=(ONE,)), "versions is not changed by its file: labcloud dataset add or remove"),
        (replace(TAXI, used=0), "used is not changed"),
        (replace(TAXI, storage=""), "storage is not changed by its file: it is for life"),
        (None, "the dataset taxi is not removed with its file"),
    ):
        with pytest.raises(ConfigError, match=said):
            check(wrong)
    with pytest.raises(ConfigError, match="there is no dataset other"):
        check(TAXI, "other")
    with pytest.raises(ConflictError, match="used by acme/"):
        check(replace(TAXI, tenants=frozenset({"blue"})))


def test_going_back_takes_no_version_away(lab: Lab) -> None:
    bulk(lab)
    lab.save_dataset(replace(TAXI, versions=(ONE,), title="Old"), "add taxi")
    lab.save_dataset(TAXI, "add version 2")
    path = "datasets/taxi.yaml"
    back = lab.older(path, lab.previous(path))
    assert read_dataset(back or "", "taxi", PATH) == replace(TAXI, title="Old")
    with pytest.raises(NotFoundError, match="there is no dataset taxi at"):
        lab.older(path, lab.resolve("HEAD~2"))


def test_a_cluster_names_its_datasets(lab: Lab) -> None:
    cluster = make_cluster(datasets={"taxi": 1})
    lab.save(cluster, "create")
    assert lab.cluster(cluster.ref) == cluster
    text = lab.text("clusters/acme/hadoop-2.7.yaml") or ""
    assert text.endswith("datasets:\n  taxi: 1\n")
    with pytest.raises(ConfigError, match="'newest' is not a whole number"):
        read_cluster(text.replace("taxi: 1", "taxi: newest"), cluster.ref, PATH)
    more = {"clusters/acme/hadoop-2.7.yaml": text.replace("taxi: 1", "taxi: 2")}
    with pytest.raises(ConfigError, match="datasets is not changed by its file: labcloud dataset attach does that"):
        lab.change(more, "edit", check=lambda after: check_facts(lab, after, more, []))


def test_what_a_cluster_uses_stays(lab: Lab) -> None:
    bulk(lab)
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
