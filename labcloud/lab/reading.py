"""What is wanted, read from wherever a lab's texts come from. Reading takes no lock and writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TypeVar

from labcloud.errors import ConfigError, UsageError
from labcloud.lab import places
from labcloud.lab.configurations import read_base, read_binding
from labcloud.lab.datasets import read_dataset
from labcloud.lab.documents import read_cluster
from labcloud.lab.prices import read_prices
from labcloud.lab.protection import NO_LAB_BACKUP, LabBackup, read_backup
from labcloud.lab.review import Review, read_review
from labcloud.lab.sources import Source
from labcloud.lab.storage import read_storage
from labcloud.lab.tenants import read_tenant
from labcloud.model import NO_CONFIGURATION, Binding, Cluster, ClusterRef, Shared, Tenant, cluster_name, tenant_name
from labcloud.model.dataset import NEWEST, Dataset, dataset_name
from labcloud.model.prices import PriceBook
from labcloud.model.protection import NO_TERMS, BackupTerms
from labcloud.model.storage import NO_CLASSES, Classes

Name = TypeVar("Name")
Value = TypeVar("Value")


class Reading:
    """A lab as one source has it: its work tree, a revision, or what it would be with a change.

    All methods raise ConfigError (with file and line) for a file that is wrong.
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    def cluster(self, ref: ClusterRef) -> Cluster | None:
        return self._value(places.cluster_path(ref), lambda text, path: read_cluster(text, ref, path))

    def refs(self, tenant: str | None = None) -> list[ClusterRef]:
        """The names of all wanted clusters, or one tenant's, in order."""
        names = [tenant] if tenant else [self._named(tenant_name, "clusters", each, each) for each in self._source.listed("clusters")]
        return sorted(
            ClusterRef(owner, self._named(cluster_name, f"clusters/{owner}", each, each.removesuffix(".yaml")))
            for owner in names
            for each in self._source.listed(f"clusters/{owner}")
            if each.endswith(".yaml")
        )

    def clusters(self, tenant: str | None = None) -> list[Cluster]:
        """All wanted clusters, or one tenant's, by name."""
        return [cluster for ref in self.refs(tenant) if (cluster := self.cluster(ref))]

    def prices(self) -> PriceBook | None:
        """What resources cost, if the lab says so."""
        return self._value(places.PRICES, read_prices)

    def storage(self) -> Classes:
        """The storage classes, by name."""
        return self._value(places.STORAGE, read_storage) or NO_CLASSES

    def backup(self) -> LabBackup:
        """What the lab says of all backups, and where runs report to."""
        return self._value(places.BACKUP, read_backup) or NO_LAB_BACKUP

    def backup_layers(self, tenant: str | None = None, ref: ClusterRef | None = None) -> dict[str, BackupTerms]:
        """What is said of backups, by file, the later before the earlier: of all, of a ``tenant``'s, of the cluster ``ref``.

        A tenant or a cluster that is not wanted (any more) says nothing; its backups may still be there.
        """
        layers = {places.BACKUP: self.backup().terms}
        owner = ref.tenant if ref else tenant
        if owner is not None:
            there = self.tenant(owner)
            layers[places.tenant_path(owner)] = there.backup if there else NO_TERMS
        if ref is not None:
            cluster = self.cluster(ref)
            layers[places.cluster_path(ref)] = cluster.backup if cluster else NO_TERMS
        return layers

    def dataset(self, name: str) -> Dataset | None:
        return self._value(places.dataset_path(name), lambda text, path: read_dataset(text, name, path))

    def datasets(self) -> dict[str, Dataset]:
        """All shared datasets, by name, in order."""
        listed = [each for each in self._source.listed(places.DATASETS) if each.endswith(".yaml")]
        names = sorted(self._named(dataset_name, places.DATASETS, each, each.removesuffix(".yaml")) for each in listed)
        return {name: found for name in names if (found := self.dataset(name))}

    def users_of(self, name: str, number: int = NEWEST) -> list[ClusterRef]:
        """The clusters that want a version of the dataset ``name``, or any of its versions."""
        return [each.ref for each in self.clusters() if name in each.datasets and number in (NEWEST, each.datasets[name])]

    def shared(self, tenant: str) -> Shared:
        """What the lab says for a tenant's clusters beside their own files: its base, its bindings, the tenant's own."""
        there = self.tenant(tenant)
        sources = {path: self._source.text(path) or "" for path in self._source.files(places.FILES)}
        return Shared(
            base=self._value(places.BASE_SETTINGS, read_base) or NO_CONFIGURATION,
            bindings=self.bindings(),
            tenant=there.configuration if there else NO_CONFIGURATION,
            sources={path.removeprefix(f"{places.FILES}/"): text for path, text in sources.items()},
            storage=self.storage(),
            log4j=self._source.text(places.BASE_LOG4J) or "",
        )

    def bindings(self) -> tuple[Binding, ...]:
        """The configurations that hold where an expression does, by name."""
        names = (name.removesuffix(".yaml") for name in self._source.listed(places.BINDINGS) if name.endswith(".yaml"))
        return tuple(binding for name in names if (binding := self._binding(name)))

    def _binding(self, name: str) -> Binding | None:
        return self._value(f"{places.BINDINGS}/{name}.yaml", lambda text, path: read_binding(text, name, path))

    def tenant(self, name: str, *, profiles: Collection[str] | None = None) -> Tenant | None:
        """The tenant ``name``. With the names of all ``profiles`` it is checked whole: its limits, and against the other tenants."""
        path = places.tenant_path(name)
        if profiles is None:
            return self._value(path, lambda text, where: read_tenant(text, name, where))
        found = self._in_force(path, lambda text, where: read_tenant(text, name, where))
        if found is None:
            return None
        others = [each for each in self.tenants() if each.name != name]
        return read_tenant(found[0], name, found[1], profiles=profiles, others=others)

    def tenants(self) -> list[Tenant]:
        """All tenants, by name."""
        listed = [each for each in self._source.listed("tenants") if each.endswith(".yaml")]
        found = [self.tenant(self._named(tenant_name, "tenants", each, each.removesuffix(".yaml"))) for each in listed]
        return sorted((tenant for tenant in found if tenant), key=lambda tenant: tenant.name)

    def review(self) -> Review:
        """What must be reviewed, as ``review.yaml`` says; tenants may ask for it too (`review_required`)."""
        return self._value(places.REVIEW, read_review) or Review()

    def review_required(self, paths: Iterable[str]) -> bool:
        """Whether a change of one of ``paths`` must be reviewed: by ``review.yaml``, or by the tenant whose file, or cluster's, it is."""
        changed = tuple(paths)
        review = self.review()
        owners = {ref.tenant for path in changed if (ref := places.cluster_of(path))} | set(filter(None, map(places.tenant_of, changed)))
        return any(map(review.covers, changed)) or any(tenant.review for name in owners if (tenant := self.tenant(name)))

    def concerned(self, paths: Iterable[str]) -> list[ClusterRef]:
        """The wanted clusters whose configuration one of ``paths`` belongs to, in order."""
        return places.concerned(paths, self.refs)

    def text(self, path: str) -> str | None:
        """What any file says, right or wrong; None if there is none."""
        return self._source.text(path)

    def base_files(self) -> dict[str, str]:
        """The texts of the shared base configuration, by their paths in it."""
        found = {path: self._source.text(path) for path in self._source.files(places.BASE)}
        return {path.removeprefix(f"{places.BASE}/"): text for path, text in found.items() if text is not None}

    def _value(self, path: str, read: Callable[[str, Path], Value]) -> Value | None:
        """What ``read`` makes of a file; None if there is none."""
        text = self._source.text(path)
        return None if text is None else read(text, self._source.where(path))

    def _in_force(self, path: str, read: Callable[[str, Path], object]) -> tuple[str, Path] | None:
        """The text of a file that ``read`` can read, and where it stands; None if there is no file."""
        return self._value(path, lambda text, where: (read(text, where), (text, where))[1])

    def _named(self, check: Callable[[str], Name], folder: str, name: str, text: str) -> Name:
        try:
            return check(text)
        except UsageError as exc:
            where = self._source.where(f"{folder}/{name}")
            raise ConfigError(f"{where}:1: {exc.brief}", resolution=exc.resolution or "rename or remove the file") from exc
