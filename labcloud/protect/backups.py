"""The verbs of backups: make one, list them, check a repository, let old ones go. Restoring is `labcloud.protect.restoring`'s.

A backup is a snapshot that restic stores elsewhere, with all that is needed to bring it back::

    manifest.json        what it says of itself
    files.json.gz        what HDFS had, with its checksums, as far as that did not change meanwhile
    NODE/N/…             the data volumes

The repository says which copies there are; when one was verified or drilled stands in the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from labcloud.apply.journal import Operation
from labcloud.apply.verbs import Terms
from labcloud.apply.watch import Deadline, Event, Kind
from labcloud.errors import EngineError, LabError, NotFoundError, UsageError
from labcloud.lab.locks import backup_lock
from labcloud.model import Cluster, ClusterRef, NodeRef, Status, format_bytes
from labcloud.model.periods import stamp
from labcloud.model.protection import BackupPolicy
from labcloud.model.snapshot import snapshot_time
from labcloud.protect.answers import Copy, Kept, Progress, Stored, Verdict
from labcloud.protect.calling import Watcher
from labcloud.protect.complaints import NoRepositoryError
from labcloud.protect.contents import Contents, describe
from labcloud.protect.manifest import NAME, Manifest, Origin
from labcloud.protect.notes import DRILLED, MADE, VERIFIED
from labcloud.protect.restic import CONSISTENT, INCONSISTENT, Repository, Upload
from labcloud.protect.snapshots import Snapshots
from labcloud.protect.staging import Tree
from labcloud.protect.targets import Secrets, Target
from labcloud.providers.base import Provider
from labcloud.services.hadoop import Hadoop

CONTENTS: Final = "files.json.gz"
_LEAST_ROOM: Final = 64 * 2**20
_TAG: Final = "labcloud"


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
class CopyView:
    """A backup in a list. ``time``, ``verified`` and ``drilled`` are UTC in ISO 8601; the last two are empty for never. ``drill`` is what
    the newest drill of it said: ``good``, or why not. ``size`` is bytes of its files."""

    tenant: str
    name: str
    id: str
    time: str
    state: str
    size: int = 0
    origin: str = ""
    verified: str = ""
    drilled: str = ""
    drill: str = ""


class Backups(Snapshots):
    """The verbs, for one lab."""

    # Where

    def repository(self, tenant: str, policy: BackupPolicy | None = None) -> Repository:
        """The tenant's repository, by its policy or by that of one of its clusters."""
        asked = policy or self._lab.explained_backup(tenant).policy
        kept = Secrets(self._lab.home)
        credentials = kept.credentials(asked.credentials) if asked.credentials else {}
        target = Target.parse(asked.target)
        if target.directory == self._lab.home / "backups":
            with suppress(FileExistsError):
                target.directory.mkdir(mode=0o700, parents=True)
        return Repository(
            target.of(tenant),
            kept.password_file(tenant),
            credentials,
            cache=self._lab.home / "cache" / "restic",
            watcher=self._watcher(tenant),
        )

    def _watcher(self, subject: str) -> Watcher:
        return Watcher(
            stop=self._watch.check, pause=self._watch.pause, tell=lambda text: self._watch.tell(Event(subject, Kind.WAITING, text))
        )

    # Making one

    def back_up(self, ref: ClusterRef, terms: Terms, *, limit: float = 24 * 3600.0) -> Backup:
        """Make a backup of the cluster, which goes on working, and let those go that its policy keeps no longer.

        Raise ConflictError if the repository or another backup of it is busy for long, EngineError if the target has no room for it.
        A copy that is not consistent is stored, and marked so.
        """
        with self._backing_up(ref, terms), self._journal.operation("backup", str(ref), {}) as operation:
            wanted, profile, provider = self._known(ref)
            policy = self._lab.backup_policy(ref)
            repository = self.repository(ref.tenant, policy)
            repository.ensure()
            # The one to compare with: the newest of this cluster, not of a former one of its name.
            parent = next(iter(repository.copies(str(ref), (f"id={wanted.id}",))), None)
            known = self._known_contents(repository, parent)
            manifest, contents = self._described(Hadoop(provider, wanted, profile), wanted, provider, known, terms)
            _check_room(repository, manifest, parent)
            stored = repository.backup(
                _upload(manifest, contents, provider, parent),
                stage=self._lab.home / "stage",
                progress=self._progress(ref, "stored"),
                limit=limit,
            )
            operation.event(
                MADE, copy=stored.id, cluster_id=wanted.id, snapshot=manifest.id, taken=stamp(manifest.taken),
                consistent=manifest.consistent, why=manifest.why, bytes=manifest.size, bytes_added=stored.bytes_added,
                pause_seconds=round(manifest.pause, 3), described=len(contents.entries), skipped=contents.skipped,
            )  # fmt: skip
            repository.retain(policy.keep, host=str(ref))
            self._let_go(wanted, provider, operation, policy.keep_snapshots)
            warning = _warning(manifest, repository.target, self._lab.home)
            return Backup(ref, stored.id, stored, manifest.consistent, manifest.pause, warning)

    @contextmanager
    def _backing_up(self, ref: ClusterRef, terms: Terms) -> Iterator[None]:
        def waiting(text: str) -> None:
            self._watch.tell(Event(str(ref), Kind.WAITING, text))

        with backup_lock(self._lab.home, ref, verb="backup", timeout=terms.timeout, waiting=waiting, pause=self._watch.pause):
            terms.still()
            yield

    def _known_contents(self, repository: Repository, parent: Copy | None) -> Contents | None:
        if parent:
            with suppress(LabError):  # then everything is asked anew
                return Contents.load(repository.dump(parent.id, CONTENTS))
        return None

    def _described(
        self, hadoop: Hadoop, wanted: Cluster, provider: Provider, known: Contents | None, terms: Terms
    ) -> tuple[Manifest, Contents]:
        """Take the snapshot, and note what HDFS has around it. One that runs is asked; of one that is stopped the former notes hold."""

        def take() -> Manifest:
            return self.take(wanted.ref, terms, origin=Origin.BACKUP)

        if any(node.status is Status.RUNNING for node in provider.find(cluster=wanted.ref).nodes):
            return describe(hadoop, take, known)
        return take(), known or Contents()

    def _progress(self, ref: ClusterRef, done: str) -> Callable[[Progress], None]:
        return Telling(lambda text: self._watch.tell(Event(str(ref), Kind.WAITING, text)), done)

    def _let_go(self, wanted: Cluster, provider: Provider, operation: Operation, keep: int) -> None:
        """Delete automatic snapshots beyond the newest ``keep``; those of hand and of birth stay.

        Those from the future, taken while the clock was wrong, go first: they would outlive all others.
        """
        now = datetime.now(UTC)
        automatic = [each.id for each in self.list(wanted.ref) if each.origin in (Origin.BACKUP, Origin.SAFETY)]
        automatic.sort(key=lambda id: snapshot_time(id) <= now)
        gone = automatic[: max(0, len(automatic) - keep)]
        if gone:
            self._drop(provider, operation, provider.find(cluster=wanted.ref), gone)

    # Looking

    def copies(self, ref: ClusterRef | None = None, tenant: str | None = None) -> list[CopyView]:
        """Every backup of one cluster, of a tenant's clusters, or of all, by cluster, the oldest first; deleted clusters' as well."""
        tenants = [ref.tenant if ref else tenant] if ref or tenant else [each.name for each in self._lab.tenants()]
        verified, drilled = self._noted(VERIFIED), self._noted(DRILLED)
        found = [copy for each in tenants for copy in self._copies(str(each), ref)]
        views = [_view(copy, verified.get(copy.id, ("", "")), drilled.get(copy.id, ("", ""))) for copy in found]
        return sorted(views, key=lambda view: (view.tenant, view.name, view.time))

    def _copies(self, tenant: str, ref: ClusterRef | None) -> list[Copy]:
        """The copies in a tenant's repository; none where there is no repository yet. Each cluster may have a target of its own."""
        policies = {self._lab.explained_backup(tenant).policy.target: None}
        refs = [ref] if ref else [each.ref for each in self._lab.clusters(tenant)]
        targets = policies | {self._lab.backup_policy(each).target: each for each in refs}
        found: dict[str, Copy] = {}
        for cluster in targets.values():
            with suppress(NoRepositoryError):
                repository = self.repository(tenant, self._lab.backup_policy(cluster) if cluster else None)
                found |= {each.id: each for each in repository.copies(str(ref) if ref else None, (_TAG,))}
        return list(found.values())

    def _noted(self, kind: str) -> dict[str, tuple[str, str]]:
        """When each copy was looked at last, and what came of it."""
        found: dict[str, tuple[str, str]] = {}
        for _, event in self._journal.events(kind):
            for copy in event.details.get("copies") or [event.details.get("copy", "")]:
                found[copy] = (event.time, str(event.details.get("verdict", "")))
        return found

    def find_copy(self, ref: ClusterRef, at: str, copies: Sequence[Copy]) -> Copy:
        """The copy of ``ref`` that ``at`` names: ``latest``, the beginning of an id, or a time, of which it is the newest not after.

        ``latest`` is the newest that is consistent; one from the future, taken while the clock was wrong, only if there is no other. Raise
        NotFoundError, with the nearest, if there is none.
        """
        newest = sorted(copies, key=lambda each: each.time, reverse=True)
        if not newest:
            raise NotFoundError(f"there is no backup of {ref}", resolution="'labcloud backup list' shows those that there are")
        if at == "latest":
            good = [each for each in newest if CONSISTENT in each.tags] or newest
            return next((each for each in good if each.time <= datetime.now(UTC)), good[0])
        moment = _moment(at)
        found = [each for each in newest if each.time <= moment] if moment else [each for each in newest if each.id.startswith(at)]
        if not found or (not moment and len(found) > 1):
            near = min(newest, key=lambda each: abs((each.time - (moment or newest[0].time)).total_seconds()))
            what = (
                f"{len(found)} backups of {ref} begin with {at}"
                if found
                else f"there is no backup of {ref} {'before ' if moment else ''}{at}"
            )
            raise NotFoundError(
                what, resolution=f"the nearest is {near.short} of {near.time:%Y-%m-%dT%H:%M:%SZ}; see: labcloud backup list {ref}"
            )
        return found[0]

    # Checking and letting go

    def verify(
        self, tenant: str, read: tuple[int, int] | Literal["all"] | None, *, mend: bool = False, limit: float = 24 * 3600.0
    ) -> Verdict:
        """Check the tenant's repository: that all is there, and, for ``read``, that a part of its data (or all) is what was stored.

        With ``mend``, packs that are damaged are set aside, so that the next backup stores their data again (see `Repository.mend`).
        """
        with self._journal.operation("backup-verify", tenant, {"read": read}) as operation:
            repository = self.repository(tenant)
            copies = [each.id for each in repository.copies()]
            verdict = repository.check(read, limit=limit)
            good = [each for each in copies if verdict.ok or each not in verdict.copies]
            if verdict.ok or verdict.copies:
                operation.event(VERIFIED, copies=good, verdict="good")
            if not verdict.ok:
                operation.event(VERIFIED, copies=list(verdict.copies), verdict="damaged", problems=list(verdict.problems)[:20])
            if mend and verdict.packs:
                operation.event("set-aside", packs=list(verdict.packs), moved=repository.mend(verdict.packs))
            return verdict

    def prune(self, ref: ClusterRef | None, tenant: str, *, confirmed: bool = False, dry_run: bool = False) -> list[Kept]:
        """Let copies go that policies keep no longer, and remove their data. Raise UsageError for rules that keep nothing, unless
        that is ``confirmed``."""
        repository = self.repository(tenant, self._lab.backup_policy(ref) if ref else None)
        hosts = [str(ref)] if ref else sorted({each.host for each in repository.copies(tags=(_TAG,))})
        done = []
        with self._journal.operation("backup-prune", str(ref or tenant), {"dry_run": dry_run}) as operation:
            for host in hosts:
                done.append(self._retain(repository, ClusterRef.parse(host), confirmed=confirmed, dry_run=dry_run))
                operation.event("forgotten", cluster=host, copies=[each.id for each in done[-1].go])
            if not dry_run:
                repository.prune()
        return done

    def _retain(self, repository: Repository, ref: ClusterRef, *, confirmed: bool, dry_run: bool) -> Kept:
        keep = self._lab.backup_policy(ref).keep
        if not keep.keeps_nothing:
            return repository.retain(keep, host=str(ref), dry_run=dry_run)
        if not confirmed:
            raise UsageError(f"the rules of {ref} keep no backup at all", resolution="keep one at least, as last=1; or confirm it by --yes")
        copies = repository.copies(str(ref))
        if not dry_run:
            repository.forget([each.id for each in copies])
        return Kept(go=tuple(copies), stay=())


def _check_room(repository: Repository, manifest: Manifest, parent: Copy | None) -> None:
    room = repository.target.room()
    needed = max(_LEAST_ROOM, manifest.size - (_number(parent, "bytes") if parent else 0))
    if room is not None and room < needed:
        raise EngineError(
            f"{repository.target} has {format_bytes(room)} free, and this backup may need {format_bytes(needed)}",
            resolution=f"free some space, or choose another target: labcloud backup policy set {manifest.ref} target=…",
        )


def _upload(manifest: Manifest, contents: Contents, provider: Provider, parent: Copy | None) -> Upload:
    mounts = {
        f"{node}/{number}": provider.volume_folder(NodeRef.parse(manifest.ref, node), number, manifest.id)
        for node, count in manifest.volumes.items()
        for number in range(count)
    }
    files: dict[str, bytes | Path] = {NAME: manifest.dump().encode(), CONTENTS: contents.dump()}
    tags = (
        _TAG, f"cluster={manifest.ref.name}", f"id={manifest.cluster.id}", f"snapshot={manifest.id}", f"bytes={manifest.size}",
        f"origin={manifest.origin}", CONSISTENT if manifest.consistent else INCONSISTENT,
    )  # fmt: skip
    return Upload(Tree(mounts, files), str(manifest.ref), tags, manifest.taken, parent.id if parent else "")


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


def _number(copy: Copy, tag: str) -> int:
    return int(_tag(copy, tag) or 0)


def _tag(copy: Copy, name: str) -> str:
    return next((each.partition("=")[2] for each in copy.tags if each.startswith(f"{name}=")), "")


def _view(copy: Copy, verified: tuple[str, str], drilled: tuple[str, str]) -> CopyView:
    ref = ClusterRef.parse(copy.host)
    state = CONSISTENT if CONSISTENT in copy.tags else INCONSISTENT
    if verified[1] == "damaged":
        state = "damaged"
    return CopyView(
        ref.tenant, ref.name, copy.short, copy.time.isoformat(timespec="seconds"), state, size=_number(copy, "bytes"),
        origin=_tag(copy, "origin"), verified=verified[0] if verified[1] == "good" else "", drilled=drilled[0], drill=drilled[1],
    )  # fmt: skip


def _moment(text: str) -> datetime | None:
    """The moment that ``text`` writes, in UTC unless it says another zone; None if it is no time."""
    try:
        found = datetime.fromisoformat(text if "-" in text else "")  # eight digits may begin an id
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
