"""Change values in a YAML text and leave the rest of it, comments and layout, as its writer left it. Knows nothing of labs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from labcloud.lab.documents import dump

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Edit = tuple[int, int, str]


class _ReshapedError(Exception):
    """The new value has not the shape of the old one: it cannot be changed value by value."""


def update(text: str, wanted: Mapping[str, Any]) -> str:
    """``text`` with the top-level values ``wanted``: values that stay keep their lines, and comments stay in their place.

    Where a list or a mapping gets other keys it is written anew; the comments inside it are lost then, no others. A text that
    is no YAML mapping is replaced.
    """
    try:
        root = yaml.compose(text, Loader=_LOADER)
        if not isinstance(root, yaml.MappingNode) or root.flow_style:
            return dump(wanted)
        changed = _apply(text, _edits(text, root, wanted))
        return changed if _plain(changed) == _plain(dump(wanted)) else dump(wanted)
    except (yaml.YAMLError, RecursionError):
        return dump(wanted)


def _edits(text: str, root: yaml.MappingNode, wanted: Mapping[str, Any]) -> list[_Edit]:
    edits: list[_Edit] = []
    there = set()
    for key, value in root.value:
        there.add(key.value)
        if key.value not in wanted:
            edits.append((key.start_mark.index, _end(text, key, value), ""))
            continue
        try:
            edits += _splice(value, _node(wanted[key.value]))
        except _ReshapedError:
            edits.append((key.start_mark.index, _end(text, key, value), dump({key.value: wanted[key.value]})))
    missing = {key: value for key, value in wanted.items() if key not in there}
    if missing:
        edits.append((len(text), len(text), ("" if text.endswith("\n") else "\n") + dump(missing)))
    return edits


def _splice(old: yaml.Node, new: yaml.Node) -> list[_Edit]:
    """The changes of single values that make ``old`` say what ``new`` says."""
    if isinstance(old, yaml.ScalarNode) and isinstance(new, yaml.ScalarNode):
        if old.value == new.value:
            return []
        if not old.value or old.style in ("|", ">") or old.start_mark.line != old.end_mark.line:
            raise _ReshapedError
        return [(old.start_mark.index, old.end_mark.index, _scalar(new))]
    if type(old) is not type(new) or len(old.value) != len(new.value):
        raise _ReshapedError
    if isinstance(new, yaml.SequenceNode):
        return [edit for one, other in zip(old.value, new.value, strict=True) for edit in _splice(one, other)]
    fresh = {key.value: value for key, value in new.value}
    edits: list[_Edit] = []
    for key, value in old.value:
        if key.value not in fresh:
            raise _ReshapedError
        edits += _splice(value, fresh[key.value])
    return edits


def _node(value: Any) -> yaml.Node:
    """``value`` as a node of a block, as `dump` writes it."""
    root = yaml.compose(dump({"value": value}), Loader=_LOADER)
    assert isinstance(root, yaml.MappingNode)  # noqa: S101  # it was dumped as one
    found: yaml.Node = root.value[0][1]
    return found


def _scalar(node: yaml.ScalarNode) -> str:
    return str(yaml.serialize(yaml.ScalarNode(node.tag, node.value, style=node.style), width=4096)).partition("\n")[0]


def _end(text: str, key: yaml.Node, value: yaml.Node) -> int:
    """Where the lines of a top-level entry end: a block's own end mark lies behind the comments that follow it."""
    end = max(value.end_mark.index, key.end_mark.index)
    lines = text[key.start_mark.index : end].splitlines(keepends=True)
    while len(lines) > 1 and (not lines[-1].strip() or lines[-1].startswith("#")):
        lines.pop()
    end = key.start_mark.index + sum(map(len, lines))
    if lines and not lines[-1].endswith("\n"):
        newline = text.find("\n", end)
        end = len(text) if newline < 0 else newline + 1
    return end


def _apply(text: str, edits: list[_Edit]) -> str:
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _plain(text: str) -> Any:
    return yaml.load(text, Loader=_LOADER)  # noqa: S506  # the safe loader, in C
