"""Calls that are made at once, and waiting for an answer that is good enough."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial

import pytest

from labcloud.errors import DeadlineError
from labcloud.providers.openstack import together
from labcloud.providers.openstack.together import at_once, ended, wait_for


def test_calls_are_made_at_once_and_answer_in_their_order() -> None:
    meeting = threading.Barrier(3, timeout=10)

    def one(number: int) -> int:
        meeting.wait()
        return number

    assert at_once(partial(one, number) for number in range(3)) == [0, 1, 2]
    assert at_once([]) == []


def test_the_first_that_fails_is_raised_when_all_have_ended() -> None:
    done: list[int] = []
    last = threading.Event()

    def one(number: int) -> None:
        if number == 1:
            last.wait(10)
        if number in (1, 2):
            raise ValueError(number)
        done.append(number)
        if number == 19:
            last.set()

    with pytest.raises(ValueError, match="1"):
        at_once(partial(one, number) for number in range(20))
    assert sorted(done) == [0, *range(3, 20)]
    failures = [type(each.exception()) for each in ended((partial(one, number) for number in range(3)), threads=1)]
    assert failures == [type(None), ValueError, ValueError]


class Clock:
    """Time that passes while one sleeps, and by a quarter of a second with every question."""

    def __init__(self) -> None:
        self.now, self.slept = 0.0, list[float]()

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(together, "time", found)
    return found


def waited(clock: Clock, answers: Iterator[int], *, seconds: float) -> int:
    def ask() -> int:
        clock.now += 0.25
        return next(answers)

    return wait_for(
        ask, lambda answer: answer >= 3, seconds=seconds, pause=lambda took: took + 1, late=lambda answer: DeadlineError(f"only {answer}")
    )


def test_it_is_asked_until_the_answer_is_good(clock: Clock) -> None:
    assert waited(clock, iter(range(10)), seconds=10) == 3
    assert clock.slept == [1.25] * 3


def test_what_is_late_is_told_by_its_newest_answer(clock: Clock) -> None:
    with pytest.raises(DeadlineError, match="only 2"):
        waited(clock, iter(range(10)), seconds=3)
    assert clock.slept == [1.25] * 2


def test_a_good_answer_counts_however_late(clock: Clock) -> None:
    assert waited(clock, iter([3]), seconds=0) == 3
