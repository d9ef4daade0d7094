"""image build, list, verify and publish for virtual machines: an image as the disk that one boots from."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labcloud.cli.output import emit, print_table, title
from labcloud.images.model import DiskFormat
from labcloud.lab import Lab, home
from labcloud.model import format_bytes

if TYPE_CHECKING:
    from labcloud.images.machines import Machines
    from labcloud.images.model import DiskImage, DiskRow, Progress, Verified
    from labcloud.images.room import Images

FORMATS = click.Choice([str(each) for each in DiskFormat])


def machines(images: Images, cache: Path) -> Machines:
    from labcloud.images.machines import Machines

    return Machines(images, cache / "machines")


def build(shelf: Machines, names: Sequence[str], format: DiskFormat, output: str, tell: Progress) -> None:
    built = [shelf.build(name, format, tell) for name in names]

    def table() -> None:
        rows = [
            (
                each.disk.name,
                format_bytes(each.disk.virtual),
                format_bytes(each.disk.stored),
                each.disk.path,
                f"{each.seconds:.1f} s" if each.made else "there already",
            )
            for each in built
        ]
        print_table(("IMAGE", "DISK", "STORED", "FILE", "BUILT"), rows, right=(1, 2, 4))

    emit(built, output, table)


def print_disks(rows: Sequence[DiskRow]) -> None:
    """The second part of ``image list``: nothing where there are none."""
    if not rows:
        return
    click.echo()
    title("for virtual machines")
    cells = [
        (
            row.disk.name,
            row.disk.format,
            row.disk.version,
            format_bytes(row.disk.virtual),
            format_bytes(row.disk.stored),
            f"{row.disk.min_disk} GiB, {row.disk.min_ram} MiB",
            "current" if row.current else "old",
        )
        for row in rows
    ]
    print_table(("IMAGE", "FORMAT", "VERSION", "DISK", "STORED", "NEEDS", "STATE"), cells, right=(3, 4))


def verify(images: Images, shelf: Machines, name: str, format: DiskFormat, *, seconds: float, tell: Progress) -> Verified:
    """Boot the disk and look at the machine."""
    from labcloud.images import emulator, verifying
    from labcloud.images.model import Event

    disk = shelf.find(name, format)
    tell(Event(f"booting {disk.path.name}; an emulated processor takes a minute or two", name))
    with (
        tempfile.TemporaryDirectory(prefix="labcloud-verify-") as work,
        emulator.booted(disk.path, format, Path(work), seconds=seconds) as guest,
    ):
        tell(Event("it can be logged in to", name))
        return verifying.verify_machine(images.recipe(name), guest, disk.path.name, tell)


def publish(found: Sequence[DiskImage], cloud_name: str, visibility: str, output: str, tell: Progress) -> None:
    from labcloud.providers.openstack.connection import Cloud
    from labcloud.providers.openstack.image_store import GlanceImageStore

    cloud = Cloud(cloud_name)
    store = GlanceImageStore(cloud, Lab(home()).id)
    try:
        published = [store.publish(disk, visibility=visibility, progress=tell) for disk in found]
    finally:
        cloud.close()

    def table() -> None:
        rows = [
            (each.name, each.id, each.format, format_bytes(each.size), f"{each.seconds:.1f} s" if each.made else "there already")
            for each in published
        ]
        print_table(("IMAGE", "ID", "FORMAT", "SIZE", "SENT"), rows, right=(3, 4))

    emit(published, output, table)
