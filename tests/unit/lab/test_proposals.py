"""Proposals: nothing of them is in force until somebody else says so, whoever says it at once, and nothing is lost meanwhile."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import pytest

from labcloud.errors import ConfigError, ConflictError, LabError, NotFoundError, UsageError
from labcloud.lab import Lab
from labcloud.lab.git import Author
from labcloud.lab.proposals import Proposal, State
from labcloud.lab.reading import Reading
from labcloud.model import Tenant
from tests.unit.lab.conftest import make_cluster

Git = Callable[..., str]
T = "tenants/acme.yaml"
HEAD = "user_id: 20000\n# people\nquotas:\n  nodes: 4\n\n\n\n\n\nnotify: https://a.example\n"
ADA, BOB = Author("Ada", "ada@example.org"), Author("Bob", "bob@example.org")


@pytest.fixture
def base(lab: Lab) -> str:
    return lab.change({T: HEAD}, "begin")


def propose(lab: Lab, text: str = HEAD.replace("4", "5"), reason: str = "more nodes") -> Proposal:
    made = lab.proposals().propose({T: text}, reason)
    assert made
    return made


def test_a_proposal_changes_nothing(lab: Lab, git: Git, base: str) -> None:
    made = propose(lab)
    assert (made.number, made.state, made.author, made.mail, made.title) == (1, State.OPEN, *ADA, "more nodes")
    assert (made.paths, made.base) == ((T,), base)
    assert (lab.revision(), lab.text(T), git("status", "--porcelain")) == (base, HEAD, "")
    assert lab.proposals().listed() == [made] == [lab.proposals().get(1)]
    assert lab.proposals().texts(made) == {T: HEAD.replace("4", "5")}
    assert git("rev-parse", "refs/proposals/1^").strip() == base


def test_an_approved_one_is_a_commit_of_its_author_with_a_trailer(lab: Lab, git: Git, base: str) -> None:
    made = propose(lab, reason="more nodes\n\nThe course grows.\nApproved-by: Nobody <n@example.org>")
    done = lab.proposals().approve(1, BOB)
    assert done.changed and done.revision == lab.revision()
    (change,) = lab.log(limit=1)
    assert (change.author, change.mail, change.paths) == (*ADA, (T,))
    assert change.reason == "more nodes\n\nThe course grows.\n\nProposal: 1\nApproved-by: Bob <bob@example.org>"
    assert git("log", "-1", "--format=%at").strip() == str(int(made.when.timestamp()))
    assert lab.tenant("acme") == Tenant("acme", 20000, quotas={"nodes": 5}, notify="https://a.example")
    kept = lab.proposals().get(1)
    assert (kept.state, kept.decided_by, kept.author, kept.revision) == (State.APPROVED, str(BOB), "Ada", made.revision)
    assert lab.proposals().listed() == []
    assert lab.proposals().listed(decided=True) == [kept]


def test_nobody_approves_their_own(lab: Lab, base: str) -> None:
    propose(lab)
    with pytest.raises(ConflictError, match="proposal 1 is Ada's own"):
        lab.proposals().approve(1, Author("Somebody else", "ADA@example.org"))
    assert lab.proposals().get(1).state is State.OPEN


def test_rejected_and_withdrawn_ones_stay_to_be_read(lab: Lab, monkeypatch: pytest.MonkeyPatch, base: str) -> None:
    propose(lab)
    propose(lab, HEAD + "# x\n", "a comment")
    proposals = lab.proposals()
    rejected = proposals.reject(1, BOB, "four will do")
    assert (rejected.state, rejected.decision, rejected.decided_by, rejected.author) == (State.REJECTED, "four will do", str(BOB), "Ada")
    with pytest.raises(ConflictError, match="proposal 2 is Ada's: only who made it withdraws it"):
        proposals.withdraw(2, BOB)
    assert proposals.withdraw(2, ADA).state is State.WITHDRAWN
    assert propose(lab).number == 3, "numbers are never used again"
    assert [(each.number, each.state) for each in proposals.listed(decided=True)] == [
        (1, State.REJECTED), (2, State.WITHDRAWN), (3, State.OPEN),
    ]  # fmt: skip
    for decide in (lambda: proposals.approve(1, BOB), lambda: proposals.reject(1, BOB, "x"), lambda: proposals.withdraw(2, ADA)):
        with pytest.raises(ConflictError, match=r"proposal [12] is (rejected|withdrawn) already"):
            decide()
    with pytest.raises(NotFoundError, match="there is no proposal 9") as caught:
        proposals.approve(9, BOB)
    assert "those that wait: 3" in caught.value.resolution


def test_what_would_change_nothing_is_no_proposal(lab: Lab, base: str) -> None:
    assert lab.proposals().propose({T: HEAD, "base/none": None}, "x") is None
    with pytest.raises(ConfigError):
        lab.proposals().propose({T: "user_id: x\n"}, "x")
    with pytest.raises(UsageError):
        lab.proposals().propose({"../x": "y"}, "x")
    assert lab.proposals().listed() == []


def test_what_was_changed_since_is_kept(lab: Lab, base: str) -> None:
    made = propose(lab)
    lab.save_tenant(Tenant("acme", 20000, quotas={"nodes": 4}, notify="https://b.example"), "by another")
    assert lab.proposals().preview(made).tenant("acme") == Tenant("acme", 20000, quotas={"nodes": 5}, notify="https://b.example")
    lab.proposals().approve(1, BOB)
    assert lab.tenant("acme") == Tenant("acme", 20000, quotas={"nodes": 5}, notify="https://b.example")


def test_a_conflict_names_the_lines_and_leaves_it_waiting(lab: Lab, base: str) -> None:
    made = propose(lab)
    lab.save_tenant(Tenant("acme", 20000, quotas={"nodes": 9}, notify="https://a.example"), "by another")
    before = lab.revision()
    for ask in (lambda: lab.proposals().approve(1, BOB), lambda: lab.proposals().preview(made)):
        with pytest.raises(ConflictError, match=r"proposal 1 cannot be merged: tenants/acme\.yaml was changed .* same place: line 4"):
            ask()
    assert lab.revision() == before
    assert lab.proposals().get(1).state is State.OPEN


def test_one_that_is_in_force_already_is_done_with(lab: Lab, base: str) -> None:
    """As it is after an approval that was killed between its commit and its mark."""
    propose(lab)
    after = lab.change({T: HEAD.replace("4", "5")}, "the same")
    done = lab.proposals().approve(1, BOB)
    assert (done.changed, done.revision) == (False, after)
    assert lab.proposals().get(1).state is State.APPROVED


def test_files_are_added_removed_and_executable(lab: Lab, git: Git, base: str) -> None:
    texts = {T: None, "base/health/disk": "#!/bin/sh\n", "bindings/site.yaml": "settings: {}\n"}
    assert lab.proposals().propose(texts, "much")
    assert "100755" in git("ls-tree", "-r", "refs/proposals/1", "base/health/disk")
    lab.proposals().approve(1, BOB)
    assert lab.tenants() == []
    assert (lab.base / "health" / "disk").stat().st_mode & 0o777 == 0o755
    assert git("status", "--porcelain") == ""


def test_a_check_may_refuse_both(lab: Lab, base: str) -> None:
    def refuse(view: Reading) -> None:
        tenant = view.tenant("acme")
        assert tenant and tenant.quotas == {"nodes": 5}
        raise UsageError("no")

    with pytest.raises(UsageError, match="no"):
        lab.proposals().propose({T: HEAD.replace("4", "5")}, "x", check=refuse)
    propose(lab)
    with pytest.raises(UsageError, match="no"):
        lab.proposals().approve(1, BOB, check=refuse)
    assert lab.proposals().get(1).state is State.OPEN and lab.revision() == base


def test_what_somebody_edited_by_hand_is_committed_before(lab: Lab, git: Git, base: str) -> None:
    (lab.base / "motd").write_text("by hand\n")
    made = propose(lab)
    assert git("show", f"{made.base}:base/motd") == "by hand\n"
    assert git("status", "--porcelain") == ""


def test_locks_of_a_killed_git_are_removed(lab: Lab, monkeypatch: pytest.MonkeyPatch, base: str) -> None:
    monkeypatch.setattr("labcloud.lab.history._STALE_AFTER", 0.0)
    propose(lab)
    for name in ("refs/proposals/1.lock", "labcloud.index", "labcloud.index.lock", "refs/proposals/2.lock"):
        (lab.home / "lab" / ".git" / name).touch()
    assert propose(lab).number == 2
    assert lab.proposals().approve(1, BOB).changed


def _propose_some(folder: Path, name: str) -> None:
    lab = Lab(folder)
    for number in range(4):
        assert lab.proposals().propose({f"base/{name}.{number}": f"{name}\n"}, name)
        lab.save(make_cluster(name, f"c{number}"), "meanwhile")


def _approve_all(folder: Path, name: str, results: multiprocessing.Queue[int]) -> None:
    lab, done = Lab(folder), 0
    for number in range(1, 9):
        try:
            done += lab.proposals().approve(number, Author(name, f"{name}@example.org")).changed
        except LabError as exc:
            assert isinstance(exc, ConflictError), exc.brief
    results.put(done)


def test_processes_that_propose_and_approve_at_once_lose_nothing(lab: Lab, git: Git) -> None:
    context = multiprocessing.get_context("spawn")
    _together([context.Process(target=_propose_some, args=(lab.home, f"t{number}")) for number in range(2)])
    assert [each.number for each in lab.proposals().listed()] == list(range(1, 9))
    results = context.Queue()
    _together([context.Process(target=_approve_all, args=(lab.home, name, results)) for name in ("bob", "eve")])
    assert results.get() + results.get() == 8, "each was approved once"
    assert len(lab.base_files()) == 9
    assert len(lab.clusters()) == 8
    assert lab.proposals().listed() == []
    assert git("fsck", "--strict") == "" and git("status", "--porcelain") == ""


def _together(workers: list[multiprocessing.context.SpawnProcess]) -> None:
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * len(workers)


def _propose_for_ever(folder: Path) -> None:
    lab = Lab(folder)
    for number in range(100_000):
        made = lab.proposals().propose({"base/motd": f"{number}\n"}, "x")
        if made and number % 2:
            lab.proposals().approve(made.number, BOB)


def test_sigkill_at_any_moment_leaves_whole_proposals(lab: Lab, git: Git) -> None:
    import time

    context = multiprocessing.get_context("spawn")
    lab.ensure_tenant("acme")
    for round_ in range(5):
        before = len(lab.proposals().listed(decided=True))
        worker = context.Process(target=_propose_for_ever, args=(lab.home,))
        worker.start()
        while worker.is_alive() and len(lab.proposals().listed(decided=True)) <= before:
            time.sleep(0.01)
        time.sleep(0.0071 * round_)
        worker.kill()
        worker.join()
        made = lab.proposals().propose({"base/after": f"{round_}\n"}, "after")
        assert made and lab.proposals().approve(made.number, BOB).changed
        numbers = [each.number for each in lab.proposals().listed(decided=True)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert git("status", "--porcelain") == ""
    assert git("fsck", "--strict", "--no-dangling") == ""
