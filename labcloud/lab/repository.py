"""The lab repository: what is wanted, as files that people read, each change one commit. Knows nothing of what exists.

::

    HOME/lab-id                   which lab this is: labels carry it, so that two labs on one engine never mix
    HOME/lab/                     a git repository
        tenants/T.yaml            the tenant T
        clusters/T/C.yaml         the cluster T/C
        datasets/D.yaml           the shared dataset D; its bytes are elsewhere
        prices.yaml               what resources cost, for bills; may be missing
        base/                     configuration that all nodes share; mounted read-only, so readable to all
    HOME/rendered  journal  cache  locks     others' folders
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from labcloud.errors import ConfigError, ConflictError, UsageError
from labcloud.lab import files
from labcloud.lab.datasets import dataset_document, read_dataset
from labcloud.lab.documents import cluster_document, dump, read_cluster
from labcloud.lab.edit import update
from labcloud.lab.history import History
from labcloud.lab.locks import lab_lock
from labcloud.lab.prices import read_prices
from labcloud.lab.tenants import free_id, free_subnet, numbered, read_tenant, tenant_document
from labcloud.model import Cluster, ClusterRef, Tenant, cluster_name, tenant_name
from labcloud.model.dataset import NEWEST, Dataset, check_unused, dataset_name
from labcloud.model.prices import PriceBook

Name = TypeVar("Name")
Wanted = TypeVar("Wanted", Cluster, Tenant, Dataset)

_BASHRC = """\
# Read by every interactive shell on every node of this lab. Edit it here; running nodes see the change at once.
shopt -s checkwinsize histappend
HISTCONTROL=ignoreboth
PS1='\\u@\\h:\\w\\$ '
alias ll='ls -l'
alias hls='hdfs dfs -ls'
# What labcloud has to say to the people here, as that a lease ends: until when it is true (seconds since 1970), then a line of text.
if [ -t 1 ] && read -r _until _text 2>/dev/null </run/labcloud/notice; then
    if [ "$_until" -gt "$(date +%s)" ] 2>/dev/null; then printf '%s\\n' "$_text"; fi
    unset _until _text
fi
"""


def home() -> Path:
    """Where a lab is kept: LABCLOUD_HOME, else /var/lib/labcloud for root, else the user's data folder."""
    said = os.environ.get("LABCLOUD_HOME")
    if said:
        return Path(said).expanduser().absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/labcloud")
    data = os.environ.get("XDG_DATA_HOME", "")
    return (Path(data) if data.startswith("/") else Path.home() / ".local" / "share") / "labcloud"


class Lab:
    """What is wanted in the lab at ``home``. Reading takes no lock and writes nothing; the first change makes the repository.

    All methods raise ConfigError (with file and line) for a file that is wrong, EngineError for what the disk or git refuses.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._folder = home / "lab"
        self._history = History(self._folder)

    @property
    def id(self) -> str:
        """This lab's identity for life, 8 characters; made when it is first asked for."""
        path = self.home / "lab-id"
        with files.disk_errors(f"read {path}"):
            if not path.exists():
                files.make_private(self.home)
                files.create_once(path, secrets.token_hex(4) + "\n")
            found = path.read_text(encoding="utf-8", errors="replace").strip()
        if not re.fullmatch(r"[0-9a-z]{8}", found):
            raise ConfigError(
                f"{path}:1: this is not a lab's identity", resolution="restore the file: without it labcloud does not find its nodes"
            )
        return found

    @property
    def base(self) -> Path:
        """The folder of the shared base configuration. It exists after the first change."""
        return self._folder / "base"

    # What is wanted

    def cluster(self, ref: ClusterRef) -> Cluster | None:
        path = self._cluster_path(ref)
        text = _text(path)
        return None if text is None else read_cluster(text, ref, path)

    def refs(self, tenant: str | None = None) -> list[ClusterRef]:
        """The names of all wanted clusters, or one tenant's, in order."""
        names = [tenant] if tenant else [_named(tenant_name, path, path.name) for path in _listed(self._folder / "clusters")]
        return sorted(
            ClusterRef(owner, _named(cluster_name, path, path.stem))
            for owner in names
            for path in _listed(self._folder / "clusters" / owner)
            if path.suffix == ".yaml"
        )

    def clusters(self, tenant: str | None = None) -> list[Cluster]:
        """All wanted clusters, or one tenant's, by name."""
        return [cluster for ref in self.refs(tenant) if (cluster := self.cluster(ref))]

    def changed(self, ref: ClusterRef) -> datetime | None:
        """When what is wanted of a cluster was last written; None if it is not wanted."""
        try:
            return datetime.fromtimestamp(self._cluster_path(ref).stat().st_mtime, UTC)
        except FileNotFoundError:
            return None

    def removed(self, ref: ClusterRef) -> datetime | None:
        """When a cluster was last not wanted any more; None if no commit says so."""
        return self._history.removed(self._cluster_path(ref))

    def prices(self) -> PriceBook | None:
        """What resources cost, if the lab says so."""
        path = self._folder / "prices.yaml"
        text = _text(path)
        return None if text is None else read_prices(text, path)

    def tenant(self, name: str, *, profiles: Collection[str] | None = None) -> Tenant | None:
        """The tenant ``name``. With the names of all ``profiles`` it is checked whole: its limits, and against the other tenants."""
        path = self._tenant_path(name)
        text = _text(path)
        if text is None:
            return None
        others = [each for each in self.tenants() if each.name != name] if profiles is not None else []
        return read_tenant(text, name, path, profiles=profiles, others=others)

    def tenants(self) -> list[Tenant]:
        """All tenants, by name."""
        paths = [path for path in _listed(self._folder / "tenants") if path.suffix == ".yaml"]
        found = [self.tenant(_named(tenant_name, path, path.stem)) for path in paths]
        return sorted((tenant for tenant in found if tenant), key=lambda tenant: tenant.name)

    def dataset(self, name: str) -> Dataset | None:
        path = self._dataset_path(name)
        text = _text(path)
        return None if text is None else read_dataset(text, name, path)

    def datasets(self) -> dict[str, Dataset]:
        """All shared datasets, by name, in order."""
        paths = [path for path in _listed(self._folder / "datasets") if path.suffix == ".yaml"]
        found = [self.dataset(_named(dataset_name, path, path.stem)) for path in paths]
        return {each.name: each for each in sorted(filter(None, found), key=lambda each: each.name)}

    def users_of(self, name: str, number: int = NEWEST) -> list[ClusterRef]:
        """The clusters that want a version of the dataset ``name``, or any of its versions."""
        return [each.ref for each in self.clusters() if name in each.datasets and number in (NEWEST, each.datasets[name])]

    # Changing it

    def ensure_tenant(self, name: str) -> Tenant:
        """The tenant ``name``, with the lowest free user id if it is new."""
        there = self.tenant(name)
        if there:
            return there
        try:
            return self.create_tenant(Tenant(name, 0), f"create the tenant {name}")
        except ConflictError:  # somebody was quicker
            there = self.tenant(name)
            if there is None:
                raise
            return there

    def create_tenant(self, tenant: Tenant, reason: str) -> Tenant:
        """Declare ``tenant``, as one commit with ``reason``; who has the user id 0 gets the lowest free one. Returns it as it is declared.

        Raise ConflictError if there is one of that name, UsageError if its subnet or an id is another tenant's.
        """
        path = self._tenant_path(tenant.name)
        with self._changing(reason) as commit:
            if path.exists():
                raise ConflictError(f"the tenant {tenant.name} exists already", resolution=f"change it: labcloud tenant set {tenant.name}")
            created = self._numbered(tenant)
            self._write(path, dump(tenant_document(created)))
            commit(path)
        return created

    def save_tenant(self, tenant: Tenant, reason: str) -> bool:
        """Make the repository want ``tenant``, as one commit with ``reason``. Returns whether that changed anything.

        Members with the user id 0 get the lowest free one. Comments in the file are kept. Raise UsageError if its subnet or an id is
        another tenant's.
        """
        path = self._tenant_path(tenant.name)
        with self._changing(reason) as commit:
            saved = self._numbered(tenant)
            text = _text(path)
            if text is not None and _or_broken(lambda: read_tenant(text, tenant.name, path)) == saved:
                return False
            self._write(path, _rewritten(text, tenant_document(saved)))
            commit(path)
        return True

    def remove_tenant(self, name: str, reason: str) -> bool:
        """Want the tenant ``name`` no longer, as one commit with ``reason``. Returns whether it was wanted.

        Raise ConflictError if it has clusters.
        """
        path = self._tenant_path(name)
        with self._changing(reason) as commit:
            clusters = self.clusters(name)
            if clusters:
                raise ConflictError(
                    f"the tenant {name} has {len(clusters)} clusters: {', '.join(each.ref.name for each in clusters)}",
                    resolution=f"delete them first: labcloud delete {' '.join(str(each.ref) for each in clusters)}",
                )
            if not path.exists():
                return False
            path.unlink()
            commit(path)
        return True

    def _numbered(self, tenant: Tenant) -> Tenant:
        others = [each for each in self.tenants() if each.name != tenant.name]
        if tenant.subnet:
            free_subnet(tenant.subnet, others)
        for number in tenant.user_ids - {0}:
            free_id(number, others)
        taken = {number for each in others for number in each.user_ids}
        return numbered(tenant, taken | {each.user_id for each in self.clusters() if each.ref.tenant != tenant.name})

    def save(self, cluster: Cluster, reason: str, *, admit: Callable[[Sequence[Cluster]], None] | None = None) -> bool:
        """Make the repository want ``cluster``, as one commit with ``reason``. Returns whether that changed anything.

        ``admit`` is called with all clusters that are wanted while nobody else can change them, and refuses by raising: what is
        declared is reserved, so of two that are declared at once for the last free place only one comes through. Comments in a
        file that exists are kept.
        """
        path = self._cluster_path(cluster.ref)
        document = cluster_document(cluster)
        if self._wants(path, cluster):
            return False
        with self._changing(reason) as commit:
            if self._wants(path, cluster):
                return False
            if admit is not None:
                admit(self.clusters())
            self._write(path, _rewritten(_text(path), document))
            commit(path)
        return True

    def remove(self, ref: ClusterRef, reason: str) -> bool:
        """Want the cluster ``ref`` no longer, as one commit with ``reason``. Returns whether it was wanted."""
        path = self._cluster_path(ref)
        if not path.exists():
            return False
        with self._changing(reason) as commit:
            if not path.exists():
                return False
            path.unlink()
            commit(path)
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
        return True

    def save_dataset(self, dataset: Dataset, reason: str) -> bool:
        """Make the repository want ``dataset``, as one commit with ``reason``. Returns whether that changed anything.

        Raise ConflictError if it takes away a version that a cluster uses, or the access of a tenant whose cluster uses it.
        """
        path = self._dataset_path(dataset.name)
        with self._changing(reason) as commit:
            text = _text(path)
            if text is not None and _or_broken(lambda: read_dataset(text, dataset.name, path)) == dataset:
                return False
            numbers = {each.number for each in dataset.versions}
            for cluster in self.clusters():
                number = cluster.datasets.get(dataset.name)
                if number is not None and (number not in numbers or not dataset.open_to(cluster.ref.tenant)):
                    check_unused(dataset.name, number, [cluster.ref])
            self._write(path, _rewritten(text, dataset_document(dataset)))
            commit(path)
        return True

    def remove_dataset(self, name: str, reason: str) -> bool:
        """Want the dataset ``name`` no longer, as one commit with ``reason``. Returns whether it was wanted.

        Raise ConflictError if a cluster uses it.
        """
        path = self._dataset_path(name)
        with self._changing(reason) as commit:
            check_unused(name, NEWEST, self.users_of(name))
            if not path.exists():
                return False
            path.unlink()
            commit(path)
        return True

    # Inside

    def _dataset_path(self, name: str) -> Path:
        return self._folder / "datasets" / f"{dataset_name(name)}.yaml"

    def _cluster_path(self, ref: ClusterRef) -> Path:
        return self._folder / "clusters" / tenant_name(ref.tenant) / f"{cluster_name(ref.name)}.yaml"

    def _tenant_path(self, name: str) -> Path:
        return self._folder / "tenants" / f"{tenant_name(name)}.yaml"

    def _wants(self, path: Path, cluster: Cluster) -> bool:
        """Whether the file says just that already."""
        text = _text(path)
        return text is not None and _or_broken(lambda: read_cluster(text, cluster.ref, path)) == cluster

    @contextmanager
    def _changing(self, reason: str) -> Iterator[Callable[[Path], None]]:
        """Hold the lab for one change; what a broken-off run left is committed first. Gives what commits a path."""
        with lab_lock(self.home) as lock, files.disk_errors(f"change the lab repository {self._folder}"):
            if self._history.begun:
                self._history.heal(reason, lock)
            else:
                self._begin(lock)
            yield lambda path: self._history.commit(path, reason, lock)

    def _begin(self, lock: int) -> None:
        files.make_private(self.home)
        self._history.begin(lock)
        self.base.mkdir(exist_ok=True)
        self.base.chmod(0o755)
        bashrc = self.base / "bashrc"
        if not bashrc.exists():
            files.replace(bashrc, _BASHRC, mode=0o644, scratch=self._history.scratch)
        self._history.finish("begin the lab repository", lock)

    def _write(self, path: Path, text: str) -> None:
        files.make_private(path.parent)
        files.replace(path, text, scratch=self._history.scratch)


def _rewritten(text: str | None, document: dict[str, Any]) -> str:
    return dump(document) if text is None else update(text, document)


def _or_broken(read: Callable[[], Wanted]) -> Wanted | None:
    """What ``read`` returns; None for a file that is broken, which is written anew."""
    try:
        return read()
    except ConfigError:
        return None


def _text(path: Path) -> str | None:
    """What the file says; None if there is none."""
    with files.disk_errors(f"read {path}"):
        try:
            return path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except UnicodeDecodeError as exc:
            line = exc.object[: exc.start].count(b"\n") + 1
            raise ConfigError(
                f"{path}:{line}: this is not UTF-8 text", resolution="correct the file, then run the same command again"
            ) from exc


def _listed(folder: Path) -> list[Path]:
    with files.disk_errors(f"read {folder}"):
        try:
            return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        except (FileNotFoundError, NotADirectoryError):
            return []


def _named(check: Callable[[str], Name], path: Path, text: str) -> Name:
    try:
        return check(text)
    except UsageError as exc:
        raise ConfigError(f"{path}:1: {exc.brief}", resolution=exc.resolution or "rename or remove the file") from exc
