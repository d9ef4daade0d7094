"""What the cloud's operator sets up through its APIs: users and the catalog, then zones, flavors and the public network.

Talks to the APIs by Debian's own openstacksdk, which Nova brings with it.
"""

from __future__ import annotations

import openstack
from settings import Settings

_URLS = {
    ("image", "glance"): "http://{address}:9292",
    ("placement", "placement"): "http://{address}:8778",
    ("compute", "nova"): "http://{address}:8774/v2.1",
    ("network", "neutron"): "http://{address}:9696",
    ("volumev3", "cinderv3"): "http://{address}:8776/v3/%(project_id)s",
    ("block-storage", "cinder"): "http://{address}:8776/v3/%(project_id)s",
}
_FLAVORS = {"m1.tiny": (512, 1, 2), "m1.small": (1024, 1, 4), "m1.medium": (2048, 2, 8), "m1.large": (4096, 4, 20)}
"""By name: MiB of memory, virtual CPUs, GiB of disk."""


def connect(settings: Settings, password: str) -> openstack.connection.Connection:
    return openstack.connect(
        load_yaml_config=False, load_envvars=False, region_name="RegionOne", auth_url=settings.identity_url, username="admin",
        password=password, project_name="admin", user_domain_name="Default", project_domain_name="Default",
    )  # fmt: skip


def fill(settings: Settings, passwords: dict[str, str]) -> None:
    """Users ``services`` and ``member`` with their projects, and where each API is found."""
    identity = connect(settings, passwords["admin"]).identity
    roles = {role.name: role for role in identity.roles()}
    if "service" not in roles:
        roles["service"] = identity.create_role(name="service")
    for user, project_name, granted in (("services", "service", ("admin", "service")), ("member", "member", ("member",))):
        project = identity.create_project(name=project_name, domain_id="default")
        made = identity.create_user(name=user, password=passwords[user], domain_id="default", default_project_id=project.id)
        for role in granted:
            identity.assign_project_role_to_user(project, made, roles[role])
    for (kind, name), url in _URLS.items():
        service = identity.create_service(type=kind, name=name)
        for interface in ("public", "internal", "admin"):
            identity.create_endpoint(
                service_id=service.id, interface=interface, url=url.format(address=settings.address), region_id="RegionOne"
            )


def set_up(settings: Settings, password: str) -> None:
    """Zones ``simulated`` and ``real``, flavors, room for large clusters, and the network ``public``, whose addresses reach the machine."""
    cloud = connect(settings, password)
    for zone, hosts in (("simulated", settings.simulated), ("real", settings.real)):
        aggregate = cloud.compute.create_aggregate(name=zone, availability_zone=zone)
        for host in hosts:
            cloud.compute.add_host_to_aggregate(aggregate, host)
    for name, (memory, cpus, disk) in _FLAVORS.items():
        cloud.compute.create_flavor(name=name, ram=memory, vcpus=cpus, disk=disk)
    cloud.set_compute_quotas("member", instances=300, cores=600, ram=2_000_000, server_groups=100, server_group_members=100, key_pairs=100)
    cloud.set_volume_quotas("member", volumes=300, gigabytes=20_000, snapshots=300, backups=300, backup_gigabytes=20_000)
    cloud.set_network_quotas(
        "member", network=100, subnet=100, port=1000, router=50, floatingip=100, security_group=100, security_group_rule=1000
    )
    if settings.guests != "none":
        network = cloud.network.create_network(
            name="public", provider_network_type="flat", provider_physical_network="public", is_router_external=True
        )
        cloud.network.create_subnet(
            name="public", network_id=network.id, ip_version=4, cidr=f"{settings.public}.0/24", gateway_ip=f"{settings.public}.1",
            is_dhcp_enabled=False, allocation_pools=[{"start": f"{settings.public}.10", "end": f"{settings.public}.250"}],
        )  # fmt: skip
