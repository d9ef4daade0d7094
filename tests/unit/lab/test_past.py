"""The past of a lab: every revision is read as the present is, listed, compared and restored."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from labcloud.errors import ConfigError, NotFoundError, UsageError
from labcloud.lab import Lab
from labcloud.lab.history import Change, History
from labcloud.lab.reading import Reading
from labcloud.lab.sources import Overlay, Revision, WorkTree
from labcloud.model import ClusterRef, Configuration, NodeGroup, Tenant, Wanted
from tests.unit.lab.conftest import make_cluster

Git = Callable[..., str]
C = "clusters/acme/hadoop-2.7.yaml"
REF = make_cluster().ref
THRICE = Configuration(settings={"hdfs-site:dfs.replication": "3"})


@pytest.fixture
def revisions(lab: Lab) -> list[str]:
    """Three: a tenant with a cluster, the cluster stopped, the cluster deleted and another tenant."""
    lab.ensure_tenant("acme")
    lab.save(make_cluster(), "create acme/hadoop-2.7\n\nFor the course.")
    first = lab.revision()
    lab.save(make_cluster(state=Wanted.STOPPED), "stop acme/hadoop-2.7")
    second = lab.revision()
    lab.remove(REF, "delete acme/hadoop-2.7")
    lab.ensure_tenant("other")
    return [first, second, lab.revision()]


def test_a_lab_that_was_not_begun_has_no_past(lab: Lab) -> None:
    assert (lab.revision(), lab.log(), lab.broken, lab.proposals().listed()) == ("", [], [], [])
    with pytest.raises(NotFoundError, match="no revision 'HEAD'"):
        lab.at("HEAD")
    assert not lab.home.exists()


def test_each_revision_is_read_as_the_present_is(lab: Lab, revisions: list[str]) -> None:
    first, second, third = map(lab.at, revisions)
    assert (first.cluster(REF), second.cluster(REF), third.cluster(REF)) == (make_cluster(), make_cluster(state=Wanted.STOPPED), None)
    assert [view.refs() for view in (first, third)] == [[REF], []]
    assert first.clusters("acme") == [make_cluster()]
    assert [[each.name for each in view.tenants()] for view in (first, third)] == [["acme"], ["acme", "other"]]
    assert first.tenant("acme", profiles=["hadoop-2.7"]) == Tenant("acme", 20000)
    assert first.prices() is None
    assert first.base_files() == lab.base_files() == {"bashrc": (lab.base / "bashrc").read_text()}


def test_the_work_tree_is_left_alone(lab: Lab, git: Git, revisions: list[str]) -> None:
    lab.at(revisions[0]).clusters()
    assert git("status", "--porcelain") == ""
    assert lab.refs() == []


@pytest.mark.parametrize("said", ["HEAD", "HEAD~1", "main", "{short}", "{full}", "HEAD^0"])
def test_whatever_names_a_commit_will_do(lab: Lab, revisions: list[str], said: str) -> None:
    assert lab.at(said.format(short=revisions[2][:7], full=revisions[2])).tenants()


@pytest.mark.parametrize("said", ["", "nonsense", "--all", "-h", "HEAD:base", "HEAD\0", "HEAD~99", "ffffffff", "HEAD\nx", "a b"])
def test_what_names_no_commit_is_refused_with_the_last_ones(lab: Lab, revisions: list[str], said: str) -> None:
    with pytest.raises(NotFoundError, match="no revision") as caught:
        lab.at(said)
    assert revisions[2][:10] in caught.value.details
    assert "delete acme/hadoop-2.7" in caught.value.details


def test_the_log_says_who_when_why_and_what(lab: Lab, revisions: list[str]) -> None:
    newest, *_, begun = lab.log()
    assert (newest.revision, newest.author, newest.mail) == (revisions[2], "Ada", "ada@example.org")
    assert (newest.title, newest.paths) == ("create the tenant other", ("tenants/other.yaml",))
    assert abs(newest.when - datetime.now(UTC)) < timedelta(minutes=1)
    assert (begun.title, begun.paths) == ("begin the lab repository", ("base/bashrc",))
    assert [each.title for each in lab.log(limit=2)] == ["create the tenant other", "delete acme/hadoop-2.7"]


def test_the_log_of_a_cluster_has_what_concerns_it(lab: Lab, revisions: list[str]) -> None:
    assert [each.title for each in lab.log([C])] == ["delete acme/hadoop-2.7", "stop acme/hadoop-2.7", "create acme/hadoop-2.7"]
    assert lab.log([C])[-1].reason == "create acme/hadoop-2.7\n\nFor the course."
    assert {each.title for each in lab.log(lab.inputs(REF))} == {
        "delete acme/hadoop-2.7", "stop acme/hadoop-2.7", "create acme/hadoop-2.7", "create the tenant acme", "begin the lab repository",
    }  # fmt: skip
    assert lab.log(["clusters/other/x.yaml"]) == []


def test_odd_names_and_empty_commits_are_in_the_log(lab: Lab, git: Git) -> None:
    lab.ensure_tenant("acme")
    for name in ("a b", 'q"uo\te', "ä\nö"):
        (lab.base / name).write_text("x")
    git("add", ".")
    identity = ("-c", "user.name=Bob <x>", "-c", "user.email=bob@x")
    git(*identity, "commit", "-qm", "odd\n\n\x01 body\n")
    git(*identity, "commit", "-q", "--allow-empty", "-m", "empty")
    empty, odd = lab.log(limit=2)
    assert (empty.title, empty.paths, odd.title) == ("empty", (), "odd")
    assert sorted(odd.paths) == sorted(f"base/{name}" for name in ("a b", 'q"uo\te', "ä\nö"))


def test_two_revisions_are_compared(lab: Lab, revisions: list[str]) -> None:
    text = lab.diff(revisions[0], revisions[1], [C])
    assert "-state: running\n+state: stopped\n" in text
    assert lab.diff(revisions[0], "HEAD", ["base"]) == ""
    assert "\x1b[" in lab.diff(revisions[0], revisions[1], colour=True)


def test_a_file_is_restored_as_one_commit(lab: Lab, git: Git, revisions: list[str]) -> None:
    after = lab.restore([C], revisions[0], "as it was")
    assert lab.cluster(REF) == make_cluster()
    assert lab.at(after).cluster(REF) == make_cluster()
    assert lab.log(limit=1)[0] == Change(after, "Ada", "ada@example.org", lab.log(limit=1)[0].when, "as it was", (C,))
    assert git("status", "--porcelain") == ""
    assert lab.restore([C], revisions[0], "again") == after, "nothing is left to restore"


def test_what_was_not_there_is_removed_and_what_is_not_named_stays(lab: Lab, revisions: list[str]) -> None:
    (lab.base / "health").mkdir()
    (lab.base / "health" / "disk").write_text("#!/bin/sh\n")
    lab.ensure_tenant("third")
    lab.restore(["base/", "clusters/"], revisions[0], "as it was")
    assert lab.base_files().keys() == {"bashrc"}
    assert lab.refs() == [REF]
    assert [each.name for each in lab.tenants()] == ["acme", "other", "third"]
    assert lab.base.is_dir()
    lab.restore(["base/"], "HEAD~1", "and back")
    disk = lab.base / "health" / "disk"
    assert (disk.read_text(), disk.stat().st_mode & 0o777, disk.parent.stat().st_mode & 0o777) == ("#!/bin/sh\n", 0o755, 0o755)


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "../x", "base/../../x", ".git/config", "base/.git", "tenants/Evil.yaml", "a\0b", "nonsense"]
)
def test_no_path_leads_out_of_the_lab(lab: Lab, revisions: list[str], path: str) -> None:
    with pytest.raises(UsageError):
        lab.restore([path], "HEAD", "x")
    with pytest.raises(UsageError):
        lab.change({path: "x: 1\n"}, "x")


def test_what_cannot_be_read_any_more_is_not_restored(lab: Lab, git: Git, revisions: list[str]) -> None:
    path = lab.home / "lab" / "tenants" / "acme.yaml"
    good = path.read_text()
    path.write_text("user_id: nonsense\n")
    git("-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qam", "by hand")
    bad = lab.revision()
    lab.restore(["tenants/acme.yaml"], "HEAD~1", "good again")
    with pytest.raises(ConfigError, match=rf"{bad[:10]}:tenants/acme.yaml:1: 'nonsense'"):
        lab.restore(["tenants/acme.yaml"], bad, "bad again")
    assert path.read_text() == good


def test_binary_files_of_the_base_are_restored(lab: Lab, revisions: list[str]) -> None:
    (lab.base / "blob").write_bytes(b"\xff\x00\n")
    lab.ensure_tenant("third")
    (lab.base / "blob").unlink()
    lab.ensure_tenant("fourth")
    lab.restore(["base/blob"], "HEAD~2", "blob")
    assert (lab.base / "blob").read_bytes() == b"\xff\x00\n"


def test_the_version_before_the_last_change_of_configuration(lab: Lab, revisions: list[str]) -> None:
    with pytest.raises(NotFoundError, match=r"no earlier version of clusters/acme/hadoop-2\.7\.yaml"):
        lab.previous(C)  # it is deleted
    lab.save(make_cluster(), "create")
    lab.save(make_cluster(configuration=THRICE), "set")
    lab.save(make_cluster(configuration=THRICE, state=Wanted.STOPPED), "stop")
    back = lab.previous(C)
    assert lab.at(back).cluster(REF) == make_cluster()
    lab.change({C: lab.older(C, back)}, "undo")
    assert lab.cluster(REF) == make_cluster(state=Wanted.STOPPED), "its state is no configuration"
    undone = lab.at(lab.previous(C)).cluster(REF)
    assert undone and undone.configuration == THRICE
    with pytest.raises(NotFoundError, match=r"no earlier version of tenants/acme\.yaml"):
        lab.previous("tenants/acme.yaml")


def test_a_change_concerns_the_clusters_that_it_says_something_to(lab: Lab) -> None:
    for tenant, name in (("a", "one"), ("a", "two"), ("b", "one")):
        lab.save(make_cluster(tenant, name, groups=(NodeGroup("master", 1, 2048),)), "create")

    def named(*paths: str) -> list[str]:
        return [str(ref) for ref in lab.concerned(paths)]

    assert named("clusters/a/one.yaml") == ["a/one"]
    assert named("tenants/a.yaml") == ["a/one", "a/two"]
    assert named("tenants/b.yaml", "clusters/a/two.yaml") == ["a/two", "b/one"]
    assert named("base/bashrc") == named("bindings/site.yaml") == named("storage.yaml") == ["a/one", "a/two", "b/one"]
    assert named("prices.yaml", "review.yaml", "datasets/x.yaml", "clusters/a") == ["a/one", "a/two"]
    assert named() == named("tenants/c.yaml", "clusters/a/on.yaml") == []


def test_a_revision_of_many_clusters_is_read_by_few_processes(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for number in range(12):
        lab.save(make_cluster("acme", f"c{number}"), "create")
    calls = []
    real = __import__("subprocess").run
    monkeypatch.setattr("labcloud.lab.git.subprocess.run", lambda *args, **more: calls.append(args) or real(*args, **more))
    assert len(lab.at("HEAD").clusters()) == 12
    assert len(calls) == 3
    calls.clear()
    assert len(lab.clusters()) == 12
    assert lab.tenant("acme") is None
    assert calls == [], "no git for what lies there"


def test_refs_that_nobody_can_have_are_refused(lab: Lab, revisions: list[str]) -> None:
    with pytest.raises(UsageError):
        lab.at("HEAD").cluster(ClusterRef("acme", "../../x"))


def test_a_lab_as_it_would_be_is_read_like_any(lab: Lab, revisions: list[str]) -> None:
    new = "clusters/new/c.yaml"
    texts = {
        new: lab.at(revisions[0]).text(C),
        C: None,
        "base/bashrc": None,
        "base/x/y": "z\n",
        "base/.hidden": "h",
        "tenants/acme.yaml": None,
    }
    for under in (WorkTree(lab.home / "lab"), Revision(History(lab.home / "lab"), revisions[0])):
        view = Reading(Overlay(under, texts))
        assert [str(ref) for ref in view.refs()] == ["new/c"]
        assert view.base_files() == {"x/y": "z\n"}
        assert "acme" not in [each.name for each in view.tenants()]
        assert view.cluster(REF) is None
