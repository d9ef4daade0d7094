"""What a tenant says for options of ``create`` that are not given. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from labcloud.apply.requests import CreateRequest
from labcloud.model import Tenant, parse_duration, parse_gigabytes, parse_memory
from labcloud.model.leases import lease_for
from labcloud.model.protection import parse_switch

Value = TypeVar("Value")


def with_defaults(request: CreateRequest, tenant: Tenant, now: datetime) -> CreateRequest:
    """``request`` with the tenant's defaults where nothing was asked for; what stays None is the profile's to say.

    Hadoop settings are joined, those of ``request`` first. A lease by default begins at ``now`` (with a time zone).
    """

    def first(asked: Value | None, name: str, read: Callable[[str], Value]) -> Value | None:
        return read(tenant.defaults[name]) if asked is None and name in tenant.defaults else asked

    return replace(
        request,
        provider=first(request.provider, "provider", str),
        workers=first(request.workers, "workers", int),
        memory=first(request.memory, "memory", parse_memory),
        cpus=first(request.cpus, "cpus", float),
        volume_size=first(request.volume_size, "volume-size", parse_gigabytes),
        lease=first(request.lease, "lease", lambda text: lease_for(parse_duration(text), now)),
        backup=replace(request.backup, enabled=first(request.backup.enabled, "backup", parse_switch)),
        settings={**{key: value for key, value in tenant.defaults.items() if ":" in key}, **request.settings},
    )
