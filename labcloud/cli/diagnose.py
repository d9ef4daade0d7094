"""diagnose: why something does not work, and what mends it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from labcloud.cli.output import emit, note, output_option, print_table
from labcloud.cli.session import Session, session, tenant_option
from labcloud.errors import UsageError
from labcloud.model import ClusterRef

if TYPE_CHECKING:
    from labcloud.diagnosis.diagnose import Doctor
    from labcloud.diagnosis.model import Command, Diagnosis, Found
    from labcloud.diagnosis.subject import Subject


@click.command("diagnose")
@tenant_option
@click.argument("target", metavar="CLUSTER|OPERATION", required=False)
@click.option("--from", "start", metavar="GRAPH", help="Begin at this graph instead of the first.")
@click.option("--list", "listing", is_flag=True, help="List the graphs that there are.")
@click.option("--check", is_flag=True, help="Read every graph, and say what is wrong in the first that is.")
@click.option(
    "--timeout", type=click.FloatRange(1, 3600), default=60.0, show_default=True, metavar="S", help="Limit of the whole diagnosis."
)
@output_option
def diagnose_command(
    tenant: str | None, target: str | None, start: str | None, listing: bool, check: bool, timeout: float, output: str
) -> int:
    """Explain what is wrong with CLUSTER, or why OPERATION failed.

    Exit code 0 says that no fault was found, 1 that one was, or that something could not be asked; others mean that there was no diagnosis.
    """
    with session() as opened:
        doctor = _doctor(opened)
        if listing or check:
            _print_graphs(doctor, output, listing=listing)
            return 0
        if target is None:
            raise UsageError("name a cluster or an operation", resolution="as in 'labcloud diagnose acme/hadoop-2.7'")
        diagnosis = doctor.diagnose(_subject(doctor, target, tenant), start=start or "", seconds=timeout)
    emit(public(diagnosis), output, lambda: _print(diagnosis))
    return 0 if diagnosis.healthy else 1


def _doctor(opened: Session) -> Doctor:
    from labcloud.diagnosis.diagnose import Doctor
    from labcloud.diagnosis.subject import Lights

    return Doctor(Lights(opened.lab, opened.journal(), opened.provider))


def _subject(doctor: Doctor, target: str, tenant: str | None) -> Subject:
    from labcloud.diagnosis.diagnose import is_operation

    if tenant is None and is_operation(target):
        return doctor.operation(target)
    return doctor.cluster(ClusterRef.parse(target, tenant))


def _print_graphs(doctor: Doctor, output: str, *, listing: bool) -> None:
    graphs = sorted(doctor.graphs.values(), key=lambda each: each.name)
    if not listing:
        note(f"{len(graphs)} graphs with {sum(len(each.causes) for each in graphs)} causes: all well")
        return
    rows = [{"name": each.name, "title": each.title, "about": each.about, "causes": len(each.causes), "file": each.path} for each in graphs]

    def table() -> None:
        print_table(
            ("GRAPH", "ABOUT", "CAUSES", "WHAT IT ASKS"),
            [(each["name"], each["about"], each["causes"], each["title"]) for each in rows],
            right=(2,),
        )

    emit(rows, output, table)


def public(diagnosis: Diagnosis) -> Mapping[str, Any]:
    """The diagnosis as scripts get it; the keys are an interface."""
    return {
        "target": diagnosis.target,
        "healthy": diagnosis.healthy,
        "causes": [_public_cause(each) for each in diagnosis.causes],
        "notes": [_public_cause(each) for each in diagnosis.notes],
        "ruled_out": diagnosis.ruled_out,
        "unknown": diagnosis.unknown,
        "seconds": round(diagnosis.seconds, 3),
    }


def _public_cause(found: Found) -> Mapping[str, Any]:
    return {
        "id": found.id,
        "verdict": found.verdict,
        "confidence": found.confidence,
        "evidence": found.evidence,
        "fix": {"commands": [_line(each) for each in found.fix], "safe": bool(found.fix) and all(each.safe for each in found.fix)},
        "advice": found.advice,
        "graph": found.graph,
        "path": found.path,
    }


def _line(command: Command) -> str:
    """A command as a person would type it."""
    from shlex import join

    if command.on:
        return f"on {command.on}, as {command.user}: {join(command.argv)}"
    return f"labcloud {join(command.argv)}"


def _print(diagnosis: Diagnosis) -> None:
    for found in diagnosis.causes:
        sure = "" if found.confidence == "certain" else f" ({found.confidence})"
        click.echo(f"{click.style(found.id, fg='red', bold=True)}{sure}\n  {found.verdict}")
        for command in found.fix:
            click.echo(
                f"  {click.style('mend it:' if command.safe else 'consider:', fg='green' if command.safe else 'yellow')} {_line(command)}"
            )
        if found.advice:
            click.echo(f"  {click.style('advice:', fg='green')} {found.advice}")
    for found in diagnosis.notes:
        click.echo(f"{found.id}: {found.verdict}")
    for name, why in diagnosis.unknown.items():
        click.echo(f"{click.style('not known:', fg='yellow')} {name}: {why}")
    words = f"{len(diagnosis.ruled_out)} causes ruled out in {diagnosis.seconds:.1f} s"
    if diagnosis.healthy:
        click.echo(f"{click.style('no fault found', fg='green', bold=True)} in {diagnosis.target}; {words}")
    elif not diagnosis.causes:
        click.echo(f"no cause found in {diagnosis.target}, and not everything could be asked; {words}")
    else:
        note(words)
