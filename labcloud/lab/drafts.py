"""The file that `create --file` is given: what people may choose of a cluster, with the keys of its file in the lab repository.

::

    profile: hadoop-3.4
    provider: docker
    lease: 8h                        # or {until: 2026-11-21T18:00:00Z, then: delete}
    groups:
    - {name: worker, count: 3, memory: 4g, volumes: 2x20g@fast+1x100g@bulk}
    settings: {"hdfs-site:dfs.replication": 2}
    publish: {namenode: 9870}
    datasets: [taxi, grades@2]       # or {grades: 2}, as in a cluster's own file
    backup: {keep: {daily: 14}}      # or off

What it does not say is asked for elsewhere. Knows nothing of profiles: whether there is such a group is theirs to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

import yaml

from labcloud.errors import NotFoundError
from labcloud.lab.configurations import setting
from labcloud.lab.document import Document
from labcloud.lab.documents import dataset_version, group_name, port, provider, read_lease, service, word
from labcloud.lab.files import disk_errors
from labcloud.lab.groups import SHAPE_KEYS, read_shape
from labcloud.lab.protection import read_terms
from labcloud.model import Lease, parse_duration
from labcloud.model.dataset import dataset_name, parse_dataset
from labcloud.model.leases import lease_for
from labcloud.model.protection import NO_TERMS, BackupTerms
from labcloud.model.shape import GroupShape

_KEYS: Final = ("profile", "provider", "groups", "settings", "publish", "lease", "datasets", "backup")


@dataclass(frozen=True)
class Draft:
    """What a file asks for. None is for what it does not say; ``datasets`` are numbers of versions by name, `NEWEST` for the newest."""

    profile: str | None = None
    provider: str | None = None
    groups: Mapping[str, GroupShape] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    publish: Mapping[str, int] = field(default_factory=dict)
    lease: Lease | None = None
    datasets: Mapping[str, int] = field(default_factory=dict)
    backup: BackupTerms = NO_TERMS


def load_draft(path: Path, now: datetime) -> Draft:
    """What the file at ``path`` asks for. Raise NotFoundError if there is none, ConfigError with the line of what is wrong."""
    with disk_errors(f"read {path}"):
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError as exc:
            raise NotFoundError(f"there is no file {path}", resolution="name the file that says which cluster is wanted") from exc
        except UnicodeDecodeError as exc:
            raise Document(path).wrong(exc.object[: exc.start].count(b"\n"), "this is not UTF-8 text") from exc
    return read_draft(text, path, now)


def read_draft(text: str, path: Path, now: datetime) -> Draft:
    """What ``text`` asks for; a lease that is a length of time begins ``now``. Raise ConfigError with the line of what is wrong."""
    document = Document(path)
    fields = document.mapping(document.root(text), required=(), more=_KEYS)
    profile, engine = fields.get("profile"), fields.get("provider")
    return Draft(
        profile=None if profile is None else document.scalar(profile, word),
        provider=None if engine is None else document.scalar(engine, provider),
        groups=_groups(document, fields.get("groups")),
        settings=document.entries(fields.get("settings"), setting, str),
        publish=document.entries(fields.get("publish"), service, port),
        lease=_lease(document, fields.get("lease"), now),
        datasets=_datasets(document, fields.get("datasets")),
        backup=read_terms(document, fields.get("backup")),
    )


def _groups(document: Document, node: yaml.Node | None) -> dict[str, GroupShape]:
    groups: dict[str, GroupShape] = {}
    for item in document.items(node) if node is not None else ():
        fields = document.mapping(item, required=("name",), more=SHAPE_KEYS)
        name = document.scalar(fields["name"], group_name)
        if name in groups:
            raise document.wrong(item.start_mark.line, f"the group {name!r} is declared twice")
        groups[name] = read_shape(document, fields)
    return groups


def _datasets(document: Document, node: yaml.Node | None) -> dict[str, int]:
    if not isinstance(node, yaml.SequenceNode):
        return document.entries(node, dataset_name, dataset_version)
    datasets: dict[str, int] = {}
    for item in document.items(node):
        name, number = document.scalar(item, parse_dataset)
        if name in datasets:
            raise document.wrong(item.start_mark.line, f"the dataset {name} is named twice", "a cluster sees one version of a dataset")
        datasets[name] = number
    return datasets


def _lease(document: Document, node: yaml.Node | None, now: datetime) -> Lease | None:
    if isinstance(node, yaml.ScalarNode):
        return document.scalar(node, lambda text: lease_for(parse_duration(text), now))
    return read_lease(document, node)
