"""Lines for cron and units for systemd that run a command of labcloud again and again. Pure but for the environment that it reads."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from labcloud.lab import home

_PASSED_ON: Final = ("LABCLOUD_PROFILES", "DOCKER_HOST")
_AFTER_BOOT: Final = 300


@dataclass(frozen=True)
class Job:
    """``labcloud COMMAND`` under the ``name`` of its files, every day at ``times`` (``02:00``, UTC), or every minute without any.

    A daily one that was missed, for the machine was off, is made up when it is on again.
    """

    name: str
    what: str
    command: tuple[str, ...]
    times: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """The program with its arguments."""
        return (_program(), *self.command)

    def cron(self) -> str:
        """The lines for a file in /etc/cron.d."""
        call = _call(self.words, _settings())
        if not self.times:
            return f"* * * * * root {call}\n"
        # Debian's cron knows no time zone but the machine's. Where that has a summer time, runs move by an hour with it, which does
        # no harm: what is due is for the program to say.
        local = (datetime.combine(datetime.now(UTC), datetime.strptime(at, "%H:%M").time(), UTC).astimezone() for at in self.times)
        lines = [f"{each.minute} {each.hour} * * * root {call}" for each in local]
        return "\n".join([*lines, f"@reboot root sleep {_AFTER_BOOT}; {call}"]) + "\n"

    def service(self) -> str:
        """The systemd unit that runs it once."""
        return f"""\
[Unit]
Description={self.what}
After=docker.service

[Service]
Type=oneshot
{_environment(_settings())}
ExecStart={" ".join(_systemd(word).replace("$", "$$") for word in self.words)}
"""

    def timer(self) -> str:
        """The systemd unit that says when."""
        when = [f"OnCalendar=*-*-* {at}:00 UTC" for at in self.times] or ["OnCalendar=minutely"]
        return f"""\
[Unit]
Description={self.what}, every {"day" if self.times else "minute"}

[Timer]
{chr(10).join(when)}
Persistent=true

[Install]
WantedBy=timers.target
"""

    def text(self) -> str:
        """Both ways to run it, as text for a person to put in place."""
        return f"""\
# Choose one of the two.

# cron: as {"lines" if self.times else "a line"} of /etc/cron.d/{self.name}
{self.cron()}
# systemd: as /etc/systemd/system/{self.name}.service
{self.service()}
# systemd: as /etc/systemd/system/{self.name}.timer; then: systemctl enable --now {self.name}.timer
{self.timer()}"""


def schedule(name: str, what: str, command: Sequence[str]) -> str:
    """Both ways to run ``labcloud COMMAND`` every minute, as text for a person to put in place."""
    return Job(name, what, tuple(command)).text()


def _settings() -> dict[str, str]:
    return {"LABCLOUD_HOME": str(home())} | {key: os.environ[key] for key in _PASSED_ON if os.environ.get(key)}


def _call(program: Sequence[str], settings: Mapping[str, str]) -> str:
    words = [f"{key}={shlex.quote(value)}" for key, value in settings.items()] + [shlex.quote(word) for word in program]
    return " ".join(words).replace("%", r"\%")  # cron takes a bare one for the end of the line


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
