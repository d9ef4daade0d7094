"""The lab repository: what is wanted, as files that people read, each change one commit. Knows nothing of what exists.

::

    HOME/lab-id                   which lab this is: labels carry it, so that two labs on one engine never mix
    HOME/lab/                     a git repository
        tenants/T.yaml            the tenant T
        clusters/T/C.yaml         the cluster T/C
        datasets/D.yaml           the shared dataset D; its bytes are elsewhere
        storage.yaml              where data volumes lie, by storage class; may be missing
        backup.yaml               how clusters are protected, and where runs report to; may be missing
        prices.yaml               what resources cost, for bills; may be missing
        bindings/NAME.yaml        configuration of the nodes for which an expression holds
        files/                    texts that nodes get as files
        review.yaml               what must be reviewed before it is changed; may be missing
        base/                     configuration that all nodes share; mounted read-only, so readable to all
    HOME/rendered  journal  cache  locks     others' folders
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from labcloud.errors import ConfigError, ConflictError, LabError
from labcloud.lab import files, readers
from labcloud.lab.datasets import dataset_document, read_dataset
from labcloud.lab.documents import cluster_document, dump, read_cluster
from labcloud.lab.edit import update
from labcloud.lab.history import SHORT, Change, Commit, History
from labcloud.lab.lastgood import Broken, LastGood
from labcloud.lab.past import older, previous, restored
from labcloud.lab.places import BACKUP, STORAGE, cluster_path, dataset_path, inputs, prefix, tenant_path
from labcloud.lab.proposals import Proposals
from labcloud.lab.protection import LabBackup, backup_document
from labcloud.lab.reading import Reading
from labcloud.lab.sources import Overlay, Revision, WorkTree
from labcloud.lab.storage import storage_document
from labcloud.lab.tenants import free_id, free_subnet, numbered, read_tenant, tenant_document
from labcloud.lab.writing import Texts, Writer
from labcloud.model import Cluster, ClusterRef, Tenant
from labcloud.model.dataset import NEWEST, Dataset, check_covers, check_unused
from labcloud.model.protection import NO_TERMS, BackupPolicy, Explained, explain, resolve
from labcloud.model.storage import Classes, storage_class

Value = TypeVar("Value")

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


class Lab(Reading):
    """What is wanted in the lab at ``home``. Reading takes no lock and writes nothing; the first change makes the repository.

    A file that is wrong is read as its newest revision that is not, and noted in `broken`; it cannot be changed until it is corrected.
    All methods raise ConfigError (with file and line) for a file that never was right, EngineError for what the disk or git refuses.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._folder = home / "lab"
        self._history = History(self._folder)
        source = WorkTree(self._folder)
        super().__init__(source)
        self._last_good = LastGood(self._history, source)
        self._writer = Writer(home, self._history, self._last_good, self._begin)

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

    # What is wanted, now and before: reading is `Reading`'s

    @property
    def broken(self) -> list[Broken]:
        """The files that were found broken so far: what they last said well was taken for what is wanted."""
        return self._last_good.broken

    def changed(self, ref: ClusterRef) -> datetime | None:
        """When what is wanted of a cluster was last written; None if it is not wanted."""
        try:
            return datetime.fromtimestamp(self._cluster_path(ref).stat().st_mtime, UTC)
        except FileNotFoundError:
            return None

    def removed(self, ref: ClusterRef) -> datetime | None:
        """When a cluster was last not wanted any more; None if no commit says so."""
        return self._history.removed(self._cluster_path(ref))

    def revision(self) -> str:
        """The revision that is committed now, in full; empty before the first change."""
        return self._history.head()

    def at(self, revision: str) -> Reading:
        """The lab as it was at a revision, to be read like this one. Raise NotFoundError if there is no such revision."""
        return Reading(Revision(self._history, self._history.resolve(revision)))

    def log(self, paths: Iterable[str] = (), limit: int | None = None) -> list[Change]:
        """The commits that changed one of ``paths`` (files or folders; all where none is named), newest first; at most ``limit``."""
        return self._history.log([path.rstrip("/") for path in paths], limit)

    def inputs(self, ref: ClusterRef) -> tuple[str, ...]:
        """What says how a cluster is configured: files, and folders with all that is in them."""
        return inputs(ref)

    def diff(self, old: str, new: str, paths: Sequence[str] = (), *, colour: bool = False) -> str:
        """The difference of two revisions in ``paths``, as unified text. Raise NotFoundError if there is no such revision."""
        return self._history.diff(self._history.resolve(old), self._history.resolve(new), paths, colour=colour)

    def resolve(self, revision: str) -> str:
        """The full name of the commit that ``revision`` names: a hash, a beginning of one, ``HEAD~2``, a tag. Raise NotFoundError."""
        return self._history.resolve(revision)

    def older(self, path: str, revision: str) -> str | None:
        """What a file should say to have its configuration of a revision again (`labcloud.lab.past.older`); None if it was not there."""
        return older(self._history, self, path, self._history.resolve(revision))

    def previous(self, path: str) -> str:
        """The newest revision at which the configuration in a file was another, and read well. Raise NotFoundError if there is none."""
        return previous(self._history, self, path)

    def fault(self, path: str) -> Broken | None:
        """What is wrong in a file, and which revision of it is in force; None for one that reads well, or never did."""
        with suppress(LabError):
            self._value(path, lambda text, where: readers.check(path, text, where))
        return next((each for each in self.broken if each.path == path), None)

    def backup_policy(self, ref: ClusterRef) -> BackupPolicy:
        """How a cluster is protected, or was: of one that is not wanted any more, what its tenant and the lab say."""
        return self.explained_backup(ref=ref).policy

    def policy_of(self, cluster: Cluster) -> BackupPolicy:
        """How ``cluster`` is protected as soon as it is declared."""
        return resolve(*self.backup_layers(cluster.ref.tenant).values(), cluster.backup, home=self.home)

    def backup_policies(self, tenant: str | None = None) -> dict[ClusterRef, BackupPolicy]:
        """How each wanted cluster is protected, or each of a ``tenant``'s; every file is read once."""
        lab, tenants = self.backup().terms, {each.name: each.backup for each in self.tenants()}
        return {
            each.ref: resolve(lab, tenants.get(each.ref.tenant, NO_TERMS), each.backup, home=self.home) for each in self.clusters(tenant)
        }

    def explained_backup(self, tenant: str | None = None, ref: ClusterRef | None = None) -> Explained:
        """How all clusters, a ``tenant``'s, or the cluster ``ref`` are protected, and which file says each key of it."""
        return explain(self.backup_layers(tenant, ref), home=self.home)

    def proposals(self) -> Proposals:
        """What is proposed and not decided."""
        return Proposals(self._history, self._writer)

    def _value(self, path: str, read: Callable[[str, Path], Value]) -> Value | None:
        try:
            value = super()._value(path, read)
        except ConfigError as exc:
            return self._last_good.value(path, read, exc)
        self._last_good.sound(path)
        return value

    # Changing it

    def mend(self) -> None:
        """Take back what a change left that was killed while it wrote several files, so that nobody reads half of it.

        Raise EngineError if this user may not, DeadlineError if somebody has been changing the lab for half a minute.
        """
        self._writer.mend()

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
            text = self._writer.now(tenant_path(tenant.name))
            if text is not None and read_tenant(text, tenant.name, path) == saved:
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
            if self._writer.now(tenant_path(name)) is None:
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
        if self._wants(cluster):
            return False
        with self._changing(reason) as commit:
            if self._wants(cluster):
                return False
            if admit is not None:
                admit(self.clusters())
            self._write(path, _rewritten(self._writer.now(cluster_path(cluster.ref)), document))
            commit(path)
        return True

    def remove(self, ref: ClusterRef, reason: str) -> bool:
        """Want the cluster ``ref`` no longer, as one commit with ``reason``. Returns whether it was wanted."""
        path = self._cluster_path(ref)
        if not path.exists():
            return False
        with self._changing(reason) as commit:
            if self._writer.now(cluster_path(ref)) is None:
                return False
            path.unlink()
            commit(path)
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
        return True

    def save_dataset(self, dataset: Dataset, reason: str) -> bool:
        """Make the repository want ``dataset``, as one commit with ``reason``. Returns whether that changed anything.

        Raise NotFoundError for a new one of a storage class that the lab has not, ConflictError if it takes away a version that a
        cluster uses, or the access of a tenant whose cluster uses it. Comments in the file are kept.
        """
        path = self._dataset_path(dataset.name)
        with self._changing(reason) as commit:
            text = self._writer.now(dataset_path(dataset.name))
            if text is not None and read_dataset(text, dataset.name, path) == dataset:
                return False
            if text is None and dataset.storage:
                storage_class(self.storage(), dataset.storage)
            check_covers(dataset, self.clusters())
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
            if self._writer.now(dataset_path(name)) is None:
                return False
            path.unlink()
            commit(path)
        return True

    def change(
        self, texts: Texts, reason: str | Commit, *, base: str | Texts | None = None, check: Callable[[Reading], None] = lambda _: None
    ) -> str:
        """Make several files say, or not be (None), what ``texts`` has, as one commit. Returns the revision that is committed then.

        ``base`` is the revision, or the texts, from which they were made: what others changed meanwhile is merged. ``check`` sees the
        lab as it would be, while nobody else can change it, and refuses by raising. Raise ConflictError, and change nothing, if
        somebody changed the same lines; ConfigError for a text that cannot stand there.
        """
        commit = reason if isinstance(reason, Commit) else Commit(reason)
        with self._writer.hold(commit.title, seen=base if isinstance(base, Mapping) else {}) as lock:
            wanted = self._writer.prepared(texts, base)
            check(Reading(Overlay(self._source, wanted)))
            return self._writer.put(wanted, commit, lock)

    def restore(self, paths: Iterable[str], revision: str, reason: str) -> str:
        """Make ``paths`` (files or folders) what they were at a revision, as one commit. Returns the revision that is committed then.

        What was not there is removed. A broken text is kept in the history. Raise NotFoundError if there is no such revision,
        ConfigError for a text that cannot be read any more.
        """
        wanted = [prefix(path) for path in paths]
        old = self._history.resolve(revision)
        with self._writer.hold(reason, given_up=wanted) as lock:
            contents = restored(self._history, old, wanted)
            for path, content in contents.items():
                if content is not None and readers.reader(path):
                    readers.check(path, content.decode(errors="replace"), Path(f"{old[:SHORT]}:{path}"))
            return self._writer.put(contents, Commit(reason), lock)

    def change_storage(self, change: Callable[[Classes, Sequence[Cluster]], Classes], reason: str) -> bool:
        """Make the storage classes what ``change`` gives for those that there are, as one commit with ``reason``.

        It is called with them and all clusters while nobody else can change either, and refuses by raising. Returns whether that
        changed anything. Comments in the file are kept.
        """

        def wanted() -> dict[str, Any] | None:
            there = self.storage()
            new = change(there, self.clusters())
            return None if new == there else storage_document(new)

        return self._change_file(STORAGE, wanted, reason)

    def change_backup(self, change: Callable[[LabBackup], LabBackup], reason: str) -> bool:
        """Make ``backup.yaml`` say what ``change`` gives for what it says now, as `change_storage` does."""

        def wanted() -> dict[str, Any] | None:
            there = self.backup()
            new = change(there)
            return None if new == there else backup_document(new)

        return self._change_file(BACKUP, wanted, reason)

    # Inside

    def _change_file(self, name: str, wanted: Callable[[], dict[str, Any] | None], reason: str) -> bool:
        """Make a file of the lab say what ``wanted`` gives, or not be where that is nothing; None leaves it. Returns whether it changed."""
        path = self._folder / name
        with self._changing(reason) as commit:
            text = self._writer.now(name)
            document = wanted()
            if document is None:
                return False
            if document:
                self._write(path, _rewritten(text, document))
            else:
                path.unlink()
            commit(path)
        return True

    def _dataset_path(self, name: str) -> Path:
        return self._folder / dataset_path(name)

    def _cluster_path(self, ref: ClusterRef) -> Path:
        return self._folder / cluster_path(ref)

    def _tenant_path(self, name: str) -> Path:
        return self._folder / tenant_path(name)

    def _wants(self, cluster: Cluster) -> bool:
        """Whether its file says just that already. Raise ConfigError for one that is broken: nobody's edit is lost."""
        text = self._writer.now(cluster_path(cluster.ref))
        return text is not None and read_cluster(text, cluster.ref, self._cluster_path(cluster.ref)) == cluster

    @contextmanager
    def _changing(self, reason: str) -> Iterator[Callable[[Path], None]]:
        """Hold the lab for one change; what a broken-off run left is committed first. Gives what commits a path."""
        with self._writer.hold(reason) as lock:
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
        self._writer.write(path, text)


def _rewritten(text: str | None, document: dict[str, Any]) -> str:
    return dump(document) if text is None else update(text, document)
