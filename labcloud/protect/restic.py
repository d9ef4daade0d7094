"""The one door to restic: a repository, and what can be asked of it. Knows nothing of Hadoop, clusters and policies.

Every call is a process of its own, by a list of words; the password goes by its file, the repository's address and the target's
credentials by the environment, so that no list of processes shows them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from labcloud.errors import EngineError, LabError, NotFoundError, UsageError
from labcloud.lab.files import disk_errors, make_private
from labcloud.protect import answers
from labcloud.protect.answers import Copy, Entry, Keep, Kept, Progress, Stored, Verdict
from labcloud.protect.calling import QUESTION, Restic, Watcher, environment, nobody
from labcloud.protect.complaints import DamagedError, NoRepositoryError, complaint
from labcloud.protect.processes import Running
from labcloud.protect.staging import Tree, in_tree, staged
from labcloud.protect.targets import Target

CONSISTENT: Final = "consistent"
INCONSISTENT: Final = "inconsistent"

_INCOMPLETE: Final = 3
_LONG: Final = 24 * 3600.0
_DUMPED: Final = 16 * 1024 * 1024
_TRACED: Final = 20

Told = Callable[[Progress], None]


@dataclass(frozen=True)
class Upload:
    """What to back up, and what the copy says of itself.

    ``time`` is the point in time that it shows; ``parent`` the id of the copy to compare with; one that is gone is none.
    """

    tree: Tree
    host: str
    tags: tuple[str, ...]
    time: datetime
    parent: str = ""


class Repository:
    """One repository. Every method raises LabError for what restic complains of, LockedError (a ConflictError) after the watcher's
    patience, DeadlineError after its limit."""

    def __init__(
        self,
        target: Target,
        password_file: Path,
        credentials: Mapping[str, str] | None = None,
        *,
        cache: Path,
        watcher: Watcher | None = None,
    ) -> None:
        """``target`` is the repository itself (`Target.of`), ``credentials`` are the target's; ``cache`` is a folder, made if missing."""
        self.target = target
        self._restic = Restic(target, password_file, environment(target, credentials or {}), cache, watcher or Watcher())

    def ensure(self) -> str:
        """Make the repository if there is none; return its id. Of several processes, one makes it.

        Raise ConfigError if the password does not fit, NotFoundError if the target's directory is missing: what is to be mounted there
        must not be replaced by a new repository on the disk below.
        """
        self._restic.check_version()
        try:
            return self.id()
        except NoRepositoryError:
            pass
        with self._restic.alone():  # two that restic makes at once leave one with a key that does not fit
            try:
                return self.id()
            except NoRepositoryError:
                self._init()
        return self.id()

    def id(self) -> str:
        """The repository's id. Raise NoRepositoryError if there is none."""
        return str(answers.decoded(self._restic.ask("cat", "config", locks=False), "cat config")["id"])

    def backup(self, upload: Upload, *, stage: Path, progress: Told = nobody, limit: float = _LONG) -> Stored:
        """Store what ``upload`` names, as one tree whose root is the copy's root. ``stage`` is a folder for what that takes.

        Raise EngineError if anything could not be read: a copy that misses something is removed again.
        """
        words = ["--json", "backup", ".", "--host", upload.host, "--time", f"{upload.time.astimezone(UTC):%Y-%m-%d %H:%M:%S}"]
        words += [word for tag in upload.tags for word in ("--tag", tag)]
        words += ["--ignore-inode", "--ignore-ctime"]  # hard links and copies have other ones each time; size and mtime tell
        summary: dict[str, Any] = {}
        began = time.monotonic()

        def read(line: bytes) -> None:
            said = answers.message(line)
            if said.get("message_type") == "status":
                progress(answers.progress(said, time.monotonic() - began))
            elif said.get("message_type") == "summary":
                summary.update(said)

        with staged(upload.tree, stage) as before:
            how = Running(limit, line=read)
            try:
                parent = ["--parent", _checked_id(upload.parent)] if upload.parent else []
                ended = self._restic.do("backup", words + parent, how, before=before, fine=(0, _INCOMPLETE))
            except NotFoundError:
                if not upload.parent:
                    raise
                ended = self._restic.do("backup", words, how, before=before, fine=(0, _INCOMPLETE))
        if ended.code == _INCOMPLETE:
            self.forget([_made(self.copies(upload.host), summary)] if "snapshot_id" in summary else [])
            raise _incomplete(ended.stderr)
        copies = self.copies(upload.host)
        return Stored(
            id=_made(copies, summary), bytes_added=int(summary["data_added"]), seconds=ended.seconds, copies=tuple(copies),
            bytes_processed=int(summary["total_bytes_processed"]), files=int(summary["total_files_processed"]),
        )  # fmt: skip

    def copies(self, host: str | None = None, tags: Sequence[str] = ()) -> list[Copy]:
        """The copies, newest first; of ``host`` alone, and with all of ``tags``. It waits for nobody.

        One whose description is damaged cannot be listed; the watcher is told its id, and `check` finds it.
        """
        words = ["snapshots", *(("--host", host) if host is not None else ()), *(("--tag", ",".join(tags)) if tags else ())]
        output = self._restic.ask(*words, locks=False)
        return answers.copies(answers.decoded(output, "snapshots"))

    def restore(
        self, id: str, folders: Mapping[str, Path], *, stage: Path, include: Sequence[str] = (), total: int = 0, progress: Told = nobody
    ) -> None:
        """Write what the copy ``id`` has at the keys of ``folders`` (paths from its root) into these: all of it, or what is at ``include``
        (such paths as well) and below. What several of them have alike is read once.

        Owners, modes and times are restored, and each file is read again and compared with its checksums. ``stage`` is a folder for what
        that takes, ``total`` how many bytes ``progress`` tells that it will be. Raise NotFoundError if there is no such copy, DamagedError
        if something in it cannot be read.
        """
        words = ["restore", _checked_id(id), "--target", ".", "--verify"]
        words += [word for path in include or folders for word in ("--include", answers.literal(path))]
        began = time.monotonic()

        def look(pid: int) -> None:
            progress(answers.written(_written(pid), total, time.monotonic() - began))

        with staged(Tree(folders, {}, writable=True), stage) as before:
            self._restic.do("restore", words, Running(_LONG, tick=look), before=before)

    def walk(self, id: str) -> list[Entry]:
        """All that is in a copy, folders before what is in them."""
        found: list[Entry] = []

        def read(line: bytes) -> None:
            entry = answers.entry(answers.message(line))
            if entry:
                found.append(entry)

        self._restic.do("ls", ["--json", "ls", _checked_id(id)], Running(_LONG, line=read))
        return found

    def dump(self, id: str, path: str, *, most: int = _DUMPED) -> bytes:
        """The content of one file of a copy. Raise NotFoundError if it is not there, EngineError if it has more than ``most`` bytes."""
        return self._restic.ask("dump", _checked_id(id), "/" + path.strip("/"), most=most, json=False)

    def ls(self, id: str, path: str = "/") -> list[Entry]:
        """What is directly in the folder ``path`` of a copy. Raise NotFoundError if there is no such copy."""
        lines = self._restic.ask("ls", _checked_id(id), "/" + path.strip("/")).splitlines()
        if not lines:
            raise NotFoundError(f"there is no copy {id} at {self.target}", resolution="'labcloud backup list' shows what there is")
        entries = [found for line in lines if (found := answers.entry(answers.message(line)))]
        folder = "/" + path.strip("/")
        return [each for each in entries if each.path != folder or each.kind != "dir"]

    def forget(self, ids: Sequence[str], *, limit: float = _LONG) -> None:
        """Remove copies; those that are gone already are passed over. Their data go with the next `prune`."""
        if ids:
            self._restic.do("forget", ["--json", "forget", *map(_checked_id, ids)], Running(limit))

    def retain(self, keep: Keep, *, host: str, copies: Sequence[Copy] | None = None, dry_run: bool = False, limit: float = _LONG) -> Kept:
        """Remove the copies of ``host`` that ``keep`` does not keep; with ``dry_run``, only say which.

        Only those tagged ``consistent`` are counted, in UTC's days. One that is ``inconsistent`` goes when a newer consistent one stays.
        ``copies`` are those of ``host``, newest first, where they were just listed.
        """
        counts = {"last": keep.last, "daily": keep.daily, "weekly": keep.weekly, "monthly": keep.monthly}
        rules = [word for name, count in counts.items() if count > 0 for word in (f"--keep-{name}", str(count))]
        if not rules:
            raise UsageError("rules that keep nothing would remove every copy", resolution="keep one at least, as last: 1")
        before = self.copies(host) if copies is None else copies
        good = [each for each in before if CONSISTENT in each.tags]
        words = ["--json", "forget", "--host", host, "--tag", CONSISTENT, "--group-by", "host", *rules]
        groups: list[bytes] = []
        if len(good) > keep.last:  # otherwise the rules remove nothing, and restic need not be asked
            how = Running(limit, line=groups.append)
            self._restic.do("forget", [*words, "--dry-run", "--no-lock"] if dry_run else words, how)
        said = answers.decoded(b"\n".join(groups), "forget") or []
        gone = {each["id"] for group in said for each in group["remove"] or ()}
        kept = next((each for each in good if each.id not in gone), None)
        poor = {each.id for each in before if INCONSISTENT in each.tags and kept and each.time < kept.time}
        if not dry_run:
            self.forget(sorted(poor), limit=limit)
        go = gone | poor
        return Kept(go=tuple(each for each in before if each.id in go), stay=tuple(each for each in before if each.id not in go))

    def prune(self, *, limit: float = _LONG) -> None:
        """Remove the data that no copy needs."""
        self._restic.do("prune", ["prune"], Running(limit))

    def check(self, read: tuple[int, int] | Literal["all"] | None = None, *, limit: float = _LONG) -> Verdict:
        """Whether all that the copies need is there; the data are read as well for ``read``: the part (N, of T), or all.

        Raise LabError if it could not be checked at all.
        """
        subset = {None: [], "all": ["--read-data"]}.get(read if not isinstance(read, tuple) else None, [])
        if isinstance(read, tuple):
            subset = [f"--read-data-subset={read[0]}/{read[1]}"]
        ended = self._restic.do("check", ["check", *subset], Running(limit), fine=None)
        if ended.code == 0:
            return Verdict(ok=True, problems=(), packs=(), copies=(), seconds=ended.seconds)
        error = complaint(self._restic.call("check"), ended.stderr)
        if not isinstance(error, DamagedError) and "repository contains errors" not in ended.stderr:
            raise error
        problems = answers.problems(ended.stderr) or (error.brief,)
        packs = answers.packs(problems)
        copies = self._needing(packs=packs, trees=answers.trees(problems))
        return Verdict(ok=False, problems=problems, packs=packs, copies=copies, seconds=ended.seconds)

    def mend(self, packs: Sequence[str], *, limit: float = _LONG) -> int:
        """Let restic no longer count on ``packs``, which are damaged or missing. They are moved to ``damaged`` in the repository's folder.

        The next backup stores again what it still finds of their data, for all copies. Returns how many were moved. Raise UsageError for a
        repository that is in no directory of this machine.
        """
        folder = self.target.directory
        if folder is None:
            raise UsageError(
                f"packs can only be set aside in a directory of this machine, not at {self.target}",
                resolution="move the packs that are named out of 'data' there, then: restic rebuild-index",
            )
        moved = 0
        with disk_errors(f"set damaged packs of {self.target} aside"):
            for pack in map(_checked_id, packs):
                with suppress(FileNotFoundError):
                    make_private(folder / "damaged")
                    (folder / "data" / pack[:2] / pack).rename(folder / "damaged" / pack)
                    moved += 1
        self._restic.do("rebuild-index", ["rebuild-index"], Running(limit))
        return moved

    def stats(self) -> int:
        """Bytes that the repository's data take, compressed and each once."""
        return int(answers.decoded(self._restic.ask("stats", "--mode", "raw-data", locks=False), "stats")["total_size"])

    def _needing(self, *, packs: Sequence[str], trees: Sequence[str]) -> tuple[str, ...]:
        """The copies that need one of ``packs`` or have one of ``trees``. Of other damage restic cannot tell whom it concerns, so all may
        be."""
        found: dict[str, None] = {}
        asked = [("--pack", each) for each in packs] + [("--tree", each) for each in trees]
        for kind, id in asked if len(asked) <= _TRACED else ():
            with suppress(LabError):
                users = answers.decoded(self._restic.ask("find", kind, id, limit=_LONG), "find") or ()
                found |= {each["snapshot"]: None for each in users}
        return tuple(found) or tuple(each.id for each in self.copies())

    def _init(self) -> None:
        folder = self.target.directory
        if folder is not None and not folder.parent.is_dir():
            raise NotFoundError(f"there is no directory {folder.parent} for backups", resolution="mount what belongs there, or make it")
        ended = self._restic.once("init", ["init"], Running(QUESTION))
        if ended.code and "already exists" not in ended.stderr:
            raise complaint(self._restic.call("init"), ended.stderr)


def _checked_id(text: str) -> str:
    if not answers.is_id(text):
        raise UsageError(f"{text!r} is no id of a copy", resolution="'labcloud backup list' shows them")
    return text


def _made(copies: Sequence[Copy], summary: Mapping[str, Any]) -> str:
    """The whole id of the copy that was just made: restic 0.14 tells its beginning alone."""
    short = str(summary["snapshot_id"])
    found = [each.id for each in copies if each.id.startswith(short)]
    if len(found) != 1:
        raise EngineError(f"the copy {short} that was just made is not there", resolution="run it again; look at the target's disk")
    return found[0]


def _written(pid: int) -> int:
    """Bytes that a process has written so far; 0 if that cannot be read."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/io").read_text(encoding="ascii").split("wchar: ")[1].split()[0])
    return 0


def _incomplete(stderr: str) -> EngineError:
    said = [answers.message(line.encode()) for line in stderr.splitlines()]
    failed = [each for each in said if each.get("message_type") == "error"]
    places = [in_tree(str(each.get("item", ""))) for each in failed]
    named = f": {places[0]}" + (f" and {len(places) - 1} more" if len(places) > 1 else "") if places else ""
    return EngineError(
        f"the copy would be incomplete, and was removed: something could not be read{named}",
        details="\n".join(f"{place}: {_why(each.get('error'))}" for place, each in zip(places, failed, strict=True))[:2000]
        or stderr[-2000:],
        resolution="look at what could not be read, then run the same command again",
    )


def _why(error: object) -> str:
    """What restic says of one file; errors of the system are numbers there."""
    number = error.get("Err") if isinstance(error, Mapping) else None
    return os.strerror(number) if isinstance(number, int) else str(error)
