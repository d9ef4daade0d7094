"""Why a node is configured as it is: for each setting its value, and every layer, file and line that says something of it.

Pure but for the profile's own files, whose lines are looked up; the lab's texts are handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import yaml

from labcloud.model import Cluster, Configuration, Layer, Level, NodeRef, Shared
from labcloud.profiles import files
from labcloud.profiles.layering import Layering
from labcloud.profiles.model import Profile
from labcloud.profiles.rendering import Drawing

PROFILE: Final = "profile"
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Origin:
    """Who says something: the layer (a `Level`, or ``profile``), the file (relative to the lab repository; a profile's whole) and line, and
    what stands there, before anything in it is evaluated."""

    layer: str
    source: str
    line: int
    value: str


@dataclass(frozen=True)
class Explained:
    """Something that a node is configured with: its ``kind`` (settings, environment, files, directories, packages, health), its name
    (``hdfs-site:dfs.replication``, a path), its value, and who says so, the one that wins first."""

    kind: str
    name: str
    value: str
    origins: tuple[Origin, ...]


class Explaining:
    """Explains one cluster's nodes. ``text`` gives the text of a file in the lab repository."""

    def __init__(self, profile: Profile, cluster: Cluster, shared: Shared, *, domain: str, text: Callable[[str], str]) -> None:
        self._profile = profile
        self._layering = Layering(profile, cluster, shared)
        self._drawing = Drawing(profile, cluster, domain, shared)
        self._written = files.parsed(profile.folders)
        self._root = cache(lambda source: yaml.compose(text(source), Loader=_LOADER))

    def node(self, ref: NodeRef) -> list[Explained]:
        """All that is said of a node, kind by kind, in order of names."""
        above = self._layering.of(ref)
        return [*self._settings(ref, above), *self._others(above)]

    def _settings(self, ref: NodeRef, above: Sequence[Layer]) -> Iterator[Explained]:
        for file, settings in self._drawing.settings(ref).items():
            for name, value in settings.items():
                key = f"{file}:{name}"
                said = [self._said(layer, "settings", key) for layer in reversed(above) if key in layer.configuration.settings]
                written = self._profile.settings[file].get(name)
                if written is not None:
                    path, line = files.located(self._written, ("settings", file, name))
                    said.append(Origin(PROFILE, str(path), line, written))
                if key in self._layering.shared.base.settings:
                    said.append(self._said(self._layering.base, "settings", key))
                yield Explained("settings", key, value, tuple(said))

    def _others(self, above: Sequence[Layer]) -> Iterator[Explained]:
        for kind in ("environment", "files", "directories", "packages", "health"):
            names = sorted({name for layer in above for name in _entries(layer.configuration, kind)})
            for name in names:
                said = tuple(self._said(layer, kind, name) for layer in reversed(above) if name in _entries(layer.configuration, kind))
                yield Explained(kind, name, said[0].value, said)

    def _said(self, layer: Layer, kind: str, name: str) -> Origin:
        step: str | int = name
        if kind == "packages":  # a list in the file
            step = [each.partition("=")[0] for each in layer.configuration.packages].index(name)
        place = (step,) if layer.level is Level.BASE else (*layer.place, kind, step)
        _, line = files.walk(self._root(layer.source), place)
        return Origin(str(layer.level), layer.source, line, _entries(layer.configuration, kind)[name])


def _entries(configuration: Configuration, kind: str) -> dict[str, str]:
    """What a configuration says of one kind, as short texts by name."""
    if kind == "packages":
        return {each.partition("=")[0]: each for each in configuration.packages}
    if kind == "files":
        return {
            path: f"{each.mode} {each.owner}:{each.group} " + (f"files/{each.source}" if each.source else f"{len(each.content)} characters")
            for path, each in configuration.files.items()
        }
    if kind == "directories":
        return {path: f"{each.mode} {each.owner}:{each.group}" for path, each in configuration.directories.items()}
    if kind == "health":
        return {name: f"{len(text)} characters" for name, text in configuration.health.items()}
    return dict(configuration.settings if kind == "settings" else configuration.environment)
