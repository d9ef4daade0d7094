"""What labcloud asks of an OpenStack, and for how long, beside Nova's own multi-create (the floor), a loop of openstacksdk calls, and Heat.

    OS_CLOUD=member python benchmarks/cloud.py [--servers 50 200] [--volumes] [--methods labcloud multi loop heat]

Makes servers of the smallest flavor and of a tiny image, and removes them. Nobody looks into a server: simulated computes are enough
(docs/openstack-testing.md). Heat is measured where the cloud has it. All methods look once a second, and in the same project. With
``--volumes`` each server has a volume of Cinder, of 1 GiB.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openstack

from labcloud.lab import Lab
from labcloud.model import ClusterRef, NodeRef, NodeSpec, NodeVolume, StorageClass
from labcloud.providers.openstack.nodes import Nodes
from labcloud.providers.openstack.provider import OpenStackProvider

NAME = "labcloud-bench"
MEMORY = 512
LIMIT = 1800.0
THREADS = 8


class WithoutGuests(Nodes):
    """Servers that only seem to run take no configuration."""

    def __init__(self, home: Path) -> None:
        super().__init__(None, lambda _: [], home)  # type: ignore[arg-type] - nobody talks to anybody

    def make(self, *_: object) -> None:
        """Nobody is there."""


@dataclass
class Timed:
    """Seconds and requests of making, and of deleting."""

    seconds: list[float] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)


class Bench:
    """One project of one cloud. ``volumes``: each server has one."""

    def __init__(self, home: Path, *, volumes: bool) -> None:
        self.home = home
        self.volumes = volumes
        self.api = openstack.connect()
        self.sent: Counter[str] = Counter()
        self.count(self.api)
        self.image = self.api.create_image(
            NAME, data=b"no guest reads this", wait=True, disk_format="raw", container_format="bare", labcloud_image=NAME
        )
        flavors = [each for each in self.api.compute.flavors() if each.ram >= MEMORY]
        self.flavor = min(flavors, key=lambda each: (each.ram, each.vcpus, each.disk))

    def count(self, api: Any) -> None:
        api.session.session.hooks["response"].append(lambda answer, **_: self.sent.update([answer.request.method]))

    def close(self) -> None:
        self.api.image.delete_image(self.image)
        self.api.close()

    @contextmanager
    def timed(self, into: Timed) -> Iterator[None]:
        self.sent.clear()
        began = time.monotonic()
        yield
        into.seconds.append(time.monotonic() - began)
        into.requests.append(self.sent.total())

    @contextmanager
    def network(self) -> Iterator[str]:
        network = self.api.network.create_network(name=NAME)
        try:
            self.api.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.60.0.0/22")
            yield network.id
        finally:
            self.api.network.delete_network(network)

    # The methods

    def labcloud(self, count: int) -> Timed:
        timed, tenant = Timed(), f"bench-{int(time.time()) % 100000}"
        lab = Lab(self.home)
        lab.ensure_tenant(tenant)
        provider = OpenStackProvider(self.home, lab.id, nodes=WithoutGuests(self.home))
        with provider._cloud.change("count requests") as api:
            self.count(api)
        cluster, image = ClusterRef(tenant, "nodes"), provider.image(NAME)
        volume = NodeVolume(1, StorageClass("fast", driver="cinder")) if self.volumes else NodeVolume()
        specs = [NodeSpec(NodeRef(cluster, "worker", index), image, "bench", MEMORY, 1.0, (volume,)) for index in range(count)]
        provider.ensure_network(tenant)
        try:
            with self.timed(timed):
                provider.ensure_nodes(specs)
            with self.timed(timed):
                provider.delete_nodes([spec.ref for spec in specs])
                provider.delete_volumes([(spec.ref, 0, "") for spec in specs] if self.volumes else [])
        finally:
            provider.delete_nodes([node.ref for node in provider.find(tenant=tenant).nodes])
            provider.delete_config(cluster)
            provider.delete_network(tenant)
            provider.close()
        return timed

    def multi(self, count: int) -> Timed:
        """The floor: one request, and Nova makes the volumes itself."""
        blank = {"boot_index": -1, "source_type": "blank", "destination_type": "volume", "volume_size": 1, "delete_on_termination": True}
        devices = {"block_device_mapping": [self._own_disk(), blank]} if self.volumes else {}
        return self._servers(count, lambda body: [self.api.compute.create_server(min_count=count, max_count=count, **body, **devices)])

    def loop(self, count: int) -> Timed:
        """What a script does: one after the other, and each volume has to be there before its server asks for it."""

        def one(body: dict[str, Any]) -> None:
            devices = {}
            if self.volumes:
                volume = self.api.block_storage.create_volume(name=NAME, size=1)
                self.api.block_storage.wait_for_status(volume, "available", interval=1, wait=LIMIT)
                end = {"boot_index": -1, "uuid": volume.id, "source_type": "volume", "destination_type": "volume"}
                devices = {"block_device_mapping": [self._own_disk(), end | {"delete_on_termination": True}]}
            self.api.compute.create_server(**body, **devices)

        return self._servers(count, lambda body: [one(body) for _ in range(count)])

    def _own_disk(self) -> dict[str, Any]:
        own = {"boot_index": 0, "uuid": self.image.id, "source_type": "image", "destination_type": "local"}
        return own | {"delete_on_termination": True}

    def _servers(self, count: int, create: Callable[[dict[str, Any]], object]) -> Timed:
        timed = Timed()
        with self.network() as network:
            with self.timed(timed):
                create({"name": NAME, "image_id": self.image.id, "flavor_id": self.flavor.id, "networks": [{"uuid": network}]})
                self._until(lambda: sum(each.status == "ACTIVE" for each in self._listed()) == count)
            servers = self._listed()
            with self.timed(timed):
                with ThreadPoolExecutor(THREADS) as pool:
                    list(pool.map(self.api.compute.delete_server, servers))
                self._until(lambda: not self._listed() and not (self.volumes and list(self.api.block_storage.volumes())))
        return timed

    def heat(self, count: int) -> Timed:
        timed = Timed()
        orchestration = self.api.orchestration
        with self.timed(timed):
            stack = orchestration.create_stack(name=NAME, template=self._template(count), timeout_mins=60)
            orchestration.wait_for_status(stack, "CREATE_COMPLETE", failures=["CREATE_FAILED"], interval=1, wait=LIMIT)
        with self.timed(timed):
            orchestration.delete_stack(stack)
            orchestration.wait_for_delete(stack, interval=1, wait=LIMIT)
        return timed

    def _template(self, count: int) -> dict[str, Any]:
        """Servers, and volumes, as Heat's users write them."""
        subnet = {"network": {"get_resource": "net"}, "ip_version": 4, "cidr": "10.60.0.0/22"}
        resources: dict[str, Any] = {
            "net": {"type": "OS::Neutron::Net"},
            "subnet": {"type": "OS::Neutron::Subnet", "properties": subnet},
        }
        server = {
            "name": NAME, "image": self.image.id, "flavor": self.flavor.id, "user_data_format": "RAW",
            "networks": [{"network": {"get_resource": "net"}}],
        }  # fmt: skip
        for number in range(count):
            resources[f"node{number}"] = {"type": "OS::Nova::Server", "depends_on": "subnet", "properties": server}
            if self.volumes:
                ends = {"volume_id": {"get_resource": f"volume{number}"}, "instance_uuid": {"get_resource": f"node{number}"}}
                resources[f"volume{number}"] = {"type": "OS::Cinder::Volume", "properties": {"size": 1}}
                resources[f"end{number}"] = {"type": "OS::Cinder::VolumeAttachment", "properties": ends}
        return {"heat_template_version": "2018-08-31", "resources": resources}

    def _listed(self) -> list[Any]:
        return list(self.api.compute.servers(name=NAME))

    @staticmethod
    def _until(done: Callable[[], bool]) -> None:
        end = time.monotonic() + LIMIT
        while not done():
            if time.monotonic() > end:
                raise TimeoutError(f"not within {LIMIT:g} s")
            time.sleep(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", type=int, nargs="+", default=[50, 200])
    parser.add_argument("--volumes", action="store_true")
    parser.add_argument("--methods", nargs="+", default=["multi", "labcloud", "loop"], choices=["multi", "labcloud", "loop", "heat"])
    words = parser.parse_args()
    print("| servers | how | create | requests | delete | requests |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="labcloud-bench-") as home:
        bench = Bench(Path(home), volumes=words.volumes)
        try:
            for count in words.servers:
                for method in words.methods:
                    done: Timed = getattr(bench, method)(count)
                    cells = " | ".join(f"{each:.1f} s | {sent}" for each, sent in zip(done.seconds, done.requests, strict=True))
                    print(f"| {count}{' with volumes' * words.volumes} | {method} | {cells} |", flush=True)
        finally:
            bench.close()


if __name__ == "__main__":
    sys.exit(main())
