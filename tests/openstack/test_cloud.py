"""The test cloud itself: all that tests of labcloud on OpenStack rely on works, and is a member's to use."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from openstack import exceptions
from openstack.compute.v2.server import Server
from openstack.connection import Connection
from openstack.utils import iterate_timeout

from tests.openstack.driver import Cloud
from tests.openstack.inventory import count, inventory

_APIS: dict[str, Callable[[Connection], object]] = {
    "identity": lambda cloud: list(cloud.identity.regions()),
    "image": lambda cloud: list(cloud.image.images()),
    "placement": lambda cloud: list(cloud.placement.resource_providers()),
    "compute": lambda cloud: list(cloud.compute.flavors()),
    "network": lambda cloud: list(cloud.network.networks()),
    "block-storage": lambda cloud: list(cloud.block_storage.types()),
}
_WAIT = 240
"""Seconds. On a quiet machine nothing takes a tenth of it."""


@dataclass(frozen=True)
class Network:
    id: str
    name: str


@pytest.fixture
def name() -> str:
    return f"cloud-{secrets.token_hex(3)}"


@pytest.fixture
def undo(nothing_left: None) -> Iterator[ExitStack]:
    """What a test made goes, the last first, however the test ends; then the project is looked at."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def network(cloud: Cloud, undo: ExitStack, name: str) -> Network:
    """A network of the member's own, with a way to the public one."""
    api = cloud.member.network
    made = api.create_network(name=name)
    undo.callback(api.delete_network, made)
    subnet = api.create_subnet(name=name, network_id=made.id, ip_version=4, cidr="10.20.30.0/24")
    router = api.create_router(name=name, external_gateway_info={"network_id": api.find_network("public").id})
    undo.callback(api.delete_router, router)
    api.add_interface_to_router(router, subnet_id=subnet.id)
    undo.callback(api.remove_interface_from_router, router, subnet_id=subnet.id)
    return Network(made.id, name)


def until(what: str, done: Callable[[], object]) -> None:
    for _ in iterate_timeout(_WAIT, f"{what} did not come", wait=0.5):
        if done():
            return


def delete_server(cloud: Cloud, server: Server) -> None:
    cloud.member.compute.delete_server(server)
    cloud.member.compute.wait_for_delete(server, interval=0.5, wait=_WAIT)


@pytest.mark.parametrize("service", _APIS)
def test_every_api_is_in_the_catalog_and_answers(cloud: Cloud, service: str) -> None:
    assert cloud.member.endpoint_for(service) is not None
    _APIS[service](cloud.admin)


def test_all_workers_are_alive(cloud: Cloud) -> None:
    compute = {(each.binary, each.host): each.state for each in cloud.admin.compute.services()}
    storage = {each.binary: each.state for each in cloud.admin.block_storage.services()}
    agents = {each.binary: each.is_alive for each in cloud.admin.network.agents()}

    assert {binary for binary, _ in compute} == {"nova-compute", "nova-conductor", "nova-scheduler"}
    assert {host for binary, host in compute if binary == "nova-compute"} >= {"real1", "simulated1", "simulated2", "simulated3"}
    assert set(compute.values()) == {"up"}
    assert storage == {"cinder-scheduler": "up", "cinder-volume": "up", "cinder-backup": "up"}
    assert agents == {f"neutron-{kind}-agent": True for kind in ("linuxbridge", "dhcp", "l3", "metadata")}


def test_a_member_is_no_administrator(cloud: Cloud) -> None:
    with pytest.raises(exceptions.ForbiddenException):
        list(cloud.member.compute.services())


def test_passwords_are_for_their_owner_alone(cloud: Cloud) -> None:
    assert cloud.clouds_yaml.stat().st_mode & 0o077 == 0
    assert (cloud.clouds_yaml.parent / "etc").stat().st_mode & 0o077 == 0


def delete_stored(storage: Any, what: Any) -> None:
    """A volume, a snapshot or a backup."""
    getattr(storage, f"delete_{what.resource_key}")(what)
    storage.wait_for_delete(what, interval=0.5, wait=_WAIT)


def test_a_simulated_server_lives_and_its_snapshot_is_an_image(
    cloud: Cloud, network: Network, undo: ExitStack, guest_image: str, name: str
) -> None:
    api = cloud.member
    server = api.compute.create_server(
        name=name, image_id=guest_image, flavor_id=api.compute.find_flavor("m1.large").id, networks=[{"uuid": network.id}]
    )
    undo.callback(delete_server, cloud, server)
    server = api.compute.wait_for_server(server, interval=0.5, wait=_WAIT)
    assert inventory(api)["servers"] == [name]
    assert cloud.admin.compute.get_server(server.id).hypervisor_hostname.startswith("simulated")

    image = api.compute.create_server_image(server, f"{name}-disk")
    undo.callback(api.image.delete_image, image)
    until("the image", lambda: api.image.get_image(image).status == "active")
    assert len(api.image.download_image(image).content) == api.image.get_image(image).size > 0


def test_a_volume_is_snapshotted_and_backed_up(cloud: Cloud, undo: ExitStack, name: str) -> None:
    storage = cloud.member.block_storage
    volume = storage.create_volume(name=name, size=1)
    undo.callback(delete_stored, storage, volume)
    storage.wait_for_status(volume, "available", interval=0.5, wait=_WAIT)
    snapshot = storage.create_snapshot(volume_id=volume.id, name=name)
    undo.callback(delete_stored, storage, snapshot)
    storage.wait_for_status(snapshot, "available", interval=0.5, wait=_WAIT)
    backups = []
    for incremental in (False, True):
        backup = storage.create_backup(volume_id=volume.id, name=name, is_incremental=incremental)
        undo.callback(delete_stored, storage, backup)
        backups.append(storage.wait_for_status(backup, "available", interval=0.5, wait=_WAIT))
    found = inventory(cloud.member)
    assert (found["volumes"], found["volume snapshots"], found["volume backups"]) == ([name], [name], [name, name])
    assert [storage.get_backup(each).is_incremental for each in backups] == [False, True]


def test_a_real_guest_is_reached_by_ssh_where_its_security_group_lets_one(
    cloud: Cloud, network: Network, undo: ExitStack, guest_image: str, name: str, tmp_path: Path
) -> None:
    api = cloud.member
    keypair = api.compute.create_keypair(name=name)
    undo.callback(api.compute.delete_keypair, keypair)
    (tmp_path / "key").write_text(keypair.private_key)
    (tmp_path / "key").chmod(0o600)
    group = api.network.create_security_group(name=name)
    undo.callback(api.network.delete_security_group, group)
    ssh = api.network.create_security_group_rule(
        security_group_id=group.id, direction="ingress", protocol="tcp", port_range_min=22, port_range_max=22
    )
    server = api.compute.create_server(
        name=name, image_id=guest_image, flavor_id=api.compute.find_flavor("m1.tiny").id, key_name=name, availability_zone="real",
        networks=[{"uuid": network.id}], security_groups=[{"name": name}],
    )  # fmt: skip
    undo.callback(delete_server, cloud, server)
    server = api.compute.wait_for_server(server, interval=0.5, wait=_WAIT)
    floating = api.network.create_ip(
        floating_network_id=api.network.find_network("public").id, port_id=next(api.network.ports(device_id=server.id)).id
    )
    undo.callback(api.network.delete_ip, floating)
    address = floating.floating_ip_address
    until("a shell", lambda: hostname(tmp_path / "key", address) is not None)
    assert str(hostname(tmp_path / "key", address)).split(".")[0] == name
    api.network.delete_security_group_rule(ssh)
    until("a closed door", lambda: hostname(tmp_path / "key", address) is None)


def hostname(key: Path, address: str) -> str | None:
    """As the guest says by SSH; None if nobody gets in."""
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "-o", "ConnectTimeout=3"]
    argv = ["ssh", "-q", "-F", "none", "-i", str(key), *options, f"root@{address}", "hostname"]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    return ended.stdout.strip() if ended.returncode == 0 else None


def test_what_a_project_holds_is_listed_by_kind(cloud: Cloud, undo: ExitStack, name: str) -> None:
    before = count(inventory(cloud.member))
    volume = cloud.member.block_storage.create_volume(name=name, size=1)
    undo.callback(delete_stored, cloud.member.block_storage, volume)
    found = inventory(cloud.member)
    assert name in found["volumes"]
    assert count(found) == before + 1
    cloud.member.block_storage.wait_for_status(volume, "available", interval=0.5, wait=_WAIT)
