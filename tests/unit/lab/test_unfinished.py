"""A change of several files that ends half-way, however it ends: nothing of it stays, and nothing of what somebody wrote is lost."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from labcloud.errors import EngineError
from labcloud.lab import Lab
from labcloud.lab.history import History
from labcloud.lab.unfinished import Unfinished
from labcloud.lab.writing import Writer

Git = Callable[..., str]
OLD = {"base/motd": "old\n", "base/health/disk": "#!/bin/sh\nexit 0\n", "bindings/site.yaml": "settings: {}\n"}
NEW = {
    "base/motd": "new\n",
    "base/health/disk": None,
    "bindings/site.yaml": "where: index == 1\nsettings: {}\n",
    "files/fresh/one": "1\n",
    "files/two": "2\n",
}
STEPS = len(NEW) + 1  # each file, and the commit


@pytest.fixture
def before(lab: Lab) -> str:
    return lab.change(OLD, "begin")


def _texts(lab: Lab) -> dict[str, str | None]:
    return {path: lab.text(path) for path in NEW}


def _stopping(home: Path, step: int, stop: Callable[[], None]) -> None:
    """Change the files, and stop right before that step."""
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        if done == step:
            stop()

    place, commit = Writer._place, History.commit

    def counted_place(self: Writer, path: str, content: bytes | None) -> None:
        count()
        place(self, path, content)

    def counted_commit(self: History, *args: object) -> None:
        count()
        commit(self, *args)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Writer, "_place", counted_place)
        patch.setattr(History, "commit", counted_commit)
        Lab(home).change(NEW, "all of it")


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _killed(home: Path, step: int) -> None:
    worker = multiprocessing.get_context("fork").Process(target=_stopping, args=(home, step, _die))
    worker.start()
    worker.join(30)
    assert worker.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_a_killed_change_is_taken_back_whole(lab: Lab, git: Git, before: str, step: int) -> None:
    _killed(lab.home, step)
    lab.mend()
    assert _texts(lab) == {**dict.fromkeys(NEW), **OLD}
    assert (lab.revision(), git("status", "--porcelain")) == (before, "")
    assert not (lab.home / "lab/files").exists()
    assert lab.change(NEW, "all of it") != before
    assert _texts(lab) == NEW
    assert [each.title for each in lab.log(limit=2)] == ["all of it", "begin"]


def test_the_next_change_takes_it_back_too(lab: Lab, git: Git, before: str) -> None:
    _killed(lab.home, 3)
    assert lab.text("base/motd") == "new\n", "half of it is there"
    lab.ensure_tenant("acme")
    assert [each.title for each in lab.log(limit=2)] == ["create the tenant acme", "begin"]
    assert (_texts(lab), git("status", "--porcelain")) == ({**dict.fromkeys(NEW), **OLD}, "")


def test_what_somebody_wrote_since_stays(lab: Lab, git: Git, before: str) -> None:
    _killed(lab.home, STEPS)
    (lab.base / "motd").write_text("by hand\n")
    (lab.home / "lab/bindings/site.yaml").unlink()
    lab.mend()
    assert _texts(lab) == {**dict.fromkeys(NEW), **OLD, "base/motd": "by hand\n", "bindings/site.yaml": None}
    lab.ensure_tenant("acme")
    assert [each.title for each in lab.log(limit=2)] == ["create the tenant acme", "left uncommitted before: create the tenant acme"]


def test_a_text_that_nobody_could_read_comes_back_as_somebody_left_it(lab: Lab, before: str) -> None:
    """What is corrected by a change is in no commit."""
    broken = "settings: [\n"
    (lab.home / "lab/bindings/site.yaml").write_text(broken)
    correct = {"bindings/site.yaml": "settings: {}\n# right\n", "base/motd": "new\n"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(History, "commit", _refuse)
        with pytest.raises(EngineError, match="No space left"):
            lab.change(correct, "correct it", base={"bindings/site.yaml": broken, "base/motd": "old\n"})
    assert (lab.text("bindings/site.yaml"), lab.text("base/motd")) == (broken, "old\n")


def _refuse(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("step", range(1, STEPS + 1))
@pytest.mark.parametrize("kind", [KeyboardInterrupt, OSError(errno.ENOSPC, "full")])
def test_an_interruption_takes_it_back_at_once(
    lab: Lab, git: Git, before: str, step: int, kind: BaseException | type[BaseException]
) -> None:
    def stop() -> None:
        raise kind

    with pytest.raises((KeyboardInterrupt, EngineError)):
        _stopping(lab.home, step, stop)
    assert (_texts(lab), lab.revision(), git("status", "--porcelain")) == ({**dict.fromkeys(NEW), **OLD}, before, "")


def test_a_change_that_was_committed_stays(lab: Lab, before: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Unfinished, "end", lambda _: None)  # killed right after its commit
        after = lab.change(NEW, "all of it")
    lab.mend()
    assert (_texts(lab), lab.revision()) == (NEW, after)
    assert list((lab.home / "lab/.git").glob("labcloud.*")) == []


def test_a_note_that_says_nothing_is_none(lab: Lab, before: str) -> None:
    (lab.home / "lab/.git/labcloud.unfinished").write_text("{")
    lab.mend()
    assert _texts(lab) == {**dict.fromkeys(NEW), **OLD}
    assert list((lab.home / "lab/.git").glob("labcloud.*")) == []


def test_where_nothing_is_unfinished_nothing_is_made(lab: Lab) -> None:
    lab.mend()
    assert not lab.home.exists()
