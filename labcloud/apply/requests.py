"""What somebody asks for, made into a wanted cluster, or refused in one sentence before anything is made. Pure but for chance."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Final

from labcloud.errors import ConflictError, UsageError
from labcloud.model import Cluster, ClusterRef, Configuration, Lease, NodeGroup, Wanted, format_memory
from labcloud.model.dataset import NEWEST
from labcloud.model.protection import NO_TERMS, BackupTerms, said
from labcloud.model.shape import GroupShape
from labcloud.model.storage import format_volumes
from labcloud.profiles import Profile, sizing
from labcloud.profiles.rendering import user_settings
from labcloud.profiles.settings import Level, check_settings

_LEAST_CPUS: Final = 0.1
_MOST_CPUS: Final = 512.0
_DEFAULT_PROVIDER: Final = "docker"


@dataclass(frozen=True)
class CreateRequest:
    """The options of ``create``. None stands for the profile's default; ``memory`` is MiB a node, ``volume_size`` GiB a volume,
    ``datasets`` are numbers of versions by name, `NEWEST` for the newest, ``backup`` what the cluster says of how it is protected.

    What ``groups`` say of some of them goes before what is said of all.
    """

    ref: ClusterRef
    profile: str
    provider: str | None = None
    workers: int | None = None
    memory: int | None = None
    cpus: float | None = None
    volume_size: int | None = None
    lease: Lease | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    publish: Mapping[str, int] = field(default_factory=dict)
    groups: Mapping[str, GroupShape] = field(default_factory=dict)
    datasets: Mapping[str, int] = field(default_factory=dict)
    backup: BackupTerms = NO_TERMS


def provider_of(request: CreateRequest) -> str:
    return request.provider or _DEFAULT_PROVIDER


def declared(request: CreateRequest, profile: Profile, *, user_id: int, sized: bool = True) -> Cluster:
    """The cluster that ``request`` describes, without an image. Raise UsageError for what cannot be.

    Nodes that are too small, and settings with values of the wrong kind, are let pass where ``sized`` is false.
    """
    _check_published(request, profile)
    _check_groups(request, profile)
    groups = tuple(_group(name, request, profile) for name in profile.groups)
    asked = Cluster(
        ref=request.ref,
        profile=profile.name,
        provider=provider_of(request),
        id=secrets.token_hex(16),
        image="",
        groups=groups,
        configuration=Configuration(settings=dict(request.settings)),
        publish=dict(request.publish),
        user_id=user_id,
        lease=request.lease,
        datasets=dict(request.datasets),
        backup=request.backup,
    )
    if sized:
        sizing(profile, asked)
    user_settings(profile, asked.configuration.settings)
    if sized and asked.configuration.settings:
        _check_settings(profile, asked.configuration.settings)
    return asked


def _check_settings(profile: Profile, settings: Mapping[str, str]) -> None:
    wrong = [each for each in check_settings(profile, settings) if each.level is Level.ERROR]
    if wrong:
        first, *others = wrong
        raise UsageError(f"the setting {first.key}: {first.text}", details="\n".join(map(str, others)), resolution=first.resolution)


def _group(name: str, request: CreateRequest, profile: Profile) -> NodeGroup:
    default, shape = profile.groups[name], _shape(name, request)
    count = workers(shape.count, name, profile) if default.scalable and shape.count is not None else default.count
    cpus = default.cpus if shape.cpus is None else cores(shape.cpus)
    memory = default.memory if shape.memory is None else shape.memory
    return NodeGroup(name, count, memory, cpus, shape.data_volumes(default.data_volumes))


def cores(cpus: float) -> float:
    """``cpus`` if a node may have so many; raise UsageError otherwise."""
    if not _LEAST_CPUS <= cpus <= _MOST_CPUS:
        raise UsageError(f"a node cannot have {cpus:g} cores", resolution=f"give it {_LEAST_CPUS:g} to {_MOST_CPUS:g}")
    return cpus


def _shape(name: str, request: CreateRequest) -> GroupShape:
    """All that ``request`` says of a group."""
    everywhere = GroupShape(request.workers, request.memory, request.cpus, volume_size=request.volume_size)
    return request.groups.get(name, GroupShape()).over(everywhere)


def _check_groups(request: CreateRequest, profile: Profile) -> None:
    for name, shape in request.groups.items():
        if name not in profile.groups:
            near = get_close_matches(name, profile.groups, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}? " if near else ""
            raise UsageError(f"{profile.name} has no node group {name!r}", resolution=f"{hint}its groups are {', '.join(profile.groups)}")
        default = profile.groups[name]
        if not default.scalable and shape.count not in (None, default.count):
            scalable = ", ".join(each.name for each in profile.groups.values() if each.scalable)
            raise UsageError(
                f"{profile.name} always has {default.count} {name}, not {shape.count}",
                resolution=f"groups whose number may be chosen: {scalable or 'none'}",
            )


def workers(count: int, group: str, profile: Profile) -> int:
    """``count`` if the group may have so many nodes; raise UsageError otherwise."""
    least, most = profile.groups[group].minimum, profile.groups[group].maximum
    if not least <= count <= most:
        raise UsageError(f"{profile.name} cannot have {count} {group}s", resolution=f"ask for {least} to {most}")
    return count


def _check_published(request: CreateRequest, profile: Profile) -> None:
    known = sorted(name for name, service in profile.services.items() if service.ui and not profile.groups[service.group].scalable)
    for service, port in request.publish.items():
        if service not in known:
            raise UsageError(f"{service!r} has no user interface to publish", resolution=f"known are {', '.join(known)}")
        if not 1 <= port <= 65535:
            raise UsageError(f"{port} is not a port", resolution="give 1 to 65535")


def agree(request: CreateRequest, asked: Cluster, there: Cluster) -> Cluster:
    """The wanted cluster for a repeated create: ``there``, running.

    Raise ConflictError if what ``request`` says, which ``asked`` is made of, describes another one; what it does not say agrees.
    """
    differences = _differences(request, asked, there)
    if differences:
        raise ConflictError(
            f"the cluster {there.ref} exists already, and is wanted differently: {'; '.join(differences)}",
            resolution=f"see 'labcloud scale {there.ref}', or give the new one another --name, or first: labcloud delete {there.ref}",
        )
    return replace(there, state=Wanted.RUNNING)


def _differences(request: CreateRequest, asked: Cluster, there: Cluster) -> list[str]:
    whole = (
        ("profile", request.profile, there.profile, asked.profile),
        ("provider", request.provider, there.provider, asked.provider),
        ("settings", request.settings, there.configuration.settings, asked.configuration.settings),
        ("publish", request.publish, there.publish, asked.publish),
    )
    found = [f"{name} is {_said(before)}, not {_said(after)}" for name, said, before, after in whole if said and before != after]
    if any(number not in (NEWEST, there.datasets.get(name, NEWEST - 1)) for name, number in request.datasets.items()) or (
        request.datasets.keys() - there.datasets.keys()
    ):
        found.append(f"datasets is {_said(there.datasets)}, not {_said(asked.datasets)}")
    terms = said(there.backup)
    found += [
        f"backup {key} is {_told(terms.get(key))}, not {_told(value)}"
        for key, value in said(request.backup).items()
        if terms.get(key) != value
    ]
    for new in asked.groups:
        old, shape = there.group(new.name), _shape(new.name, request)
        same = shape.data_volumes(old.volumes) == old.volumes
        facts = (
            ("nodes", shape.count, old.count, new.count),
            ("memory", shape.memory, format_memory(old.memory), format_memory(new.memory)),
            ("cpus", shape.cpus, f"{old.cpus:g}", f"{new.cpus:g}"),
            ("volumes", None if same else new, format_volumes(old.volumes), format_volumes(shape.data_volumes(old.volumes))),
        )
        found += [
            f"{new.name} {what} is {before}, not {after}" for what, said, before, after in facts if said is not None and before != after
        ]
    return found


def _told(value: object) -> str:
    """What is said of one key of backups."""
    if value is None:
        return "not said"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _said(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={each}" for key, each in value.items()) or "none"
    return str(value)
