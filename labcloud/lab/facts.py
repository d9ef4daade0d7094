"""What of a cluster, a tenant or a dataset is no configuration: identities, and what verbs of their own change, with checks and in steps.

A file holds both. Who edits it, or takes an older version of it back, changes its configuration; how many nodes there are and what they
take stays: that is admitted by quotas, and nodes leave only after their blocks have. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields, replace
from typing import Any, Final, TypeVar

from labcloud.errors import ConfigError
from labcloud.lab import places
from labcloud.lab.reading import Reading
from labcloud.model import Cluster, ClusterRef, NodeGroup, Tenant
from labcloud.model.dataset import Dataset, check_covers

Whole = TypeVar("Whole", Cluster, NodeGroup, Dataset)

_FOR_LIFE: Final = "it is for life"
# Field → what changes it.
_CLUSTER: Final[Mapping[str, str]] = {
    "id": _FOR_LIFE, "user_id": _FOR_LIFE, "profile": _FOR_LIFE, "provider": _FOR_LIFE, "image": _FOR_LIFE,
    "state": "labcloud start, stop or delete does that", "lease": "labcloud lease does that",
    "datasets": "labcloud dataset attach does that",
}  # fmt: skip
_GROUP: Final[Mapping[str, str]] = {
    "count": "labcloud scale does that", "used": "labcloud scale does that", "memory": "labcloud resize does that",
    "cpus": "labcloud resize does that", "volumes": _FOR_LIFE, "volume_size": _FOR_LIFE,
}  # fmt: skip

_DATASET: Final[Mapping[str, str]] = {
    "versions": "labcloud dataset add or remove does that", "used": "labcloud dataset remove does that", "storage": _FOR_LIFE,
}  # fmt: skip


def with_facts(configured: Cluster, now: Cluster) -> Cluster:
    """The cluster as it is ``now``, with the configuration of ``configured``: of it, and of those of its groups that were there.

    How it is protected stays as it is now: who takes older settings back does not want fewer backups.
    """
    there = {group.name: group for group in configured.groups}
    groups = tuple(replace(there[each.name], **_values(each, _GROUP)) if each.name in there else each for each in now.groups)
    return replace(configured, groups=groups, backup=now.backup, **_values(now, _CLUSTER))


def with_dataset_facts(configured: Dataset, now: Dataset) -> Dataset:
    """The dataset as it is ``now``, with the title and the access of ``configured``."""
    return replace(configured, **_values(now, _DATASET))


def check_facts(before: Reading, after: Reading, paths: Iterable[str], profiles: Collection[str]) -> None:
    """Raise ConfigError if a change of ``paths`` touches more than configuration, or leaves a tenant's file wrong as a whole."""
    for path in paths:
        ref, name, dataset = places.cluster_of(path), places.tenant_of(path), places.dataset_of(path)
        if ref is not None:
            _check_cluster(path, before.cluster(ref), after.cluster(ref))
        if name is not None:
            _check_tenant(path, before.tenant(name), after.tenant(name, profiles=profiles), before.refs(name))
        if dataset is not None:
            _check_dataset(path, before.dataset(dataset), after.dataset(dataset), before.clusters())


def _check_cluster(path: str, before: Cluster | None, after: Cluster | None) -> None:
    if before is None and after is not None:
        raise _refused(path, f"there is no cluster {after.ref}", f"make it: labcloud create {after.profile} --tenant {after.ref.tenant}")
    if before is None:
        return
    if after is None:
        raise _refused(path, f"the cluster {before.ref} is not removed with its file", f"labcloud delete {before.ref}")
    _check_same(path, before, after, _CLUSTER)
    old, new = ({group.name: group for group in each.groups} for each in (before, after))
    if old.keys() != new.keys():
        raise _refused(path, "the groups of a cluster are not changed by its file", "leave them as they are")
    for name, group in old.items():
        _check_same(path, group, new[name], _GROUP, f" of the group {name!r}")


def _check_same(path: str, before: Whole, after: Whole, facts: Mapping[str, str], whose: str = "") -> None:
    for name, value in _values(before, facts).items():
        if getattr(after, name) != value:
            raise _refused(path, f"{name.replace('_', ' ')}{whose} is not changed by its file: {facts[name]}", "leave it as it is")


def _check_tenant(path: str, before: Tenant | None, after: Tenant | None, clusters: Collection[ClusterRef]) -> None:
    if before is None:
        return
    if after is None:
        if clusters:
            raise _refused(
                path, f"the tenant {before.name} has {len(clusters)} clusters", f"labcloud tenant delete {before.name} says more"
            )
        return
    if after.user_id != before.user_id:
        raise _refused(path, f"the user id of a tenant is not changed: {_FOR_LIFE}", f"write {before.user_id}")


def _check_dataset(path: str, before: Dataset | None, after: Dataset | None, clusters: Collection[Cluster]) -> None:
    if before is None and after is not None:
        raise _refused(path, f"there is no dataset {after.name}", f"import it: labcloud dataset add {after.name} PATH")
    if before is None:
        return
    if after is None:
        raise _refused(path, f"the dataset {before.name} is not removed with its file", f"labcloud dataset remove {before.name}")
    _check_same(path, before, after, _DATASET)
    check_covers(after, clusters)


def _values(whole: Whole, names: Iterable[str]) -> dict[str, Any]:
    known = {each.name for each in fields(whole)}
    return {name: getattr(whole, name) for name in names if name in known}


def _refused(path: str, brief: str, resolution: str) -> ConfigError:
    return ConfigError(f"{path}: {brief}", resolution=resolution)
