"""The same thing done for several clusters at once, and how it ended for each. Knows no verb."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Final, TypeVar

from labcloud.cli.main import say_error
from labcloud.errors import LabError, PartlyDoneError
from labcloud.model import ClusterRef

if TYPE_CHECKING:
    from labcloud.apply.watch import Watch

Done = TypeVar("Done")
CLUSTERS_AT_ONCE: Final = 16


def at_once(count: int, do: Callable[[int], Done], watch: Watch, *, most: int = CLUSTERS_AT_ONCE) -> list[Future[Done]]:
    """Call ``do`` with 0, 1, … on ``most`` threads; return when all have ended. An interruption asks them all to end."""
    with ThreadPoolExecutor(min(count, most) or 1) as pool:
        futures = [pool.submit(do, index) for index in range(count)]
        try:
            wait(futures)
        except KeyboardInterrupt:
            watch.stop()
            raise
    return futures


def results(refs: Sequence[ClusterRef], futures: Sequence[Future[Done]], *, of: int = 0) -> list[Done]:
    """What was done for each of ``refs``. Says every error, and raises PartlyDoneError if there is one; ``of`` is how many clusters
    there were in all, if these are not all."""
    failed = [(ref, exc) for ref, future in zip(refs, futures, strict=True) if (exc := future.exception())]
    for _, exc in failed:
        if not isinstance(exc, LabError):
            raise exc
        say_error(exc)
    if failed:
        names = ", ".join(str(ref) for ref, _ in failed)
        raise PartlyDoneError(f"{len(failed)} of {of or len(refs)} clusters failed: {names}", resolution="run the same command again")
    return [future.result() for future in futures]
