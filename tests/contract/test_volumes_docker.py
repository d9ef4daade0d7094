"""Volumes of storage classes on a real Docker Engine: what lies on this machine's disks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from labcloud.errors import ConflictError, EngineError
from labcloud.model import NodeVolume, StorageClass
from tests.contract.conftest import Bench

pytestmark = [pytest.mark.timeout(180), pytest.mark.parametrize("bench", ["docker"], indirect=True)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "mnt").mkdir()
    yield tmp_path / "mnt" / "bulk"


def volume(disk: Path) -> NodeVolume:
    return NodeVolume(2, StorageClass("bulk", path=str(disk)))


def folders(disk: Path) -> list[str]:
    return [path.name for path in disk.glob("volumes/*/*")]


def test_data_lies_below_the_path_and_goes_with_the_volume(bench: Bench, disk: Path) -> None:
    spec = bench.make(volumes=(volume(disk),))
    bench.run("tee", "/data/0/kept", stdin=b"data")
    name = f"{spec.ref.qualified}.data-0"
    assert folders(disk) == [name]
    assert next(disk.glob(f"volumes/*/{name}/kept")).read_bytes() == b"data"
    assert (disk / "volumes").stat().st_mode & 0o777 == 0o700
    bench.provider.delete_node(spec.ref)
    assert folders(disk) == [name]
    bench.provider.delete_volume(spec.ref, 0)
    assert list(disk.iterdir()) == []


def test_a_volume_whose_disk_is_not_mounted_is_not_begun_anew(bench: Bench, disk: Path) -> None:
    spec = bench.make(volumes=(volume(disk),))
    bench.provider.delete_node(spec.ref)
    shutil.rmtree(disk / "volumes")
    with pytest.raises(EngineError) as caught:
        bench.provider.ensure_node(spec)
    assert str(disk) in caught.value.resolution
    assert not (disk / "volumes").exists()
    bench.provider.delete_volume(spec.ref, 0)


def test_what_a_killed_run_left_is_finished(bench: Bench, disk: Path) -> None:
    spec = bench.make(volumes=(volume(disk),))
    bench.provider.delete_node(spec.ref)
    shutil.rmtree(next(disk.glob("volumes/*/*")))
    bench.provider.ensure_node(spec)
    assert bench.run("tee", "/data/0/kept", stdin=b"data").exit_code == 0


def test_a_class_without_a_parent_folder_is_refused(bench: Bench, tmp_path: Path) -> None:
    bench.provider.ensure_network(bench.tenant)
    bench.provider.ensure_config(bench.cluster, {"worker/greeting": "hello\n"})
    with pytest.raises(EngineError, match="storage class bulk"):
        bench.provider.ensure_node(replace(bench.spec(), volumes=(volume(tmp_path / "not" / "there"),)))
    assert bench.provider.find(cluster=bench.cluster).nodes == ()


def test_what_this_user_may_not_delete_the_engine_does(bench: Bench, disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = bench.make(volumes=(volume(disk),))
    bench.run("tee", "/data/0/kept", stdin=b"data")
    bench.provider.delete_node(spec.ref)

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(shutil, "rmtree", refuse)
    bench.provider.delete_volume(spec.ref, 0)
    monkeypatch.undo()
    assert list(disk.iterdir()) == []
    assert bench.provider.find(cluster=bench.cluster).volumes == frozenset()


def test_a_volume_of_another_lab_is_not_taken(bench: Bench, disk: Path) -> None:
    spec = bench.make(volumes=(volume(disk),))
    bench.provider.delete_node(spec.ref)
    with pytest.raises(ConflictError, match="is not this lab's"):
        bench.open_other_lab().ensure_node(spec)
    bench.provider.delete_volume(spec.ref, 0)


def test_a_node_sees_what_was_put_into_its_volume_before_it_was_made(bench: Bench, disk: Path) -> None:
    for number, each in enumerate((NodeVolume(), volume(disk))):
        (bench.provider.ensure_volume(bench.node(), number, each) / "kept").write_text(f"data {number}")
    bench.make(volumes=(NodeVolume(), volume(disk)))
    assert [bench.text("cat", f"/data/{number}/kept") for number in range(2)] == ["data 0", "data 1"]


def test_a_volume_that_only_its_driver_reaches_is_told(bench: Bench) -> None:
    memory = StorageClass("memory", driver="local", options={"type": "tmpfs", "device": "tmpfs", "o": "size=16m"})
    bench.make(volumes=(NodeVolume(1, memory),))
    with pytest.raises(EngineError, match="cannot be reached from here: the driver local keeps it"):
        bench.provider.volume_folder(bench.node(), 0)


def test_volumes_of_an_engine_elsewhere_are_not_taken_for_this_machines(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.make()
    monkeypatch.setattr("labcloud.providers.docker.volumes.is_local", lambda: False)
    with pytest.raises(EngineError, match="the engine works on another machine"):
        bench.provider.volume_folder(bench.node(), 0)
