"""Change values in a YAML text and leave the rest of it, comments and layout, as its writer left it. Knows nothing of labs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
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
        return changed if _plain(changed) == _as_text(dict(wanted)) else dump(wanted)
    except (yaml.YAMLError, RecursionError):
        return dump(wanted)


def set_value(text: str, path: Sequence[str], value: Any) -> str:
    """``text`` with ``value`` (text, a number, a list, a mapping) at ``path``; None takes it away, and the mappings that it leaves empty.

    A part of the path is a key, or in a list of mappings the ``name`` of one: ``("groups", "worker", "memory")``. All other lines, and
    comments, stay as they are; but a text that is no mapping, or has anchors in the way, is written anew. Raise KeyError for a list
    that has nothing of that name, or a value that is not a mapping where the path goes on.
    """
    plain = yaml.load(text, Loader=yaml.BaseLoader) or {}  # noqa: S506  # the safest of all: every value is its text
    wanted = _as_text(_with(plain, tuple(path), value))
    if wanted == plain:
        return text
    try:
        root = yaml.compose(text, Loader=_LOADER)
        if root is None:
            return text + ("\n" if text and not text.endswith("\n") else "") + dump(_nested(tuple(path), value))
        changed = _apply(text, [_placed(text, root, tuple(path), value)])
        if yaml.load(changed, Loader=yaml.BaseLoader) == wanted:  # noqa: S506
            return changed
    except (yaml.YAMLError, RecursionError, _ReshapedError):
        pass
    return dump(wanted)


def _with(plain: Any, path: tuple[str, ...], value: Any) -> Any:
    """``plain`` with ``value`` at ``path``."""
    key, rest = path[0], path[1:]
    if isinstance(plain, list):
        if not any(isinstance(each, dict) and each.get("name") == key for each in plain) or not rest:
            raise KeyError(key)
        return [_with(each, rest, value) if isinstance(each, dict) and each.get("name") == key else each for each in plain]
    if plain in ("", None):
        plain = {}
    if not isinstance(plain, dict):
        raise KeyError(key)
    others = {name: each for name, each in plain.items() if name != key}
    if not rest:
        new = value
    elif key in plain or value is not None:
        new = _with(plain.get(key, {}), rest, value)
        if value is None and new == {}:
            new = None if plain.get(key) else plain.get(key)
    else:
        new = None
    if new is None:
        return others
    return {name: new if name == key else each for name, each in plain.items()} if key in plain else {**others, key: new}


def _placed(text: str, node: yaml.Node, path: tuple[str, ...], value: Any) -> _Edit:
    """The one change that sets, or removes, what is at ``path`` below ``node``."""
    key, rest = path[0], path[1:]
    if isinstance(node, yaml.CollectionNode) and node.flow_style and node.value:
        flow = yaml.serialize(_flow(node, path, value), width=4096, allow_unicode=True)
        return node.start_mark.index, node.end_mark.index, str(flow).removesuffix("\n")
    if isinstance(node, yaml.SequenceNode):
        return _placed(text, next(each for each in node.value if _name(each) == key), rest, value)
    if not isinstance(node, yaml.MappingNode) or not node.value:
        raise _ReshapedError
    column = node.value[0][0].start_mark.column
    there = next((entry for entry in node.value if entry[0].value == key), None)
    if there is None:
        end = _end(text, *node.value[-1], column=column)
        newline = "" if text[:end].endswith("\n") else "\n"
        return end, end, newline + " " * column + _indented({key: _nested(rest, value)}, column)
    name, old = there
    if rest and isinstance(old, yaml.CollectionNode) and old.value and not _emptied(old, rest, value):
        return _placed(text, old, rest, value)
    return _replaced(text, name, old, value if value is None else _nested(rest, value))


def _replaced(text: str, name: yaml.Node, old: yaml.Node, value: Any) -> _Edit:
    """The change that makes the entry ``name`` of a block say ``value``, or removes it."""
    column = name.start_mark.column
    if value is None:
        return _line_start(text, name), _end(text, name, old, column=column), ""
    if isinstance(old, yaml.ScalarNode) and not isinstance(value, list | dict) and "\n" not in str(value):
        with suppress(_ReshapedError):
            return _splice(old, _node(value))[0]
    return name.start_mark.index, _end(text, name, old, column=column), _indented({name.value: value}, column)


def _flow(node: yaml.CollectionNode, path: tuple[str, ...], value: Any) -> yaml.CollectionNode:
    """``node``, which is written in braces or brackets, with ``value`` at ``path``."""
    key, rest = path[0], path[1:]
    if isinstance(node, yaml.SequenceNode):
        items = [_flow(each, rest, value) if _name(each) == key else each for each in node.value]
        return yaml.SequenceNode(node.tag, items, flow_style=True)
    there = {name.value: (name, old) for name, old in node.value}
    name, old = there.get(key, (_node(key), None))
    if not rest:
        new = None if value is None else _node(value)
    elif isinstance(old, yaml.CollectionNode) and old.value:
        new = None if _emptied(old, rest, value) else _flow(old, rest, value)
    else:
        new = None if value is None else _node(_nested(rest, value))
    changed = {**there, key: (name, new)}
    return yaml.MappingNode(node.tag, [(one, other) for one, other in changed.values() if other is not None], flow_style=True)


def _emptied(node: yaml.Node, path: tuple[str, ...], value: Any) -> bool:
    """Whether removing what is at ``path`` leaves nothing in ``node``."""
    if value is not None or not isinstance(node, yaml.MappingNode) or len(node.value) != 1:
        return False
    return node.value[0][0].value == path[0] and (len(path) == 1 or _emptied(node.value[0][1], path[1:], value))


def _name(node: yaml.Node) -> str:
    entries = node.value if isinstance(node, yaml.MappingNode) else []
    return next((str(value.value) for key, value in entries if key.value == "name"), "")


def _nested(path: tuple[str, ...], value: Any) -> Any:
    return {path[0]: _nested(path[1:], value)} if path else value


def _indented(entry: Mapping[str, Any], column: int) -> str:
    """``entry`` as lines of a block at ``column``, the first without its indentation."""
    return dump(entry).replace("\n", "\n" + " " * column).removesuffix(" " * column)


def _line_start(text: str, key: yaml.Node) -> int:
    start = int(key.start_mark.index)
    if text[text.rfind("\n", 0, start) + 1 : start].strip():  # the first key of a list's item stands behind its dash
        raise _ReshapedError
    return text.rfind("\n", 0, start) + 1


def _as_text(value: Any) -> Any:
    """``value`` as what a reader makes of it that takes every value for text."""
    return yaml.load(dump({"value": value}), Loader=yaml.BaseLoader)["value"]  # noqa: S506


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


def _end(text: str, key: yaml.Node, value: yaml.Node, *, column: int = 0) -> int:
    """Where the lines of an entry at ``column`` end: a block's own end mark lies behind the comments, no deeper, that follow it."""
    end = max(value.end_mark.index, key.end_mark.index)
    lines = text[key.start_mark.index : end].splitlines(keepends=True)
    while len(lines) > 1 and (not lines[-1].strip() or _comment(lines[-1], column)):
        lines.pop()
    end = key.start_mark.index + sum(map(len, lines))
    if lines and not lines[-1].endswith("\n"):
        newline = text.find("\n", end)
        end = len(text) if newline < 0 else newline + 1
    return end


def _comment(line: str, column: int) -> bool:
    """Whether ``line`` is a comment that stands at ``column`` or before: deeper it belongs to what stands above, or is text."""
    bare = line.lstrip(" ")
    return bare.startswith("#") and len(line) - len(bare) <= column


def _apply(text: str, edits: list[_Edit]) -> str:
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _plain(text: str) -> Any:
    """What ``text`` says, every value as its text: so do all readers of a lab take it (``12:00`` is no number to them)."""
    return yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  # the safest of all
