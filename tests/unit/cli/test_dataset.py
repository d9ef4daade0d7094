"""dataset: what people and scripts are told."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Labcloud


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "numbers.txt"
    path.write_text("1\n2\n")
    return path


@pytest.fixture
def added(labcloud: Labcloud, file: Path) -> str:
    assert labcloud("dataset", "add", "numbers", str(file), "--title", "Some numbers").code == 0
    return "numbers"


def test_add_says_what_there_is_now(labcloud: Labcloud, file: Path) -> None:
    first = labcloud("dataset", "add", "numbers", str(file))
    assert (first.code, first.out) == (0, "")
    assert "numbers has version 1: 1 file, 4 B; attach it: labcloud dataset attach numbers CLUSTER" in first.err
    again = labcloud("dataset", "add", "numbers", str(file))
    assert (again.code, "that is version 1 of numbers already" in again.err) == (0, True)
    done = json.loads(labcloud("dataset", "add", "numbers", str(file), "-o", "json").out)
    assert (done["name"], done["version"], done["new"]) == ("numbers", 1, False)
    assert [each["number"] if "number" in each else each["version"] for each in done["dataset"]["versions"]] == [1]


def test_list_and_show(labcloud: Labcloud, added: str, cluster: str) -> None:
    assert labcloud("dataset", "attach", added, cluster).code == 0
    (row,) = json.loads(labcloud("dataset", "list", "-o", "json").out)
    assert row == {
        "name": added, "title": "Some numbers", "access": "public", "storage": "", "version": 1, "versions": 1, "bytes": 4, "files": 1,
        "clusters": [cluster],
    }  # fmt: skip
    assert re.search(r"numbers +1 +4 B +1 +public +1 +Some numbers", labcloud("dataset", "list").out)
    shown = labcloud("dataset", "show", added)
    assert "numbers  Some numbers" in shown.out
    assert cluster in shown.out
    view = json.loads(labcloud("dataset", "show", added, "-o", "json").out)
    assert set(view) == {"name", "title", "access", "storage", "stored", "versions"}
    assert set(view["versions"][0]) == {"version", "bytes", "files", "added", "source", "sha256", "folder", "clusters"}
    assert "datasets: /datasets/numbers (version 1)" in labcloud("show", cluster).out


def test_an_empty_lab_says_how_to_begin(labcloud: Labcloud) -> None:
    assert "add one: labcloud dataset add NAME PATH" in labcloud("dataset", "list").err
    assert labcloud("dataset", "verify").code == 0


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (("add", "Numbers", "x"), 2, "cannot name a dataset"),
        (("add", "numbers", "/nowhere"), 4, "there is no file or folder /nowhere"),
        (("add", "numbers", "/etc/hostname", "--sha256", "abc"), 2, "not a SHA-256 sum"),
        (("add", "numbers", "/etc/hostname", "--sha256", "0" * 64), 5, "not " + "0" * 64),
        (("add", "numbers", "/etc/hostname", "--extract"), 2, "no tar or zip archive"),
        (("add", "numbers", "/etc/hostname", "--for", "none"), 4, "there is no tenant none"),
        (("add", "numbers", "/etc/hostname", "--storage", "bulk"), 4, "no storage class 'bulk'"),
        (("add", "numbers", "http://127.0.0.1:1/x"), 6, "could not download http://127.0.0.1:1/x"),
        (("show", "numbrs"), 4, "there is no dataset numbrs"),
        (("share", "numbers"), 2, "say who may have it"),
        (("attach", "numbers@x", "acme/c"), 2, "names no version"),
        (("attach", "numbers", "acme/none", "--to", "/x"), 2, "--to says where --load puts it"),
        (("load", "numbers", "acme/none", "--to", "x"), 2, "is no folder in HDFS"),
        (("remove", "none", "-y"), 4, "there is no dataset none"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    labcloud: Labcloud, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...], code: int, said: str
) -> None:
    monkeypatch.setattr("labcloud.images.download.random.uniform", lambda *_: 0.001)
    done = labcloud("dataset", *argv)
    assert done.code == code, done.err
    assert said in done.err
    assert "try:" in done.err
    assert "Traceback" not in done.err


def test_verify_ends_with_3_and_names_the_file(labcloud: Labcloud, added: str, home: Path) -> None:
    assert labcloud("dataset", "verify", added).code == 0
    path = home / "datasets" / "store" / added / "1" / "content" / "numbers.txt"
    path.chmod(0o644)
    path.write_text("1\n3\n")
    done = labcloud("dataset", "verify")
    assert done.code == 3
    assert re.search("numbers +1 +1 +fail", done.out)
    assert "numbers 1: numbers.txt changed" in done.err


def test_create_with_a_dataset_that_is_loaded(labcloud: Labcloud, added: str) -> None:
    create = ("create", "hadoop-2.7", "--tenant", "acme", "--name", "c", "--provider", "simulated")
    assert "--load needs a dataset" in labcloud(*create, "--load").err
    assert "names numbers twice" in labcloud(*create, "--dataset", added, "--dataset", "numbers@1").err
    done = labcloud(*create, "--dataset", added, "--load")
    assert done.code == 0
    assert "load numbers: 1 files, 4 B to /datasets/numbers" in done.err
    again = labcloud("dataset", "load", added, "acme/c")
    assert "has all of numbers: 0 files written, 1 were there" in again.err
    assert labcloud("exec", "acme/c", "--", "cat", "/datasets/numbers/numbers.txt").out == "1\n2\n"
    assert labcloud("dataset", "remove", added, "-y").code == 5
    assert labcloud("dataset", "detach", added, "acme/c").code == 0
    assert "is not attached" in labcloud("dataset", "detach", added, "acme/c").err
    assert labcloud("dataset", "remove", added, "-y").code == 0


def test_attach_twice_says_so(labcloud: Labcloud, added: str, cluster: str, file: Path) -> None:
    assert "sees version 1 of numbers at /datasets/numbers" in labcloud("dataset", "attach", added, cluster).err
    file.write_text("new\n")
    labcloud("dataset", "add", added, str(file))
    done = labcloud("dataset", "attach", added, cluster)
    assert done.code == 0
    assert f"nothing had to be done; version 2 is there: labcloud dataset attach numbers@2 {cluster}" in done.err
    loaded = json.loads(labcloud("dataset", "attach", "numbers@2", cluster, "--load", "--to", "/user/acme/n", "-o", "json").out)
    assert (loaded["version"], loaded["changed"], loaded["loaded"]["path"]) == (2, True, "/user/acme/n")


def test_preflight_says_what_is_not_for_a_tenant(labcloud: Labcloud, added: str) -> None:
    labcloud("tenant", "create", "blue")
    assert labcloud("dataset", "share", added, "--for", "blue").code == 0
    done = labcloud("preflight", "hadoop-2.7", "--tenant", "acme", "--provider", "simulated", "--dataset", added, "-o", "json")
    (answer,) = [each for each in json.loads(done.out)["checks"] if each["id"] == "datasets.present"]
    assert (done.code, answer["status"]) == (11, "fail")
    assert answer["fix"] == "labcloud dataset share numbers --for acme"


def test_a_file_names_datasets_and_options_go_before_it(labcloud: Labcloud, added: str, file: Path, tmp_path: Path, home: Path) -> None:
    assert labcloud("tenant", "create", "acme").code == 0
    file.write_text("1\n2\n3\n")
    assert labcloud("dataset", "add", added, str(file)).code == 0
    assert labcloud("dataset", "add", "letters", str(file)).code == 0
    wanted = tmp_path / "wanted.yaml"
    wanted.write_text("profile: hadoop-2.7\nprovider: simulated\ndatasets: [numbers, letters]\n")
    argv = ("create", "--tenant", "acme", "--name", "c", "--file", str(wanted), "--dataset", "numbers@1")
    assert labcloud(*argv).code == 0
    assert (home / "lab/clusters/acme/c.yaml").read_text().endswith("datasets:\n  letters: 1\n  numbers: 1\n")
    assert "nothing had to be done" in labcloud(*argv).err
    wanted.write_text("profile: hadoop-2.7\nprovider: simulated\ndatasets: {numbers: 2}\n")
    differs = labcloud("create", "--tenant", "acme", "--name", "c", "--file", str(wanted))
    assert (differs.code, "datasets is letters=1, numbers=1, not numbers=2" in differs.err) == (5, True)


def test_a_storage_class_holds_datasets_and_stays_as_long(labcloud: Labcloud, file: Path, tmp_path: Path) -> None:
    bulk = tmp_path / "bulk"
    missing = labcloud("dataset", "add", "numbers", str(file), "--storage", "bulk")
    assert (missing.code, "there is no storage class 'bulk'" in missing.err) == (4, True)
    assert labcloud("storage", "set", "bulk", "--path", str(bulk)).code == 0
    assert labcloud("storage", "set", "driven", "--driver", "local", "--option", "type=tmpfs").code == 0
    driven = labcloud("dataset", "add", "numbers", str(file), "--storage", "driven")
    assert (driven.code, "that lies in a folder of this machine" in driven.err, "those that do: bulk" in driven.err) == (4, True, True)
    assert labcloud("dataset", "add", "numbers", str(file), "--storage", "bulk").code == 0
    (version,) = json.loads(labcloud("dataset", "show", "numbers", "-o", "json").out)["versions"]
    assert Path(version["folder"]).is_relative_to(bulk)
    assert (Path(version["folder"]) / "numbers.txt").read_text() == "1\n2\n"
    assert labcloud("create", "hadoop-2.7", "--tenant", "acme", "--name", "c", "--provider", "simulated", "--dataset", "numbers").code == 0
    assert labcloud("exec", "acme/c", "--", "cat", "/datasets/numbers/numbers.txt").out == "1\n2\n"
    for argv in (("remove", "bulk"), ("set", "bulk", "--path", str(tmp_path / "other")), ("set", "bulk", "--driver", "local")):
        refused = labcloud("storage", *argv)
        assert (refused.code, "shared datasets lie in the storage class bulk: numbers" in refused.err) == (5, True)
    assert labcloud("storage", "set", "bulk", "--title", "slow").code == 0
    for argv in (("delete", "acme/c"), ("dataset", "remove", "numbers"), ("storage", "remove", "bulk")):
        assert labcloud(*argv).code == 0


def test_drift_tells_of_datasets_that_nodes_do_not_see_as_wanted(labcloud: Labcloud, added: str, cluster: str, home: Path) -> None:
    assert labcloud("dataset", "attach", added, cluster).code == 0
    assert labcloud("config", "drift", cluster).code == 0
    path = home / "lab" / "clusters" / f"{cluster}.yaml"
    path.write_text(path.read_text().replace("datasets:\n  numbers: 1\n", ""))
    done = labcloud("config", "drift", cluster)
    assert done.code == 5
    assert re.search(r"worker-0 +dataset +/datasets/numbers is not attached", done.out)
    assert labcloud("config", "apply", cluster).code == 0
    assert labcloud("config", "drift", cluster).code == 0
    assert labcloud("exec", cluster, "--", "cat", "/datasets/numbers/numbers.txt").code == 1
