"""Datasets: names, versions, who may have them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from labcloud.errors import ConflictError, NotFoundError, UsageError
from labcloud.model import ClusterRef
from labcloud.model.dataset import NEWEST, Dataset, DatasetVersion, check_unused, check_use, dataset_name, parse_dataset

TIME = datetime(2026, 11, 21, tzinfo=UTC)
ONE, THREE = (DatasetVersion(number, f"{number}" * 64, 10, 1, TIME, "x") for number in (1, 3))
TAXI = Dataset("taxi", (ONE, THREE), tenants=frozenset({"acme"}))


@pytest.mark.parametrize("text", ["a", "taxi-2024", "0", "a.b-c", "x" * 63])
def test_names(text: str) -> None:
    assert dataset_name(text) == text


@pytest.mark.parametrize("text", ["", ".hidden", "-x", "A", "a/b", "a@1", "..", "x" * 64, "a b", "ü", "a\n"])
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(UsageError, match="cannot name a dataset"):
        dataset_name(text)


def test_a_version_is_named_behind_the_name() -> None:
    assert parse_dataset("taxi") == ("taxi", NEWEST)
    assert parse_dataset("taxi@12") == ("taxi", 12)
    for text in ("taxi@", "taxi@0", "taxi@x", "taxi@-1", "taxi@1@2"):
        with pytest.raises(UsageError):
            parse_dataset(text)


def test_versions_are_found_and_none_comes_back() -> None:
    assert TAXI.version(NEWEST) == TAXI.version(3) == THREE
    assert TAXI.version(1) == ONE
    with pytest.raises(NotFoundError, match="no version 2"):
        TAXI.version(2)
    assert TAXI.next_number == 4
    assert replace(TAXI, versions=(ONE,), used=3).next_number == 4
    assert ONE.tag != replace(ONE, sha256="2" * 64).tag


def test_who_may_have_it() -> None:
    datasets = {"taxi": TAXI}
    check_use("acme", {"taxi": 1}, datasets)
    check_use("blue", {"taxi": 1}, {"taxi": replace(TAXI, tenants=None)})
    with pytest.raises(ConflictError, match="not shared with blue") as caught:
        check_use("blue", {"taxi": 1}, datasets)
    assert caught.value.resolution == "labcloud dataset share taxi --for blue"
    with pytest.raises(NotFoundError) as unknown:
        check_use("acme", {"taxo": 1}, datasets)
    assert "did you mean taxi?" in unknown.value.resolution
    with pytest.raises(NotFoundError, match="no version 2"):
        check_use("acme", {"taxi": 2}, datasets)


def test_what_is_used_stays() -> None:
    check_unused("taxi", 1, [])
    with pytest.raises(ConflictError, match="version 1 of the dataset taxi is used by a/x, b/y"):
        check_unused("taxi", 1, [ClusterRef("b", "y"), ClusterRef("a", "x")])
