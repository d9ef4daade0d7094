"""Many requests at once, and waiting within a limit for what they began. Knows nothing of OpenStack."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from labcloud.errors import DeadlineError

Answer = TypeVar("Answer")


def ended(calls: Iterable[Callable[[], Answer]], threads: int = 8) -> list[Future[Answer]]:
    """Make all ``calls`` on so many threads, whatever becomes of one; return when all have ended, in their order."""
    with ThreadPoolExecutor(threads, thread_name_prefix="openstack") as pool:
        futures = [pool.submit(each) for each in calls]
        wait(futures)
    return futures


def at_once(calls: Iterable[Callable[[], Answer]]) -> list[Answer]:
    """What ``calls`` return, all made at the same time. When all have ended, raise what the first of them raised that failed."""
    return [each.result() for each in ended(calls)]


def wait_for(
    ask: Callable[[], Answer], done: Callable[[Answer], bool], *,
    seconds: float, pause: Callable[[float], float], late: Callable[[Answer], DeadlineError],
) -> Answer:  # fmt: skip
    """The first answer to ``ask`` that is ``done``; ``pause`` gives the seconds to the next question from those that this one took.

    Raise what ``late`` makes of the newest answer after ``seconds``, and at once what ``ask`` or ``done`` raises.
    """
    end = time.monotonic() + seconds
    while True:
        asked = time.monotonic()
        answer = ask()
        if done(answer):
            return answer
        now = time.monotonic()
        if now > end:
            raise late(answer)
        time.sleep(pause(now - asked))
