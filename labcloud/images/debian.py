"""Debian's archive over HTTP: the package of a suite that is current, and what is inside a package. Knows no Java.

Formats: https://wiki.debian.org/DebianRepository/Format and deb(5).
"""

from __future__ import annotations

import lzma
import os
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from labcloud.errors import EngineError, NotFoundError
from labcloud.images import download
from labcloud.images.model import LockedPackage

MIRROR_SETTING: Final = "LABCLOUD_DEBIAN_MIRROR"
_MIRROR: Final = "http://deb.debian.org/debian"
# An image is written as a whole or not at all, so dpkg need not wait for the disk after each file.
_INSTALL: Final = (
    "export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8; apt-get -q update && "
    'apt-get -q -y -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-unsafe-io install --no-install-recommends "$@" && '
    "rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb"
)


def mirror() -> str:
    """The archive's address, without a slash at its end."""
    return (os.environ.get(MIRROR_SETTING) or _MIRROR).rstrip("/")


def installing(packages: Sequence[str]) -> list[str]:
    """The command that installs packages, and what they need, in an image that is being built."""
    return ["sh", "-c", _INSTALL, "install", *packages]


def current_package(suite: str, package: str) -> LockedPackage:
    """The newest version of ``package`` in ``suite`` today. Raise NotFoundError if the suite has none."""
    index = lzma.decompress(download.text(f"{mirror()}/dists/{suite}/main/binary-amd64/Packages.xz")).decode()
    found = [fields for fields in paragraphs(index) if fields.get("Package") == package]
    if not found:
        raise NotFoundError(f"Debian {suite} has no package {package}", resolution="choose another Java, or name another suite")
    fields = found[-1]
    return LockedPackage(package, fields["Version"], fields["Filename"], fields["SHA256"], int(fields["Size"]))


def paragraphs(index: str) -> Iterator[Mapping[str, str]]:
    """The paragraphs of a Packages file, with the fields that stand on one line."""
    for block in index.split("\n\n"):
        lines = (line.partition(":") for line in block.splitlines() if line[:1] not in ("", " ", "\t"))
        yield {key: value.strip() for key, _, value in lines}


@contextmanager
def unpacked(package: Path) -> Iterator[tarfile.TarFile]:
    """The files of a .deb, as a tar file that is read from its beginning to its end. Raise EngineError if it is broken."""
    argv = ["dpkg-deb", "--fsys-tarfile", str(package)]
    try:
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as process, tarfile.open(fileobj=process.stdout, mode="r|") as archive:
            yield archive
    except FileNotFoundError as exc:
        raise EngineError("the program dpkg-deb is missing", resolution="install it: apt-get install dpkg") from exc
    except tarfile.TarError as exc:
        raise EngineError(f"{package} is no Debian package", details=str(exc), resolution="delete it, then run the command again") from exc
    if process.returncode:
        raise EngineError(f"dpkg-deb could not read {package}", resolution="delete the file, then run the same command again")
