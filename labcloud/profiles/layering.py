"""Which configurations hold for a node of a cluster, lowest first. Pure: it knows neither files nor what the settings mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from labcloud.errors import ConfigError, UsageError
from labcloud.model import Binding, Cluster, Configuration, Layer, Level, NodeFile, NodeFolder, NodeRef, Shared
from labcloud.profiles.expressions import ExpressionError, evaluate
from labcloud.profiles.model import Profile

BASE: Final = "base/settings.yaml"
"""Where in the lab repository the base's Hadoop settings stand."""


class Labels:
    """Labels as expressions see them: one that nobody gave is empty. It has no other names, so that each may be a label's."""

    __iter__ = None  # a test with "in" would ask for one number after the other

    def __init__(self, said: Mapping[str, str]) -> None:
        self._said = dict(said)

    def __getitem__(self, name: str) -> str:
        return self._said.get(name, "")

    def __contains__(self, name: object) -> bool:
        return name in self._said


@dataclass(frozen=True)
class Layering:
    """The layers of one cluster's nodes, from what its lab shares."""

    profile: Profile
    cluster: Cluster
    shared: Shared

    def of(self, ref: NodeRef) -> tuple[Layer, ...]:
        """The layers above the profile that hold for a node and say something, lowest first. Raise ConfigError for a wrong ``where``."""
        return tuple(layer for layer in self._all(ref) if layer.configuration)

    @property
    def base(self) -> Layer:
        """The layer below the profile."""
        return Layer(Level.BASE, BASE, self.shared.base)

    def _all(self, ref: NodeRef) -> Iterator[Layer]:
        name = self.cluster.ref
        own = f"clusters/{name.tenant}/{name.name}.yaml"
        group = self.cluster.group(ref.group)
        number = next(index for index, each in enumerate(self.cluster.groups) if each.name == ref.group)
        node = self.cluster.own.get(ref.name)
        said: dict[Level, Layer | None] = {
            Level.LAB: None,
            Level.TENANT: Layer(Level.TENANT, f"tenants/{name.tenant}.yaml", self.shared.tenant),
            Level.CLUSTER: Layer(Level.CLUSTER, own, self.cluster.configuration),
            Level.GROUP: Layer(Level.GROUP, own, group.configuration, ("groups", str(number))),
            Level.NODE: Layer(Level.NODE, own, node.configuration, ("nodes", ref.name)) if node else None,
        }
        facts = self.facts(ref) if self.shared.bindings else {}
        for level, layer in said.items():
            if layer is not None:
                yield layer
            for each in self.shared.bindings:
                if each.level is level and _holds(each, facts):
                    yield Layer(level, f"bindings/{each.name}.yaml", each.configuration)

    def facts(self, ref: NodeRef) -> Mapping[str, Any]:
        """What expressions of bindings and templates may ask of a node."""
        node = self.cluster.own.get(ref.name)
        labels = {**self.cluster.labels, **self.cluster.group(ref.group).labels, **(node.labels if node else {})}
        return {
            "tenant": ref.cluster.tenant,
            "cluster": ref.cluster.name,
            "profile": self.profile.name,
            "version": self.profile.version,
            "provider": self.cluster.provider,
            "group": ref.group,
            "node": ref.name,
            "index": ref.index,
            "labels": Labels(labels),
        }


def check_where(where: str) -> None:
    """Raise UsageError for a condition that no node can be asked: one that is no expression, or asks for what nodes have not."""
    sample = dict.fromkeys(("tenant", "cluster", "profile", "version", "provider", "group", "node"), "")
    try:
        if where:
            evaluate(where, {**sample, "index": 0, "labels": Labels({})})
    except ExpressionError as exc:
        raise UsageError(f"where cannot be evaluated: {exc}", resolution=f"it may ask for {', '.join(sample)}, index and labels") from exc


def _holds(binding: Binding, facts: Mapping[str, Any]) -> bool:
    if not binding.where:
        return True
    try:
        return bool(evaluate(binding.where, facts))
    except ExpressionError as exc:
        raise ConfigError(
            f"bindings/{binding.name}.yaml: where: {exc}", resolution=f"it may ask for {', '.join(facts)}, as in group == 'worker'"
        ) from exc


def merged(layers: tuple[Layer, ...]) -> Configuration:
    """What ``layers`` say together, the later one winning; packages by their names."""
    settings: dict[str, str] = {}
    environment: dict[str, str] = {}
    files: dict[str, NodeFile] = {}
    directories: dict[str, NodeFolder] = {}
    packages: dict[str, str] = {}
    health: dict[str, str] = {}
    for each in (layer.configuration for layer in layers):
        settings |= each.settings
        environment |= each.environment
        files |= each.files
        directories |= each.directories
        packages |= {package.partition("=")[0]: package for package in each.packages}
        health |= each.health
    return Configuration(settings, environment, files, directories, tuple(packages.values()), health)
