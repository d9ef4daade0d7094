"""lease list, set, extend, remove, run, schedule: for how long clusters are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from labcloud.cli.main import say_error
from labcloud.cli.output import emit, note, output_option, print_table
from labcloud.cli.progress import progress
from labcloud.cli.session import Session, cluster_argument, session, tenant_option
from labcloud.errors import LabError, PartlyDoneError, UsageError
from labcloud.model import AtEnd, ClusterRef, parse_duration, tenant_name
from labcloud.model.periods import moment

if TYPE_CHECKING:
    from labcloud.apply.watch import Watch
    from labcloud.leases.ending import Ending, Outcome
    from labcloud.leases.leasing import Leases, LeaseView

_WATCH_SECONDS: Final = 60.0

_duration = click.argument("duration", required=False)
_until = click.option("--until", metavar="TIME", help="Up to a moment in UTC, as in 2026-11-21T18:00:00Z, instead of a DURATION.")


@click.group("lease")
def lease_command() -> None:
    """For how long clusters are wanted, and what becomes of them then."""


@lease_command.command("list")
@click.option("--tenant", metavar="T", help="Only this tenant's.")
@output_option
def list_leases(tenant: str | None, output: str) -> None:
    """Every cluster with a lease: when it ends, what then, how much time is left. The first to end first."""
    with session() as opened:
        views = _leases(opened).list(tenant if tenant is None else tenant_name(tenant), _now())

    def table() -> None:
        if not views:
            note("no cluster has a lease; give it one: labcloud lease set T/C 8h")
            return
        rows = [(f"{each.tenant}/{each.name}", each.state, each.until, each.then, each.left) for each in views]
        print_table(("CLUSTER", "STATE", "ENDS", "THEN", "LEFT"), rows, right=(4,))

    emit(views, output, table)


@lease_command.command("set")
@tenant_option
@cluster_argument
@_duration
@_until
@click.option("--then", type=click.Choice([*map(str, AtEnd)]), help="What becomes of the cluster then.  [default: as before, or stop]")
@output_option
def set_lease(tenant: str | None, cluster: ClusterRef, duration: str | None, until: str | None, then: str | None, output: str) -> None:
    """Give CLUSTER a lease of DURATION (as in 8h, 30m, 2d, 1d12h) from now, whatever it had."""
    now = _now()
    by = _by(duration, until)
    end = now + by if isinstance(by, timedelta) else by
    with session() as opened, progress() as watch:
        done = _leases(opened, watch).set(cluster, end, AtEnd(then) if then else None, now)
    emit(done, output, lambda: _say(done))


@lease_command.command("extend")
@tenant_option
@cluster_argument
@_duration
@_until
@output_option
def extend_lease(tenant: str | None, cluster: ClusterRef, duration: str | None, until: str | None, output: str) -> None:
    """Let the lease of CLUSTER last DURATION longer (as in 4h): from its end, or from now if it is over."""
    by = _by(duration, until)
    with session() as opened, progress() as watch:
        done = _leases(opened, watch).extend(cluster, by, _now())
    emit(done, output, lambda: _say(done))


@lease_command.command("remove")
@tenant_option
@cluster_argument
@output_option
def remove_lease(tenant: str | None, cluster: ClusterRef, output: str) -> None:
    """Let CLUSTER last until somebody ends it."""
    with session() as opened, progress() as watch:
        removed = _leases(opened, watch).remove(cluster)
    facts = {"tenant": cluster.tenant, "name": cluster.name, "removed": removed}
    emit(facts, output, lambda: note(f"{cluster} has no lease any more" if removed else f"{cluster} had no lease; nothing had to be done"))


@lease_command.command("run")
@click.option("--notice", default="30m", show_default=True, metavar="DURATION", help="How long before its end a lease is told of.")
@click.option("--watch", "watching", is_flag=True, help="Go on, a pass whenever something is due, until interrupted.")
@output_option
def run_leases(notice: str, watching: bool, output: str) -> None:
    """One pass over all clusters: tell those whose lease ends soon, stop or delete those whose lease is over.

    For cron or a systemd timer (see `lease schedule`). A missed run is made up by the next; two at once do no harm.
    """
    from labcloud.apply.watch import Watch
    from labcloud.leases.ending import Ending

    before = parse_duration(notice)
    watch = Watch()
    with session() as opened:
        ending = Ending(opened.lab, opened.journal(), opened.provider, watch, notice=before)
        if watching:
            _watch_leases(ending, watch, output)
        outcomes = ending.run(_now())
    _print_outcomes(outcomes, output)
    failed = [str(each.ref) for each in outcomes if each.error]
    if failed:
        raise PartlyDoneError(f"{len(failed)} clusters failed: {', '.join(failed)}", resolution="the next run tries again")


def _watch_leases(ending: Ending, watch: Watch, output: str) -> None:
    """Pass after pass; ends by an interruption alone."""
    while True:
        try:
            outcomes = ending.run(_now())
            if outcomes:
                _print_outcomes(outcomes, output)
            seconds = ending.pause(_now(), _WATCH_SECONDS)
        except LabError as exc:
            say_error(exc)
            seconds = _WATCH_SECONDS
        watch.pause(seconds)


def _print_outcomes(outcomes: Sequence[Outcome], output: str) -> None:
    """What was done; nothing for people where nothing was due, so that cron has nothing to send."""
    for each in outcomes:
        if each.error:
            say_error(each.error)
        if each.warning:
            note(f"{each.ref}: {each.warning}; the next run tries again")

    def table() -> None:
        if outcomes:
            print_table(("CLUSTER", "DONE", "LEASE UNTIL"), [(each.ref, each.did, each.until or "-") for each in outcomes])

    emit([_public(each) for each in outcomes], output, table)


def _public(outcome: Outcome) -> dict[str, Any]:
    return {
        "tenant": outcome.ref.tenant, "name": outcome.ref.name, "done": outcome.did, "until": outcome.until, "warning": outcome.warning,
        "error": outcome.error.brief if outcome.error else "",
    }  # fmt: skip


@lease_command.command("schedule")
@click.option("--print", is_flag=True, expose_value=False, help="Print them. Nothing is ever written, so it does that without, too.")
def schedule_leases() -> None:
    """The cron line, and the systemd units, that run `lease run` every minute. Nothing is written: put one of them in place."""
    from labcloud.cli.schedules import schedule

    click.echo(schedule("labcloud-leases", "Leases of labcloud", ("lease", "run")), nl=False)


def _leases(opened: Session, watch: Watch | None = None) -> Leases:
    from labcloud.apply.watch import Watch
    from labcloud.leases.leasing import Leases

    return Leases(opened.lab, opened.journal(), opened.provider, watch or Watch())


def _by(duration: str | None, until: str | None) -> timedelta | datetime:
    """The length of time, or the moment, that was asked for; just one of the two."""
    if (duration is None) == (until is None):
        raise UsageError("say for how long, or until when", resolution="write a DURATION as 4h, or --until 2026-11-21T18:00:00Z")
    return parse_duration(duration) if duration is not None else moment(until or "")


def _say(done: LeaseView) -> None:
    ref = f"{done.tenant}/{done.name}"
    note(f"the lease of {ref} ends at {done.until} ({done.left} left), {_THEN[done.then]}")
    if done.state == "stopped":
        note(f"it is stopped; labcloud start {ref} starts it")


_THEN: Final = {"stop": "then it is stopped", "delete": "then it is deleted with all its data"}


def _now() -> datetime:
    return datetime.now(UTC)
