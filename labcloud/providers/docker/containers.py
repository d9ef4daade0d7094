"""Nodes as Docker knows them: what a create call says, and what a list call answered. Pure.

The identity of all that labcloud makes stands in labels, in the create call, so nothing exists that `find` does not see.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from labcloud.model import ClusterRef, FoundNode, NodeRef, NodeSpec, Status
from labcloud.model.dataset import MOUNTED
from labcloud.providers.base import Inspection

PREFIX: Final = "labcloud."
LAB: Final = PREFIX + "lab"
TENANT: Final = PREFIX + "tenant"
CLUSTER: Final = PREFIX + "cluster"
GROUP: Final = PREFIX + "group"
INDEX: Final = PREFIX + "index"
VOLUME: Final = PREFIX + "volume"
PROFILE: Final = PREFIX + "profile"
DIGEST: Final = PREFIX + "digest"
MEMORY: Final = PREFIX + "memory"
CPUS: Final = PREFIX + "cpus"
FOLDER: Final = PREFIX + "folder"
PATH: Final = PREFIX + "path"
"""Of a node's mount: the folder of its storage class, for when the node comes home again."""
SNAPSHOT: Final = PREFIX + "snapshot"
HOST: Final = PREFIX + "host"
"""Of a stand-in: the host that has the node (`labcloud.providers.docker.seats`)."""
CARRIER: Final = PREFIX + "carrier"
"""Of a helper: the node that it works for."""
MIRROR: Final = PREFIX + "mirror"
"""Of a volume on another host: which of the home's folders it repeats."""

_LOOPBACK: Final = "127.0.0.1"
_STATUS: Final = {
    "created": Status.CREATED,
    "running": Status.RUNNING,
    "restarting": Status.RUNNING,
    "paused": Status.STOPPED,
    "exited": Status.STOPPED,
}
# What a Hadoop node never needs of Docker's default set; without NET_RAW a node cannot pose as its neighbour.
_DROPPED: Final = ["AUDIT_WRITE", "MKNOD", "NET_RAW", "SETFCAP", "SYS_CHROOT"]
# A runaway job must not take the machine's process table. (Open files stay at the engine's limit: raising it above that fails.)
_PROCESSES: Final = 16384


@dataclass(frozen=True)
class Mounts:
    """The folders of this machine that nodes see: ``base`` for all, ``cluster`` holds one folder a node, ``datasets`` for the cluster."""

    base: Path
    cluster: Path
    datasets: Path


def network_name(tenant: str) -> str:
    """The tenant's network. Docker appends it to a container's name for reverse look-ups: it is the domain."""
    return f"labcloud-{tenant}"


def volume_name(ref: NodeRef, number: int, snapshot: str = "") -> str:
    return f"{ref.qualified}.data-{number}" + (f".{snapshot}" if snapshot else "")


def volume_identity(lab: str, ref: NodeRef, number: int, snapshot: str = "") -> dict[str, str]:
    """The labels that say whose a volume is, and which snapshot it holds if it is none that a node has."""
    return identity(lab, ref) | {VOLUME: str(number)} | ({SNAPSHOT: snapshot} if snapshot else {})


def filters(lab: str, *, tenant: str | None = None, cluster: ClusterRef | None = None) -> dict[str, list[str]]:
    """The ``filters`` of a list call for a lab, a tenant or a cluster. What has no tenant, as a probe, is a part of none of them."""
    wanted = [f"{LAB}={lab}", TENANT]
    if cluster is not None:
        wanted += [f"{TENANT}={cluster.tenant}", f"{CLUSTER}={cluster.name}"]
    elif tenant is not None:
        wanted.append(f"{TENANT}={tenant}")
    return {"label": wanted}


def identity(lab: str, ref: NodeRef) -> dict[str, str]:
    """The labels that say whose a container or a volume is."""
    return {LAB: lab, TENANT: ref.cluster.tenant, CLUSTER: ref.cluster.name, GROUP: ref.group, INDEX: str(ref.index)}


def create_body(lab: str, spec: NodeSpec, mounts: Mounts) -> dict[str, Any]:
    """The body of ``POST /containers/create`` for a node, its volumes and ports included."""
    ref = spec.ref
    network = network_name(ref.cluster.tenant)
    return {
        "Image": spec.image,
        # The kernel holds 64 characters of host name; the domain comes from /etc/hosts and the resolver.
        "Hostname": ref.name,
        "Domainname": f"{ref.cluster.name}.{ref.cluster.tenant}.{network}",
        "Labels": identity(lab, ref) | {PROFILE: spec.profile, DIGEST: spec.digest, MEMORY: str(spec.memory), CPUS: f"{spec.cpus:g}"},
        "ExposedPorts": {f"{port}/tcp": {} for port in spec.publish},
        "StopTimeout": 30,
        "HostConfig": _host_config(lab, spec, mounts),
        "NetworkingConfig": {"EndpointsConfig": {network: {}}},
    }


def _host_config(lab: str, spec: NodeSpec, mounts: Mounts) -> dict[str, Any]:
    ref = spec.ref
    return {
        "NetworkMode": network_name(ref.cluster.tenant),
        "DnsSearch": [f"{ref.cluster.name}.{ref.cluster.tenant}.{network_name(ref.cluster.tenant)}"],
        "Mounts": [
            _bind(mounts.base, "/etc/labcloud/base"),
            _bind(mounts.cluster / ref.name, "/etc/labcloud/cluster"),
            _bind(mounts.datasets, MOUNTED),
            *(_volume(lab, ref, number, volume.storage.path) for number, volume in enumerate(spec.volumes)),
        ],
        **limits_body(spec.memory, spec.cpus),
        "PidsLimit": _PROCESSES,
        "CapDrop": _DROPPED,
        "SecurityOpt": ["no-new-privileges"],
        "RestartPolicy": {"Name": "unless-stopped"},
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "5m", "max-file": "2"}},
        "PortBindings": {
            f"{port}/tcp": [{"HostIp": _LOOPBACK, "HostPort": str(host) if host else ""}] for port, host in spec.publish.items()
        },
    }


def limits_body(memory: int, cpus: float) -> dict[str, int]:
    """What requests say of ``memory`` MiB, swap included, and ``cpus`` cores."""
    return {"Memory": memory * 2**20, "MemorySwap": memory * 2**20, "NanoCpus": round(cpus * 1_000_000_000)}


def limits_of(answer: Mapping[str, Any]) -> tuple[int, float]:
    """MiB and cores from ``GET /containers/NAME/json``; 0 for no limit."""
    limits = answer["HostConfig"]
    return int(limits.get("Memory", 0)) // 2**20, int(limits.get("NanoCpus", 0)) / 1_000_000_000


def _bind(source: Path, target: str) -> dict[str, Any]:
    return {"Type": "bind", "Source": str(source), "Target": target, "ReadOnly": True}


def _volume(lab: str, ref: NodeRef, number: int, path: str) -> dict[str, Any]:
    # Without a driver: a volume that exists is taken whatever made it, one that does not is Docker's local one.
    options = {"Labels": volume_identity(lab, ref, number) | ({PATH: path} if path else {})}
    return {"Type": "volume", "Source": volume_name(ref, number), "Target": f"/data/{number}", "VolumeOptions": options}


def ref_of(labels: Mapping[str, str]) -> NodeRef:
    """The node that a container's or volume's labels name."""
    return NodeRef(ClusterRef(labels[TENANT], labels[CLUSTER]), labels[GROUP], int(labels[INDEX]))


def found_node(answer: Mapping[str, Any]) -> FoundNode:
    """A node from one entry of ``GET /containers/json``."""
    labels = answer["Labels"]
    networks = (answer.get("NetworkSettings") or {}).get("Networks") or {}
    return FoundNode(
        ref=ref_of(labels),
        status=_STATUS.get(answer["State"], Status.FAILED),
        profile=labels.get(PROFILE, ""),
        image=answer.get("Image", ""),
        digest=labels.get(DIGEST, ""),
        memory=int(labels.get(MEMORY, "0")),
        cpus=float(labels.get(CPUS, "0")),
        engine_id=answer["Id"],
        address=next((each.get("IPAddress") or "" for each in networks.values()), ""),
        created=float(answer.get("Created", 0)),
        published={
            each["PrivatePort"]: f"{each['IP']}:{each['PublicPort']}" for each in answer.get("Ports") or () if each.get("PublicPort")
        },
    )


def inspection(answer: Mapping[str, Any], network: str) -> Inspection:
    """A node from ``GET /containers/NAME/json``; ``network`` is its tenant's."""
    state, (memory, cpus) = answer["State"], limits_of(answer)
    return Inspection(
        state=state["Status"],
        exit_code=int(state.get("ExitCode", 0)),
        killed_for_memory=bool(state.get("OOMKilled")),
        restarts=int(answer.get("RestartCount", 0)),
        said=state.get("Error", ""),
        ended="" if state["Status"] in ("running", "paused", "created") else state.get("FinishedAt", ""),
        memory=memory,
        cpus=cpus,
        attached=network in (answer["NetworkSettings"].get("Networks") or {}),
    )
