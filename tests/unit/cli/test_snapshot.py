"""snapshot and reset on the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Done, Labcloud

ID = re.compile(r"[0-9]{8}t[0-9]{6}-[0-9a-f]{4}")
GONE = "20200101t000000-abcd"
LOG = "hdfs/name/current/edits_inprogress_2"


@pytest.fixture
def disks(tmp_path: Path, cluster: str) -> Path:
    """Where volumes lie; they hold what HDFS has at least."""
    folder = tmp_path / "engine.json.volumes"
    texts = {
        "master-0.c.acme.0/hdfs/name/current/VERSION": "clusterID=CID-1\n", f"master-0.c.acme.0/{LOG}": "log",
        "worker-0.c.acme.0/hdfs/data/current/VERSION": "clusterID=CID-1\ndatanodeUuid=1\n",
    }  # fmt: skip
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def take(labcloud: Labcloud, *argv: str) -> str:
    done = labcloud("snapshot", "create", "acme/c", *argv, "-o", "json")
    assert done.code == 0, done.err
    return str(json.loads(done.out)["id"])


def said(done: Done) -> str:
    return done.err + done.out


def test_create_says_what_was_taken(labcloud: Labcloud, disks: Path) -> None:
    done = labcloud("snapshot", "create", "acme/c", "-o", "json")
    read = json.loads(done.out)
    assert done.code == 0
    assert ID.fullmatch(read.pop("id"))
    assert 0 <= read.pop("pause_seconds") < 10
    assert read == {"tenant": "acme", "name": "c", "consistent": True, "why": "", "bytes": 50, "files": 3}
    done = labcloud("snapshot", "create", "acme/c")
    assert done.code == 0
    assert re.search(r"snapshot \S+ of acme/c: .*; writers waited for [0-9.]+ s at most", said(done))
    assert re.search(rf"next:  labcloud snapshot restore acme/c {ID.pattern}", said(done))


def test_one_that_is_not_consistent_is_a_warning(labcloud: Labcloud, disks: Path) -> None:
    (disks / "worker-0.c.acme.0/hdfs/data/current/VERSION").unlink()
    done = labcloud("snapshot", "create", "acme/c")
    assert done.code == 0
    assert "warning: it is not consistent (no data volume has hdfs/data/current/VERSION), and cannot be brought back" in said(done)
    (view,) = json.loads(labcloud("snapshot", "list", "-o", "json").out)
    assert view["state"] == "inconsistent"
    done = labcloud("snapshot", "restore", "acme/c", view["id"], "--yes")
    assert done.code == 5
    assert "is not consistent: no data volume has" in done.err


def test_list_is_golden(labcloud: Labcloud, disks: Path) -> None:
    id = take(labcloud, "--title", "before the exam")
    read = json.loads(labcloud("snapshot", "list", "acme/c", "-o", "json").out)
    (view,) = read
    taken, _ = view.pop("taken"), view.pop("pause_seconds")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", taken)
    assert view == {
        "tenant": "acme", "name": "c", "id": id, "state": "consistent", "origin": "hand", "title": "before the exam",
        "bytes": 50, "files": 3, "why": "",
    }  # fmt: skip
    table = labcloud("snapshot", "list", "--tenant", "acme").out.splitlines()
    assert re.split(r"  +", table[0].strip()) == ["CLUSTER", "SNAPSHOT", "TAKEN (UTC)", "STATE", "MADE", "HOLDS", "TITLE"]
    assert re.split(r"  +", table[1].strip()) == [
        "acme/c",
        id,
        taken[:19].replace("T", " "),
        "consistent",
        "hand",
        "50 B",
        "before the exam",
    ]
    assert labcloud("snapshot", "list", "c", "--tenant", "acme").out.splitlines() == table


def test_a_lab_without_any_says_how_to_take_one(labcloud: Labcloud, cluster: str) -> None:
    done = labcloud("snapshot", "list")
    assert (done.code, done.out) == (0, "")
    assert "there are no snapshots; take one: labcloud snapshot create CLUSTER" in done.err
    assert json.loads(labcloud("snapshot", "list", "-o", "json").out) == []
    done = labcloud("reset", "acme/c", "--yes")
    assert done.code == 4
    assert "acme/c has no snapshot" in done.err


@pytest.mark.parametrize("form", ["two words", "one word", "tenant"])
def test_restore_in_place(labcloud: Labcloud, disks: Path, form: str) -> None:
    id = take(labcloud)
    log = disks / "master-0.c.acme.0" / LOG
    log.write_text("log, and more")
    words = {"two words": ("acme/c", id), "one word": (f"acme/c@{id}",), "tenant": ("c", id, "--tenant", "acme")}[form]
    done = labcloud("snapshot", "restore", *words, "--yes", "-o", "json")
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"tenant": "acme", "name": "c", "snapshot": f"acme/c@{id}"}
    assert log.read_text() == "log"
    assert [each["origin"] for each in json.loads(labcloud("snapshot", "list", "-o", "json").out)] == ["hand", "safety"]


def test_restore_as_a_new_cluster(labcloud: Labcloud, disks: Path) -> None:
    id = take(labcloud)
    done = labcloud("snapshot", "restore", "acme/c", id, "--to", "copy", "-o", "json")
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"tenant": "acme", "name": "copy", "snapshot": f"acme/c@{id}"}
    assert (disks / "master-0.copy.acme.0" / LOG).read_text() == "log"
    assert labcloud("snapshot", "restore", "acme/c", id, "--to", "globex/copy").code == 0
    assert {(each["tenant"], each["name"]) for each in json.loads(labcloud("list", "-o", "json").out)} == {
        ("acme", "c"), ("acme", "copy"), ("globex", "copy"),
    }  # fmt: skip


def test_reset_goes_back_to_the_first(labcloud: Labcloud, disks: Path) -> None:
    first = take(labcloud)
    log = disks / "master-0.c.acme.0" / LOG
    log.write_text("second")
    take(labcloud)
    done = labcloud("reset", "acme/c", "--yes", "-o", "json")
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"tenant": "acme", "name": "c", "snapshot": f"acme/c@{first}"}
    assert log.read_text() == "log"


def test_delete_takes_those_that_are_named(labcloud: Labcloud, disks: Path) -> None:
    first, second = take(labcloud), take(labcloud)
    done = labcloud("snapshot", "delete", "acme/c", first, first, "-o", "json")
    assert json.loads(done.out) == {"tenant": "acme", "name": "c", "deleted": [first]}
    assert [each["id"] for each in json.loads(labcloud("snapshot", "list", "-o", "json").out)] == [second]
    assert "1 snapshots of acme/c are deleted" in labcloud("snapshot", "delete", "acme/c", second).err


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (("create", "acme/none"), 4, "acme/none"),
        (("create", "c"), 2, "names no tenant"),
        (("create", "acme/c d"), 2, "'c d' cannot name a cluster"),
        (("list", "acme/none"), 4, "acme/none"),
        (("list", "--tenant", "No!"), 2, "No!"),
        (("restore", "acme/c"), 2, "say which snapshot of which cluster"),
        (("restore", "acme/c", GONE, GONE), 2, "say which snapshot of which cluster"),
        (("restore", "acme/c", "latest"), 2, "'latest' cannot name a snapshot"),
        (("restore", "acme/c", "20261399t000000-abcd"), 2, "cannot name a snapshot"),
        (("restore", f"acme/c@{GONE}", GONE), 2, "cannot name a snapshot"),
        (("restore", "acme/c", GONE, "--yes"), 4, f"acme/c has no snapshot {GONE}"),
        (("restore", "acme/none", GONE, "--yes"), 4, "acme/none"),
        (("restore", "acme/c", GONE, "--to", "Bad Name"), 2, "Bad Name"),
        (("restore", "acme/c", GONE, "--to", "a/b/c"), 2, "b/c"),
        (("delete", "acme/c"), 2, "ID"),
        (("delete", "acme/c", "../x"), 2, "cannot name a snapshot"),
        (("delete", "acme/c", GONE), 4, GONE),
        (("delete", "acme/none", GONE), 4, "acme/none"),
    ],
)
def test_bad_input_is_told(labcloud: Labcloud, cluster: str, argv: tuple[str, ...], code: int, message: str) -> None:
    done = labcloud("snapshot", *argv)
    assert done.code == code, done.err
    assert message in done.err
    assert "Traceback" not in done.err


def test_an_unknown_one_names_the_nearest(labcloud: Labcloud, disks: Path) -> None:
    id = take(labcloud)
    done = labcloud("snapshot", "restore", "acme/c", GONE, "--yes")
    assert done.code == 4
    assert f"the nearest is {id}" in done.err


def test_an_unfinished_one_is_shown_and_cannot_be_brought_back(labcloud: Labcloud, disks: Path) -> None:
    id = take(labcloud)
    (disks / f"master-0.c.acme.0.{id}/manifest.json").unlink()
    (view,) = json.loads(labcloud("snapshot", "list", "-o", "json").out)
    assert (view["state"], view["why"]) == ("unfinished", "it was broken off")
    done = labcloud("snapshot", "restore", "acme/c", id, "--yes")
    assert done.code == 5
    assert "was broken off before it was whole" in done.err


def test_a_taken_name_is_refused(labcloud: Labcloud, disks: Path) -> None:
    id = take(labcloud)
    assert labcloud("create", "hadoop-2.7", "--tenant", "acme", "--name", "d", "--provider", "simulated").code == 0
    done = labcloud("snapshot", "restore", "acme/c", id, "--to", "d")
    assert done.code == 5
    assert "acme/d exists already, and is not a copy of" in done.err
