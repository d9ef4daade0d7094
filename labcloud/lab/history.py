"""The only door to git: a repository whose every change is one commit. Knows nothing of tenants and clusters.

git is run with argv lists and an environment of its own: no person's or machine's git configuration, hook or signing key has a
say, and a lab that another user owns (sudo) is accepted.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
import subprocess
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from labcloud.errors import EngineError
from labcloud.lab.files import make_private

_STALE_AFTER = 2.0
# The garbage collector would outlive the commit and hold the lab's lock with it.
_SETTINGS = ("core.hooksPath=/dev/null", "commit.gpgSign=false", "gc.auto=0", "maintenance.auto=false", "core.quotePath=false")


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

    def heal(self, before: str, lock: int, *, said: str = "") -> None:
        """Commit what an earlier run, or a person, left uncommitted, under a reason that says so."""
        self._remove_stale_locks()
        if self._run(["status", "--porcelain", "--untracked-files=all"], lock):
            self._run(["add", "--all"], lock)
            self._commit(said or f"left uncommitted before: {before}\n\nA run broke off, or somebody edited files by hand.", lock)

    def commit(self, path: Path, reason: str, lock: int) -> None:
        """Commit the change, or the removal, of ``path``."""
        self._run(["add", "--all", "--", str(path.relative_to(self.folder))], lock)
        self._commit(reason, lock)

    def removed(self, path: Path) -> datetime | None:
        """When ``path`` was last removed, by the commit that did so; None if none did."""
        if not self.begun:
            return None
        argv = ["log", "-1", "--format=%ct", "--diff-filter=D", "--", str(path.relative_to(self.folder))]
        seconds = self._run(argv).strip()
        return datetime.fromtimestamp(int(seconds), UTC) if seconds else None

    def _commit(self, reason: str, lock: int) -> None:
        message = re.sub(r"[^\S\n]|[^\w\s!-~]", " ", reason).strip() or "no reason was given"
        self._run(["commit", "-q", "--no-verify", "--cleanup=whitespace", "-m", message], lock)

    def _run(self, argv: list[str], *locks: int) -> str:
        options = [part for setting in (*_SETTINGS, f"safe.directory={self.folder}") for part in ("-c", setting)]
        try:
            done = subprocess.run(
                ["git", "-C", str(self.folder), *options, *argv],
                env=_environment(), stdin=subprocess.DEVNULL, capture_output=True, check=False, pass_fds=locks,
            )  # fmt: skip
        except FileNotFoundError as exc:
            raise EngineError("the program git is missing", resolution="install it: apt-get install git") from exc
        if done.returncode:
            raise EngineError(
                f"git could not {argv[0]} in {self.folder}",
                details=(done.stderr or done.stdout).decode(errors="replace").strip(),
                resolution=f"look at 'git -C {self.folder} status', then run the same command again",
            )
        return done.stdout.decode(errors="replace")

    def _remove_stale_locks(self) -> None:
        """Remove what a killed git left. Our own holds the lab's lock as long as it lives; a person's gets time to end."""
        deadline = time.monotonic() + _STALE_AFTER
        while locks := [*self._git.glob("*.lock"), *self._git.glob("refs/heads/*.lock")]:
            if time.monotonic() > deadline:
                for path in locks:
                    path.unlink(missing_ok=True)
                return
            time.sleep(0.05)


def author(environment: Mapping[str, str]) -> tuple[str, str]:
    """Who changes the lab, as name and mail address: LABCLOUD_AUTHOR (``NAME`` or ``NAME <MAIL>``), else the OS user."""
    said = environment.get("LABCLOUD_AUTHOR") or environment.get("SUDO_USER") or environment.get("USER") or _os_user()
    found = re.fullmatch(r"(.*?)\s*<([^<>]*)>\s*", said)
    name, mail = (found[1], found[2]) if found else (said, "")
    name = re.sub(r"[^\w .@+-]", "", name).strip(" .") or "unknown"
    return name, mail or f"{name.replace(' ', '.')}@{socket.gethostname()}"


def _os_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _environment() -> dict[str, str]:
    name, mail = author(os.environ)
    ours = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return ours | {
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": name,
        "GIT_AUTHOR_EMAIL": mail,
        "GIT_COMMITTER_NAME": name,
        "GIT_COMMITTER_EMAIL": mail,
    }
