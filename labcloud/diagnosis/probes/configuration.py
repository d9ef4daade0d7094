"""Probes of configuration: what nodes see, against what is declared."""

from __future__ import annotations

from typing import Final

from labcloud.diagnosis.model import Case, Results
from labcloud.diagnosis.probes.base import Probe
from labcloud.diagnosis.subject import Subject
from labcloud.model import config_digests


def _configuration(subject: Subject) -> Results:
    cluster = subject.cluster
    there = subject.found().configs.get(cluster.ref)
    if there is None:
        return {"configuration-missing": [{}]}
    wanted = config_digests(subject.blueprint.config)
    changed = sorted(path for path in wanted.keys() | there.keys() if wanted.get(path) != there.get(path))
    return {"configuration-changed": [{"node": path.partition("/")[0], "file": path} for path in changed]}


def _made(subject: Subject) -> Results:
    """Nodes that were made for another declaration than today's: another image, other volumes, other ports. Memory is `limits`'."""
    specs, nodes = subject.blueprint.specs, subject.nodes()
    return {"node-outdated": [{"node": ref.name} for ref, node in nodes.items() if ref in specs and specs[ref].digest != node.digest]}


def _surplus(subject: Subject) -> list[Case]:
    declared = set(subject.cluster.nodes())
    return [{"node": ref.name} for ref in subject.nodes() if ref not in declared]


PROBES: Final = (
    Probe("configuration", {"configuration-missing": (), "configuration-changed": ("node", "file")}, _configuration),
    Probe(
        "declaration",
        {"node-outdated": ("node",), "node-surplus": ("node",)},
        lambda subject: {**_made(subject), "node-surplus": _surplus(subject)},
    ),
)
