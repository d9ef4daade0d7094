"""How long a move takes, against the sums done by hand."""

from __future__ import annotations

import pytest

from labcloud.migrate.estimating import Load, MaintenancePolicy, estimate
from labcloud.model.hosts import How


def test_a_quiet_server_is_copied_once() -> None:
    found = estimate(2200, Load(), bandwidth=110)
    assert (found.seconds, found.pause, found.copied, found.converges) == (20, 0, 2200, True)


def test_only_used_memory_is_copied_and_disks_are() -> None:
    found = estimate(8192, Load(used=1100), disk=2048, bandwidth=110)
    assert found.copied == pytest.approx(2048 + 1100)


def test_what_changes_is_copied_again_until_the_rest_fits_into_the_pause() -> None:
    found = estimate(1000, Load(used=1000, dirtied=50), bandwidth=100)
    # 10 s for all, 5 s for 500, 2.5 s for 250, 1.25 s for 125, then 62.5 MiB are left: 0.625 s; 31.25 MiB fit
    assert found.converges
    assert found.pause == pytest.approx(0.3125)
    assert found.seconds == pytest.approx(10 + 5 + 2.5 + 1.25 + 0.625 + 0.3125)


@pytest.mark.parametrize("dirtied", [100, 101, 1000])
def test_what_changes_as_fast_as_it_is_copied_never_arrives(dirtied: float) -> None:
    found = estimate(1000, Load(used=1000, dirtied=dirtied), bandwidth=100)
    assert not found.converges
    assert found.pause == pytest.approx(10)
    assert found.seconds == pytest.approx(20), "by force: all once, and then all that has changed"


def test_a_working_set_that_fits_into_the_pause_converges_however_often_it_is_written() -> None:
    assert estimate(40, Load(used=40, dirtied=10_000), bandwidth=100).converges


@pytest.mark.parametrize(
    ("how", "pause", "told"),
    [(How.LIVE, 0.5, False), (How.RESTART, 0, False), (How.LIVE, 21, True), (How.COLD, 0.5, True)],
)
def test_hdfs_is_told_by_itself_where_it_might_lose_patience(how: How, pause: float, told: bool) -> None:
    assert MaintenancePolicy.AUTO.of(how, pause) is told
    assert MaintenancePolicy.ALWAYS.of(how, pause)
    assert not MaintenancePolicy.NEVER.of(how, pause)
