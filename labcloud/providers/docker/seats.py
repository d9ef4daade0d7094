"""Where the nodes of a lab are that has several Docker hosts: told by the home engine's own containers.

Each node has a seat on the home engine: the container with its name. That is the node itself, or its **stand-in**, if the node is on the
host that the stand-in's label names. A stand-in runs nothing and its interface is down: it keeps the node's name and address for the
engine's DNS and for its choice of addresses, and answers nobody.

While a node moves there are two seats: one for the host where it goes (``NAME.to-HOST``), and from the moment in which it is to run there
one for where it was (``NAME.from-HOST``). Taking the name is that moment: an engine renames in one step. What a killed move has left is
seen by these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from labcloud.model import ClusterRef, NodeRef
from labcloud.providers.docker import containers

if TYPE_CHECKING:
    from docker import APIClient

HOME: Final = "home"
"""The home's name, where it is given no other."""
CARRIER: Final = "carrier"
"""The image of everything that is no node."""
_STAND_IN: Final = ["/usr/lib/labcloud/stand-in"]


@dataclass(frozen=True)
class Seat:
    """A container on the home engine that speaks for a node. ``host`` is empty for the home itself; ``taken``: it has the node's name.
    ``left``: the node has been there, and moves away or has moved."""

    ref: NodeRef
    host: str
    name: str
    address: str = ""

    @property
    def taken(self) -> bool:
        return self.name == self.ref.qualified

    @property
    def left(self) -> bool:
        return self.name.startswith(f"{self.ref.qualified}.from-")


@dataclass(frozen=True)
class Places:
    """All seats of some nodes."""

    seats: tuple[Seat, ...] = ()

    def of(self, ref: NodeRef) -> list[Seat]:
        return [each for each in self.seats if each.ref == ref]

    def seat(self, ref: NodeRef) -> Seat | None:
        """The one that counts: who has the name, else who had it."""
        found = self.of(ref)
        return next((each for each in found if each.taken), next((each for each in found if each.left), None))

    def host(self, ref: NodeRef) -> str:
        """Where the node is, or belongs: a host's name, empty for the home."""
        found = self.seat(ref)
        return found.host if found else ""

    def on(self, host: str) -> list[NodeRef]:
        """The nodes that are, or belong, on a host."""
        return sorted({each.ref for each in self.seats if self.host(each.ref) == host})

    def broken_off(self, ref: NodeRef) -> bool:
        """Whether the node has changed its place, or was to in that moment, and its move is not over."""
        return any(each.left for each in self.of(ref))

    def hosts(self) -> set[str]:
        """Every host that has, or may have, anything of these nodes."""
        return {each.host for each in self.seats} - {""}


def going(ref: NodeRef, host: str) -> str:
    """The name of the seat for a node that goes to ``host``, empty for the home."""
    return f"{ref.qualified}.to-{host or HOME}"


def coming(ref: NodeRef, host: str) -> str:
    """The name of the seat for a node that comes from ``host``, empty for the home."""
    return f"{ref.qualified}.from-{host or HOME}"


def read(api: APIClient, lab: str, *, tenant: str | None = None, cluster: ClusterRef | None = None) -> Places:
    """By one question of the home engine."""
    return places(api.containers(all=True, filters=containers.filters(lab, tenant=tenant, cluster=cluster)))


def places(answers: Iterable[Mapping[str, Any]]) -> Places:
    """From entries of ``GET /containers/json``."""
    return Places(tuple(_seat(each) for each in answers if containers.GROUP in each["Labels"]))


def is_node(answer: Mapping[str, Any]) -> bool:
    """Whether an entry of ``GET /containers/json`` is a node itself, with its own name."""
    labels = answer["Labels"]
    return containers.HOST not in labels and f"/{containers.ref_of(labels).qualified}" in answer["Names"]


def _seat(answer: Mapping[str, Any]) -> Seat:
    labels = answer["Labels"]
    networks = (answer.get("NetworkSettings") or {}).get("Networks") or {}
    wanted = [(each.get("IPAMConfig") or {}).get("IPv4Address") or each.get("IPAddress") or "" for each in networks.values()]
    return Seat(containers.ref_of(labels), labels.get(containers.HOST, ""), answer["Names"][0].removeprefix("/"), next(iter(wanted), ""))


def stand_in(lab: str, ref: NodeRef, host: str, address: str, image: str) -> dict[str, Any]:
    """The body of ``POST /containers/create`` for a stand-in of a node that is on ``host``."""
    network = containers.network_name(ref.cluster.tenant)
    return {
        "Image": image,
        "Entrypoint": _STAND_IN,
        "Hostname": ref.name,
        "Labels": containers.identity(lab, ref) | {containers.HOST: host},
        "HostConfig": {
            "NetworkMode": network, "CapDrop": ["ALL"], "CapAdd": ["NET_ADMIN"], "SecurityOpt": ["no-new-privileges"],
            "RestartPolicy": {"Name": "unless-stopped"}, "LogConfig": {"Type": "none"}, "Memory": 16 << 20, "PidsLimit": 16,
        },
        "NetworkingConfig": {"EndpointsConfig": {network: {"IPAMConfig": {"IPv4Address": address}}}},
    }  # fmt: skip
