"""config log, rollback, edit; other subcommands have modules of their own, which are imported when they run."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Final

import click

from labcloud.cli.changing import Submitted, changed, locks, submit, tell
from labcloud.cli.configuring import apply_option, apply_to
from labcloud.cli.output import emit, note, output_option, print_table
from labcloud.cli.session import Session, session, tenant_option
from labcloud.errors import UsageError
from labcloud.lab import places
from labcloud.lab.history import SHORT, Change
from labcloud.model import ClusterRef, tenant_name
from labcloud.model.periods import stamp

# name → (module, function)
_ELSEWHERE: Final = {
    "show": ("config_show", "show_configuration"),
    "diff": ("config_show", "show_difference"),
    "set": ("config_set", "set_values"),
    "apply": ("config_apply", "apply_configuration"),
    "drift": ("config_apply", "show_drift"),
    "edit": ("config_edit", "edit_file"),
    "review": ("config_review", "review_proposals"),
    "approve": ("config_review", "approve_proposal"),
    "reject": ("config_review", "reject_proposal"),
    "withdraw": ("config_review", "withdraw_proposal"),
    "lock": ("config_locks", "lock_path"),
    "unlock": ("config_locks", "unlock_path"),
    "locks": ("config_locks", "list_locks"),
}


class ConfigCommands(click.Group):
    """Those of this module, and those by the table above."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *_ELSEWHERE]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        module, name = _ELSEWHERE[cmd_name]
        command: click.Command = getattr(importlib.import_module(f"labcloud.cli.{module}"), name)
        return command


@click.group("config", cls=ConfigCommands)
def config_command() -> None:
    """The configuration in the lab repository: its history, changes of it, and their review (docs/configuration-as-code.md)."""


@config_command.command("log")
@click.option("--tenant", metavar="T", is_eager=True, help="This tenant's file and those of its clusters; or CLUSTER's tenant.")
@click.argument("cluster", required=False)
@click.option("--path", "path", metavar="P", help="A file, or a folder, of the lab repository.")
@click.option("--limit", "-n", type=click.IntRange(1), default=20, show_default=True, help="At most so many.")
@output_option
def show_log(tenant: str | None, cluster: str | None, path: str | None, limit: int, output: str) -> None:
    """Who changed what, when and why, newest first: in the whole lab, or what concerns CLUSTER (its tenant's and the lab's, too)."""
    with session() as opened:
        changes = opened.lab.log(_asked(tenant, cluster, path), limit)

    def table() -> None:
        if not changes:
            note("nothing was changed")
            return
        rows = [(each.revision[:SHORT], stamp(each.when), each.author, each.title) for each in changes]
        print_table(("REVISION", "WHEN", "AUTHOR", "REASON"), rows)

    emit([_public(each) for each in changes], output, table)


def _asked(tenant: str | None, cluster: str | None, path: str | None) -> Sequence[str]:
    """The paths whose changes are meant; none for all."""
    if path is not None and (tenant is not None or cluster is not None):
        raise UsageError("--path and a cluster or a tenant are too much", resolution="give one of them")
    if path is not None:
        return [places.prefix(path)]
    if cluster is not None:
        return places.inputs(ClusterRef.parse(cluster, tenant))
    return [places.tenant_path(tenant), f"clusters/{tenant_name(tenant)}"] if tenant is not None else []


def _public(change: Change) -> dict[str, Any]:
    return {
        "revision": change.revision, "author": change.author, "mail": change.mail, "when": stamp(change.when), "reason": change.reason,
        "paths": list(change.paths),
    }  # fmt: skip


@config_command.command("rollback")
@tenant_option
@click.argument("cluster", required=False)
@click.argument("revision", required=False)
@click.option("--file", "file", metavar="PATH", help="A file of the lab repository, instead of a CLUSTER's.")
@click.option("--reason", metavar="TEXT", help="Why, for the log.")
@apply_option
@output_option
def roll_back(
    tenant: str | None, cluster: str | None, revision: str | None, *, file: str | None, reason: str | None, applying: bool, output: str
) -> None:
    """Take an older version of a file back: the one at REVISION, or the one before its last change.

    Of a CLUSTER's file its configuration is taken back; how many nodes it has, what they take, its state and its lease stay.

    \b
    labcloud config rollback acme/hadoop-2.7 --apply
    labcloud config rollback acme/hadoop-2.7 1a2b3c4 --reason 'the new heap was too small'
    labcloud config rollback --file tenants/acme.yaml
    """
    if file is not None and revision is not None:
        raise UsageError("a CLUSTER and --file are too much", resolution="give one of them")
    if file is None and cluster is None:
        raise UsageError("nothing is named to roll back", resolution="name a CLUSTER, or --file PATH")
    path = places.file_path(file) if file is not None else places.cluster_path(ClusterRef.parse(cluster or "", tenant))
    with session() as opened:
        done = _rolled_back(opened, path, cluster if file is not None else revision, reason or "")
        tell(done, output)
        if applying and done.revision:
            apply_to(opened, done.clusters)


def _rolled_back(opened: Session, path: str, said: str | None, reason: str) -> Submitted:
    lab = opened.lab
    fault = lab.fault(path)
    if fault:
        # What is in force does not change by this, so nobody has to approve it.
        locks(opened).check_free([path])
        with opened.journal().operation("config rollback", path, {"reason": reason}):
            mended = lab.restore([path], fault.good, reason or f"take back what broke {path}")
        if said is None:
            return changed(opened, [path], mended)
    revision = lab.previous(path) if said is None else lab.resolve(said)
    text = lab.older(path, revision)
    return submit(opened, "config rollback", {path: text}, reason or f"roll {path} back to {revision[:SHORT]}")
