"""One provider after the other for the same tests. An engine that is missing is a failure, not a skip."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from labcloud.lab import Lab
from labcloud.model import ClusterRef, NodeRef, NodeSpec, NodeVolume
from labcloud.providers.base import Command, Provider, Result

IMAGE = os.environ.get("LABCLOUD_CONTRACT_IMAGE", "hadoop-2.7")
NODES = tuple(f"worker-{index}" for index in range(4))
CONFIG = {f"{node}/{path}": text for node in NODES for path, text in {"greeting": "hello\n", "conf/site.xml": "<configuration/>\n"}.items()}


@dataclass(frozen=True)
class Bench:
    """A provider in a lab of its own, and what tests do with it again and again."""

    provider: Provider
    open: Callable[[], Provider]
    open_other_lab: Callable[[], Provider]
    image: str
    tenant: str
    other: str

    @property
    def cluster(self) -> ClusterRef:
        return ClusterRef(self.tenant, "one.0")

    @property
    def running(self) -> str:
        """The engine's word for a node that runs."""
        return "active" if self.provider.name == "openstack" else "running"

    @property
    def stranger(self) -> str:
        """Who cannot change what labcloud has given to a node; a machine's own root can do anything there."""
        return "hdfs" if self.provider.far else "root"

    def node(self, index: int = 0, cluster: ClusterRef | None = None) -> NodeRef:
        return NodeRef(cluster or self.cluster, "worker", index)

    def spec(self, ref: NodeRef | None = None, **changed: Any) -> NodeSpec:
        return replace(NodeSpec(ref or self.node(), self.image, IMAGE, 256, 0.5, (NodeVolume(),)), **changed)

    def make(self, ref: NodeRef | None = None, **changed: Any) -> NodeSpec:
        """A node that runs, with all that it needs."""
        spec = self.spec(ref, **changed)
        self.provider.ensure_network(spec.ref.cluster.tenant)
        self.provider.ensure_config(spec.ref.cluster, CONFIG)
        self.provider.ensure_node(spec)
        return spec

    def run(self, *argv: str, ref: NodeRef | None = None, user: str = "root", stdin: bytes = b"") -> Result:
        return self.provider.execute(ref or self.node(), Command(argv, user=user, stdin=stdin))

    def text(self, *argv: str, ref: NodeRef | None = None) -> str:
        result = self.run(*argv, ref=ref)
        assert result.exit_code == 0, result.stderr
        return result.stdout.decode().strip()

    def reaches(self, ref: NodeRef, host: str, port: int = 4) -> bool:
        """Whether a TCP packet from one node comes back from another: accepted or refused, but not lost, and not turned back on its way."""
        program = "exec 3<>/dev/tcp/$0/$1"
        result = self.run("timeout", "3", "bash", "-c", program, host, str(port), ref=ref)
        return result.exit_code == 0 or b"refused" in result.stderr


def _simulated(home: Path) -> Callable[[str], Provider]:
    from labcloud.providers.simulated import SimulatedProvider, World

    world = World()
    return lambda lab: SimulatedProvider(home, lab, world=world, images={IMAGE}, folders=home.parent / "disks")


@cache
def _build_image() -> None:
    """Downloads go where those of ``labcloud image build`` go; what is built already is left alone."""
    subprocess.run([sys.executable, "-m", "labcloud.cli.main", "image", "build", IMAGE], check=True, capture_output=True)


def _docker(home: Path) -> Callable[[str], Provider]:
    from labcloud.providers.docker.provider import DockerProvider

    _build_image()
    return lambda lab: DockerProvider(home, lab)


ENGINES = {"simulated": _simulated, "docker": _docker}


def _clean(provider: Provider, tenants: tuple[str, ...]) -> None:
    for tenant in tenants:
        found = provider.find(tenant=tenant)
        for node in found.nodes:
            provider.delete_node(node.ref)
        for ref, number in found.volumes:
            provider.delete_volume(ref, number)
        for each in found.snapshots:
            provider.delete_volume(*each)
        for cluster in found.configs:
            provider.delete_config(cluster)
        for cluster in found.datasets:
            provider.delete_datasets(cluster)
        provider.delete_network(tenant)


@contextmanager
def bench_of(lab: Lab, factory: Callable[[str], Provider]) -> Iterator[Bench]:
    """``factory`` opens the provider for a lab's id. Afterwards the bench's tenants have nothing."""
    mark = secrets.token_hex(3)
    tenants = (f"ct-{mark}-a", f"ct-{mark}-b")
    lab.ensure_tenant(tenants[0])  # makes the shared base configuration, which nodes mount
    opened: list[Provider] = []

    def open_lab(id: str) -> Provider:
        opened.append(factory(id))
        return opened[-1]

    provider = open_lab(lab.id)
    try:
        image = provider.image(IMAGE)
        yield Bench(provider, lambda: open_lab(lab.id), lambda: open_lab("0therlab"), image, *tenants)
    finally:
        _clean(provider, tenants)
        for each in opened:
            each.close()


@pytest.fixture(params=list(ENGINES))
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    lab = Lab(tmp_path / "home")
    with bench_of(lab, ENGINES[request.param](lab.home)) as made:
        yield made
