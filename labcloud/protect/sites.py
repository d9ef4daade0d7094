"""Where the data volumes of a cluster lie, and are taken: folders of this machine; folders of nodes, which do the work themselves then; or
another machine, from which they come here first.

What a node runs is this lab's own code (`labcloud.protect.mirroring` and what it needs), brought over its standard input: nothing of it has
to be on the node but Python.
"""

from __future__ import annotations

import json
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO, Final, cast

from labcloud.errors import EngineError, LabError
from labcloud.lab.files import disk_errors
from labcloud.model import NodeRef, NodeVolume
from labcloud.model.ways import Way
from labcloud.protect.trees import Mirror, Rules, measured
from labcloud.providers.base import Command, Provider, Replica, Result

_ROUNDS: Final = 6
_SHORT: Final = 2.0
"""Seconds in which so little is copied that services may stand still for it."""

_SENT: Final = ("labcloud.model.ways", "labcloud.protect.trees", "labcloud.protect.mirroring")
"""What a node is sent, each module after those that it needs."""

_LOADER: Final = f"""
import json, sys, types
for name, source in json.loads(sys.stdin.readline()):
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)
sys.modules[{_SENT[-1]!r}].main()
"""


class Site(ABC):
    """Volumes, and the folders that shall hold their snapshot; see `Mirror` for what is done when. All raise EngineError."""

    @abstractmethod
    def link(self) -> None: ...

    @abstractmethod
    def settle(self) -> list[str]:
        """Returns what went away meanwhile: then something did change."""

    @abstractmethod
    def finish(self) -> tuple[int, int]:
        """Returns the bytes and the number of files that the snapshot has."""

    def close(self) -> None:  # noqa: B027 - a folder needs none
        """Let go of the node."""


@dataclass(frozen=True)
class Here(Site):
    """A volume of this machine."""

    mirror: Mirror

    def link(self) -> None:
        with disk_errors(f"link what is in {self.mirror.source}"):
            self.mirror.link()

    def settle(self) -> list[str]:
        with disk_errors(f"copy the state of {self.mirror.source}"):
            self.mirror.settle()
        return self.mirror.vanished

    def finish(self) -> tuple[int, int]:
        with disk_errors(f"copy what is being written in {self.mirror.source}"):
            self.mirror.finish()
            return measured([self.mirror.target])


class Replicated(Site):
    """The volumes of one node on another machine: ``mirrors`` are of its ``replica`` here, which nobody changes but this."""

    def __init__(self, replica: Replica, mirrors: Sequence[Mirror]) -> None:
        self._replica, self._mirrors = replica, mirrors

    def link(self) -> None:
        for _ in range(_ROUNDS):
            began = time.monotonic()
            self._replica.fetch()
            if time.monotonic() - began < _SHORT:
                return

    def settle(self) -> list[str]:
        with disk_errors("compare what was copied from another host"):
            for each in self._mirrors:
                each.distrust()
        return ["a file of another host"] if self._replica.fetch() else []

    def finish(self) -> tuple[int, int]:
        with disk_errors("link what was copied from another host"):
            for each in self._mirrors:
                each.settle()
                each.finish()
            return measured([each.target for each in self._mirrors])

    def close(self) -> None:
        self._replica.close()


class OnNode(Site):
    """The volumes of one node, which runs; ``volumes`` are pairs of folders there."""

    def __init__(self, provider: Provider, node: NodeRef, volumes: Sequence[tuple[str, str]], ways: Sequence[tuple[str, Way]]) -> None:
        self._provider, self._node = provider, node
        self._words: SimpleQueue[bytes] = SimpleQueue()
        self._answers: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._said = b""
        modules = [(name, _source(name)) for name in _SENT]
        self._words.put(json.dumps(modules).encode() + b"\n")
        self._words.put(json.dumps({"volumes": volumes, "files": ways}).encode() + b"\n")
        self._thread = threading.Thread(target=self._run, name=f"site {node.name}", daemon=True)
        self._thread.start()

    def link(self) -> None:
        self._ask("link")

    def settle(self) -> list[str]:
        return list(self._ask("settle"))

    def finish(self) -> tuple[int, int]:
        size, count = self._ask("finish")
        return size, count

    def close(self) -> None:
        for _ in range(2):  # one for the program there, one for whoever reads here after it has ended
            self._words.put(b"")
        self._thread.join()

    def _ask(self, word: str) -> Any:
        self._words.put(f"{word}\n".encode())
        answer = self._answers.get()
        if "error" in answer:
            raise EngineError(f"the node {self._node} could not {word} its data: {answer['error']}")
        return answer["answer"]

    def _run(self) -> None:
        why = "what it runs for that has ended"
        try:
            result: Result = self._provider.execute(
                self._node, Command(("python3", "-I", "-c", _LOADER), stdin=cast(BinaryIO, self)), stdout=self
            )
            why = result.stderr.decode(errors="replace").strip()[-1000:] or why
        except LabError as exc:
            why = exc.brief
        finally:
            self._answers.put({"error": why})

    # What the node reads, and what takes what it says.

    def read(self, _: int = -1, /) -> bytes:
        return self._words.get()

    def write(self, chunk: bytes, /) -> object:
        *lines, self._said = (self._said + chunk).split(b"\n")
        for line in lines:
            self._answers.put(json.loads(line))
        return len(chunk)

    def flush(self) -> object:
        return None


def sites(provider: Provider, volumes: Sequence[tuple[NodeRef, int]], folders: Sequence[Path], id: str, rules: Rules) -> list[Site]:
    """What takes ``volumes`` into the snapshot ``id``, whose folders are ``folders``, in the same order."""
    if not provider.far:
        return _near(provider, dict(zip(volumes, folders, strict=True)), rules)
    places: dict[NodeRef, list[tuple[str, str]]] = {}
    for node, number in volumes:
        places.setdefault(node, []).append((provider.volume_place(node, number), provider.volume_place(node, number, id)))
    return [OnNode(provider, node, own, rules.files) for node, own in places.items()]


def _near(provider: Provider, folders: Mapping[tuple[NodeRef, int], Path], rules: Rules) -> list[Site]:
    found: list[Site] = []
    for node, volumes in groupby(sorted(folders), key=lambda volume: volume[0]):
        replica = provider.replica(node)
        if replica:
            mirrors = [Mirror(provider.ensure_volume(*each, NodeVolume()), folders[each], rules) for each in volumes]
            found.append(Replicated(replica, mirrors))
        else:
            found += [Here(Mirror(provider.volume_folder(*each), folders[each], rules)) for each in volumes]
    return found


def _source(module: str) -> str:
    package, _, name = module.rpartition(".")
    return (files(package) / f"{name}.py").read_text(encoding="utf-8")
