"""operation list, show: what happened."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from labcloud.cli.output import emit, output_option, print_table, title
from labcloud.cli.session import session


@click.group("operation")
def operation_command() -> None:
    """What happened: every change that was asked for, how it went, how it ended."""


@operation_command.command("list")
@click.option("--limit", "-n", type=click.IntRange(1), default=20, show_default=True)
@output_option
def list_operations(limit: int, output: str) -> None:
    """The last operations, newest first."""
    with session() as opened:
        records = opened.journal().operations(limit)
    rows = [
        {
            "id": each.id,
            "verb": each.verb,
            "target": each.target,
            "began": each.began,
            "ended": each.ended,
            "result": each.result,
            "error": each.error,
        }
        for each in records
    ]
    emit(
        rows,
        output,
        lambda: print_table(
            ("OPERATION", "BEGAN", "VERB", "TARGET", "RESULT", "ERROR"),
            [(each.id, each.began, each.verb, each.target, str(each.result), each.error) for each in records],
        ),
    )


@operation_command.command("show")
@click.argument("operation")
@output_option
def show_operation(operation: str, output: str) -> None:
    """One operation with its events."""
    with session() as opened:
        record = opened.journal().read(operation)

    def table() -> None:
        title(f"{record.verb} {record.target}: {record.result}" + (f" ({record.error})" if record.error else ""))
        for event in record.events:
            click.echo(f"{event.time}  {event.kind}  {_words(event.kind, dict(event.details))}")

    emit(record, output, table)


def _words(kind: str, details: dict[str, Any]) -> str:
    return _checklist(details["checks"]) if kind == "preflight" else _facts(details)


def _checklist(checks: Sequence[Mapping[str, str]]) -> str:
    """How many checks failed, and which; the rest is for ``--output json``."""
    failed = [each for each in checks if each["status"] == "fail"]
    lines = [
        f"    {each['id']}: {each['summary']}" + (f"  (passed over: {each['ignored']})" if "ignored" in each else "") for each in failed
    ]
    return "\n".join([f"{len(failed)} of {len(checks)} checks failed", *lines])


def _facts(details: dict[str, object]) -> str:
    return "  ".join(f"{key}={value if isinstance(value, str | int | float) else json.dumps(value)}" for key, value in details.items())
