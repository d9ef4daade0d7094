"""Glance as the holder of machines' disks: uploads one unless the cloud has it. Knows no profile, and nothing of how a disk is made.

Glance takes an image in one request, from its first byte to its last: an upload that broke cannot go on in the middle
(https://docs.openstack.org/api-ref/image/v2/#upload-binary-image-data). What can be kept is the image's record, which stays ``queued``:
it is used again, so that nothing half-made is left beside what is whole. Nobody can boot an image before it is ``active``, and one that
arrived otherwise than it was sent is deleted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from labcloud import __version__
from labcloud.errors import ConflictError, EngineError, NotFoundError
from labcloud.images.emulator import USER
from labcloud.images.model import DiskImage, Event, Level, Progress, silent
from labcloud.model import format_bytes
from labcloud.providers.openstack.catalogue import IMAGE_PROPERTY, name_of
from labcloud.providers.openstack.connection import Cloud

CHECKSUM_PROPERTY: Final = "labcloud_sha512"
VISIBILITIES: Final = ("private", "shared", "community", "public")
_TRIES: Final = 3
_TENTH: Final = 10
# An upload that is at work longer than this was broken off where nobody told Glance.
_STALE: Final = 6 * 3600.0
_AT_WORK: Final = ("saving", "uploading", "importing")


@dataclass(frozen=True)
class Published:
    """An image as Glance has it: ``made`` is false where it was there. ``seconds`` is how long it took."""

    name: str
    id: str
    cloud: str
    format: str
    size: int
    checksum: str
    min_disk: int
    min_ram: int
    visibility: str
    made: bool
    seconds: float


class GlanceImageStore:
    """The disks of one cloud, seen by one project. ``lab`` is the identity of the lab that publishes."""

    def __init__(self, cloud: Cloud, lab: str = "") -> None:
        self._cloud = cloud
        self._lab = lab

    def publish(self, disk: DiskImage, *, visibility: str = "private", progress: Progress = silent) -> Published:
        """Upload the disk. One with the same bytes that is there already is not uploaded again."""
        begin = time.monotonic()
        known = self._known(disk)
        image = next((each for each in known if each.status == "active" and _whole(each, disk)), None)
        made = image is None
        if image is None:
            self._tidy(known, disk, progress)
            image = self._upload(disk, next((each for each in known if each.status == "queued"), None), visibility, progress)
        else:
            progress(Event(f"{self._cloud.label} has it already, as {image.id}", disk.name))
            if name_of(image) != disk.name:
                self._describe(image, disk)
        return Published(
            disk.name, image.id, self._cloud.label, str(disk.format), image.size, image.hash_value or image.checksum or "",
            disk.min_disk, disk.min_ram, image.visibility, made, time.monotonic() - begin,
        )  # fmt: skip

    def _known(self, disk: DiskImage) -> list[Any]:
        """The images with these bytes: labcloud's, or the project's own by whatever way, and those of a publishing that was broken off."""
        # Compared here: a filter that the SDK does not know is no filter, and what is found may be deleted.
        found, project = self._cloud.read(
            f"look for the image {disk.name}", lambda api: (list(api.image.images()), str(api.current_project_id))
        )

        def counts(image: Any) -> bool:
            ours = _checksum(image) == disk.sha512
            if image.owner_id == project:
                return ours or bool(image.hash_value == disk.sha512)
            return ours and image.status == "active" and _whole(image, disk)

        return [each for each in found if each.disk_format == disk.format and counts(each)]

    def _tidy(self, known: Sequence[Any], disk: DiskImage, progress: Progress) -> None:
        """Delete what broken-off uploads of these very bytes left and nobody can use."""
        for image in known:
            if _checksum(image) != disk.sha512:
                continue
            stale = image.status in _AT_WORK and _age(image) > _STALE
            if image.status == "killed" or stale or (image.status == "active" and not _whole(image, disk)):
                progress(Event(f"deleting {image.id}, which is {image.status} and not whole", disk.name, Level.WARNING))
                self._delete(image.id)

    def _upload(self, disk: DiskImage, queued: Any | None, visibility: str, progress: Progress) -> Any:
        image = queued or self._reserve(disk, visibility)
        if queued:
            progress(Event(f"taking up {image.id}, whose upload was broken off", disk.name))
        for attempt in range(1, _TRIES + 1):
            try:
                self._send(image.id, disk, progress)
                break
            except (EngineError, ConflictError) as exc:
                if attempt == _TRIES or self._status(image.id) != "queued":
                    raise
                progress(Event(f"{exc.brief}; from the beginning again", disk.name, Level.WARNING))
        sent = self._get(image.id)
        if sent.status != "active" or not _whole(sent, disk):
            self._delete(image.id)
            resolution = "see that the file and the network are sound, then run the same command again"
            raise EngineError(f"{disk.name} arrived in {self._cloud.label} otherwise than it was sent", resolution=resolution)
        return sent

    def _reserve(self, disk: DiskImage, visibility: str) -> Any:
        with self._cloud.change(f"make the image {disk.name}") as api:
            return api.image.create_image(
                f"labcloud/{disk.name}",
                disk_format=str(disk.format),
                container_format="bare",
                min_disk=disk.min_disk,
                min_ram=disk.min_ram,
                visibility=visibility,
                allow_duplicates=True,
                meta=dict[str, Any](properties(disk, self._lab)),
            )

    def _send(self, image: str, disk: DiskImage, progress: Progress) -> None:
        from openstack.exceptions import raise_from_response

        headers = {"Content-Type": "application/octet-stream"}
        doing = f"upload the image {disk.name}"

        def tell(done: int, whole: int) -> None:
            progress(Event(f"{format_bytes(done)} of {format_bytes(whole)} sent", disk.name))

        with _Reader(disk.path, tell) as file, self._cloud.change(doing) as api:
            raise_from_response(api.image.put(f"/images/{image}/file", headers=headers, data=file))

    def _describe(self, image: Any, disk: DiskImage) -> None:
        """Name an image that was uploaded by hand, so that clusters find it."""
        named = {"name": f"labcloud/{disk.name}", "min_disk": disk.min_disk, "min_ram": disk.min_ram}
        with self._cloud.change(f"describe the image {disk.name}") as api:
            api.image.update_image(image.id, **named, **properties(disk, self._lab))

    def _get(self, image: str) -> Any:
        return self._cloud.read("look at the image", lambda api: api.image.get_image(image))

    def _status(self, image: str) -> str:
        return str(self._get(image).status)

    def _delete(self, image: str) -> None:
        try:
            with self._cloud.change(f"delete the image {image}") as api:
                api.image.delete_image(image, ignore_missing=True)
        except NotFoundError:
            pass


def properties(disk: DiskImage, lab: str) -> dict[str, str]:
    """What Glance is told of a disk: where it comes from, for people and for `labcloud`; what it is, for Nova and Horizon.

    No devices (``hw_disk_bus``, …): virtio is what Nova takes anyway where there are virtual machines, and its containers refuse the name.
    https://docs.openstack.org/glance/latest/admin/useful-image-properties.html
    """
    built = datetime.fromtimestamp(disk.built, UTC).isoformat().replace("+00:00", "Z")
    origin = {
        IMAGE_PROPERTY: disk.name,
        "labcloud_digest": disk.digest,
        CHECKSUM_PROPERTY: disk.sha512,
        "labcloud_version": disk.version,
        "labcloud_java": disk.java,
        "labcloud_built": built,
        "labcloud_lab": lab,
        "labcloud_by": f"labcloud {__version__}",
    }
    nature = {"architecture": "x86_64", "os_type": "linux", "os_distro": "debian", "os_admin_user": USER}
    return {key: value for key, value in (origin | nature).items() if value}


def _checksum(image: Any) -> str:
    """The checksum of what labcloud sent or was to send; empty for an image that it did not make."""
    return str((image.properties or {}).get(CHECKSUM_PROPERTY) or "")


def _whole(image: Any, disk: DiskImage) -> bool:
    """Whether Glance's image is the disk, by the checksum that Glance took itself."""
    if image.hash_algo == "sha512":
        return bool(image.hash_value == disk.sha512)
    return bool(image.size == disk.path.stat().st_size)


def _age(image: Any) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(str(image.updated_at).replace("Z", "+00:00"))).total_seconds()


class _Reader:
    """A file that is read for an upload, and says after each tenth how far it is."""

    def __init__(self, path: Path, tell: Callable[[int, int], None]) -> None:
        self._file = path.open("rb")
        self._size = path.stat().st_size
        self._tell = tell
        self._told = 0

    def __len__(self) -> int:
        return self._size

    def read(self, size: int = -1) -> bytes:
        chunk = self._file.read(size if size < 0 else max(size, 1 << 20))
        done = self._file.tell()
        if done * _TENTH // self._size > self._told:
            self._told = done * _TENTH // self._size
            self._tell(done, self._size)
        return chunk

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()
