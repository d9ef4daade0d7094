"""The verbs for shared datasets: each changes what is wanted, and the store or a cluster's view after it or before it, so that what a
killed run leaves can be finished by running it again.

::

    add             staging → store → wanted          remove   no longer wanted → store
    attach detach   wanted → plan.datasets → Runner   load     what is attached → HDFS
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from labcloud.apply.blueprint import draw
from labcloud.apply.journal import Journal, Operation
from labcloud.apply.loading import Loaded, Loader, hdfs_folder
from labcloud.apply.runner import Runner
from labcloud.apply.watch import Event, Kind, Watch
from labcloud.datasets.importing import Importing, Source
from labcloud.datasets.manifest import Manifest
from labcloud.datasets.pace import Pace
from labcloud.datasets.placement import check_placement, store_of, stored_datasets
from labcloud.datasets.store import Store
from labcloud.datasets.verifying import Damage, verify
from labcloud.errors import ConflictError, DeadlineError, LabError, NotFoundError, UsageError
from labcloud.lab import Lab
from labcloud.lab.locks import cluster_lock, dataset_lock
from labcloud.model import Cluster, ClusterRef, Wanted
from labcloud.model.dataset import NEWEST, Dataset, DatasetVersion, check_use, known_dataset
from labcloud.plan import datasets as plan_datasets
from labcloud.profiles import load
from labcloud.providers.base import Provider

_TIMEOUT: Final = 600.0


@dataclass(frozen=True)
class Addition:
    """What somebody adds: None for what is not said. ``tenants`` are those that shall have a new dataset, empty for everybody."""

    name: str
    source: Source
    title: str | None = None
    tenants: Sequence[str] = ()
    storage: str | None = None


@dataclass(frozen=True)
class Added:
    """A version, and whether it is ``new``: the same content makes no second one."""

    dataset: Dataset
    version: DatasetVersion
    new: bool


@dataclass(frozen=True)
class Verified:
    """What reading a version again found; ``problem`` is why it could not be read at all."""

    name: str
    version: int
    files: int
    damage: Damage
    problem: str = ""


@dataclass(frozen=True)
class Attached:
    """The version that a cluster has now, and whether that is a change."""

    version: int
    changed: bool


class Datasets:
    """The verbs, for one lab. ``provider`` opens an engine by its name."""

    def __init__(self, lab: Lab, journal: Journal, provider: Callable[[str], Provider], watch: Watch) -> None:
        self._lab = lab
        self._journal = journal
        self._provider = provider
        self._watch = watch

    # What the lab has

    def known(self, name: str) -> Dataset:
        """Raise NotFoundError, with the nearest name, if there is none."""
        return known_dataset(name, self._lab.datasets())

    def add(self, asked: Addition) -> Added:
        """Import a new dataset, or a new version of one that there is.

        Raise what `Importing.stage` raises, ConflictError for a storage class that cannot hold it, NotFoundError for an unknown tenant.
        """
        spec = {"source": asked.source.public, "sha256": asked.source.sha256, "for": sorted(asked.tenants)}
        with self._changing(asked.name, "dataset add", spec) as operation:
            there = self._lab.dataset(asked.name)
            self._check_addition(asked, there)
            storage = there.storage if there else asked.storage or ""
            store = Store(check_placement(self._lab, storage))
            self._sweep(store, asked.name)
            base = there or Dataset(asked.name, (), tenants=frozenset(asked.tenants) or None, storage=storage)
            base = base if asked.title is None else replace(base, title=asked.title)
            return self._import(asked.source, base, store, operation)

    def _import(self, source: Source, base: Dataset, store: Store, operation: Operation) -> Added:
        importing = Importing(store, self._lab.home / "cache" / "datasets", self._tell_of(base.name), self._watch.check)
        with store.staging(base.name) as staging:
            manifest = importing.stage(source, staging)
            same = next((each for each in base.versions if each.sha256 == manifest.sha256), None)
            if same:
                self._lab.save_dataset(base, f"dataset {base.name}: title")
                return Added(base, same, new=False)
            version = _version(max(base.next_number, store.highest(base.name) + 1), manifest, source)
            store.publish(staging, manifest, base.name, version.number)
        wanted = replace(base, versions=(*base.versions, version))
        try:
            self._lab.save_dataset(wanted, f"add the dataset {base.name}, version {version.number}")
        except LabError:
            store.remove(base.name, version.number)
            raise
        store.known(base.name, version.number)
        operation.event("imported", version=version.number, bytes=version.bytes, files=version.files, sha256=version.sha256)
        return Added(wanted, version, new=True)

    def _check_addition(self, asked: Addition, there: Dataset | None) -> None:
        self._check_tenants(asked.tenants)
        if there is not None and asked.tenants:
            raise UsageError(
                f"the dataset {there.name} exists already: --for is for a new one",
                resolution=f"share it: labcloud dataset share {there.name} --for {asked.tenants[0]}",
            )
        if there is not None and asked.storage not in (None, there.storage):
            raise ConflictError(
                f"the dataset {there.name} lies in the storage class {there.storage or 'of the lab itself'!r}, with all its versions",
                resolution="leave out --storage, or give the dataset another name",
            )

    def _check_tenants(self, names: Sequence[str]) -> None:
        known = {each.name for each in self._lab.tenants()} if names else set()
        for name in names:
            if name not in known:
                raise NotFoundError(f"there is no tenant {name}", resolution=f"make it first: labcloud tenant create {name}")

    def _sweep(self, store: Store, held: str) -> None:
        """Remove what killed imports left: of ``held``, and of every dataset that nobody holds just now."""
        store.sweep()
        for name, number in store.unfinished():
            try:
                if name == held:
                    self._finish(store, name, number)
                else:
                    with dataset_lock(self._lab.home, name, verb="sweep", timeout=0):
                        self._finish(store, name, number)
            except DeadlineError:
                continue

    def _finish(self, store: Store, name: str, number: int) -> None:
        dataset = self._lab.dataset(name)
        if dataset and number in {each.number for each in dataset.versions}:
            store.known(name, number)
        else:
            store.remove(name, number)

    def remove(self, name: str, number: int = NEWEST) -> list[int]:
        """Remove one version, or (for `NEWEST`) the dataset whole; returns the numbers that are gone. Raise ConflictError if a cluster
        uses it."""
        with self._changing(name, "dataset remove", {"version": number or "all"}):
            there = self.known(name)
            gone = [each.number for each in there.versions if number in (NEWEST, each.number)]
            left = tuple(each for each in there.versions if each.number not in gone)
            there.version(number)
            if left:
                wanted = replace(there, versions=left, used=there.next_number - 1)
                self._lab.save_dataset(wanted, f"remove version {number} of the dataset {name}")
            else:
                self._lab.remove_dataset(name, f"remove the dataset {name}")
            store = store_of(self._lab, there.storage)
            for each in gone:
                store.remove(name, each)
            store.sweep()
            return gone

    def share(self, name: str, *, tenants: Sequence[str] = (), withdrawn: Sequence[str] = (), public: bool = False) -> Dataset:
        """Let tenants have it beside those that may, or everybody, or some no longer; a public one is for ``tenants`` alone from now on.

        Raise ConflictError if a cluster of somebody uses it who could not have it any more.
        """
        self._check_tenants(tenants)
        with self._changing(name, "dataset share", {"for": list(tenants), "not for": list(withdrawn), "public": public}):
            there = self.known(name)
            if withdrawn and there.tenants is None:
                raise UsageError(f"the dataset {name} is public", resolution=f"name who may have it: labcloud dataset share {name} --for T")
            allowed = None if public else ((there.tenants or frozenset()) | set(tenants)) - set(withdrawn)
            if allowed is not None and not allowed:
                raise UsageError(f"nobody could have the dataset {name} any more", resolution=f"remove it: labcloud dataset remove {name}")
            wanted = replace(there, tenants=allowed)
            self._lab.save_dataset(wanted, f"share the dataset {name} with {', '.join(sorted(allowed)) if allowed else 'everybody'}")
            return wanted

    def verify(self, names: Sequence[str]) -> list[Verified]:
        """Read all versions of ``names``, or of every dataset, again."""
        datasets = self._lab.datasets()
        chosen = [known_dataset(name, datasets) for name in dict.fromkeys(names)] or list(datasets.values())
        return [self._verify(each, version) for each in chosen for version in each.versions]

    def _verify(self, dataset: Dataset, version: DatasetVersion) -> Verified:
        store = store_of(self._lab, dataset.storage)
        pace = Pace(f"reading version {version.number}", version.bytes, self._tell_of(dataset.name))
        try:
            manifest = store.manifest(dataset.name, version)
        except LabError as exc:
            return Verified(dataset.name, version.number, version.files, Damage(), exc.brief)
        damage = verify(store.folder(dataset.name, version.number), manifest, pace, self._watch.check)
        return Verified(dataset.name, version.number, version.files, damage)

    # What clusters have

    def attach(self, name: str, number: int, ref: ClusterRef) -> Attached:
        """Let the cluster's nodes see a version, at once. `NEWEST` is no change where the cluster has one already.

        Raise NotFoundError for what is not there, ConflictError for a tenant that it is not shared with.
        """
        with self._of_cluster(ref, "dataset attach", {"dataset": name, "version": number or "newest"}) as operation:
            cluster = self._cluster(ref)
            there = cluster.datasets.get(name)
            known = self._lab.datasets()
            check_use(ref.tenant, {name: number or there or NEWEST}, known)
            chosen = known[name].version(number or there or NEWEST).number
            changed = self._show(cluster, {**cluster.datasets, name: chosen}, f"attach {name} {chosen} to {ref}", operation)
            return Attached(chosen, changed)

    def detach(self, name: str, ref: ClusterRef) -> bool:
        """Let the cluster's nodes see the dataset no longer. Returns whether they did."""
        with self._of_cluster(ref, "dataset detach", {"dataset": name}) as operation:
            cluster = self._cluster(ref)
            left = {each: number for each, number in cluster.datasets.items() if each != name}
            if name not in cluster.datasets:
                self.known(name)
            return self._show(cluster, left, f"detach {name} from {ref}", operation)

    def _show(self, cluster: Cluster, datasets: Mapping[str, int], reason: str, operation: Operation) -> bool:
        def admitted(declared: Sequence[Cluster]) -> None:
            del declared
            check_use(cluster.ref.tenant, datasets, self._lab.datasets())

        wanted = replace(cluster, datasets=dict(datasets))
        saved = self._lab.save(wanted, reason, admit=admitted if datasets.keys() - cluster.datasets.keys() else None)
        provider, tenant = self._provider(wanted.provider), self._lab.tenant(wanted.ref.tenant)
        blueprint = draw(
            wanted,
            load(wanted.profile),
            provider.domain(wanted.ref.tenant),
            tenant,
            self._lab.shared(wanted.ref.tenant),
            datasets=stored_datasets(self._lab, datasets),
        )
        plan = plan_datasets(wanted, provider.find(cluster=wanted.ref), blueprint)
        Runner(provider, self._watch, operation).run(plan)
        return saved or bool(plan)

    def load(self, name: str, ref: ClusterRef, target: str = "") -> Loaded:
        """Put an attached dataset into the cluster's HDFS, at ``/datasets/NAME`` or at ``target``; what is there is left alone.

        Raise ConflictError for one that is not attached or a cluster that does not run, and what `Loader.load` raises.
        """
        folder = hdfs_folder(target or f"/datasets/{name}")
        dataset, cluster = self.known(name), self._cluster(ref)
        if name not in cluster.datasets:
            raise ConflictError(
                f"the dataset {name} is not attached to {ref}", resolution=f"attach it: labcloud dataset attach {name} {ref} --load"
            )
        if cluster.state is not Wanted.RUNNING:
            raise ConflictError(f"the cluster {ref} is stopped", resolution=f"start it first: labcloud start {ref}")
        version = dataset.version(cluster.datasets[name])
        manifest = store_of(self._lab, dataset.storage).manifest(name, version)
        with self._journal.operation("dataset load", str(ref), {"dataset": name, "version": version.number, "to": folder}) as operation:
            loader = Loader(self._provider(cluster.provider), cluster, load(cluster.profile), self._watch)
            loaded = loader.load(name, manifest, folder)
            operation.event("loaded", files=loaded.files, bytes=loaded.bytes, skipped=loaded.skipped)
            return loaded

    # What they share

    def _cluster(self, ref: ClusterRef) -> Cluster:
        cluster = self._lab.cluster(ref)
        if cluster is None:
            raise NotFoundError(f"there is no cluster {ref}", resolution="'labcloud list' shows those that there are")
        if cluster.state is Wanted.DELETED:
            raise ConflictError(f"the deletion of {ref} was begun and not finished", resolution=f"finish it: labcloud delete {ref}")
        return cluster

    @contextmanager
    def _changing(self, name: str, verb: str, spec: Mapping[str, object]) -> Iterator[Operation]:
        with (
            dataset_lock(self._lab.home, name, verb=verb, timeout=_TIMEOUT, waiting=self._tell_of(name), pause=self._watch.pause),
            self._journal.operation(verb, name, spec) as operation,
        ):
            yield operation

    @contextmanager
    def _of_cluster(self, ref: ClusterRef, verb: str, spec: Mapping[str, object]) -> Iterator[Operation]:
        with (
            cluster_lock(self._lab.home, ref, verb=verb, timeout=_TIMEOUT, waiting=self._tell_of(str(ref)), pause=self._watch.pause),
            self._journal.operation(verb, str(ref), spec) as operation,
        ):
            yield operation

    def _tell_of(self, subject: str) -> Callable[[str], None]:
        return lambda text: self._watch.tell(Event(subject, Kind.WAITING, text))


def _version(number: int, manifest: Manifest, source: Source) -> DatasetVersion:
    added = datetime.now(UTC).replace(microsecond=0)
    return DatasetVersion(number, manifest.sha256, manifest.bytes, len(manifest.files), added, source.public)
