"""A graph as text: a tree with the path taken marked. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from labcloud.diagnosis.model import Diagnosis, Graph, Kind
from labcloud.diagnosis.outline import Item, outline


def tree(graphs: Mapping[str, Graph], first: str, diagnosis: Diagnosis | None) -> Iterator[tuple[str, bool]]:
    """The lines of the tree, each with whether a diagnosis came there. ``●`` marks those, ``?`` what could not be asked."""
    item = outline(graphs, first, diagnosis)
    yield f"{_mark(item)} {item.name}: {item.said}", item.taken
    yield from _below(item, "")


def _below(item: Item, indent: str) -> Iterator[tuple[str, bool]]:
    for number, child in enumerate(item.children):
        last = number == len(item.children) - 1
        yield f"{indent}{'└─' if last else '├─'}{_mark(child)} {_text(child)}", child.taken
        yield from _below(child, indent + ("   " if last else "│  "))


def _mark(item: Item) -> str:
    if item.unknown:
        return "?"
    return "●" if item.taken else "○"


def _text(item: Item) -> str:
    name = {Kind.CAUSE: item.name, Kind.CHECKPOINT: f"[{item.name}]", Kind.GRAPH: f"({item.name})"}[item.kind]
    way = f"{item.when} → {name}" if item.when else name
    return f"{way}  {item.said}" if item.said else way
