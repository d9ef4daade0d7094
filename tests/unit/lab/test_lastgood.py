"""What somebody broke by hand stops nobody else: the last good text stays in force, the fault is told, and their edit is not lost."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from labcloud.errors import ConfigError, ConflictError
from labcloud.lab import Lab
from labcloud.model import Tenant, Wanted
from tests.unit.lab.conftest import make_cluster

Git = Callable[..., str]
REF = make_cluster().ref
C = "clusters/acme/hadoop-2.7.yaml"
T = "tenants/acme.yaml"
BY_HAND = ("-c", "user.name=Bob", "-c", "user.email=bob@example.org")
MARKED = "<<<<<<< HEAD\nuser_id: 20000\n=======\nuser_id: 20001\n>>>>>>> theirs\n"


@pytest.fixture
def folder(lab: Lab) -> Path:
    """The repository of a lab with a tenant and a cluster."""
    lab.ensure_tenant("acme")
    lab.save(make_cluster(), "create")
    return lab.home / "lab"


@pytest.mark.parametrize("committed", [True, False], ids=["committed", "not committed"])
def test_the_last_good_one_stays_in_force(lab: Lab, git: Git, folder: Path, committed: bool) -> None:
    good = lab.revision()
    (folder / C).write_text((folder / C).read_text().replace("count: 2", "count: two"))
    if committed:
        git(*BY_HAND, "commit", "-qam", "by hand")
    assert lab.cluster(REF) == make_cluster()
    assert lab.clusters() == [make_cluster()]
    (broken,) = lab.broken
    assert (broken.path, broken.good) == (C, good)
    assert (folder / C).read_text().splitlines()[broken.line - 1].strip() == "count: two"
    assert str(broken) == f"{C}:{broken.line}: 'two' is not a whole number from 0 to 5000; what it said at {good[:10]} stays in force"


def test_the_newest_good_one_is_taken(lab: Lab, git: Git, folder: Path) -> None:
    lab.save(make_cluster(state=Wanted.STOPPED), "stop")
    for text in ("- a list\n", "\t", "profile: x\n"):
        (folder / C).write_text(text)
        git(*BY_HAND, "commit", "-qam", "by hand")
    assert lab.cluster(REF) == make_cluster(state=Wanted.STOPPED)
    assert [each.problem for each in lab.broken] == ["'provider' is missing"]


@pytest.mark.parametrize("data", [b"\xff\xfe", b"", b"a: [", b"a: &x [*x]\n", b"user_id: 20000\x00\n", b"user_id: 20000\nquota: {}\n"])
def test_tenants_and_prices_too(lab: Lab, folder: Path, data: bytes) -> None:
    lab.change({"prices.yaml": "currency: EUR\n"}, "prices")
    (folder / T).write_bytes(data)
    (folder / "prices.yaml").write_bytes(data)
    assert lab.tenant("acme") == Tenant("acme", 20000)
    assert lab.tenant("acme", profiles=["hadoop-2.7"]) == Tenant("acme", 20000)
    prices = lab.prices()
    assert prices and prices.currency == "EUR"
    assert [each.path for each in lab.broken] == ["prices.yaml", T]


def test_without_a_good_one_the_fault_is_raised(lab: Lab, folder: Path, git: Git) -> None:
    (folder / "tenants" / "new.yaml").write_text("nonsense: 1\n")
    git("add", ".")
    git(*BY_HAND, "commit", "-qam", "by hand")
    with pytest.raises(ConfigError, match=r"new\.yaml:1: 'nonsense' means nothing here"):
        lab.tenant("new")
    assert lab.broken == []


def test_a_corrected_file_is_no_longer_broken(lab: Lab, folder: Path) -> None:
    good = (folder / T).read_text()
    (folder / T).write_text("nonsense: 1\n")
    assert lab.tenant("acme") and lab.broken
    (folder / T).write_text(good)
    assert lab.tenant("acme") and not lab.broken


def test_a_broken_file_is_not_changed_and_nobodys_edit_is_lost(lab: Lab, git: Git, folder: Path) -> None:
    text = (folder / C).read_text().replace("count: 2", "count: two")
    (folder / C).write_text(text)
    for change in (
        lambda: lab.save(make_cluster(state=Wanted.STOPPED), "stop"),
        lambda: lab.save(make_cluster(), "the same"),
        lambda: lab.remove(REF, "delete"),
        lambda: lab.change({C: "profile: x\n"}, "edit"),
        lambda: lab.change({C: None}, "remove"),
    ):
        with pytest.raises(ConfigError, match=r"hadoop-2\.7\.yaml:\d+: 'two' is not a whole number") as caught:
            change()
        assert f"labcloud config rollback --file {C}" in caught.value.resolution
    assert (folder / C).read_text() == text
    lab.ensure_tenant("other")
    (folder / "tenants" / "other.yaml").write_text("nonsense: 1\n")
    with pytest.raises(ConfigError):
        lab.save_tenant(Tenant("other", 20001, notify="https://x.example"), "set")
    with pytest.raises(ConfigError):
        lab.remove_tenant("other", "delete")


def test_other_changes_do_not_commit_what_is_broken(lab: Lab, git: Git, folder: Path) -> None:
    (folder / T).write_text("nonsense: 1\n")
    git("add", T)  # even if somebody has staged it
    (folder / "base" / "motd").write_text("hello\n")
    lab.save(make_cluster(state=Wanted.STOPPED), "stop")
    assert git("status", "--porcelain") == f"M  {T}\n"
    assert [each.title for each in lab.log(limit=2)] == ["stop", "left uncommitted before: stop"]
    assert lab.log(limit=2)[1].paths == ("base/motd",)
    assert (folder / T).read_text() == "nonsense: 1\n"


def test_a_rollback_keeps_the_broken_text_in_the_history(lab: Lab, git: Git, folder: Path) -> None:
    good = (folder / T).read_text()
    (folder / T).write_text("nonsense: 1\n")
    lab.restore([T], lab.previous(T), "take it back")
    assert (folder / T).read_text() == good
    assert git("show", f"HEAD~1:{T}") == "nonsense: 1\n"
    assert git("status", "--porcelain") == ""


def test_whoever_saw_what_is_broken_may_correct_it(lab: Lab, git: Git, folder: Path) -> None:
    good = (folder / T).read_text()
    (folder / T).write_text("nonsense: 1\n")
    with pytest.raises(ConfigError):
        lab.change({T: good}, "correct", base={T: "another nonsense: 1\n"})
    lab.change({T: "user_id: 20000\nnotify: https://x.example\n"}, "correct", base={T: "nonsense: 1\n"})
    assert lab.tenant("acme") == Tenant("acme", 20000, notify="https://x.example")
    (folder / T).write_text(MARKED)
    lab.change({T: "user_id: 20000\nnotify: https://x.example\n"}, "just as before", base={T: MARKED})
    assert git("status", "--porcelain") == ""
    assert lab.log(limit=1)[0].title == "correct"


def test_marks_of_a_merge_are_named_and_never_committed(lab: Lab, git: Git, folder: Path) -> None:
    (folder / T).write_text(MARKED)
    assert lab.tenant("acme") == Tenant("acme", 20000)
    assert [(each.line, each.problem) for each in lab.broken] == [(1, "a merge conflict is not resolved here")]
    before = lab.revision()
    for change in (
        lambda: lab.ensure_tenant("other"),
        lambda: lab.change({"base/motd": "x\n"}, "x"),
        lambda: lab.restore([T], "HEAD", "x"),
    ):
        with pytest.raises(ConflictError, match=r"acme\.yaml:1: a merge conflict is not resolved here") as caught:
            change()
        assert f"labcloud config edit {T}" in caught.value.resolution
    assert lab.revision() == before


@pytest.mark.parametrize("what", ["merge", "cherry-pick", "rebase"])
def test_a_merge_that_is_not_finished_is_named_and_nothing_is_changed(lab: Lab, git: Git, folder: Path, what: str) -> None:
    git("checkout", "-qb", "side")
    (folder / T).write_text("user_id: 20000\nnotify: https://side.example\n")
    git(*BY_HAND, "commit", "-qam", "side")
    git("checkout", "-q", "main")
    lab.save_tenant(Tenant("acme", 20000, notify="https://main.example"), "main")
    with pytest.raises(subprocess.CalledProcessError):
        git(*BY_HAND, what, "side")
    assert lab.tenant("acme") and lab.broken
    before = git("rev-parse", "HEAD")
    with pytest.raises(ConflictError, match=rf"a {what} in the lab repository .* is not finished") as caught:
        lab.ensure_tenant("other")
    assert f"{what} --abort" in caught.value.resolution
    (folder / T).write_text("user_id: 20000\nnotify: https://both.example\n")
    with pytest.raises(ConflictError, match="is not finished"):
        lab.ensure_tenant("other")
    assert git("rev-parse", "HEAD") == before
    git(what, "--abort")
    assert lab.ensure_tenant("other")


def test_threads_that_meet_a_broken_file_agree(lab: Lab, folder: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    (folder / C).write_text("nonsense: 1\n")
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: lab.cluster(REF) == make_cluster(), range(24))) == {True}
    assert len(lab.broken) == 1
