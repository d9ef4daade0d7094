"""One command at a time on a cluster; the others know who has it."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from labcloud.errors import DeadlineError, EngineError
from labcloud.lab import cluster_lock
from labcloud.lab.locks import tenant_lock
from labcloud.model import ClusterRef

REF = ClusterRef("acme", "hadoop-2.7")


def _hold(home: Path, held: Event) -> None:
    with cluster_lock(home, REF, verb="create", timeout=5):
        held.set()
        time.sleep(60)


def test_a_free_lock_leaves_nothing(tmp_path: Path) -> None:
    with cluster_lock(tmp_path, REF, verb="create"):
        assert (tmp_path / "locks" / "acme" / "hadoop-2.7.lock").exists()
    assert not (tmp_path / "locks" / "acme").exists()


def test_an_error_inside_frees_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="inside"), cluster_lock(tmp_path, REF, verb="create"):
        raise ValueError("inside")
    with cluster_lock(tmp_path, REF, verb="create", timeout=0):
        pass


def test_who_waits_is_told_who_has_it(tmp_path: Path) -> None:
    told: list[str] = []
    with (
        cluster_lock(tmp_path, REF, verb="scale"),
        pytest.raises(DeadlineError) as caught,
        cluster_lock(tmp_path, REF, verb="delete", timeout=0.1, waiting=told.append),
    ):
        pass
    assert len(told) == 1
    for text in (told[0], caught.value.brief):
        assert "'scale' has it since" in text
        assert f"process {os.getpid()} on" in text
    assert caught.value.resolution


def test_other_clusters_are_free(tmp_path: Path) -> None:
    with (
        cluster_lock(tmp_path, REF, verb="create"),
        cluster_lock(tmp_path, ClusterRef("acme", "other"), verb="create", timeout=0),
        cluster_lock(tmp_path, ClusterRef("other", "hadoop-2.7"), verb="create", timeout=0),
    ):
        pass


def test_a_killed_holder_frees_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    holder = context.Process(target=_hold, args=(tmp_path, held))
    holder.start()
    assert held.wait(30)
    with pytest.raises(DeadlineError, match=f"process {holder.pid} on"), cluster_lock(tmp_path, REF, verb="delete", timeout=0):
        pass
    holder.kill()
    with cluster_lock(tmp_path, REF, verb="delete", timeout=5):
        pass
    holder.join()


def test_many_threads_never_hold_it_together(tmp_path: Path) -> None:
    inside, most, done = [0], [0], [0]

    def work() -> None:
        for _ in range(20):
            with cluster_lock(tmp_path, REF, verb="work", timeout=60):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.0005)
                inside[0] -= 1
                done[0] += 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most[0], done[0]) == (1, 120)


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "locks").touch()
    with pytest.raises(EngineError, match="could not lock"), cluster_lock(tmp_path, REF, verb="create", timeout=0.1):
        pass


def test_a_tenant_is_held_beside_its_clusters_and_by_one_at_a_time(tmp_path: Path) -> None:
    with tenant_lock(tmp_path, "acme", verb="tenant set"):
        with cluster_lock(tmp_path, ClusterRef("acme", "c"), verb="create"):
            pass
        with (
            pytest.raises(DeadlineError, match="the tenant acme is busy: 'tenant set' has it"),
            tenant_lock(tmp_path, "acme", verb="tenant delete", timeout=0.01),
        ):
            pass
    assert list((tmp_path / "locks").iterdir()) == []
