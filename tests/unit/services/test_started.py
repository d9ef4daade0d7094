"""What simulated services were started with is noted, told and amended as real ones' is."""

from __future__ import annotations

from pathlib import Path

import pytest

from labcloud.errors import ConfiguringError
from labcloud.model import ClusterRef, NodeRef, NodeSpec, NodeVolume
from labcloud.providers.base import Command
from labcloud.providers.simulated.provider import SimulatedProvider
from labcloud.providers.simulated.world import World
from labcloud.services import started

REF = NodeRef(ClusterRef("acme", "c"), "worker", 0)
SPEC = NodeSpec(REF, "labcloud/hadoop-2.7:simulated", "hadoop-2.7", 1024, 1, (NodeVolume(),))
READ = {"conf/a.xml": "1", "node.env": "E=1", "services/datanode": "S=1"}


def configure(provider: SimulatedProvider, **changed: str) -> None:
    files = READ | {"services/nodemanager": "S=2", "users": "", "conf/a.xml": changed.get("a", "1")}
    provider.ensure_config(REF.cluster, {f"worker-0/{path}": text for path, text in files.items()} | {"master-0/services/namenode": ""})


@pytest.fixture
def provider(tmp_path: Path) -> SimulatedProvider:
    provider = SimulatedProvider(tmp_path, "lab", world=World())
    provider.ensure_network("acme")
    configure(provider)
    provider.ensure_node(SPEC)
    return provider


def test_services_keep_what_they_were_started_with_until_they_start_anew(provider: SimulatedProvider) -> None:
    configure(provider, a="2")
    assert started.read(provider, REF)["datanode"] == READ
    provider.execute(REF, Command(("s6-svc", "-r", "/run/service/datanode")))
    found = started.read(provider, REF)
    assert (found["datanode"]["conf/a.xml"], found["nodemanager"]["conf/a.xml"]) == ("2", "1")
    provider.stop_node(REF)
    provider.ensure_node(SPEC)
    assert {files["conf/a.xml"] for files in started.read(provider, REF).values()} == {"2"}


def test_what_a_service_was_told_is_noted(provider: SimulatedProvider) -> None:
    started.update(provider, REF, "datanode", {"conf/a.xml": "ä", "conf/b.xml": "", "node.env": None})
    assert started.read(provider, REF)["datanode"] == {"conf/a.xml": "ä", "conf/b.xml": "", "services/datanode": "S=1"}
    assert started.read(provider, REF)["nodemanager"]["node.env"] == "E=1"
    with pytest.raises(ConfiguringError):
        started.update(provider, REF, "namenode", {"conf/a.xml": "2"})
