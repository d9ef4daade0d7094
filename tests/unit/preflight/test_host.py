"""What figures of the machine mean, at both sides of each threshold; and that the fix mends it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labcloud.errors import ConfigError
from labcloud.model import NodeGroup, Wanted, committed_memory
from labcloud.model.checks import Capacity, Check, Severity, Subject, Verdict
from labcloud.preflight import kernel
from labcloud.preflight.families import host
from tests.unit.preflight.conftest import Asked, Made, make_cluster

MACHINE: Final = Capacity(8192, 4.0)
MEMORY: Final = kernel.Memory(8192, 4096, 0)
FILES: Final = kernel.FileLimit(20000, "dockerd", 42, 1000, 100000)


@pytest.fixture(autouse=True)
def half_as_much_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures below are for one and a half times the machine's memory."""
    monkeypatch.setenv("LABCLOUD_MEMORY_OVERCOMMIT", "1.5")


def check(name: str) -> Check:
    return next(each for each in host.CHECKS if each.id == f"host.{name}")


# Memory that is promised


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (0, 12288, Verdict.PASS),
        (0, 12289, Verdict.FAIL),
        (12289, 12289, Verdict.WARN),
        (12289, 12290, Verdict.FAIL),
        (20000, 13000, Verdict.WARN),
    ],
)
def test_a_machine_may_be_promised_one_and_a_half_times(before: int, after: int, verdict: Verdict) -> None:
    finding = host.judge_commitment(before, after, MACHINE, 1.5, "labcloud stop a/b")
    assert finding.verdict is verdict
    assert finding.evidence["limit_mib"] == 12288
    assert finding.fix == ("" if verdict is Verdict.PASS else "labcloud stop a/b")


def test_the_fewest_other_clusters_are_named_to_be_stopped(subject: Asked, cluster: Made) -> None:
    others = (cluster("a/small", workers=1), cluster("b/large", workers=8), cluster("c/off", workers=99, state=Wanted.STOPPED))
    finding = check("memory").run(subject(cluster(), declared=others, capacity=MACHINE))
    assert finding.verdict is Verdict.FAIL
    assert finding.fix == "labcloud stop b/large"


def test_several_are_named_where_one_is_not_enough(subject: Asked, cluster: Made) -> None:
    others = (cluster("a/one", workers=3), cluster("b/two", workers=3))
    finding = check("memory").run(subject(cluster(workers=4), declared=others, capacity=MACHINE))
    assert finding.fix == "labcloud stop a/one && labcloud stop b/two"


def test_a_cluster_that_is_too_large_alone_is_made_smaller(subject: Asked, cluster: Made) -> None:
    asked = cluster(workers=9)
    finding = check("memory").run(subject(asked, capacity=MACHINE))
    assert finding.fix == (
        "labcloud create hadoop-2.7 --tenant acme --name c --workers 5 --cpus 2 --volume-size 10g "
        "--group master:memory=1536m --group worker:memory=2g"
    )
    fits = cluster(workers=5)
    assert check("memory").run(subject(fits, capacity=MACHINE)).verdict is Verdict.PASS
    assert committed_memory([fits]) + 2048 > 12288


def test_a_cluster_that_grows_too_much_grows_less(subject: Asked, cluster: Made) -> None:
    there = cluster(workers=2)
    finding = check("memory").run(subject(cluster(workers=9), declared=(there,), there=there, capacity=MACHINE))
    assert finding.fix == "labcloud scale acme/c --workers 5"


def test_what_nothing_makes_fit_names_the_setting(subject: Asked, cluster: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = subject(cluster(workers=1, memory=20000), capacity=MACHINE)
    finding = check("memory").run(asked)
    assert finding.fix == "export LABCLOUD_MEMORY_OVERCOMMIT=2.7"
    monkeypatch.setenv("LABCLOUD_MEMORY_OVERCOMMIT", "2.7")
    assert check("memory").run(asked).verdict is Verdict.PASS


def test_a_wrong_setting_is_named(subject: Asked, cluster: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCLOUD_MEMORY_OVERCOMMIT", "much")
    with pytest.raises(ConfigError, match="LABCLOUD_MEMORY_OVERCOMMIT is 'much'"):
        check("memory").run(subject(cluster()))


@given(sizes=st.lists(st.integers(1, 64), max_size=6), workers=st.integers(1, 64))
def test_the_fix_of_memory_mends_it(sizes: list[int], workers: int) -> None:
    others = tuple(make_cluster(f"t{number}/c", workers=size) for number, size in enumerate(sizes))
    asked = make_cluster(workers=workers)
    question = Subject(Path("/"), "docker", lambda: MACHINE, declared=others, cluster=asked)
    finding = check("memory").run(question)
    if finding.verdict is Verdict.PASS:
        return
    if "stop" in finding.fix:
        stopped = [each.removeprefix("labcloud stop ") for each in finding.fix.split(" && ")]
        left = tuple(replace(each, state=Wanted.STOPPED) if str(each.ref) in stopped else each for each in others)
        assert check("memory").run(replace(question, declared=left)).verdict is Verdict.PASS
    elif "--workers" in finding.fix:
        fewer = make_cluster(workers=int(finding.fix.split("--workers ")[1].split()[0]))
        assert check("memory").run(replace(question, cluster=fewer)).verdict is Verdict.PASS
    else:
        ratio = float(finding.fix.rpartition("=")[2])
        after = committed_memory((*others, asked))
        assert host.judge_commitment(0, after, MACHINE, ratio, "").verdict is Verdict.PASS


# Memory that is free


@pytest.mark.parametrize(("available", "nodes", "verdict"), [(960, 3, Verdict.PASS), (959, 3, Verdict.FAIL), (0, 0, Verdict.PASS)])
def test_daemons_must_find_memory_to_start_in(available: int, nodes: int, verdict: Verdict) -> None:
    assert host.judge_available(kernel.Memory(8192, available, 0), nodes, "x").verdict is verdict


def test_free_memory_is_read_from_the_kernel(subject: Asked, cluster: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "memory", lambda: kernel.Memory(8192, 500, 0))
    other = cluster("b/c")
    assert check("free-memory").run(subject(cluster(), declared=(other,))).fix == "labcloud stop b/c"
    assert check("free-memory").run(subject(cluster(workers=1))).fix.startswith("ps ")


def test_an_engine_elsewhere_has_another_kernel(subject: Asked, cluster: Made) -> None:
    asked = subject(cluster(), capacity=MACHINE)
    skipped = {each.id for each in host.CHECKS if each.run(asked).verdict is Verdict.SKIP}
    assert skipped == {each.id for each in host.CHECKS} - {"host.memory", "host.cpu"}


# Processors


def test_a_node_with_more_cores_than_the_machine_is_refused(subject: Asked, cluster: Made) -> None:
    asked = cluster(groups=(NodeGroup("master", 1, 1536, 2.0), NodeGroup("worker", 1, 2048, 4.5)))
    finding = check("cpu").run(subject(asked, capacity=MACHINE))
    assert finding.verdict is Verdict.FAIL
    assert finding.summary.startswith("a worker asks for 4.5 cores, the machine has 4")
    assert finding.fix == (
        "labcloud create hadoop-2.7 --tenant acme --name c --workers 1 --volume-size 10g --cpus 4 "
        "--group master:memory=1536m --group worker:memory=2g"
    )


@pytest.mark.parametrize(("cores", "verdict"), [(64.0, Verdict.PASS), (64.1, Verdict.WARN)])
def test_processors_are_shared_sixteenfold(cores: float, verdict: Verdict) -> None:
    assert host.judge_cpus(cores, ("worker", 4.0), MACHINE, "x").verdict is verdict


def test_stopped_clusters_take_no_processor(subject: Asked, cluster: Made) -> None:
    off = cluster("b/c", state=Wanted.STOPPED)
    assert check("cpu").run(subject(cluster(), declared=(off,))).evidence["committed_cores"] == 6.0


# The kernel


@pytest.mark.parametrize(
    ("limit", "verdict", "fix"),
    [
        (FILES, Verdict.PASS, ""),
        (replace(FILES, hard=4095), Verdict.WARN, "prlimit --pid 42 --nofile=65536:65536"),
        (replace(FILES, hard=1023), Verdict.FAIL, "prlimit --pid 42 --nofile=65536:65536"),
        (replace(FILES, used=90001), Verdict.FAIL, "sysctl -w fs.file-max=1000000"),
    ],
)
def test_open_files(limit: kernel.FileLimit, verdict: Verdict, fix: str) -> None:
    finding = host.judge_open_files(limit)
    assert (finding.verdict, finding.fix) == (verdict, fix)


@pytest.mark.parametrize(("most", "verdict"), [(65530, Verdict.PASS), (65529, Verdict.WARN)])
def test_maps(most: int, verdict: Verdict) -> None:
    finding = host.judge_maps(most)
    assert finding.verdict is verdict
    assert finding.fix in ("", "sysctl -w vm.max_map_count=65530")


@pytest.mark.parametrize(("value", "swap", "verdict"), [(60, 0, Verdict.PASS), (60, 512, Verdict.WARN), (10, 512, Verdict.PASS)])
def test_swappiness_matters_where_there_is_swap(value: int, swap: int, verdict: Verdict) -> None:
    assert host.judge_swappiness(value, replace(MEMORY, swap=swap)).verdict is verdict


@pytest.mark.parametrize(
    ("mode", "verdict"), [("always", Verdict.WARN), ("madvise", Verdict.PASS), ("never", Verdict.PASS), ("", Verdict.PASS)]
)
def test_huge_pages(mode: str, verdict: Verdict) -> None:
    assert host.judge_huge_pages(mode).verdict is verdict


@pytest.mark.parametrize(
    ("running", "nodes", "verdict", "setting"),
    [
        (500, 3, Verdict.PASS, ""),
        (25000, 10, Verdict.WARN, "kernel.pid_max=131072"),
        (32000, 10, Verdict.FAIL, "kernel.pid_max=138000"),
    ],
)
def test_processes(running: int, nodes: int, verdict: Verdict, setting: str) -> None:
    finding = host.judge_processes(kernel.Tasks(running, 32768, 100000), nodes)
    assert finding.verdict is verdict
    assert finding.fix == (f"sysctl -w {setting}" if setting else "")


def test_the_lower_limit_of_processes_is_named() -> None:
    assert "kernel.threads-max" in host.judge_processes(kernel.Tasks(4000, 32768, 4000), 1).fix


def test_forwarding() -> None:
    assert host.judge_forwarding(True).verdict is Verdict.PASS
    assert host.judge_forwarding(False).fix == "sysctl -w net.ipv4.ip_forward=1"


def test_advice_never_refuses() -> None:
    advisory = {each.id for each in host.CHECKS if each.severity is Severity.ADVISORY}
    assert advisory == {"host.max-map-count", "host.swappiness", "host.transparent-huge-pages", "host.ip-forward"}
    assert all(each.machine for each in host.CHECKS)
