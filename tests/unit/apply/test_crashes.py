"""Death at any call of the engine, before or after its effect: running the same command again ends in the same state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from labcloud.apply.clusters import Clusters
from labcloud.apply.journal import Journal
from labcloud.apply.requests import CreateRequest
from labcloud.apply.verbs import Terms
from labcloud.apply.watch import Watch
from labcloud.lab import Lab
from labcloud.model import ClusterRef, Found
from labcloud.providers.simulated import Faults, Killed, SimulatedProvider, World

REF = ClusterRef("acme", "c")
TERMS = Terms(timeout=20)
Verb = Callable[[Clusters], object]


def create(clusters: Clusters) -> object:
    return clusters.create(CreateRequest(REF, "hadoop-2.7", "simulated", workers=2), TERMS)


def grow(clusters: Clusters) -> object:
    return clusters.scale(REF, 3, TERMS)


def shrink(clusters: Clusters) -> object:
    return clusters.scale(REF, 1, TERMS)


def stop(clusters: Clusters) -> object:
    return clusters.stop(REF, TERMS)


def delete(clusters: Clusters) -> object:
    return clusters.delete(REF, TERMS)


class Bench:
    """A lab and an engine that outlive the processes that work on them."""

    def __init__(self, home: Path) -> None:
        self.lab = Lab(home)
        self.world = World()

    def process(self, faults: Faults | None = None) -> Clusters:
        provider = SimulatedProvider(self.lab.home, self.lab.id, world=self.world, faults=faults or Faults())
        return Clusters(self.lab, Journal(self.lab.home), lambda _: provider, Watch())

    def found(self) -> Found:
        return SimulatedProvider(self.lab.home, self.lab.id, world=self.world).find()

    def shape(self) -> tuple[object, ...]:
        """What exists, without what differs from one making to the next."""
        found = self.found()
        nodes = [(node.ref, node.status, node.digest) for node in found.nodes]
        wanted = self.lab.cluster(REF)
        return nodes, found.networks, found.volumes, set(found.configs), wanted and (wanted.groups, wanted.state)


def at_every_call(folder: Path, before: tuple[Verb, ...], verb: Verb, *, after: bool) -> int:
    """Run ``verb`` in a new lab for each call that it makes, dying there; then run it again and compare. Returns the number of calls."""
    smooth = Bench(folder / "smooth")
    for each in (*before, verb):
        each(smooth.process())
    for number in range(1, 200):
        bench = Bench(folder / str(number))
        for each in before:
            each(bench.process())
        faults = Faults()
        faults.die(number=number, after=after)
        try:
            verb(bench.process(faults))
        except Killed:
            again(bench, verb)
            assert bench.shape() == smooth.shape(), f"died at call {number}: {faults.calls[number - 1]}"
        else:
            return number - 1
    pytest.fail("it never came to an end")


def again(bench: Bench, verb: Verb) -> None:
    if verb is delete and bench.lab.cluster(REF) is None and not bench.found().nodes:
        return  # died when all was done
    verb(bench.process())


@pytest.mark.timeout(120)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("before", "verb"),
    [((), create), ((create,), grow), ((create,), shrink), ((create,), stop), ((create,), delete)],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_the_same_command_finishes_what_death_broke_off(tmp_path: Path, before: tuple[Verb, ...], verb: Verb, after: bool) -> None:
    assert at_every_call(tmp_path, before, verb, after=after) > 3


@pytest.mark.timeout(120)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_delete_leaves_nothing_of_a_create_that_died(tmp_path: Path, after: bool) -> None:
    for number in range(2, 12):
        bench = Bench(tmp_path / str(number))
        faults = Faults()
        faults.die(number=number, after=after)
        with pytest.raises(Killed):
            create(bench.process(faults))
        if bench.lab.cluster(REF):
            delete(bench.process())
        found = bench.found()
        assert (found.nodes, found.networks, found.volumes, dict(found.configs)) == ((), frozenset(), frozenset(), {})
        assert bench.lab.clusters() == []
