"""The engine of another Docker host, as a place for nodes of a lab whose home is elsewhere.

What nodes at home see of this machine's folders lies there in volumes beside their data, **mirrors**, which the home fills: one of the base
and of the configuration for each node, one of the datasets for a cluster. Nodes have the address that their stand-in keeps, and ask the
home for names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from labcloud.model import ClusterRef, Found, FoundNode, NodeRef, NodeSpec, NodeVolume, StorageClass
from labcloud.model.dataset import MOUNTED
from labcloud.providers.docker import containers
from labcloud.providers.docker.engine import Engine, gone_is_done, refused
from labcloud.providers.docker.provider import DockerProvider
from labcloud.providers.docker.settings import Place

if TYPE_CHECKING:
    from docker import APIClient

BASE: Final = "base"
CONFIG: Final = "config"
DATASETS: Final = "datasets"
_PUBLISH: Final = containers.PREFIX + "publish"
_SEEN: Final = {BASE: "/etc/labcloud/base", CONFIG: "/etc/labcloud/cluster", DATASETS: MOUNTED}


class RemoteDocker(DockerProvider):
    """As `DockerProvider`, for nodes that have come from the home. ``name_of`` the host is told to people."""

    def __init__(self, home: Path, lab_id: str, host: str, place: Place) -> None:
        self.engine = Engine(place.url or None, context=place.context, name=host)
        super().__init__(home, lab_id, engine=self.engine)
        self.host = host
        self._seats: dict[NodeRef, tuple[str, str]] = {}

    @property
    def _here(self) -> bool:
        return False

    def seated(self, ref: NodeRef, address: str, names: str) -> None:
        """Which address the node has when it is made, and whom it asks for names."""
        self._seats[ref] = (address, names)

    def find(self, tenant: str | None = None, cluster: ClusterRef | None = None) -> Found:
        found = super().find(tenant, cluster)
        return replace(found, networks=frozenset(), configs={}, datasets={})

    def _nodes(self, api: APIClient, filters: dict[str, list[str]]) -> list[FoundNode]:
        answers = api.containers(all=True, filters=filters)
        return [_reached(containers.found_node(each), each) for each in answers if containers.GROUP in each["Labels"]]

    def _body(self, spec: NodeSpec) -> dict[str, Any]:
        address, names = self._seats[spec.ref]
        body = containers.create_body(self._lab, spec, containers.Mounts(Path(), Path(), Path()))
        return settled(body, self._lab, spec.ref, address, names)

    def delete_node(self, ref: NodeRef) -> None:
        super().delete_node(ref)
        with self.engine.api(f"delete the mirrors of {ref}") as api:
            for folder in _SEEN:
                _remove_volume(api, mirror_name(ref, folder))

    def class_volumes(self, ref: NodeRef) -> Mapping[int, NodeVolume]:
        """`class_volumes` of a node here; a host that has lost it knows none."""
        with self.engine.api(f"look at {ref}") as api, gone_is_done():
            return class_volumes(api.inspect_container(ref.qualified))
        return {}

    def mirrors(self, ref: NodeRef) -> Mapping[str, Mapping[str, Any]]:
        """The node's mirrors, as mounts by the names of what they repeat."""
        return {name: _mirror(self._lab, ref, name) for name in _SEEN}


def data_mounts(lab: str, ref: NodeRef, count: int) -> dict[str, dict[str, Any]]:
    """A node's data volumes, as mounts by the names of their folders; they are made if they are not there."""
    return {
        f"data-{number}": {
            "Type": "volume", "Source": containers.volume_name(ref, number),
            "VolumeOptions": {"Labels": containers.volume_identity(lab, ref, number)},
        }
        for number in range(count)
    }  # fmt: skip


def home_mounts(mounts: containers.Mounts, ref: NodeRef) -> dict[str, dict[str, Any]]:
    """The folders of this machine that a node sees, by the names of the mirrors that repeat them."""
    folders = {BASE: mounts.base, CONFIG: mounts.cluster / ref.name, DATASETS: mounts.datasets}
    return {name: {"Type": "bind", "Source": str(folder)} for name, folder in folders.items()}


def mirror_name(ref: NodeRef, folder: str) -> str:
    """Datasets are large, and the same for all nodes of a cluster."""
    return f"{ref.cluster.name}.{ref.cluster.tenant}.{folder}" if folder == DATASETS else f"{ref.qualified}.{folder}"


def _mirror(lab: str, ref: NodeRef, folder: str) -> dict[str, Any]:
    labels = containers.identity(lab, ref) | {containers.MIRROR: folder}
    return {"Type": "volume", "Source": mirror_name(ref, folder), "VolumeOptions": {"Labels": labels}}


def settled(body: Mapping[str, Any], lab: str, ref: NodeRef, address: str, names: str) -> dict[str, Any]:
    """The body of a create call for a node, as another host's engine shall have it: nothing of this machine, nothing published."""
    network = containers.network_name(ref.cluster.tenant)
    own = [each for each in body["HostConfig"]["Mounts"] if each["Type"] == "volume" and each["Target"] not in _SEEN.values()]
    mirrors = [{**_mirror(lab, ref, folder), "Target": target, "ReadOnly": True} for folder, target in _SEEN.items()]
    ports = body["HostConfig"].get("PortBindings") or {}
    labels = {_PUBLISH: json.dumps(ports), **body["Labels"]}
    host = {**body["HostConfig"], "Mounts": [*mirrors, *own], "PortBindings": {}, "Dns": [names]}
    return {**body, "Labels": labels, "HostConfig": host, "NetworkingConfig": _endpoint(network, address)}


def at_home(body: Mapping[str, Any], mounts: containers.Mounts, ref: NodeRef) -> dict[str, Any]:
    """The opposite of `settled`: this machine's folders again, and the ports."""
    labels = dict(body["Labels"])
    ports = json.loads(labels.pop(_PUBLISH, "{}"))
    seen = [
        {"Type": "bind", "Source": mount["Source"], "Target": _SEEN[name], "ReadOnly": True}
        for name, mount in home_mounts(mounts, ref).items()
    ]
    own = [each for each in body["HostConfig"]["Mounts"] if each["Type"] == "volume" and each["Target"] not in _SEEN.values()]
    host = {**body["HostConfig"], "Mounts": [*seen, *own], "PortBindings": ports, "Dns": []}
    return {**body, "Labels": labels, "HostConfig": host, "NetworkingConfig": _endpoint(containers.network_name(ref.cluster.tenant), "")}


def class_volumes(body: Mapping[str, Any]) -> dict[int, NodeVolume]:
    """Of a node's container, or of what would create it: by their numbers, the data volumes that the home has in folders of storage
    classes."""
    mounts = (each["VolumeOptions"]["Labels"] for each in body["HostConfig"]["Mounts"] if each["Target"].startswith("/data/"))
    classes = {int(each[containers.VOLUME]): StorageClass(path=each[containers.PATH]) for each in mounts if containers.PATH in each}
    return {number: NodeVolume(storage=storage) for number, storage in classes.items()}


def body_of(answer: Mapping[str, Any]) -> dict[str, Any]:
    """From ``GET /containers/NAME/json``, what would create the same again."""
    config = answer["Config"]
    kept = ("Image", "Hostname", "Domainname", "Labels", "ExposedPorts", "StopTimeout")
    return {name: config[name] for name in kept if config.get(name) is not None} | {"HostConfig": answer["HostConfig"]}


def _endpoint(network: str, address: str) -> dict[str, Any]:
    return {"EndpointsConfig": {network: {"IPAMConfig": {"IPv4Address": address}} if address else {}}}


def _reached(node: FoundNode, answer: Mapping[str, Any]) -> FoundNode:
    """Its ports are published nowhere: on this machine they are at its own address."""
    ports = {int(each["PrivatePort"]) for each in answer.get("Ports") or ()}
    return replace(node, published={port: f"{node.address}:{port}" for port in sorted(ports) if node.address})


def _remove_volume(api: APIClient, name: str) -> None:
    from docker.errors import APIError

    try:
        with gone_is_done():
            api.remove_volume(name)
    except APIError as exc:
        if not refused(exc, 409):  # another node of the cluster has it
            raise
