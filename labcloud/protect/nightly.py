"""The nightly run: a backup of every cluster that is due, drills that are due, a look at a part of each repository, one report.

Several clusters at once, but bounded; each is tried again, and has a limit. A night that was missed is made up by the next run, because
what is due is told from the newest good copy. Two runs at once do no harm: whoever comes second finds nothing due.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from labcloud.apply.verbs import Terms
from labcloud.apply.watch import Deadline, Event, Kind
from labcloud.errors import EngineError, LabError
from labcloud.model import ClusterRef
from labcloud.model.protection import BackupPolicy, drill_due, due
from labcloud.protect import notes
from labcloud.protect.answers import Copy
from labcloud.protect.backups import TAG
from labcloud.protect.complaints import FullError, NoRepositoryError
from labcloud.protect.drills import Drills
from labcloud.protect.manifest import Origin
from labcloud.protect.notes import GOOD, LOOKED_AFTER, PRUNED
from labcloud.protect.reports import Outcome, send
from labcloud.protect.restic import CONSISTENT
from labcloud.protect.standing import last_made

BACKED_UP: Final = "backed up"
DRILLED: Final = "drilled"
VERIFIED: Final = "verified"
FAILED: Final = "failed"
_TRIES: Final = 3
_PAUSE: Final = 5.0
_SLICES: Final = 7
_BETWEEN_PRUNES: Final = timedelta(days=7)
_SHORT: Final = 300.0

Place = tuple[str, str]
"""A tenant, and the target that a policy names: one repository."""


class _OvertakenError(LabError):
    """Another run has done it meanwhile."""


@dataclass(frozen=True)
class Bounds:
    """How much at once, and how long one cluster may take, in seconds."""

    parallel: int = 2
    limit: float = 2 * 3600.0


class Nightly(Drills):
    """The run, for one lab."""

    def night(self, now: datetime, bounds: Bounds) -> tuple[list[Outcome], list[str]]:
        """Do all that is due at ``now``. Returns what was done to each, failures included, and what could not be reported."""
        began = datetime.now(UTC)
        self.sweep(Terms(_SHORT))
        policies = {ref: policy for ref, policy in self._lab.backup_policies().items() if policy.enabled}
        made, listed = last_made(self._journal), self._listed(policies)
        wanted, lost = self._due(policies, listed, now)
        still = {ref: self._still(ref, policies[ref], now, made.get(self._key(ref))) for ref in wanted}
        outcomes = [*lost, *self.run(wanted, bounds, still=still)]
        away = {each.ref for each in lost}  # nothing can be proved of those, and that is told already
        outcomes += self._drills({ref: policy for ref, policy in policies.items() if ref not in away}, now)
        outcomes += self._look_after({tenant for (tenant, _), copies in listed.items() if isinstance(copies, list) and copies}, now)
        report = self._lab.backup().report
        warnings = send(report, outcomes, home=self._lab.home, began=began, ended=datetime.now(UTC)) if report else []
        return outcomes, warnings

    def run(
        self, refs: Sequence[ClusterRef], bounds: Bounds, *, still: Mapping[ClusterRef, Callable[[], None]] | None = None
    ) -> list[Outcome]:
        """Back up ``refs``. What goes wrong with one is in its outcome, and keeps no other."""
        if not refs:
            return []
        with ThreadPoolExecutor(min(bounds.parallel, len(refs)), thread_name_prefix="backup") as pool:
            done = pool.map(lambda ref: self._one(ref, bounds.limit, (still or {}).get(ref)), refs)
            return [each for each in done if each]

    def births(self, refs: Sequence[ClusterRef], bounds: Bounds) -> list[Outcome]:
        """The first snapshots of new clusters, to which `reset` puts them back, and their first backups."""
        born, lost = [], []
        for ref in refs:
            try:
                self._born(ref, bounds)
                born.append(ref)
            except LabError as exc:
                lost.append(Outcome(ref, FAILED, error=exc.brief))
        return [*lost, *self.run(born, bounds)]

    def _born(self, ref: ClusterRef, bounds: Bounds) -> None:
        wanted, profile, provider = self._known(ref)
        self._readiness(wanted, profile, provider).wait(self._watch, Deadline(bounds.limit))
        if not any(each.origin == Origin.BIRTH for each in self.list(ref)):
            self.take(ref, Terms(bounds.limit), title="as it was made", origin=Origin.BIRTH)

    def _one(self, ref: ClusterRef, limit: float, still: Callable[[], None] | None) -> Outcome | None:
        began = time.monotonic()
        for attempt in range(1, _TRIES + 1):
            try:
                made = self.back_up(ref, Terms(min(limit, 3600.0), still=still or (lambda: None)), limit=limit)
            except _OvertakenError:
                return None
            except LabError as exc:
                passing = isinstance(exc, EngineError) and not isinstance(exc, FullError)
                if attempt < _TRIES and passing and self._lab.cluster(ref):
                    self._watch.tell(Event(str(ref), Kind.WAITING, f"tried again in {_PAUSE:g} s: {exc.brief}"))
                    self._watch.pause(_PAUSE)
                    continue
                return Outcome(ref, FAILED, seconds=time.monotonic() - began, error=exc.brief)
            error = "" if made.consistent else made.warning
            return Outcome(
                ref, BACKED_UP, made.copy[:8], made.stored.bytes_added, made.stored.bytes_processed, time.monotonic() - began,
                error=error, warning="" if error else made.warning,
            )  # fmt: skip
        return None

    # What is due

    def _listed(self, policies: Mapping[ClusterRef, BackupPolicy]) -> dict[Place, list[Copy] | LabError]:
        """The good copies that each repository has, each asked once; or why it does not say."""
        found: dict[Place, list[Copy] | LabError] = {}
        for ref, policy in policies.items():
            place = (ref.tenant, policy.target)
            if place not in found:
                try:
                    found[place] = self._good(ref.tenant, policy)
                except LabError as exc:
                    found[place] = exc
        return found

    def _due(
        self, policies: Mapping[ClusterRef, BackupPolicy], listed: Mapping[Place, list[Copy] | LabError], now: datetime
    ) -> tuple[list[ClusterRef], list[Outcome]]:
        wanted, lost = [], []
        for ref, policy in sorted(policies.items()):
            copies = listed[ref.tenant, policy.target]
            if isinstance(copies, LabError):
                lost.append(Outcome(ref, FAILED, error=copies.brief))
            elif due(policy, max((each.time for each in self._own(ref, copies)), default=None), now):
                wanted.append(ref)
        return wanted, lost

    def _still(self, ref: ClusterRef, policy: BackupPolicy, now: datetime, before: datetime | None) -> Callable[[], None]:
        """Refuses once another run has done it meanwhile, which the journal says: no repository need be asked. What the journal had
        ``before`` proves nothing, for it may not be in the repository any more."""

        def still() -> None:
            last = last_made(self._journal).get(self._key(ref))
            if last != before and not due(policy, last, max(now, datetime.now(UTC))):
                raise _OvertakenError(f"another run has backed up {ref}")

        return still

    def _key(self, ref: ClusterRef) -> tuple[str, str]:
        wanted = self._lab.cluster(ref)
        return str(ref), wanted.id if wanted else ""

    def _own(self, ref: ClusterRef, copies: Sequence[Copy]) -> list[Copy]:
        """Those of ``copies`` that are of this cluster, not of a former one of its name."""
        wanted = self._lab.cluster(ref)
        return [each for each in copies if wanted and each.host == str(ref) and f"id={wanted.id}" in each.tags]

    def _good(self, tenant: str, policy: BackupPolicy) -> list[Copy]:
        """The good copies at the tenant's place by a policy; none where there is no repository yet."""
        try:
            return self.repository(tenant, policy).copies(tags=(TAG, CONSISTENT))
        except NoRepositoryError:
            return []

    # Proof

    def _drills(self, policies: Mapping[ClusterRef, BackupPolicy], now: datetime) -> Iterable[Outcome]:
        """One after the other: each is a whole cluster beside all others."""
        # One that did not prove good is repeated.
        last = {target: event.time for target, event in self._journal.events(notes.DRILLED) if event.details.get("verdict") == GOOD}
        for ref, policy in sorted(policies.items()):
            before = datetime.fromisoformat(last[str(ref)]) if str(ref) in last else None
            if drill_due(policy, before, now, of=str(ref)):
                outcome = self._drill(ref, policy)
                if outcome:
                    yield outcome

    def _drill(self, ref: ClusterRef, policy: BackupPolicy) -> Outcome | None:
        began = time.monotonic()
        try:
            if not self._own(ref, self._good(ref.tenant, policy)):
                return None
            drill = self.drill(self.chosen(ref, "latest"), Terms(1800.0))
        except LabError as exc:
            return Outcome(ref, FAILED, seconds=time.monotonic() - began, error=f"the drill failed: {exc.brief}")
        error = "" if drill.good or drill.uncompared else f"the drill failed: {drill.verdict}"
        warning = drill.verdict if drill.uncompared else drill.undescribed
        return Outcome(ref, DRILLED, drill.copy, 0, drill.bytes, time.monotonic() - began, error=error, warning=warning)

    def _look_after(self, tenants: Iterable[str], now: datetime) -> Iterable[Outcome]:
        """Of tenants that had backups before: a seventh of each repository's data is read each night, so all of it in a week; once a
        week what nobody needs goes."""
        last = {(target, event.kind): event.time for target, event in self._journal.events(LOOKED_AFTER, PRUNED)}
        for tenant in sorted(tenants):
            verified, pruned = last.get((tenant, LOOKED_AFTER)), last.get((tenant, PRUNED))
            if verified and now - datetime.fromisoformat(verified) < timedelta(hours=20):
                continue
            ref = ClusterRef(tenant, "repository")
            began = time.monotonic()
            try:
                with self._journal.operation("backup-look-after", tenant, {}) as operation:
                    if not pruned or now - datetime.fromisoformat(pruned) > _BETWEEN_PRUNES:
                        self.collect(tenant)
                        operation.event(PRUNED)
                    verdict = self.verify(tenant, (now.toordinal() % _SLICES + 1, _SLICES))
                    operation.event(LOOKED_AFTER, ok=verdict.ok)
            except LabError as exc:
                yield Outcome(ref, FAILED, seconds=time.monotonic() - began, error=f"the repository could not be checked: {exc.brief}")
                continue
            error = "" if verdict.ok else f"the repository is damaged: {verdict.problems[0]}"
            yield Outcome(ref, VERIFIED, seconds=time.monotonic() - began, error=error)
