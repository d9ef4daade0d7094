"""Every fault of the table is made on one real cluster, and its cause has to be named; on the healthy one, none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.acceptance.driver import Cluster, Labcloud, wait_for
from tests.acceptance.faults import FAULTS, SETTINGS, Fault, named_by_diagnose

_HEAL_SECONDS = 120.0


@dataclass(frozen=True)
class Row:
    """One line of the table: ``asked`` is how long the diagnosis took that named the cause, ``seconds`` since the fault was made."""

    fault: str
    cause: str
    found: str
    asked: float
    seconds: float

    def __str__(self) -> str:
        return f"{self.fault:<46} {self.cause:<32} {self.found:<24} {self.asked:>6.1f} {self.seconds:>7.1f}"


@pytest.fixture(scope="module")
def cluster(labcloud: Labcloud, mark: str) -> Iterator[Cluster]:
    made = Cluster(labcloud, f"{mark}-faults", "hadoop-2.7")
    made.create("--workers", "2", *(word for setting in SETTINGS for word in ("--set", setting)))
    made.wait_until_all_runs()
    yield made
    made.delete()


def test_every_fault_is_named_and_no_other(cluster: Cluster, show_table: Callable[[str, str], None]) -> None:
    assert named_by_diagnose(cluster, "") == set(), "a false alarm on a healthy cluster"
    rows = [meet(cluster, fault) for fault in FAULTS]
    table = "\n".join([str(Row("FAULT", "CAUSE", "FOUND?", 0, 0)).replace("0.0", "  s"), *map(str, rows)])
    show_table("faults that a diagnosis names", table)
    assert [row for row in rows if row.found != "yes"] == [], table


def meet(cluster: Cluster, fault: Fault) -> Row:
    """Make the fault, have it named, mend it, and wait until nothing is named any more."""
    target = fault.inject(cluster) or ""
    began = time.monotonic()
    try:
        found, asked = _named(cluster, fault, target)
        seconds = time.monotonic() - began
    finally:
        fault.heal(cluster)
    left: set[str] = set()

    def well() -> bool:
        left.clear()
        left.update(named_by_diagnose(cluster, ""))
        return not left

    try:
        wait_for(f"the cluster to be well after: {fault.name}", well, seconds=_HEAL_SECONDS)
    except AssertionError as exc:
        raise AssertionError(f"{exc}: {', '.join(sorted(left))}") from exc
    return Row(fault.name, fault.cause, found, asked, seconds)


def _named(cluster: Cluster, fault: Fault, target: str) -> tuple[str, float]:
    """``yes``, or what was named instead or besides; and how long the last question took."""
    end = time.monotonic() + fault.seconds
    while True:
        began = time.monotonic()
        named = fault.asks(cluster, target)
        asked = time.monotonic() - began
        if fault.cause in named:
            strange = named - {fault.cause} - fault.also
            return f"also {', '.join(sorted(strange))}" if strange else "yes", asked
        if time.monotonic() > end:
            return f"no: {', '.join(sorted(named)) or 'nothing'}", asked
        time.sleep(asked)
