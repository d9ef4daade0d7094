"""dataset add, list, show, verify, remove, share, attach, detach, load: bytes that a lab holds once and that clusters read."""

from __future__ import annotations

import sys

import click

from labcloud.cli.output import emit, note, output_option, print_table, title
from labcloud.cli.progress import progress
from labcloud.cli.session import cluster_argument, session, tenant_option
from labcloud.errors import ConfigError, UsageError
from labcloud.model import ClusterRef, format_bytes, tenant_name
from labcloud.model.dataset import MOUNTED, NEWEST, dataset_name, parse_dataset

load_option = click.option("--load", is_flag=True, help="Put it into HDFS as well.")
to_option = click.option("--to", "target", metavar="PATH", default="", help="The folder in HDFS.  [default: /datasets/NAME]")


@click.group("dataset")
def dataset_command() -> None:
    """Shared datasets: imported once, checksummed, in versions; every cluster that asks sees them at /datasets/NAME, read-only."""


@dataset_command.command("add")
@click.argument("name")
@click.argument("source", metavar="PATH|URL")
@click.option("--sha256", metavar="HEX", default="", help="What the one file's checksum has to be.")
@click.option("--title", "text", metavar="T", help="What it is, for people.")
@click.option("--for", "tenants", metavar="TENANT", multiple=True, help="Who may have it; may be said again.  [default: everybody]")
@click.option("--storage", metavar="CLASS", help="The storage class that its bytes lie in.  [default: the lab's own folder]")
@click.option("--extract", is_flag=True, help="Take a tar or zip archive apart; it is kept as it is otherwise.")
@output_option
def add_dataset(
    name: str, source: str, sha256: str, text: str | None, tenants: tuple[str, ...], storage: str | None, extract: bool, output: str
) -> None:
    """Import a file, a folder, an archive or an http(s) address as the dataset NAME, or as its next version.

    The same content again makes no new version. What versions share is stored once. A broken-off import leaves nothing.
    """
    from labcloud.apply.dataset_views import view
    from labcloud.apply.datasets import Addition
    from labcloud.datasets.importing import Source
    from labcloud.lab.datasets import sha256 as checked

    asked = Source(source, checked(sha256.strip().lower()) if sha256 else "", extract)
    addition = Addition(dataset_name(name), asked, text, [tenant_name(each) for each in dict.fromkeys(tenants)], storage)
    with progress() as watch, session() as opened:
        added = opened.datasets(watch).add(addition)
        shown = view(opened.lab, name)
    number = added.version.number
    size = f"{added.version.files} file{'s' if added.version.files != 1 else ''}, {format_bytes(added.version.bytes)}"
    emit(
        {"name": name, "version": number, "new": added.new, "dataset": shown},
        output,
        lambda: note(
            f"{name} has version {number}: {size}; attach it: labcloud dataset attach {name} CLUSTER"
            if added.new
            else f"that is version {number} of {name} already ({size}); nothing had to be done"
        ),
    )


@dataset_command.command("list")
@output_option
def list_datasets(output: str) -> None:
    """All datasets, with the size of the newest version and who uses them."""
    from labcloud.apply.dataset_views import rows

    with session() as opened:
        found = rows(opened.lab)

    def table() -> None:
        if not found:
            note("no datasets; add one: labcloud dataset add NAME PATH")
            return
        lines = [
            (each.name, each.version, format_bytes(each.bytes), each.files, each.access, len(each.clusters), each.title) for each in found
        ]
        print_table(("DATASET", "VERSION", "SIZE", "FILES", "FOR", "CLUSTERS", "TITLE"), lines, right=(1, 2, 3, 5))

    emit(found, output, table)


@dataset_command.command("show")
@click.argument("name")
@output_option
def show_dataset(name: str, output: str) -> None:
    """One dataset: its versions, where they came from, who uses them, what they take together."""
    from labcloud.apply.dataset_views import view

    with session() as opened:
        shown = view(opened.lab, dataset_name(name))

    def table() -> None:
        title(f"{shown.name}  {shown.title}".rstrip())
        click.echo(f"for: {shown.access}")
        click.echo(f"stored: {format_bytes(shown.stored)}" + (f" in the storage class {shown.storage}" if shown.storage else ""))
        click.echo()
        lines = [
            (each.version, format_bytes(each.bytes), each.files, each.added, ", ".join(each.clusters) or "-", each.source)
            for each in shown.versions
        ]
        print_table(("VERSION", "SIZE", "FILES", "ADDED", "USED BY", "SOURCE"), lines, right=(0, 1, 2))

    emit(shown, output, table)


@dataset_command.command("verify")
@click.argument("names", nargs=-1)
@output_option
def verify_datasets(names: tuple[str, ...], output: str) -> None:
    """Read every byte of datasets again, of all if none is named. Exit code 3 if a file changed, is missing or is too many."""
    with progress() as watch, session() as opened:
        results = opened.datasets(watch).verify([dataset_name(each) for each in names])

    def table() -> None:
        lines = [(each.name, each.version, each.files, "fail" if each.damage or each.problem else "pass") for each in results]
        print_table(("DATASET", "VERSION", "FILES", "RESULT"), lines, right=(1, 2))

    emit(results, output, table)
    bad = [each for each in results if each.damage or each.problem]
    if bad:
        first = bad[0]
        raise ConfigError(
            f"{len(bad)} of {len(results)} versions are damaged: {', '.join(f'{each.name} {each.version}' for each in bad)}",
            details="\n".join(f"{each.name} {each.version}: {line}" for each in bad for line in each.damage.lines() or [each.problem]),
            resolution=f"restore these files from a backup, or, when no cluster uses it: labcloud dataset remove {first.name} "
            f"--version {first.version}, and add it again",
        )


@dataset_command.command("remove")
@click.argument("name")
@click.option("--version", "number", type=click.IntRange(1), metavar="N", help="Only this version.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@output_option
def remove_dataset(name: str, number: int | None, yes: bool, output: str) -> None:
    """Remove the dataset NAME, or one version of it. What a cluster uses stays.

    On a terminal it asks first.
    """
    what = f"version {number} of the dataset {dataset_name(name)}" if number else f"the dataset {dataset_name(name)}"
    if not yes and sys.stdin.isatty():
        click.confirm(f"Remove {what}?", abort=True, err=True)
    with progress() as watch, session() as opened:
        gone = opened.datasets(watch).remove(name, number or NEWEST)
    emit({"name": name, "removed": gone}, output, lambda: note(f"{what} is removed"))


@dataset_command.command("share")
@click.argument("name")
@click.option("--for", "tenants", metavar="TENANT", multiple=True, help="Who may have it, beside those that may.")
@click.option("--not-for", "withdrawn", metavar="TENANT", multiple=True, help="Who may have it no longer.")
@click.option("--public", is_flag=True, help="Everybody may have it.")
@output_option
def share_dataset(name: str, tenants: tuple[str, ...], withdrawn: tuple[str, ...], public: bool, output: str) -> None:
    """Say who may have the dataset NAME. `--for` on a public one makes it theirs alone."""
    from labcloud.apply.dataset_views import access_of

    if public == bool(tenants or withdrawn):
        raise UsageError("say who may have it: --for TENANT, --not-for TENANT, or --public", resolution="give either tenants or --public")
    with progress() as watch, session() as opened:
        names = [[tenant_name(each) for each in dict.fromkeys(group)] for group in (tenants, withdrawn)]
        shared = opened.datasets(watch).share(dataset_name(name), tenants=names[0], withdrawn=names[1], public=public)
    access = access_of(shared)
    emit({"name": name, "access": access}, output, lambda: note(f"{name} is for {'everybody' if public else access}"))


@dataset_command.command("attach")
@tenant_option
@click.argument("dataset", metavar="NAME[@VERSION]")
@cluster_argument
@load_option
@to_option
@output_option
def attach_dataset(tenant: str | None, dataset: str, cluster: ClusterRef, load: bool, target: str, output: str) -> None:
    """Let all nodes of CLUSTER see a dataset at /datasets/NAME, at once, without a restart."""
    name, number = parse_dataset(dataset)
    if target and not load:
        raise UsageError("--to says where --load puts it", resolution="add --load, or leave out --to")
    with progress() as watch, session() as opened:
        verbs = opened.datasets(watch)
        attached = verbs.attach(name, number, cluster)
        newest = verbs.known(name).newest.number
        loaded = verbs.load(name, cluster, target) if load else None
    result = {"tenant": cluster.tenant, "name": cluster.name, "dataset": name, "version": attached.version, "changed": attached.changed}

    def tell() -> None:
        if attached.changed:
            note(f"{cluster} sees version {attached.version} of {name} at {MOUNTED}/{name}")
            return
        newer = f"; version {newest} is there: labcloud dataset attach {name}@{newest} {cluster}" if newest > attached.version else ""
        note(f"{cluster} has version {attached.version} of {name} already; nothing had to be done{newer}")

    emit(result | ({"loaded": loaded} if loaded else {}), output, tell)


@dataset_command.command("detach")
@tenant_option
@click.argument("name")
@cluster_argument
@output_option
def detach_dataset(tenant: str | None, name: str, cluster: ClusterRef, output: str) -> None:
    """Let the nodes of CLUSTER see the dataset NAME no longer. What was loaded into HDFS stays there."""
    with progress() as watch, session() as opened:
        changed = opened.datasets(watch).detach(dataset_name(name), cluster)
    said = f"{cluster} sees {name} no longer" if changed else f"{name} is not attached to {cluster}; nothing had to be done"
    emit({"tenant": cluster.tenant, "name": cluster.name, "dataset": name, "changed": changed}, output, lambda: note(said))


@dataset_command.command("load")
@tenant_option
@click.argument("name")
@cluster_argument
@to_option
@output_option
def load_dataset(tenant: str | None, name: str, cluster: ClusterRef, target: str, output: str) -> None:
    """Put an attached dataset into the HDFS of CLUSTER, as the tenant's user. Files that are there in the same size are left alone."""
    with progress() as watch, session() as opened:
        loaded = opened.datasets(watch).load(dataset_name(name), cluster, target)
    said = f"{loaded.path} of {cluster} has all of {name}: {loaded.files} files written, {loaded.skipped} were there"
    emit(loaded, output, lambda: note(said))
