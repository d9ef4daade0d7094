"""storage list, show, set, remove: where data volumes lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from labcloud.cli.output import emit, note, output_option, print_table, title
from labcloud.cli.session import session
from labcloud.errors import UsageError
from labcloud.lab import storage as documents
from labcloud.model import format_bytes
from labcloud.model.storage import Media

if TYPE_CHECKING:
    from labcloud.apply.storing import StorageView


@click.group("storage")
def storage_command() -> None:
    """Storage classes: where data volumes lie, and what they are made of.

    \b
    labcloud storage set fast --path /mnt/nvme --media ssd
    labcloud create hadoop-3.4 --tenant acme --group worker:volumes=2x20g@fast
    """


@storage_command.command("list")
@output_option
def list_storage(output: str) -> None:
    """All storage classes, with what clusters declare in them."""
    from labcloud.apply.storing import Storage

    with session() as opened:
        views = Storage(opened.lab).views()
    emit(views, output, lambda: print_table(_HEADINGS, [_row(each) for each in views], right=(3, 4, 5, 6)))


@storage_command.command("show")
@click.argument("name")
@output_option
def show_storage(name: str, output: str) -> None:
    """All about the storage class NAME: its place, and whose volumes lie there."""
    from labcloud.apply.storing import Storage

    with session() as opened:
        view = Storage(opened.lab).show(name)
    emit(view, output, lambda: _print(view))


@storage_command.command("set")
@click.argument("name")
@click.option("--path", metavar="P", help="A folder of this machine; it is made if it is missing and its parent is there.")
@click.option("--driver", metavar="D", help="A volume driver of the engine, as in local.")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="For the driver, as in type=nfs.")
@click.option(
    "--media",
    type=click.Choice([str(each) for each in Media]),
    help="What it is made of: HDFS knows it as the storage type.  [default: disk]",
)
@click.option("--shared/--not-shared", default=None, help="Whether every machine of the lab finds the same there.")
@click.option("--title", "text", metavar="T", help="What it is, for people.")
@output_option
def set_storage(
    name: str, path: str | None, driver: str | None, options: tuple[str, ...], media: str | None, shared: bool | None, text: str | None,
    output: str,
) -> None:  # fmt: skip
    """Make the storage class NAME, or change what is named of it.

    The class `default` is that of volumes that name none. Volumes that exist stay where they are.
    """
    from labcloud.apply.storing import Storage, StorageChange
    from labcloud.cli.request import pairs

    if not any((path, driver, options, media, text)) and shared is None and text is None:
        raise UsageError("nothing is to change", resolution="name something, as in --path /mnt/bulk; --help lists it all")
    change = StorageChange(
        path=documents.folder(path) if path is not None else None,
        driver=documents.driver(driver) if driver is not None else None,
        options={documents.option(key): value for key, value in pairs(options, "KEY=VALUE").items()},
        media=Media(media) if media else None,
        shared=shared,
        title=documents.title(text) if text is not None else None,
    )
    with session() as opened:
        storage = Storage(opened.lab)
        new = storage.set(name, change)
        view = storage.show(name)
    emit(view, output, lambda: _print(view))
    if not new:
        note(f"the storage class {name} is so already; nothing had to be done")


@storage_command.command("remove")
@click.argument("name")
@output_option
def remove_storage(name: str, output: str) -> None:
    """Want the storage class NAME no longer. One that clusters have volumes in stays."""
    from labcloud.apply.storing import Storage

    with session() as opened:
        Storage(opened.lab).remove(name)
    emit({"name": name, "removed": True}, output, lambda: note(f"the storage class {name} is removed"))


_HEADINGS = ("CLASS", "WHERE", "MEDIA", "SIZE", "FREE", "VOLUMES", "GIB", "TITLE")


def _row(view: StorageView) -> tuple[object, ...]:
    return view.name, view.where, view.media, _size(view.size_mib), _size(view.free_mib), view.volumes, view.volumes_gib, view.title


def _size(mib: int | None) -> str:
    return "-" if mib is None else format_bytes(mib * 2**20)


def _print(view: StorageView) -> None:
    title(view.name + (f": {view.title}" if view.title else ""))
    click.echo(f"  where    {view.where}")
    for key, value in view.options.items():
        click.echo(f"           {key}={value}")
    click.echo(f"  media    {view.media}" + (", shared by all machines" if view.shared else ""))
    if view.size_mib is not None:
        click.echo(f"  room     {_size(view.free_mib)} free of {_size(view.size_mib)}")
    click.echo(f"  volumes  {view.volumes} of {view.volumes_gib} GiB together")
    for name in view.clusters:
        click.echo(f"           {name}")
