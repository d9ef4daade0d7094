"""Disks: what figures mean, and that measuring leaves nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labcloud.errors import EngineError
from labcloud.model import NodeGroup, Volume
from labcloud.model.checks import Capacity, Check, Finding, Severity, Subject, Verdict, failed, passed, skipped, warned
from labcloud.preflight.families import disk
from labcloud.preflight.families.disk import Disk
from tests.unit.preflight.conftest import Asked, Made, make_cluster

NODES: Final = Disk({"images and volumes": Path("/var/lib/docker")}, 50_000, 100_000, 900_000, 1_000_000)
LAB: Final = Disk({"lab": Path("/lab")}, 50_000, 100_000, 900_000, 1_000_000)


def check(name: str) -> Check:
    return next(each for each in disk.CHECKS if each.id == f"disk.{name}")


# Space


@pytest.mark.parametrize(
    ("there", "free", "nodes", "verdict"),
    [
        (NODES, 10_000, 3, Verdict.PASS),
        (NODES, 9_999, 3, Verdict.WARN),
        (NODES, 2_000, 3, Verdict.WARN),
        (NODES, 1_999, 3, Verdict.FAIL),  # YARN's 98 per cent
        (NODES, 3_299, 100, Verdict.FAIL),  # 100 + 100 × 32
        (LAB, 100, 100, Verdict.WARN),
        (LAB, 99, 0, Verdict.FAIL),
    ],
)
def test_space(there: Disk, free: int, nodes: int, verdict: Verdict) -> None:
    finding = disk.judge_space(replace(there, free=free), nodes)
    assert finding.verdict is verdict
    assert finding.evidence["free_mib"] == free
    assert bool(finding.fix) == (verdict is not Verdict.PASS)


def test_the_reason_of_the_floor_is_said() -> None:
    assert "YARN calls its nodes unhealthy" in disk.judge_space(replace(NODES, free=1), 3).summary
    assert "3300 MiB are needed" in disk.judge_space(replace(NODES, free=1), 100).summary


@pytest.mark.parametrize(
    ("there", "free", "verdict"),
    [(NODES, 100_000, Verdict.PASS), (NODES, 99_999, Verdict.WARN), (NODES, 1_499, Verdict.FAIL), (LAB, 99, Verdict.FAIL)],
)
def test_inodes(there: Disk, free: int, verdict: Verdict) -> None:
    assert disk.judge_inodes(replace(there, free_inodes=free), 3).verdict is verdict


def test_a_file_system_without_a_number_of_inodes_has_enough() -> None:
    assert disk.judge_inodes(replace(NODES, free_inodes=0, inodes=0), 3).verdict is Verdict.PASS


# Promises


@pytest.mark.parametrize(
    ("size", "count", "verdict"), [(10, 39, Verdict.PASS), (10, 40, Verdict.WARN), (97, 1, Verdict.PASS), (98, 1, Verdict.WARN)]
)
def test_volumes_may_be_promised_four_times_and_none_more_than_all(cluster: Made, size: int, count: int, verdict: Verdict) -> None:
    asked = cluster(groups=(NodeGroup("worker", count, 2048, volumes=(Volume(size),)),))
    finding = disk.judge_volumes(NODES, [asked], 4.0, "x")
    assert finding.verdict is verdict
    assert finding.evidence["promised_gib"] == size * count


@given(size=st.integers(1, 2000), workers=st.integers(1, 50), others=st.integers(0, 60))
def test_the_fix_of_volumes_mends_it(size: int, workers: int, others: int) -> None:
    group = NodeGroup("worker", workers, 2048, volumes=(Volume(size),))
    asked, other = make_cluster(groups=(group,)), make_cluster("b/c", workers=others)
    fix = disk.smaller_volumes(NODES, [asked, other], 4.0, asked)
    setting, _, ratio = fix.rpartition("=")
    smaller = asked if setting else make_cluster(groups=(replace(group, volumes=(Volume(int(fix.split()[-1].rstrip("g"))),)),))
    allowed = float(ratio) if setting else 4.0
    mended = disk.judge_volumes(NODES, [smaller, other], allowed, "")
    assert mended.verdict is Verdict.PASS or "one volume" in mended.summary


def test_promises_of_all_clusters_count(subject: Asked, cluster: Made) -> None:
    finding = check("volumes").run(subject(cluster(), declared=(cluster("b/c"),)))
    assert finding.evidence["promised_gib"] == 60


# Latency


def test_latency_is_the_99th_of_100() -> None:
    finding = disk.judge_latency(NODES, [0.001] * 98 + [0.09, 0.5])
    assert (finding.verdict, finding.evidence["p99_ms"]) == (Verdict.WARN, 500.0)
    assert disk.judge_latency(NODES, [0.001] * 99 + [0.1]).verdict is Verdict.PASS


def test_few_writes_are_judged_by_the_slowest() -> None:
    assert disk.judge_latency(NODES, [0.41]).verdict is Verdict.WARN


def test_a_folder_of_others_is_not_measured(tmp_path: Path) -> None:
    assert disk.measure_latency(tmp_path / "not there") == []
    assert disk.judge_latency(NODES, []).verdict is Verdict.SKIP


def test_measuring_is_short_and_leaves_nothing(tmp_path: Path) -> None:
    taken = disk.measure_latency(tmp_path)
    assert 1 <= len(taken) <= 100
    assert all(each > 0 for each in taken)
    assert list(tmp_path.iterdir()) == []


def test_a_slow_disk_is_advice_and_believed_for_an_hour() -> None:
    assert (check("latency").severity, check("latency").keeps) == (Severity.ADVISORY, 3600.0)


# Which disks


def test_two_folders_of_one_file_system_are_one_disk(tmp_path: Path) -> None:
    (found,) = disk.disks({"lab": tmp_path / "not" / "yet", "images and volumes": tmp_path})
    assert set(found.folders) == {"lab", "images and volumes"}
    assert found.holds_nodes
    assert 0 < found.free <= found.size


def test_an_engine_that_is_silent_hides_its_folders_only(tmp_path: Path) -> None:
    def refuse() -> Capacity:
        raise EngineError("no Docker Engine answers")

    silent = Subject(tmp_path, "docker", refuse)
    assert check("space").run(silent).evidence["folders"] == [str(tmp_path)]
    assert check("volumes").run(silent).verdict is Verdict.SKIP


def test_an_engine_elsewhere_has_its_volumes_there(subject: Asked, cluster: Made) -> None:
    elsewhere = subject(cluster(), capacity=Capacity(1024, 1.0))
    assert check("latency").run(elsewhere).verdict is Verdict.SKIP
    assert check("space").run(elsewhere).evidence["needed_mib"] == 100


@pytest.mark.parametrize(
    ("findings", "summary"),
    [
        ([passed("a", n=1), failed("b", "x", n=2), warned("c", "x", n=3)], "b"),
        ([passed("a", n=1), warned("c", "x", n=3)], "c"),
        ([skipped("s"), passed("a", n=1)], "a"),
    ],
)
def test_the_worst_disk_speaks_for_all(findings: list[Finding], summary: str) -> None:
    found = disk.worst(findings)
    assert found.summary == summary
    assert len(found.evidence["others"]) == len(findings) - 1
