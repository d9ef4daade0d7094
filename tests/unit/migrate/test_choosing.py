"""Which host takes a server."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from labcloud.migrate.choosing import Places, missing_traits, ranked, unfit, why_none
from labcloud.model.hosts import Group, Guest, Host, Room

SOURCE = Host("a", zone="z", hypervisor="QEMU", version=7, connected=True)
OTHER = replace(SOURCE, name="b")
GUEST = Guest("1", "one", "a", "ACTIVE", memory=512, resources={"VCPU": 1, "MEMORY_MB": 512})
NOWHERE = Places({})


def room(**free: int) -> dict[str, Room]:
    return {host: Room({"VCPU": 8, "MEMORY_MB": 1024}, {"VCPU": 0, "MEMORY_MB": 1024 - left}) for host, left in free.items()}


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"name": "a"}, "there already"),
        ({"up": False, "heard": "2026-01-01"}, "down: it last reported at 2026-01-01"),
        ({"enabled": False, "reason": "a fan"}, "gets no servers: a fan"),
        ({"hypervisor": "LXC"}, "hypervisor is LXC, not QEMU"),
        ({"version": 6}, "older"),
        ({"connected": False}, "agent is down"),
        ({"connected": None}, "has no network agent"),
    ],
)
def test_why_a_host_cannot_take_it(changed: dict[str, Any], why: str) -> None:
    assert why in unfit(GUEST, SOURCE, replace(OTHER, **changed), room(b=1024), NOWHERE)
    assert unfit(GUEST, SOURCE, OTHER, room(b=1024), NOWHERE) == ""


def test_a_host_without_room_is_none() -> None:
    for found in ({}, room(b=511)):
        assert unfit(GUEST, SOURCE, OTHER, found, NOWHERE) == "it has no room for 1 cores, 512 MiB"
    assert unfit(GUEST, SOURCE, OTHER, room(b=512), NOWHERE) == ""
    assert why_none(GUEST, SOURCE, [SOURCE, OTHER], {}, NOWHERE) == {"b": "it has no room for 1 cores, 512 MiB"}


def test_the_host_with_most_memory_left_is_the_best() -> None:
    hosts = [replace(SOURCE, name=name) for name in "abcd"]
    found = ranked(GUEST, SOURCE, hosts, room(b=600, c=1000, d=800), NOWHERE)
    assert [each.host.name for each in found] == ["c", "d", "b"]
    assert found[0].reasons == ("48% of its memory will be free",)


def test_its_own_zone_comes_first() -> None:
    hosts = [replace(OTHER, zone="y"), replace(OTHER, name="c")]
    assert [each.host.name for each in ranked(GUEST, SOURCE, hosts, room(b=1000, c=600), NOWHERE)] == ["c", "b"]


@pytest.mark.parametrize(
    ("policy", "best"), [("anti-affinity", ["c"]), ("soft-anti-affinity", ["c", "b"]), ("affinity", ["b"]), ("soft-affinity", ["b", "c"])]
)
def test_a_server_groups_wishes_are_kept(policy: str, best: list[str]) -> None:
    guest = replace(GUEST, group=Group("g", policy, frozenset("12")))
    hosts = [OTHER, replace(OTHER, name="c")]
    found = ranked(guest, SOURCE, hosts, room(b=1000, c=1000), Places({"1": "a", "2": "b"}))
    assert [each.host.name for each in found] == best


def test_only_what_a_processor_can_do_is_missed() -> None:
    assert missing_traits({"HW_CPU_X86_AVX2", "COMPUTE_NODE", "HW_CPU_X86_SSE"}, {"HW_CPU_X86_SSE"}) == ["HW_CPU_X86_AVX2"]
