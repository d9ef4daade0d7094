"""snapshot create, list, restore, delete; reset."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from labcloud.cli.lifecycle import no_wait_option, timeout_option
from labcloud.cli.output import emit, note, output_option, print_table
from labcloud.cli.progress import progress
from labcloud.cli.request import ignore_option, reasons
from labcloud.cli.session import ClusterParam, Session, cluster_argument, session, tenant_option
from labcloud.errors import UsageError
from labcloud.model import ClusterRef, tenant_name
from labcloud.model.sizes import format_bytes
from labcloud.model.snapshot import SnapshotRef, snapshot_id

if TYPE_CHECKING:
    from labcloud.apply.watch import Watch
    from labcloud.protect.manifest import Manifest
    from labcloud.protect.snapshots import Snapshots, SnapshotView


@click.group("snapshot")
def snapshot_command() -> None:
    """Moments of clusters, on the storage that they lie on: taken while they work, in tenths of a second.

    They cost the room of what changes since, and go with their cluster; a backup (see `backup`) outlives it.
    """


@snapshot_command.command("create", short_help="Take a snapshot of a cluster that works.")
@tenant_option
@cluster_argument
@click.option("--title", default="", metavar="TEXT", help="What it is, for people.")
@timeout_option
@output_option
def create_snapshot(tenant: str | None, cluster: ClusterRef, title: str, timeout: float, output: str) -> None:
    """Take a snapshot of CLUSTER: HDFS and YARN's state, consistent with each other. Writers wait for a moment; jobs go on."""
    from labcloud.apply.verbs import Terms

    with session() as opened, progress() as watch:
        manifest = snapshots(opened, watch).take(cluster, Terms(timeout), title=title)
    _tell(manifest, output)


@snapshot_command.command("list", short_help="Snapshots of a cluster, or of all.")
@click.option("--tenant", metavar="T", is_eager=True, help="Only this tenant's; or the tenant, where CLUSTER is a bare name.")
@click.argument("cluster", type=ClusterParam(), required=False)
@output_option
def list_snapshots(tenant: str | None, cluster: ClusterRef | None, output: str) -> None:
    """Snapshots of CLUSTER, or of all clusters, the oldest first."""
    from labcloud.apply.watch import Watch

    with session() as opened:
        views = snapshots(opened, Watch()).list(cluster, tenant_name(tenant) if tenant and not cluster else None)
    emit(views, output, lambda: _table(views))


def _table(views: Sequence[SnapshotView]) -> None:
    if not views:
        note("there are no snapshots; take one: labcloud snapshot create CLUSTER")
        return
    rows = [
        (
            f"{each.tenant}/{each.name}",
            each.id,
            each.taken[:19].replace("T", " "),
            each.state,
            each.origin,
            format_bytes(each.bytes),
            each.title or each.why,
        )
        for each in views
    ]
    print_table(("CLUSTER", "SNAPSHOT", "TAKEN (UTC)", "STATE", "MADE", "HOLDS", "TITLE"), rows, right=(5,))


@snapshot_command.command("restore", short_help="Bring a snapshot back, in place or as a new cluster.")
@tenant_option
@click.argument("names", nargs=-1, required=True, metavar="CLUSTER ID")
@click.option("--to", "target", metavar="[TENANT/]NAME", help="As a new cluster of this name.  [default: in place]")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@ignore_option
@timeout_option
@no_wait_option
@output_option
def restore_snapshot(
    tenant: str | None,
    names: tuple[str, ...],
    target: str | None,
    yes: bool,
    ignored: tuple[str, ...],
    timeout: float,
    no_wait: bool,
    output: str,
) -> None:
    """Put CLUSTER back to where it was at the snapshot ID (or CLUSTER@ID), or make a new cluster of it.

    In place, what it has now is kept as a snapshot first. A new cluster has identities of its own: the two never mix.
    """
    from labcloud.apply.verbs import Terms
    from labcloud.protect.copies import Copying

    name = _name(names, tenant)
    ref = ClusterRef.parse(target if "/" in target else f"{name.cluster.tenant}/{target}") if target else name.cluster
    terms = Terms(timeout, wait=not no_wait, ignored=reasons(ignored))
    if ref == name.cluster and not yes and sys.stdin.isatty():
        click.confirm(f"Put {ref} back to {name.id}?", abort=True, err=True)
    with session() as opened, progress() as watch:
        verbs = snapshots(opened, watch)
        manifest = verbs.restore(name, terms) if ref == name.cluster else verbs.copy(name, Copying(ref), terms)
    emit({"tenant": ref.tenant, "name": ref.name, "snapshot": str(name)}, output, lambda: note(f"{ref} is as it was at {_when(manifest)}"))


@snapshot_command.command("delete", short_help="Delete snapshots.")
@tenant_option
@cluster_argument
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@timeout_option
@output_option
def delete_snapshot(tenant: str | None, cluster: ClusterRef, ids: tuple[str, ...], timeout: float, output: str) -> None:
    """Delete snapshots of CLUSTER."""
    from labcloud.apply.verbs import Terms

    wanted = [snapshot_id(id) for id in dict.fromkeys(ids)]
    with session() as opened, progress() as watch:
        snapshots(opened, watch).drop(cluster, wanted, Terms(timeout))
    emit(
        {"tenant": cluster.tenant, "name": cluster.name, "deleted": wanted},
        output,
        lambda: note(f"{len(wanted)} snapshots of {cluster} are deleted"),
    )


@click.command("reset")
@tenant_option
@cluster_argument
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@ignore_option
@timeout_option
@no_wait_option
@output_option
def reset_command(
    tenant: str | None, cluster: ClusterRef, yes: bool, ignored: tuple[str, ...], timeout: float, no_wait: bool, output: str
) -> None:
    """Put CLUSTER back to where it started: to its first snapshot, that was taken when it was made."""
    from labcloud.apply.verbs import Terms

    if not yes and sys.stdin.isatty():
        click.confirm(f"Put {cluster} back to where it started?", abort=True, err=True)
    with session() as opened, progress() as watch:
        verbs = snapshots(opened, watch)
        name = verbs.first(cluster)
        manifest = verbs.restore(name, Terms(timeout, wait=not no_wait, ignored=reasons(ignored)))
    emit(
        {"tenant": cluster.tenant, "name": cluster.name, "snapshot": str(name)},
        output,
        lambda: note(f"{cluster} is as it was at {_when(manifest)}"),
    )


def snapshots(opened: Session, watch: Watch) -> Snapshots:
    """The verbs of snapshots for a session."""
    from labcloud.protect.snapshots import Snapshots

    return Snapshots(opened.lab, opened.journal(), opened.provider, watch)


def _name(names: Sequence[str], tenant: str | None) -> SnapshotRef:
    """``CLUSTER ID`` or ``CLUSTER@ID``. Raise UsageError on anything else."""
    if len(names) > 2 or (len(names) == 1 and "@" not in names[0]):
        raise UsageError("say which snapshot of which cluster", resolution="as in: labcloud snapshot restore acme/lab 20261121t020000-1a2b")
    return SnapshotRef.parse("@".join(names), tenant)


def _when(manifest: Manifest) -> str:
    return f"{manifest.taken:%Y-%m-%d %H:%M:%S} UTC"


def _tell(manifest: Manifest, output: str) -> None:
    facts = {
        "tenant": manifest.ref.tenant, "name": manifest.ref.name, "id": manifest.id, "consistent": manifest.consistent, "why": manifest.why,
        "pause_seconds": round(manifest.pause, 3), "bytes": manifest.size, "files": manifest.files,
    }  # fmt: skip

    def said() -> None:
        note(f"snapshot {manifest.id} of {manifest.ref}: {format_bytes(manifest.size)}; writers waited for {manifest.pause:.1f} s at most")
        if not manifest.consistent:
            note(f"warning: it is not consistent ({manifest.why}), and cannot be brought back")
        else:
            note(f"next:  labcloud snapshot restore {manifest.ref} {manifest.id}")

    emit(facts, output, said)
