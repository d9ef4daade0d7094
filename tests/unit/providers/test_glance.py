"""Publishing disks: what is sent, what is not sent again, what a broken upload leaves. Glance is one in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from requests import ConnectionError as BrokenConnection

from labcloud.errors import EngineError
from labcloud.images.model import DiskFormat, DiskImage, Event
from labcloud.providers.openstack.connection import Cloud
from labcloud.providers.openstack.image_store import GlanceImageStore

CONTENT = bytes(range(256)) * 20_000


class Record(SimpleNamespace):
    """An image as the SDK gives it."""

    def get(self, name: str) -> Any:
        return self.properties.get(name)


class Glance:
    """Images as Glance keeps them: a record first, then its bytes, then a checksum. ``breaks``: uploads that end early."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self._numbers = count(1)
        self.breaks = 0
        self.spoils = False
        self.sent = 0

    def images(self) -> Iterator[Any]:
        yield from list(self.kept.values())

    def create_image(self, name: str, *, meta: dict[str, Any], allow_duplicates: bool, **facts: Any) -> Any:
        assert allow_duplicates
        self.record(name, status="queued", properties=meta, **facts)
        return list(self.kept.values())[-1]

    def record(self, name: str, **facts: Any) -> str:
        id = f"image-{next(self._numbers)}"
        base = {"hash_algo": None, "hash_value": None, "checksum": None, "size": None, "owner_id": "mine", "disk_format": "raw"}
        times = {"updated_at": "2020-01-01T00:00:00Z", "visibility": "private", "properties": {}}
        self.kept[id] = Record(**base | times | {"id": id, "name": name} | facts)
        return id

    def put(self, path: str, *, headers: dict[str, str], data: Any) -> Any:
        assert headers == {"Content-Type": "application/octet-stream"}
        image = self.kept[path.split("/")[2]]
        self.sent += 1
        if self.breaks:
            self.breaks -= 1
            data.read(16384)
            raise BrokenConnection("reset by peer")
        content = b"".join(iter(lambda: data.read(16384), b""))
        assert len(content) == len(data)
        image.status, image.size = "active", len(content)
        image.hash_algo, image.hash_value = "sha512", hashlib.sha512(content[:100] if self.spoils else content).hexdigest()
        return SimpleNamespace(status_code=204)

    def get_image(self, id: str) -> Any:
        return self.kept[id]

    def update_image(self, id: str, *, name: str, min_disk: int, min_ram: int, **properties: str) -> None:
        self.kept[id].name, self.kept[id].min_disk, self.kept[id].min_ram = name, min_disk, min_ram
        self.kept[id].properties |= properties

    def delete_image(self, id: str, *, ignore_missing: bool) -> None:
        assert ignore_missing
        del self.kept[id]


class Here(Cloud):
    """A cloud that is reached without a network; errors are translated as ever."""

    def __init__(self, glance: Glance) -> None:
        super().__init__("here")
        self._api = SimpleNamespace(image=glance, current_project_id="mine")

    @contextmanager
    def change(self, doing: str) -> Iterator[Any]:
        with self._translated(doing):
            yield self._api


@pytest.fixture
def glance() -> Glance:
    return Glance()


@pytest.fixture
def disk(tmp_path: Path) -> DiskImage:
    path = tmp_path / "hadoop-2.7-0123456789ab.raw"
    path.write_bytes(CONTENT)
    digest = hashlib.sha512(CONTENT).hexdigest()
    return DiskImage("hadoop-2.7", "0123456789ab", DiskFormat.RAW, path, "2.7.7", "8", len(CONTENT), len(CONTENT), digest, 0, 1, 512)


def publish(glance: Glance, disk: DiskImage, tell: Callable[[Event], None] = lambda _: None) -> Any:
    return GlanceImageStore(Here(glance), "lab00001").publish(disk, progress=tell)


def test_a_disk_is_sent_once(glance: Glance, disk: DiskImage) -> None:
    said: list[str] = []
    first = publish(glance, disk, lambda event: said.append(event.message))
    again = publish(glance, disk)
    assert (first.made, again.made, first.id, glance.sent) == (True, False, again.id, 1)
    assert said[-1] == "5.1 MB of 5.1 MB sent"
    image = glance.kept[first.id]
    assert (image.name, image.min_disk, image.min_ram) == ("labcloud/hadoop-2.7", 1, 512)
    assert image.properties["labcloud_image"] == "hadoop-2.7"
    assert image.properties["labcloud_digest"] == "0123456789ab"
    assert image.properties["labcloud_lab"] == "lab00001"


def test_another_format_is_another_image(glance: Glance, disk: DiskImage) -> None:
    glance.record("labcloud/hadoop-2.7", status="active", disk_format="qcow2", properties={"labcloud_sha512": disk.sha512})
    assert publish(glance, disk).made


def test_what_was_uploaded_by_hand_is_taken_over(glance: Glance, disk: DiskImage) -> None:
    mine = glance.record("by hand", status="active", hash_algo="sha512", hash_value=disk.sha512, size=len(CONTENT))
    published = publish(glance, disk)
    assert (published.id, published.made, glance.sent) == (mine, False, 0)
    assert glance.kept[mine].name == "labcloud/hadoop-2.7"
    assert glance.kept[mine].properties["labcloud_image"] == "hadoop-2.7"


def test_other_images_are_left_alone(glance: Glance, disk: DiskImage) -> None:
    """Whole ones, such as are being made, such as are not whole: none has these bytes."""
    others = [
        glance.record("labcloud/java-8", status="active", hash_algo="sha512", hash_value="other", properties={"labcloud_sha512": "other"}),
        glance.record("by hand", status="active", hash_algo="sha512", hash_value="more"),
        glance.record("labcloud/java-8", status="queued", properties={"labcloud_sha512": "other"}),
        glance.record("begun by hand", status="queued"),
        glance.record("labcloud/java-8", status="saving", properties={"labcloud_sha512": "other"}),
        glance.record("broken by hand", status="killed"),
    ]
    before = {id: dict(vars(glance.kept[id])) for id in others}
    published = publish(glance, disk)
    assert published.made
    assert published.id not in others
    assert {id: dict(vars(glance.kept[id])) for id in others} == before


def test_an_image_of_another_project_is_used_if_labcloud_published_it_whole(glance: Glance, disk: DiskImage) -> None:
    whole = {"status": "active", "hash_algo": "sha512", "hash_value": disk.sha512, "owner_id": "theirs"}
    ours = {"labcloud_sha512": disk.sha512, "labcloud_image": "hadoop-2.7"}
    by_hand = glance.record("x", **whole)
    begun = glance.record("labcloud/hadoop-2.7", **whole | {"status": "queued", "properties": ours})
    broken = glance.record("labcloud/hadoop-2.7", **whole | {"hash_value": "other", "properties": ours})
    assert publish(glance, disk).id not in (by_hand, begun, broken)
    assert {by_hand, begun, broken} < set(glance.kept)
    del glance.kept["image-4"]
    published = glance.record("labcloud/hadoop-2.7", **whole, properties=ours)
    assert publish(glance, disk).id == published
    assert glance.kept[by_hand].name == "x"


def test_a_broken_upload_begins_again_in_the_same_record(glance: Glance, disk: DiskImage) -> None:
    glance.breaks = 2
    assert publish(glance, disk).made
    assert (glance.sent, len(glance.kept)) == (3, 1)


def test_a_broken_off_publishing_is_taken_up(glance: Glance, disk: DiskImage) -> None:
    glance.breaks = 3
    with pytest.raises(EngineError, match=r"could not upload the image hadoop-2\.7"):
        publish(glance, disk)
    assert [each.status for each in glance.kept.values()] == ["queued"]
    published = publish(glance, disk)
    assert list(glance.kept) == [published.id]
    assert glance.kept[published.id].status == "active"


def test_an_upload_that_nobody_goes_on_with_is_deleted(glance: Glance, disk: DiskImage) -> None:
    left = glance.record("labcloud/hadoop-2.7", status="saving", properties={"labcloud_sha512": disk.sha512})
    glance.record("labcloud/hadoop-2.7", status="saving", properties={"labcloud_sha512": disk.sha512}, updated_at="2999-01-01T00:00:00Z")
    publish(glance, disk)
    assert left not in glance.kept
    assert sorted(each.status for each in glance.kept.values()) == ["active", "saving"]


def test_what_arrives_otherwise_is_deleted(glance: Glance, disk: DiskImage) -> None:
    glance.spoils = True
    with pytest.raises(EngineError, match="otherwise than it was sent"):
        publish(glance, disk)
    assert glance.kept == {}
