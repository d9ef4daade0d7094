"""Profiles that were read before are taken as they were, and never when anything about them has changed."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

import pytest

from labcloud.profiles import load, loading
from labcloud.profiles.files import roots
from labcloud.profiles.ready import Ready

MINE = "extends: hadoop-2.7\ntitle: mine\nsummary: first\n"


@pytest.fixture
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of profiles of one's own beside labcloud's, in which Python would keep what it compiled."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setenv("LABCLOUD_PROFILES", str(tmp_path))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "profile.yaml").write_text(MINE)
    return tmp_path


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The profiles that were read from their files."""
    names: list[str] = []
    anew = loading._read

    def noted(name: str, root: Path | None) -> loading.Profile:
        names.append(name)
        return anew(name, root)

    monkeypatch.setattr(loading, "_read", noted)
    return names


def test_a_profile_is_read_once_and_then_the_same(profiles: Path, read: list[str]) -> None:
    assert load("mine") == load("mine")
    assert load("mine").services["namenode"].heap == load("hadoop-2.7").services["namenode"].heap
    assert read.count("mine") == 1
    assert [each.name for each in profiles.iterdir()] == ["mine", "__pycache__"]


@pytest.mark.parametrize("file", ["mine/profile.yaml", "mine/templates/more.sh"])
def test_a_changed_file_is_read_anew(profiles: Path, read: list[str], file: str) -> None:
    (profiles / "mine" / "templates").mkdir()
    (profiles / "mine" / "templates" / "more.sh").write_text("one\n")
    (profiles / "mine" / "profile.yaml").write_text(MINE + "files:\n  more.sh: more.sh\n")
    assert load("mine").files["more.sh"] == "one\n"
    path = profiles / file
    written = path.stat().st_mtime_ns
    path.write_text(path.read_text().replace("first", "other").replace("one", "two"))
    os.utime(path, ns=(written, written))  # of the same size and time: the bytes decide
    changed = load("mine")
    assert read == ["mine", "mine"]
    assert (changed.summary, changed.files["more.sh"]) in {("other", "one\n"), ("first", "two\n")}


def test_an_ancestor_that_comes_nearer_is_seen(profiles: Path) -> None:
    assert load("mine").version == "2.7.7"
    (profiles / "hadoop-2.7").mkdir()
    own = next(root for root in roots() if root != profiles) / "hadoop-2.7" / "profile.yaml"
    (profiles / "hadoop-2.7" / "profile.yaml").write_text(own.read_text().replace("2.7.7", "2.7.8"))
    assert load("mine").version == "2.7.8"


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("made",)


@pytest.mark.parametrize("planted", [pickle.dumps(Evil()), pickle.dumps("text"), b"", b"\x80\x04"])
def test_what_others_put_there_is_values_or_nothing(
    profiles: Path, read: list[str], planted: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    load("mine")
    (kept,) = (profiles / "__pycache__").iterdir()
    kept.write_bytes(kept.read_bytes()[:32] + planted)
    assert load("mine").summary == "first"
    assert read == ["mine", "mine"]
    assert not Path("made").exists()


def test_where_python_keeps_nothing_nothing_is_kept(profiles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    load("mine")
    assert [each.name for each in profiles.iterdir()] == ["mine"]


def test_where_nobody_may_write_it_is_read_each_time(profiles: Path, read: list[str]) -> None:
    (profiles / "__pycache__").write_text("a file in the way")
    assert load("mine") == load("mine")
    assert read == ["mine", "mine"]
    assert Ready("mine").read() is None
