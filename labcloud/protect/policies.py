"""Policies of backups as somebody looks at them and changes them: of a cluster, of a tenant's clusters, of all. Touches no copy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from labcloud.apply.journal import Journal
from labcloud.apply.watch import Event, Kind, Watch
from labcloud.errors import ConflictError, NotFoundError, UsageError
from labcloud.lab import Lab, places
from labcloud.lab.locks import cluster_lock, tenant_lock
from labcloud.model import ClusterRef, Wanted
from labcloud.model.periods import stamp
from labcloud.model.protection import BackupTerms, changed, explain

_LOCK_SECONDS: Final = 600.0
_VERB: Final = "backup-policy"


@dataclass(frozen=True)
class Scope:
    """Whose policy is meant: the cluster ``ref``'s, all of a ``tenant``'s, or where neither is named the whole lab's."""

    tenant: str | None = None
    ref: ClusterRef | None = None

    def __str__(self) -> str:
        return str(self.ref or self.tenant or "lab")

    @property
    def path(self) -> str:
        """The file of the lab repository that says it."""
        if self.ref is not None:
            return places.cluster_path(self.ref)
        return places.BACKUP if self.tenant is None else places.tenant_path(self.tenant)


@dataclass(frozen=True)
class PolicyChange:
    """The keys to be set, as people write them, and those that this scope shall say nothing of any more.

    ``sure``: rules that keep nothing are meant so.
    """

    wanted: Mapping[str, str] = field(default_factory=dict)
    dropped: Sequence[str] = ()
    sure: bool = False


@dataclass(frozen=True)
class PolicyView:
    """A policy in force, and the file that says each key of it. ``next`` is when the next backup is due, in UTC; empty for never."""

    tenant: str
    name: str
    enabled: bool
    schedule: str
    keep: Mapping[str, int]
    drill: str
    target: str
    credentials: str
    keep_snapshots: int
    next: str
    sources: Mapping[str, str]


class Policies:
    """The policies of one lab."""

    def __init__(self, lab: Lab, journal: Journal, watch: Watch) -> None:
        self._lab = lab
        self._journal = journal
        self._watch = watch

    def show(self, scope: Scope, now: datetime) -> PolicyView:
        """The policy in force. Raise NotFoundError if there is no such tenant or cluster."""
        self._check_known(scope)
        explained = self._lab.explained_backup(scope.tenant, scope.ref)
        policy = explained.policy
        following = policy.schedule.next_due(now) if policy.enabled else None
        return PolicyView(
            tenant=(scope.ref.tenant if scope.ref else scope.tenant) or "", name=scope.ref.name if scope.ref else "",
            enabled=policy.enabled, schedule=str(policy.schedule), keep=policy.keep.rules, drill=str(policy.drill), target=policy.target,
            credentials=policy.credentials, keep_snapshots=policy.keep_snapshots, next=stamp(following) if following else "",
            sources=explained.sources,
        )  # fmt: skip

    def set(self, scope: Scope, change: PolicyChange) -> bool:
        """Change what the scope says of backups. Returns whether that changed anything. Copies that exist stay.

        Raise NotFoundError if there is no such tenant or cluster, UsageError for a key or a value that cannot be, and for rules that
        would keep nothing, of any cluster in the scope, unless that is ``sure``.
        """
        self._check_known(scope)
        changed(BackupTerms(), change.wanted, change.dropped)  # refused before anything is held
        with self._holding(scope):
            spec = {"wanted": [f"{key}={text}" for key, text in change.wanted.items()], "dropped": list(change.dropped)}
            with self._journal.operation(_VERB, str(scope), spec):
                return self._save(scope, lambda terms: self._changed(scope, terms, change), f"{_VERB} {scope}")

    def times(self) -> list[str]:
        """The times of day (``02:00``, UTC) at which backups of the lab's clusters are due, or would be if it had one; in order."""
        policies = list(self._lab.backup_policies().values()) or [self._lab.explained_backup().policy]
        return sorted({f"{each.schedule.at:%H:%M}" for each in policies if each.enabled and each.schedule.at is not None})

    # Inside

    def _changed(self, scope: Scope, terms: BackupTerms, change: PolicyChange) -> BackupTerms:
        new = changed(terms, change.wanted, change.dropped)
        if not change.sure and new.keep != terms.keep:
            emptied = [str(each) for each in self._within(scope) if self._emptied(scope, each, new)]
            if emptied:
                raise UsageError(
                    f"these rules keep no backup at all of {', '.join(emptied[:5])}{' …' if len(emptied) > 5 else ''}",
                    resolution="keep one at least, as in keep.last=1; if every copy shall go, add --yes",
                )
        return new

    def _emptied(self, scope: Scope, inner: Scope, terms: BackupTerms) -> bool:
        """Whether ``inner`` would keep nothing, and does keep something now, once ``scope`` says ``terms``."""
        layers = self._lab.backup_layers(inner.tenant, inner.ref)
        before, after = (explain(each, home=self._lab.home).policy for each in (layers, {**layers, scope.path: terms}))
        return after.keep.keeps_nothing and not before.keep.keeps_nothing

    def _within(self, scope: Scope) -> Iterable[Scope]:
        """The scope, and those of which it says something, too."""
        yield scope
        if scope.ref is None:
            yield from (Scope(each.name) for each in self._lab.tenants() if scope.tenant is None)
            yield from (Scope(ref=ref) for ref in self._lab.refs(scope.tenant))

    def _save(self, scope: Scope, change: Callable[[BackupTerms], BackupTerms], reason: str) -> bool:
        if scope.ref is not None:
            cluster = self._lab.cluster(scope.ref)
            if cluster is None:
                raise self._unknown(scope)
            if cluster.state is Wanted.DELETED:
                raise ConflictError(
                    f"the deletion of {scope.ref} was begun and not finished", resolution=f"finish it: labcloud delete {scope.ref}"
                )
            return self._lab.save(replace(cluster, backup=change(cluster.backup)), reason)
        if scope.tenant is not None:
            tenant = self._lab.tenant(scope.tenant)
            if tenant is None:
                raise self._unknown(scope)
            return self._lab.save_tenant(replace(tenant, backup=change(tenant.backup)), reason)
        return self._lab.change_backup(lambda backup: replace(backup, terms=change(backup.terms)), reason)

    @contextmanager
    def _holding(self, scope: Scope) -> Iterator[None]:
        """Nobody else changes the tenant or the cluster meanwhile; the lab's own file is held by who writes it."""

        def waiting(text: str) -> None:
            self._watch.tell(Event(str(scope), Kind.WAITING, text))

        terms: dict[str, Any] = {"verb": _VERB, "timeout": _LOCK_SECONDS, "waiting": waiting, "pause": self._watch.pause}
        if scope.ref is not None:
            with cluster_lock(self._lab.home, scope.ref, **terms):
                yield
        elif scope.tenant is not None:
            with tenant_lock(self._lab.home, scope.tenant, **terms):
                yield
        else:
            yield

    def _check_known(self, scope: Scope) -> None:
        there = self._lab.cluster(scope.ref) if scope.ref else self._lab.tenant(scope.tenant) if scope.tenant else scope
        if there is None:
            raise self._unknown(scope)

    def _unknown(self, scope: Scope) -> NotFoundError:
        if scope.ref is not None:
            return NotFoundError(f"there is no cluster {scope.ref}", resolution="'labcloud list' shows those that there are")
        return NotFoundError(f"there is no tenant {scope.tenant}", resolution="'labcloud tenant list' shows those that there are")
