"""`backup run`, `list`, `restore`, `verify`, `drill`, `prune`, with the real restic and simulated nodes whose volumes are folders."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from labcloud.apply.journal import Journal
from labcloud.cli import births, session
from labcloud.lab import Lab
from labcloud.model import ClusterRef, NodeRef
from labcloud.protect.drills import Drill
from labcloud.protect.nightly import Nightly
from labcloud.protect.reports import Outcome
from labcloud.providers.simulated import SimulatedProvider
from tests.unit.cli.conftest import Done, Labcloud

GOLDEN = Path(__file__).parent / "golden"
REF = ClusterRef("acme", "c")
_VARYING = (
    (re.compile(r'"(\w+)": "[0-9a-f]{8}"'), r'"\1": "COPY"'),
    (re.compile(r'(?<=")[0-9a-f]{8}(?=")'), "COPY"),
    (re.compile(r'"\d{4}-\d\d-\d\dT[0-9:.]+(Z|\+00:00)"'), '"TIME"'),
    (re.compile(r'"(seconds|bytes_added|bytes_total|size|restored|compared|worked)": [0-9.]+'), r'"\1": 0'),
    (re.compile(r'"/\S+/home/backups'), '"HOME/backups'),
)


def golden(done: Done, name: str) -> None:
    text = done.out
    for pattern, instead in _VARYING:
        text = pattern.sub(instead, text)
    assert text == (GOLDEN / name).read_text()


@pytest.fixture
def disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where simulated volumes lie."""

    def opened(home: Path, lab_id: str) -> SimulatedProvider:
        return SimulatedProvider(home, lab_id, folders=tmp_path / "disks")

    monkeypatch.setattr(session, "_provider_class", lambda _: opened)
    return tmp_path / "disks"


@pytest.fixture
def data(disks: Path, home: Path, cluster: str) -> str:
    """The cluster, with what its HDFS has at least."""
    engine = SimulatedProvider(home, Lab(home).id, folders=disks)
    for node, files in {
        "master-0": {"name/current/VERSION": "namespaceID=1\n", "name/current/edits_inprogress_1": "log"},
        "worker-0": {"data/current/VERSION": "datanodeUuid=0\n"},
        "worker-1": {"data/current/VERSION": "datanodeUuid=1\n"},
    }.items():
        for path, text in files.items():
            file = engine.volume_folder(NodeRef.parse(REF, node), 0) / "hdfs" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    return cluster


def test_the_whole_way(labcloud: Labcloud, data: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = labcloud("backup", "list", data, "-o", "json")
    assert (done.code, json.loads(done.out)) == (0, [])
    done = labcloud("backup", "run", data, "-o", "json")
    assert done.code == 0, done.err
    golden(done, "backup-run.json")
    golden(labcloud("backup", "list", data, "-o", "json"), "backup-list.json")
    assert labcloud("list", "-o", "json").out.count('"late": false') == 1
    assert re.search(r" BACKUP\n.* 0m ago\n", labcloud("list").out)

    done = labcloud("backup", "verify", "--tenant", "acme", "-o", "json")
    assert done.code == 0, done.err
    golden(done, "backup-verify.json")
    done = labcloud("backup", "prune", data, "-o", "json")
    assert done.code == 0, done.err
    golden(done, "backup-prune.json")
    done = labcloud("backup", "restore", data, "--to", "back", "-o", "json")
    assert done.code == 0, done.err
    golden(done, "backup-restore.json")
    assert Lab(home).cluster(ClusterRef("acme", "back"))
    assert labcloud("backup", "restore", data).code == 5

    def drill(verdict: str) -> Callable[..., Drill]:
        return lambda _, chosen, __: Drill(REF, chosen.copy.short, verdict, 3, 42, "", 1.0, 2.0, 3.0)

    monkeypatch.setattr(Nightly, "drill", drill("good"))
    golden(labcloud("backup", "drill", data, "-o", "json"), "backup-drill.json")
    monkeypatch.setattr(Nightly, "drill", drill("1 files are missing"))
    done = labcloud("backup", "drill", data)
    assert done.code == 6
    assert "did not prove good: 1 files are missing" in done.err

    pack = max((home / "backups/acme/data").glob("*/*"), key=lambda each: each.stat().st_size)
    pack.chmod(0o600)
    pack.write_bytes(b"?" + pack.read_bytes()[1:])
    done = labcloud("backup", "verify", "--full", "--tenant", "acme")
    assert done.code == 6
    assert "DAMAGED" in done.err
    assert "damaged" in labcloud("backup", "list", data).out


@pytest.mark.parametrize(
    ("errors", "code", "said"),
    [
        (("",), 0, ""),
        (("", ""), 0, ""),
        (("no room",), 6, "acme/c0 was not backed up: no room"),
        (("", "no room"), 10, "1 of 2 failed: acme/c1"),
        (("no room", "no room"), 10, "2 of 2 failed: acme/c0, acme/c1"),
    ],
)
def test_how_a_run_ends(labcloud: Labcloud, monkeypatch: pytest.MonkeyPatch, errors: tuple[str, ...], code: int, said: str) -> None:
    outcomes = [
        Outcome(ClusterRef("acme", f"c{number}"), "failed" if each else "backed up", error=each) for number, each in enumerate(errors)
    ]
    monkeypatch.setattr(Nightly, "night", lambda *_: (outcomes, ["the report did not reach example.org: no answer"]))
    monkeypatch.setattr(Nightly, "run", lambda *_: outcomes)
    done = labcloud("backup", "run", "--all")
    assert done.code == code
    assert said in done.err
    assert "warning: the report did not reach example.org" in done.err
    assert labcloud("backup", "run", "acme/c0", "acme/c1", "-o", "json").code == code


def test_a_copy_of_which_nobody_knows_what_was_new_has_no_figure(labcloud: Labcloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Nightly, "run", lambda *_: [Outcome(REF, "backed up", "4f2a9c01", None, 4 << 30, 3.0)])
    assert re.search(r" 4f2a9c01 +- +4\.3 GB +3\.0 s", labcloud("backup", "run", "acme/c").out)
    (told,) = json.loads(labcloud("backup", "run", "acme/c", "-o", "json").out)
    assert (told["bytes_added"], told["bytes_total"]) == (None, 4 << 30)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run",), "say which clusters, or --all"),
        (("run", "acme/c", "--all"), "say which clusters, or --all"),
        (("restore", "acme/c", "--node", "worker-0", "--to", "x"), "exclude each other"),
        (("restore", "acme/c", "--path", "a/b"), "is no path of HDFS"),
        (("verify", "--slice", "8/7"), "is no part of the data"),
        (("verify", "--slice", "1/7", "--full"), "--full reads all slices"),
        (("prune",), "say whose backups"),
    ],
)
def test_what_is_refused(labcloud: Labcloud, words: tuple[str, ...], said: str) -> None:
    done = labcloud("backup", *words)
    assert (done.code, said in done.err) == (2, True)


# Births


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    words: list[list[str]] = []
    popen = SimpleNamespace(Popen=lambda argv, **_: words.append(argv), DEVNULL=subprocess.DEVNULL)
    monkeypatch.setattr(births, "subprocess", popen)  # git needs the other
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/restic")
    return words


def _protect(home: Path, provider: str = "docker") -> None:
    lab = Lab(home)
    cluster = lab.cluster(REF)
    assert cluster
    lab.save(replace(cluster, provider=provider), "another engine")
    with session.session() as opened:
        births.protect_new(opened, [REF, ClusterRef("acme", "gone")])


def test_new_clusters_are_protected_by_a_process_of_its_own(
    cluster: str, home: Path, started: list[list[str]], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cluster
    _protect(home)
    ((_, *words),) = started
    assert words == ["-m", "labcloud.cli.main", "backup", "run", "--birth", "acme/c"]
    assert "labcloud backup list acme/c" in capfd.readouterr().err


def test_who_gets_none(
    labcloud: Labcloud,
    cluster: str,
    home: Path,
    started: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    _protect(home, "simulated")
    assert labcloud("backup", "policy", "set", cluster, "enabled=off").code == 0
    _protect(home)
    assert labcloud("backup", "policy", "set", cluster, "enabled=on").code == 0
    monkeypatch.setattr(shutil, "which", lambda _: None)
    capfd.readouterr()
    _protect(home)
    assert started == []
    assert "restic is not installed" in capfd.readouterr().err
    assert not list(Journal(home).events("backup"))
    assert labcloud("backup", "policy", "set", cluster, "target=engine:openstack").code == 0
    _protect(home, "openstack")
    assert len(started) == 1, "Cinder's backups need no restic"
