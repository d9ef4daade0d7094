"""Quotas as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labcloud.errors import UsageError
from labcloud.model import Resource, format_amount, parse_amount, parse_limit, parse_resource

MEASURED = (Resource.MEMORY, Resource.VOLUMES, Resource.BACKUPS)
COUNTED = (Resource.CLUSTERS, Resource.NODES, Resource.SNAPSHOTS)


@given(st.sampled_from([*COUNTED, *MEASURED]), st.integers(1, 1_000_000))
def test_an_amount_is_written_back_the_same(resource: Resource, amount: int) -> None:
    assert parse_amount(resource, format_amount(resource, amount)) == amount


@given(st.integers(1, 10**9))
def test_cores_are_written_back_to_the_thousandth(thousandths: int) -> None:
    assert parse_amount(Resource.CPUS, format_amount(Resource.CPUS, thousandths / 1000)) == thousandths / 1000


@given(st.sampled_from(Resource), st.text(max_size=12))
def test_any_text_is_an_amount_or_refused(resource: Resource, text: str) -> None:
    try:
        assert 0 <= parse_amount(resource, text) < 1e11
    except UsageError as exc:
        assert exc.brief.startswith(f"the quota of {resource} cannot be ")
        assert exc.resolution


@pytest.mark.parametrize("resource", Resource)
@pytest.mark.parametrize(
    "text", ["", "-1", "-2g", "nan", "inf", "-inf", "1e9", "lots", "٣", "1_000", "0x10", "99999999999", "99999999g", "1.5.2"]
)
def test_absurd_amounts_are_refused(resource: Resource, text: str) -> None:
    with pytest.raises(UsageError, match=f"the quota of {resource} cannot be "):
        parse_amount(resource, text)


def test_nothing_may_be_a_quota_of_what_a_cluster_can_do_without() -> None:
    assert [parse_amount(each, "0") for each in (Resource.CLUSTERS, Resource.SNAPSHOTS, Resource.BACKUPS)] == [0, 0, 0]
    for each in (Resource.NODES, Resource.CPUS):
        with pytest.raises(UsageError, match="cannot be none: every cluster needs some") as caught:
            parse_amount(each, "0")
        assert caught.value.resolution == "give at least some, 'none' for no limit, or forbid clusters: clusters=0"


def test_a_resource_that_there_is_not_is_told_with_the_nearest() -> None:
    assert parse_resource("memory") is Resource.MEMORY
    with pytest.raises(UsageError, match="there is no quota of 'memroy'") as caught:
        parse_resource("memroy")
    assert caught.value.resolution.startswith("did you mean memory? there are quotas of clusters, nodes,")


@pytest.mark.parametrize(("text", "limit"), [("0", 0), ("2", 2), ("1000000", 1_000_000)])
def test_limits(text: str, limit: int) -> None:
    assert parse_limit(text) == limit


@pytest.mark.parametrize("text", ["", "-1", "1.5", "nan", "two", "1000001", "٣", "01"])
def test_other_limits_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a number of clusters"):
        parse_limit(text)
