"""Progress on standard error: a live line for each cluster on a terminal, one plain line an event elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from labcloud.apply.watch import Event, Kind, Watch
from labcloud.cli.output import is_terminal

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@contextmanager
def progress() -> Iterator[Watch]:
    """A watch whose news are shown. Ctrl-C asks every thread to end cleanly before it is passed on."""
    if not is_terminal():
        with _stopping(Watch(_Lines().tell)) as watch:
            yield watch
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[text]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as shown, _stopping(Watch(_Bars(shown).tell)) as watch:
        yield watch


@contextmanager
def _stopping(watch: Watch) -> Iterator[Watch]:
    try:
        yield watch
    except KeyboardInterrupt:
        watch.stop()
        raise


class _Lines:
    """For logs and scripts: time since the start, subject, what happened."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def tell(self, event: Event) -> None:
        click.echo(f"{time.monotonic() - self._began:6.1f}s {event.subject}: {_words(event)}", err=True)


class _Bars:
    """For people: a bar of steps, and what is waited for."""

    def __init__(self, shown: Progress) -> None:
        self._shown = shown
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()

    def tell(self, event: Event) -> None:
        with self._lock:
            if event.subject not in self._tasks:
                self._tasks[event.subject] = self._shown.add_task(event.subject, total=None, text="")
            task = self._tasks[event.subject]
        # The wait for readiness is the last step of the bar.
        total = event.count + 1 if event.kind is Kind.PLANNED else None
        if total:
            self._shown.update(task, total=total, completed=0)
        if event.kind is Kind.READY:
            self._shown.update(task, total=1, completed=1, text=event.text)
        else:
            self._shown.update(task, advance=1 if event.kind is Kind.DONE else 0, text=_words(event))


def _words(event: Event) -> str:
    if event.kind is Kind.PLANNED:
        return f"{event.count} step{'s' if event.count != 1 else ''} to do"
    if event.kind is Kind.DONE:
        return f"{event.text} ({event.seconds:.1f} s)" if event.seconds >= 0.05 else event.text
    return event.text
