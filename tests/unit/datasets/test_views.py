"""Views: hard links into the store, exactly what is wanted, whatever was there before."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from labcloud.datasets.views import Views
from labcloud.errors import EngineError
from labcloud.model import ClusterRef
from labcloud.model.dataset import StoredDataset
from tests.unit.datasets.conftest import Shelf

REF = ClusterRef("acme", "hadoop-2.7")


@pytest.fixture
def views(shelf: Shelf) -> Views:
    return Views(shelf.home / "datasets" / "views")


def test_a_view_is_made_of_the_same_files(shelf: Shelf, views: Views, source: Path) -> None:
    stored = shelf.stored(shelf.put(source))
    assert views.ensure(REF, {"d": stored}) is True
    folder = views.folder(REF)
    inode = folder.stat().st_ino
    assert (folder / "d" / "a" / "b" / "one").samefile(stored.folder / "a" / "b" / "one")
    assert (folder / "d" / "empty").is_dir()
    assert {path.stat().st_mode & 0o777 for path in (folder / "d", folder / "d" / "a")} == {0o555}
    assert folder.stat().st_mode & 0o777 == 0o755
    assert views.shown(REF) == {"d": stored.tag}
    assert views.ensure(REF, {"d": stored}) is False
    assert views.ensure(REF, {}) is True
    assert (list(folder.iterdir()), folder.stat().st_ino) == ([], inode)
    assert stored.folder.is_dir()


def test_another_version_takes_its_place(shelf: Shelf, views: Views, source: Path) -> None:
    one = shelf.stored(shelf.put(source, 1))
    (source / "two").write_text("2\n")
    two = shelf.stored(shelf.put(source, 2))
    views.ensure(REF, {"d": one, "kept": one})
    kept = (views.folder(REF) / "kept").stat().st_ino
    assert views.ensure(REF, {"d": two, "kept": one}) is True
    assert (views.folder(REF) / "d" / "two").read_text() == "2\n"
    assert (views.folder(REF) / "kept").stat().st_ino == kept
    assert sorted(path.name for path in views.folder(REF).iterdir()) == ["d", "kept"]


def test_what_broke_off_is_mended(shelf: Shelf, views: Views, source: Path) -> None:
    stored = shelf.stored(shelf.put(source))
    views.ensure(REF, {"d": stored})
    folder = views.folder(REF)
    (folder / ".x.new" / "half").mkdir(parents=True)
    (folder / "d").rename(folder / ".d.old")
    assert views.shown(REF) == {}
    assert views.ensure(REF, {"d": stored}) is True
    assert sorted(path.name for path in folder.iterdir()) == ["d"]


def test_a_record_is_believed_of_the_folder_only_that_it_was_made_for(shelf: Shelf, views: Views, source: Path) -> None:
    stored = shelf.stored(shelf.put(source))
    views.ensure(REF, {"d": stored})
    folder = views.folder(REF)
    (folder / "d").rename(folder / "other")
    (folder / "d").mkdir()
    assert views.shown(REF) == {"d": "", "other": ""}
    (folder.parent / f".{REF.name}.json").write_text("[")
    assert views.shown(REF) == {"d": "", "other": ""}
    views.ensure(REF, {"d": stored})
    assert views.shown(REF) == {"d": stored.tag}


def test_a_deleted_view_leaves_nothing(shelf: Shelf, views: Views, source: Path) -> None:
    stored = shelf.stored(shelf.put(source))
    other = ClusterRef("acme", "other")
    for ref in (REF, other):
        views.ensure(ref, {"d": stored})
    assert list(views.clusters()) == list(views.clusters("acme"))
    assert set(views.clusters()) == {REF, other}
    assert list(views.clusters(cluster=REF)) == [REF]
    for ref in (REF, REF, other):
        views.delete(ref)
    assert (list(views.clusters()), list((shelf.home / "datasets" / "views").iterdir())) == ([], [])
    assert (stored.folder / "two").stat().st_nlink == 1


def test_what_is_not_stored_is_refused_and_what_was_shown_stays(shelf: Shelf, views: Views, source: Path) -> None:
    stored = shelf.stored(shelf.put(source))
    views.ensure(REF, {"d": stored})
    with pytest.raises(EngineError, match="has no files of the dataset d"):
        views.ensure(REF, {"d": StoredDataset("2-abc", source / "nothing")})
    assert views.shown(REF) == {"d": stored.tag}


@pytest.mark.parametrize(("number", "refused"), [(errno.EXDEV, True), (errno.EMLINK, False)])
def test_a_file_system_that_refuses_a_link(
    shelf: Shelf, views: Views, source: Path, monkeypatch: pytest.MonkeyPatch, number: int, refused: bool
) -> None:
    stored = shelf.stored(shelf.put(source))

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("labcloud.datasets.views.os.link", refuse)
    if refused:
        with pytest.raises(EngineError, match="different file systems"):
            views.ensure(REF, {"d": stored})
    else:
        views.ensure(REF, {"d": stored})
        assert (views.folder(REF) / "d" / "two").read_text() == "two\n"
        assert (views.folder(REF) / "d" / "two").stat().st_mode & 0o777 == 0o444


def test_what_a_killed_run_began_is_the_clusters_that_is_asked_for(views: Views) -> None:
    tenant = views.folder(REF).parent
    tenant.mkdir(parents=True)
    assert list(views.clusters(cluster=REF)) == [REF]
    assert list(views.clusters()) == []
    assert views.shown(REF) == {}
    views.delete(REF)
    assert not tenant.exists()
    views.prepare(ClusterRef(REF.tenant, "another"))
    assert list(views.clusters(cluster=REF)) == []
