"""Groups of nodes as people write them: in a cluster's file, and in the files that `create` is given. Knows nothing of profiles.

::

    - {name: worker, count: 3, memory: 4g, cpus: 2, volumes: 2, volume_size: 20g, storage: fast}
    - name: worker
      volumes:                       # where they differ; or in short: 2x20g@fast+1x100g@bulk
      - {size: 20g, storage: fast}
      - {size: 100g, storage: bulk}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml

from labcloud.errors import UsageError
from labcloud.lab.document import Document
from labcloud.model import Volume, parse_gigabytes, parse_memory
from labcloud.model.shape import GroupShape, parse_cores, parse_count
from labcloud.model.storage import DEFAULT_VOLUME_SIZE, MOST_VOLUMES, parse_volumes, storage_name

VOLUME_KEYS: Final = ("volumes", "volume_size", "storage")
SHAPE_KEYS: Final = ("count", "memory", "cpus", *VOLUME_KEYS)


def volumes_document(volumes: tuple[Volume, ...]) -> dict[str, Any]:
    """What a group's entry says of its volumes: in short where all are alike."""
    if len(set(volumes)) > 1:
        return {"volumes": [_volume_document(each) for each in volumes]}
    alike = volumes[0] if volumes else Volume()
    return {"volumes": len(volumes), "volume_size": f"{alike.size}g"} | ({"storage": alike.storage} if alike.storage else {})


def _volume_document(volume: Volume) -> dict[str, str]:
    return {"size": f"{volume.size}g"} | ({"storage": volume.storage} if volume.storage else {})


def read_volumes(document: Document, fields: Mapping[str, yaml.Node]) -> GroupShape:
    """What the fields of a group say of its volumes. Raise ConfigError with the line of what is wrong."""
    node = fields.get("volumes")
    volumes = _listed(document, node) if isinstance(node, yaml.SequenceNode) else _scalar(document, node)
    size = fields.get("volume_size")
    storage = fields.get("storage")
    try:
        return GroupShape(
            volumes=volumes,
            volume_size=None if size is None else document.scalar(size, parse_gigabytes),
            storage=None if storage is None else document.scalar(storage, storage_name),
        )
    except UsageError as exc:
        assert node is not None  # noqa: S101  # only volumes that are listed can be said twice
        raise document.wrong(node.start_mark.line, exc.brief, exc.resolution) from exc


def _scalar(document: Document, node: yaml.Node | None) -> int | tuple[Volume, ...] | None:
    return None if node is None else document.scalar(node, parse_volumes)


def _listed(document: Document, node: yaml.SequenceNode) -> tuple[Volume, ...]:
    if len(node.value) > MOST_VOLUMES:
        raise document.wrong(node.start_mark.line, f"{len(node.value)} volumes are more than a node may have; the most is {MOST_VOLUMES}")
    return tuple(_volumes(document, node))


def _volumes(document: Document, node: yaml.SequenceNode) -> Iterator[Volume]:
    for item in node.value:
        fields = document.mapping(item, required=(), more=("size", "storage"))
        size = document.scalar(fields.get("size"), parse_gigabytes, DEFAULT_VOLUME_SIZE)
        yield Volume(size, document.scalar(fields.get("storage"), storage_name, ""))


def read_shape(document: Document, fields: Mapping[str, yaml.Node]) -> GroupShape:
    """What the fields of a group say, as `SHAPE_KEYS` names them. Raise ConfigError with the line of what is wrong."""
    count, memory, cpus = (fields.get(name) for name in ("count", "memory", "cpus"))
    limits = GroupShape(
        count=None if count is None else document.scalar(count, parse_count),
        memory=None if memory is None else document.scalar(memory, parse_memory),
        cpus=None if cpus is None else document.scalar(cpus, parse_cores),
    )
    return read_volumes(document, fields).over(limits)
