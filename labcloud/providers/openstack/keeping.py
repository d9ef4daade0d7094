"""Cinder's own backups of data volumes: kept by the cloud's backup service, which reads volumes without this lab's machine between.

Each backup says in its metadata whose volume it is and of which copy it is a part, so that a list tells of all. An incremental one needs
the one before it of the same volume; Cinder refuses to delete what another needs, so the newest go first.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from labcloud.errors import DeadlineError, EngineError
from labcloud.model import ClusterRef, NodeRef, NodeVolume
from labcloud.providers.base import KeptVolume
from labcloud.providers.openstack import identity
from labcloud.providers.openstack.connection import Cloud
from labcloud.providers.openstack.identity import Disk, Place
from labcloud.providers.openstack.together import at_once, wait_for
from labcloud.providers.openstack.volumes import Volumes

_COPY: Final = "labcloud.copy"
_FACTS: Final = "labcloud.facts."
_LONGEST: Final = 255
"""What Cinder takes as one value of metadata."""
_GIB: Final = 2**30
_PAUSE: Final = 1.0
_READY: Final = "available"
_SECONDS: Final = 24 * 3600.0
_GONE_SECONDS: Final = 600.0


@dataclass(frozen=True)
class Backup:
    """A backup of Cinder, and what it says it is."""

    id: str
    volume: str
    kept: KeptVolume


@dataclass(frozen=True)
class Keeping:
    """The backups of one lab in a cloud."""

    cloud: Cloud
    lab: str
    volumes: Volumes

    def kept(self, tenant: str, cluster: ClusterRef | None = None) -> list[KeptVolume]:
        """All of a tenant's, or of a cluster's alone, the oldest first."""
        return [each.kept for each in self._listed(tenant, cluster)]

    def _listed(self, tenant: str, cluster: ClusterRef | None = None) -> list[Backup]:
        owner = identity.owner(self.lab, tenant, cluster)
        found = self.cloud.read("ask which backups exist", lambda api: list(api.block_storage.backups(details=True)))
        own = [each for each in found if owner.items() <= (each.metadata or {}).items() and _COPY in each.metadata]
        return sorted(map(_backup, own), key=lambda each: each.kept.made)

    # Making

    def keep(self, copy: str, places: Sequence[Place], facts: Mapping[str, str], *, whole: bool) -> None:
        """Back up data volumes of one cluster, in use or not; wait until all are kept."""
        (cluster,) = {ref.cluster for ref, _ in places}
        disks = {each.place: each for each in self.volumes.listed(cluster=cluster)}
        missing = [f"volume {number} of {ref}" for ref, number in places if (ref, number) not in disks]
        if missing:
            raise EngineError(
                f"Cinder keeps its own volumes alone, and {missing[0]} is none of them", details="\n".join(missing[1:]),
                resolution="choose a storage class with the driver cinder, or another target for backups",
            )  # fmt: skip
        before = self._listed(cluster.tenant, cluster)
        based = {each.volume for each in before if each.kept.state == KeptVolume.KEPT}
        there = {(each.kept.ref, each.kept.number) for each in before if each.kept.copy == copy}
        packed = _packed(facts)
        todo = [disks[place] for place in places if place not in there]
        at_once(partial(self._keep, copy, each, packed, whole=whole or each.id not in based) for each in todo)

        def complete(found: list[Backup]) -> bool:
            own = [each.kept for each in found if each.kept.copy == copy]
            broken = [each for each in own if each.state not in (KeptVolume.KEPT, KeptVolume.MAKING)]
            if broken:
                first = broken[0]
                raise EngineError(
                    f"Cinder did not back up volume {first.number} of {first.ref}: {first.said or first.state}",
                    resolution="mend what it says, and run the same command again: what is kept of it goes first",
                )
            return len(own) >= len(places) and all(each.state == KeptVolume.KEPT for each in own)

        self._await(cluster, complete, f"to be kept (copy {copy})", _SECONDS)

    def _keep(self, copy: str, disk: Disk, packed: Mapping[str, str], *, whole: bool) -> None:
        marks = identity.volume_metadata(self.lab, *disk.place) | {_COPY: copy, **packed}
        with self.cloud.change(f"back up volume {disk.number} of {disk.ref}") as api:
            api.block_storage.create_backup(
                volume_id=disk.id, name=f"{identity.volume_name(*disk.place)}@{copy}", force=True, is_incremental=not whole, metadata=marks,
                description=identity.node_described(self.lab, disk.ref),
            )  # fmt: skip

    # Letting go

    def forget(self, tenant: str, copies: Collection[str]) -> None:
        """Delete what belongs to ``copies``, the newest first; what is gone already is deleted."""
        for copy in sorted(copies, reverse=True):
            found = [each for each in self._listed(tenant) if each.kept.copy == copy]
            for each in found:
                with self.cloud.change(f"delete the backup of volume {each.kept.number} of {each.kept.ref}") as api:
                    api.block_storage.delete_backup(each.id, ignore_missing=True)
            for cluster in {each.kept.ref.cluster for each in found}:
                self._await(cluster, partial(_gone, copy), f"to be deleted (copy {copy})", _GONE_SECONDS)

    # Bringing back

    def bring(self, copy: str, places: Mapping[Place, Place], volumes: Mapping[Place, NodeVolume], snapshot: str) -> None:
        """Make volumes (the keys of ``places``) of what ``copy`` has of others; each says that it holds ``snapshot``. Wait until they are
        there. Those that there are already stay."""
        (cluster,) = {ref.cluster for ref, _ in places}
        (source,) = {ref.cluster for ref, _ in places.values()}
        backups = {(each.kept.ref, each.kept.number): each for each in self._listed(source.tenant, source) if each.kept.copy == copy}
        missing = [place for place in places.values() if place not in backups]
        if missing:
            raise EngineError(f"Cinder has no backup of volume {missing[0][1]} of {missing[0][0]} in the copy {copy}")
        listed = self.volumes.listed(cluster=cluster)
        there, used = {each.place for each in listed}, {each.place for each in listed if each.server}
        todo = [(place, backups[old].id) for place, old in places.items() if place not in there]
        at_once(partial(self.volumes.create, *place, volumes[place], backup=id, snapshot=snapshot) for place, id in todo)
        for each in self.volumes.await_ready(cluster, places.keys() - used, _SECONDS):
            if (each.number, snapshot) not in each.snapshots:
                self.volumes.claim(each, snapshot)

    def _await(self, cluster: ClusterRef, done: Callable[[list[Backup]], bool], what: str, seconds: float) -> None:
        def late(found: list[Backup]) -> DeadlineError:
            return DeadlineError(
                f"backups of {cluster} took longer than {seconds:g} s {what}",
                details="\n".join(f"{each.kept.ref.name} {each.kept.number} {each.kept.copy}: {each.kept.state}" for each in found),
                resolution="look at them: openstack volume backup list; the same command goes on where this one ended",
            )

        ask = partial(self._listed, cluster.tenant, cluster)
        wait_for(ask, done, seconds=seconds, pause=lambda _: _PAUSE, late=late)


def _gone(copy: str, found: Iterable[Backup]) -> bool:
    left = [each.kept for each in found if each.kept.copy == copy]
    broken = [each for each in left if each.state not in (KeptVolume.KEPT, KeptVolume.MAKING)]
    if broken:
        raise EngineError(
            f"Cinder could not delete the backup of volume {broken[0].number} of {broken[0].ref}: {broken[0].said or broken[0].state}",
            resolution="delete it by hand: openstack volume backup delete --force",
        )
    return not left


def _backup(found: Any) -> Backup:
    known: Mapping[str, str] = found.metadata
    ref = NodeRef(ClusterRef(known[identity.TENANT], known[identity.CLUSTER]), known[identity.GROUP], int(known[identity.INDEX]))
    states = {_READY: KeptVolume.KEPT, "creating": KeptVolume.MAKING, "deleting": KeptVolume.MAKING, "restoring": KeptVolume.KEPT}
    kept = KeptVolume(
        copy=known[_COPY], ref=ref, number=int(known[identity.VOLUME]), made=datetime.fromisoformat(found.created_at).replace(tzinfo=UTC),
        whole=not found.is_incremental, state=states.get(found.status, str(found.status)), said=str(found.fail_reason or ""),
        size=int(found.size or 0) * _GIB, facts=_unpacked(known),
    )  # fmt: skip
    return Backup(found.id, str(found.volume_id), kept)


def _packed(facts: Mapping[str, str]) -> dict[str, str]:
    """Facts as values that Cinder takes: pieces of a packed text."""
    text = base64.b85encode(zlib.compress(json.dumps(dict(facts)).encode(), 9)).decode()
    pieces = [text[begin : begin + _LONGEST] for begin in range(0, len(text), _LONGEST)]
    return {f"{_FACTS}{number:03}": each for number, each in enumerate(pieces)}


def _unpacked(known: Mapping[str, str]) -> dict[str, str]:
    """What `_packed` packed; nothing where somebody has changed it."""
    text = "".join(known[name] for name in sorted(known) if name.startswith(_FACTS))
    try:
        return dict(json.loads(zlib.decompress(base64.b85decode(text)))) if text else {}
    except (ValueError, zlib.error, TypeError):
        return {}
