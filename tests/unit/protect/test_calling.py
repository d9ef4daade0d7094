"""Locks, interruptions, secrets: the real restic, and programs that stand in for it where it must be another one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from labcloud.errors import EngineError
from labcloud.protect.answers import Progress
from labcloud.protect.calling import Watcher, environment
from labcloud.protect.complaints import LockedError
from labcloud.protect.restic import Repository, Upload
from labcloud.protect.staging import Tree
from labcloud.protect.targets import Secrets, Target
from tests.unit.protect.conftest import NOON, Place, Store

_HUGE = 1 << 36


def _locks(place: Place) -> list[str]:
    return [each.name for each in (place.root / "target/acme/locks").iterdir() if "-tmp-" not in each.name]  # being written


def _until(what: str, place: Place, *, locked: bool) -> None:
    end = time.monotonic() + 30
    while bool(_locks(place)) is not locked:
        assert time.monotonic() < end, what
        time.sleep(0.05)


@contextmanager
def _holder(place: Place, *before: str) -> Iterator[subprocess.Popen[bytes]]:
    """A restic that backs up what never comes, and has the repository meanwhile."""
    password = Secrets(place.root / "home").password_file("acme")
    words = ["restic", "-r", str(place.root / "target/acme"), "--password-file", str(password), "--no-cache", "backup", "--stdin"]
    process = subprocess.Popen([*before, *words], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _until("it has the repository", place, locked=True)
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdin:
            process.stdin.close()


def test_who_has_the_repository_is_named(place: Place, repository: Repository) -> None:
    told: list[str] = []
    impatient = place.repository(watcher=Watcher(tell=told.append, patience=0.5))
    with _holder(place) as holder, pytest.raises(LockedError, match=f"locked by process {holder.pid} of root on ") as caught:
        impatient.prune()
    assert "since 20" in caught.value.brief
    assert told == [caught.value.brief] * len(told)
    assert told


def test_what_is_waited_for_is_waited_for(place: Place, repository: Repository) -> None:
    with _holder(place) as holder:

        def pause(_: float) -> None:
            holder.communicate(b"that was it")

        place.repository(watcher=Watcher(pause=pause, patience=60)).prune()
    assert len(repository.copies()) == 1


def test_lists_and_stores_do_not_wait_for_each_other(place: Place, repository: Repository, store: Store) -> None:
    with _holder(place):
        stored = store(place.folder("v", a="1"))
        assert [each.id for each in repository.copies()] == [stored.id]
        assert repository.stats() > 0


def test_locks_of_the_dead_are_removed(place: Place, repository: Repository) -> None:
    with _holder(place) as holder:
        holder.kill()
        holder.wait()
        assert _locks(place)
        place.repository(watcher=Watcher(patience=10)).prune()
        assert _locks(place) == []


def test_a_lock_from_elsewhere_stays(place: Place, repository: Repository) -> None:
    elsewhere = ("unshare", "--uts", "sh", "-c", 'hostname elsewhere; exec "$@"', "sh")
    with _holder(place, *elsewhere) as holder:
        holder.kill()
        holder.wait()
        with pytest.raises(LockedError, match="of root on elsewhere"):
            place.repository(watcher=Watcher(patience=0.5)).prune()
        assert len(_locks(place)) == 1


def _running(place: Place) -> list[str]:
    """The processes of restic that work for ``place``."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = each.read_bytes()
            if b"restic" in words and str(place.root).encode() in words:
                found.append(each.parent.name)
    return found


def _huge(place: Place) -> Upload:
    """What takes minutes to read, and no room: 64 GiB of nothing."""
    folder = place.folder("huge")
    with (folder / "hole").open("wb") as file:
        file.truncate(_HUGE)
    return Upload(Tree({"v": folder}, {"manifest.json": b"{}"}), "h", (), NOON)


def test_an_interruption_leaves_nothing(place: Place, repository: Repository) -> None:
    upload = _huge(place)
    seen: list[Progress] = []

    def stop() -> None:
        if seen:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        place.repository(watcher=Watcher(stop=stop)).backup(upload, stage=place.stage, progress=seen.append)
    assert _locks(place) == []
    assert list(place.stage.iterdir()) == []
    assert repository.copies() == []


def test_a_killed_labcloud_takes_restic_along_and_the_next_run_goes_on(place: Place, repository: Repository, store: Store) -> None:
    _huge(place)
    code = f"""
from pathlib import Path
from tests.unit.protect.conftest import Place
from tests.unit.protect.test_calling import _huge
place = Place(Path({str(place.root)!r}))
place.repository().backup(_huge(place), stage=place.stage)
"""
    caller = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[3])
    _until("it backs up", place, locked=True)
    caller.kill()
    caller.wait()
    end = time.monotonic() + 30
    while _running(place):  # its lock may be left, for nobody reads what it prints any more
        assert time.monotonic() < end
        time.sleep(0.05)
    (place.root / "data/huge/hole").unlink()
    store(place.folder("v", a="1"))
    assert list(place.stage.iterdir()) == []
    assert repository.check("all").ok
    assert _locks(place) == []


def test_a_copy_that_misses_something_is_removed_and_refused(place: Place, repository: Repository) -> None:
    unreadable = Path("/proc/sys/vm/compact_memory")  # not even root may read it
    upload = Upload(Tree({"v": place.folder("v", a="1")}, {"x": unreadable}), "h", (), NOON)
    with pytest.raises(EngineError, match=r"would be incomplete.*: /x$") as caught:
        repository.backup(upload, stage=place.stage)
    assert caught.value.details == "/x: Permission denied"
    assert repository.copies() == []


def test_what_cannot_be_mounted_is_named(place: Place, repository: Repository) -> None:
    folder = place.folder("v", a="1")
    upload = Upload(Tree({"a" * 300: folder}, {}), "h", (), NOON)
    with pytest.raises(EngineError, match="could not be put into the backup: mkdir"):
        repository.backup(upload, stage=place.stage)
    assert list(place.stage.iterdir()) == []


def _program(folder: Path, script: str) -> dict[str, str]:
    folder.mkdir()
    path = folder / "restic"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize("said", ["restic 0.12.1 compiled with go1.15.9", "restic 0.9.6", "something else", ""])
def test_an_old_restic_is_refused(place: Place, said: str) -> None:
    env = _program(place.root / "bin", f"echo '{said}'")
    with pytest.raises(EngineError, match="older than 0") as caught:
        place.repository(env=env).ensure()
    assert caught.value.resolution == "install restic 0.14 or newer"


def test_a_missing_restic_is_named_with_its_package(place: Place) -> None:
    empty = place.root / "empty"
    empty.mkdir()
    repository = place.repository(env={"PATH": str(empty)})
    for ask in (repository.ensure, repository.copies):
        with pytest.raises(EngineError, match="no program restic") as caught:
            ask()
        assert caught.value.resolution == "apt-get install restic"


def test_no_secret_is_in_a_list_of_processes(place: Place) -> None:
    env = _program(
        place.root / "bin", f'printf "%s\\n" "$@" >>{place.root}/argv; env >{place.root}/env; echo "restic 0.14.0"; echo "{{\\"id\\": 1}}"'
    )
    secret = {"RESTIC_REST_USERNAME": "me", "RESTIC_REST_PASSWORD": "hunter2/@:", "AWS_SECRET_ACCESS_KEY": "hunter2"}
    repository = place.repository(target=Target.parse("rest:https://h:8000/"), env=env | secret)
    with pytest.raises(EngineError, match="no JSON"):
        repository.ensure()
    argv, seen = (place.root / "argv").read_text(), (place.root / "env").read_text()
    assert "hunter2" not in argv
    assert "h:8000" not in argv
    assert Secrets(place.root / "home").password_file("acme").read_text().strip() not in argv + seen
    assert "RESTIC_REPOSITORY=rest:https://me:hunter2%2F%40%3A@h:8000/acme/\n" in seen
    assert "AWS_SECRET_ACCESS_KEY=hunter2\n" in seen


def test_what_the_caller_has_set_for_another_repository_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RESTIC_PASSWORD", "RESTIC_PASSWORD_COMMAND", "RESTIC_REPOSITORY", "RESTIC_REPOSITORY_FILE", "RESTIC_CACHE_DIR"):
        monkeypatch.setenv(name, "wrong")
    passed = environment(Target("/srv/acme"), {"RESTIC_PACK_SIZE": "64"})
    assert {key: value for key, value in passed.items() if key.startswith("RESTIC_")} == {
        "RESTIC_REPOSITORY": "/srv/acme", "RESTIC_PROGRESS_FPS": "2", "RESTIC_PACK_SIZE": "64"
    }  # fmt: skip
    assert "wrong" not in passed.values()
