"""The simulated engine in a file, so that one command sees what an earlier one made. Knows nothing of calls."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from labcloud.errors import ConfigError
from labcloud.model import ClusterRef, NodeRef, NodeSpec, NodeVolume, Status, StorageClass
from labcloud.model.dataset import StoredDataset
from labcloud.model.storage import Media
from labcloud.providers.simulated.world import ClusterState, File, Files, Machine, World


def save(world: World, path: Path) -> None:
    """Write all of ``world`` to ``path``, at once."""
    labs = {
        id: {
            "networks": dict(sorted(lab.networks.items())),
            "clusters": [_cluster_out(ref, lab.clusters[ref]) for ref in sorted(lab.clusters)],
        }
        for id, lab in world.labs.items()
    }
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(json.dumps({"labs": labs}), encoding="utf-8")
    scratch.replace(path)


def load(path: Path) -> World:
    """The world that ``path`` holds; an empty one where there is no such file. Raise ConfigError if it is not one."""
    world = World()
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return world
    try:
        for id, kept in json.loads(text)["labs"].items():
            lab = world.lab(id)
            lab.networks.update(kept["networks"])
            for entry in kept["clusters"]:
                _cluster_in(world, id, entry)
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ConfigError(f"{path}:1: this is not the state of a simulated engine", resolution="remove the file") from exc
    return world


def _cluster_out(ref: ClusterRef, state: ClusterState) -> dict[str, Any]:
    nodes = [
        {
            "group": each.group, "index": each.index, "serial": machine.serial, "status": machine.status,
            "files": _files_out(machine.files), "published": {str(port): host for port, host in machine.published.items()},
            "spec": _spec_out(machine.spec),
        }
        for each, machine in state.nodes.items()
    ]  # fmt: skip
    volumes = [
        {"group": each.group, "index": each.index, "number": number, "files": _files_out(files)}
        for (each, number), files in state.volumes.items()
    ]
    return {
        "tenant": ref.tenant,
        "name": ref.name,
        "config": state.config,
        "excluded": sorted(state.excluded),
        "datasets": _datasets_out(state.datasets),
        "nodes": nodes,
        "volumes": volumes,
        "snapshots": [[each.name, number, id] for each, number, id in sorted(state.snapshots)],
    }


def _cluster_in(world: World, id: str, entry: dict[str, Any]) -> None:
    ref = ClusterRef(entry["tenant"], entry["name"])
    state = world.lab(id).opened(ref)
    state.config, state.excluded = entry["config"], frozenset(entry["excluded"])
    state.datasets = _datasets_in(entry.get("datasets"))
    for kept in entry["nodes"]:
        node = NodeRef(ref, kept["group"], kept["index"])
        published = {int(port): host for port, host in kept["published"].items()}
        machine = Machine(_spec_in(node, kept["spec"]), kept["serial"], Status(kept["status"]), published, _files_in(kept["files"]))
        state.nodes[node] = machine
        world.resume(machine.serial)
        world.ports.update(published.values())
    state.snapshots = {(NodeRef.parse(ref, name), number, id) for name, number, id in entry.get("snapshots", ())}
    for kept in entry["volumes"]:
        state.volumes[NodeRef(ref, kept["group"], kept["index"]), kept["number"]] = _files_in(kept["files"])


def _datasets_out(datasets: dict[str, StoredDataset] | None) -> dict[str, Any] | None:
    return None if datasets is None else {name: {"tag": each.tag, "folder": str(each.folder)} for name, each in datasets.items()}


def _datasets_in(kept: dict[str, Any] | None) -> dict[str, StoredDataset] | None:
    return None if kept is None else {name: StoredDataset(facts["tag"], Path(facts["folder"])) for name, facts in kept.items()}


def _spec_out(spec: NodeSpec) -> dict[str, Any]:
    return {
        "image": spec.image, "profile": spec.profile, "memory": spec.memory, "cpus": spec.cpus,
        "volumes": [{"size": each.size, "storage": _storage_out(each.storage)} for each in spec.volumes],
        "publish": {str(port): host for port, host in spec.publish.items()},
    }  # fmt: skip


def _spec_in(ref: NodeRef, kept: dict[str, Any]) -> NodeSpec:
    volumes = tuple(NodeVolume(each["size"], _storage_in(each["storage"])) for each in kept["volumes"])
    return NodeSpec(ref=ref, **{**kept, "volumes": volumes, "publish": {int(port): host for port, host in kept["publish"].items()}})


def _storage_out(storage: StorageClass) -> dict[str, Any]:
    return {each.name: getattr(storage, each.name) for each in fields(storage)} | {"options": dict(storage.options)}


def _storage_in(kept: dict[str, Any]) -> StorageClass:
    return StorageClass(**{**kept, "media": Media(kept["media"])})


def _files_out(files: Files) -> dict[str, Any]:
    return {path: {**asdict(file), "content": base64.b64encode(file.content).decode()} for path, file in files.items()}


def _files_in(kept: dict[str, Any]) -> Files:
    return {path: File(**{**facts, "content": base64.b64decode(facts["content"])}) for path, facts in kept.items()}
