"""Trees that are taken while they change: a mirror against a plain copy of the same moment, and copies that never touch their original."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from labcloud.model.ways import Way
from labcloud.protect import trees
from labcloud.protect.trees import Mirror, Rules, clone

RULES = Rules(
    [
        ("name/image_*", Way.LINK),
        ("name/log_open", Way.COPY),
        ("data/BP-*/done/*", Way.LINK),
        ("data/BP-*/open/*.meta", Way.COPY),
        ("data/BP-*/open/blk_*", Way.GROW),
    ]
)
OLD = 1_500_000_000 * 10**9
ME = (os.geteuid(), os.getegid())


def put(root: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def texts(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in sorted(root.rglob("*")) if path.is_file()}


def inode(path: Path) -> int:
    return path.stat().st_ino


@pytest.fixture
def source(tmp_path: Path) -> Path:
    files = {
        "name/image_1": "one",
        "name/log_open": "log",
        "name/lock": "7",
        "data/BP-1/done/sub/blk_1": "block",
        "data/BP-1/open/blk_2": "grow",
        "data/BP-1/open/blk_2.meta": "sum",
        "cache/x": "no",
    }
    put(tmp_path / "source", files)
    return tmp_path / "source"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


# Rules


@pytest.mark.parametrize(
    ("path", "way"),
    [
        ("name/image_1", Way.LINK),
        ("name/log_open", Way.COPY),
        ("name/lock", None),
        ("data/BP-1/done/a/b/blk_1", Way.LINK),
        ("data/BP-1/open/blk_2.meta", Way.COPY),
        ("data/BP-1/open/blk_2", Way.GROW),
        ("other/name/image_1", None),
    ],
)
def test_the_first_pattern_that_fits_counts(path: str, way: Way | None) -> None:
    assert RULES.way(path) is way


@pytest.mark.parametrize(
    ("patterns", "roots"),
    [
        (["a/b/c*", "a/b/d"], ("a/b",)),
        (["a/*/x", "a/b/c"], ("a",)),
        (["ab/x", "a/x"], ("a", "ab")),
        (["x", "a/b"], ("",)),
        (["*"], ("",)),
        (["a/[bc]/d"], ("a",)),
        ([], ()),
    ],
)
def test_roots_are_the_fewest_folders_that_hold_all(patterns: list[str], roots: tuple[str, ...]) -> None:
    assert Rules([(pattern, Way.LINK) for pattern in patterns]).roots == roots


# A mirror


def test_each_file_comes_in_its_way(source: Path, target: Path) -> None:
    mirror = Mirror(source, target, RULES)
    mirror.link()
    mirror.settle()
    mirror.finish()
    wanted = texts(source)
    del wanted["name/lock"], wanted["cache/x"]
    assert texts(target) == wanted
    same = {path for path in wanted if inode(source / path) == inode(target / path)}
    assert same == {"name/image_1", "data/BP-1/done/sub/blk_1"}
    assert mirror.vanished == []


def test_owner_mode_and_times_are_kept(source: Path, target: Path) -> None:
    for path in ("name/log_open", "data/BP-1/open/blk_2"):
        (source / path).chmod(0o640)
        os.utime(source / path, ns=(OLD, OLD))
        os.chown(source / path, *((901, 900) if ME[0] == 0 else ME))
    (source / "name").chmod(0o700)
    os.chown(source / "name", *((901, 900) if ME[0] == 0 else ME))
    mirror = Mirror(source, target, RULES)
    mirror.link()
    mirror.settle()
    mirror.finish()

    def facts(path: Path) -> tuple[int, ...]:
        there = path.stat()
        return there.st_uid, there.st_gid, there.st_mode, there.st_mtime_ns if path.is_file() else 0

    for path in ("name", "name/log_open", "data/BP-1/open/blk_2", "data/BP-1/open"):
        assert facts(target / path) == facts(source / path)


def test_what_grows_is_cut_where_it_was(source: Path, target: Path) -> None:
    mirror = Mirror(source, target, RULES)
    mirror.link()
    put(source, {"data/BP-1/open/blk_2": "grown"})
    mirror.settle()
    with (source / "data/BP-1/open/blk_2").open("a") as file:
        file.write(" and more")
    mirror.finish()
    assert texts(target)["data/BP-1/open/blk_2"] == "grown"
    assert texts(source)["data/BP-1/open/blk_2"] == "grown and more"


def test_what_grew_and_then_went_is_cut_as_well(source: Path, target: Path) -> None:
    mirror = Mirror(source, target, RULES)
    mirror.link()
    mirror.settle()
    with (source / "data/BP-1/open/blk_2").open("a") as file:
        file.write(" and more")
    (source / "data/BP-1/open/blk_2").unlink()
    mirror.finish()
    assert texts(target)["data/BP-1/open/blk_2"] == "grow"


def test_a_file_that_goes_while_it_is_linked_and_comes_back_is_taken(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As HDFS does: a block that is appended to is moved away, and moved back as the same file."""
    block, away = source / "data/BP-1/done/sub/blk_1", source / "cache/blk_1"
    real = os.link

    def away_when_linked(old: Path, new: Path) -> None:
        if old == block and block.exists():
            block.rename(away)
        real(old, new)

    mirror = Mirror(source, target, RULES)
    monkeypatch.setattr(os, "link", away_when_linked)
    mirror.link()
    monkeypatch.undo()
    assert not (target / "data/BP-1/done/sub/blk_1").exists()
    away.rename(block)
    mirror.settle()
    assert texts(target)["data/BP-1/done/sub/blk_1"] == "block"


def test_a_root_that_comes_later_is_taken_whole(tmp_path: Path, target: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    mirror = Mirror(source, target, Rules([("a/b/c/*", Way.LINK)]))
    mirror.link()
    put(source, {"a/b/c/d/late": "late"})
    mirror.settle()
    assert texts(target) == {"a/b/c/d/late": "late"}


def test_folders_that_change_places_are_told_apart_though_their_times_are_the_same(source: Path, target: Path) -> None:
    done = source / "data/BP-1/done"
    put(source, {"data/BP-1/done/sub2/blk_1": "other"})
    mirror = Mirror(source, target, RULES)
    mirror.link()
    time.sleep(0.06)
    mirror.settle()
    for old, new in (("sub", "third"), ("sub2", "sub"), ("third", "sub2")):
        (done / old).rename(done / new)
    for folder in (done / "sub", done / "sub2"):
        os.utime(folder, ns=(OLD, OLD))
    mirror.settle()
    assert texts(target)["data/BP-1/done/sub/blk_1"] == "other"
    assert texts(target)["data/BP-1/done/sub2/blk_1"] == "block"


def test_a_file_of_another_kind_under_the_same_name(source: Path, target: Path) -> None:
    mirror = Mirror(source, target, RULES)
    mirror.link()
    shutil.rmtree(source / "data/BP-1/done/sub")
    (source / "data/BP-1/done/sub").write_text("now a file")
    (source / "name/image_1").unlink()
    put(source, {"name/image_1/inside": "now a folder"})
    mirror.settle()
    assert texts(target)["data/BP-1/done/sub"] == "now a file"
    assert texts(target)["name/image_1/inside"] == "now a folder"


def test_the_pause_reads_only_folders_that_changed(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        put(source, {f"data/BP-1/done/{number}/blk_{number}": "x"})
    time.sleep(0.06)
    mirror = Mirror(source, target, RULES)
    mirror.link()
    put(source, {"data/BP-1/done/7/blk_new": "new"})
    read: list[str] = []
    real = os.scandir

    def counted(path: Path) -> Iterator[os.DirEntry[str]]:
        read.append(str(Path(path).relative_to(source)))
        return real(path)  # type: ignore[return-value]

    monkeypatch.setattr(os, "scandir", counted)
    mirror.settle()
    assert read == ["data/BP-1/done/7"]
    assert (target / "data/BP-1/done/7/blk_new").read_text() == "new"


def test_a_folder_that_changed_just_before_it_was_read_is_read_again(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its next change may have the same time: the clock of file systems stands for milliseconds."""
    mirror = Mirror(source, target, RULES)
    mirror.link()
    stamp = (source / "name").stat().st_mtime_ns
    put(source, {"name/image_2": "two"})
    os.utime(source / "name", ns=(stamp, stamp))
    mirror.settle()
    assert texts(target)["name/image_2"] == "two"


def test_a_file_that_goes_in_a_moment_that_was_none_is_told_and_left_out(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = Mirror(source, target, RULES)
    mirror.link()
    mirror.settle()
    real = trees._copy

    def gone(old: Path, new: Path, length: int | None = None) -> int:
        old.unlink(missing_ok=True)
        return real(old, new, length)

    monkeypatch.setattr(trees, "_copy", gone)
    mirror.settle()
    assert sorted(mirror.vanished) == ["data/BP-1/open/blk_2.meta", "name/log_open"]
    monkeypatch.undo()
    assert not (target / "name/log_open").exists()
    mirror.settle()
    assert mirror.vanished == []
    mirror.finish()


def test_what_is_neither_file_nor_folder_is_left_out(source: Path, target: Path) -> None:
    os.mkfifo(source / "name/image_pipe")
    (source / "name/image_link").symlink_to("image_1")
    mirror = Mirror(source, target, RULES)
    mirror.link()
    mirror.settle()
    assert not os.path.lexists(target / "name/image_pipe")
    assert not os.path.lexists(target / "name/image_link")


def test_a_disk_that_refuses_is_not_passed_over(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(OSError, match="no space"):
        Mirror(source, target, RULES).link()


# Where no second name can be given


def no_links(code: int) -> Callable[..., None]:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    return refuse


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EMLINK, errno.EPERM])
def test_without_hard_links_there_are_copies_that_follow(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(os, "link", no_links(code))
    mirror = Mirror(source, target, RULES)
    mirror.link()
    kept = inode(target / "name/image_1")
    # A copy does not change with its original: what HDFS appends to in place, because nothing else has it, is copied again.
    block = source / "data/BP-1/done/sub/blk_1"
    with block.open("a") as file:
        file.write(" appended")
    block.rename(source / "cache/away")
    (source / "cache/away").rename(block)
    put(source, {"name/image_3": "three"})
    mirror.settle()
    with (source / "data/BP-1/open/blk_2").open("a") as file:
        file.write(" later")
    mirror.finish()
    assert texts(target)["data/BP-1/done/sub/blk_1"] == "block appended"
    assert texts(target)["data/BP-1/open/blk_2"] == "grow"
    assert inode(target / "name/image_1") == kept


def other_file_system() -> Path | None:
    place = Path("/dev/shm")
    return (
        place if place.is_dir() and os.access(place, os.W_OK) and place.stat().st_dev != Path(tempfile.gettempdir()).stat().st_dev else None
    )


@pytest.mark.skipif(other_file_system() is None, reason="there is no second file system here")
def test_another_file_system_gets_copies(source: Path) -> None:
    with tempfile.TemporaryDirectory(dir=other_file_system()) as folder:
        mirror = Mirror(source, Path(folder), RULES)
        mirror.link()
        mirror.settle()
        mirror.finish()
        wanted = texts(source)
        del wanted["name/lock"], wanted["cache/x"]
        assert texts(Path(folder)) == wanted
        into = Path(folder, "again")
        assert clone(source, into, lambda _: True) == sum(map(len, texts(source).values()))


# Clones


def test_a_clone_shares_what_nobody_writes_to(source: Path, tmp_path: Path) -> None:
    own = clone(source, tmp_path / "new", lambda path: path.startswith("data/BP-1/done/"), lambda path: not path.startswith("cache"))
    assert texts(tmp_path / "new") == {path: text for path, text in texts(source).items() if not path.startswith("cache")}
    if inode(source / "data/BP-1/done/sub/blk_1") == inode(tmp_path / "new/data/BP-1/done/sub/blk_1"):
        assert own == sum(len(text) for path, text in texts(tmp_path / "new").items() if "done" not in path)
    before = texts(source)
    for path in ("name/log_open", "data/BP-1/open/blk_2", "name/image_1"):
        (tmp_path / "new" / path).write_text("changed")
    assert texts(source) == before


def test_a_clone_never_writes_into_a_file_that_is_there(source: Path, tmp_path: Path) -> None:
    """It may be another name of what is cloned: a broken-off run leaves such."""
    (tmp_path / "new/name").mkdir(parents=True)
    os.link(source / "name/image_1", tmp_path / "new/name/image_1")
    with pytest.raises(FileExistsError):
        clone(source, tmp_path / "new", lambda _: False)
    assert (source / "name/image_1").read_text() == "one"


def test_a_folder_that_cannot_be_listed_is_told(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def refuse(path: str) -> Iterator[os.DirEntry[str]]:
        if str(path).endswith("/name"):
            raise OSError(errno.EIO, "broken disk")
        return real(path)  # type: ignore[return-value]

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(OSError, match="broken disk"):
        clone(source, tmp_path / "new", lambda _: True)


@pytest.fixture(params=["btrfs", "xfs"])
def reflinks(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system whose files can share bytes, mounted from a file."""
    maker = ["mkfs.btrfs", "-q"] if request.param == "btrfs" else ["mkfs.xfs", "-q", "-m", "reflink=1"]
    if os.geteuid() or not shutil.which(maker[0]):
        pytest.skip(f"needs root and {maker[0]}")
    image, place = tmp_path / "disk", tmp_path / "mounted"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(400 << 20)
    subprocess.run([*maker, str(image)], check=True, capture_output=True)
    if subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=False, capture_output=True).returncode:
        pytest.skip(f"this machine cannot mount {request.param}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_where_bytes_can_be_shared_a_clone_has_none_of_its_own(reflinks: Path) -> None:
    source, new = reflinks / "source", reflinks / "new"
    put(source, {"done/blk_1": "block" * 10000, "log": "log", "empty": ""})
    (source / "log").chmod(0o640)
    os.utime(source / "log", ns=(OLD, OLD))
    assert clone(source, new, lambda _: True) == 0
    assert texts(new) == texts(source)
    assert inode(new / "done/blk_1") != inode(source / "done/blk_1")
    assert ((new / "log").stat().st_mode & 0o777, (new / "log").stat().st_mtime_ns) == (0o640, OLD)
    (new / "done/blk_1").write_text("changed")
    assert (source / "done/blk_1").read_text() == "block" * 10000


# Against a plain copy of the same moment

NAMES = st.sampled_from(["blk_1", "blk_2", "blk_2.meta", "blk_3"])
FOLDERS = st.sampled_from(["data/BP-1/done", "data/BP-1/done/a", "data/BP-1/done/a/b", "data/BP-1/done/c", "data/BP-1/open", "name"])
TEXTS = st.text("xyz", max_size=6)


class Changing(RuleBasedStateMachine):
    """What daemons do to a volume between the passes, in any order; files that are linked are replaced, never written to."""

    @initialize()
    def begin(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="trees-"))
        self.source, self.target = self.root / "source", self.root / "target"
        for folder in (self.source, self.target):
            folder.mkdir()
        self.mirror = Mirror(self.source, self.target, RULES)
        self.linked = False

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    @rule(folder=FOLDERS, name=NAMES, text=TEXTS)
    def write(self, folder: str, name: str, text: str) -> None:
        place = self.source / folder / (f"image_{name}" if folder == "name" else name)
        place.parent.mkdir(parents=True, exist_ok=True)
        if "/open" in folder and place.exists():
            with place.open("a") as file:
                file.write(text)
        else:
            new = self.source / ".new"
            new.write_text(text)
            new.replace(place)

    @rule(text=TEXTS)
    def log(self, text: str) -> None:
        (self.source / "name").mkdir(exist_ok=True)
        (self.source / "name/log_open").write_text(text)

    @rule(folder=FOLDERS, name=NAMES)
    def remove(self, folder: str, name: str) -> None:
        (self.source / folder / (f"image_{name}" if folder == "name" else name)).unlink(missing_ok=True)

    @rule(folder=FOLDERS, other=FOLDERS, name=NAMES)
    def move(self, folder: str, other: str, name: str) -> None:
        """As a block is finished, or opened again: then HDFS gives it a file of its own first."""
        old, new = self.source / folder / name, self.source / other / name
        if old.is_file() and new.parent.is_dir() and "name" not in (folder, other):
            if old.stat().st_nlink > 1:
                text = old.read_text()
                old.unlink()
                old.write_text(text)
            old.rename(new)

    @rule(folder=FOLDERS)
    def remove_folder(self, folder: str) -> None:
        shutil.rmtree(self.source / folder, ignore_errors=True)

    @rule(folder=FOLDERS, other=FOLDERS)
    def rename_folder(self, folder: str, other: str) -> None:
        old, new = self.source / folder, self.source / other
        if "done/" in folder and "done/" in other and old.is_dir() and new.parent.is_dir() and not new.exists() and old not in new.parents:
            old.rename(new)

    @precondition(lambda self: not self.linked)
    @rule()
    def link(self) -> None:
        self.mirror.link()
        self.linked = True

    @precondition(lambda self: self.linked)
    @rule(after=TEXTS)
    def settle(self, after: str) -> None:
        self.mirror.settle()
        wanted = {path: text for path, text in texts(self.source).items() if RULES.way(path)}
        folder = self.source / "data/BP-1/open"
        for path in folder.glob("blk_?") if folder.is_dir() else ():
            with path.open("a") as file:
                file.write(after)
        self.mirror.finish()
        assert texts(self.target) == wanted
        assert self.mirror.vanished == []


Changing.TestCase.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
TestChanging = Changing.TestCase
