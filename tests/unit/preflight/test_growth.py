"""What a command adds to its engine, and how ratios are read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labcloud.errors import ConfigError
from labcloud.model import Wanted
from labcloud.model.checks import Capacity, Subject
from labcloud.preflight import growth
from tests.unit.preflight.conftest import Asked, Made, make_cluster

RATIO = growth.Setting("LABCLOUD_TEST_RATIO", 1.5)


def test_a_new_cluster_adds_all_its_nodes(subject: Asked, cluster: Made) -> None:
    assert growth.count_new_nodes(subject(cluster(workers=2))) == 3


def test_a_cluster_that_grows_adds_what_is_new(subject: Asked, cluster: Made) -> None:
    before, after = cluster(workers=2), cluster(workers=5)
    assert growth.count_new_nodes(subject(after, declared=(before,), there=before)) == 3


def test_a_cluster_that_was_stopped_adds_all_its_nodes(subject: Asked, cluster: Made) -> None:
    before = cluster(state=Wanted.STOPPED)
    assert growth.count_new_nodes(subject(cluster(), declared=(before,), there=before)) == 3


def test_what_is_asked_for_alongside_counts(subject: Asked, cluster: Made) -> None:
    assert growth.count_new_nodes(subject(cluster(), alongside=(cluster("blue/c"),))) == 6


def test_other_engines_clusters_do_not_count(subject: Asked, cluster: Made) -> None:
    other = cluster("blue/c", provider="simulated")
    asked = subject(cluster(), declared=(other,))
    assert growth.wanted(asked) == (asked.cluster,)
    assert growth.others_running(asked) == ()


@given(before=st.integers(0, 50), after=st.integers(0, 50))
def test_new_nodes_are_never_negative(before: int, after: int) -> None:
    old, new = make_cluster(workers=before), make_cluster(workers=after)
    asked = Subject(Path("/"), "docker", lambda: Capacity(1, 1.0), declared=(old,), cluster=new, there=old)
    assert growth.count_new_nodes(asked) == max(0, after - before)


def test_a_ratio_that_nobody_set_is_the_default() -> None:
    assert RATIO.value({}) == 1.5
    assert RATIO.value({RATIO.name: " "}) == 1.5


def test_a_ratio_is_read_from_the_environment() -> None:
    assert RATIO.value({RATIO.name: "2.5"}) == 2.5


@pytest.mark.parametrize("text", ["x", "0", "-1", "nan", "inf", "101", "1,5"])
def test_a_ratio_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RATIO.value({RATIO.name: text})
    assert caught.value.exit_code == 3
    assert repr(text) in caught.value.brief
    assert caught.value.resolution == "unset LABCLOUD_TEST_RATIO"
