"""Checks of storage classes: known, there, and with room."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from labcloud.model import Cluster, StorageClass, Volume
from labcloud.model.checks import Check, Verdict
from labcloud.preflight.families import disk, storage
from tests.unit.preflight.conftest import Asked, Made


def check(id: str) -> Check:
    return next(each for each in storage.CHECKS if each.id == f"storage.{id}")


def on(cluster: Cluster, *volumes: Volume) -> Cluster:
    master, worker = cluster.groups
    return replace(cluster, groups=(master, replace(worker, volumes=volumes)))


def test_a_class_that_nobody_declares_is_named_with_what_makes_it(subject: Asked, cluster: Made) -> None:
    finding = check("known").run(subject(on(cluster(), Volume(1, "fast")), storage={"fats": StorageClass("fats", path="/x")}))
    assert (finding.verdict, finding.summary) == (Verdict.FAIL, "there is no storage class 'fast'")
    assert finding.fix == "labcloud storage set fast --path FOLDER"


def test_a_cluster_of_the_default_class_needs_none(subject: Asked, cluster: Made) -> None:
    assert check("known").run(subject(cluster())).verdict is Verdict.PASS
    for id in ("place", "space", "volumes"):
        assert check(id).run(subject(cluster())).verdict is Verdict.SKIP


PLACES = [("", Verdict.PASS), ("new", Verdict.PASS), ("not/there", Verdict.FAIL), ("file/x", Verdict.FAIL)]


@pytest.mark.parametrize(("folder", "verdict"), PLACES)
def test_a_path_is_there_or_its_parent_is(subject: Asked, cluster: Made, tmp_path: Path, folder: str, verdict: Verdict) -> None:
    (tmp_path / "file").touch()
    classes = {"bulk": StorageClass("bulk", path=str(tmp_path / folder))}
    finding = check("place").run(subject(on(cluster(), Volume(1, "bulk")), storage=classes))
    assert finding.verdict is verdict
    assert bool(finding.fix) is (verdict is Verdict.FAIL)


def test_a_redefined_default_is_looked_at_too(subject: Asked, cluster: Made) -> None:
    finding = check("place").run(subject(cluster(), storage={"default": StorageClass("default", path="/not/there")}))
    assert "the storage class default lies in /not/there" in finding.summary


def test_promises_are_counted_where_they_lie(subject: Asked, cluster: Made, tmp_path: Path) -> None:
    classes = {"bulk": StorageClass("bulk", path=str(tmp_path)), "nfs": StorageClass("nfs", driver="local")}
    asked = subject(
        on(cluster(), Volume(3, "bulk"), Volume(5), Volume(7, "nfs")), declared=(on(cluster("b/c"), Volume(100, "bulk")),), storage=classes
    )
    assert check("volumes").run(asked).evidence["promised_gib"] == 2 * 3 + 2 * 100
    own = next(each for each in disk.CHECKS if each.id == "disk.volumes").run(asked)
    assert own.evidence["promised_gib"] == 10 + 2 * 5 + 10


def test_one_volume_larger_than_its_disk_is_warned_of_with_a_fix(subject: Asked, cluster: Made, tmp_path: Path) -> None:
    classes = {"bulk": StorageClass("bulk", path=str(tmp_path))}
    finding = check("volumes").run(subject(on(cluster(), Volume(9_000_000, "bulk")), storage=classes))
    assert finding.verdict is Verdict.WARN
    assert finding.summary.startswith("one volume is promised 9000000 GiB")
    assert "--group master:memory=1536m,volume-size=10g --group worker:memory=2g,volumes=1x" in finding.fix


def test_a_full_disk_is_refused(subject: Asked, cluster: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = disk.Disk({"storage bulk": tmp_path}, 10, 100_000)
    monkeypatch.setattr(disk, "disks", lambda _: [full])
    classes = {"bulk": StorageClass("bulk", path=str(tmp_path))}
    assert check("space").run(subject(on(cluster(), Volume(1, "bulk")), storage=classes)).verdict is Verdict.FAIL
