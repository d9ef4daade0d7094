"""Saved images as one tree: layers in order, each once, and what a layer takes away."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from labcloud.errors import EngineError
from labcloud.images import layers


def layer(files: Mapping[str, str | None]) -> bytes:
    """A tar file: names that end with / are folders."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name.rstrip("/"))
            info.type, info.mode = (tarfile.DIRTYPE, 0o755) if name.endswith("/") else (tarfile.REGTYPE, 0o640)
            content = (text or "").encode()
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def saved(path: Path, *contents: bytes) -> layers.Saved:
    """An image as an engine saves it."""
    names = [f"{index}/layer.tar" for index in range(len(contents))]
    identities = [f"sha256:{hashlib.sha256(content).hexdigest()}" for content in contents]
    config = {"rootfs": {"diff_ids": identities}, "config": {"Env": ["PATH=/bin"]}}
    files = dict(zip(names, contents, strict=True))
    files |= {"c.json": json.dumps(config).encode(), "manifest.json": json.dumps([{"Config": "c.json", "Layers": names}]).encode()}
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return layers.read(path)


BASE = layer({"etc/": None, "etc/passwd": "root", "etc/old": "x", "var/": None, "var/cache/": None, "var/cache/a": "x", "var/cache/b": "x"})


def test_images_that_share_layers_become_one_tree(tmp_path: Path) -> None:
    one = saved(tmp_path / "one", BASE, layer({"etc/passwd": "root sshd", "boot/": None, "boot/kernel": "k"}))
    other = saved(tmp_path / "other", BASE, layer({"opt/": None, "opt/java": "j"}), layer({"opt/stack": "s"}))
    assert [name for _, name in layers.union([one, other])] == ["0/layer.tar", "1/layer.tar", "1/layer.tar", "2/layer.tar"]
    root = tmp_path / "root"
    root.mkdir()
    layers.unpack([one, other], root)
    assert (root / "etc/passwd").read_text() == "root sshd"  # the base's did not come back upon it
    assert [(root / name).is_file() for name in ("boot/kernel", "opt/java", "opt/stack")] == [True] * 3
    assert (root / "opt/stack").stat().st_mode & 0o777 == 0o640
    assert one.environment == ("PATH=/bin",)


def test_what_a_layer_takes_away_is_gone(tmp_path: Path) -> None:
    gone = layer({"etc/": None, "etc/.wh.old": "", "var/": None, "var/cache/": None, "var/cache/.wh..wh..opq": "", "var/cache/c": "new"})
    image = saved(tmp_path / "image", BASE, gone, layer({"new/": None, "new/.wh..wh..opq": "", "var/": None, "var/.wh.cache": ""}))
    root = tmp_path / "root"
    root.mkdir()
    layers.unpack([saved(tmp_path / "two", BASE, gone)], root)
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*")) == ["etc", "etc/passwd", "var", "var/cache", "var/cache/c"]
    layers.unpack([image], root)
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*")) == ["etc", "etc/passwd", "new", "var"]


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(layer({"a": "b"}))
    with pytest.raises(EngineError, match="image is no saved image"):
        layers.read(tmp_path / "image")
