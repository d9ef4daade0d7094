"""create, start, stop, restart, scale, delete."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from labcloud.cli.output import emit, note, output_option, title
from labcloud.cli.progress import progress
from labcloud.cli.request import copies, ignore_option, reasons, request_options, requests, tell_of_settings
from labcloud.cli.session import Seconds, Session, cluster_argument, session, tenant_option
from labcloud.cli.several import at_once, results
from labcloud.errors import UsageError
from labcloud.model import ClusterRef

if TYPE_CHECKING:
    from labcloud.apply.clusters import Clusters
    from labcloud.apply.requests import CreateRequest
    from labcloud.apply.verbs import Terms
    from labcloud.apply.watch import Watch
    from labcloud.plan import Plan

Done = TypeVar("Done")

timeout_option = click.option(
    "--timeout", type=Seconds(1, 86400), default=300.0, show_default=True, metavar="S", help="Limit of all waits together."
)
no_wait_option = click.option("--no-wait", is_flag=True, help="Do not wait until the cluster is ready.")


@dataclass(frozen=True)
class Outcome:
    """The result of a verb, for ``--output json``: the cluster, and the steps that it took."""

    tenant: str
    name: str
    steps: tuple[str, ...]


@click.command("create")
@click.argument("profile", required=False)
@click.option("--tenant", "tenants", metavar="T", multiple=True, required=True, help="Whose it is; several tenants get one each.")
@click.option(
    "--from", "origin", metavar="CLUSTER@ID", help="With the data of this snapshot, and its nodes; --name, --memory, --cpus, --lease apply."
)
@request_options
@click.option("--load", is_flag=True, help="Put the datasets into HDFS as well.")
@click.option("--dry-run", is_flag=True, help="Print the steps; make nothing.")
@ignore_option
@no_wait_option
@timeout_option
@output_option
def create_command(
    profile: str | None,
    tenants: tuple[str, ...],
    origin: str | None,
    load: bool,
    dry_run: bool,
    ignored: tuple[str, ...],
    no_wait: bool,
    timeout: float,
    output: str,
    **options: Any,
) -> None:
    """Make a cluster of PROFILE, or as a FILE says, for a tenant, and wait until it is ready.

    Everything that could go wrong is asked first (see preflight). Running the same command again changes nothing, or finishes
    what was broken off.
    """
    from labcloud.apply.verbs import Terms

    if origin is not None:
        _copy(origin, profile, tenants, options, Terms(timeout, wait=not no_wait, ignored=reasons(ignored)), output)
        return
    asked = requests(profile, tenants, options)
    if load and (no_wait or not asked[0].datasets):
        raise UsageError("--load needs a dataset, and a cluster that is ready", resolution="add --dataset NAME, and leave out --no-wait")
    tell_of_settings(asked)
    if dry_run:
        _dry_run(asked, output)
    else:
        _create(asked, Terms(timeout, wait=not no_wait, ignored=reasons(ignored)), output, load=load)


def _dry_run(asked: Sequence[CreateRequest], output: str) -> None:
    from labcloud.apply.watch import Watch

    with session() as opened:
        clusters = opened.clusters(Watch())
        outcomes = [_outcome(request.ref, clusters.plan_create(request)) for request in asked]

    def table() -> None:
        for outcome in outcomes:
            title(f"{outcome.tenant}/{outcome.name}")
            click.echo("\n".join(f"  {step}" for step in outcome.steps) or "  nothing to do")

    emit(outcomes, output, table)


def _create(asked: Sequence[CreateRequest], terms: Terms, output: str, *, load: bool) -> None:
    from labcloud.cli.births import protect_new
    from labcloud.cli.inspect import show_clusters

    def create(clusters: Clusters, index: int) -> Plan:
        plan = clusters.create(asked[index], terms, alongside=[*asked[:index], *asked[index + 1 :]])
        for name in asked[index].datasets if load else ():
            opened.datasets(clusters.watch).load(name, asked[index].ref)
        return plan

    refs = [request.ref for request in asked]
    with session() as opened:
        plans = _for_each(opened, refs, create)
        for ref, plan in zip(refs, plans, strict=True):
            if not plan:
                note(f"{ref} is there already; nothing had to be done")
        show_clusters(opened, refs, output, created=True)
        protect_new(opened, [ref for ref, plan in zip(refs, plans, strict=True) if plan])


def _copy(origin: str, profile: str | None, tenants: Sequence[str], options: dict[str, Any], terms: Terms, output: str) -> None:
    """Clusters with the data of a snapshot, one for each tenant."""
    from labcloud.cli.births import protect_new
    from labcloud.cli.inspect import show_clusters
    from labcloud.cli.snapshot import snapshots
    from labcloud.model.snapshot import SnapshotRef

    name = SnapshotRef.parse(origin)
    wanted = copies(name.cluster, profile, tenants, options)
    refs = [each.ref for each in wanted]
    with session() as opened:
        _for_each(opened, refs, lambda verbs, index: verbs.copy(name, wanted[index], terms), snapshots)
        show_clusters(opened, refs, output, created=True)
        protect_new(opened, refs)


def _for_each(
    opened: Session,
    refs: Sequence[ClusterRef],
    do: Callable[[Any, int], Done],
    verbs: Callable[[Session, Watch], Clusters] = Session.clusters,
) -> list[Done]:
    """Do something for several clusters at once. One error is raised as it is; of several clusters, PartlyDoneError says which failed."""
    try:
        with progress() as watch:
            clusters = verbs(opened, watch)
            if len(refs) == 1:
                return [do(clusters, 0)]
            futures = at_once(len(refs), lambda index: do(clusters, index), watch)
    except KeyboardInterrupt:
        _say_what_exists(opened, refs)
        raise
    return results(refs, futures)


def _say_what_exists(opened: Session, refs: Sequence[ClusterRef]) -> None:
    """After an interruption: what there is of each cluster, and the two ways on."""
    there = {(row.tenant, row.name): row for row in opened.look().list()}
    for ref in refs:
        row = there.get((ref.tenant, ref.name))
        what = f"{row.running} of {row.declared} nodes run" if row else "nothing of it exists"
        note(f"{ref}: {what}; the same command goes on" + (f", 'labcloud delete {ref}' removes it" if row else ""))


@click.command("start")
@tenant_option
@cluster_argument
@ignore_option
@timeout_option
@no_wait_option
@output_option
def start_command(tenant: str | None, cluster: ClusterRef, ignored: tuple[str, ...], timeout: float, no_wait: bool, output: str) -> None:
    """Make every node of CLUSTER run and wait until it is ready: starts a stopped one, heals a broken one."""
    from labcloud.apply.verbs import Terms

    terms = Terms(timeout, wait=not no_wait, ignored=reasons(ignored))
    _verb(cluster, output, lambda clusters: clusters.start(cluster, terms), "runs")


@click.command("stop")
@tenant_option
@cluster_argument
@timeout_option
@output_option
def stop_command(tenant: str | None, cluster: ClusterRef, timeout: float, output: str) -> None:
    """Stop the nodes of CLUSTER. All data stays; `start` brings it back."""
    from labcloud.apply.verbs import Terms

    _verb(cluster, output, lambda clusters: clusters.stop(cluster, Terms(timeout)), "is stopped")


@click.command("scale")
@tenant_option
@cluster_argument
@click.option("--workers", type=int, required=True, metavar="N", help="How many workers the cluster shall have.")
@ignore_option
@timeout_option
@no_wait_option
@output_option
def scale_command(
    tenant: str | None, cluster: ClusterRef, workers: int, ignored: tuple[str, ...], timeout: float, no_wait: bool, output: str
) -> None:
    """Change the number of workers of CLUSTER while it works.

    New nodes join live. Nodes that leave are decommissioned first: HDFS copies their blocks elsewhere, then YARN lets go of them.
    """
    from labcloud.apply.verbs import Terms

    terms = Terms(timeout, wait=not no_wait, ignored=reasons(ignored))
    _verb(cluster, output, lambda clusters: clusters.scale(cluster, workers, terms), f"has {workers} workers")


@click.command("restart")
@tenant_option
@cluster_argument
@click.option("--service", metavar="S", help="Only this service, as in datanode.")
@click.option("--rolling", is_flag=True, help="Node by node, waiting until the cluster is ready each time.")
@timeout_option
@no_wait_option
@output_option
def restart_command(
    tenant: str | None,
    cluster: ClusterRef,
    service: str | None,
    rolling: bool,
    timeout: float,
    no_wait: bool,
    output: str,
) -> None:
    """Restart the services of CLUSTER; nodes keep running."""
    from labcloud.apply.verbs import Terms

    terms = Terms(timeout, wait=not no_wait)
    with session() as opened:
        (done,) = _for_each(opened, [cluster], lambda clusters, _: clusters.restart(cluster, terms, service=service, rolling=rolling))
    emit(Outcome(cluster.tenant, cluster.name, tuple(done)), output, lambda: note(f"{cluster} was restarted"))


@click.command("delete")
@click.option("--tenant", metavar="T", is_eager=True, help="The tenant, where CLUSTER is a bare name.")
@click.argument("clusters", nargs=-1, required=True, metavar="CLUSTER...")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@timeout_option
@output_option
def delete_command(tenant: str | None, clusters: tuple[str, ...], yes: bool, timeout: float, output: str) -> None:
    """Delete clusters with all their data; nothing of them is left.

    On a terminal it asks first.
    """
    from labcloud.apply.verbs import Terms

    refs = [ClusterRef.parse(text, tenant) for text in dict.fromkeys(clusters)]
    if not yes and sys.stdin.isatty():
        click.confirm(f"Delete {', '.join(str(ref) for ref in refs)} with all data?", abort=True, err=True)
    with session() as opened:
        plans = _for_each(opened, refs, lambda verbs, index: verbs.delete(refs[index], Terms(timeout)))
    outcomes = [_outcome(ref, plan) for ref, plan in zip(refs, plans, strict=True)]
    emit(outcomes[0] if len(outcomes) == 1 else outcomes, output, lambda: note("\n".join(f"{ref} is deleted" for ref in refs)))


def _verb(ref: ClusterRef, output: str, do: Callable[[Clusters], Plan], result: str) -> None:
    with session() as opened:
        (plan,) = _for_each(opened, [ref], lambda clusters, _: do(clusters))
    emit(_outcome(ref, plan), output, lambda: note(f"{ref} {result}" + ("" if plan else "; nothing had to be done")))


def _outcome(ref: ClusterRef, plan: Plan) -> Outcome:
    return Outcome(ref.tenant, ref.name, tuple(str(step) for step in plan))
