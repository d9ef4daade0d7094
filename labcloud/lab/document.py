"""One YAML file, read with the line of each value. Knows nothing of what it is about.

Values are taken as they stand in the text: ``on``, ``2`` and ``2.10`` stay what was written, whatever YAML thinks that they are.
The checks are written by hand: `yaml.compose` gives the line of each value, and a start-up without pydantic saves 0.1 s.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml

from labcloud.errors import ConfigError, UsageError

Value = TypeVar("Value")

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Document:
    """One YAML file, read with the line of each value. All its methods raise ConfigError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def wrong(self, line: int, problem: str, resolution: str = "") -> ConfigError:
        """The error for what stands on ``line``, counted from 0."""
        where = f"{self._path}:{line + 1}"
        return ConfigError(f"{where}: {problem}", resolution=resolution or "correct the file, then run the same command again")

    def root(self, text: str) -> yaml.Node:
        try:
            root = yaml.compose(text, Loader=_LOADER)
        except yaml.MarkedYAMLError as exc:
            raise self.wrong(exc.problem_mark.line if exc.problem_mark else 0, f"this is not YAML: {exc.problem or exc.context}") from exc
        except (yaml.YAMLError, RecursionError) as exc:
            raise self.wrong(0, f"this is not YAML: {' '.join(str(exc).split())}") from exc
        if root is None:
            raise self.wrong(0, "the file says nothing")
        return root

    def mapping(self, node: yaml.Node, *, required: tuple[str, ...], more: tuple[str, ...] = ()) -> dict[str, yaml.Node]:
        """The values of a mapping that must have the keys ``required`` and may have those in ``more``."""
        pairs = self._pairs(node)
        known = (*required, *more)
        for key in pairs:
            if key.value not in known:
                near = get_close_matches(str(key.value), known, n=1, cutoff=0.6)
                hint = f"did you mean {near[0]}? " if near else ""
                raise self.wrong(key.start_mark.line, f"{key.value!r} means nothing here", f"{hint}known are {', '.join(known)}")
        fields = {str(key.value): value for key, value in pairs.items()}
        for name in required:
            if name not in fields:
                raise self.wrong(node.start_mark.line, f"{name!r} is missing")
        return fields

    def entries(self, node: yaml.Node | None, key: Callable[[str], str], value: Callable[[str], Value]) -> dict[str, Value]:
        """A mapping with free keys, each checked by ``key`` and each value by ``value``; nothing is an empty one."""
        return {self.scalar(name, key): self.scalar(each, value) for name, each in self.pairs(node)}

    def pairs(self, node: yaml.Node | None) -> list[tuple[yaml.Node, yaml.Node]]:
        """The keys and values of a mapping, as nodes; nothing is an empty one."""
        if node is None or (isinstance(node, yaml.ScalarNode) and node.value in ("", "null", "~")):
            return []
        return list(self._pairs(node).items())

    def items(self, node: yaml.Node) -> list[yaml.Node]:
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            raise self.wrong(node.start_mark.line, "a list is expected here")
        return list(node.value)

    def scalar(self, node: yaml.Node | None, read: Callable[[str], Value], default: Value | None = None) -> Value:
        """What ``read`` makes of a value; its UsageError gets the line. ``default`` is for a value that is not there."""
        if node is None:
            assert default is not None  # noqa: S101  # required values were looked for before
            return default
        if not isinstance(node, yaml.ScalarNode):
            raise self.wrong(node.start_mark.line, "one value is expected here")
        try:
            return read(str(node.value))
        except UsageError as exc:
            raise self.wrong(node.start_mark.line, exc.brief, exc.resolution) from exc

    def _pairs(self, node: yaml.Node) -> dict[yaml.ScalarNode, yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            raise self.wrong(node.start_mark.line, "'key: value' lines are expected here")
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self.wrong(key.start_mark.line, "a key must be one word")
            if key.value in seen:
                raise self.wrong(key.start_mark.line, f"{key.value!r} is said twice")
            seen.add(key.value)
        return dict(node.value)
