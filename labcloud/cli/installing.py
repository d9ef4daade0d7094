"""Puts a job of labcloud into cron's or systemd's hands on this machine. Writes a file of its own name alone, and never somebody else's."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from labcloud.cli.output import note
from labcloud.cli.schedules import Job
from labcloud.errors import ConflictError, EngineError, NotFoundError
from labcloud.lab import files, home

CRON: Final = Path("/etc/cron.d")
SYSTEMD: Final = Path("/etc/systemd/system")
RUNNING: Final = Path("/run/systemd/system")
"""It is there where systemd runs this machine: sd_booted(3)."""

_SECONDS: Final = 60.0
_SUFFIXES: Final = {"cron": ("",), "systemd": (".service", ".timer")}


@dataclass(frozen=True)
class Installed:
    """What was done: the files as they stand, those of them that were ``written`` now, and whether it runs from now on."""

    name: str
    by: str
    files: tuple[str, ...]
    written: tuple[str, ...]
    enabled: bool


def install(job: Job, by: str) -> Installed:
    """Have cron or systemd run ``job``. Done again it changes nothing, or what is new.

    Raise NotFoundError where there is none, ConflictError if the other one runs it already, or it is another lab's or somebody's own
    file, EngineError for what may not be written.
    """
    folder = CRON if by == "cron" else SYSTEMD
    if not folder.is_dir():
        raise NotFoundError(f"there is no folder {folder}: {by} is not installed here", resolution=f"install {by}, or use the other one")
    other = "systemd" if by == "cron" else "cron"
    others = [path for path in _paths(job, other) if path.exists()]
    if others:
        raise ConflictError(f"{other} runs {job.name} already: {others[0]}", resolution=_removal(job, other))
    texts = {"": job.cron(), ".service": job.service(), ".timer": job.timer()}
    head = f"# Written by labcloud for the lab at {home()}; 'labcloud {job.command[0]} schedule --install {by}' writes it anew.\n"
    wanted = {path: head + texts[suffix] for path, suffix in zip(_paths(job, by), _SUFFIXES[by], strict=True)}
    written = [path for path, text in wanted.items() if _differs(path, text, head)]
    for path in written:
        _write(path, wanted[path])
    enabled = by == "cron" or _enable(f"{job.name}.timer", changed=bool(written))
    return Installed(job.name, by, tuple(map(str, wanted)), tuple(map(str, written)), enabled)


def tell(done: Installed) -> None:
    """Say what was done, on standard error."""
    for path in done.written:
        note(f"wrote {path}")
    if not done.written:
        note(f"{', '.join(done.files)} is so already; nothing had to be done")
    if not done.enabled:
        note(f"systemd does not run here; where it does: systemctl enable --now {done.name}.timer")
    elif done.by == "systemd":
        note(f"{done.name}.timer is enabled; when it runs next: systemctl list-timers {done.name}.timer")


def _paths(job: Job, by: str) -> list[Path]:
    return [(CRON if by == "cron" else SYSTEMD) / f"{job.name}{suffix}" for suffix in _SUFFIXES[by]]


def _removal(job: Job, by: str) -> str:
    remove = f"rm {' '.join(map(str, _paths(job, by)))}"
    return f"end that first: systemctl disable --now {job.name}.timer; {remove}" if by == "systemd" else f"end that first: {remove}"


def _differs(path: Path, text: str, head: str) -> bool:
    """Whether ``path`` does not say ``text``. Raise ConflictError for a file that is not this lab's."""
    try:
        now = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return True
    except OSError as exc:
        raise _refused(path, exc) from exc
    if not now.startswith(head):
        raise ConflictError(
            f"{path} is another lab's, or was written by hand",
            details=now.partition("\n")[0],
            resolution="look at it, then remove or rename it; or put what --print shows into a file of another name",
        )
    return now != text


def _write(path: Path, text: str) -> None:
    # A name with a dot is passed over by cron, and by systemd: nobody reads half a file.
    scratch = path.with_name(f".{path.name}.new")
    try:
        files.replace(path, text, mode=0o644, scratch=scratch)
    except OSError as exc:
        raise _refused(path, exc) from exc


def _refused(path: Path, exc: OSError) -> EngineError:
    return EngineError(
        f"could not write {path}: {exc.strerror}",
        details=str(exc),
        resolution="run the same command as root, or have somebody who may put there what --print shows",
    )


def _enable(timer: str, *, changed: bool) -> bool:
    """Have systemd keep the timer. Returns False where systemd does not run. Raise EngineError if it refuses."""
    if not RUNNING.is_dir():
        return False
    for argv in ([["systemctl", "daemon-reload"]] if changed else []) + [["systemctl", "enable", "--now", timer]]:
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=_SECONDS, check=False, stdin=subprocess.DEVNULL)
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise EngineError(f"could not run {' '.join(argv)}", details=str(exc), resolution=f"run it by hand: {' '.join(argv)}") from exc
        if done.returncode:
            raise EngineError(f"systemd refused: {' '.join(argv)}", details=done.stderr.strip(), resolution="run the same command as root")
    return True
