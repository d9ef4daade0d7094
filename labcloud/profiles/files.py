"""Profiles as files: where they are, what each says with its ancestors merged in, and on which line. Knows no schema."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from labcloud.errors import ConfigError, NotFoundError

FILE: Final = "profile.yaml"
SEARCH_PATH: Final = "LABCLOUD_PROFILES"
_OWN: Final = ("extends", "abstract")  # keys that say something of the file itself, and are not handed down
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def roots(root: Path | None = None) -> list[Path]:
    """Where profiles are looked for, first match first: ``root`` alone, or $LABCLOUD_PROFILES and then labcloud's own."""
    if root is not None:
        return [root]
    extra = [Path(each) for each in os.environ.get(SEARCH_PATH, "").split(os.pathsep) if each]
    beside = Path(__file__).resolve().parents[2] / "hadoop_profiles"
    return [*extra, beside]


def known(root: Path | None = None) -> dict[str, Path]:
    """Every profile's folder by name, abstract ones included, in order of names, numbers in them counted as numbers."""
    found: dict[str, Path] = {}
    for each in reversed(roots(root)):
        found |= {file.parent.name: file.parent for file in each.glob(f"*/{FILE}")}
    return dict(sorted(found.items(), key=lambda item: _natural(item[0])))


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in name.replace("-", ".").split(".")]


def read(folder: Path) -> dict[str, Any]:
    """Return what one file says. Raise ConfigError with path and line for what is no YAML mapping."""
    path = folder / FILE
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - it is a safe loader
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        raise ConfigError(f"{path}:{mark.line + 1 if mark else 1}: {exc.problem or exc.context}", details=str(exc)) from exc
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise ConfigError(f"{path}:1: cannot be read: {exc}") from exc
    if not isinstance(document, dict):
        raise ConfigError(f"{path}:1: a profile is a mapping", resolution="begin with 'extends: hadoop-3' or the like")
    return document


def ancestry(name: str, root: Path | None = None) -> list[tuple[Path, dict[str, Any]]]:
    """Return folder and content of the profile and its ancestors, itself first. Raise NotFoundError or ConfigError."""
    folders = known(root)
    if name not in folders:
        raise NotFoundError(f"there is no profile {name!r}", details=_listed(folders), resolution=_nearest(name, folders))
    chain: list[tuple[Path, dict[str, Any]]] = []
    while True:
        chain.append((folders[name], read(folders[name])))
        parent = chain[-1][1].get("extends")
        if parent is None:
            return chain
        here = f"{folders[name] / FILE}:{locate([folders[name]], ('extends',))[1]}"
        if parent not in folders:
            raise ConfigError(f"{here}: there is no profile {parent!r} to extend", resolution=_nearest(str(parent), folders))
        if folders[parent] in [folder for folder, _ in chain]:
            raise ConfigError(f"{here}: {name!r} and {parent!r} extend each other")
        name = parent


def concrete(root: Path | None = None) -> list[str]:
    """The names that ``load`` takes."""
    return [name for name, folder in known(root).items() if read(folder).get("abstract") is not True]


def _listed(folders: Mapping[str, Path]) -> str:
    usable = [name for name, folder in folders.items() if read(folder).get("abstract") is not True]
    return f"profiles: {', '.join(usable) or 'none'}"


def _nearest(name: str, folders: Mapping[str, Path]) -> str:
    near = difflib.get_close_matches(name, folders, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else "choose one of the profiles that exist"


def merge(parent: Any, child: Any) -> Any:
    """Return ``parent`` as changed by ``child``: mappings merge deeply, all else replaces, ``None`` removes a key."""
    if not isinstance(parent, dict) or not isinstance(child, dict):
        return _without_removals(child)
    merged = {key: value for key, value in parent.items() if key not in child or child[key] is not None}
    for key, value in child.items():
        if value is not None:
            merged[key] = merge(merged.get(key), value)
    return merged


def _without_removals(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_removals(each) for key, each in value.items() if each is not None}
    return value


def merged(chain: Sequence[tuple[Path, Mapping[str, Any]]]) -> dict[str, Any]:
    """Return what a profile says with its ancestors merged in."""
    result: dict[str, Any] = {}
    for _, document in reversed(chain):
        result = merge(result, {key: value for key, value in document.items() if key not in _OWN})
    return result


Written = Sequence[tuple[Path, Any]]
"""Files of profiles, each with its YAML nodes."""


def parsed(folders: Sequence[Path]) -> Written:
    """What `located` looks into: for whoever asks for many lines."""
    return [(folder / FILE, yaml.compose((folder / FILE).read_text(encoding="utf-8"), _Loader)) for folder in folders]


def locate(folders: Sequence[Path], path: Sequence[str | int]) -> tuple[Path, int]:
    """Return the file and line that decide the value at ``path``: the nearest file that goes furthest along the path."""
    return located(parsed(folders), path)


def located(written: Written, path: Sequence[str | int]) -> tuple[Path, int]:
    """`locate` in files that were parsed before."""
    best, depth, line = written[0][0], -1, 1
    for file, node in written:
        reached, at = walk(node, path)
        if reached > depth:
            best, depth, line = file, reached, at
    return best, line


def walk(node: Any, path: Sequence[str | int]) -> tuple[int, int]:
    """How many steps of ``path`` lead on from a YAML node, by keys and by places in lists, and the line of the last that does."""
    reached, line = 0, 1
    for step in path:
        found = next((pair for pair in _children(node) if pair[0] == str(step)), None)
        if found is None:
            break
        reached, line, node = reached + 1, found[1], found[2]
    return reached, line


def error(folders: Sequence[Path], path: Sequence[str | int], message: str) -> ConfigError:
    """The error that the value at ``path`` is: its file and line, its name, and what is wrong."""
    file, line = locate(folders, path)
    return ConfigError(
        f"{file}:{line}: {'.'.join(map(str, path))}: {message}", resolution="see docs/profiles.md for what expressions may use"
    )


def _children(node: Any) -> Iterator[tuple[str, int, Any]]:
    """Key, line and value of what a YAML node holds."""
    if isinstance(node, yaml.MappingNode):
        yield from ((str(key.value), key.start_mark.line + 1, value) for key, value in node.value)
    elif isinstance(node, yaml.SequenceNode):
        yield from ((str(index), value.start_mark.line + 1, value) for index, value in enumerate(node.value))


def template(folders: Sequence[Path], name: str) -> Path | None:
    """The file ``templates/NAME`` of the nearest of ``folders`` that has one."""
    return next((path for folder in folders if (path := folder / "templates" / name).is_file()), None)
