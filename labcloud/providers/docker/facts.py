"""What a Docker Engine says of itself and holds, asked once for all who want to know. Judges nothing.

Preflight asks dozens of questions at once; each of these answers serves many of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from labcloud.images.model import LABEL_NAME
from labcloud.providers.docker.engine import Engine

if TYPE_CHECKING:
    from docker import APIClient

_Answer = TypeVar("_Answer")
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Timed:
    """An answer, and when it was asked for and came (seconds since 1970)."""

    answer: Json
    asked: float
    came: float


class Facts:
    """The answers of one engine, as they were when somebody first asked. A refusal is not remembered."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._answers: dict[str, Any] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def version(self) -> Json:
        # Without a version in its path, so that an engine answers with which this client could not talk.
        return self._once("version", lambda api: api.version(api_version=False))

    def info(self) -> Timed:
        return self._once("info", _timed_info)

    def images(self) -> Sequence[Json]:
        """Every image that labcloud made."""
        return self._once("images", lambda api: api.images(filters={"label": [LABEL_NAME]}))

    def containers(self) -> Sequence[Json]:
        """Every container, whosever it is."""
        return self._once("containers", lambda api: api.containers(all=True))

    def networks(self) -> Sequence[Json]:
        return self._once("networks", lambda api: api.networks())

    def volumes(self) -> Sequence[Json]:
        return self._once("volumes", lambda api: api.volumes().get("Volumes") or [])

    def _once(self, what: str, ask: Callable[[APIClient], _Answer]) -> _Answer:
        with self._lock:
            lock = self._locks.setdefault(what, threading.Lock())
        with lock:
            if what not in self._answers:
                with self._engine.api(f"ask Docker for its {what}") as api:
                    self._answers[what] = ask(api)
            answer: _Answer = self._answers[what]
            return answer


def _timed_info(api: APIClient) -> Timed:
    asked = time.time()
    return Timed(api.info(), asked, time.time())
