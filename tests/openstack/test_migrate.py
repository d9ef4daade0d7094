"""Moves between the simulated computes of a real Nova: its scheduler, its records of moves, its refusals; nobody is inside the servers."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from labcloud.apply.journal import Journal
from labcloud.apply.watch import Watch
from labcloud.errors import ConflictError, NotFoundError, PartlyDoneError, PreflightError
from labcloud.lab import Lab
from labcloud.migrate.estimating import Load
from labcloud.migrate.moving import AtLimit, Policy
from labcloud.migrate.planning import Wish
from labcloud.migrate.verbs import Migrating
from labcloud.model import ClusterRef, NodeRef, NodeSpec, NodeVolume
from labcloud.model.hosts import How
from labcloud.providers.openstack.connection import Cloud as Door
from labcloud.providers.openstack.hosts import NovaHosts
from labcloud.providers.openstack.provider import OpenStackProvider
from tests.cared import Cared
from tests.openstack.driver import Cloud
from tests.openstack.inventory import inventory
from tests.openstack.without_guests import WithoutGuests

pytestmark = pytest.mark.timeout(600)

FIRST, SECOND, THIRD = "simulated1", "simulated2", "simulated3"
MEMORY = 512


@dataclass
class Fleet:
    """Servers of nobody's cluster, and nodes of a lab, on the simulated hosts."""

    cloud: Cloud
    home: Path
    network: str
    image: str
    mark: str
    undo: ExitStack
    servers: list[Any] = field(default_factory=list)
    care: Cared = field(default_factory=Cared)

    def flavor(self, name: str, memory: int = MEMORY) -> str:
        made = self.cloud.admin.compute.create_flavor(name=name, ram=memory, vcpus=1, disk=1)
        self.undo.callback(self.cloud.admin.compute.delete_flavor, made)
        return str(made.id)

    def make(self, count: int = 1, host: str = FIRST, flavor: str = "m1.tiny", **more: Any) -> list[str]:
        """The ids of new servers on ``host``; a ``flavor`` that there is not is made."""
        api = self.cloud.admin.compute
        found = api.find_flavor(flavor)
        wanted = found.id if found else self.flavor(flavor)
        zone = next(each.availability_zone for each in api.services(binary="nova-compute", host=host))
        made = [
            api.create_server(
                name=f"{self.mark}-{secrets.token_hex(2)}", image_id=self.image, flavor_id=wanted, networks=[{"uuid": self.network}],
                availability_zone=f"{zone}:{host}", **more,
            )
            for _ in range(count)
        ]  # fmt: skip
        self.servers += made
        return [api.wait_for_server(each, interval=0.5, wait=120).id for each in made]

    def host_of(self, id: str) -> str:
        return str(self.cloud.admin.compute.get_server(id).compute_host)

    def state_of(self, id: str) -> tuple[str, str | None]:
        server = self.cloud.admin.compute.get_server(id)
        return server.status, server.task_state

    def verbs(self, wrap: Callable[[NovaHosts], NovaHosts] = lambda hosts: hosts) -> Migrating:
        lab = Lab(self.home)
        hosts = wrap(NovaHosts(Door("admin"), lab.id))
        self.undo.callback(hosts.close)
        return Migrating(lab, Journal(self.home), hosts, self.care, Watch(), who="somebody")

    def moves_of(self, id: str) -> list[Any]:
        return list(self.cloud.admin.compute.migrations(server_id=id))

    def events(self, kind: str) -> list[Any]:
        lines = (json.loads(line) for path in sorted((self.home / "journal").glob("*.jsonl")) for line in path.read_text().splitlines())
        return [each["details"] for each in lines if each["event"] == kind]


@pytest.fixture
def fleet(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud.clouds_yaml))
    monkeypatch.setenv("OS_CLOUD", "member")
    api, mark = cloud.admin, f"mg-{secrets.token_hex(3)}"
    before = inventory(api)
    with ExitStack() as undo:
        image = api.create_image(mark, data=b"no guest reads this", wait=True, disk_format="raw", container_format="bare")
        undo.callback(api.image.delete_image, image)
        network = api.network.create_network(name=mark)
        undo.callback(api.network.delete_network, network)
        api.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.30.0.0/16")
        made = Fleet(cloud, tmp_path / "home", network.id, image.id, mark, undo)
        try:
            yield made
        finally:
            for each in made.servers:
                api.compute.delete_server(each, ignore_missing=True)
            for each in made.servers:
                api.compute.wait_for_delete(each, interval=0.3, wait=120)
            for service in api.compute.services(binary="nova-compute"):
                if service.status == "disabled":
                    api.compute.enable_service(service)
    assert inventory(api) == before


@pytest.fixture
def nodes(fleet: Fleet, cloud: Cloud) -> Iterator[Callable[..., list[NodeRef]]]:
    """Makes so many workers of a cluster; they are spread over the hosts as their server group wishes."""
    lab = Lab(fleet.home)
    lab.ensure_tenant(fleet.mark)
    kind = {"disk_format": "raw", "container_format": "bare", "labcloud_image": fleet.mark}
    image = cloud.member.create_image(f"labcloud/{fleet.mark}", data=b"no guest reads this", wait=True, **kind)
    provider = OpenStackProvider(fleet.home, lab.id, nodes=WithoutGuests(fleet.home))
    clusters: list[ClusterRef] = []

    def make(name: str, count: int) -> list[NodeRef]:
        cluster = ClusterRef(fleet.mark, name)
        clusters.append(cluster)
        specs = [
            NodeSpec(NodeRef(cluster, "worker", index), provider.image(fleet.mark), "tiny", MEMORY, 1.0, (NodeVolume(),))
            for index in range(count)
        ]
        provider.ensure_network(cluster.tenant)
        provider.ensure_config(cluster, {f"{each.ref.name}/greeting": "hello\n" for each in specs})
        provider.ensure_nodes(specs)
        return [each.ref for each in specs]

    yield make
    provider.delete_nodes([node.ref for node in provider.find(tenant=fleet.mark).nodes])
    for each in clusters:
        provider.delete_config(each)
    provider.delete_network(fleet.mark)
    provider.close()
    cloud.member.image.delete_image(image)


def host_of(fleet: Fleet, ref: NodeRef) -> str:
    return next(each.host for _, guests in fleet.verbs().hosts() for each in guests if each.ref == ref)


# Hosts


def test_hosts_are_listed_with_what_runs_on_them(fleet: Fleet) -> None:
    (id,) = fleet.make()
    found = {host.name: (host, guests) for host, guests in fleet.verbs().hosts()}
    host, guests = found[FIRST]
    assert (host.up, host.enabled, host.hypervisor, host.connected) == (True, True, "fake", None)
    guest = next(each for each in guests if each.id == id)
    assert (guest.ref, guest.state, guest.memory, guest.resources["MEMORY_MB"]) == (None, "ACTIVE", MEMORY, MEMORY)
    with pytest.raises(NotFoundError, match="no host simulated9") as caught:
        fleet.verbs().plan_drain("simulated9", Wish())
    assert FIRST in caught.value.resolution


# Moves of nodes


def test_a_node_moves_to_the_best_host_or_to_the_one_named(fleet: Fleet, nodes: Any) -> None:
    (ref,) = nodes("one", 1)
    before = host_of(fleet, ref)
    others = [each for each in (FIRST, SECOND, THIRD) if each != before]
    (plan,) = fleet.verbs().plan(ref.cluster, ref, Wish())
    assert plan.report.ok
    assert plan.target
    assert plan.target.name in others
    assert "memory will be free" in plan.reasons[0]
    assert host_of(fleet, ref) == before, "a plan changes nothing"
    (outcome,) = fleet.verbs().migrate(ref.cluster, ref, Wish(to=others[1]), Policy(drain=True))
    assert (outcome.moved, outcome.target, outcome.why) == (True, others[1], "")
    assert host_of(fleet, ref) == others[1]
    assert [what for what, _ in fleet.care.seen] == ["drained", "proved", "released"]
    with pytest.raises(ConflictError, match="already"):
        fleet.verbs().migrate(ref.cluster, ref, Wish(to=others[1]), Policy())


def test_what_speaks_against_a_move_is_told_before_it(fleet: Fleet, nodes: Any) -> None:
    (ref,) = nodes("one", 1)
    before = host_of(fleet, ref)
    fleet.care.ill = {ref}
    with pytest.raises(PreflightError, match=r"1 of \d+ checks failed"):
        fleet.verbs().migrate(ref.cluster, ref, Wish(), Policy())
    fleet.care.ill, fleet.care.memory = set(), Load(MEMORY, 500.0)
    with pytest.raises(PreflightError) as caught:
        fleet.verbs().migrate(ref.cluster, ref, Wish(), Policy())
    assert "will not converge" in caught.value.details
    assert "force-complete" in caught.value.details
    assert host_of(fleet, ref) == before
    (outcome,) = fleet.verbs().migrate(ref.cluster, ref, Wish(force=True), Policy(at_limit=AtLimit.FORCE))
    assert outcome.moved
    with pytest.raises(NotFoundError):
        fleet.verbs().plan(ClusterRef(fleet.mark, "none"), None, Wish())


def test_of_a_cluster_one_node_moves_at_a_time(fleet: Fleet, nodes: Any) -> None:
    refs = [*nodes("one", 4), *nodes("two", 4)]
    crowded = max((FIRST, SECOND, THIRD), key=lambda host: sum(host_of(fleet, each) == host for each in refs))
    here = [each for each in refs if host_of(fleet, each) == crowded]
    fleet.verbs().drain(crowded, Wish(), Policy(parallel=8))
    assert {host_of(fleet, each) for each in refs} <= {FIRST, SECOND, THIRD} - {crowded}
    for cluster in {each.cluster for each in here}:
        ways = [what for what, ref in fleet.care.seen if ref.cluster == cluster and what in ("held", "released")]
        assert ways == ["held", "released"] * (len(ways) // 2)


# Drains


def test_a_host_is_drained_and_gets_servers_again(fleet: Fleet) -> None:
    ids = fleet.make(6)
    addresses = {id: fleet.cloud.admin.compute.get_server(id).addresses for id in ids}
    drained = fleet.verbs().drain(FIRST, Wish(), Policy(parallel=3))
    assert {each.guest.id for each in drained.outcomes} >= set(ids)
    assert FIRST not in {fleet.host_of(id) for id in ids}
    assert {fleet.state_of(id) for id in ids} == {("ACTIVE", None)}
    assert {id: fleet.cloud.admin.compute.get_server(id).addresses for id in ids} == addresses
    host = next(host for host, _ in fleet.verbs().hosts() if host.name == FIRST)
    assert not host.enabled
    assert host.reason.startswith("labcloud drain by somebody at ")
    assert fleet.verbs().drain(FIRST, Wish(), Policy()).outcomes == (), "it is empty already"
    assert fleet.verbs().undrain(FIRST) is True
    assert fleet.verbs().undrain(FIRST) is False


def test_who_else_disabled_a_host_is_asked_first(fleet: Fleet) -> None:
    (service,) = fleet.cloud.admin.compute.services(binary="nova-compute", host=FIRST)
    fleet.cloud.admin.compute.disable_service(service, disabled_reason="its fan is loud")
    with pytest.raises(ConflictError, match="its fan is loud"):
        fleet.verbs().undrain(FIRST)
    assert fleet.verbs().undrain(FIRST, force=True) is True


def test_server_groups_are_kept_to(fleet: Fleet) -> None:
    group = fleet.cloud.admin.compute.create_server_group(name=fleet.mark, policy="anti-affinity")
    fleet.undo.callback(fleet.cloud.admin.compute.delete_server_group, group)
    (first,), (second,) = (fleet.make(host=host, scheduler_hints={"group": group.id}) for host in (FIRST, SECOND))
    fleet.verbs().drain(FIRST, Wish(), Policy(), enable=True)
    assert (fleet.host_of(first), fleet.host_of(second)) == (THIRD, SECOND)
    with pytest.raises(PartlyDoneError, match="1 servers are still on") as caught:
        fleet.verbs().drain(THIRD, Wish(to=SECOND), Policy())
    assert "server group" in caught.value.brief + caught.value.details
    assert fleet.host_of(first) == THIRD


def test_a_server_that_is_off_moves_cold_and_stays_off(fleet: Fleet) -> None:
    on, off = fleet.make(2)
    fleet.cloud.admin.compute.stop_server(off)
    fleet.cloud.admin.compute.wait_for_server(fleet.cloud.admin.compute.get_server(off), status="SHUTOFF", interval=0.3, wait=60)
    drained = fleet.verbs().drain(FIRST, Wish(), Policy())
    assert {each.guest.id: each.how for each in drained.outcomes} == {on: How.LIVE, off: How.COLD}
    assert FIRST not in {fleet.host_of(on), fleet.host_of(off)}
    assert (fleet.state_of(on)[0], fleet.state_of(off)[0]) == ("ACTIVE", "SHUTOFF")


# What goes wrong


@pytest.mark.parametrize(("at_limit", "moved"), [(AtLimit.ABORT, False), (AtLimit.FORCE, True), (AtLimit.COLD, True)])
def test_a_move_that_takes_too_long(fleet: Fleet, at_limit: AtLimit, moved: bool) -> None:
    (id,) = fleet.make(flavor="copies-60")
    began, policy = time.monotonic(), Policy(limit=2, at_limit=at_limit)
    if moved:
        (outcome,) = fleet.verbs().drain(FIRST, Wish(), policy).outcomes
        assert outcome.how is (How.LIVE if at_limit is AtLimit.FORCE else How.COLD)
    else:
        with pytest.raises(PartlyDoneError, match="aborted after 2 s of copying"):
            fleet.verbs().drain(FIRST, Wish(), policy)
    assert time.monotonic() - began < 40
    assert (fleet.host_of(id) != FIRST) is moved
    assert fleet.state_of(id) == ("ACTIVE", None)


def test_a_move_that_fails_leaves_the_server_where_it_was(fleet: Fleet) -> None:
    (id,), (other,) = fleet.make(flavor="fault-copy"), fleet.make()
    with pytest.raises(PartlyDoneError, match="1 servers are still on") as caught:
        fleet.verbs().drain(FIRST, Wish(), Policy())
    assert "the engine gave up" in caught.value.brief
    assert fleet.host_of(id) == FIRST
    assert fleet.host_of(other) != FIRST, "it keeps nobody else"
    assert fleet.state_of(id) == ("ACTIVE", None)


def test_a_host_that_lets_nobody_in_is_explained(fleet: Fleet) -> None:
    (id,) = fleet.make(flavor=f"refused-{SECOND}")
    with pytest.raises(PartlyDoneError) as caught:
        fleet.verbs().drain(FIRST, Wish(to=SECOND), Policy())
    said = caught.value.brief + caught.value.details
    assert "request id: req-" in said
    assert "this host lets nobody in" in said
    assert fleet.host_of(id) == FIRST
    assert fleet.state_of(id) == ("ACTIVE", None)


def test_a_target_that_vanishes_is_replaced(fleet: Fleet) -> None:
    (id,) = fleet.make()
    api, gone = fleet.cloud.admin.compute, []

    class Vanishing(NovaHosts):
        def move(self, guest: Any, target: str) -> None:
            if not gone:
                gone.append(target)
                (service,) = api.services(binary="nova-compute", host=target)
                api.update_service_forced_down(service, forced=True)
            super().move(guest, target)

    try:
        fleet.verbs(lambda hosts: Vanishing(hosts._cloud, hosts._lab)).drain(FIRST, Wish(), Policy())
    finally:
        for host in gone:
            (service,) = api.services(binary="nova-compute", host=host)
            api.update_service_forced_down(service, forced=False)
    assert fleet.host_of(id) not in {FIRST, *gone}


def test_a_drain_that_was_killed_is_finished_by_the_same_command(fleet: Fleet) -> None:
    ids = fleet.make(4, flavor="copies-4")
    (fleet.home / "lab").mkdir(parents=True, exist_ok=True)
    Lab(fleet.home).ensure_tenant(fleet.mark)
    (fleet.home / "lab" / "openstack.yaml").write_text(yaml.safe_dump({"operator-cloud": "admin"}))
    environment = {**os.environ, "LABCLOUD_HOME": str(fleet.home)}
    drain = [sys.executable, "-m", "labcloud.cli.main", "drain", FIRST, "--parallel", "2"]
    with subprocess.Popen(drain, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        for line in process.stderr:
            if "left at" in line:
                break
        process.send_signal(signal.SIGKILL)
    ended = subprocess.run([*drain, "--output", "json"], env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    assert FIRST not in {fleet.host_of(id) for id in ids}
    assert {fleet.state_of(id) for id in ids} == {("ACTIVE", None)}
    assert [len(fleet.moves_of(id)) for id in ids] == [1] * 4, "nobody was moved twice"
    assert {each["server"] for each in json.loads(ended.stdout)} <= {each.name for each in fleet.servers}
