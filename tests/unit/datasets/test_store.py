"""The store: versions come and go whole, and what killed runs left goes as well."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from labcloud.datasets.pace import Pace
from labcloud.datasets.placement import check_placement, store_root
from labcloud.datasets.verifying import verify
from labcloud.errors import ConflictError, EngineError, NotFoundError
from labcloud.lab import Lab
from labcloud.model import StorageClass
from labcloud.model.dataset import Dataset, DatasetVersion
from tests.unit.datasets.conftest import Shelf

SHM = Path("/dev/shm")


def test_a_version_goes_and_leaves_what_others_share(shelf: Shelf, source: Path) -> None:
    shelf.put(source, 1)
    second = shelf.put(source, 2)
    shelf.store.remove("d", 1)
    shelf.store.remove("d", 1)
    assert not shelf.store.folder("d", 1).exists()
    assert shelf.store.missing("d", second) == []
    shelf.store.remove("d", 2)
    assert [path.name for path in shelf.store.root.iterdir()] == [".staging"]
    assert shelf.left() == []


def test_what_a_killed_run_left_is_swept_and_what_is_under_way_is_not(shelf: Shelf) -> None:
    with shelf.store.staging("d") as mine:
        killed = shelf.store.root / ".staging" / "other.0123"
        (killed / "content" / "deep").mkdir(parents=True)
        (killed / "content").chmod(0o555)
        shelf.store.sweep()
        assert shelf.left() == [mine.name]
    assert shelf.left() == []


def test_a_version_that_nobody_was_told_of_is_known(shelf: Shelf, source: Path) -> None:
    with shelf.store.staging("d") as staging:
        manifest = shelf.importing().stage(_source(source), staging)
        shelf.store.publish(staging, manifest, "d", 1)
    assert shelf.store.unfinished() == [("d", 1)]
    shelf.store.known("d", 1)
    assert shelf.store.unfinished() == []


def _source(path: Path) -> object:
    from labcloud.datasets.importing import Source

    return Source(str(path))


def test_missing_and_cut_files_are_seen_without_reading(shelf: Shelf, source: Path) -> None:
    version = shelf.put(source)
    folder = shelf.store.folder("d", 1)
    for path in (folder, folder / "two"):
        path.chmod(0o755)
    (folder / "two").write_text("")
    assert shelf.store.missing("d", version) == ["two"]
    (folder / "two").unlink()
    assert shelf.store.missing("d", version) == ["two"]


def test_a_manifest_that_is_another_is_refused(shelf: Shelf, source: Path) -> None:
    version = shelf.put(source)
    path = shelf.store.folder("d", 1).parent / "manifest"
    path.chmod(0o644)
    path.write_text(path.read_text().replace("two", "six"))
    with pytest.raises(EngineError, match="is not that of version 1"):
        shelf.store.manifest("d", version)
    path.write_text("{")
    with pytest.raises(EngineError, match="cannot be read"):
        shelf.store.manifest("d", version)


def test_verify_names_what_changed_is_missing_or_too_many(shelf: Shelf, source: Path) -> None:
    (source / "three").write_text("three\n")
    version: DatasetVersion = shelf.put(source)
    folder = shelf.store.folder("d", 1)
    manifest = shelf.store.manifest("d", version)
    assert not verify(folder, manifest, Pace("reading"))
    folder.chmod(0o755)
    for name in ("two", "three"):
        (folder / name).chmod(0o644)
    (folder / "two").write_text("TWO\n")
    (folder / "three").unlink()
    (folder / "four").write_text("four\n")
    damage = verify(folder, manifest, Pace("reading"))
    assert (damage.changed, damage.missing, damage.surplus) == (("two",), ("three",), ("four",))
    assert damage.lines() == ["two changed", "three missing", "four surplus"]


def test_verifying_is_interrupted(shelf: Shelf, source: Path) -> None:
    version = shelf.put(source)

    def check() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify(shelf.store.folder("d", 1), shelf.store.manifest("d", version), Pace("reading"), check)


def test_the_pace_is_told_now_and_then() -> None:
    now = [0.0]
    said: list[str] = []
    pace = Pace("importing", 4_000_000, said.append, lambda: now[0])
    for _ in range(4):
        now[0] += 0.5
        pace.add(1_000_000)
    assert said == ["importing: 2.0 MB of 4.0 MB, 2.0 MB/s, 1 s left", "importing: 4.0 MB of 4.0 MB, 2.0 MB/s, 0 s left"]
    said.clear()
    pace = Pace("importing", 0, said.append, lambda: now[0])
    now[0] += 100
    pace.reach(1000, 73_000)
    assert said == ["importing: 1.0 kB of 73 kB, 10 B/s, 2 h 0 min left"]


# Where it lies


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than any disk's."""
    folder = SHM / f"labcloud-{tmp_path.name}"
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def lab(tmp_path: Path, far: Path) -> Lab:
    lab = Lab(tmp_path / "home")
    classes = (
        StorageClass("bulk", path=str(tmp_path / "bulk")), StorageClass("deep", path=str(tmp_path / "not" / "there")),
        StorageClass("driver", driver="local"), StorageClass("far", path=str(far)),
    )  # fmt: skip
    lab.change_storage(lambda *_: {each.name: each for each in classes}, "classes")
    return lab


def test_a_storage_class_needs_a_folder_on_the_labs_file_system(lab: Lab, tmp_path: Path, far: Path) -> None:
    assert check_placement(lab, "bulk") == tmp_path / "bulk" / "datasets" / lab.id, "other labs may have a class in the same folder"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "bulk", tmp_path / "bulk" / "datasets")] == [0o755, 0o700]
    assert check_placement(lab, "") == store_root(lab, "") == lab.home / "datasets" / "store"
    for name in ("driver", "none"):
        with pytest.raises(NotFoundError, match="no storage class"):
            check_placement(lab, name)
    with pytest.raises(EngineError, match=r"could not make .*/not/there/datasets/"):
        check_placement(lab, "deep")
    if SHM.stat().st_dev != tmp_path.stat().st_dev:
        with pytest.raises(ConflictError, match="different file systems"):
            check_placement(lab, "far")
        assert not far.exists(), "what was made for nothing is gone"


def test_a_disk_that_is_not_mounted_is_not_taken_for_an_empty_one(lab: Lab, tmp_path: Path) -> None:
    check_placement(lab, "bulk")
    version = DatasetVersion(1, "a" * 64, 4, 1, datetime(2026, 11, 21, tzinfo=UTC), "/srv/x")
    lab.save_dataset(Dataset("d", (version,), storage="bulk"), "add d")
    shutil.rmtree(tmp_path / "bulk")
    with pytest.raises(EngineError, match=r"datasets of the storage class bulk lie in .*/bulk/datasets/.*, and that is not there"):
        check_placement(lab, "bulk")


def test_a_staging_folder_is_held(shelf: Shelf) -> None:
    with shelf.store.staging("d") as staging:
        other = os.open(staging, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(other)
