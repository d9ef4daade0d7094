"""Marks of probes, by which one process knows what another one left; and the image to probe with."""

from __future__ import annotations

import subprocess
import sys

import pytest

from labcloud.providers.docker.probes import abandoned, mark, pick_image


def stored(name: str, size: int, *tags: str) -> dict[str, object]:
    return {"Id": f"sha256:{name}", "RepoTags": list(tags), "Size": size}


def test_the_mark_of_a_process_that_lives_is_its_own() -> None:
    assert mark() == mark()
    assert not abandoned(mark(), 3600.0)


def test_what_a_process_left_that_ended_is_abandoned() -> None:
    program = "from labcloud.providers.docker.probes import mark; print(mark())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert abandoned(done.stdout.strip(), 0.0)


def test_an_id_that_was_given_to_another_process_is_seen() -> None:
    namespace, pid, start = mark().split(".")
    assert abandoned(f"{namespace}.{pid}.{int(start) + 1}", 0.0)


@pytest.mark.parametrize(("age", "over"), [(59.0, False), (61.0, True)])
def test_a_process_that_cannot_be_seen_has_a_minute(age: float, over: bool) -> None:
    assert abandoned("1.2.3", age) is over


def test_the_image_that_is_asked_for_is_taken() -> None:
    images = [stored("a", 5, "labcloud/base:latest"), stored("b", 9, "labcloud/hadoop-2.7:1")]
    assert pick_image(images, "labcloud/hadoop-2.7:1") == "labcloud/hadoop-2.7:1"


def test_else_the_smallest_is_taken_that_has_a_name() -> None:
    images = [stored("x", 1, "<none>:<none>"), stored("y", 2), stored("a", 5, "labcloud/base:latest"), stored("b", 9, "labcloud/java-8:1")]
    assert pick_image(images, "labcloud/hadoop-2.7:1") == "sha256:a"


@pytest.mark.parametrize("images", [[], [stored("x", 1, "<none>:<none>")]])
def test_without_an_image_nothing_can_be_probed(images: list[dict[str, object]]) -> None:
    assert pick_image(images) == ""
