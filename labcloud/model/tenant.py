"""A tenant: who owns clusters, and the OS user that its people are on every node. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FIRST_USER_ID: Final = 20000
"""Tenants' OS users are numbered from here: above what distributions and directories give to people and services."""


@dataclass(frozen=True, order=True)
class Tenant:
    """A tenant of the lab. ``user_id`` is its OS user on every node of every cluster, the same for life."""

    name: str
    user_id: int
