"""backup policy show, set; backup schedule: when clusters are backed up, and what stays."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from labcloud.cli.output import emit, note, output_option, print_table, title
from labcloud.cli.progress import progress
from labcloud.cli.session import Session, session
from labcloud.errors import UsageError
from labcloud.model import ClusterRef, tenant_name
from labcloud.model.schedules import Schedule

if TYPE_CHECKING:
    from labcloud.apply.watch import Watch
    from labcloud.protect.policies import Policies, PolicyView, Scope

_tenant_option = click.option("--tenant", metavar="T", is_eager=True, help="All of a tenant's, or the tenant of a bare CLUSTER.")


@click.group("policy")
def policy_command() -> None:
    """When clusters are backed up, where to, and what stays: said for all, for a tenant's, for one."""


@policy_command.command("show")
@click.argument("cluster", required=False)
@_tenant_option
@output_option
def show_policy(cluster: str | None, tenant: str | None, output: str) -> None:
    """How CLUSTER, a tenant's clusters, or all are protected, and which file of the lab repository says it."""
    scope = _scope(cluster, tenant)
    with session() as opened:
        view = _policies(opened).show(scope, datetime.now(UTC))
    emit(view, output, lambda: _print(view))


@policy_command.command("set")
@click.argument("words", nargs=-1, metavar="[CLUSTER] KEY=VALUE...")
@_tenant_option
@click.option("--lab", "everybody", is_flag=True, help="All clusters of the lab.")
@click.option("--unset", "dropped", multiple=True, metavar="KEY", help="Say nothing of it here any more.")
@click.option("--yes", "-y", "sure", is_flag=True, help="Rules that keep no backup at all are meant so.")
@output_option
def set_policy(words: tuple[str, ...], tenant: str | None, everybody: bool, dropped: tuple[str, ...], sure: bool, output: str) -> None:
    """Change how CLUSTER, a tenant's clusters, or all are protected. What one says counts before what is said of more.

    \b
    labcloud backup policy set --lab target=/srv/backups schedule=03:30
    labcloud backup policy set --tenant acme keep.daily=30 drill=weekly
    labcloud backup policy set acme/c enabled=false
    """
    from labcloud.cli.request import pairs
    from labcloud.protect.policies import PolicyChange

    clusters = [word for word in words if "=" not in word]
    if everybody == bool(clusters or tenant is not None) or len(clusters) > 1:
        raise UsageError("say whose policy is to change", resolution="name one CLUSTER, --tenant T, or --lab")
    wanted = pairs([word for word in words if "=" in word], "KEY=VALUE")
    if not wanted and not dropped:
        raise UsageError("nothing is to change", resolution="write KEY=VALUE, as in schedule=02:00, or --unset KEY")
    scope = _scope(clusters[0] if clusters else None, tenant)
    with session() as opened, progress() as watch:
        policies = _policies(opened, watch)
        new = policies.set(scope, PolicyChange(wanted, dropped, sure))
        view = policies.show(scope, datetime.now(UTC))
    emit(view, output, lambda: _print(view))
    if not new:
        note("it is so already; nothing had to be done")
    elif wanted.get("enabled") in ("false", "off"):
        note("copies that exist stay; to be rid of them: labcloud backup prune")


@click.command("schedule")
@click.option(
    "--print", "printing", is_flag=True, help="Print the cron lines and the systemd units; write nothing. So it does without, too."
)
@click.option("--at", "times", multiple=True, metavar="HH:MM", help="When to look what is due, UTC.  [default: the policies' times]")
@click.option("--install", "how", type=click.Choice(["cron", "systemd"]), help="Put it in place on this machine.")
@output_option
def schedule_command(printing: bool, times: tuple[str, ...], how: str | None, output: str) -> None:
    """Have `backup run --all` run every night: by cron, or by a systemd timer.

    Each run backs up what is due by its policy, so one run more does no harm, and a missed one is made up.
    """
    from labcloud.cli import installing
    from labcloud.cli.schedules import Job

    if printing and how:
        raise UsageError("--print writes nothing", resolution="leave out --print, or --install")
    with session() as opened:
        said = [_time(text) for text in times] or _policies(opened).times() or ["02:00"]
    job = Job("labcloud-backups", "Backups of labcloud", ("backup", "run", "--all"), tuple(dict.fromkeys(said)))
    if how is None:
        texts = {"cron": job.cron(), "service": job.service(), "timer": job.timer()}
        emit(texts, output, lambda: click.echo(job.text(), nl=False))
        return
    done = installing.install(job, how)
    emit(done, output, lambda: installing.tell(done))


def _time(text: str) -> str:
    schedule = Schedule.parse(text)
    if schedule.at is None or schedule.days:
        raise UsageError(f"{text!r} is no time of day", resolution="write it in UTC, as in 02:00; days are for policies to say")
    return str(schedule)


def _scope(cluster: str | None, tenant: str | None) -> Scope:
    from labcloud.protect.policies import Scope

    if cluster is not None:
        return Scope(ref=ClusterRef.parse(cluster, tenant))
    return Scope(tenant if tenant is None else tenant_name(tenant))


def _policies(opened: Session, watch: Watch | None = None) -> Policies:
    from labcloud.apply.watch import Watch
    from labcloud.protect.policies import Policies

    return Policies(opened.lab, opened.journal(), watch or Watch())


def _print(view: PolicyView) -> None:
    whose = f"{view.tenant}/{view.name}" if view.name else f"clusters of {view.tenant}" if view.tenant else "all clusters"
    following = f"next {view.next}" if view.next else "only by hand" if view.enabled else "not backed up"
    title(f"{whose}: {following}")
    print_table(("KEY", "VALUE", "SAID BY"), _rows(view))


def _rows(view: PolicyView) -> Sequence[tuple[str, object, str]]:
    values: dict[str, object] = {}
    for key in ("enabled", "schedule", "keep", "drill", "target", "credentials", "keep_snapshots"):
        value = getattr(view, key)
        values |= {f"keep.{rule}": count for rule, count in value.items()} if key == "keep" else {key: value}
    values["enabled"] = str(view.enabled).lower()
    return [(key, value if value != "" else "-", view.sources[key]) for key, value in values.items()]
