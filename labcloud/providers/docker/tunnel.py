"""One network of a tenant on several Docker hosts: a bridge on each, joined by a VXLAN (RFC 7348), and the home engine's names for all.

Of a tenant's subnet the lower half is the home engine's to give away, which takes the lowest address that is free; each other host has a
sixteenth of the upper half for its bridge and for helpers. Nodes keep the address that they had at home, wherever they are.

A **link** is a container in its host's own network, for a tenant: it makes the VXLAN as long as it runs, and lets nobody else speak it. The
**names** are a container at home in the tenant's network: they ask the home engine's DNS on behalf of nodes elsewhere. Both
start again with their engine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any, Final

from labcloud.errors import ConflictError
from labcloud.providers.docker import containers
from labcloud.providers.docker.engine import gone_is_done, refused, remove_container

if TYPE_CHECKING:
    from docker import APIClient

_PARTS: Final = 8
_LINK: Final = containers.PREFIX + "link"
_PEERS: Final = containers.PREFIX + "peers"
_QUIET: Final = {
    "RestartPolicy": {"Name": "unless-stopped"},
    "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "1"}},
}


@dataclass(frozen=True)
class Layout:
    """How a tenant's subnet is shared: ``of(number)`` is the part of the other host with that number, from 0."""

    subnet: IPv4Network

    def __post_init__(self) -> None:
        if self.subnet.prefixlen > 26:
            raise ConflictError(
                f"{self.subnet} is too small for several hosts",
                resolution="they need a /26 or larger: labcloud tenant set T --subnet NETWORK",
            )

    @property
    def upper(self) -> IPv4Network:
        return list(self.subnet.subnets())[1]

    def of(self, number: int) -> IPv4Network:
        return list(self.upper.subnets(prefixlen_diff=3))[number]

    def gateway(self, number: int) -> IPv4Address:
        return self.of(number)[1]

    @property
    def helpers(self) -> list[IPv4Address]:
        """Which addresses helpers at home may have: there a node that is off has none, and no helper shall take it."""
        return list(self.of(_PARTS - 1).hosts())[:-1]

    @property
    def names(self) -> IPv4Address:
        """Where nodes elsewhere ask for names."""
        return self.subnet[-2]


def link_name(tenant: str) -> str:
    return f"link.{tenant}.labcloud"


def names_name(tenant: str) -> str:
    return f"names.{tenant}.labcloud"


def vni(lab: str, tenant: str) -> int:
    """The number of a tenant's VXLAN, 24 bits."""
    return int.from_bytes(hashlib.sha256(f"{lab}/{tenant}".encode()).digest()[:3]) or 1


def subnet_of(api: APIClient, tenant: str) -> IPv4Network:
    """Raise an APIError if the tenant has no network there."""
    return IPv4Network(api.inspect_network(containers.network_name(tenant))["IPAM"]["Config"][0]["Subnet"])


def ensure_network(api: APIClient, lab: str, tenant: str, subnet: IPv4Network, number: int) -> None:
    """The tenant's bridge on another host. Raise ConflictError if there is one that is not this lab's, or in another subnet."""
    from docker.errors import APIError
    from docker.types import IPAMConfig, IPAMPool

    name, layout = containers.network_name(tenant), Layout(subnet)
    try:
        there = api.inspect_network(name)
    except APIError as exc:
        if not refused(exc, 404):
            raise
    else:
        if (there["Labels"] or {}).get(containers.LAB) != lab or there["IPAM"]["Config"][0]["Subnet"] != str(subnet):
            raise ConflictError(f"another network {name} is there already", resolution="remove that network")
        return
    pool = IPAMPool(subnet=str(subnet), iprange=str(layout.of(number)), gateway=str(layout.gateway(number)))
    labels = {containers.LAB: lab, containers.TENANT: tenant}
    api.create_network(name, driver="bridge", ipam=IPAMConfig(pool_configs=[pool]), labels=labels, check_duplicate=True)


def ensure_link(api: APIClient, lab: str, tenant: str, image: str, *, local: IPv4Address, peers: Sequence[IPv4Address]) -> None:
    """A host's end of the tenant's VXLAN, to all of ``peers``."""
    told = " ".join(map(str, sorted(peers)))
    network = api.inspect_network(containers.network_name(tenant))
    bridge = (network.get("Options") or {}).get("com.docker.network.bridge.name") or f"br-{network['Id'][:12]}"
    argv = ["/usr/lib/labcloud/link", bridge, str(vni(lab, tenant)), str(local), *map(str, sorted(peers))]
    body = {
        "Image": image, "Entrypoint": argv, "User": "0:0",
        "Labels": {containers.LAB: lab, _LINK: tenant, _PEERS: f"{bridge} {local} {told}"},
        "HostConfig": {
            "NetworkMode": "host", "CapDrop": ["ALL"], "CapAdd": ["NET_ADMIN"], "SecurityOpt": ["no-new-privileges"],
            "Memory": 32 << 20, "PidsLimit": 32, **_QUIET,
        },
    }  # fmt: skip
    _ensure(api, link_name(tenant), body)


def ensure_names(api: APIClient, lab: str, tenant: str, image: str, subnet: IPv4Network) -> None:
    """What answers for the home engine's DNS: forward and reverse, of all that is in the tenant's network there."""
    network = containers.network_name(tenant)
    argv = [
        "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-hosts", "--no-resolv", "--server=127.0.0.11", "--cache-size=0",
        "--user=root", "--group=root", "--pid-file=", "--bind-interfaces", "--interface=eth0", "--except-interface=lo",
    ]  # fmt: skip
    body = {
        "Image": image, "Entrypoint": argv, "Labels": {containers.LAB: lab, _LINK: tenant, _PEERS: str(subnet)},
        "HostConfig": {
            "NetworkMode": network, "CapDrop": ["ALL"], "CapAdd": ["NET_BIND_SERVICE", "SETUID", "SETGID"],
            "SecurityOpt": ["no-new-privileges"], "Memory": 32 << 20, "PidsLimit": 32, **_QUIET,
        },
        "NetworkingConfig": {"EndpointsConfig": {network: {"IPAMConfig": {"IPv4Address": str(Layout(subnet).names)}}}},
    }  # fmt: skip
    _ensure(api, names_name(tenant), body)


def _ensure(api: APIClient, name: str, body: Mapping[str, Any]) -> None:
    from docker.errors import APIError

    try:
        api.create_container_from_config(body, name)
    except APIError as exc:
        if not refused(exc, 409):
            raise
        there = api.inspect_container(name)
        labels = there["Config"]["Labels"] or {}
        if labels.get(containers.LAB) != body["Labels"][containers.LAB]:
            raise ConflictError(
                f"a container named {name} exists already, and is not this lab's", resolution="remove that container"
            ) from exc
        if labels.get(_PEERS) != body["Labels"][_PEERS]:
            remove_container(api, name)
            api.create_container_from_config(body, name)
    api.start(name)


def peers(api: APIClient, tenant: str) -> frozenset[IPv4Address]:
    """Whom the tenant's link on an engine speaks to; nobody if there is none."""
    found = api.containers(all=True, filters={"label": [f"{_LINK}={tenant}"], "name": f"^/{link_name(tenant)}$"})
    return frozenset(IPv4Address(each) for link in found for each in link["Labels"][_PEERS].split()[2:])


def remove(api: APIClient, name: str) -> None:
    """A link, in order, so that its VXLAN goes with it; or the names."""
    with gone_is_done():
        api.stop(name, timeout=5)
        remove_container(api, name)


def remove_network(api: APIClient, tenant: str) -> None:
    with gone_is_done():
        api.remove_network(containers.network_name(tenant))
