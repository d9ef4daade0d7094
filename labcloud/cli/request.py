"""The options that say which cluster somebody wants: those of `create`, which `preflight` takes as well."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from labcloud.cli.output import note
from labcloud.errors import UsageError
from labcloud.model import ClusterRef, cluster_name, parse_gigabytes, parse_memory, tenant_name
from labcloud.model.protection import BackupTerms, over
from labcloud.model.shape import GroupShape, parse_shapes

if TYPE_CHECKING:
    from labcloud.apply.requests import CreateRequest
    from labcloud.lab.drafts import Draft
    from labcloud.model import Lease
    from labcloud.protect.copies import Copying

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--name", metavar="N", help="The cluster's name.  [default: the profile's]"),
    click.option("--provider", metavar="P", help="The engine that nodes are made on.  [default: the tenant's, or docker]"),
    click.option("--workers", type=int, metavar="N", help="How many workers.  [default: the tenant's, or the profile's]"),
    click.option("--memory", metavar="M", help="Memory of each node, as in 2g.  [default: the tenant's, or the profile's]"),
    click.option("--cpus", type=float, metavar="N", help="Cores of each node.  [default: the tenant's, or the profile's]"),
    click.option("--volume-size", metavar="G", help="Size of each data volume, as in 20g.  [default: the tenant's, or the profile's]"),
    click.option(
        "--group",
        "groups",
        multiple=True,
        metavar="NAME:KEY=VALUE,...",
        help="What one group has of its own: count, memory, cpus, volumes (2, or 2x20g@fast+1x100g@bulk), volume-size, storage.",
    ),
    click.option("--file", "file", metavar="FILE", help="What is wanted, as YAML with the keys of a cluster's file; options go before it."),
    click.option("--lease", metavar="D", help="For how long it is wanted, as in 8h or 2d.  [default: the tenant's, or for ever]"),
    click.option(
        "--then", type=click.Choice(["stop", "delete"]), default="stop", show_default=True, help="What becomes of it after its lease."
    ),
    click.option("--set", "settings", multiple=True, metavar="FILE:KEY=VALUE", help="A Hadoop setting, as in hdfs-site:dfs.replication=2."),
    click.option("--dataset", "datasets", multiple=True, metavar="D[@V]", help="A shared dataset, or a version of it, for all nodes."),
    click.option("--backup/--no-backup", default=None, help="Whether it is backed up.  [default: the tenant's, or the lab's policy]"),
    click.option("--publish", multiple=True, metavar="SERVICE=PORT", help="A fixed port on 127.0.0.1 for a user interface."),
)


def request_options(command: Decorated) -> Decorated:
    """Give a command the options that `requests` reads."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


ignore_option = click.option(
    "--ignore", "ignored", multiple=True, metavar="ID=REASON", help="Pass over a preflight check that fails; the journal keeps the reason."
)


def requests(profile: str | None, tenants: Sequence[str], options: dict[str, Any]) -> list[CreateRequest]:
    """What is asked for, for each tenant. Raise UsageError for what cannot be, ConfigError for what is wrong in a file."""
    from labcloud.apply.requests import CreateRequest

    draft = _draft(options["file"])
    profile = draft.profile if profile is None and draft else profile
    if profile is None:
        raise UsageError(
            "nothing says which profile is wanted", resolution="name a PROFILE, or let --file say it; see 'labcloud profile list'"
        )
    memory, volume_size = options["memory"], options["volume_size"]
    asked = [
        CreateRequest(
            ref=ClusterRef(tenant_name(tenant), _name(options["name"], profile)),
            profile=profile,
            provider=options["provider"],
            workers=options["workers"],
            memory=parse_memory(memory) if memory is not None else None,
            cpus=options["cpus"],
            volume_size=parse_gigabytes(volume_size) if volume_size is not None else None,
            lease=_lease(options["lease"], options["then"]),
            settings=pairs(options["settings"], "FILE:KEY=VALUE"),
            datasets=_datasets(options["datasets"]),
            publish={service: _port(port) for service, port in pairs(options["publish"], "SERVICE=PORT").items()},
            groups=parse_shapes(options["groups"]),
            backup=BackupTerms(enabled=options["backup"]),
        )
        for tenant in dict.fromkeys(tenants)
    ]
    return [_drafted(each, draft) for each in asked] if draft else asked


_OF_COPIES: Final = ("name", "memory", "cpus", "lease", "then")


def copies(source: ClusterRef, profile: str | None, tenants: Sequence[str], options: dict[str, Any]) -> list[Copying]:
    """The copies that are asked for, one for each tenant. Raise UsageError for an option that the snapshot says already."""
    from labcloud.protect.copies import Copying

    other = ["PROFILE"] if profile is not None else []
    said = (name for name, value in options.items() if value not in (None, (), False) and name not in _OF_COPIES)
    other += [f"--{name.replace('_', '-')}" for name in said]
    if other:
        raise UsageError(
            f"a snapshot says already what {other[0]} would", resolution=f"leave it out; to change: {', '.join(_OF_COPIES[:4])}"
        )
    memory = parse_memory(options["memory"]) if options["memory"] is not None else None
    name = cluster_name(options["name"]) if options["name"] is not None else source.name
    lease = _lease(options["lease"], options["then"])
    return [Copying(ClusterRef(tenant_name(each), name), memory, options["cpus"], lease) for each in dict.fromkeys(tenants)]


def _draft(file: str | None) -> Draft | None:
    if file is None:
        return None
    from datetime import UTC, datetime

    from labcloud.lab.drafts import load_draft

    return load_draft(Path(file), datetime.now(UTC))


def _drafted(request: CreateRequest, draft: Draft) -> CreateRequest:
    """``request``, and what the file says of all that it does not; an option for all groups goes before the file, too."""
    options = GroupShape(request.workers, request.memory, request.cpus, volume_size=request.volume_size)
    groups = {
        name: replace(options.over(shape), count=None if request.workers is not None else shape.count)
        for name, shape in draft.groups.items()
    }
    return replace(
        request,
        provider=request.provider or draft.provider,
        groups={name: request.groups.get(name, GroupShape()).over(groups.get(name, GroupShape())) for name in {**groups, **request.groups}},
        settings={**draft.settings, **request.settings},
        publish={**draft.publish, **request.publish},
        datasets={**draft.datasets, **request.datasets},
        lease=request.lease or draft.lease,
        backup=over(request.backup, draft.backup),
    )


def reasons(ignored: Sequence[str]) -> dict[str, str]:
    """The reasons of ``--ignore``, by check. Raise UsageError for one without a reason."""
    found = pairs(ignored, "ID=REASON")
    for id, reason in found.items():
        if not reason.strip():
            raise UsageError(f"--ignore {id} gives no reason", resolution=f"say why, as in --ignore {id}='a small test machine'")
    return found


def tell_of_settings(asked: Sequence[CreateRequest]) -> None:
    """Say on standard error which settings will have no effect, or lose their name. What is wrong is refused elsewhere."""
    if not any(each.settings for each in asked):
        return
    from labcloud.profiles import load
    from labcloud.profiles.settings import Level, check_settings

    settings = {key: value for each in asked for key, value in each.settings.items()}
    for found in check_settings(load(asked[0].profile), settings):
        if found.level is Level.WARNING:
            note(f"note: {found}")


def pairs(texts: Sequence[str], form: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"{text!r} is not of the form {form}", resolution=f"write {form}")
        pairs[key] = value
    return pairs


def _lease(text: str | None, then: str) -> Lease | None:
    if text is None:
        return None
    from datetime import UTC, datetime

    from labcloud.model import AtEnd, parse_duration
    from labcloud.model.leases import lease_for

    return lease_for(parse_duration(text), datetime.now(UTC), AtEnd(then))


def _datasets(texts: Sequence[str]) -> dict[str, int]:
    """Numbers of versions by name. Raise UsageError for a dataset that is named twice."""
    from labcloud.model.dataset import parse_dataset

    found: dict[str, int] = {}
    for name, number in map(parse_dataset, texts):
        if name in found:
            raise UsageError(f"--dataset names {name} twice", resolution="a cluster sees one version of a dataset: name it once")
        found[name] = number
    return found


def _name(name: str | None, profile: str) -> str:
    """The cluster's name: what was said, or the profile's."""
    if name is not None:
        return cluster_name(name)
    try:
        return cluster_name(profile)
    except UsageError:
        from labcloud.profiles import load

        load(profile)  # what cannot name a cluster names no profile either: that is the better sentence
        raise


def _port(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text):
        raise UsageError(f"{text!r} is not a port", resolution="give a number from 1 to 65535")
    return int(text)
