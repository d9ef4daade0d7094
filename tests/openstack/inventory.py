"""What a project holds, of every kind that labcloud makes or could leave behind. Tests compare it before and after.

What each project has from the start, and nobody makes, is left out: its security group ``default``, and the images of others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from openstack.connection import Connection

Inventory = dict[str, list[str]]
"""By kind: the names of what there is, sorted; the id of what has no name."""


def _own(resources: Iterable[Any], project: str) -> Iterable[Any]:
    return (each for each in resources if each.project_id == project)


_KINDS: dict[str, Callable[[Connection, str], Iterable[Any]]] = {
    "servers": lambda cloud, _: cloud.compute.servers(details=False),
    "server groups": lambda cloud, _: cloud.compute.server_groups(),
    "keypairs": lambda cloud, _: cloud.compute.keypairs(),
    "images": lambda cloud, project: cloud.image.images(owner=project),
    "volumes": lambda cloud, _: cloud.block_storage.volumes(details=False),
    "volume snapshots": lambda cloud, _: cloud.block_storage.snapshots(details=False),
    "volume backups": lambda cloud, _: cloud.block_storage.backups(details=False),
    "networks": lambda cloud, project: _own(cloud.network.networks(), project),
    "subnets": lambda cloud, project: _own(cloud.network.subnets(), project),
    "routers": lambda cloud, project: _own(cloud.network.routers(), project),
    "ports": lambda cloud, project: (port for port in _own(cloud.network.ports(), project) if port.device_owner != "network:dhcp"),
    "floating IPs": lambda cloud, project: _own(cloud.network.ips(), project),
    "security groups": lambda cloud, project: (
        group for group in _own(cloud.network.security_groups(), project) if group.name != "default"
    ),
}  # fmt: skip


def inventory(cloud: Connection) -> Inventory:
    """Of the project that the connection is for. Kinds that there are none of are there as well, empty."""
    project = cloud.current_project_id
    return {kind: sorted(each.name or each.id for each in resources(cloud, project)) for kind, resources in _KINDS.items()}


def count(found: Inventory) -> int:
    return sum(len(names) for names in found.values())
