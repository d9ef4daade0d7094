"""config edit: a file of the lab repository in somebody's editor, until it reads well."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from labcloud.cli.changing import Submitted, locks, submit, tell
from labcloud.cli.config_locks import held_for_editor, steal_option
from labcloud.cli.output import note, output_option
from labcloud.cli.session import Session, session
from labcloud.errors import ConfigError, LabError, UsageError
from labcloud.lab.editing import EditLock
from labcloud.lab.places import file_path

_MARK: Final = "#| "
_EDITORS: Final = ("sensible-editor", "editor", "nano", "vi")


@click.command("edit")
@click.argument("path")
@click.option("--reason", metavar="TEXT", help="Why, for the log.")
@steal_option
@output_option
def edit_file(path: str, reason: str | None, steal: str | None, output: str) -> None:
    """Edit PATH, a file of the lab repository, in your editor (VISUAL or EDITOR). Others are kept from it meanwhile.

    What cannot stand there opens the editor again, with the error on top. What others changed meanwhile is merged.

    \b
    labcloud config edit clusters/acme/hadoop-2.7.yaml
    labcloud config edit base/bashrc --reason 'a shorter prompt'
    """
    wanted = file_path(path)
    editor = _editor()
    with session() as opened, held_for_editor(opened, wanted, steal) as lock:
        done = _Editing(opened, lock, editor, reason or f"edit {wanted}").run()
    tell(done, output)


@dataclass(frozen=True)
class _Editing:
    """One file in one editor."""

    opened: Session
    lock: EditLock
    editor: tuple[str, ...]
    reason: str

    def run(self) -> Submitted:
        """Let it be edited until it reads well, or its editor gives up. A text that could not be used is kept, and said where."""
        path = self.lock.path
        before = self.opened.lab.text(path)
        handle, name = tempfile.mkstemp(prefix="labcloud-edit-", suffix=f"-{Path(path).name}")
        os.close(handle)
        file = Path(name)
        file.write_text(before or "", encoding="utf-8")
        try:
            done = self._until_good(file, before)
        except LabError as exc:
            text = _text(file)
            if text in (before or "", None):
                file.unlink()
            else:
                file.write_text(text or "", encoding="utf-8")
                exc.details = "\n".join(filter(None, (exc.details, f"what you wrote is kept in {file}")))
            raise
        except BaseException:
            note(f"what you wrote is kept in {file}")
            raise
        file.unlink()
        return done

    def _until_good(self, file: Path, before: str | None) -> Submitted:
        path, failed = self.lock.path, None
        while True:
            self._let_edit(file)
            text = _text(file)
            if text is None:
                raise UsageError("the editor left no text", resolution="run the same command again")
            if text == (before or ""):
                return Submitted((path,))
            locks(self.opened).check_held(self.lock)
            try:
                return submit(self.opened, "config edit", {path: text}, self.reason, base={path: before})
            except ConfigError as exc:
                if text == failed:  # opened again, and nothing was done about it
                    raise
                failed = text
                file.write_text(_with_error(text, exc, path), encoding="utf-8")

    def _let_edit(self, file: Path) -> None:
        try:
            done = subprocess.run([*self.editor, str(file)], check=False)
        except OSError as exc:
            raise UsageError(
                f"the editor {self.editor[0]!r} cannot be run: {exc.strerror}", resolution="set EDITOR to one that can"
            ) from exc
        if done.returncode:
            raise UsageError(f"the editor ended with code {done.returncode}: nothing was changed", resolution="run the same command again")


def _editor() -> tuple[str, ...]:
    """The editor as words: what VISUAL or EDITOR says, which no shell reads, or one that is there. Raise UsageError if there is none."""
    said = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ""
    try:
        words = tuple(shlex.split(said))
    except ValueError as exc:
        raise UsageError(f"EDITOR is {said!r}: {exc}", resolution="set it to the name of an editor") from exc
    found = words or tuple(filter(shutil.which, _EDITORS))[:1]
    if not found:
        raise UsageError("there is no editor here", resolution="set EDITOR to the name of one")
    return found


def _text(file: Path) -> str | None:
    """What was written, without the error that stood on top; None if it is gone, or no text."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError):
        return None
    while lines and lines[0].startswith(_MARK.rstrip()):
        lines.pop(0)
    return "".join(lines)


def _with_error(text: str, exc: ConfigError, path: str) -> str:
    """``text`` with the error on top; the line that it names is counted with the lines on top."""
    more = [*exc.details.splitlines(), *([f"try: {exc.resolution}"] if exc.resolution else [])]
    added = 2 + len(more)
    found = re.search(rf"{re.escape(path)}:([0-9]+): ", exc.brief)
    brief = f"line {int(found[1]) + added}: {exc.brief[found.end() :]}" if found else exc.brief
    lines = [f"error: {brief}", *more, "These lines go away by themselves. Leave the rest as it is to give up."]
    return "".join(f"{_MARK}{line}\n" for line in lines) + text
