"""What a cloud offers to make servers of: images and flavors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from labcloud.errors import ConflictError, NotFoundError
from labcloud.model import format_memory
from labcloud.providers.openstack.connection import Cloud

IMAGE_PROPERTY: Final = "labcloud_image"
"""The property of a Glance image that says of which profile's image it was made."""

_GIB: Final = 2**30


def reference(image: Any) -> str:
    """How a cluster pins an image: its labcloud name and its id."""
    return f"{name_of(image)}@{image.id}"


def name_of(image: Any) -> str:
    return str((image.properties or {}).get(IMAGE_PROPERTY) or image.get(IMAGE_PROPERTY) or "")


class Catalogue:
    """Images and flavors that the project sees."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def images(self, name: str) -> list[Any]:
        """The active images of ``name`` (``hadoop-2.7``), the newest first."""
        found = self._cloud.read(
            f"look for the image {name}",
            lambda api: list(api.image.images(status="active", sort="created_at:desc")),
        )
        return [each for each in found if name_of(each) == name]

    def newest(self, name: str, preferred: str = "") -> str:
        """The reference of an image: ``preferred`` if it is one of them, else the newest. Raise NotFoundError if there is none."""
        references = [reference(each) for each in self.images(name)]
        if not references:
            raise NotFoundError(
                f"the image of {name} is not in {self._cloud.label} yet",
                resolution=f"publish it: labcloud image publish {name} --provider openstack",
            )
        return preferred if preferred in references else references[0]

    def image(self, wanted: str) -> Any:
        """The image that a reference pins. Raise NotFoundError if it is gone."""
        name, _, id = wanted.rpartition("@")
        found = next((each for each in self.images(name) if each.id == id), None) if name else None
        if found is None:
            raise NotFoundError(
                f"there is no image {wanted} in {self._cloud.label}", resolution="'openstack image list' shows those that there are"
            )
        return found

    def flavors(self) -> list[Any]:
        return self._cloud.read("ask which flavors there are", lambda api: list(api.compute.flavors()))

    @staticmethod
    def fitting(flavors: list[Any], *, memory: int, cpus: float, image: Any, disk: int = 0) -> Any:
        """The smallest of ``flavors`` with ``memory`` MiB, ``cpus`` cores and a disk of ``disk`` GiB, on which ``image`` has room."""
        return choose_flavor(flavors, memory=memory, cpus=cpus, disk=max(disk, disk_of(image)), ram=int(image.min_ram or 0))


def networks_meant(networks: Iterable[Any], wanted: str) -> list[Any]:
    """Those of ``networks`` that ``wanted`` names, by name or id; all of them where nothing is wanted."""
    return [each for each in networks if not wanted or wanted in (each.name, each.id)]


def disk_of(image: Any, more: int = 0) -> int:
    """GiB of the disk that an image needs, and ``more`` bytes beside it: what it says itself, or its size."""
    size = max(int(image.get("virtual_size") or image.size or 0), int(image.min_disk or 0) * _GIB if more else 0)
    return max(int(image.min_disk or 0), -(-(size + more) // _GIB))


def choose_flavor(flavors: list[Any], *, memory: int, cpus: float, disk: int, ram: int) -> Any:
    """The smallest that fits; one without a disk has room for any image. Raise NotFoundError for none, ConflictError for several."""
    least = max(memory, ram)
    fitting = [each for each in flavors if each.ram >= least and each.vcpus >= cpus and (each.disk >= disk or not each.disk)]
    if not fitting:
        there = ", ".join(
            f"{each.name} ({format_memory(each.ram)}, {each.vcpus} cores, {each.disk} GiB)" for each in sorted(flavors, key=size_of)
        )
        raise NotFoundError(
            f"no flavor has {format_memory(least)}, {cpus:g} cores and a disk of {disk} GiB", details=f"there are: {there or 'none'}",
            resolution="ask for smaller nodes, or let an administrator make one: openstack flavor create",
        )  # fmt: skip
    fitting.sort(key=size_of)
    same = [each for each in fitting if size_of(each) == size_of(fitting[0])]
    if len(same) > 1 and len({str(sorted((each.extra_specs or {}).items())) for each in same}) > 1:
        raise ConflictError(
            f"several flavors are the smallest that fit: {', '.join(sorted(each.name for each in same))}",
            resolution="they differ in what they ask of a host; let an administrator hide those that are not for this project",
        )
    return min(same, key=lambda each: str(each.name))


def size_of(flavor: Any) -> tuple[int, float, int]:
    return int(flavor.ram), float(flavor.vcpus), int(flavor.disk)
