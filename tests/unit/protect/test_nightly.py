"""The nightly run: what is due, who fails alone, what is looked after. Where it does not matter how, nothing is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from unittest import mock

import pytest

from labcloud.apply.journal import Journal, Result
from labcloud.errors import ConflictError, EngineError
from labcloud.model import ClusterRef
from labcloud.model.reports import Report
from labcloud.protect import nightly
from labcloud.protect.answers import Stored, Verdict
from labcloud.protect.backups import Backup
from labcloud.protect.drills import Drill
from labcloud.protect.nightly import Bounds, Nightly
from labcloud.protect.notes import DRILLED, MADE
from labcloud.protect.reports import Outcome
from labcloud.protect.restic import Repository
from labcloud.protect.restoring import Chosen
from tests.unit.protect.vault import Vault, calls
from tests.unit.protect.workshop import REF, TERMS

OTHER = ClusterRef("acme", "d")
BOUNDS = Bounds(2, 60)
GOOD = Verdict(ok=True, problems=(), packs=(), copies=(), seconds=0.0)


def _now(days: int = 0) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def _backup(ref: ClusterRef, copy: str = "abcdef0123") -> Backup:
    return Backup(ref, copy, Stored(copy, 5, 10, 3, 0.1), consistent=True, pause=0.1)


@pytest.fixture
def quick() -> Iterator[None]:
    with mock.patch.object(nightly, "_PAUSE", 0.0):
        yield


@pytest.mark.usefixtures("quick")
def test_two_nights(vault: Vault) -> None:
    """By the real restic, but for drills: the first stores, a second run at once finds nothing due, the next night looks after it."""
    vault.create(OTHER, workers=1)
    vault.say(OTHER, enabled="false")
    vault.lab.change_backup(lambda backup: replace(backup, report=Report(webhook="https://example.org/x")), "a report")
    sent: list[list[str]] = []

    def send(_: object, outcomes: list[Outcome], **facts: object) -> list[str]:
        assert facts["home"] == vault.lab.home
        sent.append([each.did for each in outcomes])
        return ["nobody listens"] if outcomes else []

    drills: list[str] = []

    def drill(_: Nightly, chosen: Chosen, terms: object) -> Drill:
        drills.append(chosen.copy.short)
        return Drill(REF, chosen.copy.short, "1 files are missing", undescribed="")

    with mock.patch.object(nightly, "send", send), mock.patch.object(Nightly, "drill", drill):
        with calls() as asked:
            outcomes, warnings = vault.verbs().night(_now(), BOUNDS)
        assert asked == ["snapshots", "snapshots", "backup", "snapshots", "snapshots", "snapshots", "dump"], "three are for the drill"
        assert [(each.ref, each.did, bool(each.error)) for each in outcomes] == [(REF, "backed up", False), (REF, "drilled", True)]
        assert (outcomes[0].copy_id, outcomes[1].error) == (drills[0], "the drill failed: 1 files are missing")
        assert warnings == ["nobody listens"]

        with Journal(vault.lab.home).operation("backup-drill", str(REF)) as operation:
            operation.event(DRILLED, copy="x", verdict="good")
        with calls() as asked:
            outcomes, _ = vault.verbs().night(_now(), BOUNDS)
        assert [(str(each.ref), each.did, each.error) for each in outcomes] == [("acme/repository", "verified", "")]
        assert [each for each in asked if each != "snapshots"] == ["prune", "check"]
        with calls() as asked:
            outcomes, _ = vault.verbs().night(_now(), BOUNDS)
        assert (outcomes, asked) == ([], ["snapshots"])
        assert sent == [["backed up", "drilled"], ["verified"], []]

        vault.say(REF, drill="never")  # whether tomorrow is the cluster's day of the month is for no test to depend on
        with calls() as asked, mock.patch.object(Repository, "check", side_effect=EngineError("away")):
            outcomes, _ = vault.verbs().night(_now(1), BOUNDS)
        assert [each.did for each in outcomes] == ["backed up", "failed"]
        assert outcomes[1].error == "the repository could not be checked: away"
        assert "prune" not in asked, "that is done once a week"


@pytest.mark.usefixtures("quick")
def test_who_fails_fails_alone(vault: Vault) -> None:
    vault.create(OTHER, workers=1)
    tries: list[ClusterRef] = []

    def back_up(_: Nightly, ref: ClusterRef, terms: object, *, limit: float) -> Backup:
        assert limit == 60
        tries.append(ref)
        if ref == OTHER:
            raise EngineError("the disk is gone")
        return _backup(ref)

    with mock.patch.object(Nightly, "back_up", back_up):
        outcomes = vault.verbs().run([OTHER, REF], BOUNDS)
    assert [(each.ref, each.did, each.error) for each in outcomes] == [(OTHER, "failed", "the disk is gone"), (REF, "backed up", "")]
    assert (tries.count(OTHER), tries.count(REF)) == (3, 1), "what an engine refuses is tried again"
    tries.clear()
    with mock.patch.object(Nightly, "back_up", side_effect=ConflictError("it is half restored")) as asked:
        assert [each.error for each in vault.verbs().run([REF], BOUNDS)] == ["it is half restored"]
    assert asked.call_count == 1
    poor = replace(_backup(REF), consistent=False, warning="it is not consistent: x")
    with mock.patch.object(Nightly, "back_up", return_value=poor):
        (outcome,) = vault.verbs().run([REF], BOUNDS)
    assert (outcome.error, outcome.warning) == ("it is not consistent: x", "")
    assert vault.verbs().run([], BOUNDS) == []


@pytest.mark.usefixtures("quick")
def test_a_target_that_does_not_answer_is_told_for_each_cluster_of_it(vault: Vault) -> None:
    vault.create(OTHER, workers=1)
    vault.say(OTHER, target="/elsewhere")

    def copies(self: Repository, *_: object, **__: object) -> list[object]:
        if str(self.target).startswith("/elsewhere"):
            raise EngineError("no route to host")
        return []

    with mock.patch.object(Repository, "copies", copies), mock.patch.object(Nightly, "back_up", lambda _, ref, *__, **___: _backup(ref)):
        outcomes, _ = vault.verbs().night(_now(), BOUNDS)
    assert [(each.ref, each.error) for each in outcomes] == [(OTHER, "no route to host"), (REF, "")]


def _meanwhile(vault: Vault, taken: datetime, *, id: str = "") -> None:
    with Journal(vault.lab.home).operation("backup", str(REF)) as operation:
        operation.event(MADE, consistent=True, cluster_id=id or vault.wanted().id, taken=taken.isoformat())


@pytest.mark.parametrize(
    ("meanwhile", "done"),
    [
        (lambda vault: _meanwhile(vault, _now()), 0),
        (lambda vault: _meanwhile(vault, _now(-3)), 1),  # that was for another night
        (lambda vault: _meanwhile(vault, _now(), id="f" * 32), 1),
        (lambda _: None, 1),
    ],
)
def test_of_two_runs_one_does_it(vault: Vault, meanwhile: Callable[[Vault], None], done: int) -> None:
    """Who waited for the other finds it done, and says nothing of it; nor does the journal have an operation that failed."""
    verbs = vault.verbs()
    real = Nightly._due

    def due(self: Nightly, *args: object) -> object:
        found = real(self, *args)  # type: ignore[arg-type]
        meanwhile(vault)
        return found

    with (
        mock.patch.object(Nightly, "_due", due),
        mock.patch.object(Repository, "copies", return_value=[]),
        mock.patch.object(Nightly, "_stored", side_effect=ConflictError("stored")),
        mock.patch.object(Nightly, "_drills", return_value=[]),
    ):
        outcomes, _ = verbs.night(_now(), BOUNDS)
    assert [each.error for each in outcomes] == ["stored"] * done
    assert [each.result for each in Journal(vault.lab.home).operations() if each.verb == "backup"].count(Result.ERROR) == done


def test_what_the_journal_has_and_the_repository_has_not_is_due(vault: Vault) -> None:
    _meanwhile(vault, _now())
    with (
        mock.patch.object(Repository, "copies", return_value=[]),
        mock.patch.object(Nightly, "_drills", return_value=[]),
        mock.patch.object(Nightly, "_stored", side_effect=ConflictError("stored")),
    ):
        outcomes, _ = vault.verbs().night(_now(), BOUNDS)
    assert [each.error for each in outcomes] == ["stored"]


def test_new_clusters(vault: Vault) -> None:
    unknown = ClusterRef("acme", "unknown")
    with mock.patch.object(Nightly, "back_up", lambda _, ref, *__, **___: _backup(ref)):
        outcomes = vault.verbs().births([unknown, REF], BOUNDS)
        assert [(each.ref, each.did) for each in outcomes] == [(unknown, "failed"), (REF, "backed up")]
        vault.verbs().births([REF], BOUNDS)
    (view,) = vault.snapshots().list(REF)
    assert (view.origin, view.title) == ("birth", "as it was made")
    assert vault.snapshots().first(REF).id == view.id


def test_a_drill_leaves_nothing_and_its_verdict(vault: Vault) -> None:
    """The simulated HDFS has no checksums: that is said, and is no proof."""
    vault.back_up()
    verbs = vault.verbs()
    drill = verbs.drill(verbs.chosen(REF, "latest"), TERMS)
    (view,) = verbs.copies(REF)
    assert (view.drill, bool(view.drilled)) == (drill.verdict, True)
    assert [each.name for each in vault.lab.tenants()] == ["acme"]
    assert list((vault.lab.home / "passing").iterdir()) == []
    with mock.patch.object(Nightly, "_drilled", side_effect=EngineError("no room")):
        failed = vault.verbs().drill(verbs.chosen(REF, "latest"), TERMS)
    assert (failed.good, failed.verdict) == (False, "no room")
    assert verbs.copies(REF)[0].drill == "no room"
