"""image build, list, verify, publish, prune, lock: what nodes are made of."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from labcloud import profiles
from labcloud.cli import disks
from labcloud.cli.output import emit, note, output_option, print_table
from labcloud.errors import ConfiguringError
from labcloud.images.model import DiskFormat, DiskRow, Pruned
from labcloud.lab import home
from labcloud.model import format_bytes

if TYPE_CHECKING:
    from labcloud.images.model import Event
    from labcloud.images.room import Images


# A step of a build may be silent for minutes: every daemon of a stack is run once for its class-data archive.
_BUILD_SECONDS: Final = 1800


@click.group("image")
def image_command() -> None:
    """What nodes are made of: a small Debian base, a Java and a Hadoop stack, each a layer on the one before."""


def _cache() -> Path:
    cache = os.environ.get("LABCLOUD_CACHE")
    return Path(cache) if cache else home() / "cache"


@contextmanager
def _images() -> Iterator[Images]:
    from labcloud.images.room import Images
    from labcloud.providers.docker.engine import Engine
    from labcloud.providers.docker.image_store import DockerImageStore

    engine = Engine(os.environ.get("DOCKER_HOST"), timeout=_BUILD_SECONDS)
    try:
        yield Images(DockerImageStore(engine), _cache())
    finally:
        engine.close()


class _Teller:
    """One line an event on standard error, with the time since the start."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __call__(self, event: Event) -> None:
        from labcloud.images.model import Level

        text = f"{time.monotonic() - self._began:6.1f}s {event.image + ': ' if event.image else ''}{event.message}"
        note(click.style(text, fg="yellow") if event.level is Level.WARNING else text)


@image_command.command("build")
@click.argument("names", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All images.")
@click.option("--format", "disk_format", type=disks.FORMATS, help="Build the disk that a virtual machine boots from.")
@output_option
def build_images(names: tuple[str, ...], every: bool, disk_format: str | None, output: str) -> None:
    """Build images and what they stand on. What has not changed is not built again; a broken-off build goes on."""
    if not names and not every:
        raise click.UsageError("name an image, or say --all")
    with _images() as images:
        if disk_format:
            disks.build(disks.machines(images, _cache()), profiles.names() if every else names, DiskFormat(disk_format), output, _Teller())
            return
        built = images.build(images.names() if every else names, _Teller())

    def table() -> None:
        rows = [(each.name, each.reference, f"{each.seconds:.1f} s" if each.made else "there already") for each in built]
        print_table(("IMAGE", "REFERENCE", "BUILT"), rows, right=(2,))

    emit(built, output, table)


@image_command.command("list")
@output_option
def list_images(output: str) -> None:
    """Built images: what each adds to the one it stands on, and what it shares with others."""
    with _images() as images:
        shelf = disks.machines(images, _cache())
        rows = tuple(DiskRow(each, shelf.is_current(each)) for each in shelf.list_disks())
        found = replace(images.list_images(), disks=rows)

    def table() -> None:
        if not found.images:
            note("no images; build one: labcloud image build hadoop-2.7")
            return
        rows = [
            (
                each.name,
                each.version,
                each.java,
                each.parent,
                format_bytes(each.own),
                format_bytes(each.shared),
                _state(each.current, each.in_use),
            )
            for each in found.images
        ]
        print_table(("IMAGE", "VERSION", "JAVA", "STANDS ON", "OWN", "SHARED", "STATE"), rows, right=(4, 5))
        click.echo(f"\nall together {format_bytes(found.total)}")
        disks.print_disks(found.disks)

    emit(found, output, table)


def _state(current: bool, in_use: bool) -> str:
    return ", ".join(filter(None, ("current" if current else "old", "in use" if in_use else "")))


@image_command.command("verify")
@click.argument("names", nargs=-1, required=True)
@click.option("--format", "disk_format", type=disks.FORMATS, help="Boot the disk of a virtual machine, on an emulated processor.")
@click.option("--timeout", type=float, default=600.0, show_default=True, help="Seconds that a machine has to boot.")
@output_option
def verify_images(names: tuple[str, ...], disk_format: str | None, timeout: float, output: str) -> None:
    """Start images and look at them: Java, Hadoop's version, users, supervisor, a helper's programs."""
    with _images() as images:
        if disk_format:
            shelf, chosen = disks.machines(images, _cache()), DiskFormat(disk_format)
            results = [disks.verify(images, shelf, name, chosen, seconds=timeout, tell=_Teller()) for name in names]
        else:
            results = [images.verify(name, _Teller()) for name in names]

    def table() -> None:
        rows = [(result.name, check.id, "pass" if check.ok else "fail", check.summary) for result in results for check in result.checks]
        print_table(("IMAGE", "CHECK", "RESULT", "WHAT WAS SEEN"), rows)

    emit(results, output, table)
    bad = [result.name for result in results if not result.ok]
    if bad:
        again = " ".join([*bad, *(["--format", disk_format] if disk_format else [])])
        raise ConfiguringError(f"{', '.join(bad)} did not pass", resolution=f"build it again: labcloud image build {again}")


@image_command.command("publish")
@click.argument("names", nargs=-1, required=True)
@click.option("--cloud", "cloud_name", default="", help="The cloud's name in clouds.yaml, if there are several.")
@click.option(
    "--format", "disk_format", type=disks.FORMATS, default=str(DiskFormat.QCOW2), show_default=True, help="What the cloud stores."
)
@click.option("--visibility", type=click.Choice(["private", "shared", "community", "public"]), default="private", show_default=True)
@output_option
def publish_images(names: tuple[str, ...], cloud_name: str, disk_format: str, visibility: str, output: str) -> None:
    """Bring the disks of images into OpenStack's Glance. What a cloud has already is not sent again."""
    with _images() as images:
        shelf, chosen = disks.machines(images, _cache()), DiskFormat(disk_format)
        found = [shelf.find(name, chosen) for name in names]
        disks.publish(found, cloud_name, visibility, output, _Teller())


@image_command.command("prune")
@output_option
def prune_images(output: str) -> None:
    """Remove images that no profile names any more and no container uses."""
    with _images() as images:
        pruned = images.prune(_Teller())
        removed, freed = disks.machines(images, _cache()).prune(_Teller())
    pruned = Pruned((*pruned.removed, *removed), pruned.freed + freed)
    emit(pruned, output, lambda: click.echo(f"{len(pruned.removed)} images removed, {format_bytes(pruned.freed)} given back"))


@image_command.command("lock")
@click.argument("names", nargs=-1, required=True)
def lock_images(names: tuple[str, ...]) -> None:
    """Resolve NAMES anew (a stack by Maven, a Java by Debian's index) and write what was found into their lock files."""
    with _images() as images:
        paths = images.lock(names, _Teller())
    for path in paths:
        click.echo(path)
