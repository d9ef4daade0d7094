"""A graph as SVG: a tree from left to right, the path taken in colour. Pure.

Layered by depth, each column as wide as its widest box, each leaf on a line of its own, a parent in the middle of its children: that is
all of Reingold and Tilford's tidy trees that boxes of one height need.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from labcloud.diagnosis.model import Diagnosis, Graph, Kind
from labcloud.diagnosis.outline import Item, outline

_CHARACTER: Final = 6.7  # pixels of a character at 11 px
_LINE: Final = 15.0
_PAD: Final = 8.0
_ROW_GAP: Final = 10.0
_MARGIN: Final = 24.0
_HEAD: Final = 56.0
_WRAP: Final = 46
_WHEN: Final = 32

_STYLE: Final = """
text { font: 11px ui-monospace, 'DejaVu Sans Mono', Menlo, monospace; fill: #24292f; }
.title { font: bold 16px system-ui, 'DejaVu Sans', sans-serif; }
.legend, .when { fill: #57606a; }
.said { fill: #57606a; }
.name { font-weight: bold; }
rect { stroke: #c3c9d0; fill: #f6f8fa; }
path { stroke: #c3c9d0; fill: none; stroke-width: 1.2; }
.off text { fill: #8c959f; }
.plain .off .name { fill: #24292f; }
.plain .off .said { fill: #57606a; }
.checkpoint.on rect, .graph.on rect { stroke: #1f6feb; fill: #ddf4ff; stroke-width: 1.6; }
.cause.on rect { stroke: #cf222e; fill: #ffebe9; stroke-width: 1.8; }
.unknown rect { stroke: #9a6700; fill: #fff8c5; stroke-dasharray: 5 3; }
path.on { stroke: #1f6feb; stroke-width: 2.4; }
path.end { stroke: #cf222e; stroke-width: 2.4; }
.when.on { fill: #0a3069; font-weight: bold; }
"""


@dataclass(frozen=True)
class _Box:
    """An item with its place: ``x`` and ``y`` of its upper left corner."""

    item: Item
    lines: tuple[str, ...]
    x: float
    y: float
    width: float
    height: float
    children: tuple[_Box, ...]

    @property
    def middle(self) -> float:
        return self.y + self.height / 2


def draw(graphs: Mapping[str, Graph], first: str, diagnosis: Diagnosis | None) -> str:
    """The whole picture, as the text of an SVG file."""
    item = outline(graphs, first, diagnosis)
    columns = _columns(item)
    root, bottom = _place(item, 0, columns, _HEAD + _MARGIN)
    shade = "" if diagnosis else " plain"
    boxes = list(_all(root))
    width = max(box.x + box.width for box in boxes) + _MARGIN
    height = bottom + _MARGIN
    title = f"{first}: {graphs[first].title}" + (f" — {diagnosis.target}" if diagnosis else "")
    body = [*_edges(root), *(line for box in boxes for line in _drawn(box))]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="graph-drawing{shade}" viewBox="0 0 {width:.0f} {height:.0f}"',
            f' width="{width:.0f}" height="{height:.0f}">',
            f"<style>{_STYLE}</style>",
            f'<rect width="{width:.0f}" height="{height:.0f}" style="fill:#ffffff;stroke:none"/>',
            f'<text class="title" x="{_MARGIN:.0f}" y="34">{escape(title)}</text>',
            f'<text class="legend" x="{_MARGIN:.0f}" y="54">{_legend(diagnosis)}</text>',
            *body,
            "</svg>\n",
        ]
    )


def _legend(diagnosis: Diagnosis | None) -> str:
    if diagnosis is None:
        return "checkpoints are asked; edges are followed where their expression holds; paths end at causes"
    return "blue: the path taken · red: a cause that was found · yellow: could not be asked · grey: ruled out, or not asked"


# Layout


def _label(item: Item) -> tuple[str, ...]:
    return (item.name, *textwrap.wrap(item.said, _WRAP, break_on_hyphens=False)[:6])


def _way(item: Item) -> tuple[str, ...]:
    return tuple(textwrap.wrap(item.when, _WHEN, break_on_hyphens=False))


def _columns(item: Item) -> list[float]:
    """Where each column begins: behind the widest box of the one before, and room for what stands on the edges."""
    boxes: list[float] = []
    ways: list[float] = []

    def visit(each: Item, depth: int) -> None:
        if depth == len(boxes):
            boxes.append(0.0)
            ways.append(0.0)
        boxes[depth] = max(boxes[depth], _width(_label(each)))
        ways[depth] = max(ways[depth], *(len(line) * _CHARACTER for line in _way(each)), 0.0) if _way(each) else ways[depth]
        for child in each.children:
            visit(child, depth + 1)

    visit(item, 0)
    begins = [_MARGIN]
    for depth in range(1, len(boxes)):
        begins.append(begins[-1] + boxes[depth - 1] + ways[depth] + 52)
    return begins


def _width(lines: tuple[str, ...]) -> float:
    return max(len(line) for line in lines) * _CHARACTER + 2 * _PAD


def _place(item: Item, depth: int, columns: list[float], top: float) -> tuple[_Box, float]:
    """The box of ``item`` with all below it, from ``top`` on; and where the next one may begin."""
    lines = _label(item)
    height = max(len(lines), len(_way(item))) * _LINE + _PAD
    children: list[_Box] = []
    below = top
    for child in item.children:
        box, below = _place(child, depth + 1, columns, below)
        children.append(box)
    y = max(top, (children[0].middle + children[-1].middle - height) / 2) if children else top
    box = _Box(item, lines, columns[depth], y, _width(lines), height, tuple(children))
    return box, max(below, y + height + _ROW_GAP)


def _all(box: _Box) -> Iterator[_Box]:
    yield box
    for child in box.children:
        yield from _all(child)


# Drawing


def _edges(box: _Box) -> Iterator[str]:
    """What is not taken first, so that the path lies on top."""
    for child in sorted(box.children, key=lambda each: each.item.taken):
        yield from _edge(box, child)
        yield from _edges(child)


def _edge(box: _Box, child: _Box) -> Iterator[str]:
    state = ("end" if child.item.kind is Kind.CAUSE else "on") if child.item.taken else "off"
    start, turn = box.x + box.width, box.x + box.width + 18
    yield f'<path class="{state}" d="M{start:.0f} {box.middle:.0f} H{turn:.0f} V{child.middle:.0f} H{child.x:.0f}"/>'
    way = _way(child.item)
    for number, line in enumerate(way):
        # On the edge, at its end: the last line just above it.
        y = child.middle - 4 - (len(way) - 1 - number) * (_LINE - 2)
        x = child.x - 10
        shown = "when on" if child.item.taken else "when"
        yield f'<text class="{shown}" text-anchor="end" x="{x:.0f}" y="{y:.0f}">{escape(line)}</text>'


def _drawn(box: _Box) -> Iterator[str]:
    item = box.item
    state = "unknown" if item.unknown else "on" if item.taken else "off"
    corner = 3 if item.kind is Kind.CAUSE else 12
    yield f'<g class="{item.kind} {state}"><title>{escape(item.name)}: {escape(item.said or item.when)}</title>'
    yield f'<rect x="{box.x:.0f}" y="{box.y:.0f}" width="{box.width:.0f}" height="{box.height:.0f}" rx="{corner}"/>'
    for number, line in enumerate(box.lines):
        kind = "name" if number == 0 else "said"
        y = box.middle - len(box.lines) * _LINE / 2 + number * _LINE + 11
        yield f'<text class="{kind}" x="{box.x + _PAD:.0f}" y="{y:.0f}">{escape(line)}</text>'
    yield "</g>"
