"""The store: versions come and go whole, and what killed runs left goes as well."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from labcloud.datasets.pace import Pace
from labcloud.datasets.placement import check_placement, class_paths, store_root
from labcloud.datasets.verifying import verify
from labcloud.errors import ConflictError, EngineError, NotFoundError
from labcloud.lab import Lab
from labcloud.model.dataset import DatasetVersion
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


class _Class:
    def __init__(self, path: Path | None) -> None:
        self.path = path


class _LabWithClasses(Lab):
    classes: dict[str, _Class]

    def storage(self) -> dict[str, _Class]:
        return self.classes


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than any disk's."""
    folder = SHM / f"labcloud-{tmp_path.name}"
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_a_storage_class_needs_a_folder_on_the_labs_file_system(tmp_path: Path, far: Path) -> None:
    lab = _LabWithClasses(tmp_path / "home")
    lab.classes = {"bulk": _Class(tmp_path / "bulk"), "driver": _Class(None), "far": _Class(far)}
    paths = class_paths(lab)
    assert set(paths) == {"bulk", "far"}
    assert check_placement(lab.home, "bulk", paths) == tmp_path / "bulk" / "datasets"
    assert check_placement(lab.home, "", paths) == store_root(lab.home, "", {})
    for name in ("driver", "none"):
        with pytest.raises(NotFoundError, match="no storage class"):
            check_placement(lab.home, name, paths)
    if SHM.stat().st_dev != tmp_path.stat().st_dev:
        with pytest.raises(ConflictError, match="different file systems"):
            check_placement(lab.home, "far", paths)
    assert class_paths(Lab(lab.home)) == {}


def test_a_staging_folder_is_held(shelf: Shelf) -> None:
    with shelf.store.staging("d") as staging:
        other = os.open(staging, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(other)
