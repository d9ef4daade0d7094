"""Usage as arithmetic: over time against a sum by seconds, and now against what is declared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labcloud.accounting.usage import (
    Allocation,
    Share,
    Standing,
    added,
    allocation,
    histories,
    profiles_now,
    quantity,
    reconciled,
    shares,
    usage_now,
)
from labcloud.apply.admission import GONE
from labcloud.model import Cluster, ClusterRef, FoundNode, NodeGroup, NodeRef, Resource, Status, Tenant, Volume, Wanted, total
from labcloud.model.prices import Metered
from tests.unit.lab.conftest import make_cluster

SECOND = 1000
HOUR = 3600 * SECOND
REF = ClusterRef("acme", "c")
SPAN = 40  # seconds in which the properties' events lie

amounts = st.integers(0, 5000)
allocations = st.builds(
    Allocation,
    time=st.integers(0, SPAN).map(lambda second: second * SECOND),
    cluster=st.sampled_from([ClusterRef(tenant, name) for tenant in ("acme", "blue", "red") for name in ("a", "b")]),
    profile=st.sampled_from(["hadoop-2.7", "hadoop-3.4"]),
    state=st.sampled_from([*map(str, Wanted), GONE]),
    nodes=amounts, cpus=amounts, memory=amounts, volumes=amounts,
)  # fmt: skip
events = st.lists(allocations, max_size=12)
moments = st.integers(-5, SPAN + 5)


def taken(events: Sequence[Allocation], since: int, until: int) -> list[Share]:
    return [each for history in histories(events).values() for each in shares(history, since, until)]


def by_seconds(events: Sequence[Allocation], since: int, until: int) -> dict[tuple[ClusterRef, str], dict[Metered, int]]:
    """The same, second by second: what was in force when the second began."""
    sums: dict[tuple[ClusterRef, str], dict[Metered, int]] = {}
    for second in range(since, until):
        for ref in {each.cluster for each in events}:
            before = [each for each in events if each.cluster == ref and each.time <= second * SECOND]
            if not before:
                continue
            last = max(enumerate(before), key=lambda pair: (pair[1].time, pair[0]))[1]
            sum_ = sums.setdefault((ref, last.profile), dict.fromkeys(Metered, 0))
            runs, exists = last.state == "running", last.state != "gone"
            for what, amount, counts in (
                (Metered.NODES, last.nodes, runs), (Metered.CPUS, last.cpus, runs),
                (Metered.MEMORY, last.memory, runs), (Metered.VOLUMES, last.volumes, exists),
            ):  # fmt: skip
                sum_[what] += amount * SECOND * counts
    return {key: hours for key, hours in sums.items() if any(hours.values())}


@given(events, moments, moments)
def test_hours_are_the_sum_of_the_seconds(events: list[Allocation], since: int, until: int) -> None:
    found = taken(events, since * SECOND, until * SECOND)
    assert {(each.cluster, each.profile): dict(each.hours) for each in found} == by_seconds(events, since, until)


@given(events, st.lists(st.integers(-5 * SECOND, (SPAN + 5) * SECOND), min_size=2, max_size=6).map(sorted))
def test_adjacent_times_add_up_to_the_whole(events: list[Allocation], cuts: list[int]) -> None:
    parts: dict[tuple[ClusterRef, str], list[Share]] = {}
    for since, until in pairwise(cuts):
        for share in taken(events, since, until):
            parts.setdefault((share.cluster, share.profile), []).append(share)
    whole = {(each.cluster, each.profile): dict(each.hours) for each in taken(events, cuts[0], cuts[-1])}
    assert {key: added(each) for key, each in parts.items()} == whole


@given(events, st.permutations(["acme", "blue", "red"]), moments, moments)
def test_what_a_tenant_takes_depends_on_no_other_tenant(events: list[Allocation], order: list[str], since: int, until: int) -> None:
    since, until = since * SECOND, until * SECOND
    shuffled = [each for tenant in order for each in events if each.cluster.tenant == tenant]
    assert taken(shuffled, since, until) == taken(events, since, until)
    alone = [
        each for tenant in sorted(order) for each in taken([event for event in events if event.cluster.tenant == tenant], since, until)
    ]
    assert alone == taken(events, since, until)


def test_a_day_in_the_life_of_a_cluster() -> None:
    runs = Allocation(0, REF, "hadoop-2.7", "running", nodes=3, cpus=1500, memory=6144, volumes=30)
    history = [
        runs, replace(runs, time=2 * HOUR, nodes=5, cpus=2500, memory=10240, volumes=50),
        replace(runs, time=4 * HOUR, state="stopped"), replace(runs, time=10 * HOUR, state="deleted"),
        Allocation(11 * HOUR, REF, "hadoop-2.7", GONE),
    ]  # fmt: skip
    (share,) = shares(history, 0, 24 * HOUR)
    assert {what: quantity(what, share.hours[what]) for what in Metered} == {
        Metered.NODES: Decimal(3 * 2 + 5 * 2), Metered.CPUS: Decimal(3 + 5),
        Metered.MEMORY: Decimal(6 * 2 + 10 * 2), Metered.VOLUMES: Decimal(30 * 2 + 50 * 2 + 30 * 7),
    }  # fmt: skip


def test_a_cluster_made_anew_of_another_profile_has_two_shares() -> None:
    old = Allocation(0, REF, "hadoop-3.4", "running", nodes=1)
    history = [old, Allocation(HOUR, REF, "hadoop-3.4", GONE), Allocation(2 * HOUR, REF, "hadoop-2.7", "running", nodes=2)]
    found = shares(history, 0, 3 * HOUR)
    assert [(each.profile, each.hours[Metered.NODES]) for each in found] == [("hadoop-2.7", 2 * HOUR), ("hadoop-3.4", HOUR)]


def test_nothing_is_taken_before_the_first_note_or_in_no_time() -> None:
    history = [Allocation(5, REF, "hadoop-2.7", "running", nodes=1)]
    assert (shares(history, 0, 5), shares(history, 9, 9), shares(history, 9, 3), shares([], 0, 9)) == ([], [], [], [])


@pytest.mark.parametrize(("small", "text"), [(1, "0.000000"), (HOUR // 3, "0.333333"), (2 * HOUR // 3, "0.666667"), (HOUR, "1.000000")])
def test_quantities_have_six_places(small: int, text: str) -> None:
    assert f"{quantity(Metered.NODES, small):f}" == text


def test_quantities_stay_exact_however_large() -> None:
    assert f"{quantity(Metered.VOLUMES, 10**24 * HOUR):f}" == f"{10**24}.000000"


# What is declared has the last word


def test_a_declared_cluster_without_any_note_counts_from_when_it_was_written() -> None:
    declared = Allocation(7, REF, "hadoop-2.7", "running", nodes=2)
    assert reconciled([], declared) == [declared]


def test_what_is_noted_as_it_is_declared_is_no_change() -> None:
    history = [Allocation(3, REF, "hadoop-2.7", "running", nodes=2)]
    assert reconciled(history, replace(history[0], time=7)) == history


@pytest.mark.parametrize(("written", "counts_from"), [(7, 7), (1, 3)])
def test_a_change_that_was_not_noted_counts_from_when_it_was_written_or_noted_last(written: int, counts_from: int) -> None:
    history = [Allocation(3, REF, "hadoop-2.7", "running", nodes=2)]
    declared = Allocation(written, REF, "hadoop-2.7", "stopped", nodes=2)
    assert reconciled(history, declared) == [*history, replace(declared, time=counts_from)]


def test_a_declared_cluster_noted_as_gone_was_made_anew() -> None:
    history = [Allocation(3, REF, "hadoop-2.7", GONE)]
    declared = Allocation(9, REF, "hadoop-2.7", "running", nodes=1)
    assert reconciled(history, declared) == [*history, declared]


# Now


def _nodes(cluster: Cluster) -> list[FoundNode]:
    return [FoundNode(ref, Status.STOPPED, cluster.profile, "i", "d", 1, "e") for ref in cluster.nodes()]


TENANT = Tenant("acme", 20000, quotas={"nodes": 4, "memory": 8192, "cpus": 1.0}, limits={"hadoop-2.7": 1, "hadoop-3.4": 2})


def test_what_exists_is_used_and_what_is_only_declared_is_reserved() -> None:
    cluster = make_cluster()  # a master of 2048 MiB, two workers of 1536 MiB, half a core and two volumes of 10 GiB
    now = usage_now(TENANT, [cluster, make_cluster("blue")], _nodes(cluster)[:2])
    assert now[Resource.CLUSTERS] == Standing("clusters", 1, 0, None, None)
    assert now[Resource.NODES] == Standing("nodes", 2, 1, 1, 4)
    assert now[Resource.MEMORY] == Standing("memory", 3584, 1536, 3072, 8192)
    assert now[Resource.CPUS] == Standing("cpus", 1.5, 0.5, -1.0, 1.0)
    assert now[Resource.VOLUMES] == Standing("volumes", 30, 20, None, None)
    assert now[Resource.SNAPSHOTS] == Standing("snapshots", 0, 0, None, None)


def test_a_cluster_of_which_nothing_exists_is_reserved_whole() -> None:
    assert usage_now(TENANT, [make_cluster()], [])[Resource.CLUSTERS] == Standing("clusters", 0, 1, None, None)


def test_limits_of_profiles_are_counted_by_clusters() -> None:
    cluster = make_cluster()
    assert profiles_now(TENANT, [cluster, make_cluster(name="d")], _nodes(cluster)) == [
        Standing("clusters of hadoop-2.7", 1, 1, -1, 1),
        Standing("clusters of hadoop-3.4", 0, 0, 2, 2),
    ]


groups = st.builds(
    NodeGroup, name=st.sampled_from(["master", "worker"]), count=st.integers(0, 4), memory=st.integers(1, 9999),
    cpus=st.integers(1, 9999).map(lambda thousandths: thousandths / 1000),
    volumes=st.lists(st.builds(Volume, st.integers(1, 99), st.sampled_from(["", "fast"])), max_size=3).map(tuple),
)  # fmt: skip
clusters = st.builds(
    lambda tenant, name, groups: make_cluster(tenant, name, groups=tuple(groups)),
    st.sampled_from(["acme", "blue"]), st.sampled_from(["a", "b", "c"]), st.lists(groups, max_size=2, unique_by=lambda group: group.name),
)  # fmt: skip


@given(st.lists(clusters, max_size=5, unique_by=lambda each: each.ref), st.randoms())
def test_used_and_reserved_are_together_what_is_declared(declared: list[Cluster], random: object) -> None:
    refs = [ref for cluster in declared for ref in cluster.nodes()]
    found = [FoundNode(ref, Status.RUNNING, "p", "i", "d", 1, "e") for ref in refs if random.random() < 0.5]  # type: ignore[attr-defined]
    now = usage_now(TENANT, declared, found)
    whole = total(each for each in declared if each.ref.tenant == "acme")
    for resource in Resource:
        standing = now[resource]
        assert standing.used + standing.reserved == pytest.approx(whole[resource])
        assert min(standing.used, standing.reserved) >= 0
        assert standing.quota is None or standing.free == pytest.approx(standing.quota - standing.used - standing.reserved)


def test_a_node_that_is_not_declared_is_not_counted() -> None:
    cluster = make_cluster()
    surplus = replace(_nodes(cluster)[0], ref=NodeRef(cluster.ref, "worker", 9))
    assert usage_now(TENANT, [cluster], [*_nodes(cluster), surplus])[Resource.NODES].used == 3


def test_what_is_declared_of_a_cluster_as_an_allocation() -> None:
    assert allocation(make_cluster(state=Wanted.STOPPED), 5) == Allocation(
        5, ClusterRef("acme", "hadoop-2.7"), "hadoop-2.7", "stopped", nodes=3, cpus=2000, memory=5120, volumes=50
    )
