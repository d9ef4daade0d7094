"""The work of `labcloud.protect.trees` on a node, told from afar: runs there, with that module and `labcloud.model.ways`, and nothing else.

Standard input: a line of JSON that says what is mirrored (``volumes``: pairs of folders; ``files``: patterns and ways), then a word a line.
Standard output: a line of JSON in answer to each word, ``{"answer": …}`` or ``{"error": …}``. At the end of its input it ends.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from labcloud.model.ways import Way
from labcloud.protect.trees import Mirror, Rules, measured


def main() -> None:
    told = json.loads(sys.stdin.readline())
    rules = Rules([(pattern, Way(way)) for pattern, way in told["files"]])
    mirrors = [Mirror(Path(source), Path(target), rules) for source, target in told["volumes"]]
    for line in sys.stdin:
        try:
            answer = {"answer": WORDS[line.strip()](mirrors)}
        except OSError as exc:
            answer = {"error": str(exc)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _link(mirrors: Sequence[Mirror]) -> None:
    for each in mirrors:
        each.link()


def _settle(mirrors: Sequence[Mirror]) -> list[str]:
    for each in mirrors:
        each.settle()
    return [path for each in mirrors for path in each.vanished]


def _finish(mirrors: Sequence[Mirror]) -> tuple[int, int]:
    for each in mirrors:
        each.finish()
    os.sync()
    return measured(each.target for each in mirrors)


WORDS: Final[dict[str, Callable[[Sequence[Mirror]], Any]]] = {"link": _link, "settle": _settle, "finish": _finish}
