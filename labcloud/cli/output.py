"""Results on standard output, as a table for people or as JSON or YAML for scripts. The keys of JSON are an interface."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from enum import Enum
from typing import Any, Final

import click

output_option = click.option(
    "-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table", show_default=True, help="How to print the result."
)

_GOOD: Final = {"ready", "running", "ok", "done", "pass"}
_BAD: Final = {"degraded", "missing", "silent", "failed", "error", "broken off", "unknown", "fail"}


def emit(value: object, output: str, table: Callable[[], None]) -> None:
    """Print ``value`` (dataclasses, mappings, sequences) as ``output`` says; ``table`` prints it for people."""
    if output == "table":
        table()
    elif output == "json":
        click.echo(json.dumps(plain(value), indent=2))
    else:
        import yaml

        click.echo(yaml.safe_dump(plain(value), sort_keys=False), nl=False)


def plain(value: object) -> Any:
    """``value`` as what JSON knows."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain({name: getattr(value, name) for name in value.__dataclass_fields__})
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, Sequence | set | frozenset):
        return [plain(each) for each in value]
    return str(value)


def print_table(headings: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[int] = ()) -> None:
    """Columns without rules, as wide as they must be; those numbered in ``right`` are aligned to the right."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max([len(heading), *(len(row[column]) for row in texts)]) for column, heading in enumerate(headings)]
    click.echo(click.style(_line(headings, widths, right), bold=True))
    for row in texts:
        click.echo(_line(row, widths, right, style=_colour))


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[int], style: Callable[[str], str] = str) -> str:
    padded = []
    for column, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        space = " " * (width - len(cell))
        last = column == len(cells) - 1
        padded.append(space + style(cell) if column in right else style(cell) + ("" if last else space))
    return "  ".join(padded).rstrip()


def _colour(cell: str) -> str:
    if cell in _GOOD:
        return click.style(cell, fg="green")
    return click.style(cell, fg="red") if cell in _BAD else cell


def title(text: str) -> None:
    click.echo(click.style(text, bold=True))


def note(text: str) -> None:
    """A message for people, on standard error."""
    click.echo(text, err=True)


def is_terminal() -> bool:
    return sys.stderr.isatty()
