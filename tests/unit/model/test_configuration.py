"""Levels, and what nodes have of their own."""

from __future__ import annotations

import pytest

from labcloud.model import (
    NO_CONFIGURATION,
    Cluster,
    ClusterRef,
    Configuration,
    Level,
    NodeFile,
    NodeFolder,
    NodeGroup,
    NodeOverride,
    NodeRef,
)
from labcloud.model.configuration import ABOVE_PROFILE

REF = ClusterRef("acme", "c")


def test_levels_stand_in_the_order_in_which_they_override() -> None:
    assert list(Level) == ["base", "lab", "tenant", "cluster", "group", "node"]
    assert list(ABOVE_PROFILE) == ["lab", "tenant", "cluster", "group", "node"]


@pytest.mark.parametrize(
    "said",
    [
        Configuration(settings={"a:b": ""}),
        Configuration(environment={"A": ""}),
        Configuration(files={"/a": NodeFile()}),
        Configuration(directories={"/a": NodeFolder()}),
        Configuration(packages=("jq",)),
    ],
)
def test_a_configuration_that_says_one_thing_says_something(said: Configuration) -> None:
    assert said
    assert not NO_CONFIGURATION


def cluster(**own: NodeOverride) -> Cluster:
    groups = (NodeGroup("master", 1, 2048), NodeGroup("worker", 2, 1536, 0.5))
    return Cluster(REF, "hadoop-2.7", "docker", "0" * 32, "", groups, own={name.replace("_", "-"): each for name, each in own.items()})


@pytest.mark.parametrize(
    ("own", "memory", "cpus"),
    [
        (NodeOverride(), 1536, 0.5),
        (NodeOverride(memory=4096), 4096, 0.5),
        (NodeOverride(cpus=2.0), 1536, 2.0),
        (NodeOverride(4096, 2.0), 4096, 2.0),
        (NodeOverride(labels={"disk": "ssd"}), 1536, 0.5),
    ],
)
def test_a_node_has_the_size_of_its_group_but_for_what_it_has_of_its_own(own: NodeOverride, memory: int, cpus: float) -> None:
    there = cluster(worker_1=own)
    mine, other = (there.size(NodeRef(REF, "worker", index)) for index in (1, 0))
    assert (mine.memory, mine.cpus, mine.count) == (memory, cpus, 2)
    assert other == there.group("worker")
