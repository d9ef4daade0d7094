"""Rendered configurations side by side: two clusters, two revisions, what nodes have and what is wanted. Reads; changes nothing."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from labcloud.apply.blueprint import draw
from labcloud.lab import Lab
from labcloud.lab.reading import Reading
from labcloud.model import ClusterRef
from labcloud.profiles import load
from labcloud.providers.base import Provider


@dataclass(frozen=True)
class FileDifference:
    """One rendered file that differs, on which ``nodes``, as unified text."""

    path: str
    nodes: tuple[str, ...]
    text: str


def rendered(lab: Lab | Reading, ref: ClusterRef, provider: Provider) -> dict[str, str]:
    """The configuration of a cluster as a lab, or a revision of it, wants it; empty where it wants no such cluster."""
    cluster = lab.cluster(ref)
    if cluster is None:
        return {}
    tenant = lab.tenant(ref.tenant)
    return dict(draw(cluster, load(cluster.profile), provider.domain(ref.tenant), tenant, lab.shared(ref.tenant)).config)


def compare(old: Mapping[str, str], new: Mapping[str, str], names: tuple[str, str] = ("before", "after")) -> list[FileDifference]:
    """What differs between two trees (``{"NODE/relative/path": text}``), by file; nodes that differ alike are named together."""
    alike: dict[tuple[str, str], list[str]] = {}
    texts: dict[tuple[str | None, str | None, str], str] = {}
    for path in sorted({path for path in old.keys() | new.keys() if old.get(path) != new.get(path)}):
        node, _, file = path.partition("/")
        key = (old.get(path), new.get(path), file)
        if key not in texts:
            texts[key] = _unified(*key, names)
        alike.setdefault((file, texts[key]), []).append(node)
    return [FileDifference(file, tuple(nodes), text) for (file, text), nodes in sorted(alike.items())]


def _unified(old: str | None, new: str | None, file: str, names: tuple[str, str]) -> str:
    before, after = ((text or "").splitlines(keepends=True) for text in (old, new))
    lines = difflib.unified_diff(before, after, f"{names[0]}/{file}", f"{names[1]}/{file}", n=1)
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)
