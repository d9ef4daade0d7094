"""preflight: everything that could go wrong, asked before anything is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from labcloud.cli.output import emit, output_option, print_table
from labcloud.cli.request import ignore_option, reasons, request_options, requests
from labcloud.cli.session import Session, session
from labcloud.errors import PreflightError, UsageError

if TYPE_CHECKING:
    from labcloud.preflight import Answer, Report

_COLOURS: Final = {"pass": "green", "warn": "yellow", "fail": "red", "skip": "bright_black"}


@click.command("preflight")
@click.argument("profile", required=False)
@click.option("--tenant", "tenants", metavar="T", multiple=True, help="Whose it will be; several tenants get one each.")
@request_options
@click.option("--host", is_flag=True, help="Check the machine and its engine alone.")
@click.option("--list", "listed", is_flag=True, help="Print every check, and why it is there; ask nothing.")
@ignore_option
@output_option
def preflight_command(
    profile: str | None, tenants: tuple[str, ...], host: bool, listed: bool, ignored: tuple[str, ...], output: str, **options: Any
) -> None:
    """Ask everything that could keep `labcloud create PROFILE` from succeeding, and answer all of it at once.

    It takes the options of create, which runs the same checks first. Nothing is made. Exit code 11 if a check fails.
    """
    if not (host or listed) and ((profile is None and options["file"] is None) or not tenants):
        raise UsageError("preflight needs a PROFILE and a --tenant", resolution="or check the machine alone: labcloud preflight --host")
    with session() as opened:
        if listed:
            _list(opened, options["provider"] or "docker", output)
            return
        if host:
            reports = {"": _machine(opened, options["provider"] or "docker", reasons(ignored))}
        else:
            reports = _clusters(opened, profile, tenants, options, reasons(ignored))
    results = [_public(name, report) for name, report in reports.items()]
    emit(results[0] if len(results) == 1 else results, output, lambda: _print(reports))
    bad = [name or "the machine" for name, report in reports.items() if not report.ok]
    if bad:
        failing = [each.id for report in reports.values() for each in report.checks if each.refuses]
        raise PreflightError(
            f"preflight refuses {', '.join(bad)}: {', '.join(dict.fromkeys(failing))}",
            resolution=next(report.way_out() for report in reports.values() if not report.ok),
        )


def _machine(opened: Session, provider: str, ignored: Mapping[str, str]) -> Report:
    from labcloud.apply.admission import Admission

    return Admission(opened.lab, fresh=True).machine(opened.provider(provider), ignored)


def _clusters(
    opened: Session, profile: str | None, tenants: Sequence[str], options: dict[str, Any], ignored: Mapping[str, str]
) -> dict[str, Report]:
    from labcloud.apply.watch import Watch

    asked = requests(profile, tenants, options)
    verbs = opened.clusters(Watch(), fresh=True)
    return {str(each.ref): verbs.preflight(each, ignored, [other for other in asked if other is not each]) for each in asked}


def _public(name: str, report: Report) -> dict[str, object]:
    tenant, _, cluster = name.partition("/")
    whose = {"tenant": tenant, "name": cluster} if name else {}
    return {**whose, "ok": report.ok, "checks": report.checks}


def _print(reports: Mapping[str, Report]) -> None:
    for name, report in reports.items():
        if len(reports) > 1:
            click.secho(name, bold=True)
        print_report(report)


def print_report(report: Report) -> None:
    width = max((len(each.id) for each in report.checks), default=0)
    for each in report.checks:
        click.echo(f"{_mark(each)} {each.id:{width}}  {each.summary}")
        indent = " " * (width + 7)
        if each.ignored:
            click.secho(f"{indent}passed over: {each.ignored}", dim=True)
        if each.status in ("fail", "warn"):
            click.secho(f"{indent}{each.why}", dim=True)
            if each.fix:
                click.echo(f"{indent}{click.style('try:', fg='green')} {each.fix}")
    counts = {status: sum(each.status == status for each in report.checks) for status in _COLOURS}
    said = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    slowest = max((each.seconds for each in report.checks), default=0.0)
    verdict = click.style("ready to go", fg="green", bold=True) if report.ok else click.style("refused", fg="red", bold=True)
    click.echo(f"{verdict}: {said}" + (f"; the slowest took {slowest:.1f} s" if slowest else ""))


def _mark(answer: Answer) -> str:
    return click.style(f"{answer.status:4}", fg=_COLOURS[answer.status], bold=answer.refuses)


def _list(opened: Session, provider: str, output: str) -> None:
    from labcloud.preflight import all_checks

    checks = all_checks(opened.provider(provider))
    rows = [{"id": each.id, "severity": each.severity, "machine": each.machine, "why": each.why} for each in checks]
    emit(rows, output, lambda: print_table(("CHECK", "SEVERITY", "WHY"), [(each.id, str(each.severity), each.why) for each in checks]))
