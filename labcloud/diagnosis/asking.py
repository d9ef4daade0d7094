"""Asks one checkpoint: a built-in probe, a preflight check, or a script on this machine or on nodes."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from labcloud.diagnosis.filling import fill
from labcloud.diagnosis.model import Case, Checkpoint, Results, Script
from labcloud.diagnosis.probes import PROBES
from labcloud.diagnosis.subject import Subject
from labcloud.errors import EngineError, NotFoundError
from labcloud.model import NodeRef
from labcloud.providers.base import Command

_TRUE: Final = frozenset({"true", "yes", "1"})
_FALSE: Final = frozenset({"false", "no", "0", ""})
_THREADS: Final = 16


class Asker:
    """Asks about one subject. Every method raises LabError if there is no answer."""

    def __init__(self, subject: Subject, names: Mapping[str, str]) -> None:
        self._subject = subject
        self._names = names

    def ask(self, checkpoint: Checkpoint) -> Results:
        """The results of a checkpoint; those that it does not name are false."""
        if checkpoint.probe:  # several graphs may ask for the same: it is asked once
            return self._subject.once(f"probe {checkpoint.probe}", lambda: PROBES[checkpoint.probe].run(self._subject))
        if checkpoint.check:
            return self._check(checkpoint)
        if checkpoint.script is None:
            raise TypeError(f"the checkpoint {checkpoint.name} asks nothing")
        return self._script(checkpoint, checkpoint.script)

    def _check(self, checkpoint: Checkpoint) -> Results:
        status, case = self._subject.preflight(checkpoint.check)
        return {f"{checkpoint.name}-{word}": [case] for word in ("failed", "warned") if word.startswith(status)}

    def _script(self, checkpoint: Checkpoint, script: Script) -> Results:
        argv = tuple(fill(word, {}, self._names) for word in script.argv)
        if not script.on:
            return _results(checkpoint, _run_here(argv, checkpoint.seconds), {})
        nodes = self._nodes(script.on)
        with ThreadPoolExecutor(min(_THREADS, len(nodes))) as pool:
            said = list(pool.map(lambda node: self._run_on(node, argv, script.user), nodes))
        merged: dict[str, list[Case]] = {}
        for node, text in zip(nodes, said, strict=True):
            for name, cases in _results(checkpoint, text, {"node": node.name}).items():
                merged.setdefault(name, []).extend(cases)
        return merged

    def _nodes(self, on: str) -> list[NodeRef]:
        nodes = [node for node in self._subject.running() if on in ("all", node.group, node.name)]
        if not nodes:
            raise NotFoundError(f"no node of {self._subject.target} runs that is meant by {on!r}")
        return nodes

    def _run_on(self, node: NodeRef, argv: tuple[str, ...], user: str) -> str:
        result = self._subject.provider.execute(node, Command(argv, user=user))
        return _output(f"{argv[0]} on {node.name}", result.exit_code, result.stdout, result.stderr)


def _run_here(argv: tuple[str, ...], seconds: float) -> str:
    """What a program on this machine prints. It and what it started are killed after ``seconds``."""
    try:
        with subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        ) as process:
            try:
                stdout, stderr = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired as exc:
                os.killpg(process.pid, signal.SIGKILL)
                raise EngineError(f"{argv[0]} did not end within {seconds:g} s") from exc
    except OSError as exc:
        raise EngineError(f"{argv[0]} cannot be run: {exc.strerror}") from exc
    return _output(argv[0], process.returncode, stdout, stderr)


def _output(what: str, code: int, stdout: bytes, stderr: bytes) -> str:
    if code:
        last = (stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
        raise EngineError(f"{what} ended with {code}: {last}")
    return stdout.decode(errors="replace")


def _results(checkpoint: Checkpoint, text: str, case: Case) -> Results:
    """What a script said: ``NAME=true``, ``NAME.KEY=value`` a line; anything else is passed over."""
    said: dict[str, bool] = {}
    values: dict[str, dict[str, str]] = {}
    for left, right in _pairs(text.splitlines()):
        name, dot, key = left.partition(".")
        if name not in checkpoint.gives or (dot and key not in checkpoint.gives[name]):
            continue
        if dot:
            values.setdefault(name, {})[key] = right
        elif right.lower() in _TRUE | _FALSE:
            said[name] = right.lower() in _TRUE
        else:
            raise EngineError(f"{name}={right}: true or false was expected of {checkpoint.name}")
    return {name: [{**case, **values.get(name, {})}] for name, value in said.items() if value}


def _pairs(lines: Iterable[str]) -> Iterable[tuple[str, str]]:
    for line in lines:
        left, equals, right = line.partition("=")
        if equals:
            yield left.strip(), right.strip()
