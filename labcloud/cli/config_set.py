"""config set: single values of a cluster, a group, a node, a tenant, a binding or the lab's base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import click

from labcloud.cli import configuring
from labcloud.cli.changing import submit, tell
from labcloud.cli.config_apply import check_option, gray_option, patience_option, pause_option
from labcloud.cli.output import note, output_option
from labcloud.cli.request import pairs
from labcloud.cli.session import Session, session
from labcloud.errors import NotFoundError, UsageError
from labcloud.lab import places
from labcloud.lab.configurations import package, setting, variable
from labcloud.lab.edit import set_value
from labcloud.model import ClusterRef, NodeRef


@dataclass(frozen=True)
class Target:
    """A file of the lab repository, where in it a configuration stands, and the clusters that it says something to."""

    path: str
    place: tuple[str, ...]
    clusters: tuple[ClusterRef, ...]


@click.command("set")
@click.argument("words", nargs=-1, metavar="[CLUSTER] [FILE:NAME=VALUE]...")
@click.option("--tenant", metavar="T", help="CLUSTER's tenant; without CLUSTER: for all clusters of this tenant.")
@click.option("--group", metavar="G", help="For this group of CLUSTER.")
@click.option("--node", metavar="N", help="For this node of CLUSTER alone.")
@click.option("--binding", metavar="NAME", help="In bindings/NAME.yaml, which holds for the nodes that --where says.")
@click.option("--where", metavar="EXPR", help="For which nodes the binding holds, as in \"group == 'worker' and labels.disk == 'ssd'\".")
@click.option("--base", is_flag=True, help="For all clusters of the lab, below what profiles say.")
@click.option("--unset", multiple=True, metavar="FILE:NAME", help="Say nothing of this setting here any more.")
@click.option("--env", "environment", multiple=True, metavar="NAME=VALUE", help="A variable for services and shells; empty takes it away.")
@click.option("--package", "packages", multiple=True, metavar="P", help="A Debian package that nodes shall have, as in jq.")
@click.option("--reason", metavar="TEXT", help="Why, for the log.")
@click.option("--apply", "applying", is_flag=True, help="Let the nodes have it right away.")
@gray_option
@pause_option
@check_option
@patience_option
@output_option
def set_values(words: tuple[str, ...], applying: bool, reason: str | None, output: str, **options: object) -> None:
    """Change single settings in the lab repository; everything else in the file, and comments, stay.

    \b
    labcloud config set acme/hadoop-2.7 hdfs-site:dfs.replication=1 --apply
    labcloud config set acme/hadoop-2.7 --group worker --env HTTP_PROXY=http://proxy:3128
    labcloud config set --tenant acme yarn-site:yarn.log-aggregation-enable=true
    labcloud config set --binding ssd --where "labels.disk == 'ssd'" hdfs-site:dfs.datanode.max.transfer.threads=8192
    """
    pace = configuring.pace(options["gray"], options["pause"], options["check"], options["patience"])  # type: ignore[arg-type]
    clusters = [word for word in words if "=" not in word]
    values = pairs([word for word in words if "=" in word], "FILE:NAME=VALUE")
    with session() as opened:
        target = _target(opened, clusters, options)
        changes = _changes(values, options)
        if not changes and not options["packages"] and options["where"] is None:
            raise UsageError("nothing to set was named", resolution="write FILE:NAME=VALUE, as in hdfs-site:dfs.replication=1")
        _check(opened, target, {key: value for key, value in values.items() if ":" in key})
        done = submit(opened, "config set", {target.path: _text(opened, target, changes, options)}, reason or _reason(target, changes))
        tell(done, "table" if applying else output)
        if applying:
            configuring.apply_to(opened, done.clusters if done.revision else (), pace, output)


def _target(opened: Session, clusters: Sequence[str], options: Mapping[str, object]) -> Target:
    group, node, binding, tenant = (options[name] for name in ("group", "node", "binding", "tenant"))
    if len(clusters) > 1 or sum(bool(each) for each in (clusters or tenant, binding, options["base"])) != 1:
        raise UsageError("say one place to set it", resolution="a cluster, --tenant T, --binding NAME or --base")
    if ((group or node) and not clusters) or (group and node):
        raise UsageError("--group and --node are of one cluster, one of them", resolution="as in: config set acme/c --group worker …")
    if clusters:
        return _in_cluster(opened, ClusterRef.parse(clusters[0], str(tenant) if tenant else None), group, node)
    if binding or options["base"]:
        path = places.file_path(f"bindings/{binding}.yaml") if binding else places.BASE_SETTINGS
        return Target(path, (), tuple(opened.lab.refs()))
    if opened.lab.tenant(str(tenant)) is None:
        raise NotFoundError(f"there is no tenant {tenant}", resolution=f"make it: labcloud tenant create {tenant}")
    return Target(places.tenant_path(str(tenant)), (), tuple(opened.lab.refs(str(tenant))))


def _in_cluster(opened: Session, ref: ClusterRef, group: object, node: object) -> Target:
    cluster, _, _ = opened.look().cluster(ref)
    if group and group not in {each.name for each in cluster.groups}:
        known = ", ".join(each.name for each in cluster.groups)
        raise NotFoundError(f"{ref} has no group {group!r}", resolution=f"its groups: {known}")
    if node and NodeRef.parse(ref, str(node)) not in set(cluster.nodes()):
        raise NotFoundError(f"{ref} has no node {node!r}", resolution=f"'labcloud show {ref}' lists them")
    place = ("groups", str(group)) if group else ("nodes", str(node)) if node else ()
    return Target(places.cluster_path(ref), place, (ref,))


def _changes(values: Mapping[str, str], options: Mapping[str, object]) -> dict[tuple[str, str], str | None]:
    """``{(kind, name): value}``; None takes it away."""
    changes: dict[tuple[str, str], str | None] = {("settings", setting(key)): value for key, value in values.items()}
    changes |= {("settings", setting(key)): None for key in options["unset"]}  # type: ignore[attr-defined]
    for name, value in pairs(options["environment"], "NAME=VALUE").items():  # type: ignore[arg-type]
        changes["environment", variable(name)] = value or None
    return changes


def _text(opened: Session, target: Target, changes: Mapping[tuple[str, str], str | None], options: Mapping[str, object]) -> str:
    """The file's text with the changes."""
    text = opened.lab.text(target.path) or ""
    if options["where"] is not None:
        if not options["binding"]:
            raise UsageError("--where is for a binding", resolution="add --binding NAME")
        text = set_value(text, ("where",), options["where"] or None)
    for (kind, name), value in changes.items():
        base = target.path == places.BASE_SETTINGS
        if base and kind != "settings":
            raise UsageError("the base's environment is base/environment", resolution="labcloud config edit base/environment")
        text = set_value(text, (name,) if base else (*target.place, kind, name), value)
    new = [package(each) for each in options["packages"]]  # type: ignore[attr-defined]
    if new:
        text = _with_packages(text, target, new)
    return text


def _with_packages(text: str, target: Target, new: Sequence[str]) -> str:
    import yaml

    found = yaml.load(text or "{}", Loader=yaml.BaseLoader)  # noqa: S506 - every value is its text
    for step in target.place:
        entries = {each.get("name"): each for each in found} if isinstance(found, list) else found or {}
        found = entries.get(step, {})
    there = list((found or {}).get("packages", []))
    names = {each.partition("=")[0] for each in new}
    return set_value(text, (*target.place, "packages"), [*(each for each in there if each.partition("=")[0] not in names), *new])


def _check(opened: Session, target: Target, values: Mapping[str, str]) -> None:
    """Raise UsageError for a value that a version of those concerned cannot take; say what it does not know."""
    from labcloud.profiles import load
    from labcloud.profiles.rendering import user_settings
    from labcloud.profiles.settings import Level, check_settings

    profiles = {each.profile for ref in target.clusters if (each := opened.lab.cluster(ref))}
    for name in sorted(profiles):
        profile = load(name)
        known = {key: value for key, value in values.items() if target.place or profile.has_file_of(key) or len(profiles) == 1}
        user_settings(profile, known)
        for found in check_settings(profile, known):
            if found.level is Level.ERROR:
                raise UsageError(f"the setting {found.key}: {found.text}", resolution=found.resolution)
            note(f"note: {name}: {found}")


def _reason(target: Target, changes: Mapping[tuple[str, str], str | None]) -> str:
    return f"set {', '.join(name for _, name in changes) or 'packages'} in {target.path}"
