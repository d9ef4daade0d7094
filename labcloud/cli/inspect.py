"""list, show, ui: what there is."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

from labcloud.cli.output import emit, note, output_option, print_table, title
from labcloud.cli.session import Session, cluster_argument, session, tenant_option
from labcloud.model import ClusterRef, format_memory, tenant_name
from labcloud.model.durations import format_duration

if TYPE_CHECKING:
    from labcloud.apply.look import ClusterView, Ends, Protection, Summary


_CLUSTERS_AT_ONCE: Final = 16


@click.command("list")
@click.option("--tenant", metavar="T", help="Only this tenant's.")
@output_option
def list_command(tenant: str | None, output: str) -> None:
    """All clusters, with what the engine says of them."""
    with session() as opened:
        rows = _protected(opened, opened.look().list(tenant if tenant is None else tenant_name(tenant)))

    def table() -> None:
        if not rows:
            click.echo("no clusters; make one: labcloud create hadoop-2.7 --tenant T", err=True)
            return
        leased = any(row.lease for row in rows)
        headings = ("CLUSTER", "PROFILE", "PROVIDER", "NODES", "MEMORY", "STATUS", "BACKUP", *(("LEASE",) if leased else ()))
        print_table(headings, [_row(row)[: len(headings)] for row in rows], right=(3, 4))

    emit(rows, output, table)


def _row(row: Summary) -> tuple[str, ...]:
    return (
        f"{row.tenant}/{row.name}",
        row.profile,
        row.provider,
        f"{row.running}/{row.declared}",
        format_memory(row.memory),
        row.status,
        _backup(row.backup),
        row.lease.left if row.lease else "-",
    )


def _backup(backup: Protection | None) -> str:
    """Of when the newest good backup is, and whether the next is overdue; ``off`` and ``none`` for those without."""
    if backup is None:
        return "-"
    if not backup.last:
        return "none" if backup.enabled else "off"
    age = format_duration(datetime.now(UTC) - datetime.fromisoformat(backup.last))
    return f"{age} ago" + (", LATE" if backup.late else "" if backup.enabled else ", off")


def _protected(opened: Session, rows: Sequence[Summary]) -> list[Summary]:
    if not rows:
        return []
    from labcloud.protect.standing import protections

    refs = {(row.tenant, row.name): ClusterRef(row.tenant, row.name) for row in rows}
    known = protections(opened.lab, opened.journal(), refs.values(), datetime.now(UTC))
    return [replace(row, backup=known.get(refs[row.tenant, row.name])) for row in rows]


@click.command("show")
@tenant_option
@cluster_argument
@output_option
def show_command(tenant: str | None, cluster: ClusterRef, output: str) -> None:
    """One cluster: its nodes, the true state of each service, the user interfaces."""
    with session() as opened:
        show_clusters(opened, [cluster], output)


def show_clusters(opened: Session, refs: Sequence[ClusterRef], output: str, *, created: bool = False) -> None:
    """Print clusters as ``show`` does; ``created`` adds what to do next. JSON is one object for one cluster, a list for several."""
    look = opened.look()
    with ThreadPoolExecutor(min(len(refs), _CLUSTERS_AT_ONCE)) as pool:
        views = list(pool.map(look.show, refs))

    def table() -> None:
        for view in views:
            _print_view(view)
        if created and len(views) == 1:
            _print_next(views[0])

    emit(public_view(views[0]) if len(views) == 1 else [public_view(view) for view in views], output, table)


def public_view(view: ClusterView) -> dict[str, object]:
    keys = ("tenant", "name", "profile", "provider", "status", "lease", "datasets", "nodes", "endpoints")
    return {key: getattr(view, key) for key in keys}


def _print_view(view: ClusterView) -> None:
    title(f"{view.tenant}/{view.name}  {view.profile} on {view.provider}")
    colour = "green" if view.status == "ready" else "yellow"
    click.echo("status: " + click.style(view.status, fg=colour, bold=True))
    if view.lease:
        click.echo(f"lease: {_ends(view.lease)}")
    if view.datasets:
        click.echo("datasets: " + ", ".join(f"/datasets/{name} (version {number})" for name, number in sorted(view.datasets.items())))
    rows = [
        (node.name, node.address or "-", format_memory(node.memory), node.status, service.name, service.status)
        if index == 0
        else ("", "", "", "", service.name, service.status)
        for node in view.nodes
        for index, service in enumerate(node.services)
    ]
    rows += [(node.name, node.address or "-", format_memory(node.memory), node.status, "", "") for node in view.nodes if not node.services]
    click.echo()
    print_table(("NODE", "ADDRESS", "MEMORY", "STATUS", "SERVICE", "STATE"), rows)
    if view.endpoints:
        click.echo()
        print_table(("USER INTERFACE", "ADDRESS"), list(view.endpoints.items()))


def _ends(lease: Ends) -> str:
    when = f"over since {lease.until}" if lease.left == "over" else f"ends at {lease.until} ({lease.left} left)"
    return f"{when}, then {lease.then}"


def _print_next(view: ClusterView) -> None:
    ref = f"{view.tenant}/{view.name}"
    click.echo(f"\nnext:  labcloud shell {ref}\n       labcloud submit {ref} examples pi 4 100\n       labcloud delete {ref}")


@click.command("ui")
@tenant_option
@cluster_argument
@click.option(
    "--hosts", is_flag=True, help="Print lines for /etc/hosts, so that every link in the pages and any HDFS client work from here."
)
@output_option
def ui_command(tenant: str | None, cluster: ClusterRef, hosts: bool, output: str) -> None:
    """Addresses of the user interfaces of CLUSTER, on this machine only.

    Nodes that are reached over ssh alone have theirs here for as long as this command runs.
    """

    def addresses(found: Mapping[str, str]) -> None:
        emit(found, output, lambda: print_table(("USER INTERFACE", "ADDRESS"), list(found.items())))

    with session() as opened:
        view = opened.look().show(cluster)
        if hosts:
            emit(view.hosts, output, lambda: click.echo("\n".join(f"{address}\t{name}" for name, address in view.hosts.items())))
        elif view.endpoints:
            addresses(view.endpoints)
        else:
            with opened.look().forwarded(cluster) as found:
                addresses(found)
                if found:
                    sys.stdout.flush()
                    note("they lead there until you press Ctrl-C")
                    with suppress(KeyboardInterrupt):
                        threading.Event().wait()
