"""config apply, config drift; resize."""

from __future__ import annotations

import re

import click

from labcloud.cli import configuring
from labcloud.cli.lifecycle import timeout_option
from labcloud.cli.output import emit, note, output_option, print_table
from labcloud.cli.progress import progress
from labcloud.cli.request import ignore_option, reasons
from labcloud.cli.session import Seconds, cluster_argument, session, tenant_option
from labcloud.errors import UsageError
from labcloud.model import ClusterRef, Wanted, parse_memory

gray_option = click.option("--gray", metavar="P%,…", help="In steps, to these shares of the nodes, as in 10%,50%,100%.")
pause_option = click.option("--pause", metavar="D", help="Wait so long between steps, as in 10m or 30s.")
check_option = click.option("--check", metavar="EXPR", help="What must hold after each step, as in 'yarn.unhealthy == 0'.")
patience_option = click.option(
    "--patience", type=Seconds(1, 86400), default=90.0, show_default=True, metavar="S", help="How long a node may take to be well again."
)


@click.command("apply")
@click.option("--tenant", metavar="T", is_eager=True, help="The tenant, where CLUSTER is a bare name.")
@click.argument("clusters", nargs=-1, metavar="[CLUSTER]...")
@click.option("--all", "everywhere", is_flag=True, help="Every cluster that runs; with --tenant, every one of the tenant's.")
@gray_option
@pause_option
@check_option
@patience_option
@click.option("--dry-run", is_flag=True, help="Say which services would be restarted or told, and why; change nothing.")
@timeout_option
@output_option
def apply_configuration(
    tenant: str | None, clusters: tuple[str, ...], everywhere: bool, dry_run: bool, timeout: float, output: str, **how: object
) -> None:
    """Let the nodes of CLUSTER have the configuration that is wanted, now.

    What running services can take up is told to them; others are restarted, one node after the other. With --gray it goes out in steps,
    and is taken back by itself, in the lab repository too, when nodes do not become well again or the check fails.
    """
    from labcloud.apply.verbs import Terms

    pace = configuring.pace(how["gray"], how["pause"], how["check"], how["patience"])  # type: ignore[arg-type]
    with session() as opened:
        if bool(clusters) == everywhere:
            raise UsageError("name clusters, or say --all", resolution="as in: labcloud config apply acme/hadoop-2.7")
        refs = [ClusterRef.parse(text, tenant) for text in dict.fromkeys(clusters)]
        if everywhere:
            refs = [each.ref for each in opened.lab.clusters(tenant) if each.state is Wanted.RUNNING]
        if not dry_run:
            configuring.tell(configuring.apply(opened, refs, Terms(timeout), pace), output)
            return
        with progress() as watch:
            verbs = opened.configuring(watch)
            found = {str(ref): configuring.public_consequences(verbs.plan(ref)) for ref in refs}

    def table() -> None:
        for name, each in found.items():
            click.echo(click.style(name, bold=True))
            configuring.print_consequences(each)

    emit(found, output, table)


@click.command("drift")
@tenant_option
@cluster_argument
@click.option("--fix", is_flag=True, help="Put it right: what is wanted is applied again.")
@click.option("--adopt", is_flag=True, help="Let the lab want what was changed by hand: settings in rendered files, limits of memory.")
@click.option("--diff", "differences", is_flag=True, help="Show how files differ.")
@timeout_option
@output_option
def show_drift(tenant: str | None, cluster: ClusterRef, fix: bool, adopt: bool, differences: bool, timeout: float, output: str) -> int:
    """What of CLUSTER was changed by hand, on its nodes or on the engine. Exit code 5 if something was, and was left."""
    from labcloud.apply.rollout import Pace
    from labcloud.apply.verbs import Terms

    if fix and adopt:
        raise UsageError("--fix and --adopt are opposites", resolution="give one of them")
    with session() as opened:
        with progress() as watch:
            verbs = opened.drifting(watch)
            found = verbs.find(cluster)
            adopted = verbs.adopt(cluster, Terms(timeout)) if adopt else []
        _tell_drift(found, adopted, output, differences=differences)
        if found and (fix or adopt):
            with progress() as watch:
                done = opened.configuring(watch).apply(cluster, Terms(timeout), Pace(), adopting=False)
            if output == "table":
                configuring.tell({cluster: done}, output)
        elif found:
            return 5
    return 0


def _tell_drift(found: list, adopted: list[str], output: str, *, differences: bool) -> None:  # type: ignore[type-arg]
    def table() -> None:
        if not found:
            note("all is as it is wanted")
            return
        print_table(("NODE", "KIND", "WHAT"), [(each.node, each.kind, each.what) for each in found])
        for each in found:
            if differences and each.difference:
                click.echo(f"\n{each.node}:\n{each.difference}", nl=False)
        for line in adopted:
            note(f"adopted: {line}")

    emit({"drift": found, "adopted": adopted}, output, table)


@click.command("resize")
@tenant_option
@cluster_argument
@click.option("--group", "-g", "group", metavar="G", help="All nodes of this group.")
@click.option("--node", "-n", "node", metavar="N", help="This node alone, as in worker-0.")
@click.option("--memory", metavar="M", help="Memory of each node, as in 4g.")
@click.option("--cpus", type=float, metavar="N", help="Cores of each node.")
@ignore_option
@timeout_option
@output_option
def resize_command(
    tenant: str | None, cluster: ClusterRef, group: str | None, node: str | None, memory: str | None, cpus: float | None,
    ignored: tuple[str, ...], timeout: float, output: str,
) -> None:  # fmt: skip
    """Give nodes of CLUSTER another size while they work.

    The limit changes live; heaps, YARN's memory and the size of containers follow from it; what cannot take that up is restarted, one node
    after the other.
    """
    from labcloud.apply.configuring import Size
    from labcloud.apply.verbs import Terms

    if (group is None) == (node is None):
        raise UsageError("say which nodes", resolution="give --group worker, or --node worker-0")
    if memory is None and cpus is None:
        raise UsageError("say which size", resolution="give --memory 4g, or --cpus 2")
    if group is not None and re.search("-[0-9]+$", group):
        raise UsageError(f"{cluster} has no group {group!r}", resolution=f"a node alone is --node {group}")
    if node is not None and not re.search("-[0-9]+$", node):
        raise UsageError(f"{cluster} has no node {node!r}", resolution=f"all nodes of a group are --group {node}")
    size = Size(parse_memory(memory) if memory is not None else None, cpus)
    with session() as opened:
        with progress() as watch:
            done = opened.configuring(watch).resize(cluster, group or node or "", size, Terms(timeout, ignored=reasons(ignored)))
        configuring.tell({cluster: done}, output)
