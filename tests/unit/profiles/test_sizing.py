"""Memory is arithmetic: no node is ever given away beyond what it has, and more memory never means less for anything."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labcloud.errors import UsageError
from labcloud.model import NodeGroup, format_memory
from labcloud.profiles import check_memory, load, minimum_memory, names
from labcloud.profiles.sizing import GroupSizing, size_group

PROFILES = {name: load(name) for name in names()}
groups = st.sampled_from([(profile, group) for profile in PROFILES.values() for group in profile.groups])
beyond = st.integers(0, 256 * 1024)
workers = st.integers(1, 4999)


def sized(profile, group: str, extra: int, count: int) -> GroupSizing:
    counts = {"master": 1, "worker": count}
    memory = minimum_memory(profile, group, counts) + extra
    return size_group(profile, NodeGroup(group, counts[group], memory), counts)


@given(groups, beyond, workers)
def test_a_node_never_gives_away_more_than_it_has(which, extra: int, count: int) -> None:
    size = sized(*which, extra, count)
    given_away = size.reserved + int(size.values.get("yarn_memory", 0))
    assert given_away <= size.memory
    assert size.reserved + size.workload <= size.memory


@given(groups, beyond, st.integers(1, 4096), workers)
def test_more_memory_never_means_less(which, extra: int, more: int, count: int) -> None:
    small, large = sized(*which, extra, count), sized(*which, extra + more, count)
    assert all(large.services[name].heap >= each.heap for name, each in small.services.items())
    assert all(large.values[name] >= value for name, value in small.values.items())


@given(st.sampled_from(list(PROFILES.values())), beyond, workers)
def test_a_job_fits_into_a_cluster(profile, extra: int, count: int) -> None:
    values = sized(profile, "worker", extra, count).values
    assert count * (values["yarn_memory"] // values["container"]) >= 2  # an ApplicationMaster and a task
    assert values["sort_memory"] < values["task_heap"] < values["container"]
    assert values["container"] % 128 == values["yarn_memory"] % 128 == 0


@pytest.mark.parametrize("name", names())
def test_two_default_workers_run_seven_tasks_at_once(name: str) -> None:
    profile = PROFILES[name]
    values = size_group(profile, NodeGroup("worker", 2, profile.groups["worker"].memory), {"master": 1, "worker": 2}).values
    assert 2 * (values["yarn_memory"] // values["container"]) >= 8


@given(groups, workers)
@settings(max_examples=30)
def test_too_little_memory_is_refused_with_the_minimum(which, count: int) -> None:
    profile, group = which
    counts = {"master": 1, "worker": count}
    minimum = minimum_memory(profile, group, counts)
    check_memory(profile, group, minimum, counts)
    with pytest.raises(UsageError, match=f"at least {format_memory(minimum)}"):
        check_memory(profile, group, minimum - 1, counts)


def test_an_unknown_group_is_refused() -> None:
    with pytest.raises(UsageError, match="no node group 'edge'"):
        check_memory(PROFILES["hadoop-2.7"], "edge", 4096)
