"""config show, config diff: what is configured, and why; what differs."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch
from typing import TYPE_CHECKING

import click

from labcloud.cli.output import emit, note, output_option, print_table, title
from labcloud.cli.session import Session, session, tenant_option
from labcloud.errors import NotFoundError, UsageError
from labcloud.model import ClusterRef, NodeRef

if TYPE_CHECKING:
    from labcloud.apply.comparing import FileDifference
    from labcloud.profiles.explaining import Explained


@click.command("show")
@tenant_option
@click.argument("cluster")
@click.argument("patterns", nargs=-1, metavar="[NAME]...")
@click.option("--node", metavar="N", help="This node, as in worker-0.  [default: the first of each group]")
@click.option("--explain", is_flag=True, help="Every layer, file and line that says something of it, the one that wins first.")
@output_option
def show_configuration(tenant: str | None, cluster: str, patterns: tuple[str, ...], node: str | None, explain: bool, output: str) -> None:
    """What nodes of CLUSTER are configured with: Hadoop settings, environment, files, packages; or only those NAMEs.

    \b
    labcloud config show acme/hadoop-2.7 dfs.replication --explain
    labcloud config show acme/hadoop-2.7 'yarn.nodemanager.*' --node worker-1
    """
    ref = ClusterRef.parse(cluster, tenant)
    with session() as opened:
        found = {name: [each for each in explained if _asked(each, patterns)] for name, explained in _explained(opened, ref, node).items()}
    if patterns and not any(found.values()):
        raise NotFoundError(f"nothing of {ref} is named {' or '.join(patterns)}", resolution=f"'labcloud config show {ref}' shows all")

    def table() -> None:
        for name, each in found.items():
            title(name)
            print_table(("NAME", "VALUE", "LAYER", "SAID IN"), list(_rows(each, explain=explain)))
            click.echo()

    emit(found, output, table)


def _explained(opened: Session, ref: ClusterRef, node: str | None) -> dict[str, list[Explained]]:
    from labcloud.profiles.explaining import Explaining

    cluster, profile, provider = opened.look().cluster(ref)
    if node is not None and node not in {each.name for each in cluster.nodes()}:
        raise NotFoundError(f"{ref} has no node {node!r}", resolution=f"its nodes: {', '.join(each.name for each in cluster.nodes())}")
    refs = [NodeRef.parse(ref, node)] if node else [NodeRef(ref, group.name, 0) for group in cluster.groups if group.count]
    lab = opened.lab
    explaining = Explaining(
        profile, cluster, lab.shared(ref.tenant), domain=provider.domain(ref.tenant), text=lambda path: lab.text(path) or ""
    )
    return {each.name: explaining.node(each) for each in refs}


def _asked(each: Explained, patterns: Sequence[str]) -> bool:
    short = each.name.partition(":")[2]
    return not patterns or any(fnmatch(each.name, pattern) or fnmatch(short, pattern) for pattern in patterns)


def _rows(found: Sequence[Explained], *, explain: bool) -> list[tuple[str, str, str, str]]:
    rows = []
    for each in found:
        for index, origin in enumerate(each.origins if explain else each.origins[:1]):
            name, value = (each.name, each.value) if index == 0 else ("", f"({origin.value})")
            rows.append((name, value, origin.layer, f"{_short(origin.source)}:{origin.line}"))
    return rows


def _short(source: str) -> str:
    """A file of the lab repository as it is named there; one of a profile by its folder."""
    return "/".join(source.split("/")[-2:]) if source.startswith("/") else source


@click.command("diff")
@tenant_option
@click.argument("first")
@click.argument("second", required=False)
@click.option("--node", metavar="N", help="This node alone.")
@output_option
def show_difference(tenant: str | None, first: str, second: str | None, node: str | None, output: str) -> None:
    """What differs in rendered configuration, file by file.

    \b
    labcloud config diff acme/one acme/two         of two clusters, group by group
    labcloud config diff HEAD~1..HEAD [CLUSTER]    of two revisions of the lab repository
    labcloud config diff acme/one                  what nodes have now, against what is wanted
    """
    with session() as opened:
        if ".." in first and "/" not in first:
            found = _of_revisions(opened, first, ClusterRef.parse(second, tenant) if second else None)
        elif second is not None:
            found = {"": _of_clusters(opened, ClusterRef.parse(first, tenant), ClusterRef.parse(second, tenant))}
        else:
            found = {"": _of_nodes(opened, ClusterRef.parse(first, tenant))}
    if node is not None:
        found = {name: [each for each in files if node in each.nodes] for name, files in found.items()}
    _tell(found, output)


def _tell(found: dict[str, list[FileDifference]], output: str) -> None:
    def table() -> None:
        if not any(found.values()):
            note("nothing differs")
        for name, files in found.items():
            if name and files:
                title(name)
            for each in files:
                title(f"==> {each.path}  ({', '.join(each.nodes)})")
                click.echo("".join(_coloured(line) for line in each.text.splitlines(keepends=True)))

    emit(found.get("", found), output, table)


def _coloured(line: str) -> str:
    colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[0])
    return click.style(line, fg=colour) if colour else line


def _of_revisions(opened: Session, text: str, only: ClusterRef | None) -> dict[str, list[FileDifference]]:
    from labcloud.apply.comparing import compare, rendered

    old, _, new = text.partition("..")
    if not old:
        raise UsageError(f"{text!r} does not say two revisions", resolution="write OLD..NEW, as in HEAD~1..HEAD")
    before, after = opened.lab.at(old), opened.lab.at(new or "HEAD")
    found = {}
    for ref in [only] if only else sorted({*before.refs(), *after.refs()}):
        cluster = after.cluster(ref) or before.cluster(ref)
        if cluster is None:
            raise NotFoundError(
                f"there is no cluster {ref} at {old} or {new or 'HEAD'}", resolution="'labcloud config log' lists revisions"
            )
        provider = opened.provider(cluster.provider)
        found[str(ref)] = compare(rendered(before, ref, provider), rendered(after, ref, provider), (old, new or "HEAD"))
    return found


def _of_clusters(opened: Session, first: ClusterRef, second: ClusterRef) -> list[FileDifference]:
    from labcloud.apply.comparing import compare, rendered
    from labcloud.profiles import by_group

    trees = []
    for ref in (first, second):
        cluster, _, provider = opened.look().cluster(ref)
        trees.append(by_group(rendered(opened.lab, cluster.ref, provider)))
    return compare(trees[0], trees[1], (str(first), str(second)))


def _of_nodes(opened: Session, ref: ClusterRef) -> list[FileDifference]:
    from labcloud.apply.comparing import compare, rendered

    _, _, provider = opened.look().cluster(ref)
    return compare(provider.config(ref), rendered(opened.lab, ref, provider), ("nodes", "wanted"))
