"""By what a command makes its engine's machines fuller. Pure."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from labcloud.errors import ConfigError
from labcloud.model import Cluster, NodeGroup, Wanted
from labcloud.model.checks import Subject

_MOST: Final = 100.0


@dataclass(frozen=True)
class Setting:
    """A ratio in the environment: its name, and what it is where nobody says otherwise."""

    name: str
    default: float

    def value(self, environment: Mapping[str, str] = os.environ) -> float:
        """Raise ConfigError unless it is a number from 0.1 to 100."""
        text = environment.get(self.name, "").strip()
        if not text:
            return self.default
        try:
            ratio = float(text)
        except ValueError:
            ratio = math.nan
        if not 0.1 <= ratio <= _MOST:
            raise ConfigError(f"{self.name} is {text!r}, not a number from 0.1 to {_MOST:g}", resolution=f"unset {self.name}")
        return ratio


OVERCOMMIT: Final = Setting("LABCLOUD_MEMORY_OVERCOMMIT", 3.0)
"""How much memory may be promised, as a multiple of what there is.

Nova's ``ram_allocation_ratio`` (1.5 for a decade) is the model, for virtual machines, which touch all their memory sooner or later. A
container takes what its processes use: a lab's idle nodes a seventh of their limits (measured: 0.8 of 5.5 GiB). With 3.0 a quarter of all
nodes can be at their limits while the others idle. What is really free is a check of its own.
"""


def declared(subject: Subject) -> tuple[Cluster, ...]:
    """The clusters of this engine as they are declared now."""
    return tuple(each for each in subject.declared if each.provider == subject.provider)


def wanted(subject: Subject) -> tuple[Cluster, ...]:
    """The clusters of this engine as they shall be after the command."""
    return tuple(each for each in subject.wanted if each.provider == subject.provider)


def asked(subject: Subject) -> tuple[Cluster, ...]:
    """The clusters that the command is about."""
    refs = [each.ref for each in (subject.cluster, *subject.alongside) if each is not None]
    return tuple(each for each in wanted(subject) if each.ref in refs)


def new_nodes(subject: Subject) -> Iterator[tuple[NodeGroup, int]]:
    """Groups of nodes that do not run yet and shall, each with the number of those nodes."""
    there = {each.ref: each for each in declared(subject) if each.state is Wanted.RUNNING}
    for cluster in asked(subject):
        if cluster.state is Wanted.RUNNING:
            before = {group.name: group.count for group in there[cluster.ref].groups} if cluster.ref in there else {}
            yield from ((group, more) for group in cluster.groups if (more := group.count - before.get(group.name, 0)) > 0)


def count_new_nodes(subject: Subject) -> int:
    return sum(count for _, count in new_nodes(subject))


def others_running(subject: Subject) -> tuple[Cluster, ...]:
    """Clusters of this engine that run and that the command is not about: what could be stopped."""
    refs = {each.ref for each in asked(subject)}
    return tuple(each for each in declared(subject) if each.state is Wanted.RUNNING and each.ref not in refs)
