"""What a cloud says of itself, asked once for all who want to know. Judges nothing.

Some answers are an administrator's alone: what a project's user may not see is None.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, TypeVar

from labcloud.errors import EngineError, NotFoundError
from labcloud.providers.openstack.catalogue import Catalogue
from labcloud.providers.openstack.connection import Cloud, refused

if TYPE_CHECKING:
    from openstack.connection import Connection

_Answer = TypeVar("_Answer")
Json = Mapping[str, Any]

_SERVICES: Final = {"compute": "compute", "network": "network", "image": "image"}
_CANDIDATES: Final = 1000
_WITH_FORBIDDEN_TRAITS: Final = "1.22"
_WITH_DISKS: Final = "2.53"  # later ones leave it to Placement, which knows nothing of kept images
_HIDDEN: Final = (401, 403, 404)


@dataclass(frozen=True)
class Session:
    """Who labcloud is in the cloud: ids of project and user, and names of roles."""

    project: str
    user: str
    roles: tuple[str, ...]


@dataclass(frozen=True)
class Worker:
    """A process of OpenStack: what it is, on which host, and whether it works."""

    kind: str
    host: str
    alive: bool


class Facts:
    """The answers of one cloud, as they were when somebody first asked. A refusal is not remembered."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self._catalogue = Catalogue(cloud)
        self._answers: dict[str, Any] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def session(self) -> Session:
        return self._once("credentials", _session)

    def versions(self) -> Mapping[str, str]:
        """The newest microversion of Nova's interface, and the URLs of the services, by type."""
        return self._once("services", _versions)

    def workers(self) -> Sequence[Worker] | None:
        """What works for Nova and Neutron."""
        return self._if_shown("workers", lambda api: [*_compute_workers(api), *_network_workers(api)])

    def flavors(self) -> Sequence[Any]:
        return self._once("flavors", lambda api: list(api.compute.flavors()))

    def images(self, name: str) -> Sequence[Any]:
        return self._once(f"images of {name}", lambda _: self._catalogue.images(name))

    def zones(self) -> Sequence[Any]:
        return self._once("availability zones", lambda api: list(api.compute.availability_zones()))

    def compute_limits(self) -> Any:
        return self._once("limits of servers", lambda api: api.compute.get_limits().absolute)

    def network_limits(self) -> Mapping[str, Json] | None:
        """By resource what the project may have and what it has: ``{"port": {"limit": 500, "used": 3, "reserved": 0}}``."""
        return self._if_shown("limits of networks", _network_limits)

    def volume_limits(self) -> Mapping[str, Json] | None:
        """By resource what Cinder lets the project have, as of networks: ``{"volumes": {"limit": 10, "in_use": 3, "reserved": 0}}``."""
        return self._if_shown("limits of volumes", _volume_limits)

    def volume_types(self) -> Sequence[str]:
        return self._once("volume types", lambda api: [str(each.name) for each in api.block_storage.types()])

    def networks(self) -> Sequence[Any]:
        """The networks and security groups of the project."""
        return self._once("networks", _networks)

    def room(self, resources: Mapping[str, int], traits: Sequence[str] = ()) -> Sequence[Json] | None:
        """What `room_of_hosts` says of each host."""
        what = f"room for {sorted(resources.items())} {sorted(traits)}"
        return self._if_shown(what, lambda api: list(room_of_hosts(api, resources, traits).values()))

    def largest_disk(self) -> int | None:
        """GiB that are free on the disk of the host that has most of them: where a host keeps images, and servers' own disks."""
        return self._if_shown("hosts' disks", _largest_disk)

    def external_networks(self) -> Sequence[Any]:
        return self._once("external networks", lambda api: list(api.network.networks(**{"router:external": True})))

    def subnet(self, network: str) -> tuple[str, int, int] | None:
        """The range of the network of that name, how many addresses it may give, and how many it has given; None if there is none."""
        return self._once(f"addresses of {network}", lambda api: _subnet(api, network))

    def _once(self, what: str, ask: Callable[[Connection], _Answer]) -> _Answer:
        with self._lock:
            lock = self._locks.setdefault(what, threading.Lock())
        with lock:
            if what not in self._answers:
                self._answers[what] = self.cloud.read(f"ask {self.cloud.label} for its {what}", ask)
            answer: _Answer = self._answers[what]
            return answer

    def _if_shown(self, what: str, ask: Callable[[Connection], _Answer]) -> _Answer | None:
        """As `_once`; None for what this user may not see."""
        try:
            return self._once(what, ask)
        except (EngineError, NotFoundError) as exc:
            if not any(refused(exc, status) for status in _HIDDEN):
                raise
            return None


def _session(api: Connection) -> Session:
    access = api.session.auth.get_access(api.session)  # type: ignore[union-attr]
    return Session(str(access.project_id or ""), str(access.user_id or ""), tuple(access.role_names or ()))


def _versions(api: Connection) -> dict[str, str]:
    found = {name: str(api.session.get_endpoint(service_type=kind, interface="public", region_name=api.config.get_region_name()) or "")
             for name, kind in _SERVICES.items()}  # fmt: skip
    data = api.compute.get_endpoint_data()
    newest = data.max_microversion if data else None
    return found | {"microversion": ".".join(map(str, newest)) if newest else ""}


def _compute_workers(api: Connection) -> list[Worker]:
    return [
        Worker(each.binary, each.host, each.state == "up" and each.status == "enabled")
        for each in api.compute.services()
        if each.status == "enabled" or each.binary == "nova-compute"
    ]


def _network_workers(api: Connection) -> list[Worker]:
    return [Worker(each.binary, each.host, bool(each.is_alive)) for each in api.network.agents()]


def _network_limits(api: Connection) -> dict[str, Json]:
    # The raw answer: the SDK gives the words of Neutron other names.
    answer = api.network.get(f"/quotas/{api.current_project_id}/details.json", retriable_status_codes=[429, 503])
    from openstack.exceptions import raise_from_response

    raise_from_response(answer)
    found: dict[str, Json] = answer.json()["quota"]
    return found


def _volume_limits(api: Connection) -> dict[str, Json]:
    answer = api.block_storage.get(f"/os-quota-sets/{api.current_project_id}?usage=True", retriable_status_codes=[429, 503])
    from openstack.exceptions import raise_from_response

    raise_from_response(answer)
    found: dict[str, Any] = answer.json()["quota_set"]
    return {name: figures for name, figures in found.items() if isinstance(figures, dict)}


def _networks(api: Connection) -> list[Any]:
    project = api.current_project_id
    return [*api.network.networks(project_id=project), *api.network.security_groups(project_id=project)]


def _largest_disk(api: Connection) -> int:
    from openstack.exceptions import raise_from_response

    answer = api.compute.get("/os-hypervisors/detail", microversion=_WITH_DISKS)
    raise_from_response(answer)
    found = [each for each in answer.json()["hypervisors"] if each["state"] == "up" and each["status"] == "enabled"]
    return max((int(each["disk_available_least"] or each["free_disk_gb"] or 0) for each in found), default=0)


def _subnet(api: Connection, network: str) -> tuple[str, int, int] | None:
    for each in api.network.networks(name=network, project_id=api.current_project_id):
        for subnet in api.network.subnets(network_id=each.id):
            pools = [(ip_address(pool["start"]), ip_address(pool["end"])) for pool in subnet.allocation_pools]
            given = sum(1 for _ in api.network.ports(network_id=each.id))
            return str(subnet.cidr), sum(int(last) - int(first) + 1 for first, last in pools), given
    return None


def room_of_hosts(api: Connection, resources: Mapping[str, int], traits: Collection[str] = ()) -> dict[str, Json]:
    """What Placement says of each host that has room for one server of ``resources`` and all ``traits`` (``!NAME``: has not), by its id:
    ``{"VCPU": {"capacity": 32, "used": 3}, …}``."""
    from openstack.exceptions import raise_from_response

    wanted = ",".join(f"{name}:{amount}" for name, amount in sorted(resources.items()) if amount)
    asked = f"resources={wanted}" + (f"&required={','.join(sorted(traits))}" if traits else "")

    answer = api.placement.get(f"/allocation_candidates?{asked}&limit={_CANDIDATES}", microversion=_WITH_FORBIDDEN_TRAITS)
    raise_from_response(answer)
    hosts: dict[str, Json] = answer.json()["provider_summaries"]
    return {id: each["resources"] for id, each in hosts.items()}
