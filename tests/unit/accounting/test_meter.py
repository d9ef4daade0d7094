"""What is counted: the journal, made whole by the lab repository where a run died between the two."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labcloud.accounting.meter import Meter
from labcloud.accounting.usage import allocation
from labcloud.apply.journal import Journal
from labcloud.lab import Lab
from labcloud.model import Cluster, ClusterRef, NodeGroup, Wanted
from labcloud.model.periods import Period, milliseconds
from labcloud.model.prices import Metered
from tests.unit.apply.conftest import REF, TERMS, Shop, asked
from tests.unit.lab.conftest import make_cluster

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MONTHS = Period(datetime(2026, 9, 1, tzinfo=UTC), NOW)


def line(moment: datetime, target: str = "acme/c", **details: object) -> str:
    """What the journal has of an allocation; a node of one core, 1 GiB and 10 GiB of volumes unless it says otherwise."""
    facts = {
        "profile": "hadoop-2.7",
        "provider": "docker",
        "state": "running",
        "nodes": 1,
        "cpus": 1.0,
        "memory_mib": 1024,
        "volumes_gib": 10,
    }
    return json.dumps(
        {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"), "operation": "x", "verb": "create", "target": target,
            "event": "allocated", "details": facts | details,
        },
        separators=(",", ":"),
    )  # fmt: skip


GONE = {"state": "gone", "nodes": 0, "cpus": 0.0, "memory_mib": 0, "volumes_gib": 0}


def write(home: Path, *lines: str) -> None:
    """Lines of the journal, each in the file of its month."""
    folder = home / "journal"
    folder.mkdir(parents=True, exist_ok=True)
    for each in lines:
        month = json.loads(each)["time"][:7] if each.startswith("{") and each.endswith("}") else f"{NOW:%Y-%m}"
        with (folder / f"{month}.jsonl").open("a") as file:
            file.write(f"{each}\n")


def meter(home: Path) -> Meter:
    return Meter(Lab(home), Journal(home))


def node_hours(home: Path, period: Period = MONTHS) -> dict[str, float]:
    return {str(each.cluster): each.hours[Metered.NODES] / 3_600_000 for each in meter(home).shares(period)}


def one_node(**changed: object) -> Cluster:
    """The cluster that `line` has."""
    return make_cluster("acme", "c", groups=(NodeGroup("master", 1, 1024),), **changed)


def written(lab: Lab, cluster: Cluster, moment: datetime) -> None:
    """Declare ``cluster`` as if that was at ``moment``."""
    lab.save(cluster, "for a test")
    os.utime(lab.home / "lab" / "clusters" / cluster.ref.tenant / f"{cluster.ref.name}.yaml", (moment.timestamp(),) * 2)


def test_a_cluster_of_several_months_is_counted_in_each(tmp_path: Path) -> None:
    write(tmp_path, line(datetime(2026, 9, 30, 22, tzinfo=UTC)), line(datetime(2026, 11, 1, 3, tzinfo=UTC), **GONE))
    september, october, november = (datetime(2026, month, 1, tzinfo=UTC) for month in (9, 10, 11))
    assert node_hours(tmp_path, Period(september, october)) == {"acme/c": 2}
    assert node_hours(tmp_path, Period(october, november)) == {"acme/c": 31 * 24}
    assert node_hours(tmp_path, Period(november, NOW)) == {"acme/c": 3}
    assert node_hours(tmp_path) == {"acme/c": 2 + 31 * 24 + 3}


def test_only_the_asked_tenant_is_counted(tmp_path: Path) -> None:
    write(tmp_path, line(NOW - HOUR), line(NOW - HOUR, "blue/c"), line(NOW - HOUR, "no cluster"))
    assert [str(each.cluster) for each in meter(tmp_path).shares(MONTHS, "blue")] == []
    lab = Lab(tmp_path)
    written(lab, one_node(ref=ClusterRef("blue", "c")), NOW - HOUR)
    assert [str(each.cluster) for each in meter(tmp_path).shares(MONTHS, "blue")] == ["blue/c"]
    assert list(meter(tmp_path).histories("blue")) == [ClusterRef("blue", "c")]


def test_nothing_is_read_and_nothing_made_without_a_lab(tmp_path: Path) -> None:
    assert meter(tmp_path / "home").shares(MONTHS) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "spoilt",
    [
        "", "{", line(NOW - 2 * HOUR, nodes=9)[:-30], line(NOW - 2 * HOUR, nodes="many"), line(NOW - 2 * HOUR, nodes=-9),
        line(NOW - 2 * HOUR, cpus="nan"), line(NOW - 2 * HOUR, state="lost", nodes=9), line(NOW - 2 * HOUR, nodes=None),
        line(NOW - 2 * HOUR, nodes=9).replace('"memory_mib"', '"memory"'), line(NOW - 2 * HOUR, nodes=9).replace("2026", "last"),
        line(NOW - 2 * HOUR, nodes=9).replace('"details":{', '"details":[{').replace("}}", "}]}"),
    ],
)  # fmt: skip
def test_torn_and_spoilt_lines_are_passed_over(tmp_path: Path, spoilt: str) -> None:
    folder = tmp_path / "journal"
    folder.mkdir()
    (folder / "2026-11.jsonl").write_text("\n".join([line(NOW - 3 * HOUR), spoilt, line(NOW - HOUR, **GONE)]) + "\n")
    assert node_hours(tmp_path) == {"acme/c": 2}


def test_a_whole_line_behind_a_torn_one_counts(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    folder.mkdir()
    (folder / "2026-11.jsonl").write_text(f"{line(NOW - 3 * HOUR)}\n{line(NOW - 2 * HOUR)[:70]}{line(NOW - HOUR, **GONE)}\n")
    assert node_hours(tmp_path) == {"acme/c": 2}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(cut=st.integers(1, 300))
def test_a_last_line_that_is_torn_anywhere_is_as_if_it_were_not_there(tmp_path: Path, cut: int) -> None:
    whole, last = line(NOW - 3 * HOUR), line(NOW - HOUR, nodes=7)
    folder = tmp_path / "journal"
    folder.mkdir(exist_ok=True)
    (folder / "2026-11.jsonl").write_text(f"{whole}\n{last[: min(cut, len(last) - 1)]}")
    assert [each.details["nodes"] for _, each in Journal(tmp_path).events("allocated")] == [1]


# A run that died between the repository and the journal


def test_a_declared_cluster_without_a_note_counts_from_when_its_file_was_written(tmp_path: Path) -> None:
    written(Lab(tmp_path), one_node(), NOW - 5 * HOUR)
    assert node_hours(tmp_path) == {"acme/c": 5}


def test_a_change_without_a_note_counts_from_when_its_file_was_written(tmp_path: Path) -> None:
    write(tmp_path, line(NOW - 5 * HOUR))
    written(Lab(tmp_path), one_node(state=Wanted.STOPPED), NOW - 2 * HOUR)
    (share,) = meter(tmp_path).shares(MONTHS)
    assert {what: amount / 3_600_000 for what, amount in share.hours.items()} == {
        Metered.NODES: 3, Metered.CPUS: 3000, Metered.MEMORY: 3 * 1024, Metered.VOLUMES: 50,
    }  # fmt: skip


def test_a_file_that_was_written_again_and_says_the_same_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path, line(NOW - 5 * HOUR))
    written(Lab(tmp_path), one_node(), NOW - HOUR)
    assert node_hours(tmp_path) == {"acme/c": 5}


def test_a_cluster_whose_end_was_not_noted_counts_up_to_the_commit_that_removed_it(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.save(one_node(), "for a test")
    began = datetime.now(UTC) - HOUR
    write(tmp_path, line(began))
    lab.remove(ClusterRef("acme", "c"), "for a test")
    (history,) = meter(tmp_path).histories().values()
    assert [each.state for each in history] == ["running", "gone"]
    assert abs(history[1].time - time.time() * 1000) < 60_000


def test_a_cluster_that_nobody_knows_the_end_of_counts_up_to_its_last_note(tmp_path: Path) -> None:
    write(tmp_path, line(NOW - 5 * HOUR), line(NOW - 2 * HOUR, nodes=3))
    assert node_hours(tmp_path) == {"acme/c": 3}


def test_what_the_verbs_note_is_what_is_declared(shop: Shop) -> None:
    """So nothing has to be made whole after a life of a cluster, and its last note is as of its last change."""
    meter = Meter(shop.lab, shop.journal())
    for verb, count in (
        (lambda: shop.clusters().create(asked(), TERMS), 1), (lambda: shop.clusters().scale(REF, 3, TERMS), 2),
        (lambda: shop.clusters().stop(REF, TERMS), 3), (lambda: shop.clusters().start(REF, TERMS), 4),
    ):  # fmt: skip
        verb()
        (history,) = meter.histories().values()
        wanted = shop.lab.cluster(REF)
        assert wanted is not None
        assert (len(history), history[-1].facts) == (count, allocation(wanted, 0).facts)
    shop.clusters().delete(REF, TERMS)
    (history,) = meter.histories().values()
    assert [each.state for each in history] == ["running", "running", "stopped", "running", "deleted", "gone"]
    assert [each.time for each in history] == sorted(each.time for each in history)


def test_a_life_without_its_last_note_is_made_whole(shop: Shop) -> None:
    shop.clusters().create(asked(), TERMS)
    meter = Meter(shop.lab, shop.journal())
    (whole,) = meter.histories().values()
    for path in (shop.home / "journal").iterdir():
        path.write_text("".join(each for each in path.read_text().splitlines(keepends=True) if '"allocated"' not in each))
    (again,) = meter.histories().values()
    assert [each.facts for each in again] == [each.facts for each in whole]
    assert abs(again[0].time - whole[0].time) < 2000


# Reading


def test_events_of_a_kind_come_with_their_targets_in_order_of_the_months(tmp_path: Path) -> None:
    write(tmp_path, line(NOW, "acme/b"), line(NOW - 800 * HOUR, "acme/a", said='"event":"allocated","details":'))
    journal = Journal(tmp_path)
    with journal.operation("create", "acme/x") as operation:
        operation.event("told", text='"event":"allocated","details":')
    assert [target for target, _ in journal.events("allocated")] == ["acme/a", "acme/b"]
    ((target, event),) = journal.events("told")
    assert (target, event.kind, event.details) == ("acme/x", "told", {"text": '"event":"allocated","details":'})


def test_a_hundred_thousand_lines_are_read_in_a_second(tmp_path: Path) -> None:
    """Nine lines in ten are steps; a slow machine gets four times as long."""
    folder = tmp_path / "journal"
    folder.mkdir()
    step = line(NOW).replace("allocated", "done")
    lines = [line(NOW - timedelta(minutes=number), f"t{number % 97}/c") if number % 10 == 0 else step for number in range(100_000)]
    (folder / "2026-11.jsonl").write_text("\n".join(lines) + "\n")
    began = time.process_time()
    found = meter(tmp_path).histories()
    assert (len(found), sum(len(each) for each in found.values())) == (97, 10_000 + 97)
    assert time.process_time() - began < 4


def test_milliseconds_are_exact() -> None:
    assert milliseconds(NOW.replace(microsecond=1999)) == 1_795_262_400_001
