"""Building, listing and pruning, on a store that only keeps what it was told."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from labcloud.images import declarations
from labcloud.images.model import LABEL_DIGEST, LABEL_NAME, Layer, StoredImage
from labcloud.images.room import Images


class Shelf:
    """An ImageStore of images as values; nothing is ever built."""

    def __init__(self, *images: StoredImage) -> None:
        self.kept = {image.id: image for image in images}
        self.tagged: list[tuple[str, str]] = []

    def images(self, *, layers: bool = False) -> Sequence[StoredImage]:  # noqa: ARG002 - the protocol names it
        return list(self.kept.values())

    def tag(self, image: str, tag: str) -> None:
        self.tagged.append((image, tag))

    def remove(self, image: str) -> None:
        self.kept = {each.id: each for each in self.kept.values() if image not in (each.id, *each.tags)}


def stored(name: str, digest: str, *layers: str, tagged: bool = True, in_use: bool = False) -> StoredImage:
    labels: Mapping[str, str] = {LABEL_NAME: name, LABEL_DIGEST: digest}
    tags = (f"labcloud/{name}:{digest}",) if tagged else ()
    return StoredImage("-".join((name, digest, str(tagged))), tags, labels, tuple(Layer(each, 10) for each in layers), in_use)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(declarations.FOLDER, tmp_path / "images"))


def room(shelf: Shelf, folder: Path) -> Images:
    return Images(shelf, folder.parent / "cache", folder=folder)  # type: ignore[arg-type]


def test_what_exists_by_its_digest_is_not_made_again(folder: Path) -> None:
    chain = room(Shelf(), folder).recipe("hadoop-2.7").ancestry()
    shelf = Shelf(*(stored(each.name, each.digest, str(depth)) for depth, each in enumerate(chain)))
    built = room(shelf, folder).build(["hadoop-2.7"])
    assert [each.name for each in built] == ["debian", "base", "java-8", "hadoop-2.7"]
    assert not any(each.made for each in built)
    assert (chain[-1].reference, "labcloud/hadoop-2.7:latest") in shelf.tagged


def test_prune_takes_what_nothing_names_or_uses(folder: Path) -> None:
    digest = room(Shelf(), folder).recipe("base").digest
    kept = [stored("base", digest, "a"), stored("hadoop-2.7", "000000000000", "a", "u", in_use=True)]
    gone = [stored("base", "111111111111", "b"), stored("base", digest, "a", "x", tagged=False)]
    shelf = Shelf(*kept, *gone)
    pruned = room(shelf, folder).prune()
    assert set(shelf.kept) == {each.id for each in kept}
    assert pruned.freed == 20
    assert set(pruned.removed) == {"labcloud/base:111111111111", gone[1].id}


def test_images_of_a_profile_without_a_lock_stay(folder: Path) -> None:
    (folder / "java-8.lock.yaml").unlink()
    shelf = Shelf(stored("java-8", "222222222222", "z"))
    assert room(shelf, folder).prune().removed == ()
