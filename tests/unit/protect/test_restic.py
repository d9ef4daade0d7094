"""With the real restic, on directories of this machine."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from labcloud.errors import ConfigError, DeadlineError, EngineError, NotFoundError, UsageError
from labcloud.protect.answers import Progress
from labcloud.protect.calling import Watcher
from labcloud.protect.complaints import DamagedError, FullError, NoRepositoryError
from labcloud.protect.restic import Repository, Upload
from labcloud.protect.staging import Tree
from labcloud.protect.targets import Target
from tests.unit.protect.conftest import NOON, Place, Store


@dataclass(frozen=True)
class Rules:
    last: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0


def _packs(place: Place) -> list[Path]:
    """The packs of the repository, the largest first."""
    return sorted((place.root / "target/acme/data").glob("*/*"), key=lambda each: -each.stat().st_size)


def _flip(path: Path, at: int) -> None:
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_repository_is_made_once(place: Place) -> None:
    repository = place.repository()
    with pytest.raises(NoRepositoryError) as caught:
        repository.id()
    assert caught.value.resolution
    first = repository.ensure()
    assert repository.ensure() == first == place.repository().id()
    assert place.repository("other").ensure() != first


def test_of_several_that_make_it_at_once_one_does(place: Place) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lambda _: place.repository().ensure(), range(4)))) == 1
    assert len(list((place.root / "target/acme/keys").iterdir())) == 1
    assert place.repository().check().ok


def test_no_repository_is_made_where_the_target_is_missing(place: Place) -> None:
    place.target.directory.rmdir()  # type: ignore[union-attr]
    with pytest.raises(NotFoundError, match="there is no directory"):
        place.repository().ensure()
    assert not (place.root / "target").exists()


def test_another_password_does_not_open_it(place: Place, repository: Repository) -> None:
    other = place.root / "other"
    other.write_text("another\n")
    stranger = Repository(repository.target, other, cache=place.root / "cache2")
    with pytest.raises(ConfigError, match=f"the password in {other} does not open") as caught:
        stranger.ensure()
    assert caught.value.resolution


def test_what_is_stored_comes_back(place: Place, repository: Repository, store: Store) -> None:
    folder = place.folder("v", blk=os.urandom(300_000), meta="m")
    (folder / "blk").chmod(0o640)
    os.chown(folder / "blk", 1234, 1235)
    os.utime(folder / "blk", ns=(10**18, 10**18 + 7))
    stored = store(folder)
    assert stored.files == 3
    assert stored.bytes_processed == 300_012
    assert stored.bytes_added >= 300_000
    (copy,) = repository.copies()
    assert (copy.id, copy.host, copy.tags, copy.time, copy.parent) == (stored.id, "acme/c", ("labcloud", "consistent"), NOON, "")
    assert copy.id.startswith(copy.short)
    assert repository.dump(stored.id, "manifest.json") == b'{"of": "v"}'
    into = place.back(repository, stored.id)
    back = into / "blk"
    assert back.read_bytes() == (folder / "blk").read_bytes()
    assert (back.stat().st_mode & 0o7777, back.stat().st_uid, back.stat().st_gid) == (0o640, 1234, 1235)
    assert back.stat().st_mtime_ns == 10**18 + 7
    assert {each.name for each in into.iterdir()} == {"blk", "meta"}


def test_only_some_of_a_copy_comes_back(place: Place, repository: Repository, store: Store) -> None:
    folder = place.folder("v", **{"a*": "1", "ab": "2", "b[c]": "3"})
    stored = store(folder)
    into = place.root / "into"
    into.mkdir()
    repository.restore(stored.id, {"worker-0/0": into}, stage=place.stage, include=["worker-0/0/a*", "/worker-0/0/b[c]"])
    assert {each.name for each in into.rglob("*") if each.is_file()} == {"a*", "b[c]"}


def test_unchanged_files_are_not_read_again(place: Place, repository: Repository, store: Store) -> None:
    """A later snapshot has other inodes and change times for the same files, and lies elsewhere."""
    first_folder = place.folder("one", blk=os.urandom(500_000))
    first = store(first_folder)
    second_folder = place.root / "data/two"
    second_folder.mkdir()
    content, times = (first_folder / "blk").read_bytes(), (first_folder / "blk").stat()
    (second_folder / "blk").write_bytes(bytes(500_000))  # would it be read, another content would be stored
    os.utime(second_folder / "blk", ns=(times.st_atime_ns, times.st_mtime_ns))
    second = store(second_folder, time=NOON + timedelta(days=1), parent=first.id)
    assert second.bytes_added < 10_000
    assert repository.copies()[0].parent == first.id
    assert repository.dump(second.id, "worker-0/0/blk") == content


def test_a_parent_that_is_gone_is_none(place: Place, repository: Repository, store: Store) -> None:
    folder = place.folder("v", a="1")
    first = store(folder)
    repository.forget([first.id, first.id])
    second = store(folder, parent=first.id)
    assert [each.id for each in repository.copies()] == [second.id]
    assert repository.copies()[0].parent == ""


def test_progress_is_told(place: Place, repository: Repository) -> None:
    folder = place.folder("v", a=os.urandom(40_000_000))
    seen: list[Progress] = []
    upload = Upload(Tree({"v": folder}, {}), "h", (), NOON)
    stored = repository.backup(upload, stage=place.stage, progress=seen.append)
    assert seen
    assert max(each.bytes_total for each in seen) == 40_000_000
    back: list[Progress] = []
    (place.root / "into").mkdir()
    repository.restore(stored.id, {"v": place.root / "into"}, stage=place.stage, total=40_000_000, progress=back.append)
    assert back
    assert all(each.bytes_total == 40_000_000 and each.bytes_done <= 40_000_000 for each in back)


def test_sources_are_read_only_and_the_stage_is_empty_after(place: Place, repository: Repository, store: Store) -> None:
    folder = place.folder("v", a="1")
    store(folder)
    assert list(place.stage.iterdir()) == []
    assert place.stage.stat().st_mode & 0o777 == 0o700
    assert (folder / "a").read_text() == "1"


def test_copies_are_told_apart_by_host_and_tags(place: Place, repository: Repository, store: Store) -> None:
    folder = place.folder("v", a="1")
    one = store(folder)
    two = store(folder, host="acme/d", tag="inconsistent", time=NOON + timedelta(hours=1))
    assert [each.id for each in repository.copies()] == [two.id, one.id]
    assert [each.id for each in repository.copies("acme/c")] == [one.id]
    assert [each.id for each in repository.copies(tags=("labcloud", "inconsistent"))] == [two.id]
    assert repository.copies("acme/none") == []


def test_one_file_of_a_copy(place: Place, repository: Repository, store: Store) -> None:
    stored = store(place.folder("v", a="content"))
    assert repository.dump(stored.id, "manifest.json") == b'{"of": "v"}'
    assert repository.dump(stored.id, "/worker-0/0/a") == b"content"
    with pytest.raises(NotFoundError):
        repository.dump(stored.id, "none.json")
    with pytest.raises(NotFoundError):
        repository.dump("0" * 64, "manifest.json")
    with pytest.raises(EngineError, match="more than 3 bytes"):
        repository.dump(stored.id, "worker-0/0/a", most=3)
    with pytest.raises(UsageError):
        repository.dump("--help", "manifest.json")


def test_what_is_in_a_folder_of_a_copy(place: Place, repository: Repository, store: Store) -> None:
    stored = store(place.folder("v", a="content"))
    assert {(each.path, each.kind) for each in repository.ls(stored.id)} == {("/manifest.json", "file"), ("/worker-0", "dir")}
    (entry,) = repository.ls(stored.id, "worker-0/0")
    assert (entry.path, entry.kind, entry.size) == ("/worker-0/0/a", "file", 7)
    with pytest.raises(NotFoundError):
        repository.ls("0" * 64)


def _daily(store: Store, folder: Path, days: int) -> list[str]:
    return [store(folder, time=NOON + timedelta(days=day)).id for day in range(days)]


def test_rules_keep_the_last_of_each_day(place: Place, repository: Repository, store: Store) -> None:
    folder = place.folder("v", a="1")
    early = store(folder, time=NOON.replace(hour=0, minute=5)).id
    late = store(folder, time=NOON.replace(hour=23, minute=55)).id
    next_day = store(folder, time=NOON + timedelta(days=1)).id
    other = store(folder, host="acme/d").id
    dry = repository.retain(Rules(daily=2), host="acme/c", dry_run=True)
    assert [each.id for each in dry.go] == [early]
    assert [each.id for each in dry.stay] == [next_day, late]
    assert len(repository.copies()) == 4
    assert repository.retain(Rules(daily=2), host="acme/c") == dry
    assert {each.id for each in repository.copies()} == {late, next_day, other}


def test_inconsistent_copies_are_never_counted(place: Place, repository: Repository, store: Store) -> None:
    folder = place.folder("v", a="1")
    good = _daily(store, folder, 3)
    old_poor = store(folder, tag="inconsistent", time=NOON + timedelta(days=1, hours=1)).id
    new_poor = store(folder, tag="inconsistent", time=NOON + timedelta(days=5)).id
    kept = repository.retain(Rules(last=2), host="acme/c")
    assert {each.id for each in kept.go} == {good[0], old_poor}
    assert {each.id for each in repository.copies()} == {good[1], good[2], new_poor}


def test_without_a_consistent_copy_inconsistent_ones_stay(place: Place, repository: Repository, store: Store) -> None:
    poor = store(place.folder("v", a="1"), tag="inconsistent").id
    kept = repository.retain(Rules(last=1), host="acme/c")
    assert kept.go == ()
    assert [each.id for each in kept.stay] == [poor]


def test_rules_that_keep_nothing_are_refused(repository: Repository) -> None:
    with pytest.raises(UsageError):
        repository.retain(Rules(), host="acme/c")


def test_pruning_frees_what_no_copy_needs(place: Place, repository: Repository, store: Store) -> None:
    first = store(place.folder("one", a=os.urandom(1_000_000)))
    store(place.folder("two", a=os.urandom(1_000_000)))
    assert repository.stats() > 2_000_000
    on_disk = sum(each.stat().st_size for each in _packs(place))
    repository.forget([first.id])
    repository.prune()
    assert sum(each.stat().st_size for each in _packs(place)) < on_disk - 900_000
    assert repository.check("all").ok


def test_a_whole_repository_is_whole(place: Place, repository: Repository, store: Store) -> None:
    store(place.folder("v", a=os.urandom(1000)))
    for read in (None, (1, 2), (2, 2), "all"):
        verdict = repository.check(read)  # type: ignore[arg-type]
        assert verdict.ok
        assert verdict.problems == ()
        assert verdict.seconds > 0


def test_a_flipped_byte_is_found_with_its_pack_and_the_copies_that_need_it(place: Place, repository: Repository, store: Store) -> None:
    harmed = store(place.folder("one", a=os.urandom(2_000_000)))
    pack = _packs(place)[0]
    other = store(place.folder("two", a=os.urandom(100_000)))
    _flip(pack, 5000)
    assert repository.check().ok  # the structure is whole: only reading tells
    verdict = repository.check("all")
    assert not verdict.ok
    assert verdict.packs == (pack.name,)
    assert verdict.copies == (harmed.id,)
    assert any(pack.name in each for each in verdict.problems)
    with pytest.raises(DamagedError):
        place.back(repository, harmed.id)
    place.back(repository, other.id)


def test_one_slice_of_several_finds_it(place: Place, repository: Repository, store: Store) -> None:
    store(place.folder("v", a=os.urandom(2_000_000)))
    _flip(_packs(place)[0], 5000)
    assert [repository.check((part, 3)).ok for part in (1, 2, 3)].count(False) == 1


def test_a_missing_pack_is_found_without_reading(place: Place, repository: Repository, store: Store) -> None:
    harmed = store(place.folder("v", a=os.urandom(2_000_000)))
    pack = _packs(place)[0]
    pack.unlink()
    verdict = repository.check()
    assert (verdict.ok, verdict.packs, verdict.copies) == (False, (pack.name,), (harmed.id,))
    began = time.monotonic()
    with pytest.raises(DamagedError):
        place.back(repository, harmed.id)
    assert time.monotonic() - began < 30  # restic alone tries for 45 s


def test_missing_indexes_and_damaged_descriptions_are_found(place: Place, repository: Repository, store: Store) -> None:
    harmed = store(place.folder("v", a="1"))
    told: list[str] = []
    _flip(place.root / "target/acme/snapshots" / harmed.id, 20)
    fresh = Repository(repository.target, place.root / "home/secrets/backup/acme.password", cache=place.root / "cache3",
                       watcher=Watcher(tell=told.append))  # fmt: skip
    assert fresh.copies() == []
    assert harmed.id[:8] in told[0]
    assert not fresh.check().ok


def test_a_damaged_config_is_damage(place: Place, repository: Repository) -> None:
    _flip(place.root / "target/acme/config", 20)
    fresh = Repository(repository.target, place.root / "home/secrets/backup/acme.password", cache=place.root / "cache3")
    with pytest.raises(DamagedError) as caught:
        fresh.id()
    assert caught.value.resolution


def test_a_limit_ends_a_backup(place: Place, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = place.folder("v", a=os.urandom(50_000_000))
    with pytest.raises(DeadlineError, match="restic backup"):
        repository.backup(Upload(Tree({"v": folder}, {}), "h", (), NOON), stage=place.stage, limit=0.1)
    assert repository.copies() == []
    assert list(place.stage.iterdir()) == []
    repository.prune()  # nothing is locked


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own of 24 MB."""
    image, folder = tmp_path / "image", tmp_path / "small"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(24 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_named_and_nothing_is_half_there(place: Place, small_disk: Path) -> None:
    repository = place.repository(target=Target.parse(str(small_disk)))
    repository.ensure()
    big = Tree({"v": place.folder("v", a=os.urandom(40_000_000))}, {})
    with pytest.raises(EngineError, match="no space is left") as caught:
        repository.backup(Upload(big, "h", (), NOON), stage=place.stage)
    assert "free some space" in caught.value.resolution
    assert repository.copies() == []
    repository.prune()
    small = Tree({"v": place.folder("w", a="1")}, {})
    repository.backup(Upload(small, "h", (), NOON), stage=place.stage)
    assert repository.check("all").ok


def test_a_restore_onto_a_full_disk_is_named(place: Place, repository: Repository, store: Store, small_disk: Path) -> None:
    stored = store(place.folder("v", a=os.urandom(40_000_000)))
    with pytest.raises(FullError, match=r"no space is left to restore /worker-0/0/a$") as caught:
        place.back(repository, stored.id, small_disk)
    assert "the disk of that volume" in caught.value.resolution


def test_times_are_utc_whatever_the_zone(place: Place, repository: Repository, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    folder = place.folder("v", a="1")
    elsewhere = datetime.fromisoformat("2026-03-04T23:30:00-05:00")
    place.repository().backup(Upload(Tree({"v": folder}, {}), "h", (), elsewhere), stage=place.stage)
    assert place.repository().copies()[0].time == elsewhere


@pytest.mark.parametrize("missing", [False, True])
def test_what_is_damaged_is_stored_again_after_mending(place: Place, repository: Repository, store: Store, missing: bool) -> None:
    folder = place.folder("v", a=os.urandom(2_000_000))
    harmed = store(folder)
    pack = _packs(place)[0]
    pack.unlink() if missing else _flip(pack, 5000)
    verdict = repository.check("all")
    assert (verdict.packs, verdict.copies) == ((pack.name,), (harmed.id,))
    assert repository.mend(verdict.packs) == (0 if missing else 1)
    if not missing:
        assert (place.root / "target/acme/damaged" / pack.name).stat().st_size > 2_000_000
    assert repository.check().copies == (harmed.id,)  # now told by what it lacks
    with pytest.raises(EngineError):  # restic takes it for a file that could not be read; what it read is stored
        store(folder, parent=harmed.id)
    store(folder, parent=harmed.id)
    assert repository.check("all").ok
    place.back(repository, harmed.id)


def test_packs_elsewhere_are_not_set_aside(place: Place) -> None:
    with pytest.raises(UsageError, match="set aside"):
        place.repository(target=Target.parse("rest:http://127.0.0.1:1/")).mend(["a" * 64])
