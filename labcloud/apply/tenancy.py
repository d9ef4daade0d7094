"""What becomes of a tenant by a change, and how one stands. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from labcloud.errors import NotFoundError, UsageError
from labcloud.model import Cluster, Member, Resource, Tenant, format_amount, total

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Change:
    """What shall become of a tenant. Only what is named changes; None takes an entry away, an empty text the subnet or the URL.

    ``members`` get those keys, and are new if they were not there; ``leavers`` are members that go.
    """

    quotas: Mapping[Resource, float | None] = field(default_factory=dict)
    limits: Mapping[str, int | None] = field(default_factory=dict)
    members: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    leavers: tuple[str, ...] = ()
    subnet: str | None = None
    defaults: Mapping[str, str | None] = field(default_factory=dict)
    notify: str | None = None
    review: bool | None = None

    @property
    def people(self) -> bool:
        return bool(self.members or self.leavers)

    def noted(self) -> dict[str, object]:
        """For the journal: no keys, and no address that may hold a token."""
        said = {
            "quotas": {str(key): value for key, value in self.quotas.items()}, "limits": dict(self.limits), "members": list(self.members),
            "leavers": list(self.leavers), "subnet": self.subnet, "defaults": dict(self.defaults), "notify": bool(self.notify),
            "review": {True: "required", False: "none", None: ""}[self.review],
        }  # fmt: skip
        return {key: value for key, value in said.items() if value}


@dataclass(frozen=True)
class Use:
    """What is used of one limit, in its unit (see `Resource`); ``limit`` is None where there is none."""

    used: float
    limit: float | None

    @property
    def over(self) -> bool:
        return self.limit is not None and self.used > self.limit


@dataclass(frozen=True)
class TenantView:
    """A tenant as it stands: every resource's `Use` by its name, and that of each profile that it has clusters or a limit of."""

    name: str
    user_id: int
    quotas: Mapping[str, Use]
    limits: Mapping[str, Use]
    members: tuple[Member, ...]
    former: Mapping[str, int]
    subnet: str
    defaults: Mapping[str, str]
    notify: str
    review: bool
    clusters: tuple[str, ...]


def view(tenant: Tenant, clusters: Sequence[Cluster]) -> TenantView:
    """How ``tenant`` stands with all its ``clusters``."""
    used = total(clusters)
    profiles = [each.profile for each in clusters]
    return TenantView(
        name=tenant.name,
        user_id=tenant.user_id,
        quotas={str(each): _use(used[each], tenant.quotas.get(each)) for each in Resource},
        limits={name: Use(profiles.count(name), tenant.limits.get(name)) for name in sorted({*profiles, *tenant.limits})},
        members=tenant.members,
        former=tenant.former,
        subnet=tenant.subnet,
        defaults=tenant.defaults,
        notify=tenant.notify,
        review=tenant.review,
        clusters=tuple(each.ref.name for each in clusters),
    )


def _use(used: float, limit: float | None) -> Use:
    return Use(_number(used), None if limit is None else _number(limit))


def _number(amount: float) -> float:
    """Whole numbers without a point: JSON shows the difference."""
    return int(amount) if amount == int(amount) else amount


def changed(tenant: Tenant, change: Change) -> Tenant:
    """``tenant`` after ``change``; who is new has the user id 0. Raise NotFoundError for a leaver who is no member."""
    return replace(
        tenant,
        quotas=_merged(tenant.quotas, {str(key): amount for key, amount in change.quotas.items()}),
        limits=_merged(tenant.limits, change.limits),
        members=_people(tenant, change),
        former=_former(tenant, change),
        subnet=tenant.subnet if change.subnet is None else change.subnet,
        defaults=_merged(tenant.defaults, change.defaults),
        notify=tenant.notify if change.notify is None else change.notify,
        review=tenant.review if change.review is None else change.review,
    )


def _merged(there: Mapping[Key, Value], change: Mapping[Key, Value | None]) -> dict[Key, Value]:
    return {key: value for key, value in {**there, **change}.items() if value is not None}


def _people(tenant: Tenant, change: Change) -> tuple[Member, ...]:
    for name in change.leavers:
        if tenant.member(name) is None:
            there = ", ".join(each.name for each in tenant.members) or "none"
            raise NotFoundError(f"{tenant.name} has no member {name!r}", resolution=f"its members: {there}")
        if name in change.members:
            raise UsageError(f"{name!r} cannot be a member and be removed", resolution="give --member or --remove-member, not both")
    stay = [each for each in tenant.members if each.name not in change.leavers]
    new = [name for name in change.members if tenant.member(name) is None]
    return (
        *(replace(each, keys=change.members.get(each.name, each.keys)) for each in stay),
        *(Member(name, tenant.former.get(name, 0), change.members[name]) for name in new),
    )


def _former(tenant: Tenant, change: Change) -> dict[str, int]:
    left = {each.name: each.user_id for each in tenant.members if each.name in change.leavers}
    return {name: number for name, number in {**tenant.former, **left}.items() if name not in change.members}


def overdrawn(tenant: Tenant, clusters: Sequence[Cluster]) -> list[str]:
    """A sentence for each limit that is lower than what is used: it takes nothing away."""
    stands = view(tenant, clusters)
    said = [(f"the quota of {name}", use, partial(format_amount, Resource(name))) for name, use in stands.quotas.items()]
    said += [(f"the limit of {name}", use, partial(format_amount, Resource.CLUSTERS)) for name, use in stands.limits.items()]
    return [
        f"{what} is {form(use.limit or 0)}, and {form(use.used)} are used: it blocks growth only" for what, use, form in said if use.over
    ]
