"""backup run, list, restore, verify, drill, prune."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from labcloud.cli.lifecycle import timeout_option
from labcloud.cli.output import emit, note, output_option, print_table
from labcloud.cli.progress import progress
from labcloud.cli.request import ignore_option, reasons
from labcloud.cli.session import ClusterParam, Session, cluster_argument, session, tenant_option
from labcloud.errors import EngineError, PartlyDoneError, UsageError
from labcloud.model import ClusterRef, parse_duration, tenant_name
from labcloud.model.sizes import format_bytes

if TYPE_CHECKING:
    from labcloud.apply.watch import Watch
    from labcloud.protect.listing import CopyView
    from labcloud.protect.nightly import Nightly
    from labcloud.protect.reports import Outcome

_SLICE = re.compile(r"([1-9][0-9]{0,3})/([1-9][0-9]{0,3})")

_at_option = click.option(
    "--at", default="latest", show_default=True, metavar="TIME|ID", help="The newest copy not after TIME (UTC), or the one with this ID."
)


@click.command("run", short_help="Back up clusters now; --all does what is due.")
@click.option("--tenant", metavar="T", is_eager=True, help="The tenant, where CLUSTER is a bare name.")
@click.argument("clusters", nargs=-1, metavar="[CLUSTER]...")
@click.option("--all", "every", is_flag=True, help="Every cluster that is due by its policy; drills and checks that are due as well.")
@click.option("--parallel", type=click.IntRange(1, 64), default=2, show_default=True, help="How many clusters at once.")
@click.option("--limit", default="2h", show_default=True, metavar="DURATION", help="How long one cluster may take.")
@click.option("--birth", is_flag=True, hidden=True, help="The first snapshot and backup of a new cluster.")
@output_option
def run_command(tenant: str | None, clusters: tuple[str, ...], every: bool, parallel: int, limit: str, birth: bool, output: str) -> None:
    """Back up clusters now, while they work; with --all, what cron or systemd runs every night (see `backup schedule`)."""
    from datetime import UTC, datetime

    from labcloud.protect.nightly import Bounds

    if every == bool(clusters):
        raise UsageError("say which clusters, or --all for those that are due", resolution="as in: labcloud backup run acme/lab")
    refs = [ClusterRef.parse(text, tenant) for text in dict.fromkeys(clusters)]
    bounds = Bounds(parallel, parse_duration(limit).total_seconds())
    with session() as opened, progress() as watch:
        verbs = nightly(opened, watch)
        warnings: list[str] = []
        if every:
            outcomes, warnings = verbs.night(datetime.now(UTC), bounds)
        else:
            outcomes = verbs.births(refs, bounds) if birth else verbs.run(refs, bounds)
    _print_outcomes(outcomes, output)
    for each in warnings:
        note(f"warning: {each}")
    failed = [each for each in outcomes if each.error]
    if failed and len(outcomes) == 1:
        ref = failed[0].ref
        raise EngineError(
            f"{ref} was not backed up: {failed[0].error}", resolution=f"look at: labcloud show {ref}; labcloud operation list"
        )
    if failed:
        names = ", ".join(str(each.ref) for each in failed)
        raise PartlyDoneError(f"{len(failed)} of {len(outcomes)} failed: {names}", resolution="the next run tries again")


def _print_outcomes(outcomes: Sequence[Outcome], output: str) -> None:
    from labcloud.protect.reports import public

    def table() -> None:
        if not outcomes:
            note("nothing is due")
            return
        rows = [
            (
                each.ref,
                each.did,
                each.copy_id or "-",
                "-" if each.bytes_added is None else format_bytes(each.bytes_added),
                format_bytes(each.bytes_total),
                f"{each.seconds:.1f} s",
                each.error or each.warning,
            )
            for each in outcomes
        ]
        print_table(("CLUSTER", "DONE", "COPY", "NEW", "OF", "TOOK", "NOTE"), rows, right=(3, 4, 5))

    emit([public(each) for each in outcomes], output, table)


def _said(outcome: Outcome) -> tuple[str, str]:
    return f"{outcome.seconds:.1f} s", outcome.error or outcome.warning


@click.command("list", short_help="Backups, and how each was proved.")
@click.option("--tenant", metavar="T", is_eager=True, help="Only this tenant's; or the tenant, where CLUSTER is a bare name.")
@click.argument("cluster", type=ClusterParam(), required=False)
@output_option
def list_command(tenant: str | None, cluster: ClusterRef | None, output: str) -> None:
    """Backups of CLUSTER, or of all clusters, deleted ones' as well: consistent? verified when? drilled when?"""
    from labcloud.apply.watch import Watch

    with session() as opened:
        views = nightly(opened, Watch()).copies(cluster, tenant_name(tenant) if tenant and not cluster else None)
    emit(views, output, lambda: _table(views))


def _table(views: Sequence[CopyView]) -> None:
    if not views:
        note("there are no backups; make one: labcloud backup run CLUSTER")
        return
    rows = [
        (
            f"{each.tenant}/{each.name}",
            each.id,
            _day(each.time),
            each.state,
            format_bytes(each.size),
            *_proved(each),
        )
        for each in views
    ]
    print_table(("CLUSTER", "COPY", "OF (UTC)", "STATE", "HOLDS", "VERIFIED", "DRILLED"), rows, right=(4,))


def _day(time: str) -> str:
    return time[:16].replace("T", " ")


def _proved(view: CopyView) -> tuple[str, str]:
    drilled = _day(view.drilled) + ("" if view.drill == "good" else f": {view.drill}") if view.drilled else "never"
    return _day(view.verified) or "never", drilled


@click.command("restore", short_help="Bring a cluster, a worker or a path back.")
@tenant_option
@cluster_argument
@_at_option
@click.option("--to", "target", metavar="[TENANT/]NAME", help="As a cluster of this name.  [default: its own, if that is free]")
@click.option("--replace", "replacing", is_flag=True, help="Let CLUSTER, which exists, be as it was; what it has is kept as a snapshot.")
@click.option("--node", metavar="N", help="Only this worker's data, as in worker-1.")
@click.option("--path", metavar="P", help="Only what HDFS had at this path: a file, or a folder with all that was in it.")
@click.option("--into", metavar="DIR", help="The folder in HDFS that --path is put into.  [default: /restored/COPY]")
@click.option("--from", "place", metavar="TARGET", help="Where backups lie, on a machine that knows nothing of them.")
@click.option(
    "--password-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="The password of the repository at --from."
)
@ignore_option
@timeout_option
@output_option
def restore_command(
    tenant: str | None,
    cluster: ClusterRef,
    at: str,
    target: str | None,
    replacing: bool,
    node: str | None,
    path: str | None,
    into: str | None,
    place: str | None,
    password_file: Path | None,
    ignored: tuple[str, ...],
    timeout: float,
    output: str,
) -> None:
    """Bring CLUSTER back from a backup: whole, one worker, or one path of HDFS. It goes to a new place; nothing is overwritten.

    On a new machine, --from TARGET --password-file FILE is all that it needs.
    """
    from labcloud.apply.verbs import Terms
    from labcloud.protect.restoring import From

    if sum(map(bool, (node, path, target or replacing))) > 1:
        raise UsageError("--node, --path and --to or --replace exclude each other", resolution="say one of them")
    if path is not None and not path.startswith("/"):
        raise UsageError(f"{path!r} is no path of HDFS", resolution=f"write it from the root, as in --path /user/{cluster.tenant}/{path}")
    to = ClusterRef.parse(target if "/" in target else f"{cluster.tenant}/{target}") if target else cluster
    terms = Terms(timeout, ignored=reasons(ignored))
    with session() as opened, progress() as watch:
        verbs = nightly(opened, watch)
        chosen = verbs.chosen(cluster, at, From(place or "", password_file))
        folder = into or f"/restored/{chosen.copy.short}"
        done = f"{to} is as it was at {chosen.copy.time:%Y-%m-%d %H:%M:%S} UTC"
        if path is not None:
            count = verbs.restore_path(chosen, path, folder, terms)
            done = f"{count} files of {path} are in {folder} of {cluster}"
        elif node is not None:
            verbs.restore_node(chosen, node, terms)
            done = f"{node} of {cluster} has the data that it had at {chosen.copy.time:%Y-%m-%d %H:%M:%S} UTC"
        else:
            verbs.restore_backup(chosen, to, terms, replacing=replacing)
    facts = {
        "tenant": to.tenant,
        "name": to.name,
        "copy": chosen.copy.short,
        "node": node or "",
        "path": path or "",
        "into": folder if path else "",
    }
    emit(facts, output, lambda: note(done))


@click.command("verify", short_help="Check repositories and their data.")
@click.option("--tenant", "tenants", metavar="T", multiple=True, help="Only these tenants' repositories.")
@click.option("--full", is_flag=True, help="Read all data, too.")
@click.option("--slice", "part", metavar="N/M", help="Read the Nth of M parts of the data, as in 1/7.")
@click.option("--mend", is_flag=True, help="Set damaged packs aside, so that the next backup stores their data again.")
@output_option
def verify_command(tenants: tuple[str, ...], full: bool, part: str | None, mend: bool, output: str) -> None:
    """Check repositories: that every copy has all that it needs; with --full or --slice, that its data is what was stored.

    restic stores what it believes to have already never again: what is damaged stays so in new copies as well, until --mend.
    """
    read = _read(full, part)
    with session() as opened, progress() as watch:
        verbs = nightly(opened, watch)
        names = [tenant_name(each) for each in tenants] or sorted({each.tenant for each in verbs.copies()})
        verdicts = {name: verbs.verify(name, read, mend=mend) for name in names}

    def table() -> None:
        for name, verdict in verdicts.items():
            note(f"{name}: {'all is well' if verdict.ok else 'DAMAGED'} ({verdict.seconds:.1f} s)")
            for line in verdict.problems[:10]:
                note(f"  {line}")
            if verdict.copies:
                note(f"  copies that may need what is damaged: {', '.join(each[:8] for each in verdict.copies)}")

    emit([{"tenant": name, **asdict(each)} for name, each in verdicts.items()], output, table)
    damaged = [name for name, each in verdicts.items() if not each.ok]
    if damaged:
        raise EngineError(
            f"backups of {', '.join(damaged)} are damaged",
            resolution="store what there still is of it by 'labcloud backup run'; copies that stay damaged can go: restic forget"
            if mend
            else "'labcloud backup list' shows which are not; look at the target's disk, then run the same command with --mend",
        )


def _read(full: bool, part: str | None) -> tuple[int, int] | Literal["all"] | None:
    if full and part:
        raise UsageError("--full reads all slices", resolution="leave out one of --full and --slice")
    if part is None:
        return "all" if full else None
    found = _SLICE.fullmatch(part)
    if not found or int(found[1]) > int(found[2]):
        raise UsageError(f"{part!r} is no part of the data", resolution="write it as in --slice 1/7")
    return int(found[1]), int(found[2])


@click.command("drill", short_help="Prove a backup by restoring it.")
@tenant_option
@cluster_argument
@_at_option
@timeout_option
@output_option
def drill_command(tenant: str | None, cluster: ClusterRef, at: str, timeout: float, output: str) -> None:
    """Prove a backup of CLUSTER: restore it into a cluster for a while, compare every file's checksum, run a job over it, delete it."""
    from labcloud.apply.verbs import Terms

    with session() as opened, progress() as watch:
        verbs = nightly(opened, watch)
        drill = verbs.drill(verbs.chosen(cluster, at), Terms(timeout))
    facts = {"tenant": cluster.tenant, "name": cluster.name} | {key: value for key, value in asdict(drill).items() if key != "ref"}

    def said() -> None:
        took = f"restored in {drill.restored:.1f} s, compared in {drill.compared:.1f} s, job {drill.worked:.1f} s"
        note(f"{drill.files} files, {format_bytes(drill.bytes)}: as they were; {took}")
        if drill.undescribed:
            note(f"not compared: {drill.undescribed}")
        note(
            f"the backup {drill.copy} of {cluster} is {drill.verdict}"
            if drill.good
            else f"the backup {drill.copy} of {cluster} is NOT good"
        )

    emit(facts, output, said)
    if not drill.good:
        what = f"the backup {drill.copy} of {cluster} did not prove good: {drill.verdict}"
        raise EngineError(what, resolution="make a new one: labcloud backup run; the journal has the details: labcloud operation list")


@click.command("prune", short_help="Let copies go that the policy keeps no longer.")
@click.option("--tenant", metavar="T", is_eager=True, help="All of this tenant's; or the tenant, where CLUSTER is a bare name.")
@click.argument("cluster", type=ClusterParam(), required=False)
@click.option("--dry-run", is_flag=True, help="Say which would go; remove nothing.")
@click.option("--yes", "-y", is_flag=True, help="Let rules that keep nothing remove every copy.")
@output_option
def prune_command(tenant: str | None, cluster: ClusterRef | None, dry_run: bool, yes: bool, output: str) -> None:
    """Let copies go that the policy keeps no longer, and remove their data."""
    owner = cluster.tenant if cluster else tenant_name(tenant) if tenant else None
    if owner is None:
        raise UsageError("say whose backups", resolution="name a CLUSTER, or --tenant T")
    with session() as opened, progress() as watch:
        done = nightly(opened, watch).prune(cluster, owner, confirmed=yes, dry_run=dry_run)
    gone, stay = [copy for each in done for copy in each.go], [copy for each in done for copy in each.stay]
    facts = {"tenant": owner, "removed": [each.short for each in gone], "kept": [each.short for each in stay], "dry_run": dry_run}
    emit(facts, output, lambda: note(f"{len(gone)} copies {'would go' if dry_run else 'are gone'}, {len(stay)} stay"))


def nightly(opened: Session, watch: Watch) -> Nightly:
    """The verbs of backups for a session."""
    from labcloud.protect.nightly import Nightly

    return Nightly(opened.lab, opened.journal(), opened.provider, watch)
