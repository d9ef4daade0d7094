"""Backups that an engine's own service keeps (Cinder's), asked in the words of a `labcloud.protect.restic.Repository`.

What is kept are data volumes as a whole. A consistent moment lies in them as the snapshot that the copy is made of, so the service may
read each volume when it likes. A copy counts when all its volumes are kept. Each week begins with one that stands by itself; those after
it have what is new, and need those before them as far as that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from labcloud.errors import NotFoundError, UsageError
from labcloud.model import Cluster, ClusterRef, NodeRef, NodeVolume
from labcloud.model.snapshot import SnapshotRef
from labcloud.model.storage import Classes, storage_class
from labcloud.protect.answers import Copy, Keep, Kept, Stored, Verdict
from labcloud.protect.contents import Contents
from labcloud.protect.manifest import NAME, Manifest
from labcloud.protect.restic import CONSISTENT, INCONSISTENT, Repository
from labcloud.protect.targets import Target
from labcloud.providers.base import Command, KeptVolume, Provider

WHOLE: Final = "whole"
_CHAIN: Final = timedelta(days=6, hours=12)
"""After so long the next copy stands by itself: on the seventh night, whether that is a little early or late."""
_MANIFEST: Final = "manifest"
_TAGS: Final = "tags"
_COUNT: Final = "volumes"
# In the folder with the snapshots of a volume that came back: the copy's own gets its new name, what came with it goes.
_SETTLE: Final = (
    'cd "$1" || exit 1; if [ -d "$2" ]; then rm -rf -- "$3" && mv -T -- "$2" "$3" || exit 1; fi; '
    '[ -d "$3" ] && find . -mindepth 1 -maxdepth 1 ! -name "$3" -exec rm -rf -- {} +'
)

Parts = Sequence[KeptVolume]


class Vault:
    """What an engine keeps of one tenant. ``remembered`` gives the contents of a copy (its cluster and id), if they are known here."""

    def __init__(
        self, target: Target, provider: Provider, tenant: str, remembered: Callable[[ClusterRef, str], Contents | None]
    ) -> None:  # fmt: skip
        if not provider.keeps_volumes:
            raise UsageError(
                f"the engine {provider.name} has no backup service of its own", resolution="choose a directory, or another target"
            )
        self.target = target
        self._provider = provider
        self._tenant = tenant
        self._remembered = remembered

    def ensure(self) -> str:
        """The service is there, or answers with an error."""
        return ""

    # Looking

    def copies(self, host: str | None = None, tags: Sequence[str] = ()) -> list[Copy]:
        """The copies that are whole, newest first; of ``host`` alone, and with all of ``tags``."""
        return [each for each in _copies(self._parts(host).values()) if set(tags) <= set(each.tags)]

    def _parts(self, host: str | None = None) -> dict[tuple[ClusterRef, str], list[KeptVolume]]:
        found: dict[tuple[ClusterRef, str], list[KeptVolume]] = {}
        for each in self._provider.kept_volumes(self._tenant, ClusterRef.parse(host) if host else None):
            found.setdefault((each.ref.cluster, each.copy), []).append(each)
        return found

    def dump(self, id: str, path: str) -> bytes:
        """The manifest of a copy, or what HDFS had, as far as that is known here. Raise NotFoundError."""
        parts = self._of(id)
        if path.strip("/") == NAME:
            return parts[0].facts[_MANIFEST].encode()
        known = self._remembered(parts[0].ref.cluster, id)
        if known is None:
            raise NotFoundError(
                f"what HDFS had at the copy {id[:8]} is known nowhere but in it", resolution="prove the newest one: labcloud backup run"
            )
        return known.dump()

    def _of(self, id: str) -> list[KeptVolume]:
        for parts in self._parts().values():
            if _complete(parts) and _copy(parts).id == id:
                return parts
        raise NotFoundError(f"there is no copy {id} at {self.target}", resolution="'labcloud backup list' shows what there is")

    # Making, and letting go

    def keep(self, manifest: Manifest, tags: Sequence[str]) -> Stored:
        """Keep the snapshot that ``manifest`` is of, with the volumes that it lies in. What another run left unfinished goes before."""
        host, began = str(manifest.ref), datetime.now(UTC)
        parts = self._parts(host)
        # One that was good once and is broken now stays: others may need what it has, and `check` tells of it.
        last = max((each.made for own in parts.values() if _complete(own) for each in own), default=None)
        left = [copy for (_, copy), own in parts.items() if not _complete(own) and (last is None or all(each.made > last for each in own))]
        self._provider.forget_volumes(self._tenant, left)
        base = [each.made for own in parts.values() if _complete(own) for each in own if each.whole]
        whole = not base or max(base) < began - _CHAIN
        places = [(NodeRef.parse(manifest.ref, node), number) for node, number in manifest.places]
        facts = {_MANIFEST: manifest.dump(), _TAGS: " ".join([*tags, *([WHOLE] if whole else [])]), _COUNT: str(len(places))}
        self._provider.keep_volumes(manifest.id, places, facts, whole=whole)
        parts = self._parts(host)
        size = sum(each.size for each in parts[manifest.ref, manifest.id])
        seconds = (datetime.now(UTC) - began).total_seconds()
        made = copy_id(manifest.ref, manifest.id)
        new = size if whole else None  # the service tells how large volumes are, not how much of them was new
        return Stored(made, new, size, manifest.files, seconds, tuple(_copies(parts.values())))

    def retain(
        self, keep: Keep, *, host: str, copies: Sequence[Copy] | None = None, dry_run: bool = False, limit: float = 0.0
    ) -> Kept:  # fmt: skip
        """Remove the copies of ``host`` that ``keep`` does not keep, and that none needs which stays; with ``dry_run``, only say which."""
        del limit
        there = self.copies(host) if copies is None else copies
        stay = staying(keep, there)
        go = tuple(each for each in there if each.id not in stay)
        if not dry_run:
            self.forget([each.id for each in go])
        return Kept(go=go, stay=tuple(each for each in there if each.id in stay))

    def forget(self, ids: Sequence[str], *, limit: float = 0.0) -> None:
        """Remove copies, the newest first; those that are gone already are passed over."""
        del limit
        known = {copy_id(cluster, copy): copy for cluster, copy in self._parts()}
        self._provider.forget_volumes(self._tenant, [known[each] for each in ids if each in known])

    def prune(self) -> None:
        """The service keeps nothing that no copy needs."""

    def _broken(self) -> list[tuple[str, KeptVolume]]:
        fine = (KeptVolume.KEPT, KeptVolume.MAKING)
        return [(copy_id(*key), each) for key, parts in self._parts().items() for each in parts if each.state not in fine]

    def check(self, read: tuple[int, int] | Literal["all"] | None = None, *, limit: float = 0.0) -> Verdict:
        """Whether the service says of all copies that they are there. It reads none of them: only a drill does."""
        del read, limit
        began = datetime.now(UTC)
        broken = self._broken()
        problems = tuple(f"volume {each.number} of {each.ref}, copy {each.copy}: {each.said or each.state}" for _, each in broken)
        seconds = (datetime.now(UTC) - began).total_seconds()
        return Verdict(not broken, problems, (), tuple(sorted({id for id, _ in broken})), seconds)

    def mend(self, packs: Sequence[str]) -> int:
        raise UsageError(f"{self.target} has nothing that could be set aside: {len(packs)}", resolution="let the service's operator look")

    # Bringing back

    def bring(self, manifest: Manifest, wanted: Cluster, name: SnapshotRef, classes: Classes) -> None:
        """Make the data volumes of ``wanted`` of what a copy has; they hold it as the snapshot ``name`` when `settle` is done."""
        places = {
            (NodeRef.parse(wanted.ref, node), number): (NodeRef.parse(manifest.ref, node), number)
            for node, number in manifest.places
        }  # fmt: skip
        volumes: dict[tuple[NodeRef, int], NodeVolume] = {}
        for ref, number in places:
            volume = wanted.size(ref).volumes[number]
            volumes[ref, number] = NodeVolume(volume.size, storage_class(classes, volume.storage))
        self._provider.bring_volumes(manifest.id, places, volumes, name.id)

    def settle(self, manifest: Manifest, name: SnapshotRef) -> None:
        """On nodes that run with such volumes: the snapshot of the copy is called ``name``, and no other is there."""
        for node, number in manifest.places:
            ref = NodeRef.parse(name.cluster, node)
            folder, _, own = self._provider.volume_place(ref, number, name.id).rpartition("/")
            result = self._provider.execute(ref, Command(("sh", "-c", _SETTLE, "sh", folder, manifest.id, own)))
            if result.exit_code:
                raise NotFoundError(
                    f"volume {number} of {ref} came back without the moment {manifest.id}",
                    details=result.stderr.decode(errors="replace")[-1000:],
                    resolution="the backup is not what it says: choose another: labcloud backup list",
                )


Store = Repository | Vault
"""Where backups are kept."""


def copy_id(cluster: ClusterRef, copy: str) -> str:
    """The id of a copy, as restic's are: hexadecimal, and of no two alike."""
    return hashlib.sha256(f"{cluster}@{copy}".encode()).hexdigest()


def _complete(parts: Parts) -> bool:
    wanted = parts[0].facts.get(_COUNT, "")
    return wanted == str(len(parts)) and all(each.state == KeptVolume.KEPT for each in parts)


def _copies(found: Iterable[Parts]) -> list[Copy]:
    """Those that are whole, newest first."""
    return sorted((_copy(parts) for parts in found if _complete(parts)), key=lambda each: each.time, reverse=True)


def _copy(parts: Parts) -> Copy:
    first = parts[0]
    manifest = Manifest.load(first.facts[_MANIFEST], f"{NAME} of the copy {first.copy}")
    id = copy_id(first.ref.cluster, first.copy)
    return Copy(id, id[:8], manifest.taken, str(first.ref.cluster), tuple(first.facts.get(_TAGS, "").split()), "")


def staying(keep: Keep, copies: Sequence[Copy]) -> set[str]:
    """The ids of those of one cluster that stay: what the rules keep of consistent ones (restic's rules, in UTC's days), inconsistent ones
    that are newer than all consistent ones, and all that one of these needs."""
    newest = sorted(copies, key=lambda each: each.time, reverse=True)
    good = [each for each in newest if CONSISTENT in each.tags]
    stay = {each.id for each in good[: keep.last]}
    for count, period in ((keep.daily, "%F"), (keep.weekly, "%G-%V"), (keep.monthly, "%Y-%m")):
        stay |= _newest_of_each(good, period, count)
    stay |= {each.id for each in newest if INCONSISTENT in each.tags and (not good or each.time > good[0].time)}
    needed: set[str] = set()
    chained = False
    for each in newest:
        chained = chained or each.id in stay
        if chained:
            needed.add(each.id)
        if WHOLE in each.tags:
            chained = False
    return needed


def _newest_of_each(copies: Iterable[Copy], period: str, count: int) -> set[str]:
    """The newest of each day, week or month (a format of time) that has one, for so many of them."""
    found: dict[str, str] = {}
    for each in copies:
        found.setdefault(f"{each.time.astimezone(UTC):{period}}", each.id)
    return set(list(found.values())[:count])
