"""What labcloud makes of a node's answers about what is declared for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from labcloud.errors import ConfiguringError
from labcloud.model import ClusterRef, NodeRef, NodeSpec, NodeVolume
from labcloud.providers.base import Result
from labcloud.providers.simulated.provider import SimulatedProvider
from labcloud.providers.simulated.world import World
from labcloud.services import refreshing

REF = NodeRef(ClusterRef("acme", "c"), "worker", 0)
PROGRAM = "/usr/lib/labcloud/refresh"


@pytest.fixture
def provider(tmp_path: Path) -> SimulatedProvider:
    provider = SimulatedProvider(tmp_path, "lab", world=World())
    provider.ensure_network("acme")
    provider.ensure_config(REF.cluster, {"worker-0/node.env": ""})
    provider.ensure_node(NodeSpec(REF, "labcloud/hadoop-2.7:simulated", "hadoop-2.7", 1024, 1, (NodeVolume(),)))
    return provider


def test_what_changed_is_told(provider: SimulatedProvider) -> None:
    assert refreshing.refresh(provider, REF) == []
    provider.answer([PROGRAM], Result(0, b"file /a made\npackage tree installed\n"))
    assert refreshing.refresh(provider, REF) == ["file /a made", "package tree installed"]


def test_what_failed_is_an_error_in_the_nodes_own_words(provider: SimulatedProvider) -> None:
    provider.answer([PROGRAM], Result(1, b"file /a made\n", b"labcloud-packages: not installed: nonesuch\n"))
    with pytest.raises(ConfiguringError, match="acme/c/worker-0 could not be made") as caught:
        refreshing.refresh(provider, REF)
    assert "not installed: nonesuch" in caught.value.details


def test_drift_has_what_differs_and_what_can_never_be(provider: SimulatedProvider) -> None:
    assert refreshing.drift(provider, REF) == []
    provider.answer([PROGRAM, "--check"], Result(1, b"hosts differ\n", b"labcloud-refresh: base/hosts: 'x' is no address with names\n"))
    assert refreshing.drift(provider, REF) == ["hosts differ", "base/hosts: 'x' is no address with names"]


def test_a_difference_is_the_nodes(provider: SimulatedProvider) -> None:
    provider.answer([PROGRAM, "--diff", "/a"], Result(0, b"-1\n+2\n"))
    assert refreshing.difference(provider, REF, "/a") == "-1\n+2\n"
    provider.answer([PROGRAM, "--diff", "/b"], Result(1, b"", b"labcloud-declared: no file /b is declared\n"))
    with pytest.raises(ConfiguringError) as caught:
        refreshing.difference(provider, REF, "/b")
    assert "no file /b is declared" in caught.value.details


def test_an_image_from_before_is_told_as_that(provider: SimulatedProvider) -> None:
    provider.answer([PROGRAM], Result(127))
    for ask in (refreshing.refresh, refreshing.drift):
        with pytest.raises(ConfiguringError) as caught:
            ask(provider, REF)
        assert "labcloud image build" in caught.value.resolution
