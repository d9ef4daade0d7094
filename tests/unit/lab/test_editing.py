"""Edit locks: who has what is said, what a dead process left is taken over, and what is stolen is known to who had it."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from labcloud.errors import ConflictError, NotFoundError
from labcloud.lab.editing import EditLock, EditLocks
from labcloud.lab.git import Author, author
from labcloud.lab.processes import lives, ticks

ADA, BOB = Author("Ada", "ada@example.org"), Author("Bob", "bob@example.org")
C = "clusters/acme/c.yaml"


@pytest.fixture
def ada(tmp_path: Path) -> EditLocks:
    return EditLocks(tmp_path, ADA)


@pytest.fixture
def bob(tmp_path: Path) -> EditLocks:
    return EditLocks(tmp_path, BOB)


def test_others_are_told_who_has_it_since_when(ada: EditLocks, bob: EditLocks) -> None:
    taken = ada.take(C, editing=True)
    assert (taken.stale, taken.stolen) == ((), ())
    assert ada.listed() == bob.listed() == [taken.lock]
    for ask in (lambda: bob.take(C), lambda: bob.take("clusters/acme/"), lambda: bob.check_free([C]), lambda: bob.unlock(C)):
        with pytest.raises(ConflictError, match=r"Ada <ada@example\.org> has clusters/acme/c\.yaml since 20.*Z, process") as caught:
            ask()
        assert "--steal REASON" in caught.value.resolution
    bob.take("clusters/acme/other.yaml")
    bob.check_free(["clusters/acme/c.yaml.x", "tenants/acme.yaml"])
    ada.release(taken.lock)
    bob.take(C)


def test_a_folder_covers_what_is_in_it(ada: EditLocks, bob: EditLocks) -> None:
    ada.take("base/", reason="a new prompt")
    with pytest.raises(ConflictError, match="base/bashrc is locked") as caught:
        bob.take("base/bashrc")
    assert caught.value.details == "a new prompt"
    ada.check_free(["base/bashrc"])
    ada.take("base/bashrc", editing=True)


def test_one_ends_at_its_time_or_when_it_is_unlocked(ada: EditLocks, bob: EditLocks) -> None:
    past = ada.take(C, until=datetime.now(UTC) - timedelta(seconds=1)).lock
    assert ada.listed() == []
    bob.check_free([C])
    assert bob.take(C, until=datetime.now(UTC) + timedelta(hours=1)).stale == (past,)
    assert bob.unlock(C).until
    for again in (bob, ada):
        with pytest.raises(NotFoundError, match="nobody has locked"):
            again.unlock(C)


def test_ones_own_is_renewed_and_an_editor_does_not_end_it(ada: EditLocks, bob: EditLocks) -> None:
    ada.take(C)
    renewed = ada.take(C, until=datetime.now(UTC) + timedelta(hours=1))
    assert ada.listed() == [renewed.lock]
    editor = ada.take(C, editing=True).lock
    assert len(ada.listed()) == 2
    ada.release(editor)
    assert ada.listed() == [renewed.lock]


def _hold(home: Path, ready: multiprocessing.Event, done: multiprocessing.Event) -> None:  # type: ignore[valid-type]
    EditLocks(home, ADA).take(C, editing=True)
    ready.set()
    done.wait(60)


def test_what_a_dead_process_left_is_taken_over(tmp_path: Path, ada: EditLocks, bob: EditLocks) -> None:
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    worker = context.Process(target=_hold, args=(tmp_path, ready, done))
    worker.start()
    assert ready.wait(60)
    for locks in (ada, bob):  # an editor of one's own, in another process, keeps one from opening a second
        with pytest.raises(ConflictError, match=rf"process {worker.pid} on"):
            locks.take(C, editing=True)
    worker.kill()
    worker.join()
    taken = bob.take(C, editing=True)
    assert [(each.author, each.pid) for each in taken.stale] == [("Ada", worker.pid)]
    assert bob.listed() == [taken.lock]


def test_what_is_stolen_is_known_to_who_had_it(ada: EditLocks, bob: EditLocks) -> None:
    had = ada.take(C, editing=True).lock
    ada.check_held(had)
    assert bob.take(C, steal=True, reason="she is on holiday").stolen == (had,)
    with pytest.raises(ConflictError, match=r"somebody has taken clusters/acme/c\.yaml from you meanwhile: Bob .*\(she is on holiday\)"):
        ada.check_held(had)
    ada.release(had)
    assert [each.author for each in bob.listed()] == ["Bob"], "who had it does not end the lock of who has it"
    bob.unlock(C)
    with pytest.raises(ConflictError, match="has let go of it since"):
        ada.check_held(had)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"path": "base/"}', "\x00", '{"path":1,"author":2,"mail":3,"host":4,"since":5,"reason":6}']
)
def test_a_spoilt_file_locks_nothing(tmp_path: Path, ada: EditLocks, text: str) -> None:
    folder = tmp_path / "locks" / "edit"
    folder.mkdir(parents=True)
    (folder / "base%2F.held.json").write_text(text)
    assert ada.listed() == []
    ada.take("base/")
    assert [each.path for each in ada.listed()] == ["base/"]


def test_files_are_private_and_names_lead_nowhere(tmp_path: Path, ada: EditLocks) -> None:
    ada.take("base/a b/../ü")
    (file,) = (tmp_path / "locks" / "edit").iterdir()
    assert (file.name, file.stat().st_mode & 0o777) == ("base%2Fa%20b%2F..%2F%C3%BC.held.json", 0o600)


def _take(home: Path, name: str, results: multiprocessing.Queue[str]) -> None:
    try:
        EditLocks(home, Author(name, f"{name}@x")).take(C)
        results.put(name)
    except ConflictError:
        results.put("")


def test_of_many_at_once_one_gets_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    workers = [context.Process(target=_take, args=(tmp_path, f"p{number}", results)) for number in range(4)]
    for worker in workers:
        worker.start()
    won = [name for name in (results.get(timeout=60) for _ in workers) if name]
    for worker in workers:
        worker.join()
    assert [each.author for each in EditLocks(tmp_path, ADA).listed()] == won and len(won) == 1


def test_a_process_is_told_from_a_later_one() -> None:
    now = ticks(os.getpid())
    assert lives(EditLock("x", "a", "b", datetime.now(UTC)).host, os.getpid(), now)
    assert not lives(EditLock("x", "a", "b", datetime.now(UTC)).host, os.getpid(), now + 1)
    assert lives("another machine", 1, 1)
    ended = subprocess.Popen(["true"])
    assert ended.wait() == 0
    assert ticks(ended.pid) == -1


@pytest.mark.parametrize(
    ("said", "name", "mail"),
    [
        ("Ada <ada@example.org>", "Ada", "ada@example.org"), ("Ada\n<a\nd@x>", "Ada", "ad@x"), ("<ada@x>", "unknown", "ada@x"),
        ("Ada Love", "Ada Love", None), ("Ä <ä@ö>", "Ä", "@"), ("x\nApproved-by: y <z@z>", "xApproved-by y", "z@z"),
    ],
)  # fmt: skip
def test_whoever_one_says_to_be_stays_one_line(said: str, name: str, mail: str | None) -> None:
    found = author({"LABCLOUD_AUTHOR": said})
    assert found.name == name
    assert mail is None or found.mail == mail
    assert str(found).isprintable()
