"""One stable tree out of folders that lie anywhere: bind mounts, in a mount namespace that ends with its process.

restic then sees the same paths each time, whatever a snapshot is called and on which disk it lies. Outside of the namespace nothing is
mounted, so nothing that is removed here can be anything but what was written here.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from labcloud.errors import EngineError, NotFoundError, UsageError
from labcloud.lab.files import disk_errors, make_private
from labcloud.lab.processes import lives, ticks

_ROOT: Final = re.compile(r"^.*/\d+\.\d+\.[0-9a-f]{8}/root(?=/)")
# sh SCRIPT ROOT LIST MODE PROGRAM...: LIST has pairs of lines, what is bound and where. A tmpfs takes the places to bind to.
_SCRIPT: Final = """\
set -eu
root=$1 list=$2 mode=$3
shift 3
umask 022
mount -t tmpfs -o mode=0755,size=256m tmpfs "$root"
while IFS= read -r from && IFS= read -r to; do
    if [ -d "$from" ]; then
        mkdir -p "$root/$to"
    else
        mkdir -p "$root/${to%/*}"
        : >"$root/$to"
    fi
    mount -o "bind,$mode" -- "$from" "$root/$to"
done <"$list"
cd "$root"
exec "$@"
"""


@dataclass(frozen=True)
class Tree:
    """What a backup consists of: folders by where they stand in the tree, and files by content or by the file that has it.

    What runs in it may write to the folders if they are ``writable``, as a restore does.
    """

    mounts: Mapping[str, Path]
    files: Mapping[str, bytes | Path]
    writable: bool = False


@contextmanager
def staged(tree: Tree, stage: Path) -> Iterator[list[str]]:
    """The words that put a command into ``tree``: it then runs with the tree as its working directory.

    Folders of ``tree`` must be on the machine. What is made lies in a folder of its own below ``stage``, for its owner only, and is
    removed after; what a killed process left there is removed before. Raise UsageError for a place that is none, NotFoundError for
    what is missing, EngineError if the disk refuses.
    """
    places = _checked(tree)
    with disk_errors(f"prepare a backup in {stage}"):
        make_private(stage)
        _sweep(stage)
        folder = stage / f"{os.getpid()}.{ticks(os.getpid())}.{secrets.token_hex(4)}"
        folder.mkdir(mode=0o700)
    try:
        with disk_errors(f"prepare a backup in {folder}"):
            (folder / "root").mkdir(mode=0o700)
            pairs = [f"{_source(folder, number, what)}\n./{place}\n" for number, (place, what) in enumerate(places)]
            _write(folder / "list", "".join(pairs).encode())
        mode = "rw" if tree.writable else "ro"
        shell = ["/bin/sh", "-c", _SCRIPT, "sh", str(folder / "root"), str(folder / "list"), mode]
        yield ["unshare", "--mount", "--propagation", "private", *shell]
    finally:
        _remove(folder)


def in_tree(path: str) -> str:
    """Where in a tree that was staged ``path`` is, which names it from this machine's root."""
    return _ROOT.sub("", path)


def _checked(tree: Tree) -> list[tuple[str, bytes | Path]]:
    """Places and what comes there, parents first."""
    places = sorted({**tree.mounts, **tree.files}.items(), key=lambda each: PurePosixPath(each[0]).parts)
    if len(places) != len(tree.mounts) + len(tree.files):
        raise UsageError("a file and a folder of a backup have the same place")
    taken: set[PurePosixPath] = set()
    for place, what in places:
        path = PurePosixPath(place)
        if not place.isprintable() or str(path) != place or path.is_absolute() or ".." in path.parts or not path.parts:
            raise UsageError(f"{place!r} is no place in a backup", resolution="write a relative path, as worker-0/0")
        if taken & {path, *path.parents}:
            raise UsageError(f"{place!r} lies in another folder of the same backup")
        taken.add(path)
        if isinstance(what, Path):
            _check_source(what, folder=place in tree.mounts)
    return places


def _check_source(path: Path, *, folder: bool) -> None:
    if not path.is_absolute() or "\n" in str(path):
        raise UsageError(f"{str(path)!r} cannot be put into a backup", resolution="name it by its absolute path")
    if not (path.is_dir() if folder else path.is_file()):
        raise NotFoundError(f"there is no {'folder' if folder else 'file'} {path} to back up")


def _source(folder: Path, number: int, what: bytes | Path) -> Path:
    if isinstance(what, Path):
        return what
    path = folder / f"file.{number}"
    _write(path, what)
    return path


def _write(path: Path, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)


def _sweep(stage: Path) -> None:
    """Remove what processes left here that do not live any more."""
    for folder in stage.iterdir():
        pid, _, rest = folder.name.partition(".")
        began = rest.partition(".")[0]
        if pid.isdecimal() and began.isdecimal() and not lives(socket.gethostname(), int(pid), int(began)):
            _remove(folder)


def _remove(folder: Path) -> None:
    """Remove what `staged` made, and nothing else: files of ours, and folders that are empty."""
    with suppress(FileNotFoundError), disk_errors(f"clear up {folder}"):
        for path in folder.iterdir():
            if path.name == "root":
                path.rmdir()
            elif path.name == "list" or path.name.startswith("file."):
                path.unlink()
            else:
                raise EngineError(f"{path} is no file of a backup's preparation", resolution="look at it, and remove it by hand")
        folder.rmdir()
