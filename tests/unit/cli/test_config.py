"""config: the history is shown, changes are made, proposed, approved and taken back, editors are led to what reads well."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from labcloud.errors import EngineError
from labcloud.lab import Lab
from labcloud.lab.editing import EditLocks
from labcloud.lab.git import Author
from labcloud.model import ClusterRef
from labcloud.providers.base import Provider
from tests.unit.cli.conftest import Done, Labcloud

C = "clusters/acme/c.yaml"
T = "tenants/acme.yaml"
REF = ClusterRef("acme", "c")
EVE = Author("Eve", "eve@example.org")


@pytest.fixture
def lab(home: Path, cluster: str) -> Lab:
    return Lab(home)


@pytest.fixture
def bob(labcloud: Labcloud, monkeypatch: pytest.MonkeyPatch) -> Labcloud:
    """The command line of somebody else."""

    def command(*argv: str) -> Done:
        with monkeypatch.context() as patch:
            patch.setenv("LABCLOUD_AUTHOR", "Bob <bob@example.org>")
            return labcloud(*argv)

    return command


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes the editor one that replaces text: each step (old, new) is one run of it. Gives the file that has what it saw."""
    seen = tmp_path / "seen"

    def use(*steps: tuple[str, str], more: str = "") -> Path:
        script = tmp_path / "my editor.py"
        script.write_text(
            f"import pathlib, subprocess, sys\nsteps, seen, file = {steps!r}, pathlib.Path({str(seen)!r}), pathlib.Path(sys.argv[1])\n"
            "number = int(seen.with_suffix('.n').read_text()) if seen.with_suffix('.n').exists() else 0\n"
            "text = file.read_text()\nseen.write_text(text)\nseen.with_suffix('.n').write_text(str(number + 1))\n"
            "old, new = steps[number] if number < len(steps) else ('', '')\nassert old in text, old\n"
            f"file.write_text(text.replace(old, new, 1) if old else text)\n{more}\n"
        )
        seen.with_suffix(".n").unlink(missing_ok=True)
        monkeypatch.delenv("VISUAL", raising=False)
        monkeypatch.setenv("EDITOR", f"{sys.executable} '{script}'")
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        return seen

    return use


SET = ("settings: {}", "settings:\n  hdfs-site:dfs.replication: 1")


def replication(lab: Lab) -> str | None:
    cluster = lab.cluster(REF)
    assert cluster
    return cluster.configuration.settings.get("hdfs-site:dfs.replication")


def kept(tmp_path: Path) -> list[Path]:
    return list(tmp_path.glob("labcloud-edit-*"))


def test_the_log_in_json_has_the_keys_that_scripts_know(labcloud: Labcloud, lab: Lab) -> None:
    found = json.loads(labcloud("config", "log", "-o", "json").out)
    assert [each["reason"] for each in found] == ["create acme/c: hadoop-2.7", "create the tenant acme", "begin the lab repository"]
    assert found[0].keys() == {"revision", "author", "mail", "when", "reason", "paths"}
    assert (found[0]["revision"], found[0]["author"], found[0]["mail"], found[0]["paths"]) == (
        lab.revision(),
        "Ada",
        "ada@example.org",
        [C],
    )
    assert found[0]["when"].endswith("Z")


@pytest.mark.parametrize(
    ("argv", "count"),
    [
        ((), 3), (("acme/c",), 3), (("--tenant", "acme", "c"), 3), (("--tenant", "acme"), 2), (("--path", "base"), 1), (("--path", C), 1),
        (("-n", "1"), 1), (("--tenant", "other"), 0), (("other/c",), 1),
    ],
    ids=str,
)  # fmt: skip
def test_the_log_of_what_is_asked_for(labcloud: Labcloud, lab: Lab, argv: tuple[str, ...], count: int) -> None:
    done = labcloud("config", "log", *argv, "-o", "json")
    assert (done.code, len(json.loads(done.out))) == (0, count), done.err


def test_a_table_for_people(labcloud: Labcloud, lab: Lab) -> None:
    heading, row, *_ = labcloud("config", "log").out.splitlines()
    assert heading.split() == ["REVISION", "WHEN", "AUTHOR", "REASON"]
    assert row.startswith(lab.revision()[:10]) and row.endswith("Ada     create acme/c: hadoop-2.7")


def test_nothing_is_said_of_an_empty_lab(labcloud: Labcloud) -> None:
    for verb, said in (("log", "nothing was changed\n"), ("review", "nothing waits for approval\n"), ("locks", "nothing is locked\n")):
        done = labcloud("config", verb)
        assert (done.code, done.out, done.err) == (0, "", said)


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (("log", "acme/c", "--path", "base"), 2), (("log", "--path", "../x"), 2), (("log", "-n", "0"), 2), (("rollback",), 2),
        (("rollback", "c"), 2), (("rollback", "acme/c", "x", "--file", "y"), 2), (("rollback", "--file", "/etc/passwd"), 2),
        (("rollback", "acme/c", "nonsense"), 4), (("rollback", "acme/c", "--all"), 2), (("rollback", "acme/none"), 4),
        (("rollback", "acme/c"), 4), (("rollback", "acme/c", "HEAD~1"), 4), (("rollback", "--file", "prices.yaml"), 4),
        (("edit", "../x"), 2), (("edit",), 2), (("review", "7"), 4), (("review", "x"), 2), (("approve", "7"), 4), (("approve", "0"), 2),
        (("reject", "7"), 2), (("reject", "7", "--reason", "x"), 4), (("withdraw", "7"), 4), (("lock", "nowhere"), 2),
        (("lock", "base", "--for", "ever"), 2), (("unlock", "base"), 4), (("unlock", "nowhere"), 2),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_is_refused(labcloud: Labcloud, lab: Lab, editor: Callable[..., Path], argv: tuple[str, ...], code: int) -> None:
    editor()
    before = lab.revision()
    done = labcloud("config", *argv)
    assert done.code == code, done.err
    assert code == 2 or "  try: " in done.err
    assert lab.revision() == before


def test_an_edit_is_one_commit(labcloud: Labcloud, lab: Lab, editor: Callable[..., Path], tmp_path: Path) -> None:
    seen = editor(SET)
    done = labcloud("config", "edit", C, "--reason", "one replica", "-o", "json")
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"revision": lab.revision(), "proposal": None, "paths": [C], "clusters": ["acme/c"]}
    assert (lab.log(limit=1)[0].title, replication(lab)) == ("one replica", "1")
    assert seen.read_text().startswith("profile: hadoop-2.7\n")
    assert kept(tmp_path) == [] and EditLocks(lab.home, EVE).listed() == []
    said = json.loads(labcloud("operation", "list", "-o", "json").out)[0]
    assert (said["verb"], said["target"], said["result"]) == ("config edit", C, "ok")


def test_a_new_file_of_the_base(labcloud: Labcloud, lab: Lab, editor: Callable[..., Path]) -> None:
    editor(more="file.write_text('#!/bin/sh\\n')")
    assert labcloud("config", "edit", "base/health/disk").err.endswith("it concerns acme/c\n")
    assert (lab.base / "health" / "disk").stat().st_mode & 0o111


def test_nodes_that_do_not_see_the_base_by_themselves_get_it(
    labcloud: Labcloud, lab: Lab, editor: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[ClusterRef] = []
    monkeypatch.setattr(Provider, "ensure_base", lambda _, cluster: told.append(cluster))
    editor(more="file.write_text('alias ll=\"ls -l\"\\n')")
    assert labcloud("config", "edit", "base/bashrc").code == 0
    assert told == [REF]
    editor(SET)
    assert labcloud("config", "edit", C).code == 0
    assert told == [REF]  # what concerns one cluster is not the base's
    assert labcloud("config", "apply", str(REF)).code == 0
    assert told == [REF, REF]

    def refuse(_: Provider, cluster: ClusterRef) -> None:
        raise EngineError(f"the node {cluster}/worker-1 cannot be reached by ssh")

    monkeypatch.setattr(Provider, "ensure_base", refuse)
    editor(more="file.write_text('alias l=ls\\n')")
    done = labcloud("config", "edit", "base/bashrc")
    assert done.code == 0  # the change is in force
    assert "warning: not all nodes of acme/c have it yet: the node acme/c/worker-1 cannot be reached" in done.err
    assert "labcloud config apply acme/c" in done.err


def test_no_change_is_said(labcloud: Labcloud, lab: Lab, editor: Callable[..., Path], tmp_path: Path) -> None:
    editor()
    before = lab.revision()
    done = labcloud("config", "edit", C)
    assert (done.code, done.err, lab.revision(), kept(tmp_path)) == (0, "nothing changed\n", before, [])


def test_the_editor_is_opened_again_with_the_error_on_top(labcloud: Labcloud, lab: Lab, editor: Callable[..., Path]) -> None:
    seen = editor(("count: 2", "countt: 2"), ("countt: 2", "count: 2  # two"))
    assert labcloud("config", "edit", C).code == 0
    lines = seen.read_text().splitlines()
    assert lines[0] == "#| error: line 18: 'countt' means nothing here"
    assert lines[17] == "  countt: 2"
    text = lab.text(C) or ""
    assert "count: 2  # two" in text and "#|" not in text


def test_who_leaves_the_error_gives_up_and_keeps_the_text(
    labcloud: Labcloud, lab: Lab, editor: Callable[..., Path], tmp_path: Path
) -> None:
    editor(("count: 2", "countt: 2"))
    before = lab.revision()
    done = labcloud("config", "edit", C)
    (file,) = kept(tmp_path)
    assert (done.code, lab.revision()) == (3, before)
    assert f"what you wrote is kept in {file}" in done.err
    assert "countt: 2" in file.read_text() and "#|" not in file.read_text()
    assert EditLocks(lab.home, EVE).listed() == []


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (("count: 2", "count: 3"), "count of the group 'worker' is not changed by its file: labcloud scale does that"),
        (("state: running", "state: stopped"), "state is not changed by its file: labcloud start, stop or delete does that"),
        (("memory: 2g", "memory: 20g"), "memory of the group 'worker' is not changed by its file"),
        (("user_id: 20000", "user_id: 20001"), "user id is not changed by its file: it is for life"),
        (("name: worker", "name: others"), "the groups of a cluster are not changed by its file"),
    ],
)
def test_what_is_no_configuration_is_left_to_its_verbs(
    labcloud: Labcloud, lab: Lab, editor: Callable[..., Path], step: tuple[str, str], said: str
) -> None:
    editor(step)
    done = labcloud("config", "edit", C)
    assert done.code == 3
    assert f"error: {C}: {said}" in done.err


def test_tenants_are_checked_whole(labcloud: Labcloud, lab: Lab, editor: Callable[..., Path]) -> None:
    for step, said in (
        (("user_id: 20000", "user_id: 20007"), "the user id of a tenant is not changed"),
        (("user_id: 20000\n", "user_id: 20000\nlimits:\n  hadoop-9: 1\n"), "a limit names the profile 'hadoop-9'"),
    ):
        editor(step)
        done = labcloud("config", "edit", T)
        assert (done.code, said in done.err) == (3, True), done.err
    editor(more="file.write_text('profile: x')")
    assert labcloud("config", "edit", "clusters/acme/new.yaml").code == 3
    assert "there is no cluster" not in labcloud("list").err


@pytest.mark.parametrize(("said", "error"), [("false", "ended with code 1"), ("/no/such", "cannot be run"), ("'", "No closing quotation")])
def test_an_editor_that_does_not_work_is_said(labcloud: Labcloud, lab: Lab, monkeypatch: pytest.MonkeyPatch, said: str, error: str) -> None:
    monkeypatch.setenv("VISUAL", said)
    done = labcloud("config", "edit", C)
    assert (done.code, error in done.err) == (2, True), done.err


def test_what_others_do_meanwhile_is_merged(labcloud: Labcloud, lab: Lab, editor: Callable[..., Path]) -> None:
    script = "[sys.executable, '-c', 'from labcloud.cli.main import main; main()', 'stop', 'acme/c']"
    editor(SET, more=f"subprocess.run({script}, check=True)")
    assert labcloud("config", "edit", C).code == 0
    cluster = lab.cluster(REF)
    assert cluster and (str(cluster.state), replication(lab)) == ("stopped", "1")


def test_two_do_not_edit_the_same(labcloud: Labcloud, bob: Labcloud, lab: Lab, editor: Callable[..., Path]) -> None:
    editor(SET)
    assert labcloud("config", "lock", "clusters/acme", "--for", "2h", "--reason", "exams").code == 0
    done = bob("config", "edit", C)
    assert done.code == 5
    assert "error: clusters/acme/c.yaml is locked: Ada <ada@example.org> has clusters/acme/ since" in done.err and "exams" in done.err
    assert bob("config", "rollback", "acme/c", "HEAD").code == 5
    assert bob("config", "unlock", "clusters/acme/").code == 5
    taken = bob("config", "edit", C, "--steal", "she is on holiday")
    assert taken.code == 0
    assert "the lock is taken from Ada" in taken.err
    stolen = [each for each in json.loads(bob("operation", "list", "-o", "json").out) if each["verb"] == "config steal"]
    assert [each["target"] for each in stolen] == [C]
    assert labcloud("config", "unlock", "clusters/acme/").code == 4


def test_who_is_robbed_while_editing_keeps_the_text(labcloud: Labcloud, lab: Lab, editor: Callable[..., Path], tmp_path: Path) -> None:
    code = "from labcloud.cli.main import main; main()"
    argv = f"[sys.executable, '-c', {code!r}, 'config', 'lock', {C!r}, '--steal', 'urgent']"
    environment = repr(dict(os.environ) | {"LABCLOUD_AUTHOR": "Bob <bob@example.org>"})
    editor(SET, more=f"subprocess.run({argv}, check=True, env={environment})")
    done = labcloud("config", "edit", C)
    assert done.code == 5
    assert f"somebody has taken {C} from you meanwhile: Bob" in done.err and "(urgent)" in done.err
    (file,) = kept(tmp_path)
    assert "dfs.replication: 1" in file.read_text()


def test_locks_are_listed(labcloud: Labcloud, lab: Lab) -> None:
    labcloud("config", "lock", "base/", "--reason", "a new prompt")
    (found,) = json.loads(labcloud("config", "locks", "-o", "json").out)
    assert found.keys() == {"path", "author", "mail", "since", "host", "pid", "until", "reason"}
    assert (found["path"], found["author"], found["until"], found["pid"], found["reason"]) == ("base/", "Ada", None, None, "a new prompt")
    assert labcloud("config", "locks").out.splitlines()[1].endswith("unlocked  a new prompt")
    assert labcloud("config", "unlock", "base").err == "base/ is unlocked\n"


def test_a_rollback_takes_the_configuration_back_and_nothing_else(labcloud: Labcloud, lab: Lab, editor: Callable[..., Path]) -> None:
    first = lab.revision()
    editor(SET)
    labcloud("config", "edit", C)
    second = lab.revision()
    assert labcloud("scale", "acme/c", "--workers", "3").code == 0
    assert labcloud("lease", "set", "acme/c", "8h").code == 0
    before = lab.cluster(REF)
    done = labcloud("config", "rollback", "acme/c")
    assert done.code == 0, done.err
    after = lab.cluster(REF)
    assert before and after and (after.groups, after.lease, after.state) == (before.groups, before.lease, before.state)
    assert replication(lab) is None
    assert lab.log(limit=1)[0].title == f"roll {C} back to {first[:10]}"
    assert labcloud("config", "rollback", "acme/c", second[:8], "--reason", "it was better").code == 0
    assert (replication(lab), lab.log(limit=1)[0].title) == ("1", "it was better")
    assert labcloud("config", "rollback", "acme/c", second).err == "nothing changed\n"


def test_a_rollback_of_any_file(labcloud: Labcloud, lab: Lab) -> None:
    assert labcloud("tenant", "set", "acme", "--quota", "memory=16g").code == 0
    assert labcloud("config", "rollback", "--file", T).code == 0
    tenant = lab.tenant("acme")
    assert tenant and not tenant.quotas


def test_what_is_reviewed_is_proposed(labcloud: Labcloud, bob: Labcloud, lab: Lab, editor: Callable[..., Path]) -> None:
    assert labcloud("tenant", "set", "acme", "--review", "required").code == 0
    assert json.loads(labcloud("tenant", "show", "acme", "-o", "json").out)["review"] is True
    before = lab.revision()
    editor(SET)
    done = labcloud("config", "edit", C, "--reason", "one replica", "-o", "json")
    assert json.loads(done.out) == {"revision": "", "proposal": 1, "paths": [C], "clusters": ["acme/c"]}
    assert lab.revision() == before
    (listed,) = json.loads(labcloud("config", "review", "-o", "json").out)
    assert (listed["number"], listed["state"], listed["author"], listed["reason"], listed["paths"]) == (
        1,
        "open",
        "Ada",
        "one replica",
        [C],
    )
    shown = json.loads(bob("config", "review", "1", "-o", "json").out)
    assert "+  hdfs-site:dfs.replication: 1" in shown["diff"] and shown["obstacle"] == ""
    assert labcloud("config", "approve", "1").code == 5
    approved = bob("config", "approve", "1", "-o", "json")
    assert json.loads(approved.out) | {"revision": ""} == {
        "revision": "", "applied": {}, "proposal": 1, "paths": [C], "clusters": ["acme/c"], "author": "Ada", "mail": "ada@example.org",
    }  # fmt: skip
    assert replication(lab) == "1"
    assert bob("config", "approve", "1").code == 5
    table = labcloud("config", "review", "--all").out.splitlines()[1]
    assert table.split()[:2] == ["1", "approved"]
    assert labcloud("stop", "acme/c").code == 0, "other verbs wait for nobody"


def test_a_review_shows_whom_it_reaches_what_files_become_and_who_restarts(labcloud: Labcloud, bob: Labcloud, lab: Lab) -> None:
    assert labcloud("create", "hadoop-3.4", "--tenant", "blue", "--name", "e", "--provider", "simulated", "--workers", "1").code == 0
    assert labcloud("create", "hadoop-2.7", "--tenant", "red", "--name", "f", "--provider", "simulated", "--workers", "1").code == 0
    lab.change({"review.yaml": "required: [bindings/]\n"}, "review")
    setting = "hdfs-site:dfs.datanode.handler.count"
    proposed = labcloud("config", "set", "--binding", "more", "--where", "tenant != 'red' and group == 'worker'", f"{setting}=20")
    assert "proposed as 1" in proposed.err
    found = json.loads(bob("config", "review", "1", "-o", "json").out)["consequences"]
    assert {name: [node["node"] for node in each["nodes"]] for name, each in found.items()} == {
        "acme/c": ["worker-0", "worker-1"], "blue/e": ["worker-0"],
    }  # fmt: skip
    assert all(list(node["restart"]) == ["datanode"] and not node["live"] for each in found.values() for node in each["nodes"])
    assert [(file["path"], file["nodes"]) for file in found["acme/c"]["files"]] == [("conf/hdfs-site.xml", ["worker-0", "worker-1"])]
    lines = bob("config", "review", "1").out.splitlines()
    assert lines.index("on acme/c") < lines.index("on blue/e")
    assert "on red/f" not in lines
    assert ["worker-1", "datanode", "restart"] in [line.split()[:3] for line in lines]
    assert any(line.startswith("+") and "20" in line for line in lines[lines.index("on blue/e") :])
    assert labcloud("config", "review", "1").code == 0


def test_a_proposal_that_reaches_nobody_says_so(labcloud: Labcloud, lab: Lab) -> None:
    lab.change({"review.yaml": "required: [bindings/]\n"}, "review")
    labcloud("config", "set", "--binding", "none", "--where", "tenant == 'nobody'", "hdfs-site:dfs.replication=1")
    done = labcloud("config", "review", "1")
    assert (done.code, "no cluster is configured otherwise by it" in done.err) == (0, True)


def test_a_rollback_is_reviewed_too_and_refused_ones_say_why(
    labcloud: Labcloud, bob: Labcloud, lab: Lab, editor: Callable[..., Path]
) -> None:
    editor(SET)
    labcloud("config", "edit", C)
    labcloud("tenant", "set", "acme", "--review", "required")
    assert "proposed as 1" in labcloud("config", "rollback", "acme/c").err
    assert bob("config", "withdraw", "1").code == 5
    assert bob("config", "reject", "1", "--reason", "one will do").code == 0
    assert "rejected by Bob <bob@example.org>: one will do" in labcloud("config", "review", "1").out
    assert replication(lab) == "1"
    labcloud("config", "rollback", "acme/c")
    assert labcloud("config", "withdraw", "2").err == "proposal 2 is withdrawn\n"


def test_a_proposal_that_conflicts_says_so_to_who_reviews_it(
    labcloud: Labcloud, bob: Labcloud, lab: Lab, editor: Callable[..., Path]
) -> None:
    labcloud("tenant", "set", "acme", "--review", "required")
    editor(SET)
    labcloud("config", "edit", C)
    lab.change({C: (lab.text(C) or "").replace(*SET).replace("replication: 1", "replication: 3")}, "meanwhile")
    shown = bob("config", "review", "1")
    assert f"it cannot be approved as it is: proposal 1 cannot be merged: {C} was changed meanwhile" in shown.err
    done = bob("config", "approve", "1")
    assert (done.code, "dfs.replication: 3" in done.err, replication(lab)) == (5, True, "3")


@pytest.mark.parametrize("reviewed", [True, False])
def test_a_broken_file_is_told_once_and_taken_back(labcloud: Labcloud, lab: Lab, home: Path, reviewed: bool) -> None:
    if reviewed:
        labcloud("tenant", "set", "acme", "--review", "required")
    path = home / "lab" / C
    good = path.read_text()
    path.write_text(good.replace("count: 2", "count: two"))
    for argv in (("list",), ("show", "acme/c"), ("create", "hadoop-2.7", "--tenant", "acme", "--name", "d", "--provider", "simulated")):
        done = labcloud(*argv)
        assert (done.code, done.err.count("note: clusters/acme/c.yaml:15: 'two' is not a whole number")) == (0, 1), done.err
    assert json.loads(labcloud("list", "-o", "json").out)[0]["name"] == "c"
    refused = labcloud("stop", "acme/c")
    assert (refused.code, f"labcloud config rollback --file {C}" in refused.err) == (3, True)
    done = labcloud("config", "rollback", "--file", C)
    assert (done.code, "note:" in done.err, path.read_text()) == (0, False, good), done.err
    assert labcloud("config", "review").err == "nothing waits for approval\n"
    assert "note:" not in labcloud("list").err


def test_a_broken_file_is_corrected_in_the_editor(labcloud: Labcloud, lab: Lab, home: Path, editor: Callable[..., Path]) -> None:
    path = home / "lab" / C
    path.write_text(path.read_text().replace(*SET) + "x: [\n")
    editor(("x: [\n", ""))
    done = labcloud("config", "edit", C)
    assert (done.code, "note:" in done.err) == (0, False), done.err
    assert replication(lab) == "1"


def test_a_merge_conflict_is_named_by_every_change(labcloud: Labcloud, lab: Lab, home: Path) -> None:
    path = home / "lab" / T
    path.write_text(f"<<<<<<< HEAD\n{path.read_text()}=======\nuser_id: 20001\n>>>>>>> other\n")
    assert f"note: {T}:1: a merge conflict is not resolved here" in labcloud("tenant", "list").err
    done = labcloud("stop", "acme/c")
    assert (done.code, f"{T}:1: a merge conflict is not resolved here" in done.err) == (5, True), done.err
    path.write_text("user_id: 20000\n")
    assert labcloud("stop", "acme/c").code == 0


def test_listing_stays_fast_where_nothing_is_broken(lab: Lab, monkeypatch: pytest.MonkeyPatch, labcloud: Labcloud) -> None:
    def refuse(*argv: object, **more: object) -> None:
        raise AssertionError(argv)

    monkeypatch.setattr(subprocess, "run", refuse)
    assert labcloud("list").code == 0
