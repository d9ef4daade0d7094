"""One consistent point of a cluster in snapshot volumes beside its data volumes. docs/protection.md says why it is consistent.

::

    link everything that never changes          while all runs; as long as it takes
    services stand still → settle → go on       tenths of a second, however much data there is
    finish what grew, write the manifest        while all runs
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from labcloud.apply.watch import Event, Kind, Watch
from labcloud.errors import ConfiguringError
from labcloud.lab.documents import cluster_document, dump
from labcloud.lab.files import disk_errors
from labcloud.lab.files import replace as write
from labcloud.model import Cluster, NodeRef, NodeVolume, Status
from labcloud.profiles import Profile
from labcloud.protect.manifest import NAME, Manifest, Origin
from labcloud.protect.sites import Replicated, Site, sites
from labcloud.protect.still import Moment, standing_still
from labcloud.protect.trees import Rules
from labcloud.providers.base import Provider

_THREADS: Final = 8
_TRIES: Final = 3
Each = Callable[..., Iterable[Any]]
"""How something is done for all sites at once: `map`, of a pool."""


@dataclass(frozen=True)
class Asked:
    """What shall be taken: the snapshot's name, why, for people a title, and the tenant's file of the lab repository."""

    id: str
    origin: Origin
    title: str = ""
    tenant: str = ""


class Capture:
    """Takes snapshots of one cluster, whose lock is held."""

    def __init__(self, provider: Provider, cluster: Cluster, profile: Profile, watch: Watch) -> None:
        self._provider, self._cluster, self._profile, self._watch = provider, cluster, profile, watch
        self._rules = Rules(profile.snapshot.files)

    def take(self, asked: Asked) -> Manifest:
        """Take the snapshot. Raise EngineError if data cannot be reached or copied, ConfiguringError if services cannot be stopped; what
        was made then has no manifest.

        A moment that could not be held is tried again; the manifest says so if it never could.
        """
        ref = self._cluster.ref
        found = self._provider.find(cluster=ref)
        running = [node.ref for node in found.nodes if node.status is Status.RUNNING]
        volumes = sorted(found.volumes)
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="capture") as pool:
            folders = list(pool.map(lambda each: self._provider.ensure_volume(each[0], each[1], NodeVolume(), asked.id), volumes))
            with ExitStack() as taking:
                taken_at = sites(self._provider, volumes, folders, asked.id, self._rules)
                for site in taken_at:
                    taking.callback(site.close)
                away = sum(isinstance(each, Replicated) for each in taken_at)
                brought = f"; what {away} {'node has' if away == 1 else 'nodes have'} on other hosts is copied" if away else ""
                self._tell(f"files that never change get a second name{brought}")
                _all(pool.map(lambda each: each.link(), taken_at))
                taken, moment = self._hold(running, taken_at, pool.map)
                sizes = list(pool.map(lambda each: each.finish(), taken_at))
        why = moment.why or self._odd(volumes) or self._lacking(folders)
        manifest = Manifest(
            id=asked.id, ref=ref, taken=taken, origin=asked.origin, title=asked.title, tenant=asked.tenant,
            declaration=dump(cluster_document(replace(self._cluster, restoring=""))), pause=moment.seconds, why=why,
            volumes={node.name: 1 + max(number for each, number in volumes if each == node) for node, _ in volumes},
            size=sum(size for size, _ in sizes), files=sum(count for _, count in sizes), facts=self._facts(),
        )  # fmt: skip
        if folders:
            place = folders[0] / NAME
            os.sync()  # what the manifest calls whole survives a power cut
            with disk_errors(f"write {place}"):
                write(place, manifest.dump(), scratch=place.with_name(f".{NAME}.new"))
        return manifest

    def _hold(self, running: Sequence[NodeRef], taken_at: Sequence[Site], each: Each) -> tuple[datetime, Moment]:
        services = {
            node: [name for name in self._profile.snapshot.still if name in self._profile.services_of(node.group)] for node in running
        }
        for attempt in range(1, _TRIES + 1):
            self._tell("services stand still for a moment" + (", once more" if attempt > 1 else ""))
            try:
                taken, moment = self._settle(services, taken_at, each)
            except ConfiguringError:
                if attempt == _TRIES:
                    raise
                continue
            if moment.held:
                break
        return taken, moment

    def _settle(self, services: Mapping[NodeRef, Sequence[str]], taken_at: Sequence[Site], each: Each) -> tuple[datetime, Moment]:
        with standing_still(self._provider, services) as moment:
            taken = datetime.now(UTC)
            vanished = [path for paths in each(lambda site: site.settle(), taken_at) for path in paths]
        if moment.held and vanished:
            moment.why = f"{len(vanished)} files went away while all stood still, the first is {vanished[0]}"
        return taken, moment

    def _odd(self, volumes: Sequence[tuple[NodeRef, int]]) -> str:
        """Why a snapshot has not the shape of what is declared, to which it would be brought back."""
        declared = {(node, number) for node in self._cluster.nodes() for number in range(len(self._cluster.size(node).volumes))}
        odd = [f"{node.name}'s volume {number}" for node, number in sorted(declared.symmetric_difference(volumes))]
        ref = self._cluster.ref
        return f"{ref} does not have the data volumes that are declared ({odd[0]}): see 'labcloud start {ref}'" if odd else ""

    def _lacking(self, folders: Sequence[Path]) -> str:
        """Why what was taken cannot be whole: a service's folders are somewhere else than the profile says, or empty."""
        absent = [path for path in self._profile.snapshot.needs if not any((folder / path).exists() for folder in folders)]
        return f"no data volume has {', '.join(absent)}" if absent else ""

    def _facts(self) -> dict[str, str]:
        return {"profile": self._profile.name, "version": self._profile.version, "image": self._cluster.image}

    def _tell(self, text: str) -> None:
        self._watch.tell(Event(str(self._cluster.ref), Kind.WAITING, text))


def _all(results: Iterable[None]) -> None:
    for _ in results:
        pass
