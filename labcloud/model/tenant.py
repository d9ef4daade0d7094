"""A tenant: who owns clusters, the people in it, and what they may have. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from labcloud.model.configuration import NO_CONFIGURATION, Configuration
from labcloud.model.protection import NO_TERMS, BackupTerms

FIRST_USER_ID: Final = 20000
"""Tenants' OS users are numbered from here: above what distributions and directories give to people and services."""


@dataclass(frozen=True, order=True)
class Member:
    """A person of a tenant: an OS user on every node of its clusters, with ``keys`` (lines of an ``authorized_keys`` file)."""

    name: str
    user_id: int
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tenant:
    """A tenant of the lab. ``user_id`` is its OS user on every node of every cluster, the same for life.

    ``quotas`` are limits by resource (`labcloud.model.quota.Resource`, in its units); one that is missing is unlimited. ``limits``
    are the most clusters of a profile: ``{"hadoop-3.4": 2}``. ``subnet`` fixes the tenant's network (``10.200.0.0/22``); the engine
    chooses one otherwise. ``defaults`` stand for options of ``create`` that are not given, by their names: ``{"memory": "2g",
    "lease": "8h"}``. ``notify`` is the URL that is told of ends of leases. ``former`` are the user ids of members that left, by name: their
    files may still lie on nodes, so nobody else gets their ids, and who comes back gets the old one. ``review``: its configuration, and
    that of its clusters, is changed only after somebody else has approved the change. ``configuration`` is for all its clusters,
    and so is ``backup``: how they are protected.
    """

    name: str
    user_id: int
    quotas: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    limits: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    members: tuple[Member, ...] = ()
    subnet: str = ""
    defaults: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    notify: str = ""
    former: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    configuration: Configuration = NO_CONFIGURATION
    review: bool = False
    backup: BackupTerms = NO_TERMS

    @property
    def user_ids(self) -> frozenset[int]:
        """All ids that files of this tenant may belong to."""
        return frozenset({self.user_id, *(each.user_id for each in self.members), *self.former.values()})

    def member(self, name: str) -> Member | None:
        return next((each for each in self.members if each.name == name), None)
