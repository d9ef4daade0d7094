"""Changes of several files: whole or not at all, merged with what others changed meanwhile, checked before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labcloud.errors import ConfigError, ConflictError, NotFoundError, UsageError
from labcloud.lab import Lab
from labcloud.lab.conflicts import conflicting_lines, first_marker
from labcloud.lab.history import History
from labcloud.lab.locks import lab_lock
from labcloud.lab.merging import merged
from labcloud.lab.reading import Reading
from labcloud.model import Tenant, Wanted
from tests.unit.lab.conftest import make_cluster

Git = Callable[..., str]
T = "tenants/acme.yaml"
HEAD = "user_id: 20000\n# people\nquotas:\n  nodes: 4\n\n\n\n\n\nnotify: https://a.example\n"


@pytest.fixture
def base(lab: Lab) -> str:
    """The revision with a tenant whose file is `HEAD`."""
    return lab.change({T: HEAD}, "begin")


def test_several_files_are_one_commit(lab: Lab, git: Git, base: str) -> None:
    after = lab.change({T: None, "base/motd": "hello\n", "bindings/site.yaml": "settings: {}\n", "base/health/disk": "#!/bin/sh\n"}, "all")
    (change,) = lab.log(limit=1)
    assert (change.revision, change.title, len(change.paths)) == (after, "all", 4)
    assert lab.tenants() == []
    assert lab.base_files().keys() == {"bashrc", "motd", "health/disk"}
    modes = {
        path: (lab.home / "lab" / path).stat().st_mode & 0o777 for path in ("base/motd", "base/health", "base/health/disk", "bindings")
    }
    assert modes == {"base/motd": 0o644, "base/health": 0o755, "base/health/disk": 0o755, "bindings": 0o700}
    assert git("status", "--porcelain") == ""
    lab.change({"base/health/disk": None}, "gone")
    assert not (lab.base / "health").exists()


def test_nothing_new_is_no_commit(lab: Lab, base: str) -> None:
    assert lab.change({T: HEAD, "tenants/none.yaml": None}, "nothing") == base
    assert lab.change({}, "nothing") == base


def test_each_text_is_read_before_anything_is_written(lab: Lab, base: str) -> None:
    for path, text in (
        (T, "user_id: x\n"),
        ("clusters/acme/c.yaml", "x: 1\n"),
        ("review.yaml", "required: [x]\n"),
        ("base/x.yaml", "a: ["),
    ):
        with pytest.raises(ConfigError, match=rf"^{path}:\d: "):
            lab.change({"base/motd": "x\n", path: text}, "bad")
    with pytest.raises(ConfigError, match=r"base/motd:2: a NUL byte"):
        lab.change({"base/motd": "x\n\0"}, "bad")
    assert lab.revision() == base
    assert lab.base_files().keys() == {"bashrc"}


def test_the_check_sees_the_lab_as_it_would_be(lab: Lab, base: str) -> None:
    seen: list[list[str]] = []

    def check(view: Reading) -> None:
        seen.append([each.name for each in view.tenants()])
        assert view.base_files().keys() == {"bashrc", "motd"}
        raise UsageError("no")

    with pytest.raises(UsageError, match="no"):
        lab.change({T: None, "tenants/new.yaml": "user_id: 20007\n", "base/motd": "x\n"}, "x", check=check)
    assert seen == [["new"]]
    assert lab.revision() == base


def test_what_others_changed_elsewhere_is_kept(lab: Lab, base: str) -> None:
    lab.save_tenant(Tenant("acme", 20000, quotas={"nodes": 9}, notify="https://a.example"), "by another")
    lab.change({T: HEAD.replace("a.example", "b.example")}, "mine", base=base)
    assert lab.tenant("acme") == Tenant("acme", 20000, quotas={"nodes": 9}, notify="https://b.example")
    assert "# people" in (lab.text(T) or "")


def test_the_texts_themselves_may_be_the_base(lab: Lab, base: str) -> None:
    lab.save_tenant(Tenant("acme", 20000, quotas={"nodes": 9}, notify="https://a.example"), "by another")
    lab.change({T: HEAD.replace("a.example", "b.example")}, "mine", base={T: HEAD})
    assert lab.tenant("acme") == Tenant("acme", 20000, quotas={"nodes": 9}, notify="https://b.example")


def test_the_same_lines_are_a_conflict_and_nothing_is_written(lab: Lab, git: Git, base: str) -> None:
    lab.save_tenant(Tenant("acme", 20000, quotas={"nodes": 9}, notify="https://a.example"), "by another")
    before = lab.revision()
    with pytest.raises(ConflictError, match=r"tenants/acme\.yaml was changed meanwhile, at the same place: line 4") as caught:
        lab.change({T: HEAD.replace("nodes: 4", "nodes: 5"), "base/motd": "x\n"}, "mine", base=base)
    assert "nodes: 9" in caught.value.details and "nodes: 5" in caught.value.details
    assert lab.revision() == before and git("status", "--porcelain") == ""
    assert list((lab.home / "lab" / ".git").glob("labcloud.*")) == []


def test_removals_and_additions_conflict_too(lab: Lab, base: str) -> None:
    lab.change({T: None, "base/motd": "theirs\n"}, "by another")
    with pytest.raises(ConflictError, match="was removed meanwhile: it cannot be changed as well"):
        lab.change({T: HEAD + "# mine\n"}, "mine", base=base)
    with pytest.raises(ConflictError, match="base/motd was changed meanwhile, at the same place: line 1"):
        lab.change({"base/motd": "mine\n"}, "mine", base=base)
    lab.change({T: HEAD.replace("4", "5")}, "back")
    with pytest.raises(ConflictError, match="was changed meanwhile: it cannot be removed as well"):
        lab.change({T: None}, "mine", base=base)


def test_a_merge_that_nobody_could_read_is_refused(lab: Lab) -> None:
    base = lab.change({T: "user_id: 20000\n# a\n# b\n# c\n# d\n"}, "begin")
    lab.change({T: "user_id: 20000\nnotify: https://a.example\n# a\n# b\n# c\n# d\n"}, "theirs")
    before = lab.revision()
    with pytest.raises(ConfigError, match=r"acme\.yaml:7: 'notify' is said twice"):
        lab.change({T: "user_id: 20000\n# a\n# b\n# c\n# d\nnotify: https://b.example\n"}, "mine", base=base)
    assert lab.revision() == before


def test_an_unknown_base_is_refused_before_anything_is_written(lab: Lab, base: str) -> None:
    lab.change({"base/motd": "x\n"}, "later")
    with pytest.raises(NotFoundError, match="no revision"):
        lab.change({T: HEAD}, "x", base="0" * 40)


lines = st.lists(st.sampled_from(["a", "b", "c: 1", "", "# x", "<<<<<<", "=======", "é"]), max_size=8).map(
    lambda found: "".join(f"{line}\n" for line in found)
)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    folder = tmp_path_factory.mktemp("home")
    with lab_lock(folder) as lock:
        made = History(folder / "lab")
        made.begin(lock)
    return made


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(now=lines, before=lines, wanted=lines)
def test_a_merge_is_the_change_of_both_or_a_conflict(history: History, now: str, before: str, wanted: str) -> None:
    assert merged(history, "x", (now, now, wanted)) == wanted
    assert merged(history, "x", (now, before, before)) == now
    assert merged(history, "x", (wanted, before, wanted)) == wanted
    try:
        one = merged(history, "x", (now, before, wanted))
        other = merged(history, "x", (wanted, before, now))
    except ConflictError:
        return
    assert one == other


def test_marks_are_found_only_where_all_are() -> None:
    assert first_marker("a\n<<<<<<< x\n=======\n>>>>>>> y\n") == 2
    assert first_marker("<<<<<<< x\n<<<<<<< x\n=======\n>>>>>>> y\n") == 2
    for text in ("", "=======\n", "<<<<<<< x\n>>>>>>> y\n", "<<<<<<< x\n=======\n", "x <<<<<<< y\n=======\n>>>>>>> y\n"):
        assert first_marker(text) == 0
    assert conflicting_lines("a\n<<<<<<< x\nb\nc\n||||||| o\nq\n=======\nd\n>>>>>>> y\ne\n<<<<<<< x\n=======\nd\n>>>>>>> y\n") == [
        (2, 3),
        (5, 4),
    ]


def test_review_is_required_where_a_file_or_a_tenant_says_so(lab: Lab, base: str) -> None:
    assert not lab.review_required([T, "base/bashrc", "review.yaml"])
    lab.change({"review.yaml": "required:\n- base/\n- clusters/acme/\n- tenants/other.yaml\n"}, "review")
    asked = {path: lab.review_required([path]) for path in ("base/x/y", "clusters/acme/c.yaml", "clusters/acm/c.yaml", T, "review.yaml")}
    assert asked == {"base/x/y": True, "clusters/acme/c.yaml": True, "clusters/acm/c.yaml": False, T: False, "review.yaml": True}
    assert lab.review_required(["prices.yaml", "tenants/other.yaml"]) and not lab.review_required([])
    lab.save_tenant(Tenant("strict", 0, review=True), "strict")
    assert lab.review_required(["clusters/strict/c.yaml"]) and lab.review_required(["tenants/strict.yaml"])
    assert lab.tenant("strict") == Tenant("strict", 20001, review=True)
    assert "review: required\n" in (lab.text("tenants/strict.yaml") or "")


@pytest.mark.parametrize("text", ["required: []\n", "required: [/x]\n", "required: [../x]\n", "x: 1\n", "required: [clusters/Acme/]\n"])
def test_a_wrong_review_file_is_refused_with_its_line(lab: Lab, text: str) -> None:
    with pytest.raises(ConfigError, match=r"review\.yaml:1: "):
        lab.change({"review.yaml": text}, "x")


def test_a_lab_that_was_not_begun_is(lab: Lab, git: Git) -> None:
    lab.change({"base/motd": "x\n"}, "first")
    assert git("log", "--format=%s") == "first\nbegin the lab repository\n"


def test_leftovers_of_a_killed_change_are_committed_by_the_next(lab: Lab, git: Git, base: str) -> None:
    (lab.base / "motd").write_text("half of a change\n")
    for name in ("labcloud.index", "labcloud.new", "labcloud.merge.ours", "refs/proposals/1.lock"):
        path = lab.home / "lab" / ".git" / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (lab.home / "lab" / ".git" / "refs" / "proposals" / "1.lock").unlink()
    lab.save(replace(make_cluster(), state=Wanted.STOPPED), "stop")
    assert [each.title for each in lab.log(limit=2)] == ["stop", "left uncommitted before: stop"]
    assert git("status", "--porcelain") == ""


def test_path_of_a_folder_is_no_file(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no file of a lab repository"):
        lab.change({"clusters/acme": "x"}, "x")
