"""Data volumes as people write them, and the classes that they name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labcloud.errors import NotFoundError, UsageError
from labcloud.model import NodeRef, NodeSpec, NodeVolume, StorageClass, Volume
from labcloud.model.names import ClusterRef
from labcloud.model.storage import LOCAL, MOST_VOLUMES, Media, format_volumes, media_tags, parse_volumes, storage_class, storage_name

DISK, SSD, ARCHIVE, RAM = Media
CLASSES = {"fast": StorageClass("fast", path="/mnt/nvme", media=SSD), "bulk": StorageClass("bulk", path="/mnt/bulk")}
volumes = st.lists(st.builds(Volume, st.integers(1, 5000), st.sampled_from(["", "fast", "nfs-2"])), min_size=1, max_size=MOST_VOLUMES)


def test_volumes_are_read_as_they_are_written() -> None:
    fast, bulk = Volume(20, "fast"), Volume(100, "bulk")
    assert parse_volumes("2x20g@fast+1x100g@bulk") == (fast, fast, bulk)
    assert parse_volumes("20g@default+1t") == (Volume(20), Volume(1024))
    assert parse_volumes("3") == 3
    assert format_volumes((fast, fast, bulk)) == "2x20g@fast+1x100g@bulk"


@given(volumes.map(tuple))
def test_what_is_written_is_read_the_same(wanted: tuple[Volume, ...]) -> None:
    assert parse_volumes(format_volumes(wanted)) == wanted


NO_VOLUMES = ["", "x", "two", "2x", "2xg", "65", "0x20g", "20g@", "20g@Fast", "20g@../x", "1x20g+", "99x1g", "40x1g+40x1g", "2x20"]


@pytest.mark.parametrize("text", NO_VOLUMES)
def test_what_says_no_volumes_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_volumes(text)
    assert caught.value.resolution


def test_a_class_is_found_by_its_name() -> None:
    assert storage_class(CLASSES, "fast").path == "/mnt/nvme"
    assert storage_class(CLASSES, "") is LOCAL
    mine = StorageClass("default", path="/srv")
    assert storage_class({"default": mine}, "") is mine
    assert storage_name("default") == ""


def test_the_nearest_class_is_named_for_one_that_is_not_there() -> None:
    with pytest.raises(NotFoundError, match="no storage class 'fsat'") as caught:
        storage_class(CLASSES, "fsat")
    assert "did you mean fast?" in caught.value.resolution


@pytest.mark.parametrize(
    ("media", "tags"),
    [
        ((DISK, DISK), ("", "")),
        ((DISK, SSD, ARCHIVE, RAM), ("", "[SSD]", "[ARCHIVE]", "[RAM_DISK]")),
        ((SSD, SSD), ("", "")),
        ((ARCHIVE, SSD), ("[ARCHIVE]", "")),
        ((RAM, ARCHIVE), ("[RAM_DISK]", "")),
        ((), ()),
    ],
)
def test_hdfs_always_has_a_disk_to_write_to(media: tuple[Media, ...], tags: tuple[str, ...]) -> None:
    assert media_tags(media) == tags


def test_a_node_drifts_by_what_it_is_made_with_for_good() -> None:
    ref = NodeRef(ClusterRef("acme", "c"), "worker", 0)
    fast = NodeVolume(20, CLASSES["fast"])
    spec = NodeSpec(ref, "i", "p", 1024, 1.0, (NodeVolume(), fast))
    moved = NodeVolume(30, StorageClass("fast", path="/elsewhere"))
    assert spec.digest == NodeSpec(ref, "i", "p", 2048, 2.0, (NodeVolume(), moved)).digest
    others = [replace(spec, image="j"), replace(spec, volumes=(fast, fast)), replace(spec, volumes=(fast,))]
    assert len({spec.digest, *(each.digest for each in others)}) == 4
