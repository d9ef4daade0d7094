"""What a dataset is made of, as a stream of files, folders and links: a file, a folder, a tar or a zip archive. Writes nothing.

What is not plain content is refused by its name: devices, sockets and pipes, and symbolic links that lead out, to a folder or nowhere.
A link to a file inside becomes that file: HDFS knows no links, and the content is stored once all the same.
"""

from __future__ import annotations

import gzip
import lzma
import os
import posixpath
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from labcloud.errors import EngineError, UsageError

_NAMED: Final = 5
_CHUNK: Final = 1 << 20
_KINDS: Final = {stat.S_IFSOCK: "a socket", stat.S_IFIFO: "a pipe", stat.S_IFBLK: "a device", stat.S_IFCHR: "a device"}


@dataclass(frozen=True)
class Item:
    """One thing of a source, by its ``path`` inside. A file has ``size`` bytes, which ``read`` opens; a link has the path inside of the
    file that it ``leads`` to; what has neither is a folder."""

    path: str
    size: int = 0
    read: Callable[[], IO[bytes]] | None = field(default=None, compare=False)
    leads: str = ""


def folder_items(root: Path) -> list[Item]:
    """All that is in a folder. Raise UsageError with what cannot be a part of a dataset."""
    items: list[Item] = []
    refused: list[str] = []
    real = Path(os.path.realpath(root))
    for found in _walk(root):
        path = str(found.relative_to(root))
        mode = found.lstat().st_mode
        if stat.S_ISLNK(mode):
            problem, leads = _followed(found, real)
            refused += [f"{path} {problem}"] if problem else []
            items += [] if problem else [Item(path, leads=leads)]
        elif stat.S_ISDIR(mode):
            items.append(Item(path))
        elif stat.S_ISREG(mode):
            items.append(Item(path, found.stat().st_size, lambda found=found: found.open("rb")))  # type: ignore[misc]
        else:
            refused.append(f"{path} is {_KINDS.get(stat.S_IFMT(mode), 'no file')}")
    _refuse(str(root), refused)
    return items


def _walk(root: Path) -> Iterator[Path]:
    def failed(exc: OSError) -> None:
        raise exc  # a folder that cannot be read would be left out silently

    for folder, names, files in os.walk(root, onerror=failed):
        for name in (*names, *files):
            yield Path(folder, name)


def _followed(link: Path, root: Path) -> tuple[str, str]:
    """What is wrong with a link, or the path below ``root`` of the file that it leads to."""
    target = Path(os.path.realpath(link))
    if target != root and root not in target.parents:
        return f"is a link that leads out, to {link.readlink()}", ""
    if target.is_dir():
        return "is a link that leads to a folder", ""
    return ("", str(target.relative_to(root))) if target.is_file() else ("is a link that leads nowhere", "")


def file_item(path: Path, name: str = "") -> Item:
    """One file, by its own name or another."""
    if not stat.S_ISREG(path.stat().st_mode):
        _refuse(str(path), [f"it is {_KINDS.get(stat.S_IFMT(path.stat().st_mode), 'no file')}"])
    return Item(inside(name or path.name, str(path)), path.stat().st_size, lambda: path.open("rb"))


@contextmanager
def archive_items(path: Path) -> Iterator[Iterable[Item]]:
    """What is in a tar (plain, or packed with gzip, bzip2 or xz) or a zip archive; each must be read before the next is asked for.

    Raise UsageError for what is neither, is broken, or holds what cannot be a part of a dataset.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                yield _zip_items(archive, path)
        else:
            with tarfile.open(path, "r:*") as packed:
                yield _tar_items(packed, path)
    except (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError) as exc:
        raise _broken(path, exc) from exc
    except EngineError as exc:  # a sum of gzip's that is wrong comes as an error of the disk
        if isinstance(exc.__cause__, gzip.BadGzipFile):
            raise _broken(path, exc.__cause__) from exc
        raise


def _broken(path: Path, exc: Exception) -> UsageError:
    return UsageError(
        f"{path.name} is no tar or zip archive that can be read", details=str(exc), resolution="leave out --extract to keep it as it is"
    )


def _tar_items(archive: tarfile.TarFile, path: Path) -> Iterator[Item]:
    for member in archive:
        name = inside(member.name, path.name)
        if member.isreg():
            yield Item(name, member.size, lambda member=member: _opened(archive, member))  # type: ignore[misc]
        elif member.issym():
            yield Item(name, leads=inside(posixpath.join(posixpath.dirname(name), member.linkname), path.name, name))
        elif member.islnk():
            yield Item(name, leads=inside(member.linkname, path.name, name))
        elif not member.isdir():
            _refuse(path.name, [f"{name} is {'a pipe' if member.isfifo() else 'a device'}"])
        elif name:
            yield Item(name)
    if archive.fileobj:  # the sum of what is packed stands behind the last member, where nobody looked yet
        while archive.fileobj.read(_CHUNK):
            pass


def _opened(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(member)
    if file is None:
        raise tarfile.ReadError(f"{member.name} has no content")
    return file


def _zip_items(archive: zipfile.ZipFile, path: Path) -> Iterator[Item]:
    for info in archive.infolist():
        name = inside(info.filename, path.name)
        mode = info.external_attr >> 16
        if stat.S_ISLNK(mode):
            target = os.fsdecode(archive.read(info))
            yield Item(name, leads=inside(posixpath.join(posixpath.dirname(name), target), path.name, name))
        elif info.is_dir():
            yield from [Item(name)] if name else []
        elif stat.S_IFMT(mode) in _KINDS:
            _refuse(path.name, [f"{name} is {_KINDS[stat.S_IFMT(mode)]}"])
        else:
            yield Item(name, info.file_size, lambda info=info: archive.open(info))  # type: ignore[misc]


def inside(path: str, source: str, link: str = "") -> str:
    """``path`` without detours, "" for the top itself. Raise UsageError if it leads out of ``source``; ``link`` is what leads there."""
    clean = posixpath.normpath(path) if path else ""
    if clean.startswith(("/", "../")) or clean == ".." or "\0" in clean:
        _refuse(source, [f"{link} is a link that leads out, to {path}" if link else f"{path!r} leads out"])
    return "" if clean == "." else clean


def _refuse(source: str, problems: list[str]) -> None:
    if problems:
        more = f" and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        raise UsageError(
            f"{source} cannot be a dataset: {'; '.join(problems[:_NAMED])}{more}", resolution="leave that out, or put files in its place"
        )
