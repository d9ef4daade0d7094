"""What the lines of a graph, and graphs among each other, must agree on. Pure.

An edge may use the results of its own checkpoint, of those asked beside it, and of those that are passed on every way to it: so
what it decides does not depend on which way was taken, nor on what was quicker.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NoReturn

from labcloud.diagnosis.model import PLACEHOLDER, About, Action, Cause, Checkpoint, Edge, Graph, Kind, Source
from labcloud.errors import ConfigError

TARGET_NAMES: Final = frozenset({"target", "cluster", "tenant", "operation"})
"""Placeholders that are always there."""

_Names = Mapping[str, tuple[str, ...]]


def check(graphs: Mapping[str, Graph]) -> None:
    """Raise ConfigError for the first thing that is wrong in or between ``graphs``."""
    owners: dict[str, Graph] = {}
    for graph in graphs.values():
        _check_targets(graph, graphs)
        _check_cycle(graph)
        _check_reached(graph)
        _check_names(graph)
        for id, cause in graph.causes.items():
            if id in owners:
                _wrong(cause.source, f"the cause {id!r} is declared in {owners[id].path} too")
            owners[id] = graph
    _check_graph_cycle(graphs)


def _wrong(source: Source, problem: str, resolution: str = "") -> NoReturn:
    raise ConfigError(
        f"{source.path}:{source.line + 1}: {problem}", resolution=resolution or "correct the file; 'labcloud diagnose --check' reads all"
    )


def _top(graph: Graph) -> Source:
    return Source(graph.path, 0)


def _check_targets(graph: Graph, graphs: Mapping[str, Graph]) -> None:
    for name in graph.joins:
        if name not in graphs:
            _wrong(_top(graph), f"it joins the graph {name!r}, which is not there", f"there are {', '.join(graphs)}")
    for name in graph.start:
        if name not in graph.checkpoints:
            _wrong(_top(graph), f"it starts at the checkpoint {name!r}, which is not there")
    for checkpoint in graph.checkpoints.values():
        for name in checkpoint.beside:
            if name not in graph.checkpoints or name == checkpoint.name:
                _wrong(checkpoint.source, f"{checkpoint.name!r} is asked beside {name!r}, which is no other checkpoint here")
    for _, edge in graph.edges():
        _check_target(edge, graph, graphs)


def _check_target(edge: Edge, graph: Graph, graphs: Mapping[str, Graph]) -> None:
    there: dict[Kind, Iterable[str]] = {Kind.CHECKPOINT: graph.checkpoints, Kind.CAUSE: graph.causes, Kind.GRAPH: graphs}
    if edge.target not in there[edge.kind]:
        _wrong(edge.source, f"this edge leads to the {edge.kind} {edge.target!r}, which is not there")
    if edge.kind is Kind.GRAPH and graphs[edge.target].about is About.OPERATION and graph.about is About.CLUSTER:
        _wrong(edge.source, f"{edge.target!r} is about an operation: a graph about a cluster cannot lead there")


def _next(graph: Graph, name: str) -> Iterator[str]:
    yield from graph.checkpoints[name].beside
    yield from _led_to(graph, name)


def _led_to(graph: Graph, name: str) -> Iterator[str]:
    yield from (edge.target for edge in graph.checkpoints[name].edges if edge.kind is Kind.CHECKPOINT)


def _check_cycle(graph: Graph) -> None:
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            circle = " → ".join((*way[way.index(name) :], name))
            _wrong(graph.checkpoints[way[-1]].source, f"checkpoints lead in a circle: {circle}")
        if name not in done:
            for each in _led_to(graph, name):
                visit(each, (*way, name))
            done.add(name)

    for name in graph.checkpoints:
        visit(name, ())


def _check_reached(graph: Graph) -> None:
    reached: set[str] = set()
    waiting = list(graph.start)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += _next(graph, name)
    for name, checkpoint in graph.checkpoints.items():
        if name not in reached:
            _wrong(checkpoint.source, f"no way leads to the checkpoint {name!r}")
    named = {edge.target for _, edge in graph.edges() if edge.kind is Kind.CAUSE}
    for id, cause in graph.causes.items():
        if id not in named:
            _wrong(cause.source, f"no edge leads to the cause {id!r}")


def _check_graph_cycle(graphs: Mapping[str, Graph]) -> None:
    def visit(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            _wrong(_top(graphs[way[-1]]), f"graphs lead in a circle: {' → '.join((*way[way.index(name) :], name))}")
        graph = graphs[name]
        onward = dict.fromkeys((*(edge.target for _, edge in graph.edges() if edge.kind is Kind.GRAPH), *graph.joined))
        for each in onward:
            visit(each, (*way, name))

    for name in graphs:
        visit(name, ())


# Names of results, and placeholders


def _check_names(graph: Graph) -> None:
    known = _known(graph)
    ways: dict[str, list[_Names]] = {id: [] for id in graph.causes}
    for checkpoint, edge in graph.edges():
        names = known[checkpoint.name]
        for name in edge.when.names:
            if name not in names:
                _wrong(edge.source, _strange(graph, checkpoint, name), f"known here are {', '.join(sorted(names))}")
        if edge.kind is Kind.CAUSE:
            ways[edge.target].append(names)
    for id, cause in graph.causes.items():
        _check_cause(cause, ways[id])


def _strange(graph: Graph, checkpoint: Checkpoint, name: str) -> str:
    givers = [each.name for each in graph.checkpoints.values() if name in each.gives or name == each.unknown]
    if givers:
        return f"{name!r} is given by {givers[0]!r}, which not every way to {checkpoint.name!r} passes"
    return f"no checkpoint gives {name!r}"


def _check_cause(cause: Cause, ways: Iterable[_Names]) -> None:
    for names in ways:
        for text in (cause.verdict, cause.advice):
            _check_placeholders(text, names, (), cause.source)
        for action in cause.fix:
            _check_action(action, names)


def _check_action(action: Action, names: _Names) -> None:
    if action.each and action.each not in names:
        _wrong(action.source, f"no checkpoint on the way gives {action.each!r}")
    keys = names[action.each] if action.each else ()
    for text in (*action.argv, action.on, action.user):
        _check_placeholders(text, names, keys, action.source)


def _check_placeholders(text: str, names: _Names, keys: Iterable[str], source: Source) -> None:
    for placeholder in PLACEHOLDER.findall(text):
        name, dot, key = placeholder.rpartition(".")
        known = key in names.get(name, ()) if dot else placeholder in TARGET_NAMES or placeholder in keys
        if not known:
            _wrong(source, f"nothing fills {{{placeholder}}}", "write {RESULT.KEY}, {cluster}, {tenant}, {operation}, or a key of 'each'")


def _known(graph: Graph) -> dict[str, _Names]:
    """For each checkpoint the results that its edges may use, with the keys of their cases."""
    before: dict[str, set[str]] = {}
    changed = True
    while changed:  # the greatest solution of: what comes before is what all ways have in common
        changed = False
        for name in graph.checkpoints:
            fresh = _common(graph, name, before)
            if fresh is not None and fresh != before.get(name):
                before[name], changed = fresh, True
    return {name: _given(graph, (name, *checkpoint.beside, *before[name])) for name, checkpoint in graph.checkpoints.items()}


def _common(graph: Graph, name: str, before: Mapping[str, set[str]]) -> set[str] | None:
    """The checkpoints that all ways to ``name`` pass, as far as they are known; None if no way is known yet."""
    ways: list[set[str]] = [set()] if name in graph.start else []
    for other, checkpoint in graph.checkpoints.items():
        if other not in before:
            continue
        if name in _led_to(graph, other):
            ways.append({*before[other], other, *checkpoint.beside})
        if name in checkpoint.beside:
            ways.append(before[other])
    return set.intersection(*ways) if ways else None


def _given(graph: Graph, checkpoints: Iterable[str]) -> _Names:
    names: dict[str, tuple[str, ...]] = {}
    for name in dict.fromkeys(checkpoints):
        checkpoint = graph.checkpoints[name]
        for result, keys in (*checkpoint.gives.items(), (checkpoint.unknown, ("why",))):
            if result in names:
                _wrong(checkpoint.source, f"{result!r} is given by another checkpoint on the same way, too")
            names[result] = keys
    return names
