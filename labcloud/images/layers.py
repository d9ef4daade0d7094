"""Images that an engine has saved, laid out as one tree of files, layer upon layer. Knows the format of saved images, no engine.

https://github.com/moby/moby/blob/v20.10.0/image/spec/v1.2.md: a layer is a tar file; ``.wh.NAME`` in it takes away NAME of the layers
below, ``.wh..wh..opq`` all of its folder.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from labcloud.errors import EngineError

_GONE: Final = ".wh."
_ALL_GONE: Final = ".wh..wh..opq"
_CHUNK: Final = 1 << 20


@dataclass(frozen=True)
class Saved:
    """A saved image. ``layers`` from the bottom, by the SHA-256 of their content, with their names in ``archive``."""

    archive: Path
    layers: tuple[tuple[str, str], ...]
    environment: tuple[str, ...]


def read(archive: Path) -> Saved:
    """What is in a saved image. Raise EngineError if the file is none."""
    try:
        with tarfile.open(archive) as tar:
            manifest = _json(tar, "manifest.json")[0]
            config = _json(tar, manifest["Config"])
    except (tarfile.TarError, KeyError, ValueError) as exc:
        raise EngineError(f"{archive} is no saved image", details=str(exc), resolution="run the same command again") from exc
    layers = zip(config["rootfs"]["diff_ids"], manifest["Layers"], strict=True)
    return Saved(archive, tuple(layers), tuple(config["config"].get("Env") or ()))


def _json(tar: tarfile.TarFile, name: str) -> Any:
    file = tar.extractfile(name)
    if file is None:
        raise KeyError(name)
    return json.load(file)


def union(images: Sequence[Saved]) -> Iterator[tuple[Path, str]]:
    """The layers of several images that stand on a common one, each once: the first image's, then what the others add."""
    seen: set[str] = set()
    for image in images:
        for content, name in image.layers:
            if content not in seen:
                seen.add(content)
                yield image.archive, name


def unpack(images: Sequence[Saved], root: Path) -> None:
    """Lay the images out in the folder ``root``, with owners, modes and attributes. Only root can."""
    for archive, name in union(images):
        with tarfile.open(archive) as saved:
            _take_away(saved, name, root)
            _add(saved, name, root)


def _take_away(saved: tarfile.TarFile, name: str, root: Path) -> None:
    file = saved.extractfile(name)
    assert file is not None  # noqa: S101
    with tarfile.open(fileobj=file) as layer:
        marks = [PurePosixPath(member.name) for member in layer if PurePosixPath(member.name).name.startswith(_GONE)]
    for mark in marks:
        folder = root / mark.parent
        gone = list(folder.glob("*")) if mark.name == _ALL_GONE else [folder / mark.name.removeprefix(_GONE)]
        for path in gone:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _add(saved: tarfile.TarFile, name: str, root: Path) -> None:
    argv = ["tar", "--extract", "--directory", str(root), "--numeric-owner", "--same-owner", "--preserve-permissions"]
    argv += ["--xattrs", "--xattrs-include=*", "--keep-directory-symlink", "--exclude=.wh.*"]
    file = saved.extractfile(name)
    assert file is not None  # noqa: S101
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None  # noqa: S101
        try:
            shutil.copyfileobj(file, process.stdin, _CHUNK)
            process.stdin.close()
        except BrokenPipeError:
            pass  # tar says why
        said = process.stderr.read().decode(errors="replace") if process.stderr else ""
    if process.returncode:
        raise EngineError("tar could not lay out a layer", details=said[-2000:], resolution="see that the disk has room, then run it again")
