"""Lines for cron and units for systemd that run a command of labcloud every minute. Pure but for the environment that it reads."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from labcloud.lab import home

_PASSED_ON: Final = ("LABCLOUD_PROFILES", "DOCKER_HOST")


def schedule(name: str, what: str, command: Sequence[str]) -> str:
    """Both ways to run ``labcloud COMMAND`` every minute, as text for a person to put in place."""
    program = [_program(), *command]
    settings = {"LABCLOUD_HOME": str(home())} | {key: os.environ[key] for key in _PASSED_ON if os.environ.get(key)}
    return f"""\
# Choose one of the two.

# cron: as a line of /etc/cron.d/{name}
{_cron(program, settings)}

# systemd: as /etc/systemd/system/{name}.service
[Unit]
Description={what}
After=docker.service

[Service]
Type=oneshot
{_environment(settings)}
ExecStart={" ".join(_systemd(word).replace("$", "$$") for word in program)}

# systemd: as /etc/systemd/system/{name}.timer; then: systemctl enable --now {name}.timer
[Unit]
Description={what}, every minute

[Timer]
OnCalendar=minutely
Persistent=true

[Install]
WantedBy=timers.target
"""


def _cron(program: Sequence[str], settings: Mapping[str, str]) -> str:
    words = [f"{key}={shlex.quote(value)}" for key, value in settings.items()] + [shlex.quote(word) for word in program]
    return f"* * * * * root {' '.join(words)}".replace("%", r"\%")  # cron takes a bare one for the end of the line


def _environment(settings: Mapping[str, str]) -> str:
    return "\n".join(f"Environment={_systemd(f'{key}={value}')}" for key, value in settings.items())


def _systemd(word: str) -> str:
    """``word`` as systemd.syntax(7) and systemd.unit(5) want it: quoted where it must be, specifiers escaped."""
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{text}"' if text != word or any(sign in word for sign in " \t';") else word


def _program() -> str:
    """The program that runs now, or the one beside this Python."""
    called = Path(sys.argv[0])
    return str(called.absolute()) if called.name == "labcloud" and called.is_file() else str(Path(sys.executable).with_name("labcloud"))
