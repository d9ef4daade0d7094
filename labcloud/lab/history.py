"""The only door to git: a repository whose every change is one commit, and its past. Knows nothing of tenants and clusters."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from labcloud.errors import ConflictError, EngineError, NotFoundError
from labcloud.lab.conflicts import first_marker
from labcloud.lab.files import make_private
from labcloud.lab.git import Author, Call, author, run

__all__ = ["SHORT", "Author", "Change", "Commit", "History", "author"]

SHORT: Final = 10
"""So many digits of a revision are shown to people."""

_STALE_AFTER = 2.0
_CONFLICTS_COUNTED: Final = 127  # git merge-file ends with the number of conflicts, cut off there
_NO_COMMIT: Final = 128
_SHOWN_REVISIONS: Final = 5
# What git leaves while a merge, or the like, waits for somebody to go on with it.
_UNFINISHED: Final = {
    "MERGE_HEAD": "merge", "CHERRY_PICK_HEAD": "cherry-pick", "REVERT_HEAD": "revert", "rebase-merge": "rebase", "rebase-apply": "rebase",
}  # fmt: skip


@dataclass(frozen=True)
class Change:
    """One commit. ``reason`` is its whole message; ``when`` (UTC) it took effect; ``paths`` are what it changed."""

    revision: str
    author: str
    mail: str
    when: datetime
    reason: str
    paths: tuple[str, ...]

    @property
    def title(self) -> str:
        return self.reason.partition("\n")[0]

    def __str__(self) -> str:
        return f"{self.revision[:SHORT]}  {self.when:%Y-%m-%d %H:%M}  {self.author}  {self.title}"


@dataclass(frozen=True)
class Commit:
    """What a commit says of itself: why, and by whom and when it was written, where that is not who commits it now."""

    reason: str
    author: Author | None = None
    when: datetime | None = None

    @property
    def title(self) -> str:
        return self.reason.partition("\n")[0]

    @property
    def message(self) -> str:
        return re.sub(r"[^\S\n]|[^\w\s!-~]", " ", self.reason).strip() or "no reason was given"

    @property
    def environment(self) -> dict[str, str]:
        said = {"GIT_AUTHOR_DATE": f"{int(self.when.timestamp())} +0000"} if self.when else {}
        return said | ({"GIT_AUTHOR_NAME": self.author.name, "GIT_AUTHOR_EMAIL": self.author.mail} if self.author else {})


class History:
    """The git repository at ``folder``. Who changes it holds the lab's lock, whose descriptor ``lock`` is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._git = folder / ".git"
        self._finished = self._git / "labcloud"

    @property
    def scratch(self) -> Path:
        """Where a file is written before it is renamed into the work tree."""
        return self._git / "labcloud.new"

    @property
    def unfinished(self) -> Path:
        """Where a change of files is noted while it is being made."""
        return self._git / "labcloud.unfinished"

    @property
    def begun(self) -> bool:
        """Whether the repository was set up to the end; one that was not is set up again."""
        return self._finished.exists()

    def begin(self, lock: int) -> None:
        make_private(self.folder)
        self._run(["init", "-q", "--template=", "--initial-branch=main"], lock)

    def finish(self, reason: str, lock: int) -> None:
        """Commit what the set-up wrote, then mark it finished."""
        self.heal(reason, lock, said=reason)
        self._finished.touch(mode=0o600)

    # Committing

    def heal(
        self, before: str, lock: int, *, said: str = "", sound: Callable[[str], bool] = lambda _: True, left: Collection[str] = ()
    ) -> None:
        """Commit what an earlier run, or a person, left uncommitted, under a reason that says so; but no file that is not ``sound``.

        Files in ``left`` are left as they are. Raise ConflictError for a merge that is not finished, whether git knows of it or a file
        holds its marks: nothing is committed over it.
        """
        self._remove_stale_locks()
        self._check_merged()
        there = [path for path in self.uncommitted() if path not in left]
        for path in there:
            self._check_resolved(path)
        good = [path for path in there if sound(path)]
        if good:
            reason = said or f"left uncommitted before: {before}\n\nA run broke off, or somebody edited files by hand."
            self.commit([self.folder / path for path in good], Commit(reason), lock)

    def commit(self, paths: Path | Sequence[Path], reason: str | Commit, lock: int) -> None:
        """Commit the changes, or the removals, of ``paths``, and of nothing else, whatever somebody has staged."""
        said = reason if isinstance(reason, Commit) else Commit(reason)
        names = [str(path.relative_to(self.folder)) for path in ([paths] if isinstance(paths, Path) else paths)]
        listed = b"".join(os.fsencode(name) + b"\0" for name in names)
        these = ["--pathspec-from-file=-", "--pathspec-file-nul"]
        run(self.folder, ["add", "--all", *these], Call(listed, lock=lock))
        argv = ["commit", "-q", "--no-verify", "--cleanup=whitespace", "--only", "-m", said.message, *these]
        try:
            run(self.folder, argv, Call(listed, said.environment, lock))
        except EngineError:
            if set(names) & set(self.uncommitted()):
                raise  # else the files say what was committed before: there is nothing to commit

    def unstage(self, paths: Iterable[str], lock: int) -> None:
        """Let git forget what was staged of ``paths`` for a commit that never was."""
        self._remove_stale_locks()
        listed = b"".join(os.fsencode(path) + b"\0" for path in paths)
        run(self.folder, ["reset", "-q", "--pathspec-from-file=-", "--pathspec-file-nul"], Call(listed, lock=lock))

    def uncommitted(self) -> list[str]:
        """Paths in the work tree that are not as the last commit has them."""
        entries = self._run(["status", "--porcelain", "-z", "--no-renames", "--untracked-files=all"]).split("\0")
        return [entry[3:] for entry in entries if entry]

    def _check_merged(self) -> None:
        for name, what in _UNFINISHED.items():
            if (self._git / name).exists():
                raise ConflictError(
                    f"a {what} in the lab repository {self.folder} is not finished: nothing can be changed until it is",
                    details="what was last committed stays in force",
                    resolution=f"finish it: git -C {self.folder} status says how; or abandon it: git -C {self.folder} {what} --abort",
                )

    def _check_resolved(self, path: str) -> None:
        try:
            line = first_marker((self.folder / path).read_text(encoding="utf-8", errors="replace"))
        except OSError:  # removed, or a link to nowhere
            return
        if line:
            raise ConflictError(
                f"{self.folder / path}:{line}: a merge conflict is not resolved here: nothing is committed over it",
                resolution=f"choose between the marks <<<<<<< and >>>>>>> and remove them: labcloud config edit {path}",
            )

    # The past

    def head(self) -> str:
        """The revision that is committed now, in full; empty if there is none."""
        return self._commit_of("HEAD") if self._git.exists() else ""

    def resolve(self, revision: str) -> str:
        """The full name of the commit that ``revision`` names: a hash, a beginning of one, ``HEAD~2``, a tag. Raise NotFoundError."""
        found = self._commit_of(revision) if self.begun and revision.isprintable() else ""
        if not found:
            last = "\n".join(map(str, self.log((), _SHOWN_REVISIONS)))
            raise NotFoundError(
                f"the lab repository has no revision {revision!r}",
                details=f"the last ones are\n{last}" if last else "it has none at all yet",
                resolution="'labcloud config log' lists them",
            )
        return found

    def log(self, paths: Sequence[str] = (), limit: int | None = None, *, since: str = "HEAD") -> list[Change]:
        """The commits that changed one of ``paths`` (files or folders; all where none is named), newest first."""
        if not self.begun:
            return []
        form = "--format=%x01%H%x00%an%x00%ae%x00%ct%x00%B%x00"
        argv = ["log", "-z", "--name-only", "--no-renames", "--diff-merges=first-parent", form, *([f"-{limit}"] if limit else []), since]
        return list(_changes(self._run([*argv, "--", *paths]).split("\0")))

    def revisions(self, path: str) -> list[str]:
        """The commits that changed ``path``, newest first, by their full names."""
        return self._run(["log", "--format=%H", "HEAD", "--", path]).split() if self.begun else []

    def tree(self, revision: str) -> dict[str, tuple[str, str]]:
        """All files of a revision: path → mode (``100644``) and blob."""
        entries = self._run(["ls-tree", "-r", "-z", "--full-tree", revision]).split("\0")
        found = (entry.partition("\t") for entry in entries if entry)
        return {path: (facts.split()[0], facts.split()[2]) for facts, _, path in found if facts.split()[1] == "blob"}

    def blobs(self, names: Iterable[str]) -> dict[str, bytes]:
        """The contents of blobs, all by one process. A name may be ``REVISION:PATH`` too; what is missing is left out."""
        wanted = list(dict.fromkeys(names))
        data = run(self.folder, ["cat-file", "--batch"], Call("".join(f"{name}\n" for name in wanted).encode()))
        found, at = {}, 0
        for name in wanted:
            end = data.index(b"\n", at)
            header = data[at:end].split(b" ")
            at = end + 1
            if header[-1] != b"missing":
                size = int(header[2])
                found[name] = data[at : at + size]
                at += size + 1
        return found

    def show(self, revision: str, path: str) -> bytes | None:
        """What a file said at a revision; None if it was not there."""
        name = f"{revision}:{path}"
        return self.blobs([name]).get(name)

    def diff(self, old: str, new: str, paths: Sequence[str] = (), *, colour: bool = False) -> str:
        """The difference of two revisions in ``paths``, as unified text."""
        argv = ["diff", "--no-renames", "--no-ext-diff", "--no-textconv", f"--color={'always' if colour else 'never'}"]
        return self._run([*argv, old, new, "--", *paths])

    def removed(self, path: Path) -> datetime | None:
        """When ``path`` was last removed, by the commit that did so; None if none did."""
        if not self.begun:
            return None
        argv = ["log", "-1", "--format=%ct", "--diff-filter=D", "--", str(path.relative_to(self.folder))]
        seconds = self._run(argv).strip()
        return datetime.fromtimestamp(int(seconds), UTC) if seconds else None

    # Beside the work tree

    def merged(self, ours: str, base: str, theirs: str) -> tuple[str, bool]:
        """The three-way merge of a file's texts, and whether it went well; conflicts are marked in it otherwise."""
        files = [self._git / f"labcloud.merge.{name}" for name in ("ours", "base", "theirs")]
        try:
            for path, text in zip(files, (ours, base, theirs), strict=True):
                path.write_bytes(text.encode())
            argv = ["merge-file", "-p", "-q", "--diff3", "-L", "now", "-L", "before", "-L", "wanted", *map(str, files)]
            text = run(self.folder, argv, Call(accepted=range(_CONFLICTS_COUNTED + 1))).decode()
        finally:
            for path in files:
                path.unlink(missing_ok=True)
        return text, first_marker(text) == 0

    def write(self, files: Mapping[str, tuple[str, str] | None], parent: str, commit: Commit, lock: int) -> str:
        """A commit beside the work tree: ``parent`` with ``files`` (path → mode and text; None removes it). Returns its name."""
        index = self._git / "labcloud.index"
        index.unlink(missing_ok=True)
        environment = {"GIT_INDEX_FILE": str(index)}
        try:
            self._run(["read-tree", parent], lock, environment)
            lines = [self._entry(path, entry, lock) for path, entry in files.items()]
            run(self.folder, ["update-index", "-z", "--index-info"], Call(b"".join(lines), environment, lock))
            tree = self._run(["write-tree"], lock, environment).strip()
        finally:
            index.unlink(missing_ok=True)
        return self._run(["commit-tree", tree, "-p", parent, "-m", commit.message], lock, commit.environment).strip()

    def _entry(self, path: str, entry: tuple[str, str] | None, lock: int) -> bytes:
        if entry is None:
            return f"0 {'0' * 40}\t{path}\0".encode()
        blob = run(self.folder, ["hash-object", "-w", "--stdin"], Call(entry[1].encode(), lock=lock)).decode().strip()
        return f"{entry[0]} {blob}\t{path}\0".encode()

    def refs(self, folder: str) -> dict[str, str]:
        """The refs under ``folder``, by their full names: what they point to."""
        if not self.begun:
            return {}
        lines = self._run(["for-each-ref", "--format=%(refname) %(objectname)", folder]).splitlines()
        return dict(line.split(" ", 1) for line in lines)

    def move_ref(self, old: tuple[str, str] | None, new: tuple[str, str], lock: int) -> None:
        """Make the ref ``new`` (name, commit), and remove ``old`` if it points to what is said, both or nothing."""
        steps = ["start", f"create {new[0]} {new[1]}", *([f"delete {old[0]} {old[1]}"] if old else []), "prepare", "commit"]
        run(self.folder, ["update-ref", "--stdin"], Call("".join(f"{step}\n" for step in steps).encode(), lock=lock))

    # Inside

    def _commit_of(self, revision: str) -> str:
        argv = ["rev-parse", "--verify", "-q", "--end-of-options", f"{revision}^{{commit}}"]
        return run(self.folder, argv, Call(accepted=(0, 1, _NO_COMMIT))).decode().strip()

    def _run(self, argv: list[str], lock: int | None = None, environment: Mapping[str, str] | None = None) -> str:
        return run(self.folder, argv, Call(environment=environment or {}, lock=lock)).decode(errors="replace")

    def _remove_stale_locks(self) -> None:
        """Remove what a killed git left. Our own holds the lab's lock as long as it lives; a person's gets time to end."""
        deadline = time.monotonic() + _STALE_AFTER
        while locks := [*self._git.glob("*.lock"), *self._git.glob("refs/**/*.lock")]:
            if time.monotonic() > deadline:
                for path in locks:
                    path.unlink(missing_ok=True)
                return
            time.sleep(0.05)


def _changes(tokens: list[str]) -> Iterable[Change]:
    """What `log` printed, as its parts between NULs: five facts, an empty one, then paths up to the next commit's mark."""
    at = 0
    while at < len(tokens) and tokens[at].startswith("\x01"):
        revision, name, mail, seconds, reason = tokens[at : at + 5]
        at += 5
        paths = []
        while at < len(tokens) and not tokens[at].startswith("\x01"):
            paths.append(tokens[at].removeprefix("\n"))
            at += 1
        when = datetime.fromtimestamp(int(seconds), UTC)
        yield Change(revision[1:], name, mail, when, reason.strip(), tuple(filter(None, paths)))
