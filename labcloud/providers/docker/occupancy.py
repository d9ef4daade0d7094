"""What a new cluster would collide with on a Docker Engine: names, networks, ports. Pure, but for reading who listens on this machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Final

from labcloud.errors import QuotaError
from labcloud.model import Cluster, ClusterRef
from labcloud.model.checks import Finding, ask_again, failed, passed, skipped
from labcloud.providers.docker.containers import CLUSTER, LAB, PREFIX, TENANT, network_name, volume_name
from labcloud.providers.docker.subnets import POOL, free_subnet

_PROC: Final = Path("/proc")
_LISTENS: Final = "0A"
# 127.0.0.1 and what covers it, as the kernel prints addresses: hexadecimal words in the machine's byte order.
_COVERING: Final = frozenset({"0100007F", "00000000", "0" * 32, "0000000000000000FFFF00000100007F"})
_FIRST_FREE: Final = 10000
_LAST_PORT: Final = 65535

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Holdings:
    """What an engine holds, in its own words."""

    containers: Sequence[Json] = ()
    networks: Sequence[Json] = ()
    volumes: Sequence[Json] = ()


def judge_names(cluster: Cluster, lab: str, held: Holdings) -> Finding:
    """Whether containers, volumes and the network of ``cluster`` may have their names: nobody but this lab has them."""
    nodes = list(cluster.nodes())
    names = {node.qualified for node in nodes}
    volumes = {volume_name(node, number) for node in nodes for number in range(len(cluster.group(node.group).volumes))}
    network = network_name(cluster.ref.tenant)
    taken = [
        *(f"container {name}" for each in held.containers for name in _names(each) if name in names and not _of_lab(each, lab)),
        *(f"volume {each['Name']}" for each in held.volumes if each["Name"] in volumes and not _of_lab(each, lab)),
    ]
    strange = [each for each in held.networks if each["Name"] == network and not _of_lab(each, lab)]
    figures = {"names": len(names) + len(volumes) + 1, "taken": [*taken, *(f"network {each['Name']}" for each in strange)]}
    if strange:
        summary = f"the network {network} exists already, and is not this lab's"
        return failed(summary, f"docker network rm {network}", **figures)
    if taken:
        summary = f"{len(taken)} names are taken by what is not this lab's, the first is the {taken[0]}"
        return failed(summary, ask_again(cluster, name=_other_name(cluster, held)), **figures)
    return passed(f"all {figures['names']} names are free or this lab's", **figures)


def _other_name(cluster: Cluster, held: Holdings) -> str:
    """The cluster's name with the first number that no container's name has."""
    names = {name for each in held.containers for name in _names(each)} | {each["Name"] for each in held.volumes}
    ends = ("", *(f".data-{number}" for number in range(8)))
    number = 2
    while any(f"{node.name}.{cluster.ref.name}-{number}.{cluster.ref.tenant}{end}" in names for node in cluster.nodes() for end in ends):
        number += 1
    return f"{cluster.ref.name}-{number}"


def judge_subnet(tenant: str, subnet: str, lab: str, held: Holdings, routes: Iterable[IPv4Network]) -> Finding:
    """Whether the tenant's network can be made: in ``subnet``, or, if that is empty, in one that is free."""
    own = [each for each in held.networks if each["Name"] == network_name(tenant) and _of_lab(each, lab)]
    if own:
        return passed(f"{tenant} has its network already", subnets=[str(each) for each in _subnets(own[0])])
    owners = {net: str(each["Name"]) for each in held.networks if PREFIX + "probe" not in _labels(each) for net in _subnets(each)}
    taken = {**dict.fromkeys(routes, "a route of this machine"), **{net: f"Docker's network {name}" for net, name in owners.items()}}
    free = _first_free(taken)
    if subnet:
        return _judge_fixed(tenant, IPv4Network(subnet), taken, free)
    if free is None:
        fix = "docker network ls --filter label=labcloud.tenant"
        return failed(f"no subnet is free in {POOL}", fix, pool=str(POOL), taken=len(taken))
    return passed(f"{free} is free", pool=str(POOL), subnet=str(free))


def _judge_fixed(tenant: str, subnet: IPv4Network, taken: Mapping[IPv4Network, str], free: IPv4Network | None) -> Finding:
    overlapping = {str(net): owner for net, owner in taken.items() if net.overlaps(subnet)}
    figures = {"subnet": str(subnet), "overlaps": overlapping}
    if not overlapping:
        return passed(f"{subnet} is free", **figures)
    net, owner = next(iter(overlapping.items()))
    fix = f"labcloud tenant set {tenant} --subnet {free}" if free else f"ip route show {net}"
    return failed(f"{subnet}, which {tenant} shall have, overlaps {net}: {owner}", fix, **figures)


def _first_free(taken: Iterable[IPv4Network]) -> IPv4Network | None:
    try:
        return free_subnet(taken)
    except QuotaError:
        return None


@dataclass(frozen=True)
class Listener:
    """Who listens on a port of this machine: a program's name and process id, as far as they can be seen."""

    port: int
    program: str = ""
    pid: int = 0

    def __str__(self) -> str:
        return f"{self.program} (process {self.pid})" if self.pid else "a process of another user"


@dataclass(frozen=True)
class PortsTaken:
    """Who has which port of 127.0.0.1: programs, containers, and clusters that the same command or the lab's declarations give it to."""

    listeners: Mapping[int, Listener]
    containers: Sequence[Json]
    clusters: Sequence[Cluster]


def judge_ports(cluster: Cluster, there: bool, lab: str, taken: PortsTaken) -> Finding:
    """Whether the fixed ports of ``cluster`` are free. ``there``: it was declared before, so its ports stay as they are."""
    if not cluster.publish:
        return skipped("no port is fixed: the engine chooses free ones")
    held = {service: found for service, port in cluster.publish.items() if (found := _holder(port, cluster.ref, lab, taken))}
    figures = {"ports": dict(cluster.publish), "taken": {service: who for service, (who, _) in held.items()}}
    if not held:
        return passed(f"free on 127.0.0.1: {', '.join(map(str, cluster.publish.values()))}", **figures)
    said = ", ".join(f"{cluster.publish[service]} for {service} is held by {who}" for service, (who, _) in held.items())
    if there:
        return failed(said, " && ".join(dict.fromkeys(command for _, command in held.values())), **figures)
    busy = {*taken.listeners, *_published(taken.containers), *cluster.publish.values()}
    free = iter(port for port in range(_FIRST_FREE, _LAST_PORT) if port not in busy)
    ports = {service: next(free) if service in held else port for service, port in cluster.publish.items()}
    return failed(said, ask_again(cluster, ports), **figures)


def _holder(port: int, ref: ClusterRef, lab: str, taken: PortsTaken) -> tuple[str, str] | None:
    """Who has ``port`` but the cluster ``ref`` itself, and the command that makes them let go of it."""
    for each in taken.containers:
        if port in _ports(each):
            labels = _labels(each)
            if (labels.get(LAB), labels.get(TENANT), labels.get(CLUSTER)) == (lab, ref.tenant, ref.name):
                return None
            name = _names(each)[0]
            return f"the container {name}", f"docker stop {name}"
    if port in taken.listeners:
        listener = taken.listeners[port]
        return str(listener), f"kill {listener.pid}" if listener.pid else f"ss --listening --tcp --processes sport = :{port}"
    for cluster in taken.clusters:
        if cluster.ref != ref and port in cluster.publish.values():
            return f"the cluster {cluster.ref}", f"labcloud stop {cluster.ref}"
    return None


def listeners(ports: Iterable[int], proc: Path = _PROC) -> dict[int, Listener]:
    """Who listens on ``ports`` of 127.0.0.1, or of all addresses."""
    wanted = set(ports)
    found: dict[int, str] = {}
    for table in ("net/tcp", "net/tcp6"):
        with suppress(FileNotFoundError):  # a kernel without IPv6
            found.update((port, inode) for port, inode in _listening((proc / table).read_text()) if port in wanted)
    owners = _owners(set(found.values()), proc) if found else {}
    return {port: owners.get(inode, Listener(port)) if inode not in owners else _at(owners[inode], port) for port, inode in found.items()}


def _at(listener: Listener, port: int) -> Listener:
    return Listener(port, listener.program, listener.pid)


def _listening(table: str) -> Iterator[tuple[int, str]]:
    """Ports and inodes of the listening sockets in a table of proc(5)."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        address, _, port = fields[1].partition(":")
        if fields[3] == _LISTENS and address in _COVERING:
            yield int(port, 16), fields[9]


def _owners(inodes: set[str], proc: Path) -> dict[str, Listener]:
    """The processes that have sockets open, as far as this user may look."""
    found: dict[str, Listener] = {}
    for link in proc.glob("[0-9]*/fd/*"):
        with suppress(OSError):  # it has ended, or was closed, or is another user's
            target = str(link.readlink())
            if target.startswith("socket:[") and target[8:-1] in inodes:
                folder = link.parent.parent
                found[target[8:-1]] = Listener(0, (folder / "comm").read_text().strip(), int(folder.name))
    return found


def _names(container: Json) -> list[str]:
    return [str(each).removeprefix("/") for each in container.get("Names") or ()]


def _labels(thing: Json) -> Mapping[str, str]:
    return thing.get("Labels") or {}


def _of_lab(thing: Json, lab: str) -> bool:
    return _labels(thing).get(LAB) == lab


def _ports(container: Json) -> set[int]:
    return {each["PublicPort"] for each in container.get("Ports") or () if each.get("PublicPort")}


def _published(containers: Iterable[Json]) -> set[int]:
    return {port for each in containers for port in _ports(each)}


def _subnets(network: Json) -> list[IPv4Network]:
    configs = (network.get("IPAM") or {}).get("Config") or ()
    return [IPv4Network(each["Subnet"]) for each in configs if "." in each.get("Subnet", "")]
