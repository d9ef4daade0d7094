"""Clusters as the YAML files that people read and write, and how such files are read. Knows nothing of where they are kept."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

import yaml

from labcloud.errors import UsageError
from labcloud.lab.configurations import KEYS, configuration_document, read_configuration, read_labels
from labcloud.lab.document import Document
from labcloud.lab.groups import VOLUME_KEYS, read_volumes, volumes_document
from labcloud.lab.protection import read_terms, terms_document
from labcloud.model import (
    FIRST_USER_ID,
    MAX_NODES,
    AtEnd,
    Cluster,
    ClusterRef,
    Configuration,
    Lease,
    NodeGroup,
    NodeOverride,
    NodeRef,
    Volume,
    Wanted,
    format_memory,
    parse_memory,
)
from labcloud.model.dataset import MOST_VERSIONS, dataset_name
from labcloud.model.snapshot import SnapshotRef

Value = TypeVar("Value")

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_ID: Final = re.compile(r"[0-9a-f]{32}")
_WORD: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")
_IMAGE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*")
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,9}")
_SOME: Final = ClusterRef("some", "cluster")
_LAST_USER_ID: Final = 2**31 - 1
_MOST_CPUS: Final = 1024.0


def cluster_document(cluster: Cluster) -> dict[str, Any]:
    """The plain data of a cluster, in the order in which it is written."""
    groups = [
        {
            "name": each.name, "count": each.count, "memory": format_memory(each.memory), "cpus": each.cpus,
        }
        | volumes_document(each.volumes)
        | ({"used": each.used} if each.used > each.count else {})
        | _said(each.labels, each.configuration)
        for each in cluster.groups
    ]  # fmt: skip
    own = {name: _own_document(each) for name, each in sorted(cluster.own.items())}
    said = _said(cluster.labels, cluster.configuration)
    return {
        "profile": cluster.profile, "provider": cluster.provider, "id": cluster.id, "image": cluster.image,
        "user_id": cluster.user_id, "state": str(cluster.state), "groups": groups,
        "settings": {}, "publish": dict(sorted(cluster.publish.items())),
    } | said | ({"nodes": own} if own else {}) | ({"lease": _lease_document(cluster.lease)} if cluster.lease else {}) | (
        {"datasets": dict(sorted(cluster.datasets.items()))} if cluster.datasets else {}
    ) | ({"backup": terms_document(cluster.backup)} if cluster.backup else {}) | (
        {key: value for key, value in (("from", cluster.origin), ("restoring", cluster.restoring)) if value}
    )  # fmt: skip


def _said(labels: Mapping[str, str], configuration: Configuration) -> dict[str, Any]:
    return ({"labels": dict(sorted(labels.items()))} if labels else {}) | configuration_document(configuration)


def _own_document(own: NodeOverride) -> dict[str, Any]:
    size: dict[str, Any] = {"memory": format_memory(own.memory)} if own.memory is not None else {}
    return size | ({"cpus": own.cpus} if own.cpus is not None else {}) | _said(own.labels, own.configuration)


def _lease_document(lease: Lease) -> dict[str, str]:
    return {"until": lease.until.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"), "then": str(lease.then)}


def dump(document: Mapping[str, Any]) -> str:
    """``document`` as YAML, in its own order."""
    return str(yaml.dump(document, Dumper=_DUMPER, sort_keys=False, default_flow_style=False, allow_unicode=True, width=4096))


def read_cluster(text: str, ref: ClusterRef, path: Path) -> Cluster:
    """The cluster ``ref`` that ``text`` declares. Raise ConfigError with ``path`` and the line of what is wrong."""
    document = Document(path)
    fields = document.mapping(document.root(text), required=("profile", "provider", "id", "image", "groups"), more=_OPTIONAL)
    groups = _groups(document, fields["groups"])
    publish = document.entries(fields.get("publish"), service, port)
    return Cluster(
        ref=ref,
        profile=document.scalar(fields["profile"], word),
        provider=document.scalar(fields["provider"], provider),
        id=document.scalar(fields["id"], lambda text: _matching(_ID, "32 hexadecimal digits", text)),
        image=document.scalar(fields["image"], lambda text: _matching(_IMAGE, "an image", text)),
        groups=groups,
        configuration=read_configuration(document, fields),
        publish=MappingProxyType(publish),
        user_id=document.scalar(fields.get("user_id"), user_id, FIRST_USER_ID),
        state=document.scalar(fields.get("state"), _state, Wanted.RUNNING),
        lease=read_lease(document, fields.get("lease")),
        labels=read_labels(document, fields.get("labels")),
        own=MappingProxyType(_own(document, fields.get("nodes"), ref, groups)),
        datasets=MappingProxyType(document.entries(fields.get("datasets"), dataset_name, dataset_version)),
        restoring=document.scalar(fields.get("restoring"), snapshot_name, ""),
        origin=document.scalar(fields.get("from"), snapshot_name, ""),
        backup=read_terms(document, fields.get("backup")),
    )


_OPTIONAL: Final = ("user_id", "state", "publish", "lease", "labels", "nodes", "datasets", "restoring", "from", "backup", *KEYS)


def _groups(document: Document, node: yaml.Node) -> tuple[NodeGroup, ...]:
    groups: dict[str, NodeGroup] = {}
    for item in document.items(node):
        fields = document.mapping(item, required=("name", "count", "memory"), more=("cpus", *VOLUME_KEYS, "used", "labels", *KEYS))
        name = document.scalar(fields["name"], group_name)
        if name in groups:
            raise document.wrong(item.start_mark.line, f"the group {name!r} is declared twice")
        groups[name] = NodeGroup(
            name=name,
            count=document.scalar(fields["count"], lambda text: _whole(text, 0, MAX_NODES)),
            memory=document.scalar(fields["memory"], parse_memory),
            cpus=document.scalar(fields.get("cpus"), _cpus, 1.0),
            volumes=read_volumes(document, fields).data_volumes((Volume(),)),
            used=document.scalar(fields.get("used"), lambda text: _whole(text, 0, MAX_NODES), 0),
            labels=read_labels(document, fields.get("labels")),
            configuration=read_configuration(document, fields),
        )
    total = sum(group.count for group in groups.values())
    if total > MAX_NODES:
        raise document.wrong(node.start_mark.line, f"the groups have {total} nodes together; the most is {MAX_NODES}")
    return tuple(groups.values())


def _own(document: Document, node: yaml.Node | None, ref: ClusterRef, groups: tuple[NodeGroup, ...]) -> dict[str, NodeOverride]:
    own = {}
    for key, value in document.pairs(node):
        name = document.scalar(key, lambda text: NodeRef.parse(ref, text).name)
        if NodeRef.parse(ref, name).group not in {group.name for group in groups}:
            raise document.wrong(key.start_mark.line, f"{name!r} is a node of no group here")
        fields = document.mapping(value, required=(), more=("memory", "cpus", "labels", *KEYS))
        own[name] = NodeOverride(
            memory=document.scalar(fields["memory"], parse_memory) if "memory" in fields else None,
            cpus=document.scalar(fields["cpus"], _cpus) if "cpus" in fields else None,
            labels=read_labels(document, fields.get("labels")),
            configuration=read_configuration(document, fields),
        )
    return own


def snapshot_name(text: str) -> str:
    """``text`` if it names a snapshot: ``TENANT/CLUSTER@ID``. Raise UsageError otherwise."""
    return str(SnapshotRef.parse(text))


def _matching(rule: re.Pattern[str], what: str, text: str) -> str:
    if not rule.fullmatch(text):
        raise UsageError(f"{text!r} is not {what}")
    return text


def _whole(text: str, least: int, most: int) -> int:
    if not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
        raise UsageError(f"{text!r} is not a whole number from {least} to {most}")
    return int(text)


def word(text: str) -> str:
    """``text`` if it can name a profile. Raise UsageError otherwise."""
    return _matching(_WORD, "a profile", text)


def group_name(text: str) -> str:
    """``text`` if it can name a group of nodes. Raise UsageError otherwise."""
    return NodeRef.parse(_SOME, f"{text}-0").group


def provider(text: str) -> str:
    """``text`` if it can name an engine. Raise UsageError otherwise."""
    return _matching(_WORD, "a provider", text)


def service(text: str) -> str:
    """``text`` if it can name a service. Raise UsageError otherwise."""
    return _matching(_WORD, "a service", text)


def port(text: str) -> int:
    """The port that ``text`` says. Raise UsageError for what is none."""
    return _whole(text, 1, 65535)


def dataset_version(text: str) -> int:
    """The number of a dataset's version that ``text`` says. Raise UsageError for what is none."""
    return _whole(text, 1, MOST_VERSIONS)


def user_id(text: str) -> int:
    """The OS user's number that ``text`` says. Raise UsageError for one that is not for people of labs."""
    return _whole(text, FIRST_USER_ID, _LAST_USER_ID)


def _cpus(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= _MOST_CPUS:
        raise UsageError(f"{text!r} is not a number of cores, as in 0.5 or 2")
    return value


def _state(text: str) -> Wanted:
    try:
        return Wanted(text)
    except ValueError as exc:
        raise UsageError(f"{text!r} is no state of a cluster", resolution=f"write one of {', '.join(Wanted)}") from exc


def read_lease(document: Document, node: yaml.Node | None) -> Lease | None:
    """What ``{until: TIME, then: stop}`` says; None for nothing. Raise ConfigError with the line of what is wrong."""
    if node is None:
        return None
    fields = document.mapping(node, required=("until",), more=("then",))
    return Lease(document.scalar(fields["until"], _moment), document.scalar(fields.get("then"), _at_end, AtEnd.STOP))


def _moment(text: str) -> datetime:
    wrong = UsageError(f"{text!r} is not a time", resolution="write it in UTC, as in 2026-11-21T18:00:00Z")
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise wrong
        return moment.astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError) as exc:
        raise wrong from exc


def _at_end(text: str) -> AtEnd:
    try:
        return AtEnd(text)
    except ValueError as exc:
        raise UsageError(f"{text!r} cannot become of a cluster", resolution=f"write one of {', '.join(AtEnd)}") from exc
