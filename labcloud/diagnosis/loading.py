"""Graphs as YAML files: those that are shipped, and the operator's own in HOME/lab/diagnosis. See docs/diagnosis.md for the format.

A file that is wrong is a ConfigError with its name and the line. What several lines or files must agree on, `checking` looks at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

import yaml

from labcloud.diagnosis.checking import check
from labcloud.diagnosis.expressions import ALWAYS, Expression, ExpressionError, parse
from labcloud.diagnosis.model import About, Action, Cause, Checkpoint, Confidence, Edge, Graph, Kind, Script, Source
from labcloud.diagnosis.probes import PROBES
from labcloud.errors import ConfigError, UsageError
from labcloud.lab.document import Document
from labcloud.lab.files import disk_errors

_SHIPPED: Final = Path(__file__).parent / "graphs"
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_CAUSE: Final = re.compile(r"[a-z][a-z0-9-]*(?:\.[a-z0-9][a-z0-9-]*)+")
_KEY: Final = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_LONGEST: Final = 600.0
_ANSWERS: Final = {"yes": True, "true": True, "no": False, "false": False}
_CHECK_KEYS: Final = ("summary", "fix")

Word = TypeVar("Word", bound=StrEnum)


def load_graphs(home: Path) -> dict[str, Graph]:
    """Every graph by name, checked: shipped ones, and the operator's, which replace shipped ones of the same name.

    Raise ConfigError, with file and line, for the first thing that is wrong.
    """
    folders = (_SHIPPED, home / "lab" / "diagnosis")
    paths = {path.stem: path for folder in folders for path in sorted(folder.glob("*.yaml"))}
    graphs = {name: read_graph(_text(path), path) for name, path in paths.items()}
    for graph in list(graphs.values()):
        for name in graph.joins:
            if name in graphs:
                graphs[name] = replace(graphs[name], joined=(*graphs[name].joined, graph.name))
    check(graphs)
    return graphs


def _text(path: Path) -> str:
    with disk_errors(f"read {path}"):
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as exc:
            raise ConfigError(f"{path}:{exc.object[: exc.start].count(10) + 1}: this is not UTF-8 text") from exc


def read_graph(text: str, path: Path) -> Graph:
    """The graph that ``text`` declares, named as its file. Raise ConfigError with ``path`` and the line of what is wrong."""
    return _Reader(path).graph(text, path)


class _Reader(Document):
    """One file. Its methods take nodes of the YAML tree, which know their lines."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._file = path

    def graph(self, text: str, path: Path) -> Graph:
        fields = self.mapping(self.root(text), required=("title", "about", "start", "checkpoints", "causes"), more=("joins",))
        return Graph(
            name=path.stem,
            title=self.scalar(fields["title"], _sentence),
            about=self.scalar(fields["about"], lambda text: _one_of(About, text)),
            start=self._names(fields["start"]),
            checkpoints={name: self._checkpoint(name, node) for name, node in self._named(fields["checkpoints"], _NAME).items()},
            causes={id: self._cause(id, node) for id, node in self._named(fields["causes"], _CAUSE).items()},
            joins=self._names(fields.get("joins")),
            path=path,
        )

    def _checkpoint(self, name: str, node: yaml.Node) -> Checkpoint:
        fields = self.mapping(node, required=(), more=("probe", "check", "script", "on", "user", "gives", "beside", "seconds", "edges"))
        kinds = [kind for kind in ("probe", "check", "script") if kind in fields]
        if len(kinds) != 1:
            raise self.wrong(node.start_mark.line, f"the checkpoint {name!r} needs one of 'probe', 'check', 'script'")
        for key in ("on", "user", "gives"):
            if key in fields and kinds != ["script"]:
                raise self.wrong(fields[key].start_mark.line, f"{key!r} is for scripts only")
        return Checkpoint(
            name=name,
            gives=self._gives(name, kinds[0], fields, node),
            source=self._source(node),
            probe=self.scalar(fields.get("probe"), str, ""),
            check=self.scalar(fields.get("check"), lambda text: _matching(_CAUSE, "the id of a check", text), ""),
            script=self._script(fields) if "script" in fields else None,
            beside=self._names(fields.get("beside")),
            seconds=self.scalar(fields.get("seconds"), _seconds, 15.0),
            edges=tuple(self._edge(each) for each in self.items(fields["edges"])) if "edges" in fields else (),
        )

    def _gives(self, name: str, kind: str, fields: Mapping[str, yaml.Node], node: yaml.Node) -> Mapping[str, tuple[str, ...]]:
        if kind == "probe":
            return self.scalar(fields["probe"], _probe_gives)
        if kind == "check":
            return MappingProxyType({f"{name}-failed": _CHECK_KEYS, f"{name}-warned": _CHECK_KEYS})
        if "gives" not in fields:
            raise self.wrong(node.start_mark.line, f"the script of {name!r} must say what it gives", "add 'gives: {NAME: [KEY, ...]}'")
        keys = {each: self._keys(keys) for each, keys in self._named(fields["gives"], _NAME).items()}
        on_nodes = ("node",) if "on" in fields else ()
        return MappingProxyType({each: (*on_nodes, *found) for each, found in keys.items()})

    def _keys(self, node: yaml.Node) -> tuple[str, ...]:
        if isinstance(node, yaml.ScalarNode) and node.value in ("", "null", "~", "[]"):
            return ()
        if isinstance(node, yaml.SequenceNode) and not node.value:
            return ()
        return tuple(self.scalar(each, lambda text: _matching(_KEY, "a key", text)) for each in self.items(node))

    def _script(self, fields: Mapping[str, yaml.Node]) -> Script:
        return Script(
            argv=self._argv(fields["script"]),
            on=self.scalar(fields.get("on"), lambda text: _matching(_NAME, "a node, a group or 'all'", text), ""),
            user=self.scalar(fields.get("user"), lambda text: _matching(_NAME, "a user", text), "root"),
        )

    def _edge(self, node: yaml.Node) -> Edge:
        fields = self.mapping(node, required=(), more=("when", "to", "cause", "graph"))
        targets = {"to": Kind.CHECKPOINT, "cause": Kind.CAUSE, "graph": Kind.GRAPH}
        named = [key for key in targets if key in fields]
        if len(named) != 1:
            raise self.wrong(node.start_mark.line, "an edge leads to one of 'to', 'cause', 'graph'")
        when = self.scalar(fields["when"], _expression) if "when" in fields else ALWAYS
        return Edge(when, targets[named[0]], self.scalar(fields[named[0]], str), self._source(node))

    def _cause(self, id: str, node: yaml.Node) -> Cause:
        fields = self.mapping(node, required=("verdict",), more=("confidence", "fault", "fix", "advice"))
        return Cause(
            id=id,
            verdict=self.scalar(fields["verdict"], _sentence),
            source=self._source(node),
            confidence=self.scalar(fields.get("confidence"), lambda text: _one_of(Confidence, text), Confidence.CERTAIN),
            fault=self.scalar(fields.get("fault"), _yes, True),
            fix=tuple(self._action(each) for each in self.items(fields["fix"])) if "fix" in fields else (),
            advice=self.scalar(fields.get("advice"), _sentence, ""),
        )

    def _action(self, node: yaml.Node) -> Action:
        fields = self.mapping(node, required=("safe",), more=("labcloud", "run", "on", "user", "each"))
        if ("labcloud" in fields) == ("run" in fields):
            raise self.wrong(node.start_mark.line, "an action is one of 'labcloud' and 'run'")
        if ("run" in fields) != ("on" in fields):
            raise self.wrong(node.start_mark.line, "'run' needs 'on', the node, and nothing else has it")
        return Action(
            argv=self._argv(fields["run"] if "run" in fields else fields["labcloud"]),
            safe=self.scalar(fields["safe"], _yes),
            source=self._source(node),
            on=self.scalar(fields.get("on"), str, ""),
            user=self.scalar(fields.get("user"), str, "root"),
            each=self.scalar(fields.get("each"), str, ""),
        )

    # What all of these are made of

    def _named(self, node: yaml.Node, rule: re.Pattern[str]) -> dict[str, yaml.Node]:
        pairs = self._pairs(node).items()
        return {self.scalar(key, lambda text: _matching(rule, "a name here", text)): value for key, value in pairs}

    def _names(self, node: yaml.Node | None) -> tuple[str, ...]:
        if node is None:
            return ()
        words = [node] if isinstance(node, yaml.ScalarNode) else self.items(node)
        return tuple(self.scalar(each, lambda text: _matching(_NAME, "a name", text)) for each in words)

    def _argv(self, node: yaml.Node) -> tuple[str, ...]:
        return tuple(self.scalar(each, str) for each in self.items(node))

    def _source(self, node: yaml.Node) -> Source:
        return Source(self._file, node.start_mark.line)


def _probe_gives(name: str) -> Mapping[str, tuple[str, ...]]:
    if name not in PROBES:
        raise UsageError(f"there is no probe {name!r}", resolution=f"there are {', '.join(sorted(PROBES))}")
    return PROBES[name].gives


def _expression(text: str) -> Expression:
    try:
        return parse(text)
    except ExpressionError as exc:
        raise UsageError(str(exc), resolution="write names with &, |, not and parentheses, as in 'disk-full & not quota'") from exc


def _one_of(words: type[Word], text: str) -> Word:
    try:
        return words(text)
    except ValueError as exc:
        raise UsageError(f"{text!r} is none of {', '.join(words)}") from exc


def _matching(rule: re.Pattern[str], what: str, text: str) -> str:
    if not rule.fullmatch(text):
        raise UsageError(f"{text!r} is not {what}", resolution="use lower-case letters, digits and inner hyphens")
    return text


def _sentence(text: str) -> str:
    if not text.strip():
        raise UsageError("a sentence is expected here")
    return " ".join(text.split())


def _yes(text: str) -> bool:
    if text not in _ANSWERS:
        raise UsageError(f"{text!r} is neither yes nor no")
    return _ANSWERS[text]


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= _LONGEST:
        raise UsageError(f"{text!r} is not a time limit from 0 to {_LONGEST:g} seconds")
    return value
