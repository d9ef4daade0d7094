"""diagnose: why something does not work, and what mends it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labcloud.cli.output import emit, note, output_option, plain, print_table
from labcloud.cli.session import Seconds, Session, session, tenant_option
from labcloud.errors import LabError, UsageError
from labcloud.lab.files import disk_errors
from labcloud.model import ClusterRef, format_bytes

if TYPE_CHECKING:
    from labcloud.diagnosis.diagnose import Doctor
    from labcloud.diagnosis.fixing import Done
    from labcloud.diagnosis.model import Command, Diagnosis, Found
    from labcloud.diagnosis.subject import Subject


@click.command("diagnose")
@tenant_option
@click.argument("target", metavar="CLUSTER|OPERATION", required=False)
@click.option("--fix", is_flag=True, help="Do what mends the causes, as far as it is safe; then diagnose again.")
@click.option("--yes", is_flag=True, help="With --fix: do also what is not safe.")
@click.option("--from", "start", metavar="GRAPH", help="Begin at this graph instead of the first.")
@click.option(
    "--graph",
    "drawing",
    is_flag=False,
    flag_value="-",
    metavar="[FILE.svg]",
    help="Draw the graph with the path taken; as text without a file.",
)
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.tar.gz",
    help="Collect logs, configuration, JMX for whoever helps.",
)
@click.option("--list", "listing", is_flag=True, help="List the graphs that there are.")
@click.option("--check", is_flag=True, help="Read every graph, and say what is wrong in the first that is.")
@click.option("--timeout", type=Seconds(1, 3600), default=60.0, show_default=True, metavar="S", help="Limit of the whole diagnosis.")
@output_option
def diagnose_command(
    tenant: str | None, target: str | None, fix: bool, yes: bool, start: str | None, drawing: str | None, bundle: Path | None,
    listing: bool, check: bool, timeout: float, output: str,
) -> int:  # fmt: skip
    """Explain what is wrong with CLUSTER, or why OPERATION failed.

    Exit code 0 says that no fault was found, 1 that one was, or that something could not be asked; others mean that there was no diagnosis.
    """
    if yes and not fix:
        raise UsageError("--yes is for --fix", resolution="add --fix, or leave it out")
    if listing or check or (target is None and drawing is not None):
        _print_graphs(output, listing=listing, drawing=drawing, start=start)
        return 0
    if target is None:
        raise UsageError("name a cluster or an operation", resolution="as in 'labcloud diagnose acme/hadoop-2.7'")
    if bundle is not None:
        return _bundle(target, tenant, bundle, timeout, output)
    graph = start or ""
    diagnosis, done = _diagnose(target, tenant, graph, timeout), None
    if fix:
        if output == "table":
            _print(diagnosis)
        done = _fix(diagnosis, target, tenant, unsafe=yes)
        diagnosis = _diagnose(target, tenant, graph, timeout)
    if drawing is not None:
        _draw(drawing, diagnosis, graph)
    if drawing != "-":
        emit(
            {**public(diagnosis), **({"fixed": [_public_done(each) for each in done]} if done is not None else {})},
            output,
            lambda: _print(diagnosis),
        )
    return 0 if diagnosis.healthy else 1


def _diagnose(target: str, tenant: str | None, start: str, seconds: float) -> Diagnosis:
    with session() as opened:
        doctor = _doctor(opened)
        return doctor.diagnose(_subject(doctor, target, tenant), start=start, seconds=seconds)


def _fix(diagnosis: Diagnosis, target: str, tenant: str | None, *, unsafe: bool) -> list[Done]:
    """Do what mends it, and say so on standard error. Each verb is a command of its own, with a session of its own."""
    from labcloud.diagnosis.fixing import chosen, mend

    done: list[Done] = []
    for command in chosen(diagnosis, unsafe=unsafe):
        note(f"{click.style('mending:', fg='green')} {_line(command)}")
        with session() as opened:
            subject = _subject(_doctor(opened), target, tenant)
            done += mend([command], subject.ref, lambda subject=subject: subject.provider, _verb)  # type: ignore[misc]
        if done[-1].failed:
            note(f"  {click.style('failed:', fg='red')} {done[-1].failed}")
    left = [command for command in chosen(diagnosis, unsafe=True) if command not in {each.command for each in done}]
    for command in left:
        note(f"{click.style('not done without --yes:', fg='yellow')} {_line(command)}")
    return done


def _verb(argv: Sequence[str]) -> str:
    """Run a labcloud verb in this process; its result goes to standard error, where progress goes."""
    from labcloud.cli.main import cli

    try:
        with redirect_stdout(sys.stderr):
            outcome = cli(list(argv), prog_name="labcloud", standalone_mode=False)
    except LabError as exc:
        return exc.brief
    except click.ClickException as exc:
        return exc.format_message()
    return f"it ended with {outcome}" if isinstance(outcome, int) and outcome else ""


def _public_done(done: Done) -> Mapping[str, Any]:
    return {"command": _line(done.command), "ok": not done.failed, "said": done.failed}


def _draw(drawing: str, diagnosis: Diagnosis | None, start: str) -> None:
    """The graph as text on standard output, or as SVG in a file."""
    from labcloud.diagnosis.drawing import tree
    from labcloud.diagnosis.svg import draw

    with session() as opened:
        doctor = _doctor(opened)
        first = start or (diagnosis.steps[0].graph if diagnosis and diagnosis.steps else "triage")
        doctor.graph(first)
        if drawing == "-":
            for line, taken in tree(doctor.graphs, first, diagnosis):
                click.echo(click.style(line, bold=True) if taken else line)
            return
        text = draw(doctor.graphs, first, diagnosis)
    with disk_errors(f"write {drawing}"):
        Path(drawing).write_text(text, encoding="utf-8")
    note(f"the graph {first} is drawn in {drawing}")


def _bundle(target: str, tenant: str | None, path: Path, seconds: float, output: str) -> int:
    from labcloud.cli.inspect import public_view
    from labcloud.diagnosis.bundle import write_bundle

    with session() as opened:
        doctor = _doctor(opened)
        subject = _subject(doctor, target, tenant)
        if subject.ref is None:
            raise UsageError(f"{target} was about no cluster: there is nothing to collect", resolution="name a cluster")
        extra = {
            "diagnosis.json": lambda: plain(public(doctor.diagnose(subject, seconds=seconds))),
            "show.json": lambda: plain(public_view(opened.look().show(subject.cluster.ref))),
        }
        manifest = write_bundle(subject, path, extra)

    def table() -> None:
        click.echo(
            f"{path}: {len(manifest.files)} files, {format_bytes(manifest.size)}; secrets are replaced, and the file is private (0600)"
        )
        for name, why in manifest.missing.items():
            note(f"not collected: {name}: {why}")

    emit(manifest, output, table)
    return 0


def _doctor(opened: Session) -> Doctor:
    from labcloud.diagnosis.diagnose import Doctor
    from labcloud.diagnosis.subject import Lights

    return Doctor(Lights(opened.lab, opened.journal(), opened.provider))


def _subject(doctor: Doctor, target: str, tenant: str | None) -> Subject:
    from labcloud.diagnosis.diagnose import is_operation

    if tenant is None and is_operation(target):
        return doctor.operation(target)
    return doctor.cluster(ClusterRef.parse(target, tenant))


def _print_graphs(output: str, *, listing: bool, drawing: str | None, start: str | None) -> None:
    if drawing is not None:
        _draw(drawing, None, start or "")
        return
    with session() as opened:
        graphs = sorted(_doctor(opened).graphs.values(), key=lambda each: each.name)
    if not listing:
        note(f"{len(graphs)} graphs with {sum(len(each.causes) for each in graphs)} causes: all well")
        return
    rows = [
        {"name": each.name, "title": each.title, "about": each.about, "causes": list(each.causes), "file": each.path} for each in graphs
    ]
    lines = [(each.name, each.about, len(each.causes), each.title) for each in graphs]
    emit(rows, output, lambda: print_table(("GRAPH", "ABOUT", "CAUSES", "WHAT IT ASKS"), lines, right=(2,)))


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
