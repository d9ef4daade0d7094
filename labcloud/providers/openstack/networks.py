"""A tenant's network: network, subnet, security group, and a router where there is an external network. Its wall is the security group.

The network is made first and deleted last, so that whatever is there belongs to one that `find` sees; it gets the tag `WHOLE` when all
is there. Neutron refuses to delete what is in use: ports of servers that are going away are waited for.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any, Final

from labcloud.errors import ConflictError, DeadlineError, NotFoundError
from labcloud.providers.openstack.catalogue import networks_meant
from labcloud.providers.openstack.connection import Cloud, refused
from labcloud.providers.openstack.identity import WHOLE, described, tenant_of, tenant_resource
from labcloud.providers.openstack.settings import Settings

if TYPE_CHECKING:
    from openstack.connection import Connection

_POOL: Final = IPv4Network("10.192.0.0/12")
_PREFIX: Final = 22
_NO_ROUTER: Final = "none"
_SECONDS: Final = 120.0
_PAUSE: Final = 0.5


@dataclass(frozen=True)
class TenantNetwork:
    """What servers of a tenant are connected by: ids of the network and the security group."""

    network: str
    security_group: str


class Networks:
    """The networks of one lab's tenants, in the project of the connection."""

    def __init__(self, cloud: Cloud, lab: str, settings: Settings) -> None:
        self._cloud = cloud
        self._lab = lab
        self._settings = settings

    def tenants(self, tenant: str | None = None) -> frozenset[str]:
        """The tenants that have a network, or a part of one."""
        found = (tenant_of(self._lab, each.description) for each in self._listed(tenant))
        return frozenset(each for each in found if each and tenant in (None, each))

    def _listed(self, tenant: str | None = None) -> list[Any]:
        name = {"name": tenant_resource(tenant)} if tenant else {}
        return self._cloud.read(
            "ask which networks exist", lambda each: list(each.network.networks(project_id=each.current_project_id, **name))
        )

    def of(self, tenant: str) -> TenantNetwork:
        """The tenant's network. Raise NotFoundError if it is not there, or not all of it."""
        network = self._own(self._listed(tenant), tenant, "network")
        if network is None or WHOLE not in network.tags:
            raise NotFoundError(f"the network of {tenant} is not there, or not all of it", resolution="run the same command again")
        return TenantNetwork(network.id, self._security_group(tenant).id)

    def _own(self, found: Iterable[Any], tenant: str, what: str) -> Any:
        """The one of ``found`` that is the tenant's. Raise ConflictError if only others have its name."""
        named = [each for each in found if each.name == tenant_resource(tenant)]
        own = [each for each in named if tenant_of(self._lab, each.description) == tenant]
        if named and not own:
            raise ConflictError(
                f"a {what} named {tenant_resource(tenant)} exists already, and is not this lab's", details=f"{what} {named[0].id}",
                resolution="choose another tenant name, or remove it",
            )  # fmt: skip
        return own[0] if own else None

    def _security_group(self, tenant: str) -> Any:
        name = tenant_resource(tenant)
        found = self._cloud.read(
            "ask which security groups exist",
            lambda each: list(each.network.security_groups(project_id=each.current_project_id, name=name)),
        )
        own = self._own(found, tenant, "security group")
        if own is None:
            raise NotFoundError(f"the security group of {tenant} is not there", resolution="run the same command again")
        return own

    def ensure(self, tenant: str, subnet: str = "") -> None:
        """Make all of it, or what is missing of it."""
        network = self._own(self._listed(tenant), tenant, "network")
        if network is not None and WHOLE in network.tags:
            return
        identity = {"name": tenant_resource(tenant), "description": described(self._lab, tenant)}
        with self._cloud.change(f"create the network of {tenant}") as api:
            if network is None:
                network = api.network.create_network(**identity)
            found = self._ensure_subnet(api, network, identity, subnet)
            self._ensure_security_group(api, tenant, identity)
            self._ensure_router(api, found, identity)
            api.network.set_tags(network, [WHOLE])

    def _ensure_subnet(self, api: Connection, network: Any, identity: dict[str, str], subnet: str) -> Any:
        subnets = list(api.network.subnets(project_id=api.current_project_id))
        own = [each for each in subnets if each.network_id == network.id]
        if own:
            return own[0]
        cidr = subnet or str(_free([each.cidr for each in subnets]))
        return api.network.create_subnet(
            network_id=network.id, ip_version=4, cidr=cidr, dns_nameservers=list(self._settings.nameservers), **identity
        )

    def _ensure_security_group(self, api: Connection, tenant: str, identity: dict[str, str]) -> None:
        """Everything inside the tenant's network; from outside ssh alone."""
        try:
            group = self._security_group(tenant)
        except NotFoundError:
            group = api.network.create_security_group(**identity)
        inside = {"remote_group_id": group.id}
        outside = {"protocol": "tcp", "port_range_min": 22, "port_range_max": 22, "remote_ip_prefix": self._settings.ssh_from}
        there = [
            {key: rule.get(key) for key in ("protocol", "port_range_min", "remote_group_id")} for rule in group.security_group_rules or ()
        ]
        for rule in (inside, outside):
            short: dict[str, Any] = {key: rule.get(key) for key in ("protocol", "port_range_min", "remote_group_id")}
            if short not in there:
                api.network.create_security_group_rule(security_group_id=group.id, direction="ingress", ethertype="IPv4", **rule)

    def _ensure_router(self, api: Connection, subnet: Any, identity: dict[str, str]) -> None:
        external = self._external(api)
        if external is None:
            return
        routers = [each for each in api.network.routers(name=identity["name"]) if each.description == identity["description"]]
        router = routers[0] if routers else api.network.create_router(external_gateway_info={"network_id": external}, **identity)
        leads = any(fixed["subnet_id"] == subnet.id for port in api.network.ports(device_id=router.id) for fixed in port.fixed_ips)
        if not leads:
            api.network.add_interface_to_router(router, subnet=subnet.id)

    def external(self) -> str:
        """The id of the network that leads outside. Raise NotFoundError if there is none, or none is wanted."""
        found = self._cloud.read("look for the external network", self._external)
        if found is None:
            raise NotFoundError(
                "there is no external network that nodes could have addresses of",
                resolution="take floating-addresses out of openstack.yaml",
            )
        return found

    def _external(self, api: Connection) -> str | None:
        """The id of the network that leads outside; None if there is none, or none is wanted."""
        wanted = self._settings.external
        if wanted == _NO_ROUTER:
            return None
        there = list(api.network.networks(**{"router:external": True}))
        named = networks_meant(there, wanted)
        if wanted and not named:
            names = ", ".join(each.name for each in there) or "none"
            raise NotFoundError(f"there is no external network {wanted!r}", resolution=f"correct it in openstack.yaml; there are: {names}")
        if len(named) > 1:
            listed = "\n".join(f"{each.id}  {each.name}" for each in named)
            raise ConflictError(
                "several external networks could be meant", details=listed,
                resolution="say which in openstack.yaml: external-network, by its name if that is unique, else by its id",
            )  # fmt: skip
        return named[0].id if named else None

    def delete(self, tenant: str) -> None:
        """Delete all of it, as soon as no server has a port there any more."""
        network = self._own(self._listed(tenant), tenant, "network")
        if network is None:
            return
        end = time.monotonic() + _SECONDS
        description = described(self._lab, tenant)
        with self._cloud.change(f"delete the network of {tenant}") as api:
            for router in [each for each in api.network.routers(name=tenant_resource(tenant)) if each.description == description]:
                self._delete_router(api, router)
        while True:
            try:
                self._delete_rest(tenant, network)
            except ConflictError as exc:
                if not refused(exc, 409):
                    raise
                if time.monotonic() > end:
                    raise DeadlineError(
                        f"the network of {tenant} was still in use after {_SECONDS:g} s", details=exc.details or exc.brief,
                        resolution=f"see what is connected to it: openstack port list --network {network.id}",
                    ) from exc  # fmt: skip
                time.sleep(_PAUSE)
            else:
                return

    def _delete_router(self, api: Connection, router: Any) -> None:
        for port in api.network.ports(device_id=router.id, device_owner="network:router_interface"):
            api.network.remove_interface_from_router(router, port=port.id)
        api.network.delete_router(router)

    def _delete_rest(self, tenant: str, network: Any) -> None:
        with self._cloud.change(f"delete the network of {tenant}") as api:
            for group in api.network.security_groups(project_id=api.current_project_id, name=tenant_resource(tenant)):
                if tenant_of(self._lab, group.description) == tenant:
                    api.network.delete_security_group(group)
            api.network.delete_network(network)


def _free(taken: Sequence[str]) -> IPv4Network:
    """The first subnet of the pool that overlaps none of ``taken``: tenants' networks may be routed some day."""
    others = [IPv4Network(each) for each in taken if "." in each]
    for each in _POOL.subnets(new_prefix=_PREFIX):
        if not any(each.overlaps(other) for other in others):
            return each
    raise ConflictError(
        f"every subnet of {_POOL} is taken in this project", resolution="give the tenant one: labcloud tenant set T --subnet CIDR"
    )
