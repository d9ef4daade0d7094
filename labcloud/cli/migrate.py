"""migrate, drain, undrain, evacuate, host: servers moved from one host to another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from labcloud.cli.output import emit, note, output_option, print_table
from labcloud.cli.preflight import print_report
from labcloud.cli.progress import progress
from labcloud.cli.request import ignore_option, reasons
from labcloud.cli.session import Seconds, Session, session
from labcloud.errors import UsageError
from labcloud.model import ClusterRef, NodeRef, format_memory

if TYPE_CHECKING:
    from labcloud.apply.watch import Watch
    from labcloud.migrate.moving import Outcome, Policy
    from labcloud.migrate.planning import Move, Wish
    from labcloud.migrate.verbs import Migrating
    from labcloud.model.hosts import Guest, Host
    from labcloud.providers.base import Provider

_Made = TypeVar("_Made", bound=Callable[..., Any])


class NodeParam(click.ParamType[tuple[ClusterRef, NodeRef | None]]):
    """``TENANT/CLUSTER`` or ``TENANT/CLUSTER/NODE``."""

    name = "node"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[ClusterRef, NodeRef | None]:  # noqa: ARG002
        if isinstance(value, tuple):
            return value
        cluster, slash, node = str(value).rpartition("/") if str(value).count("/") == 2 else (str(value), "", "")
        ref = ClusterRef.parse(cluster)
        return ref, NodeRef.parse(ref, node) if slash else None


_to_option = click.option("--to", default="", metavar="HOST", help="Where to; otherwise the best host, with its reasons.")
_parallel_option = click.option(
    "--parallel", type=click.IntRange(1, 64), default=4, show_default=True, metavar="N", help="How many at once."
)
_timeout_option = click.option(
    "--timeout", type=Seconds(1, 604800), default=7200.0, show_default=True, metavar="S", help="Limit of all of it."
)
_dry_run_option = click.option("--dry-run", is_flag=True, help="Print the plan and its preflight; change nothing.")


def _move_options(command: _Made) -> _Made:
    options = (
        _to_option,
        click.option("--cold", is_flag=True, help="Off, moved, and on again: for what cannot be moved live."),
        click.option(
            "--at-limit", type=click.Choice(["wait", "force-complete", "abort", "cold"]), default="abort", show_default=True,
            help="What is done with a live move that copies for longer than --limit.",
        ),
        click.option("--limit", type=Seconds(1, 86400), default=600.0, show_default=True, metavar="S", help="How long one move may copy."),
        click.option("--bandwidth", type=click.FloatRange(1), default=110.0, show_default=True, metavar="M", help="MiB/s for each."),
        click.option("--drain-yarn", is_flag=True, help="Nodes get no new containers before they move, and those that run may end."),
        click.option(
            "--hdfs-maintenance", type=click.Choice(["auto", "always", "never"]), default="auto", show_default=True,
            help="Whether HDFS is told that a node will be away; by itself where it may be for long.",
        ),
        click.option(
            "--drain-limit", type=Seconds(1, 86400), default=300.0, show_default=True, metavar="S", help="How long YARN and HDFS may take."
        ),
        _timeout_option,
        _dry_run_option,
        ignore_option,
        output_option,
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


provider_option = click.option(
    "--provider", default="", metavar="NAME", help="Whose hosts: docker where docker.yaml names some, else openstack."
)


@click.command("migrate")
@click.argument("node", type=NodeParam(), metavar="CLUSTER[/NODE]")
@_move_options
def migrate_command(node: tuple[ClusterRef, NodeRef | None], dry_run: bool, output: str, **options: Any) -> None:
    """Move a NODE, or a whole CLUSTER node by node, to other hosts, while it works.

    Everything that could go wrong is asked first, of the engine and of Hadoop. The move is watched and kept to the limits given;
    one that fails leaves the node where it was, running. Docker's hosts are those of docker.yaml; OpenStack's need an administrator's
    credentials ('operator-cloud' in openstack.yaml).
    """
    cluster, single = node
    with session() as opened:
        wanted, _, _ = opened.look().cluster(cluster)
        wish, policy = _wish(options), _policy(options, parallel=1)
        if dry_run:
            with _verbs(opened, wanted.provider) as verbs:
                _show_plan(verbs.plan(cluster, single, wish), output)
            return
        with progress() as watch, _verbs(opened, wanted.provider, watch) as verbs:
            outcomes = verbs.migrate(cluster, single, wish, policy)
    _show_outcomes(outcomes, output)


@click.command("drain")
@click.argument("host")
@provider_option
@click.option(
    "--then", type=click.Choice(["disable", "enable"]), default="disable", show_default=True, help="What the empty host shall be."
)
@_parallel_option
@_move_options
def drain_command(host: str, provider: str, then: str, parallel: int, dry_run: bool, output: str, **options: Any) -> None:
    """Move everything away from HOST, so that it can go down: first it gets no new servers, then those it has go.

    Of one cluster one node moves at a time, and servers of others as well, several at once. What cannot be moved is told
    and keeps nobody else. The same command goes on with what is left; 'labcloud undrain HOST' lets it get servers again.
    """
    if options["to"] == host:
        raise UsageError(f"--to {host} is the host that shall be empty", resolution="name another host, or none")
    wish, policy = _wish(options), _policy(options, parallel=parallel)
    with session() as opened:
        if dry_run:
            with _verbs(opened, provider) as verbs:
                _show_plan(verbs.plan_drain(host, wish), output)
            return
        with progress() as watch, _verbs(opened, provider, watch) as verbs:
            drained = verbs.drain(host, wish, policy, enable=then == "enable")
    _show_outcomes(drained.outcomes, output)
    note(f"{host} is empty, and {'gets servers again' if drained.enabled else f'gets no others until: labcloud undrain {host}'}")


@click.command("undrain")
@click.argument("host")
@provider_option
@click.option("--force", is_flag=True, help="Also if somebody else has disabled it.")
def undrain_command(host: str, provider: str, force: bool) -> None:
    """Let HOST get servers again."""
    with session() as opened, _verbs(opened, provider) as verbs:
        changed = verbs.undrain(host, force=force)
    note(f"{host} gets servers again" if changed else f"{host} gets servers; nothing had to be done")


@click.command("evacuate")
@click.argument("host")
@provider_option
@_to_option
@click.option("--fenced", is_flag=True, help="HOST is off for certain: nothing there runs any more.")
@click.option("--shared", is_flag=True, help="Hosts share the disks of servers: nothing is lost with one.")
@_parallel_option
@_timeout_option
@_dry_run_option
@ignore_option
@output_option
def evacuate_command(
    host: str, provider: str, to: str, fenced: bool, shared: bool, parallel: int, timeout: float, dry_run: bool, ignored: tuple[str, ...],
    output: str,
) -> None:  # fmt: skip
    """Make what ran on HOST anew elsewhere, after HOST has died.

    Volumes come along; what was on its own disk alone is lost, and told before. Nodes of clusters are configured anew and their
    services started; a master whose data are lost comes back from a backup.
    """
    from labcloud.apply.verbs import Terms
    from labcloud.migrate.moving import Policy
    from labcloud.migrate.planning import Wish
    from labcloud.migrate.verbs import check_all

    wish = Wish(to, shared=shared, ignored=reasons(ignored))
    with session() as opened:
        if dry_run:
            with _verbs(opened, provider) as verbs:
                _show_plan(verbs.plan_evacuate(host, wish), output)
            return
        with progress() as watch, _verbs(opened, provider, watch) as verbs:
            outcomes = verbs.evacuate(host, wish, Policy(parallel, timeout=timeout), fenced=fenced)
            anew = [each.guest.ref for each in outcomes if each.moved and each.guest.ref and each.guest.disk and not shared]
            lost = {each.guest.ref.cluster for each in outcomes if not each.moved and each.guest.ref}
            for ref in anew:
                _provider(opened, provider).renewed(ref)
            for cluster in sorted({ref.cluster for ref in anew} - lost):
                opened.clusters(watch).start(cluster, Terms(timeout))
    _show_outcomes(outcomes, output)
    check_all(outcomes)


@click.group("host")
def host_command() -> None:
    """The engine's hosts, as its administrator sees them."""


@host_command.command("list")
@provider_option
@output_option
def list_hosts_command(provider: str, output: str) -> None:
    """All hosts: whether they work, what runs on them, and how many nodes of this lab."""
    with session() as opened, _verbs(opened, provider) as verbs:
        found = verbs.hosts()
    rows = [_public_host(host, guests) for host, guests in found]

    def table() -> None:
        cells = [(row["name"], row["status"], row["zone"], row["hypervisor"], row["servers"], row["nodes"], row["reason"]) for row in rows]
        print_table(("HOST", "STATUS", "ZONE", "HYPERVISOR", "SERVERS", "NODES", "WHY"), cells, right=(4, 5))

    emit(rows, output, table)


def _public_host(host: Host, guests: Sequence[Guest]) -> dict[str, Any]:
    status = "down" if not host.up else "running" if host.enabled else "disabled"
    return {
        "name": host.name, "status": status, "zone": host.zone, "hypervisor": host.hypervisor, "servers": len(guests),
        "nodes": sum(each.ref is not None for each in guests), "reason": host.reason, "heard": host.heard,
    }  # fmt: skip


@contextmanager
def _verbs(opened: Session, provider: str, watch: Watch | None = None) -> Iterator[Migrating]:
    """The verbs for the hosts of ``provider``, or of the engine that has several."""
    from labcloud.apply.watch import Watch as Quiet
    from labcloud.cli.changing import who
    from labcloud.migrate.caring import HadoopCare
    from labcloud.migrate.verbs import Migrating

    look, hosts = opened.look(), _provider(opened, provider).hosts()
    try:
        care = HadoopCare(lambda ref: look.cluster(ref.cluster))
        yield Migrating(opened.lab, opened.journal(), hosts, care, watch or Quiet(), who=who().name)
    finally:
        hosts.close()


def _provider(opened: Session, name: str) -> Provider:
    """The engine ``name``; of no name, the one that has hosts."""
    return opened.provider(name or ("docker" if (opened.lab.home / "lab" / "docker.yaml").exists() else "openstack"))


def _wish(options: dict[str, Any]) -> Wish:
    from labcloud.migrate.estimating import MaintenancePolicy
    from labcloud.migrate.planning import Wish

    force = options["at_limit"] in ("force-complete", "cold")
    named = {name: options[name] for name in ("to", "cold", "limit", "bandwidth")}
    return Wish(**named, force=force, maintenance=MaintenancePolicy(options["hdfs_maintenance"]), ignored=reasons(options["ignored"]))


def _policy(options: dict[str, Any], *, parallel: int) -> Policy:
    from labcloud.migrate.estimating import MaintenancePolicy
    from labcloud.migrate.moving import AtLimit, Policy

    return Policy(
        parallel, options["limit"], AtLimit(options["at_limit"]), options["drain_yarn"], MaintenancePolicy(options["hdfs_maintenance"]),
        options["drain_limit"], timeout=options["timeout"],
    )  # fmt: skip


def _show_plan(moves: Sequence[Move], output: str) -> None:
    """One move with all of its checks; several as a table, with those checks that did not pass."""

    def table() -> None:
        if len(moves) == 1:
            where = f"{moves[0].source.name} → {moves[0].target.name if moves[0].target else 'nowhere'}"
            click.secho(f"{moves[0].guest.label}: {where}, {moves[0].how}", bold=True)
            print_report(moves[0].report)
        elif moves:
            print_table(
                ("SERVER", "TO", "HOW", "MEMORY", "EXPECTED", "PAUSE", "VERDICT"), [_cells(each) for each in moves], right=(3, 4, 5)
            )
            for move, each in ((one, each) for one in moves for each in one.report.checks if each.status in ("fail", "warn")):
                click.echo(
                    f"{click.style(each.status, fg='red' if each.refuses else 'yellow')} {move.guest.label}: {each.id}: {each.summary}"
                )
                click.echo(f"     {click.style('try:', fg='green')} {each.fix}")
        else:
            note("nothing has to be moved")

    emit([_public_move(each) for each in moves], output, table)


def _cells(move: Move) -> tuple[str, ...]:
    live, expected = move.how == "live", move.estimate
    return (
        move.guest.label, move.target.name if move.target else "-", str(move.how), format_memory(move.guest.memory),
        f"{expected.seconds:.0f} s" if live else "-", f"{expected.pause:.2f} s" if live else "-", "ok" if move.report.ok else "refused",
    )  # fmt: skip


def _public_move(move: Move) -> dict[str, Any]:
    expected = move.estimate
    return {
        "server": move.guest.label, "id": move.guest.id, "source": move.source.name, "target": move.target.name if move.target else None,
        "how": move.how, "reasons": list(move.reasons), "ok": move.report.ok,
        "expected": {"seconds": round(expected.seconds, 1), "pause": round(expected.pause, 2), "converges": expected.converges},
        "checks": move.report.checks,
    }  # fmt: skip


def _show_outcomes(outcomes: Sequence[Outcome], output: str) -> None:
    rows = [
        {
            "server": each.guest.label, "id": each.guest.id, "source": each.guest.host, "target": each.target, "how": each.how,
            "moved": each.moved, "seconds": round(each.seconds, 2), "pause": round(each.pause, 2), "why": each.why,
            "disturbed": list(each.disturbed),
        }
        for each in outcomes
    ]  # fmt: skip

    def table() -> None:
        cells = [
            (
                each.guest.label,
                each.guest.host,
                each.target,
                f"{each.seconds:.1f} s",
                f"{each.pause:.1f} s" if each.pause else "-",
                ", ".join((each.why, *each.disturbed)).strip(", ") or "ok",
            )
            for each in outcomes
        ]
        print_table(("SERVER", "FROM", "TO", "TOOK", "PAUSE", "RESULT"), cells, right=(3, 4))

    emit(rows, output, table)
