"""config lock, unlock, locks: who edits which file of the lab repository; and how a lock is taken from somebody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import click

from labcloud.cli.changing import locks
from labcloud.cli.output import emit, note, output_option, print_table
from labcloud.cli.session import Session, session
from labcloud.lab.editing import EditLock, Taken
from labcloud.lab.places import prefix
from labcloud.model import parse_duration
from labcloud.model.periods import stamp

steal_option = click.option("--steal", metavar="REASON", help="Take the lock from who has it; the journal says so, and why.")


def take(opened: Session, path: str, *, until: datetime | None = None, editing: bool = False, reason: str = "", steal: str | None) -> Taken:
    """Lock a path as `EditLocks.take` does; what was in the way is told, and noted in the journal where it was stolen."""
    taken = locks(opened).take(path, until=until, editing=editing, reason=steal or reason, steal=steal is not None)
    for each in taken.stale:
        note(f"a lock that was left is taken over: {each}")
    for each in taken.stolen:
        with opened.journal().operation("config steal", path, {"from": f"{each.author} <{each.mail}>", "reason": steal}):
            note(f"the lock is taken from {each.author}, who had {each.path} since {stamp(each.since)}")
    return taken


@contextmanager
def held_for_editor(opened: Session, path: str, steal: str | None) -> Iterator[EditLock]:
    """Hold the lock on a file as long as the body runs, or this process lives."""
    lock = take(opened, path, editing=True, steal=steal).lock
    try:
        yield lock
    finally:
        locks(opened).release(lock)


@click.command("lock")
@click.argument("path")
@click.option("--for", "duration", metavar="DURATION", help="As in 2h or 30m.  [default: until it is unlocked]")
@click.option("--reason", metavar="TEXT", default="", help="Why: others read it.")
@steal_option
@output_option
def lock_path(path: str, duration: str | None, reason: str, steal: str | None, output: str) -> None:
    """Keep others from changing PATH, a file or a folder of the lab repository, by `config`."""
    until = datetime.now(UTC).replace(microsecond=0) + parse_duration(duration) if duration else None
    with session() as opened:
        taken = take(opened, prefix(path), until=until, reason=reason, steal=steal)
    emit(_public(taken.lock), output, lambda: note(str(taken.lock)))


@click.command("unlock")
@click.argument("path")
@output_option
def unlock_path(path: str, output: str) -> None:
    """Let others change PATH again."""
    with session() as opened:
        lock = locks(opened).unlock(prefix(path))
    emit(_public(lock), output, lambda: note(f"{lock.path} is unlocked"))


@click.command("locks")
@output_option
def list_locks(output: str) -> None:
    """Who edits what, since when."""
    with session() as opened:
        held = locks(opened).listed()

    def table() -> None:
        if not held:
            note("nothing is locked")
            return
        rows = [(each.path, each.author, stamp(each.since), _until(each), each.reason) for each in held]
        print_table(("PATH", "AUTHOR", "SINCE", "UNTIL", "REASON"), rows)

    emit([_public(each) for each in held], output, table)


def _until(lock: EditLock) -> str:
    if lock.pid:
        return f"process {lock.pid} on {lock.host} ends"
    return stamp(lock.until) if lock.until else "unlocked"


def _public(lock: EditLock) -> dict[str, Any]:
    return {
        "path": lock.path, "author": lock.author, "mail": lock.mail, "since": stamp(lock.since), "host": lock.host, "pid": lock.pid or None,
        "until": stamp(lock.until) if lock.until else None, "reason": lock.reason,
    }  # fmt: skip
