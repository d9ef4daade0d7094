"""A graph as a tree to be drawn: what leads where, and what of it a diagnosis took. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from labcloud.diagnosis.model import Checkpoint, Diagnosis, Edge, Graph, Kind


@dataclass(frozen=True)
class Item:
    """A checkpoint, a cause or a graph, and the way to it: ``when`` is the edge's expression. ``taken`` says that a diagnosis came here;
    ``said`` is what there is to tell: what is asked, the verdict, why it is not known. ``unknown`` is for what could not be asked."""

    kind: Kind
    name: str
    when: str = ""
    taken: bool = False
    said: str = ""
    unknown: bool = False
    children: tuple[Item, ...] = ()

    @property
    def ends_in_cause(self) -> bool:
        """Whether a diagnosis found a cause from here on."""
        if self.kind is Kind.CAUSE:
            return self.taken
        return self.taken and any(each.ends_in_cause for each in self.children)


def outline(graphs: Mapping[str, Graph], first: str, diagnosis: Diagnosis | None) -> Item:
    """The graph ``first`` as a tree. Graphs that it leads to are drawn too where the diagnosis found something in them."""
    return _Outline(graphs, diagnosis).graph(first, "", taken=diagnosis is not None, whole=True)


class _Outline:
    def __init__(self, graphs: Mapping[str, Graph], diagnosis: Diagnosis | None) -> None:
        self._graphs = graphs
        self._diagnosis = diagnosis
        self._failed = {(step.graph, step.checkpoint): step.failed for step in diagnosis.steps} if diagnosis else {}
        self._verdicts = {found.id: found.verdict for found in diagnosis.found} if diagnosis else {}
        self._drawn: set[tuple[str, str]] = set()

    def graph(self, name: str, when: str, *, taken: bool, whole: bool = False) -> Item:
        graph = self._graphs[name]
        drawn = set(self._drawn)
        children = tuple(self._checkpoint(graph, each, "", taken=taken) for each in graph.start) if whole or taken else ()
        children += tuple(self.graph(each, "", taken=taken) for each in graph.joined) if whole or taken else ()
        item = Item(Kind.GRAPH, name, when, taken, graph.title, children=children)
        if whole or item.ends_in_cause:
            return item
        self._drawn = drawn
        return Item(Kind.GRAPH, name, when, taken, graph.title)

    def _checkpoint(self, graph: Graph, name: str, when: str, *, taken: bool) -> Item:
        checkpoint = graph.checkpoints[name]
        key = (graph.name, name)
        failed = self._failed.get(key, "")
        said = failed or _asked(checkpoint)
        if key in self._drawn:
            return Item(Kind.CHECKPOINT, name, when, taken, "see above", bool(failed))
        self._drawn.add(key)
        children = tuple(self._edge(graph, checkpoint, number, edge) for number, edge in enumerate(checkpoint.edges))
        return Item(Kind.CHECKPOINT, name, when, taken, said, bool(failed), children)

    def _edge(self, graph: Graph, checkpoint: Checkpoint, number: int, edge: Edge) -> Item:
        taken = self._diagnosis is not None and (graph.name, checkpoint.name, number) in self._diagnosis.taken
        when = edge.when.text or "always"
        if edge.kind is Kind.CHECKPOINT:
            return self._checkpoint(graph, edge.target, when, taken=taken)
        if edge.kind is Kind.GRAPH:
            return self.graph(edge.target, when, taken=taken)
        return Item(Kind.CAUSE, edge.target, when, taken, self._verdicts.get(edge.target, "") if taken else "")


def _asked(checkpoint: Checkpoint) -> str:
    if checkpoint.script is not None:
        where = f" on {checkpoint.script.on}" if checkpoint.script.on else ""
        return f"script {checkpoint.script.argv[0]}{where}"
    asked = f"check {checkpoint.check}" if checkpoint.check else f"probe {checkpoint.probe}"
    return f"{asked}, beside {', '.join(checkpoint.beside)}" if checkpoint.beside else asked
