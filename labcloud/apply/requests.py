"""What somebody asks for, made into a wanted cluster, or refused in one sentence before anything is made. Pure but for chance."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from labcloud.errors import ConflictError, UsageError
from labcloud.model import Cluster, ClusterRef, Lease, NodeGroup, Wanted, format_memory
from labcloud.model.dataset import NEWEST
from labcloud.profiles import Profile, sizing
from labcloud.profiles.rendering import user_settings

_LEAST_CPUS: Final = 0.1
_MOST_CPUS: Final = 512.0
_DEFAULT_PROVIDER: Final = "docker"


@dataclass(frozen=True)
class CreateRequest:
    """The options of ``create``. None stands for the profile's default; ``memory`` is MiB a node, ``volume_size`` GiB a volume,
    ``datasets`` are numbers of versions by name, `NEWEST` for the newest."""

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
    datasets: Mapping[str, int] = field(default_factory=dict)


def provider_of(request: CreateRequest) -> str:
    return request.provider or _DEFAULT_PROVIDER


def declared(request: CreateRequest, profile: Profile, *, user_id: int, sized: bool = True) -> Cluster:
    """The cluster that ``request`` describes, without an image. Raise UsageError for what cannot be.

    Nodes that are too small are let pass where ``sized`` is false.
    """
    _check_published(request, profile)
    groups = tuple(_group(name, request, profile) for name in profile.groups)
    asked = Cluster(
        ref=request.ref,
        profile=profile.name,
        provider=provider_of(request),
        id=secrets.token_hex(16),
        image="",
        groups=groups,
        settings=dict(request.settings),
        publish=dict(request.publish),
        user_id=user_id,
        lease=request.lease,
        datasets=dict(request.datasets),
    )
    if sized:
        sizing(profile, asked)
    user_settings(profile, asked.settings)
    return asked


def _group(name: str, request: CreateRequest, profile: Profile) -> NodeGroup:
    default = profile.groups[name]
    count = default.count
    if default.scalable and request.workers is not None:
        count = workers(request.workers, name, profile)
    cpus = default.cpus if request.cpus is None else request.cpus
    if not _LEAST_CPUS <= cpus <= _MOST_CPUS:
        raise UsageError(f"a node cannot have {cpus:g} cores", resolution=f"give it {_LEAST_CPUS:g} to {_MOST_CPUS:g}")
    memory = default.memory if request.memory is None else request.memory
    volume_size = default.volume_size if request.volume_size is None else request.volume_size
    return NodeGroup(name, count, memory, cpus, default.volumes, volume_size=volume_size)


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
    found = []
    for name in ("profile", "provider", "settings", "publish"):
        old, new = getattr(there, name), getattr(asked, name)
        if getattr(request, name) and old != new:
            found.append(f"{name} is {_said(old)}, not {_said(new)}")
    if any(number not in (NEWEST, there.datasets.get(name, NEWEST - 1)) for name, number in request.datasets.items()) or (
        request.datasets.keys() - there.datasets.keys()
    ):
        found.append(f"datasets is {_said(there.datasets)}, not {_said(asked.datasets)}")
    for new in asked.groups:
        old = there.group(new.name)
        facts = (
            ("nodes", request.workers, old.count, new.count),
            ("memory", request.memory, format_memory(old.memory), format_memory(new.memory)),
            ("cpus", request.cpus, f"{old.cpus:g}", f"{new.cpus:g}"),
            ("volume size", request.volume_size, f"{old.volume_size}g", f"{new.volume_size}g"),
        )
        found += [
            f"{new.name} {what} is {before}, not {after}" for what, said, before, after in facts if said is not None and before != after
        ]
    return found


def _said(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={each}" for key, each in value.items()) or "none"
    return str(value)
