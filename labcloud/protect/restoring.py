"""Brings backups back: a whole cluster under its own name or another, one node, what HDFS has at a path.

A restore goes to a new place: restic writes into snapshot volumes beside the data volumes of the cluster that is to be, reads everything
again (see `labcloud.protect.fetching`), and only then becomes what `labcloud.protect.snapshots` puts into place. A restore that was
broken off goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from labcloud.apply.admission import Question
from labcloud.apply.runner import Runner
from labcloud.apply.verbs import Terms
from labcloud.apply.watch import Event, Kind
from labcloud.errors import ConflictError, LabError, NotFoundError, UsageError
from labcloud.lab.files import disk_errors
from labcloud.lab.files import replace as write
from labcloud.lab.tenants import read_tenant
from labcloud.model import Cluster, ClusterRef, NodeRef, NodeVolume
from labcloud.model.protection import BackupTerms
from labcloud.model.snapshot import SnapshotRef
from labcloud.model.storage import storage_class
from labcloud.plan import Plan, StopNode
from labcloud.profiles import Profile, load
from labcloud.protect.answers import Copy
from labcloud.protect.backups import TAG, Backups
from labcloud.protect.copies import Copying
from labcloud.protect.fetching import Fetching, forget
from labcloud.protect.filling import filling
from labcloud.protect.listing import find_copy
from labcloud.protect.manifest import NAME, Manifest
from labcloud.protect.notes import RESTORED
from labcloud.protect.passing import Passing
from labcloud.protect.restic import CONSISTENT, Repository
from labcloud.protect.snapshots import Scene
from labcloud.protect.targets import Target, check_password_file
from labcloud.protect.vaults import Store, Vault
from labcloud.providers.base import Provider


@dataclass(frozen=True)
class From:
    """Where a backup is read from: by the policies of this lab, or, on a machine that knows nothing of it, from ``target`` with the
    password in ``password_file``."""

    target: str = ""
    password_file: Path | None = None


HERE: Final = From()


@dataclass(frozen=True)
class Chosen:
    """A backup of the cluster ``ref``, in its repository, and what it says of itself."""

    ref: ClusterRef
    repository: Store
    copy: Copy
    manifest: Manifest

    def snapshot(self, cluster: ClusterRef) -> SnapshotRef:
        """What it is called when it is fetched for ``cluster``: the same each time, and never as a snapshot of that moment that is there
        already and may be all that is good."""
        taken, _, own = self.manifest.id.partition("-")
        return SnapshotRef(cluster, f"{taken}-{next(end for end in (self.copy.id[:4], self.copy.id[4:8], '0000') if end != own)}")


class Restoring(Backups):
    """The verbs, for one lab."""

    def opened(self, tenant: str, place: From, ref: ClusterRef | None = None) -> Store:
        """The repository that backups of a tenant are read from. Raise UsageError for a target without its password."""
        if not place.target:
            return self.repository(tenant, self.policy_of(ref) if ref else None)
        elsewhere = Target.parse(place.target)
        if elsewhere.engine:
            return self._vault(tenant, elsewhere)
        if place.password_file is None:
            raise UsageError("--from needs the password of the repository", resolution="add --password-file FILE")
        cache = self._lab.home / "cache" / "restic"
        return Repository(elsewhere.of(tenant), check_password_file(place.password_file), cache=cache, watcher=self._watcher(tenant))

    def chosen(self, ref: ClusterRef, at: str, place: From = HERE) -> Chosen:
        """The backup of ``ref`` that ``at`` names (see `find_copy`). Raise ConflictError for one that is not consistent."""
        repository = self.opened(ref.tenant, place, ref)
        copy = find_copy(ref, at, repository.copies(str(ref), (TAG,)))
        if CONSISTENT not in copy.tags:
            raise ConflictError(
                f"the backup {copy.short} of {ref} is not consistent", resolution=f"choose another: labcloud backup list {ref}"
            )
        manifest = Manifest.load(repository.dump(copy.id, NAME), f"{NAME} of the backup {copy.short}")
        return Chosen(ref, repository, copy, manifest)

    # A whole cluster

    def restore_backup(self, chosen: Chosen, to: ClusterRef, terms: Terms, *, replacing: bool = False) -> None:
        """Make the cluster ``to`` of a backup, with identities of its own; or finish making it.

        Raise ConflictError if ``to`` exists and is not ``replacing``: then what it has is kept as a snapshot, and gives way when the
        restored data was verified.
        """
        there, name = self._lab.cluster(to), chosen.snapshot(to)
        if there is None or not replacing or there.origin == there.restoring == str(name):
            self._make(chosen, name, terms)
            return
        with self._changing(to, "backup-fetch", terms, {"copy": chosen.copy.id}):
            repository = _of_files(chosen)
            self._materialise(chosen, repository, name, self._provider(there.provider), resumed=there.restoring == str(name))
        self.restore(name, terms)

    def _make(self, chosen: Chosen, name: SnapshotRef, terms: Terms, *, passing: bool = False) -> Cluster:
        """A cluster that is not there, or not finished; one that is ``passing`` is not backed up itself."""
        to, copy, manifest = name.cluster, chosen.copy, chosen.manifest
        with self._changing(to, "backup-restore", terms, {"copy": copy.id, "of": str(chosen.ref)}) as (operation, deadline):
            profile, provider = load(manifest.cluster.profile), self._provider(manifest.cluster.provider)
            wanted = self._unfinished(name, provider) or self._new(name, manifest, provider, passing=passing)
            scene = Scene(profile, provider, operation, terms, deadline)
            if wanted.restoring:
                self._admission.insist(Question(wanted, profile, provider), terms.ignored, operation)
                self._ensure_tenant(to.tenant, manifest)
                wanted = replace(wanted, user_id=self._lab.ensure_tenant(to.tenant).user_id)
                reason = f"restore {to} from the backup {copy.short} of {chosen.ref}"
                self._admission.reserve(wanted, reason, operation, self._room(provider, terms))
                self._brought(chosen, name, wanted, scene)
                self._filled(wanted, name, manifest, scene)
            else:
                self._run(wanted, manifest, scene)
            operation.event(RESTORED, copy=copy.id, cluster=str(to))
            self._drop(provider, operation, provider.find(cluster=to), [name.id])
            return replace(wanted, restoring="")

    def _brought(self, chosen: Chosen, name: SnapshotRef, wanted: Cluster, scene: Scene) -> None:
        """Let the volumes of a new cluster hold the backup as the snapshot ``name``."""
        if isinstance(chosen.repository, Vault):
            chosen.repository.bring(chosen.manifest, wanted, name, self._lab.shared(wanted.ref.tenant).storage)
            self._hold_idle(wanted, scene)
            chosen.repository.settle(chosen.manifest, name)
        else:
            self._hold_idle(wanted, scene)
            self._materialise(chosen, chosen.repository, name, scene.provider, resumed=True)

    def _unfinished(self, name: SnapshotRef, provider: Provider) -> Cluster | None:
        """The cluster that this restore was making when it was broken off; None if there is none. What was fetched goes last, so who has
        it still was not finished. Raise ConflictError for any other cluster of that name."""
        if self._lab.cluster(name.cluster) is None:
            return None
        there = self._wanted(name.cluster)
        fetched = any(id == name.id for _, _, id in provider.find(cluster=name.cluster).snapshots)
        if there.origin == str(name) and (there.restoring or fetched):
            return there
        raise ConflictError(
            f"the cluster {name.cluster} exists, and a restore overwrites nothing",
            resolution=f"add --to NAME for a new one, or --replace, which keeps what {name.cluster} has as a snapshot",
        )

    def _new(self, name: SnapshotRef, manifest: Manifest, provider: Provider, *, passing: bool) -> Cluster:
        image = provider.image(load(manifest.cluster.profile).image_name, manifest.cluster.image)
        wanted = replace(Copying(name.cluster).cluster(manifest.cluster), image=image, restoring=str(name), origin=str(name))
        return replace(wanted, backup=BackupTerms(enabled=False)) if passing else wanted

    def _ensure_tenant(self, name: str, manifest: Manifest) -> None:
        """A tenant that this lab does not know gets its limits and people back, where it has its old name; with user ids of this lab, and
        a network of the engine's choice, where the old ones are another tenant's now."""
        if self._lab.tenant(name) is None and manifest.tenant and manifest.ref.tenant == name:
            tenant, reason = read_tenant(manifest.tenant, name, Path(f"the tenant of {manifest.ref}@{manifest.id}")), f"restore {name}"
            try:
                self._lab.save_tenant(tenant, reason)
            except UsageError:
                people = tuple(replace(each, user_id=0) for each in tenant.members)
                self._lab.create_tenant(replace(tenant, user_id=0, members=people, former={}, subnet=""), reason)

    def _materialise(
        self, chosen: Chosen, repository: Repository, name: SnapshotRef, provider: Provider, *, only: Sequence[str] = (),
        resumed: bool = False,
    ) -> None:  # fmt: skip
        """Let the backup be the snapshot ``name``: its volumes restored, and read again; then the manifest.

        What was fetched before is not fetched again; when it is ``resumed``, nor is a snapshot that has its manifest already.
        """
        manifest = replace(chosen.manifest, id=name.id)
        nodes = {node: count for node, count in manifest.volumes.items() if not only or node in only}
        volumes = [(node, number) for node, count in sorted(nodes.items()) for number in range(count)]
        folders = {f"{node}/{number}": self._snapshot_volume(provider, name, manifest, node, number) for node, number in volumes}
        first = next(iter(folders.values()))
        with disk_errors(f"restore into {first}"):
            if not (resumed and (first / NAME).exists()):
                self._fetch(chosen, repository, folders, name.cluster)
                write(first / NAME, manifest.dump(), scratch=first / f".{NAME}.new")
            for folder in folders.values():
                forget(folder)

    def _fetch(self, chosen: Chosen, repository: Repository, folders: Mapping[str, Path], ref: ClusterRef) -> None:
        Fetching(
            repository, chosen.copy.id, chosen.manifest.size, self._lab.home / "stage", lambda words: self._progress(ref, words)
        ).fetch(folders)

    def _snapshot_volume(self, provider: Provider, name: SnapshotRef, manifest: Manifest, node: str, number: int) -> Path:
        ref = NodeRef.parse(name.cluster, node)
        volume = manifest.cluster.group(ref.group).volumes[number]
        storage = storage_class(self._lab.shared(name.cluster.tenant).storage, volume.storage)
        return provider.ensure_volume(ref, number, NodeVolume(volume.size, storage), name.id)

    # A part of one

    def restore_node(self, chosen: Chosen, node: str, terms: Terms) -> None:
        """Give one worker of a cluster the data that it had; HDFS takes what is still valid, and has the rest deleted.

        Raise UsageError for a node that leads: its state and the others' data are one.
        """
        ref, manifest = chosen.ref, chosen.manifest
        place = NodeRef.parse(ref, node)
        with self._changing(ref, "backup-restore", terms, {"copy": chosen.copy.id, "node": node}) as (operation, deadline):
            wanted, profile, provider = self._known(ref)
            self._check_node(wanted, profile, place, manifest)
            self._check_line(wanted, manifest)
            name = chosen.snapshot(ref)
            self._materialise(chosen, _of_files(chosen), name, provider, only=[node])
            if provider.far:
                self._hold_idle(wanted, Scene(profile, provider, operation, terms, deadline), place)
            else:
                Runner(provider, self._watch, operation).run(Plan.of((StopNode(place),)))
            filling(provider, profile, wanted, name, manifest).node(wanted, place, self._lab.shared(ref.tenant).storage)
            self._converge(wanted, profile, provider, operation, terms, deadline)
            operation.event(RESTORED, copy=chosen.copy.id, node=node)
            self._drop(provider, operation, provider.find(cluster=ref), [name.id])

    def _check_node(self, wanted: Cluster, profile: Profile, node: NodeRef, manifest: Manifest) -> None:
        if node not in set(wanted.nodes()):
            raise NotFoundError(
                f"{wanted.ref} has no node {node.name}", resolution=f"it has {', '.join(each.name for each in wanted.nodes())}"
            )
        if not profile.groups[node.group].scalable:
            raise UsageError(
                f"{node.name} leads {wanted.ref}: its state goes with the data of all others",
                resolution=f"restore the whole cluster: labcloud backup restore {wanted.ref} --replace",
            )
        if manifest.volumes.get(node.name, 0) != len(wanted.size(node).volumes):
            raise ConflictError(f"the backup has no {node.name} with as many volumes", resolution="choose an older or newer one")

    def _check_line(self, wanted: Cluster, manifest: Manifest) -> None:
        """HDFS numbers blocks one after the other: of a cluster that began anew since, or was put back, other data has the same numbers."""
        since = [
            each
            for each in self._journal.operations()
            if each.verb == "snapshot-restore" and each.target == str(wanted.ref) and datetime.fromisoformat(each.began) > manifest.taken
        ]
        if since or manifest.cluster.id != wanted.id:
            what = "was put back to a snapshot" if since else "was made anew"
            raise ConflictError(
                f"{wanted.ref} {what} after this backup was taken: one node's data does not fit the others' any more",
                resolution=f"restore the whole cluster: labcloud backup restore {wanted.ref} --replace",
            )

    # A cluster for a while

    @contextmanager
    def for_a_while(self, chosen: Chosen, terms: Terms, purpose: str) -> Iterator[Cluster]:
        """A backup as a cluster of its own, of a tenant and on a network of its own; deleted at the end with all of it.

        What was left by a process that was killed is deleted before. That something could not be deleted is told, and raises nothing.
        """
        self.sweep(terms)
        tenant = self._passing.new(purpose)
        to = ClusterRef(tenant, chosen.ref.name)
        try:
            yield self._make(chosen, chosen.snapshot(to), terms, passing=True)
        finally:
            self._vanish(tenant, terms)

    def sweep(self, terms: Terms) -> None:
        """Delete what processes left that were killed while they had a cluster for a while."""
        for tenant in self._passing.left():
            self._vanish(tenant, terms)

    @property
    def _passing(self) -> Passing:
        return Passing(self._lab.home)

    def _vanish(self, tenant: str, terms: Terms) -> None:
        try:
            for ref in self._lab.refs(tenant):
                with suppress(NotFoundError):
                    self.delete(ref, Terms(terms.timeout))
            self._lab.remove_tenant(tenant, f"what {tenant} was for is over")
            self._passing.over(tenant)
        except LabError as exc:
            self._watch.tell(Event(tenant, Kind.WAITING, f"it could not be deleted yet: {exc.brief}"))


def _of_files(chosen: Chosen) -> Repository:
    """The repository of a backup of which files can be had. Raise UsageError for one of volumes as a whole."""
    if isinstance(chosen.repository, Vault):
        raise UsageError(
            f"{chosen.repository.target} keeps volumes as a whole, which come back as a new cluster alone",
            resolution=f"labcloud backup restore {chosen.ref} --to NAME",
        )
    return chosen.repository
