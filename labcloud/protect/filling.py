"""Puts the data of a snapshot into a cluster's volumes, which no running node uses. Done again, it ends the same.

A volume gets all of its new data beside the old before the old goes: a disk that is full takes nothing away.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from labcloud.errors import ConflictError
from labcloud.lab.files import disk_errors
from labcloud.model import Cluster, NodeRef, NodeVolume
from labcloud.model.snapshot import SnapshotRef
from labcloud.model.storage import Classes, storage_class
from labcloud.model.ways import Way
from labcloud.profiles import Profile
from labcloud.protect.identity import HdfsIdentity, adopt
from labcloud.protect.manifest import NAME, Manifest
from labcloud.protect.trees import Rules, clone
from labcloud.providers.base import Provider

_OURS: Final = ".labcloud-"
"""What the names of things in a volume begin with that are no data of the cluster's."""
_NEW: Final = f"{_OURS}new"
_OLD: Final = f"{_OURS}old"
_THREADS: Final = 8
# What belongs to the one cluster that it was taken of: applications that ran, and the keys of its ResourceManager.
_PERSONAL: Final = "yarn"


def fill(provider: Provider, profile: Profile, cluster: Cluster, source: SnapshotRef, manifest: Manifest, classes: Classes) -> int:
    """Give every volume of ``cluster`` what the snapshot ``source`` has of it; return how many bytes that took besides what is shared.

    A cluster with another id than the one that the snapshot is of gets an identity of its own. Raise ConflictError if it has not the
    snapshot's nodes and volumes, EngineError for what the disk refuses.
    """
    _check_shape(cluster, manifest)
    one = filling(provider, profile, cluster, source, manifest)
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="fill") as pool:
        own = sum(pool.map(one.volume, _volumes(cluster, cluster.nodes(), classes)))
        os.sync()  # what counts as filled from now on survives a power cut
        list(pool.map(one.give, cluster.nodes()))
    return own


def filling(provider: Provider, profile: Profile, cluster: Cluster, source: SnapshotRef, manifest: Manifest) -> Filling:
    """What fills volumes of ``cluster`` from ``source``, one by one."""
    return Filling(provider, Rules(profile.snapshot.files), source, _identity(cluster, manifest))


def _identity(cluster: Cluster, manifest: Manifest) -> HdfsIdentity | None:
    return None if manifest.cluster.id == cluster.id else HdfsIdentity.of(cluster.id)


@dataclass(frozen=True)
class Filling:
    """Fills volumes from the snapshot ``source``, with an identity of their own unless there is none to give."""

    provider: Provider
    rules: Rules
    source: SnapshotRef
    identity: HdfsIdentity | None

    def node(self, cluster: Cluster, node: NodeRef, classes: Classes) -> int:
        """Fill the volumes of one node, which does not run."""
        own = sum(map(self.volume, _volumes(cluster, [node], classes)))
        os.sync()
        self.give(node)
        return own

    def give(self, node: NodeRef) -> None:
        """Let a node that is on another machine have what was filled here."""
        replica = self.provider.replica(node)
        if replica:
            with closing(replica):
                replica.give()

    def volume(self, place: tuple[NodeRef, int, NodeVolume]) -> int:
        """Fill one volume; return how many bytes of its own it has then."""
        node, number, volume = place
        folder = self.provider.volume_folder(NodeRef(self.source.cluster, node.group, node.index), number, self.source.id)
        return _fill(folder, self.provider.ensure_volume(node, number, volume), self.rules, self.identity)


def _volumes(cluster: Cluster, nodes: Iterable[NodeRef], classes: Classes) -> Iterator[tuple[NodeRef, int, NodeVolume]]:
    for node in nodes:
        for number, volume in enumerate(cluster.size(node).volumes):
            yield node, number, NodeVolume(volume.size, storage_class(classes, volume.storage))


def _check_shape(cluster: Cluster, manifest: Manifest) -> None:
    wanted = {node.name: len(cluster.size(node).volumes) for node in cluster.nodes()}
    has = {name: count for name, count in manifest.volumes.items() if count}
    if {name: count for name, count in wanted.items() if count} != has:
        what = f"{len(has)} nodes with {sum(has.values())} data volumes"
        raise ConflictError(
            f"the snapshot {manifest.id} of {manifest.ref} is of {what}, and {cluster.ref} has others",
            resolution="leave the number of workers and volumes to the snapshot",
        )


def _fill(source: Path, volume: Path, rules: Rules, identity: HdfsIdentity | None) -> int:
    new, old = volume / _NEW, volume / _OLD

    def wanted(path: str) -> bool:
        return path != NAME and not (identity and path == _PERSONAL)

    with disk_errors(f"fill {volume}"):
        for left in (new, old):
            if left.exists():
                shutil.rmtree(left)
        own = clone(source, new, lambda path: rules.way(path) is Way.LINK, wanted)
        if identity:
            adopt(new, identity)
        old.mkdir(mode=0o700)
        for entry in [each for each in volume.iterdir() if not each.name.startswith(_OURS)]:
            entry.rename(old / entry.name)
        for entry in list(new.iterdir()):
            entry.rename(volume / entry.name)
        new.rmdir()
        shutil.rmtree(old)
    return own
