"""What nodes have of their configuration and what their services were started with, against what is wanted. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from labcloud.model import Cluster, Found, FoundNode, NodeRef, Status
from labcloud.profiles import Profile
from labcloud.profiles.effects import Change, Effects, Files, effects
from labcloud.profiles.rendering import SIZE
from labcloud.providers.base import Provider
from labcloud.services import started

_THREADS: Final = 16
_BASE: Final = "base/"


@dataclass(frozen=True)
class Consequence:
    """What a wanted configuration means for one node: ``files`` of it differ (relative paths), and ``effects`` for its services."""

    ref: NodeRef
    files: tuple[str, ...]
    effects: Effects

    def __bool__(self) -> bool:
        return bool(self.files or self.effects.live or self.effects.restart)

    @property
    def changes(self) -> tuple[Change, ...]:
        """Everything that changes for its services and clients, each once."""
        found = {change for each in self.effects.live for change in each.changes}
        return tuple(sorted(found.union(self.effects.clients, *self.effects.restart.values()), key=str))


@dataclass(frozen=True)
class Survey:
    """One cluster as it was found: its running ``nodes``, the ``config`` that nodes see (``{"NODE/relative/path": text}``), and for each
    running node what each of its services was ``started`` with."""

    profile: Profile
    nodes: tuple[FoundNode, ...]
    config: Mapping[str, str]
    started: Mapping[NodeRef, Mapping[str, Files]]

    @cached_property
    def trees(self) -> dict[str, dict[str, str]]:
        """The files of each node, by its name."""
        return by_node(self.config)

    def consequences(self, wanted: Mapping[str, str]) -> list[Consequence]:
        """What the configuration ``wanted`` means for each node that runs, in the order of the nodes."""
        trees = by_node(wanted)
        return [self._consequence(each.ref, trees.get(each.ref.name, {})) for each in self.nodes]

    def _consequence(self, ref: NodeRef, wanted: Files) -> Consequence:
        have = self.trees.get(ref.name, {})
        files = tuple(sorted(path for path in have.keys() | wanted.keys() if have.get(path) != wanted.get(path)))
        # A service that has noted no start waits for others still: it will read what is there then.
        waiting = dict.fromkeys(self.profile.services_of(ref.group), wanted)
        return Consequence(ref, files, effects(self.profile, ref.group, {**waiting, **self.started.get(ref, {})}, wanted))


def survey(provider: Provider, profile: Profile, found: Found, config: Mapping[str, str]) -> Survey:
    """Ask every running node of ``found`` what its services were started with. Raise ConfiguringError if one cannot say."""
    running = tuple(node for node in found.nodes if node.status is Status.RUNNING)
    return Survey(profile, running, config, _started(provider, (node.ref for node in running)))


def rendered_only(profile: Profile, found: Found, config: Mapping[str, str]) -> Survey:
    """A survey that asks no node: services are taken to run with the configuration that their nodes see."""
    running = tuple(node for node in found.nodes if node.status is Status.RUNNING)
    trees = by_node(config)
    noted = {node.ref: dict.fromkeys(profile.services_of(node.ref.group), trees.get(node.ref.name, {})) for node in running}
    return Survey(profile, running, config, noted)


def limits_by_hand(wanted: Cluster, found: Found, config: Mapping[str, str]) -> dict[NodeRef, int]:
    """MiB of each node whose limit somebody changed on the engine: another than its configuration was rendered for.

    Where the lab wants another one by now, too, what it wants counts.
    """
    trees, declared = by_node(config), set(wanted.nodes())
    changed = {}
    for node in found.nodes:
        rendered = trees.get(node.ref.name, {}).get(SIZE, "").strip()
        if node.status is not Status.RUNNING or not node.memory or node.ref not in declared or not rendered.isdigit():
            continue
        if node.memory != int(rendered) == wanted.size(node.ref).memory:
            changed[node.ref] = node.memory
    return changed


def by_node(config: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """A configuration's files by the node that has them."""
    trees: dict[str, dict[str, str]] = {}
    for path, text in config.items():
        node, _, rest = path.partition("/")
        trees.setdefault(node, {})[rest] = text
    return trees


def _started(provider: Provider, refs: Iterable[NodeRef]) -> dict[NodeRef, dict[str, dict[str, str]]]:
    asked = tuple(refs)
    with ThreadPoolExecutor(min(_THREADS, len(asked)) or 1) as pool:
        answers = list(pool.map(lambda ref: started.read(provider, ref), asked))
    return {
        ref: {name: {path: text for path, text in files.items() if not path.startswith(_BASE)} for name, files in each.items()}
        for ref, each in zip(asked, answers, strict=True)
    }
