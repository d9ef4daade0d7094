"""How git is run, and in whose name. Knows nothing of what a repository holds.

git gets argv lists and an environment of its own: no person's or machine's git configuration, hook or signing key has a say, and
a lab that another user owns (sudo) is accepted.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from labcloud.errors import EngineError

# The garbage collector would outlive the commit and hold the lab's lock with it.
_SETTINGS: Final = (
    "core.hooksPath=/dev/null", "commit.gpgSign=false", "gc.auto=0", "maintenance.auto=false", "core.quotePath=false",
)  # fmt: skip
_NOTHING: Mapping[str, str] = MappingProxyType({})


class Author(NamedTuple):
    """Who changes the lab: people are told apart by their mail address."""

    name: str
    mail: str

    def __str__(self) -> str:
        return f"{self.name} <{self.mail}>"


@dataclass(frozen=True)
class Call:
    """What git is given beside its arguments: standard input, more environment, the lab's lock to hold, and exit codes that are answers."""

    stdin: bytes = b""
    environment: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    lock: int | None = None
    accepted: Collection[int] = (0,)


_PLAIN: Final = Call()


def run(folder: Path, argv: Sequence[str], call: Call = _PLAIN) -> bytes:
    """What ``git ARGV`` prints in ``folder``. Raise EngineError if it refuses."""
    options = [part for setting in (*_SETTINGS, f"safe.directory={folder}") for part in ("-c", setting)]
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *options, *argv], env=_environment() | dict(call.environment), input=call.stdin, capture_output=True,
            check=False, pass_fds=() if call.lock is None else (call.lock,),
        )  # fmt: skip
    except FileNotFoundError as exc:
        raise EngineError("the program git is missing", resolution="install it: apt-get install git") from exc
    if done.returncode not in call.accepted:
        raise EngineError(
            f"git could not {argv[0]} in {folder}",
            details=(done.stderr or done.stdout).decode(errors="replace").strip(),
            resolution=f"look at 'git -C {folder} status', then run the same command again",
        )
    return done.stdout


def author(environment: Mapping[str, str]) -> Author:
    """Who changes the lab, as name and mail address: LABCLOUD_AUTHOR (``NAME`` or ``NAME <MAIL>``), else the OS user."""
    said = environment.get("LABCLOUD_AUTHOR") or environment.get("SUDO_USER") or environment.get("USER") or _os_user()
    found = re.fullmatch(r"(.*?)\s*<([^<>]*)>\s*", said, re.DOTALL)
    name, mail = (found[1], found[2]) if found else (said, "")
    name = re.sub(r"[^\w .@+-]", "", name).strip(" .") or "unknown"
    return Author(name, re.sub(r"[^!-~]", "", mail) or f"{name.replace(' ', '.')}@{socket.gethostname()}")


def _os_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _environment() -> dict[str, str]:
    who = author(os.environ)
    ours = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return ours | {
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_AUTHOR_NAME": who.name,
        "GIT_AUTHOR_EMAIL": who.mail,
        "GIT_COMMITTER_NAME": who.name,
        "GIT_COMMITTER_EMAIL": who.mail,
    }
