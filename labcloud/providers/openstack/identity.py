"""What names and metadata say of the things that labcloud makes in a cloud, and how they are read back. Pure.

A server's cluster and group stand in its metadata, its number in its name: of several servers that one request makes, Nova numbers the
names and gives all the same metadata. Neutron takes no tags when it makes something, so there the description says whose it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from labcloud.errors import EngineError
from labcloud.model import ClusterRef, FoundNode, NodeRef, NodeSpec, NodeVolume, Status, StorageClass
from labcloud.providers.base import NO_NETWORK, NO_ROOM, Inspection

PREFIX: Final = "labcloud."
LAB: Final = PREFIX + "lab"
TENANT: Final = PREFIX + "tenant"
CLUSTER: Final = PREFIX + "cluster"
GROUP: Final = PREFIX + "group"
PROFILE: Final = PREFIX + "profile"
IMAGE: Final = PREFIX + "image"
LAYOUT: Final = PREFIX + "layout"
MEMORY: Final = PREFIX + "memory"
CPUS: Final = PREFIX + "cpus"
VOLUMES: Final = PREFIX + "volumes"
CINDER: Final = PREFIX + "cinder"
"""Which of a server's volumes are Cinder's: their numbers."""
PUBLISH: Final = PREFIX + "publish"
NODE: Final = PREFIX + "node"
VOLUME: Final = PREFIX + "volume"
INDEX: Final = PREFIX + "index"
SNAPSHOT: Final = PREFIX + "snapshot"
"""A server's tag, or a volume's metadata, for a snapshot that one of its volumes has: ``labcloud.snapshot.NUMBER.ID``."""
WHOLE: Final = PREFIX + "whole"
"""The tag that a tenant's network gets when all that belongs to it is there."""

# What Nova's faults say (nova/exception.py), in lower case.
_FAULTS: Final = {
    NO_ROOM: ("no valid host", "exhausted all hosts", "insufficient compute resources", "maximum number of retries"),
    NO_NETWORK: ("virtual interface creation failed", "binding failed", "failed to allocate the network", "unable to create the network"),
}

_STATUS: Final = {
    "ACTIVE": Status.RUNNING,
    "BUILD": Status.CREATED,
    "REBOOT": Status.RUNNING,
    "HARD_REBOOT": Status.RUNNING,
    "PASSWORD": Status.RUNNING,
    "SHUTOFF": Status.STOPPED,
    "RESIZE": Status.STOPPED,
    "VERIFY_RESIZE": Status.STOPPED,
    "PAUSED": Status.STOPPED,
    "SUSPENDED": Status.STOPPED,
    "SHELVED": Status.STOPPED,
    "SHELVED_OFFLOADED": Status.STOPPED,
}


@dataclass(frozen=True)
class Machine:
    """A server as Nova lists it. ``state`` is Nova's word, ``task`` what Nova does with it now, ``fault`` why it is in ERROR,
    ``floating`` the address of the external network by which it is reached, if it has one, ``snapshots`` what its volumes hold beside
    their data."""

    id: str
    ref: NodeRef
    state: str
    task: str
    metadata: Mapping[str, str]
    address: str = ""
    floating: str = ""
    created: str = ""
    updated: str = ""
    fault: str = ""
    snapshots: frozenset[tuple[int, str]] = frozenset()

    @property
    def status(self) -> Status:
        return _STATUS.get(self.state, Status.FAILED)

    @property
    def digest(self) -> str:
        """That of the specification that it was made with."""
        return _spec(self).digest

    @property
    def reached(self) -> str:
        """The address by which it is reached from outside."""
        return self.floating or self.address


Place = tuple[NodeRef, int]
"""Whose data volume, and which of them."""


@dataclass(frozen=True)
class Disk:
    """A data volume as Cinder lists it: ``server`` is the id of the server that has it, if one has, ``snapshots`` are as a `Machine`'s."""

    id: str
    ref: NodeRef
    number: int
    status: str
    server: str = ""
    snapshots: frozenset[tuple[int, str]] = frozenset()

    @property
    def place(self) -> Place:
        return self.ref, self.number


def tenant_resource(tenant: str) -> str:
    """The name of a tenant's network, router and security group. The network's is the domain of its nodes."""
    return f"labcloud-{tenant}"


def key_name(lab: str) -> str:
    return f"labcloud-{lab}"


def group_name(lab: str, cluster: ClusterRef) -> str:
    """The name of a cluster's server group, which has no other place for whose it is."""
    return f"{cluster.tenant}.{cluster.name}.{lab}"


def server_name(cluster: ClusterRef, group: str, index: int | None = None) -> str:
    """``acme.hadoop-2.7.worker-3``; without its number what Nova numbers, from 1."""
    base = f"{cluster.tenant}.{cluster.name}.{group}"
    return base if index is None else f"{base}-{index}"


def volume_name(ref: NodeRef, number: int) -> str:
    return f"{server_name(ref.cluster, ref.group, ref.index)}.data-{number}"


def described(lab: str, tenant: str) -> str:
    """The description of what belongs to a tenant's network."""
    return f"{LAB}={lab} {TENANT}={tenant}"


def tenant_of(lab: str, description: str) -> str:
    """The tenant that a description names; empty if it is none of this lab."""
    head, _, rest = (description or "").partition(f" {TENANT}=")
    return rest.partition(" ")[0] if head == f"{LAB}={lab}" else ""


def node_described(lab: str, ref: NodeRef) -> str:
    """The description of what belongs to one node."""
    return f"{described(lab, ref.cluster.tenant)} {NODE}={ref.cluster.name}/{ref.name}"


def volume_described(lab: str, ref: NodeRef, number: int) -> str:
    """The description of a data volume."""
    return f"{node_described(lab, ref)} {VOLUME}={number}"


def _place_described(description: str) -> Place | None:
    """What `volume_described` was given; None for any other description."""
    words = dict(word.split("=", 1) for word in description.split() if "=" in word)
    cluster, _, node = words.get(NODE, "").partition("/")
    if not (TENANT in words and node and words.get(VOLUME, "").isdecimal()):
        return None
    return NodeRef.parse(ClusterRef(words[TENANT], cluster), node), int(words[VOLUME])


def tags(lab: str, tenant: str = "", cluster: ClusterRef | None = None) -> list[str]:
    """By which servers of a lab, a tenant or a cluster are asked for. (Metadata cannot be asked for.)"""
    wanted = [f"{LAB}={lab}"]
    tenant = cluster.tenant if cluster else tenant
    wanted += [f"{TENANT}={tenant}"] if tenant else []
    return wanted + ([f"{CLUSTER}={cluster.name}"] if cluster else [])


def owner(lab: str, tenant: str = "", cluster: ClusterRef | None = None) -> dict[str, str]:
    """The metadata by which volumes of a lab, a tenant or a cluster are asked for. (Volumes have no tags.)"""
    return dict(each.split("=", 1) for each in tags(lab, tenant, cluster))


def metadata(lab: str, spec: NodeSpec) -> dict[str, str]:
    """What a server's metadata say; the same for all nodes of a group that are alike."""
    ref = spec.ref
    return {
        LAB: lab, TENANT: ref.cluster.tenant, CLUSTER: ref.cluster.name, GROUP: ref.group,
        PROFILE: spec.profile, IMAGE: spec.image, LAYOUT: str(spec.layout), MEMORY: str(spec.memory), CPUS: f"{spec.cpus:g}",
        VOLUMES: " ".join(each.storage.name or "-" for each in spec.volumes),
        CINDER: " ".join(str(number) for number, each in enumerate(spec.volumes) if each.storage.driver == "cinder"),
        PUBLISH: " ".join(f"{port}:{wanted}" for port, wanted in sorted(spec.publish.items())),
    }  # fmt: skip


def volume_metadata(lab: str, ref: NodeRef, number: int) -> dict[str, str]:
    return {
        LAB: lab, TENANT: ref.cluster.tenant, CLUSTER: ref.cluster.name, GROUP: ref.group, INDEX: str(ref.index), VOLUME: str(number)
    }  # fmt: skip


def machine(server: Any) -> Machine:
    """A server of the SDK, read. Raise EngineError if somebody has given it a name that does not say which node it is."""
    known: Mapping[str, str] = server.metadata or {}
    cluster = ClusterRef(known[TENANT], known[CLUSTER])
    base = server_name(cluster, known[GROUP]) + "-"
    number = server.name.removeprefix(base)
    if not server.name.startswith(base) or not number.isdigit():
        raise EngineError(
            f"the server {server.name!r} belongs to {cluster}, and its name does not say which node it is", details=f"server {server.id}",
            resolution=f"give it its name back, {base}NUMBER: openstack server set --name … {server.id}",
        )  # fmt: skip
    addresses = [each for network in (server.addresses or {}).values() for each in network if each.get("version") == 4]
    fixed, floating = ([each["addr"] for each in addresses if each.get("OS-EXT-IPS:type") == kind] for kind in ("fixed", "floating"))
    return Machine(
        id=server.id,
        ref=NodeRef(cluster, known[GROUP], int(number)),
        state=server.status,
        task=server.task_state or "",
        metadata=known,
        address=next(iter(fixed), ""),
        floating=next(iter(floating), ""),
        created=server.created_at or "",
        updated=(server.updated_at or "").removesuffix("Z"),
        fault=str((server.fault or {}).get("message", "")) if server.fault else "",
        snapshots=_snapshots(server.tags or ()),
    )


def snapshot_mark(number: int, id: str) -> str:
    """What says that volume ``number`` holds the snapshot ``id``."""
    return f"{SNAPSHOT}.{number}.{id}"


def _snapshots(marks: Iterable[str]) -> frozenset[tuple[int, str]]:
    """The snapshots that marks tell of."""
    said = (each.removeprefix(f"{SNAPSHOT}.").partition(".") for each in marks if each.startswith(f"{SNAPSHOT}."))
    return frozenset((int(number), id) for number, _, id in said if number.isdecimal() and id)


def published(found: Machine) -> dict[int, int]:
    """Which ports of a server shall be reached at which of this machine; at any, where that is 0."""
    pairs = (each.split(":") for each in found.metadata.get(PUBLISH, "").split())
    return {int(port): int(wanted) for port, wanted in pairs}


def _spec(found: Machine) -> NodeSpec:
    """The specification that a server was made with, as far as its digest needs it."""
    known = found.metadata
    names = known.get(VOLUMES, "").split()
    return NodeSpec(
        ref=found.ref,
        image=known.get(IMAGE, ""),
        profile=known.get(PROFILE, ""),
        memory=int(known.get(MEMORY, "0")),
        cpus=float(known.get(CPUS, "0")),
        volumes=tuple(NodeVolume(storage=StorageClass(name.removeprefix("-"))) for name in names),
        publish=published(found),
        layout=int(known.get(LAYOUT, "0")),
    )


def found_node(found: Machine, *, configured: bool) -> FoundNode:
    """The node that a server is; one that runs and was never configured is only created."""
    spec = _spec(found)
    return FoundNode(
        ref=found.ref,
        status=found.status if configured or found.status is not Status.RUNNING else Status.CREATED,
        profile=spec.profile,
        image=spec.image,
        digest=spec.digest,
        memory=spec.memory,
        cpus=spec.cpus,
        engine_id=found.id,
        address=found.address,
        created=datetime.fromisoformat(found.created).timestamp() if found.created else 0.0,
    )


def local_volumes(found: Machine) -> frozenset[Place]:
    """The data volumes that lie on a server's own disk."""
    elsewhere = found.metadata.get(CINDER, "").split()
    return frozenset(
        (found.ref, number) for number, _ in enumerate(found.metadata.get(VOLUMES, "").split()) if str(number) not in elsewhere
    )


def disk(volume: Any) -> Disk:
    """A volume of the SDK, read.

    Its description counts before its metadata: Cinder gives a volume that it makes of a backup the metadata of the one that was backed up.
    """
    known: Mapping[str, str] = volume.metadata or {}
    place = NodeRef(ClusterRef(known[TENANT], known[CLUSTER]), known[GROUP], int(known[INDEX])), int(known[VOLUME])
    own = _place_described(str(volume.description or "")) or place
    server = next((str(each.get("server_id") or "") for each in volume.attachments or ()), "")
    return Disk(volume.id, *own, volume.status, server, _snapshots(known) if own == place else frozenset())


def inspection(found: Machine, history: Iterable[str] = ()) -> Inspection:
    spec, fault = _spec(found), found.fault.lower()
    kinds = (kind for kind, signs in _FAULTS.items() if found.status is Status.FAILED and any(sign in fault for sign in signs))
    return Inspection(
        state=found.state, said=found.fault, memory=spec.memory, cpus=spec.cpus, attached=bool(found.address),
        exit_code=1 if found.status is Status.FAILED else 0, ended="" if found.status is Status.RUNNING else found.updated,
        why=next(kinds, ""), history=tuple(history),
    )  # fmt: skip
