from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from labcloud.errors import EngineError, LabError, NotFoundError, UsageError
from labcloud.protect.staging import Tree, staged


def _run(words: list[str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*words, *command], capture_output=True, text=True, check=False)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "src with space'$(x)"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a").write_text("1")
    return folder


def test_a_command_sees_one_tree(tmp_path: Path, source: Path) -> None:
    tree = Tree({"worker-0/0": source, "worker-0/1": source, "x y/0": source}, {"manifest.json": b"{}", "lab/c.yaml": source / "deep/a"})
    with staged(tree, tmp_path / "stage") as words:
        found = _run(words, "find", ".", "-type", "f", "-printf", "%P\\n").stdout.splitlines()
        assert set(found) == {"manifest.json", "lab/c.yaml", "worker-0/0/deep/a", "worker-0/1/deep/a", "x y/0/deep/a"}
        assert _run(words, "cat", "manifest.json", "lab/c.yaml", "x y/0/deep/a").stdout == "{}11"


def test_it_cannot_be_written_and_is_seen_by_nobody_else(tmp_path: Path, source: Path) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    with staged(Tree({"v": source}, {"m": b"x"}), tmp_path / "stage") as words:
        for command in (("touch", "v/new"), ("rm", "v/deep/a"), ("sh", "-c", "echo >m"), ("chmod", "600", "v/deep/a")):
            done = _run(words, *command)
            assert done.returncode
            assert "ead-only" in done.stderr
        assert Path("/proc/self/mountinfo").read_text() == before
    assert (source / "deep/a").read_text() == "1"
    assert list((tmp_path / "stage").iterdir()) == []
    assert (source / "deep/a").exists()


def test_what_it_makes_is_for_its_owner_only(tmp_path: Path, source: Path) -> None:
    with staged(Tree({}, {"m": b"secret"}), tmp_path / "stage"):
        (folder,) = (tmp_path / "stage").iterdir()
        assert folder.stat().st_mode & 0o777 == 0o700
        assert all(each.stat().st_mode & 0o077 == 0 for each in folder.iterdir())


@pytest.mark.parametrize("place", ["", ".", "/", "/a", "../a", "a/../../b", "a//b", "./a", "a/", "a\nb"])
def test_a_place_must_be_one(tmp_path: Path, source: Path, place: str) -> None:
    with pytest.raises(UsageError), staged(Tree({place: source}, {}), tmp_path / "stage"):
        pass
    assert not (tmp_path / "stage").exists()


@pytest.mark.parametrize(
    ("mounts", "files"), [({"a": 1, "a/b": 1}, {}), ({"a": 1}, {"a": b""}), ({"a": 1}, {"a/m": b""}), ({}, {"m": b"", "m/n": b""})]
)
def test_nothing_lies_in_what_is_read_only(tmp_path: Path, source: Path, mounts: dict[str, int], files: dict[str, bytes]) -> None:
    with pytest.raises(UsageError), staged(Tree(dict.fromkeys(mounts, source), files), tmp_path / "stage"):
        pass


def test_neighbours_with_like_names_are_no_parents(tmp_path: Path, source: Path) -> None:
    with staged(Tree({"a": source, "a-b": source, "a.b/c": source}, {}), tmp_path / "stage") as words:
        assert _run(words, "ls").stdout.split() == ["a", "a-b", "a.b"]


def test_what_is_missing_is_named(tmp_path: Path, source: Path) -> None:
    for tree in (
        Tree({"v": tmp_path / "none"}, {}),
        Tree({}, {"m": tmp_path / "none"}),
        Tree({"v": source / "deep/a"}, {}),
        Tree({}, {"m": source}),
    ):
        with pytest.raises(NotFoundError), staged(tree, tmp_path / "stage"):
            pass
    with pytest.raises(UsageError), staged(Tree({"v": Path("relative")}, {}), tmp_path / "stage"):
        pass


def test_what_a_dead_process_left_is_removed_and_a_living_one_s_stays(tmp_path: Path, source: Path) -> None:
    stage = tmp_path / "stage"
    dead = stage / "999999999.5.abcd"
    (dead / "root").mkdir(parents=True)
    (dead / "file.0").write_text("x")
    (dead / "list").write_text("x")
    (stage / "somebody-s").mkdir()
    with staged(Tree({"v": source}, {}), stage), staged(Tree({"v": source}, {}), stage) as words:
        assert len(list(stage.iterdir())) == 3
        assert _run(words, "ls").stdout == "v\n"
    assert [each.name for each in stage.iterdir()] == ["somebody-s"]


def test_what_it_did_not_make_is_not_removed(tmp_path: Path, source: Path) -> None:
    with pytest.raises(LabError), staged(Tree({"v": source}, {}), tmp_path / "stage"):
        (folder,) = (tmp_path / "stage").iterdir()
        (folder / "root" / "precious").write_text("x")
    assert (folder / "root" / "precious").read_text() == "x"


def test_many_folders(tmp_path: Path, source: Path) -> None:
    tree = Tree({f"worker-{number}/0": source for number in range(300)}, {})
    with staged(tree, tmp_path / "stage") as words:
        assert len(_run(words, "ls").stdout.split()) == 300


def test_a_disk_that_refuses(tmp_path: Path, source: Path) -> None:
    (tmp_path / "stage").write_text("a file")
    with pytest.raises(EngineError), staged(Tree({"v": source}, {}), tmp_path / "stage"):
        pass
