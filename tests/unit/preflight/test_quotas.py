"""Quota arithmetic, and the race for the last free place."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labcloud.apply.admission import Admission
from labcloud.apply.journal import Journal
from labcloud.errors import ConflictError, QuotaError
from labcloud.lab import Lab
from labcloud.model import Cluster, ClusterRef, NodeGroup, Resource, Tenant, Volume, Wanted, demand
from labcloud.preflight.quotas import admit, balances

RACERS = 20
PLACES = 3
QUOTA = f"user_id: 20000\nquotas:\n  clusters: {PLACES}\n"


def cluster(name: str = "c", *, tenant: str = "acme", workers: int = 2, profile: str = "hadoop-2.7") -> Cluster:
    groups = (NodeGroup("master", 1, 1536, 2.0), NodeGroup("worker", workers, 2048, 0.5, (Volume(), Volume())))
    return Cluster(ClusterRef(tenant, name), profile, "simulated", f"{abs(hash(name)):032x}"[:32], "image:1", groups)


def tenant(**quotas: float) -> Tenant:
    return Tenant("acme", 20000, quotas)


def test_a_cluster_takes_what_its_nodes_have() -> None:
    assert demand(cluster()) == {"clusters": 1, "nodes": 3, "cpus": 3.0, "memory": 1536 + 2 * 2048, "volumes": 10 + 2 * 2 * 10}


@pytest.mark.parametrize(
    ("quotas", "said", "fix"),
    [
        ({"clusters": 1}, "clusters: 1 more asked for, 1 of 1 taken", "labcloud tenant set acme --quota clusters=2"),
        ({"nodes": 5}, "nodes: 3 more asked for, 3 of 5 taken", "labcloud tenant set acme --quota nodes=6"),
        ({"cpus": 5.5}, "cpus: 3 more asked for, 3 of 5.5 taken", "labcloud tenant set acme --quota cpus=6"),
        ({"memory": 10240}, "memory: 5632m more asked for, 5632m of 10g taken", "labcloud tenant set acme --quota memory=11g"),
        ({"volumes": 99}, "volumes: 50g more asked for, 50g of 99g taken", "labcloud tenant set acme --quota volumes=100g"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_is_short_and_the_command_that_mends_it(
    quotas: dict[str, float], said: str, fix: str
) -> None:
    with pytest.raises(QuotaError) as caught:
        admit(tenant(**quotas), cluster("second"), [cluster("first"), cluster("other", tenant="beta")])
    assert (caught.value.exit_code, caught.value.details, caught.value.resolution) == (7, said, fix)


def test_every_shortage_is_told_at_once() -> None:
    with pytest.raises(QuotaError) as caught:
        admit(replace(tenant(nodes=2, memory=1024), limits={"hadoop-2.7": 0}), cluster(), [])
    assert [line.partition(":")[0] for line in caught.value.details.splitlines()] == ["nodes", "memory", "clusters of hadoop-2.7"]


def test_a_profile_has_a_limit_of_its_own() -> None:
    limited = replace(tenant(), limits={"hadoop-3.4": 1})
    admit(limited, cluster("a"), [cluster("b", profile="hadoop-3.4")])
    with pytest.raises(QuotaError, match="has no place") as caught:
        admit(limited, cluster("a", profile="hadoop-3.4"), [cluster("b", profile="hadoop-3.4")])
    assert caught.value.resolution == "labcloud tenant set acme --limit hadoop-3.4=2"


def test_a_quota_under_what_is_used_blocks_growth_only() -> None:
    there = cluster(workers=4)
    lowered = tenant(nodes=1, memory=1, clusters=0)
    for state in Wanted:
        admit(lowered, replace(there, state=state), [there])
    admit(lowered, cluster(workers=2), [there])
    with pytest.raises(QuotaError):
        admit(lowered, cluster(workers=5), [there])


def test_a_cluster_of_the_same_name_is_replaced_and_not_added() -> None:
    admit(tenant(nodes=5), cluster(workers=4), [cluster(workers=2)])


@given(st.lists(st.integers(1, 50), max_size=6), st.integers(1, 50), st.integers(0, 400))
def test_admitted_clusters_never_exceed_the_quota(counts: list[int], workers: int, quota: int) -> None:
    limited, declared = tenant(nodes=quota), []
    for index, count in enumerate([*counts, workers]):
        asked = cluster(f"c{index}", workers=count)
        balance = balances(limited, asked, declared)[Resource.NODES]
        fits = sum(demand(each)[Resource.NODES] for each in declared) + count + 1 <= quota
        assert (balance.short == 0) == fits
        if fits:
            admit(limited, asked, declared)
            declared.append(asked)
        else:
            with pytest.raises(QuotaError):
                admit(limited, asked, declared)
    assert sum(demand(each)[Resource.NODES] for each in declared) <= quota


def _race(home: Path, number: int, start: Barrier, results: multiprocessing.Queue[tuple[int, str]]) -> None:
    lab = Lab(home)
    asked = cluster(f"c{number}")
    start.wait(60)
    try:
        with Journal(home).operation("create", str(asked.ref)) as operation:
            Admission(lab).reserve(asked, f"create {asked.ref}", operation)
    except QuotaError:
        results.put((number, "refused"))
    else:
        results.put((number, "admitted"))


def test_twenty_processes_that_race_for_the_last_places_get_just_those(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.ensure_tenant("acme")
    (tmp_path / "lab" / "tenants" / "acme.yaml").write_text(QUOTA)
    context = multiprocessing.get_context("forkserver")
    start, results = context.Barrier(RACERS), context.Queue()
    racers = [context.Process(target=_race, args=(tmp_path, number, start, results)) for number in range(RACERS)]
    for racer in racers:
        racer.start()
    ended: Sequence[tuple[int, str]] = [results.get(timeout=100) for _ in racers]
    for racer in racers:
        racer.join(60)
    admitted = sorted(number for number, result in ended if result == "admitted")
    assert len(admitted) == PLACES
    assert sorted(int(each.ref.name[1:]) for each in lab.clusters("acme")) == admitted


def test_a_tenant_that_was_deleted_meanwhile_gets_no_cluster(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.ensure_tenant("acme")
    lab.remove_tenant("acme", "delete acme")
    with Journal(tmp_path).operation("create", "acme/c") as operation, pytest.raises(ConflictError, match="was deleted meanwhile"):
        Admission(lab).reserve(cluster(), "create acme/c", operation)
    assert lab.clusters() == []
