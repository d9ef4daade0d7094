"""The verbs of snapshots: take one, list them, bring one back in place or as a new cluster, delete some.

A snapshot is what the engine has: volumes beside the cluster's own, found by their labels, and in the first of them the manifest, written
last. One without it was broken off, and the next that is taken removes it. Snapshots belong to their cluster and go with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from typing import Final

from labcloud.apply.admission import Question
from labcloud.apply.clusters import Clusters
from labcloud.apply.journal import Operation
from labcloud.apply.runner import Runner
from labcloud.apply.verbs import Terms
from labcloud.apply.watch import Deadline, Event, Kind
from labcloud.errors import ConfigError, ConflictError, EngineError, LabError, NotFoundError
from labcloud.lab.documents import dump
from labcloud.lab.tenants import tenant_document
from labcloud.model import Cluster, ClusterRef, Found, NodeRef, Wanted
from labcloud.model.snapshot import SnapshotRef, new_snapshot_id, snapshot_time
from labcloud.plan import DeleteNode, DeleteVolume, Plan, idle, stop
from labcloud.profiles import Profile, load
from labcloud.protect.capture import Asked, Capture
from labcloud.protect.copies import Copying, declared_like
from labcloud.protect.filling import fill
from labcloud.protect.manifest import NAME, Manifest, Origin
from labcloud.protect.notes import TAKEN
from labcloud.providers.base import Provider
from labcloud.services.files import give_home
from labcloud.services.hadoop import Hadoop

UNFINISHED: Final = "unfinished"
UNREADABLE: Final = "unreadable"


@dataclass(frozen=True)
class SnapshotView:
    """``state`` is ``consistent``, ``inconsistent``, ``unfinished`` for one without a manifest, or ``unreadable`` where it has one that
    cannot be read; ``why`` says why it is not good. ``taken`` is UTC in ISO 8601, ``bytes`` what its files have, shared ones included."""

    tenant: str
    name: str
    id: str
    state: str
    taken: str = ""
    origin: str = ""
    title: str = ""
    bytes: int = 0
    files: int = 0
    pause_seconds: float = 0.0
    why: str = ""


@dataclass(frozen=True)
class Scene:
    """What a verb works with while it runs."""

    profile: Profile
    provider: Provider
    operation: Operation
    terms: Terms
    deadline: Deadline


class Snapshots(Clusters):
    """The verbs, for one lab."""

    # Taking

    def take(self, ref: ClusterRef, terms: Terms, *, title: str = "", origin: Origin = Origin.HAND) -> Manifest:
        """Take a snapshot of the cluster, which goes on working. Raise EngineError if its data cannot be reached from this machine,
        ConfiguringError if its services cannot be stopped, ConflictError if it has no data yet."""
        with self._changing(ref, "snapshot", terms, {"title": title, "origin": origin}) as (operation, _):
            wanted, profile, provider = self._known(ref)
            return self._take(wanted, profile, provider, operation, title=title, origin=origin)

    def _take(
        self, wanted: Cluster, profile: Profile, provider: Provider, operation: Operation, *, title: str = "", origin: Origin
    ) -> Manifest:
        if not profile.snapshot.files:
            raise ConfigError(
                f"the profile {profile.name} does not say what a snapshot holds", resolution="add 'snapshot' to its profile.yaml"
            )
        found = provider.find(cluster=wanted.ref)
        if not found.volumes:
            raise ConflictError(f"{wanted.ref} has no data yet", resolution=f"finish making it: labcloud start {wanted.ref}")
        if not provider.far:
            for ref, number in sorted(found.volumes):  # nothing is begun that one of them would break off
                if provider.replica(ref) is None:
                    provider.volume_folder(ref, number)
        left = [id for id in _ids(found) if _readable(provider, found, SnapshotRef(wanted.ref, id)) is None]
        self._drop(provider, operation, found, left)
        tenant = self._lab.tenant(wanted.ref.tenant)
        asked = Asked(new_snapshot_id(datetime.now(UTC)), origin, title, dump(tenant_document(tenant)) if tenant else "")
        manifest = Capture(provider, wanted, profile, self._watch).take(asked)
        operation.event(
            TAKEN, id=manifest.id, consistent=manifest.consistent, why=manifest.why, pause_seconds=round(manifest.pause, 3),
            bytes=manifest.size, files=manifest.files,
        )  # fmt: skip
        return manifest

    # Looking

    def list(self, ref: ClusterRef | None = None, tenant: str | None = None) -> list[SnapshotView]:
        """Every snapshot of one cluster, of a tenant's, or of all: by cluster, the oldest first."""
        engines = {each.provider for each in ([self._wanted(ref)] if ref else self._lab.clusters(tenant))}
        views = []
        for engine in sorted(engines):
            provider = self._provider(engine)
            found = provider.find(tenant=tenant, cluster=ref)
            names = sorted({SnapshotRef(node.cluster, id) for node, _, id in found.snapshots})
            views += [_view(name, _readable(provider, found, name)) for name in names]
        return views

    def manifest(self, name: SnapshotRef) -> Manifest:
        """What a snapshot says of itself. Raise NotFoundError, with those that there are, if there is none; ConflictError if unfinished."""
        provider = self._provider(self._wanted(name.cluster).provider)
        return self._finished(provider, provider.find(cluster=name.cluster), name)

    def first(self, ref: ClusterRef) -> SnapshotRef:
        """The oldest finished and consistent snapshot of a cluster. Raise NotFoundError if it has none."""
        for view in self.list(ref):
            if view.state == "consistent":
                return SnapshotRef(ref, view.id)
        raise NotFoundError(f"{ref} has no snapshot", resolution=f"take one: labcloud snapshot create {ref}")

    # Deleting

    def drop(self, ref: ClusterRef, ids: Sequence[str], terms: Terms) -> Plan:
        """Delete snapshots of the cluster. Raise NotFoundError, and delete none, if one of them is not there."""
        with self._changing(ref, "snapshot-delete", terms, {"ids": list(ids)}) as (operation, _):
            provider = self._provider(self._wanted(ref).provider)
            found = provider.find(cluster=ref)
            for id in ids:
                if id not in _ids(found):
                    raise _absent(SnapshotRef(ref, id), found)
            return self._drop(provider, operation, found, ids)

    def _drop(self, provider: Provider, operation: Operation, found: Found, ids: Iterable[str]) -> Plan:
        """Delete snapshots. The volume with the manifest goes first: what is left of a snapshot then counts as unfinished."""
        volumes = {id: [DeleteVolume(*each) for each in sorted(found.snapshots) if each[2] == id] for id in ids}
        first, rest = [each[:1] for each in volumes.values()], [each[1:] for each in volumes.values()]
        plan = Plan.of(tuple(chain.from_iterable(first)), tuple(chain.from_iterable(rest)))
        Runner(provider, self._watch, operation).run(plan)
        return plan

    # Bringing back

    def restore(self, name: SnapshotRef, terms: Terms) -> Manifest:
        """Put the cluster back to where it was at a snapshot of its own, its nodes and volumes included; its configuration stays.

        What it has now is kept as another snapshot before, if it is whole. Run again, it finishes what was broken off. Raise ConflictError
        if the snapshot is not consistent.
        """
        ref = name.cluster
        with self._changing(ref, "snapshot-restore", terms, {"snapshot": str(name)}) as (operation, deadline):
            wanted = self._wanted(ref)
            profile, provider = load(wanted.profile), self._provider(wanted.provider)
            manifest = self._usable(provider, name)
            back = replace(declared_like(wanted, manifest.cluster), state=Wanted.RUNNING, restoring=str(name))
            if not wanted.restoring:
                self._admission.insist(Question(back, profile, provider), terms.ignored, operation)
                self._take(wanted, profile, provider, operation, title=f"before {name.id} was restored", origin=Origin.SAFETY)
            self._admission.reserve(back, f"restore {ref} to {name.id}: begun", operation, self._room(provider, terms))
            scene = Scene(profile, provider, operation, terms, deadline)
            self._clear(back, provider, operation)
            self._hold_idle(back, scene)
            self._filled(back, name, manifest, scene)
            return manifest

    def copy(self, name: SnapshotRef, asked: Copying, terms: Terms) -> Manifest:
        """Make a new cluster with the data of a snapshot, with identities of its own; or finish making it.

        Its nodes are those of the snapshot's; the rest is the snapshot's unless ``asked`` says otherwise. Its data is put into place once:
        after that, running it again only lets the cluster run. Raise ConflictError if another cluster has the name, what `create` raises
        besides.
        """
        with self._changing(asked.ref, "create", terms, {"from": str(name)}) as (operation, deadline):
            source = self._wanted(name.cluster)
            provider = self._provider(source.provider)
            manifest = self._usable(provider, name)
            profile = load(manifest.cluster.profile)
            wanted, scene = self._asked(name, asked, manifest, provider), Scene(profile, provider, operation, terms, deadline)
            if not self._runs(wanted, provider):
                self._admission.insist(Question(wanted, profile, provider), terms.ignored, operation)
            if wanted.restoring:
                wanted = replace(wanted, user_id=self._lab.ensure_tenant(asked.ref.tenant).user_id)
                self._admission.reserve(wanted, f"create {asked.ref} from {name}", operation, self._room(provider, terms))
                self._hold_idle(wanted, scene)
                self._filled(wanted, name, manifest, scene)
            else:
                self._run(wanted, manifest, scene)
            return manifest

    def _asked(self, name: SnapshotRef, asked: Copying, manifest: Manifest, provider: Provider) -> Cluster:
        """The cluster that a copy shall be, or is."""
        there = self._lab.cluster(asked.ref)
        if there is None:
            # Data comes back to the Hadoop that wrote it, as long as that is there: a newer one may ask for an upgrade of it first.
            image = provider.image(load(manifest.cluster.profile).image_name, manifest.cluster.image)
            return replace(asked.cluster(manifest.cluster), image=image, restoring=str(name), origin=str(name))
        if there.state is Wanted.RUNNING and str(name) == (there.restoring or there.origin):
            return there
        raise ConflictError(
            f"the cluster {asked.ref} exists already, and is not a copy of {name}",
            resolution=f"choose another name, or first: labcloud delete {asked.ref}",
        )

    def _filled(self, wanted: Cluster, source: SnapshotRef, manifest: Manifest, scene: Scene) -> None:
        """Put data into place, and let the cluster run with it."""
        self._watch.tell(Event(str(wanted.ref), Kind.WAITING, f"the data of {source} is put into place"))
        own = fill(scene.provider, scene.profile, wanted, source, manifest, self._lab.shared(wanted.ref.tenant).storage)
        scene.operation.event("filled", snapshot=str(source), bytes=own)
        whole = replace(wanted, restoring="")
        self._admission.reserve(whole, f"{scene.operation.verb} {wanted.ref}: its data is in place", scene.operation)
        self._run(whole, manifest, scene)

    def _hold_idle(self, wanted: Cluster, scene: Scene, *only: NodeRef) -> None:
        """Where volumes are there with their nodes alone: let the nodes be there, or ``only`` those, and none of their services."""
        if scene.provider.far:
            plan = idle(wanted, scene.provider.find(cluster=wanted.ref), self._draw(wanted, scene.profile, scene.provider), only)
            self._runner(scene.provider, wanted, scene.profile, scene.operation, scene.deadline).run(plan)

    def _run(self, whole: Cluster, manifest: Manifest, scene: Scene) -> None:
        self._converge(whole, scene.profile, scene.provider, scene.operation, scene.terms, scene.deadline)
        if scene.terms.wait and manifest.ref.tenant != whole.ref.tenant:
            self._move_home(whole, manifest.ref.tenant, scene.profile, scene.provider)

    def _move_home(self, wanted: Cluster, before: str, profile: Profile, provider: Provider) -> None:
        """What the former tenant had in its home in HDFS is the new one's, at home."""
        try:
            give_home(Hadoop(provider, wanted, profile).files(), before, wanted.ref.tenant)
        except EngineError as exc:
            self._watch.tell(Event(str(wanted.ref), Kind.WAITING, f"/user/{before} stays where it is: {exc.brief}"))

    def _clear(self, back: Cluster, provider: Provider, operation: Operation) -> None:
        """Stop the cluster; nodes and volumes go that the snapshot knows nothing of."""
        found = provider.find(cluster=back.ref)
        runner, keep = Runner(provider, self._watch, operation), set(back.nodes())
        if not provider.far:  # else they run on, without their services, while they are filled
            runner.run(stop(found))
        orphans = [(ref, number) for ref, number in sorted(found.volumes) if ref not in keep or number >= len(back.size(ref).volumes)]
        users = {ref for ref, _ in orphans}
        beyond = tuple(DeleteNode(node.ref) for node in found.nodes if node.ref not in keep or node.ref in users)
        runner.run(Plan.of(beyond, tuple(DeleteVolume(*each) for each in orphans)))

    # What they share

    def _wanted(self, ref: ClusterRef) -> Cluster:
        wanted = self._lab.cluster(ref)
        if wanted is None:
            raise self._unknown(ref)
        if wanted.state is Wanted.DELETED:
            raise ConflictError(f"the deletion of {ref} was begun and not finished", resolution=f"finish it: labcloud delete {ref}")
        return wanted

    def _finished(self, provider: Provider, found: Found, name: SnapshotRef) -> Manifest:
        if name.id not in _ids(found):
            raise _absent(name, found)
        manifest = _manifest(provider, found, name)
        if manifest is None:
            raise ConflictError(
                f"the snapshot {name} was broken off before it was whole", resolution=f"labcloud snapshot list {name.cluster}"
            )
        return manifest

    def _usable(self, provider: Provider, name: SnapshotRef) -> Manifest:
        found = provider.find(cluster=name.cluster)
        manifest = self._finished(provider, found, name)
        has = {(node.name, number) for node, number, id in found.snapshots if id == name.id}
        gone = sorted(set(manifest.places) - has)
        why = manifest.why or (f"volume {gone[0][1]} of {gone[0][0]} is gone" if gone else "")
        if why:
            raise ConflictError(
                f"the snapshot {name} is not consistent: {why}", resolution=f"choose another: labcloud snapshot list {name.cluster}"
            )
        return manifest


def _ids(found: Found) -> list[str]:
    return sorted({id for _, _, id in found.snapshots})


def _manifest(provider: Provider, found: Found, name: SnapshotRef) -> Manifest | None:
    """What a snapshot says of itself; None if it is not finished. Raise ConfigError if that cannot be read."""
    node, number, _ = min(each for each in found.snapshots if each[0].cluster == name.cluster and each[2] == name.id)
    try:
        text = (provider.volume_folder(node, number, name.id) / NAME).read_bytes()
    except (FileNotFoundError, NotFoundError):
        return None
    except OSError as exc:
        raise EngineError(f"the snapshot {name} cannot be read", details=str(exc), resolution="run the same command as root") from exc
    return Manifest.load(text, f"{NAME} of {name}")


def _readable(provider: Provider, found: Found, name: SnapshotRef) -> Manifest | LabError | None:
    try:
        return _manifest(provider, found, name)
    except LabError as exc:
        return exc


def _view(name: SnapshotRef, manifest: Manifest | LabError | None) -> SnapshotView:
    tenant, cluster = name.cluster.tenant, name.cluster.name
    if not isinstance(manifest, Manifest):
        state, why = (UNREADABLE, manifest.brief) if manifest else (UNFINISHED, "it was broken off")
        return SnapshotView(tenant, cluster, name.id, state, why=why)
    return SnapshotView(
        tenant, cluster, name.id, "consistent" if manifest.consistent else "inconsistent",
        taken=manifest.taken.isoformat(timespec="seconds"), origin=str(manifest.origin), title=manifest.title, bytes=manifest.size,
        files=manifest.files, pause_seconds=round(manifest.pause, 3), why=manifest.why,
    )  # fmt: skip


def _absent(name: SnapshotRef, found: Found) -> NotFoundError:
    there = _ids(found)
    near = min(there, key=lambda id: abs(snapshot_time(id) - snapshot_time(name.id)), default="")
    hint = f"the nearest is {near}; " if near else ""
    return NotFoundError(f"{name.cluster} has no snapshot {name.id}", resolution=f"{hint}'labcloud snapshot list {name.cluster}' shows all")
