"""Lock files: what exactly goes into an image, with checksums. Reading, writing, and saying what is wrong with one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from labcloud.errors import ConfigError
from labcloud.images.model import LockedFile, LockedPackage

_HEAD = "# Written by 'labcloud image lock'. Checksums are SHA-256; sizes are bytes.\n"
_AGAIN = "write it again with 'labcloud image lock'"


def read_stack_lock(path: Path) -> tuple[LockedFile, ...]:
    """The files of a stack. Raise ConfigError if the file is missing or not a lock."""
    entries = _load(path).get("files")
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{path}: it locks no files", resolution=_AGAIN)
    try:
        return tuple(LockedFile(**entry) for entry in entries)
    except TypeError as exc:
        raise ConfigError(f"{path}: a file's entry is wrong", details=str(exc), resolution=_AGAIN) from exc


def write_stack_lock(path: Path, files: Sequence[LockedFile]) -> None:
    ordered = sorted(files, key=lambda file: (file.to, file.name, file.sha256))
    entries = [{key: value for key, value in vars(file).items() if value != "" or key == "to"} for file in ordered]
    _save(path, {"files": entries})


def read_package_lock(path: Path) -> LockedPackage:
    """The package of a Java image. Raise ConfigError if the file is missing or not a lock."""
    try:
        return LockedPackage(**_load(path))
    except TypeError as exc:
        raise ConfigError(f"{path}: it does not lock a package", details=str(exc), resolution=_AGAIN) from exc


def write_package_lock(path: Path, package: LockedPackage) -> None:
    _save(path, dict(vars(package)))


def _load(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe loaders
    except FileNotFoundError as exc:
        raise ConfigError(f"{path} does not exist", resolution=_AGAIN) from exc
    except yaml.YAMLError as exc:
        raise ConfigError(f"{path} is not YAML", details=str(exc), resolution=_AGAIN) from exc
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: it is not a mapping", resolution=_AGAIN)
    return content


def _save(path: Path, content: dict[str, Any]) -> None:
    new = path.with_name(path.name + ".new")
    new.write_text(_HEAD + yaml.safe_dump(content, sort_keys=False, width=200), encoding="utf-8")
    new.replace(path)
