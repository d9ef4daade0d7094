"""What is fetched together, and what is not fetched again."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from labcloud.errors import EngineError
from labcloud.protect import fetching
from labcloud.protect.answers import Entry
from labcloud.protect.fetching import Fetching, divide, forget
from labcloud.protect.restic import Repository, Upload
from labcloud.protect.staging import Tree
from tests.unit.protect.conftest import NOON, Place

PLACES = ("master-0/0", "worker-0/0", "worker-1/0")


def _entries(*paths: str, size: int = 10) -> Iterable[Entry]:
    """Folders end in a slash; all files are of ``size`` bytes."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    for path in paths:
        yield Entry(path.rstrip("/"), "dir" if path.endswith("/") else "file", 0 if path.endswith("/") else size, at)


WORKER = ("{}/", "{}/0/", "{}/0/d/", "{}/0/d/VERSION", "{}/0/d/s0/", "{}/0/d/s0/blk_1", "{}/0/d/s0/blk_2", "{}/0/d/s1/", "{}/0/d/s1/blk_3",
          "{}/0/empty/", "{}/0/z")  # fmt: skip


def _workers(*names: str) -> list[str]:
    return [path.format(f"/{name}") for name in names for path in WORKER]


def test_what_has_the_same_path_on_each_volume_comes_together() -> None:
    listed = [
        *_entries("/files.json.gz", "/manifest.json", "/master-0/", "/master-0/0/", "/master-0/0/edits"),
        *_entries(*_workers("worker-0", "worker-1")),
    ]
    parts = divide(listed, PLACES, 40)
    assert [part.size for part in parts] == [30, 40, 40]
    assert [part.paths.get("master-0/0") for part in parts] == [[""], None, None]
    for worker in ("worker-0/0", "worker-1/0"):
        assert [part.paths[worker] for part in parts] == [["d/VERSION"], ["d/s0"], ["d/s1", "empty", "z"]]
    assert [part.paths for part in divide(listed, ["worker-0/0"], 1000)] == [{"worker-0/0": ["d/VERSION", "d/s0", "d/s1", "empty", "z"]}]


def test_a_folder_that_is_more_than_a_part_is_one() -> None:
    listed = list(_entries("/w/", "/w/0/", "/w/0/a/", "/w/0/a/1", "/w/0/a/2", "/w/0/b/", "/w/0/b/1"))
    assert [part.paths["w/0"] for part in divide(listed, ["w/0"], 5)] == [["a"], ["b"]]


def test_nothing_is_divided_where_no_pattern_fits_a_name() -> None:
    """restic writes such names with a replacement character, which they do not have."""
    listed = list(_entries("/w/", "/w/0/", "/w/0/a/", "/w/0/b\ufffd"))
    assert divide(listed, ["w/0"], 5) == []


# With the real restic


class Copy:
    """A copy of two workers that have the same blocks, and their own files beside them."""

    def __init__(self, place: Place, repository: Repository) -> None:
        self._place, self.repository, self.size = place, repository, 2 * 3 * 300_000
        blocks = {f"s{number}/blk": os.urandom(300_000) for number in range(3)}
        self.files = {place: {**blocks, "VERSION": place.encode(), "we?rd*/[x]": b"1"} for place in PLACES[1:]}
        for at, files in self.files.items():
            _put(place.root / "data" / at, files)
        mounts = {at: place.root / "data" / at for at in self.files}
        self.id = repository.backup(Upload(Tree(mounts, {}), "h", (), NOON), stage=place.stage).id
        self.folders = {at: place.root / "back" / at.replace("/", ".") for at in self.files}
        for folder in self.folders.values():
            _put(folder, {"left/over": b"1"})

    def fetch(self, folders: Mapping[str, Path] | None = None) -> list[list[str]]:
        """Fetch; return what was asked of restic, run by run."""
        asked: list[list[str]] = []
        real = Repository.restore

        def restore(repository: Repository, id: str, *words: object, **options: object) -> None:
            asked.append(list(options["include"]))  # type: ignore[call-overload]
            real(repository, id, *words, **options)  # type: ignore[arg-type]

        with mock.patch.object(Repository, "restore", restore):
            Fetching(self.repository, self.id, self.size, self._place.stage, lambda _: lambda _: None).fetch(folders or self.folders)
        return asked

    def there(self) -> dict[str, dict[str, bytes]]:
        for folder in self.folders.values():
            forget(folder)
        return {
            at: {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}
            for at, folder in self.folders.items()
        }


def _put(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.fixture
def copy(place: Place, repository: Repository) -> Copy:
    return Copy(place, repository)


def test_all_volumes_come_by_one_run(copy: Copy) -> None:
    assert copy.fetch() == [["worker-0/0/", "worker-1/0/"]]
    assert copy.there() == copy.files


def test_the_disk_is_written_while_files_come(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = threading.Event()
    monkeypatch.setattr(fetching, "_WRITTEN_SECONDS", 0.01)
    monkeypatch.setattr("labcloud.protect.fetching.os.sync", synced.set)
    real = Repository.restore

    def restore(*words: Any, **options: Any) -> None:
        assert synced.wait(30)
        real(*words, **options)

    monkeypatch.setattr(Repository, "restore", restore)
    copy.fetch()
    assert copy.there() == copy.files


@pytest.fixture
def much(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> Copy:
    """A copy that is more than one part."""
    monkeypatch.setattr(fetching, "_MUCH", 700_000)
    monkeypatch.setattr(fetching, "_WRITTEN_SECONDS", 60.0)  # tests say when the disk is written
    return copy


def test_much_comes_in_parts_and_none_twice(much: Copy) -> None:
    paths = [["VERSION", "s0"], ["s1"], ["s2", "we?rd*"]]
    every = [[f"{place}/{path}" for place in much.folders for path in each] for each in paths]
    for folder in much.folders.values():
        folder.chmod(0o755)
    (much._place.root / "data/worker-0/0/s1").chmod(0o711)
    with mock.patch.object(fetching._Volume, "settle", side_effect=EngineError("gone")), pytest.raises(EngineError):
        much.fetch()
    assert much.fetch() == []
    assert much.there() == much.files

    # Now it ends in the second part.
    seen: list[object] = []

    def die(*_: object) -> None:
        seen.append(1)
        if len(seen) == 3:
            raise EngineError("gone")

    with mock.patch("labcloud.protect.fetching.os.sync", die), pytest.raises(EngineError):
        much.fetch()
    assert much.fetch() == every[2:]
    assert much.there() == much.files
    assert much.fetch() == every, "what nobody noted is fetched"


def test_a_volume_that_was_emptied_since_is_fetched_whole(much: Copy) -> None:
    """As by the restore of a single node, which was broken off as well."""
    with mock.patch.object(fetching._Volume, "settle", side_effect=EngineError("gone")), pytest.raises(EngineError):
        much.fetch()
    forget(much.folders["worker-1/0"])
    asked = much.fetch()
    assert [each.partition("/0/")[0] for run in asked for each in run] == ["worker-1"] * 5
    assert much.there() == much.files


def test_a_volume_that_the_copy_has_not(copy: Copy) -> None:
    none = copy._place.root / "none"
    none.mkdir()
    with pytest.raises(EngineError, match="the backup has no worker-2/0") as caught:
        copy.fetch({**copy.folders, "worker-2/0": none})
    assert "verify" in caught.value.resolution
