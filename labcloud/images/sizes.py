"""What images take, and what they share. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from labcloud.images.model import LABEL_JAVA, LABEL_VERSION, ImageList, ImageRow, StoredImage


def table(images: Sequence[StoredImage], current: Collection[tuple[str, str]]) -> ImageList:
    """Rows by name; ``own`` is what an image adds to the nearest image below it. Layers that several have count once in the total."""
    rows = [_row(image, images, current) for image in images]
    layers = {layer.id: layer.size for image in images for layer in image.layers}
    return ImageList(tuple(sorted(rows, key=lambda row: (row.name, row.reference))), sum(layers.values()))


def _row(image: StoredImage, images: Sequence[StoredImage], current: Collection[tuple[str, str]]) -> ImageRow:
    parent = _parent(image, images)
    below = len(parent.layers) if parent else 0
    own = sum(layer.size for layer in image.layers[below:])
    return ImageRow(
        name=image.name,
        reference=next((tag for tag in image.tags if not tag.endswith(":latest")), next(iter(image.tags), image.id)),
        version=image.labels.get(LABEL_VERSION, ""),
        java=image.labels.get(LABEL_JAVA, ""),
        parent=parent.name if parent else "",
        own=own,
        shared=image.size - own,
        current=image.key in current,
        in_use=image.in_use,
    )


def _parent(image: StoredImage, images: Sequence[StoredImage]) -> StoredImage | None:
    below = [each for each in images if len(each.layers) < len(image.layers) and image.layers[: len(each.layers)] == each.layers]
    return max(below, key=lambda each: len(each.layers), default=None)
