"""The verbs of backups: make one, list them, check a repository, let old ones go. Restoring is `labcloud.protect.restoring`'s.

A backup is a snapshot that restic stores elsewhere, with all that is needed to bring it back::

    manifest.json        what it says of itself
    files.json.gz        what HDFS had, with its checksums, as far as that did not change meanwhile
    NODE/N/…             the data volumes

The repository says which copies there are; when one was verified or drilled stands in the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final, Literal

from labcloud.apply.journal import Event as Noted
from labcloud.apply.journal import Operation
from labcloud.apply.verbs import Terms
from labcloud.apply.watch import Deadline, Event, Kind
from labcloud.errors import LabError, UsageError
from labcloud.lab.locks import backup_lock
from labcloud.model import Cluster, ClusterRef, NodeRef, Status, format_bytes
from labcloud.model.periods import stamp
from labcloud.model.protection import BackupPolicy
from labcloud.model.snapshot import snapshot_time
from labcloud.protect.answers import Copy, Kept, Progress, Stored, Verdict
from labcloud.protect.calling import Watcher
from labcloud.protect.complaints import FullError, NoRepositoryError
from labcloud.protect.contents import Contents, describe
from labcloud.protect.listing import CopyView, size, view
from labcloud.protect.manifest import NAME, Manifest, Origin
from labcloud.protect.notes import DAMAGED, DRILLED, GOOD, MADE, UNCHECKED, VERIFIED, checks
from labcloud.protect.remembered import Remembered
from labcloud.protect.restic import CONSISTENT, INCONSISTENT, Repository, Upload
from labcloud.protect.snapshots import Snapshots
from labcloud.protect.staging import Tree
from labcloud.protect.targets import Secrets, Target, default_target
from labcloud.protect.vaults import Store, Vault
from labcloud.providers.base import Provider
from labcloud.services.hadoop import Hadoop

CONTENTS: Final = "files.json.gz"
_LEAST_ROOM: Final = 64 * 2**20
_PATIENCE: Final = 60.0  # of who deletes old snapshots, while others change the cluster
TAG: Final = "labcloud"

Events = Iterable[tuple[str, Noted]]
"""Events of the journal, with their targets."""


@dataclass(frozen=True)
class Backup:
    """A backup that was made. ``pause`` is for how many seconds services stood still; ``warning`` is for people."""

    ref: ClusterRef
    copy: str
    stored: Stored
    consistent: bool
    pause: float
    warning: str = ""


@dataclass(frozen=True)
class Making:
    """What a backup is made with."""

    wanted: Cluster
    policy: BackupPolicy
    hadoop: Hadoop
    provider: Provider
    repository: Store
    operation: Operation


class Backups(Snapshots):
    """The verbs, for one lab."""

    # Where

    def repository(self, tenant: str, policy: BackupPolicy | None = None) -> Store:
        """The tenant's repository, by its policy or by that of one of its clusters; or what an engine's own service keeps of it."""
        asked = policy or self._lab.explained_backup(tenant).policy
        target = Target.parse(asked.target)
        if target.engine:
            return self._vault(tenant, target)
        kept = Secrets(self._lab.home)
        credentials = kept.credentials(asked.credentials) if asked.credentials else {}
        if target.directory == self._lab.home / "backups":
            default_target(self._lab.home)
        return Repository(
            target.of(tenant),
            kept.password_file(tenant),
            credentials,
            cache=self._lab.home / "cache" / "restic",
            watcher=self._watcher(tenant),
        )

    def _vault(self, tenant: str, target: Target) -> Vault:
        return Vault(target, self._provider(target.engine), tenant, Remembered(self._lab.home).load)

    def _watcher(self, subject: str) -> Watcher:
        return Watcher(
            stop=self._watch.check, pause=self._watch.pause, tell=lambda text: self._watch.tell(Event(subject, Kind.WAITING, text))
        )

    # Making one

    def back_up(self, ref: ClusterRef, terms: Terms, *, limit: float = 24 * 3600.0) -> Backup:
        """Make a backup of the cluster, which goes on working, and let those go that its policy keeps no longer.

        Raise ConflictError if the repository or another backup of it is busy for long, EngineError if the target has no room for it.
        A copy that is not consistent is stored, and marked so. What old copies and snapshots could not go is a warning.
        """
        with self._backing_up(ref, terms), self._journal.operation("backup", str(ref), {}) as operation:
            wanted, profile, provider = self._known(ref)
            policy = self._lab.backup_policy(ref)
            engine = Target.parse(policy.target).engine
            if engine not in ("", wanted.provider):
                raise UsageError(
                    f"{ref} is on {wanted.provider}, and its backups shall be kept by {engine}",
                    resolution=f"choose another target: labcloud backup policy set {ref} target=…",
                )
            making = Making(wanted, policy, Hadoop(provider, wanted, profile), provider, self.repository(ref.tenant, policy), operation)
            left = ""
            try:
                manifest, stored = self._stored(making, terms, limit)
            finally:  # a target that is out of reach for weeks must not fill the cluster's own disks
                left = self._tidied("an old snapshot is still there", lambda: self._let_go(ref, policy.keep_snapshots, terms))
            if not policy.keep.keeps_nothing:  # then it takes a `prune` that somebody confirms
                retain = partial(making.repository.retain, policy.keep, host=str(ref), copies=stored.copies)
                left = self._tidied("old copies are still there", retain) or left
            warning = _warning(manifest, making.repository.target, self._lab.home) or left
            return Backup(ref, stored.id, stored, manifest.consistent, manifest.pause, warning)

    @contextmanager
    def _backing_up(self, ref: ClusterRef, terms: Terms) -> Iterator[None]:
        def waiting(text: str) -> None:
            self._watch.tell(Event(str(ref), Kind.WAITING, text))

        with backup_lock(self._lab.home, ref, verb="backup", timeout=terms.timeout, waiting=waiting, pause=self._watch.pause):
            terms.still()
            yield

    def _stored(self, making: Making, terms: Terms, limit: float) -> tuple[Manifest, Stored]:
        wanted, policy, repository, remembered = making.wanted, making.policy, making.repository, Remembered(self._lab.home)
        parent = self._parent(repository, wanted)
        manifest, contents = self._described(making, self._known_contents(repository, wanted.ref, parent), terms)
        if isinstance(repository, Vault):
            stored = repository.keep(manifest, _tags(manifest))
        else:
            _check_room(repository, manifest, parent)
            stored = repository.backup(
                _upload(manifest, contents, making.provider, parent),
                stage=self._lab.home / "stage",
                progress=self._progress(wanted.ref, "stored"),
                limit=limit,
            )
        making.operation.event(
            MADE, copy=stored.id, cluster_id=wanted.id, snapshot=manifest.id, taken=stamp(manifest.taken),
            consistent=manifest.consistent, why=manifest.why, bytes=manifest.size, bytes_added=stored.bytes_added,
            pause_seconds=round(manifest.pause, 3), described=len(contents.entries), skipped=contents.skipped,
            target=policy.target, env=policy.credentials,  # by a name that the journal does not take for a secret
        )  # fmt: skip
        remembered.keep(wanted.ref, stored.id, contents)
        return manifest, stored

    def _parent(self, repository: Store, wanted: Cluster) -> Copy | None:
        """The copy to compare with: the newest of this cluster, not of a former one of its name. The repository is made if need be."""
        try:
            return next(iter(repository.copies(str(wanted.ref), (f"id={wanted.id}",))), None)
        except NoRepositoryError:
            repository.ensure()
            return None

    def _known_contents(self, repository: Store, ref: ClusterRef, parent: Copy | None) -> Contents | None:
        if parent is None:
            return None
        known = Remembered(self._lab.home).load(ref, parent.id)
        if known is None:
            with suppress(LabError):  # then everything is asked anew
                known = Contents.load(repository.dump(parent.id, CONTENTS))
        return known

    def _tidied(self, what: str, tidy: Callable[[], object]) -> str:
        """Tidy up after a backup, which is good whatever comes of that. Returns what to tell people of it."""
        try:
            tidy()
        except LabError as exc:
            return f"{what}: {exc.brief}"
        return ""

    def _described(self, making: Making, known: Contents | None, terms: Terms) -> tuple[Manifest, Contents]:
        """Take the snapshot, and note what HDFS has around it. Of a cluster that is stopped nobody can tell: files may have changed since
        the last copy."""

        def take() -> Manifest:
            return self.take(making.wanted.ref, terms, origin=Origin.BACKUP)

        if any(node.status is Status.RUNNING for node in making.provider.find(cluster=making.wanted.ref).nodes):
            return describe(making.hadoop, take, known)
        return take(), Contents(why="the cluster did not run")

    def _progress(self, ref: ClusterRef, done: str) -> Callable[[Progress], None]:
        return Telling(lambda text: self._watch.tell(Event(str(ref), Kind.WAITING, text)), done)

    def _let_go(self, ref: ClusterRef, keep: int, terms: Terms) -> None:
        """Delete automatic snapshots but the newest ``keep`` that are consistent, and as many of what restores replaced; those of hand
        and of birth stay. Those from the future, taken while the clock was wrong, go first: they would outlive all others."""
        now, gone = datetime.now(UTC), []
        views = sorted(self.list(ref), key=lambda each: snapshot_time(each.id) <= now)
        for origin in (Origin.BACKUP, Origin.SAFETY):
            automatic = [each for each in views if each.origin == origin]
            good = [each.id for each in automatic if each.state == CONSISTENT]
            kept = good[max(0, len(good) - keep) :]
            gone += [each.id for each in automatic if each.id not in kept]
        if gone:
            self.drop(ref, gone, Terms(min(terms.timeout, _PATIENCE)))

    # Looking

    def copies(self, ref: ClusterRef | None = None, tenant: str | None = None) -> list[CopyView]:
        """Every backup of one cluster, of a tenant's clusters, or of all, by cluster, the oldest first; deleted clusters' as well."""
        tenants = [ref.tenant if ref else tenant] if ref or tenant else [each.name for each in self._lab.tenants()]
        events = tuple(self._journal.events(MADE, VERIFIED, DRILLED))
        found = [copy for each in tenants for copy in self._copies(str(each), ref, events)]
        verified, drilled = (checks(each for each in events if each[1].kind == kind) for kind in (VERIFIED, DRILLED))
        views = [view(copy, verified.get(copy.id, UNCHECKED), drilled.get(copy.id, UNCHECKED)) for copy in found]
        return sorted(views, key=lambda view: (view.tenant, view.name, view.time))

    def _copies(self, tenant: str, ref: ClusterRef | None, events: Events) -> list[Copy]:
        """The copies in a tenant's repositories; none where there is no repository yet."""
        found: dict[str, Copy] = {}
        for repository in self.repositories(tenant, ref, events):
            with suppress(NoRepositoryError):
                found |= {each.id: each for each in repository.copies(str(ref) if ref else None, (TAG,))}
        return list(found.values())

    def repositories(self, tenant: str, ref: ClusterRef | None = None, events: Events | None = None) -> list[Store]:
        """Where a tenant's backups may lie, or those of its cluster ``ref``: each target that a policy names, once. ``events`` are what the
        journal tells of backups that were made, where that was just read."""
        own = (
            [self.policy_of(ref, events)] if ref else [*self._former(tenant, events).values(), *self._lab.backup_policies(tenant).values()]
        )
        policies = {each.target: each for each in (self._lab.explained_backup(tenant).policy, *own)}
        return [self.repository(tenant, each) for each in policies.values()]

    def policy_of(self, ref: ClusterRef, events: Events | None = None) -> BackupPolicy:
        """The policy of a cluster; of one that was deleted, with the target that its own had. ``events`` as for `repositories`."""
        former = None if self._lab.cluster(ref) else self._former(ref.tenant, events).get(ref)
        return former or self._lab.backup_policy(ref)

    def _former(self, tenant: str, events: Events | None) -> dict[ClusterRef, BackupPolicy]:
        """The policies by which clusters of a tenant were backed up that are deleted: where their copies lie the journal knows alone."""
        found, common = {}, self._lab.explained_backup(tenant).policy
        for subject, event in self._journal.events(MADE) if events is None else events:
            target, credentials = event.details.get("target", ""), event.details.get("env", "")
            if event.kind == MADE and target and subject.startswith(f"{tenant}/") and Secrets(self._lab.home).has(credentials):
                found[ClusterRef.parse(subject)] = replace(common, target=target, credentials=credentials)
        return {ref: policy for ref, policy in found.items() if self._lab.cluster(ref) is None}

    # Checking and letting go

    def verify(
        self, tenant: str, read: tuple[int, int] | Literal["all"] | None, *, mend: bool = False, limit: float = 24 * 3600.0
    ) -> Verdict:
        """Check the tenant's repositories: that all is there, and, for ``read``, that a part of the data (or all) is what was stored.

        Where something is damaged the copies that may need it are noted as damaged, and no others as good. With ``mend``, packs that are
        damaged are set aside, so that the next backup stores their data again (see `Repository.mend`). Raise NoRepositoryError if there
        is none.
        """
        with self._journal.operation("backup-verify", tenant, {"read": read}) as operation:
            verdicts = []
            for repository, copies in self._held(tenant):
                verdict = repository.check(read, limit=limit)
                verdicts.append(verdict)
                facts = {"copies": [each.id for each in copies]} if verdict.ok else {"copies": list(verdict.copies)}
                if not verdict.ok:
                    facts["problems"] = list(verdict.problems)[:20]
                operation.event(VERIFIED, verdict=GOOD if verdict.ok else DAMAGED, read=_part(read), **facts)
                if mend and verdict.packs:
                    operation.event("set-aside", packs=list(verdict.packs), moved=repository.mend(verdict.packs))
            return _together(verdicts)

    def _held(self, tenant: str, ref: ClusterRef | None = None) -> list[tuple[Store, list[Copy]]]:
        """The repositories that there are, with their copies (of ``ref``). Raise NoRepositoryError if there is none."""
        found, missing = [], []
        for repository in self.repositories(tenant, ref):
            try:
                found.append((repository, repository.copies(str(ref) if ref else None, (TAG,))))
            except NoRepositoryError as exc:
                missing.append(exc)
        if not found:
            raise missing[0]
        return found

    def prune(self, ref: ClusterRef | None, tenant: str, *, confirmed: bool = False, dry_run: bool = False) -> list[Kept]:
        """Let copies go that policies keep no longer, and remove their data. Raise UsageError for rules that keep nothing, unless
        that is ``confirmed``; NoRepositoryError if there are no backups."""
        held = self._held(tenant, ref)
        if not confirmed:
            for each in {copy.host for _, copies in held for copy in copies}:
                if self._lab.backup_policy(ClusterRef.parse(each)).keep.keeps_nothing:
                    raise UsageError(
                        f"the rules of {each} keep no backup at all", resolution="keep one at least, as last=1; or confirm it by --yes"
                    )
        done = []
        with self._journal.operation("backup-prune", str(ref or tenant), {"dry_run": dry_run}) as operation:
            for repository, copies in held:
                for host in sorted({each.host for each in copies}):
                    done.append(self._retain(repository, host, [each for each in copies if each.host == host], dry_run=dry_run))
                    if not dry_run:
                        operation.event("forgotten", cluster=host, copies=[each.id for each in done[-1].go])
                if not dry_run:
                    repository.prune()
        return done

    def collect(self, tenant: str) -> None:
        """Remove the data that no copy of a tenant needs any more."""
        for repository, _ in self._held(tenant):
            repository.prune()

    def _retain(self, repository: Store, host: str, copies: Sequence[Copy], *, dry_run: bool) -> Kept:
        keep = self._lab.backup_policy(ClusterRef.parse(host)).keep
        if not keep.keeps_nothing:
            return repository.retain(keep, host=host, copies=copies, dry_run=dry_run)
        if not dry_run:
            repository.forget([each.id for each in copies])
        return Kept(go=tuple(copies), stay=())


def _check_room(repository: Repository, manifest: Manifest, parent: Copy | None) -> None:
    room = repository.target.room()
    needed = max(_LEAST_ROOM, manifest.size - (size(parent) if parent else 0))
    if room is not None and room < needed:
        raise FullError(
            f"{repository.target} has {format_bytes(room)} free, and this backup may need {format_bytes(needed)}",
            resolution=f"free some space, or choose another target: labcloud backup policy set {manifest.ref} target=…",
        )


def _upload(manifest: Manifest, contents: Contents, provider: Provider, parent: Copy | None) -> Upload:
    mounts = {
        f"{node}/{number}": provider.volume_folder(NodeRef.parse(manifest.ref, node), number, manifest.id)
        for node, number in manifest.places
    }
    files: dict[str, bytes | Path] = {NAME: manifest.dump().encode(), CONTENTS: contents.dump()}
    return Upload(Tree(mounts, files), str(manifest.ref), _tags(manifest), manifest.taken, parent.id if parent else "")


def _tags(manifest: Manifest) -> tuple[str, ...]:
    return (
        TAG, f"cluster={manifest.ref.name}", f"id={manifest.cluster.id}", f"snapshot={manifest.id}", f"bytes={manifest.size}",
        f"origin={manifest.origin}", CONSISTENT if manifest.consistent else INCONSISTENT,
    )  # fmt: skip


class Telling:
    """Tells how far a run of restic is, once a second at most."""

    def __init__(self, tell: Callable[[str], None], done: str) -> None:
        self._tell, self._done = tell, done
        self._last = Deadline(1.0)

    def __call__(self, progress: Progress) -> None:
        if self._last.left or not progress.bytes_total:
            return
        self._last = Deadline(1.0)
        left = f", {progress.seconds_left:.0f} s left" if progress.seconds_left is not None else ""
        files = f", {progress.files_done} of {progress.files_total} files" if progress.files_total else ""
        done = f"{format_bytes(progress.bytes_done)} of {format_bytes(progress.bytes_total)} {self._done}"
        self._tell(f"{done}{files}, {format_bytes(int(progress.speed))}/s{left}")


def _warning(manifest: Manifest, target: Target, home: Path) -> str:
    if not manifest.consistent:
        return f"it is not consistent: {manifest.why}"
    return f"{target} lies on the lab's own disk: one broken disk takes both" if target.shares_disk(home) else ""


def _part(read: tuple[int, int] | Literal["all"] | None) -> str:
    """What of the data was read, as the journal has it: ``all``, ``2/7``, or nothing."""
    return f"{read[0]}/{read[1]}" if isinstance(read, tuple) else read or ""


def _together(verdicts: Sequence[Verdict]) -> Verdict:
    return Verdict(
        ok=all(each.ok for each in verdicts), problems=tuple(chain.from_iterable(each.problems for each in verdicts)),
        packs=tuple(chain.from_iterable(each.packs for each in verdicts)),
        copies=tuple(chain.from_iterable(each.copies for each in verdicts)), seconds=sum(each.seconds for each in verdicts),
    )  # fmt: skip
