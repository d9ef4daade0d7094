"""A tree of small files, made exactly as wanted: what nodes see of their cluster's configuration. Knows no engine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

# What becomes a file with a mode of its own on the node (docs/node.md): until then only root reads it.
_PRIVATE: Final = "declared"


def read_tree(root: Path) -> dict[str, str]:
    """``{"relative/path": text}`` of all files below ``root``; empty where there is no such folder."""
    return {
        str(path.relative_to(root)): path.read_text()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def write_tree(root: Path, files: Mapping[str, str]) -> bool:
    """Make the files below ``root`` exactly ``files``; return whether anything changed.

    Folders stay the same inodes, because running nodes have them mounted; each file is replaced in one step.
    """
    present = read_tree(root)
    for name in present.keys() - files.keys():
        (root / name).unlink()
    changed = [name for name, text in files.items() if present.get(name) != text]
    for name in changed:
        path = root / name
        private = path.parent.name == _PRIVATE
        path.parent.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        path.parent.mkdir(exist_ok=True, mode=0o700 if private else 0o755)
        # A leading dot: read_tree passes over what a killed run left behind.
        temporary = path.with_name(f".{path.name}.new")
        temporary.write_text(files[name])
        temporary.chmod(0o600 if private else 0o644)
        os.replace(temporary, path)  # noqa: PTH105 - the one name for it that says atomic
    return bool(changed) or present.keys() != files.keys()


def delete_tree(root: Path) -> None:
    """Remove ``root``, what is below it, and its folder if that was all in it; nothing happens where there is none."""
    if root.exists():
        shutil.rmtree(root)
    with suppress(OSError):  # another cluster's tree is there still, or nothing is
        root.parent.rmdir()
