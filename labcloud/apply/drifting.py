"""How what exists differs from what is wanted, thing by thing, and how what was changed by hand becomes what is wanted.

Put right it is by `Configuring.apply`; here it is found, and adopted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

from labcloud.apply.comparing import compare, rendered
from labcloud.apply.reverting import Reverting
from labcloud.apply.survey import Consequence, by_node, limits_by_hand, survey
from labcloud.apply.verbs import Terms, Verbs
from labcloud.errors import LabError, UsageError
from labcloud.model import Cluster, ClusterRef, Found, NodeOverride, NodeRef, Status, Wanted
from labcloud.plan import Blueprint, remembering
from labcloud.profiles import Profile
from labcloud.profiles.formats import read_hadoop_xml
from labcloud.providers.base import Provider
from labcloud.services import refreshing

_THREADS: Final = 8


@dataclass(frozen=True)
class Drift:
    """One thing that is not as it is wanted. ``kind``: node, limit, file (of the rendered configuration), service (runs with another
    configuration than its node has), declared (files, packages, users on the node), dataset (what all nodes see of shared ones).
    ``difference`` is unified text, where there is one."""

    node: str
    kind: str
    what: str
    difference: str = ""


class Drifting(Verbs):
    """For one lab; see the module."""

    def find(self, ref: ClusterRef) -> list[Drift]:
        """Everything of a cluster that is not as it is wanted. Changes nothing."""
        wanted, profile, provider = self._known(ref)
        found = provider.find(cluster=ref)
        blueprint = self._draw(remembering(wanted, found), profile, provider)
        config = provider.config(ref)
        drifts = [*_nodes(wanted, found, blueprint), *_datasets(found, blueprint), *_files(config, blueprint.config)]
        if wanted.state is Wanted.RUNNING:
            consequences = survey(provider, profile, found, config).consequences(config)
            drifts += _services(consequences)
            drifts += _declared(provider, [each.ref for each in found.nodes if each.status is Status.RUNNING])
        return drifts

    def adopt(self, ref: ClusterRef, terms: Terms) -> list[str]:
        """Let the lab want what was changed by hand: Hadoop settings in rendered files, and limits of memory. Returns what was adopted.

        What a setting says on all nodes of the cluster becomes the cluster's, else each node's own.
        """
        with self._changing(ref, "config adopt", terms) as (operation, _):
            wanted, profile, provider = self._known(ref)
            found = provider.find(cluster=ref)
            blueprint = self._draw(remembering(wanted, found), profile, provider)
            config = provider.config(ref)
            adopted, said = _with_settings(wanted, _edited(profile, config, self._applied(ref, provider, blueprint)))
            adopted, limits = _with_limits(adopted, limits_by_hand(wanted, found, config))
            if said or limits:
                self._draw(adopted, profile, provider)
                operation.event("adopted", settings=said, limits=limits)
                self._admission.reserve(adopted, f"adopt what was changed by hand on {ref}", operation)
            return [*said, *limits]

    def _applied(self, ref: ClusterRef, provider: Provider, blueprint: Blueprint) -> Mapping[str, str]:
        """The configuration that nodes were given last: what differs from it was changed by hand, and not only not applied yet."""
        revision = Reverting(self._lab, self._journal).applied(ref)
        return (rendered(self._lab.at(revision), ref, provider) if revision else {}) or blueprint.config


def _nodes(wanted: Cluster, found: Found, blueprint: Blueprint) -> Iterator[Drift]:
    there = {node.ref: node for node in found.nodes}
    for ref in wanted.nodes():
        node = there.get(ref)
        if node is None:
            yield Drift(ref.name, "node", "it does not exist")
        elif wanted.state is Wanted.RUNNING and node.status is not Status.RUNNING:
            yield Drift(ref.name, "node", f"it is {node.status}, and shall run")
        elif node.digest != blueprint.specs[ref].digest:
            yield Drift(ref.name, "node", "it was made for another declaration (image, ports, volumes)")
        elif node.status is Status.RUNNING and node.memory != wanted.size(ref).memory:
            yield Drift(ref.name, "limit", f"its memory is {node.memory}m, and {wanted.size(ref).memory}m is wanted")
    for ref in sorted(there.keys() - set(wanted.nodes())):
        yield Drift(ref.name, "node", "it exists, and nobody declared it")


def _datasets(found: Found, blueprint: Blueprint) -> Iterator[Drift]:
    shown = {name: tag for each in found.datasets.values() for name, tag in each.items()}
    wanted = {name: each.tag for name, each in blueprint.datasets.items()}
    for name in sorted(name for name in shown.keys() | wanted.keys() if shown.get(name) != wanted.get(name)):
        what = "is not what the lab wants" if name in shown and name in wanted else "is not there" if name in wanted else "is not attached"
        for node in found.nodes:
            yield Drift(node.ref.name, "dataset", f"/datasets/{name} {what}")


def _files(config: Mapping[str, str], wanted: Mapping[str, str]) -> Iterator[Drift]:
    for each in compare(wanted, config, ("wanted", "found")):
        yield from (Drift(node, "file", each.path, each.text) for node in each.nodes)


def _services(consequences: Iterable[Consequence]) -> Iterator[Drift]:
    for each in consequences:
        for name, changes in each.effects.restart.items():
            yield Drift(each.ref.name, "service", f"{name} runs with another configuration: {', '.join(map(str, changes))}")
        for live in each.effects.live:
            yield Drift(each.ref.name, "service", f"{live.service} was not told of {', '.join(map(str, live.changes))}")


def _declared(provider: Provider, refs: list[NodeRef]) -> list[Drift]:
    def ask(ref: NodeRef) -> list[Drift]:
        try:
            return [Drift(ref.name, "declared", line, _difference(provider, ref, line)) for line in refreshing.drift(provider, ref)]
        except LabError as exc:
            return [Drift(ref.name, "declared", exc.brief)]

    with ThreadPoolExecutor(min(_THREADS, len(refs)) or 1) as pool:
        return [drift for drifts in pool.map(ask, refs) for drift in drifts]


def _difference(provider: Provider, ref: NodeRef, line: str) -> str:
    """How a declared file differs, from the line that says so: ``file PATH changed``."""
    kind, _, rest = line.partition(" ")
    path, _, state = rest.rpartition(" ")
    return refreshing.difference(provider, ref, path) if (kind, state) == ("file", "changed") else ""


# Adopting


def _edited(profile: Profile, found: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Settings that rendered files say otherwise than they were written, by node: ``{"worker-0": {"hdfs-site:dfs.replication": "1"}}``."""
    edited: dict[str, dict[str, str]] = {}
    trees = by_node(wanted)
    for node, files in by_node(found).items():
        for file in profile.settings:
            path = f"conf/{file}.xml"
            old, new = read_hadoop_xml(trees.get(node, {}).get(path)), read_hadoop_xml(files.get(path))
            if new is None:
                raise UsageError(
                    f"{path} on {node} is no Hadoop configuration any more", resolution="put it right: labcloud config drift --fix"
                )
            changed = {f"{file}:{name}": value for name, value in new.items() if (old or {}).get(name) != value}
            edited.setdefault(node, {}).update(changed)
    return {node: settings for node, settings in edited.items() if settings}


def _with_settings(wanted: Cluster, edited: Mapping[str, Mapping[str, str]]) -> tuple[Cluster, list[str]]:
    names = [ref.name for ref in wanted.nodes()]
    everywhere = {
        key: value for key, value in (edited.get(names[0]) or {}).items() if all(edited.get(name, {}).get(key) == value for name in names)
    }
    said = [f"{key} = {value}" for key, value in everywhere.items()]
    configuration = replace(wanted.configuration, settings={**wanted.configuration.settings, **everywhere})
    own = dict(wanted.own)
    for node, settings in edited.items():
        single = {key: value for key, value in settings.items() if key not in everywhere}
        if single and node in names:
            there = own.get(node, NodeOverride())
            own[node] = replace(there, configuration=replace(there.configuration, settings={**there.configuration.settings, **single}))
            said += [f"{key} = {value} on {node}" for key, value in single.items()]
    return replace(wanted, configuration=configuration, own=own), said


def _with_limits(wanted: Cluster, limits: Mapping[NodeRef, int]) -> tuple[Cluster, list[str]]:
    own = {ref.name: replace(wanted.own.get(ref.name, NodeOverride()), memory=memory) for ref, memory in limits.items()}
    return replace(wanted, own={**wanted.own, **own}), [f"memory of {ref.name} = {memory}m" for ref, memory in sorted(limits.items())]
