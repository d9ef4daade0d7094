"""A moment in which nothing of a cluster moves: its services are stopped by SIGSTOP on their nodes, and go on by SIGCONT.

Whoever holds them tells each node by its standard input when to go on. A node goes on by itself as soon as that ends, because this
process died, and after `LIMIT` seconds in any case; it says which of them it was, and a moment that ended too early was none. Should
even what holds them there be killed, another process on the node lets them go on a little later.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import BinaryIO, Final, cast

from labcloud.errors import ConfiguringError, LabError
from labcloud.model import NodeRef
from labcloud.providers.base import Command, Provider, Result

LIMIT: Final = 15
"""Seconds after which a node goes on whatever happens."""

_PATIENCE: Final = 20.0  # seconds in which all must stand still
_STILL: Final = b"still\n"
_RELEASED: Final = b"released\n"
# Arguments: the limit, then the names of services. A service that is down must be down at the end as well.
_SCRIPT: Final = """
set -u
limit=$1; shift
stopped='' down='' watchdog=''
go_on() { [ -z "$stopped" ] || kill -CONT $stopped 2>/dev/null; [ -z "$watchdog" ] || kill "$watchdog" 2>/dev/null; }
trap go_on EXIT
stands() { # whether there is such a process, and all of its threads stand
    local state line seen=''
    for state in /proc/"$1"/task/*/stat; do
        { read -r line <"$state"; } 2>/dev/null || continue
        line=${line##*) }; [ "${line%% *}" = T ] || return 1; seen=1
    done
    [ "$seen" ]
}
for name; do
    pid=$(s6-svstat -o pid "/run/service/$name" 2>/dev/null) || pid=-1
    if [ "$pid" -gt 0 ]; then stopped="$stopped $pid"; else down="$down $name"; fi
done
if [ "$stopped" ]; then
    bash -c 'sleep "$1"; shift; kill -CONT "$@"' watchdog $((limit + 2)) $stopped </dev/null >/dev/null 2>&1 &
    watchdog=$!
    kill -STOP $stopped || exit 3
fi
for pid in $stopped; do
    for ((tries = 0; tries < 500; tries++)); do stands "$pid" && break; sleep 0.005; done
    stands "$pid" || exit 3
done
echo still
read -r -t "$limit" || { [ $? -gt 128 ] && exit 4; exit 7; }
for pid in $stopped; do stands "$pid" || exit 5; done
for name in $down; do
    pid=$(s6-svstat -o pid "/run/service/$name" 2>/dev/null) || pid=-1
    [ "$pid" -le 0 ] || exit 6
done
echo released
"""
_WHY: Final = {
    3: "it could not be stopped",
    4: f"it went on by itself after {LIMIT} s",
    5: "somebody else let it go on, or ended it",
    6: "a service that was down was started meanwhile",
    7: "it went on by itself, because nothing held it any more",
}


@dataclass
class Moment:
    """How long it lasted (seconds, from the first service that stood still to the last that went on), and why it was none, if it was
    not. Known when it is over."""

    seconds: float = 0.0
    why: str = ""

    @property
    def held(self) -> bool:
        return not self.why


@contextmanager
def standing_still(provider: Provider, services: Mapping[NodeRef, Sequence[str]]) -> Iterator[Moment]:
    """Within the block, ``services`` of running nodes stand still. Raise ConfiguringError if they cannot be brought to it."""
    moment = Moment()
    nodes = [(node, names) for node, names in services.items() if names]
    if not nodes:
        yield moment
        return
    holds = [_Hold(provider, node, tuple(names)) for node, names in nodes]
    with ThreadPoolExecutor(len(holds), thread_name_prefix="still") as pool:
        began = time.monotonic()
        results = [pool.submit(hold.run) for hold in holds]
        try:
            deadline = began + _PATIENCE
            for hold in holds:
                in_time = hold.still.wait(max(0.0, deadline - time.monotonic()))
                if hold.failed or not in_time:
                    why = hold.failed or f"it took more than {_PATIENCE:g} s"
                    raise ConfiguringError(f"the services of {hold.node} could not be held still", details=why)
            yield moment
        finally:
            for hold in holds:
                hold.release()
            moment.why = "; ".join(filter(None, (_judged(hold, each.result()) for hold, each in zip(holds, results, strict=True))))
            moment.seconds = time.monotonic() - began


def _judged(hold: _Hold, result: Result | None) -> str:
    if result is None:
        return f"{hold.node.name}: {hold.failed}"
    if result.exit_code == 0 and hold.said.endswith(_RELEASED):
        return ""
    return f"{hold.node.name}: {_WHY.get(result.exit_code, 'its hold ended')}"


@dataclass
class _Hold:
    """One node's services: `run` on a thread of its own, `release` from another."""

    provider: Provider
    node: NodeRef
    names: tuple[str, ...]
    still: threading.Event = field(default_factory=threading.Event)
    said: bytes = b""
    failed: str = ""

    _words: SimpleQueue[bytes] = field(default_factory=SimpleQueue)

    def run(self) -> Result | None:
        argv = ("bash", "-c", _SCRIPT, "still", str(LIMIT), *self.names)
        try:
            result = self.provider.execute(self.node, Command(argv, stdin=cast(BinaryIO, self)), stdout=self)
            if not self.still.is_set():
                said = result.stderr.decode(errors="replace")[-300:]
                self.failed = _WHY.get(result.exit_code, said or f"what holds it ended with {result.exit_code}")
        except LabError as exc:
            self.failed = exc.brief
            return None
        finally:
            self.still.set()
            self.release()  # whoever reads standard input still comes to its end
        return result

    def release(self) -> None:
        for word in (b"go\n", b""):
            self._words.put(word)

    # What the node reads, and what takes what it says.

    def read(self, _: int = -1, /) -> bytes:
        return self._words.get()

    def write(self, chunk: bytes, /) -> object:
        self.said += chunk
        if _STILL in self.said:
            self.still.set()
        return len(chunk)

    def flush(self) -> object:
        return None
