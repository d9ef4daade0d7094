"""What needs no guest, on Nova's simulated computes: real services, real schedulers and ports, servers that only seem to run."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from labcloud.ansible.content import SERVED
from labcloud.errors import ConflictError, EngineError, LabError, NotFoundError
from labcloud.lab import Lab
from labcloud.model import Cluster, ClusterRef, NodeGroup, NodeRef, NodeSpec, NodeVolume, Status, StorageClass, Tenant, Volume
from labcloud.model.checks import Finding, ImageNeed, Subject, Verdict
from labcloud.model.dataset import StoredDataset
from labcloud.providers.base import NO_NETWORK, NO_ROOM
from labcloud.providers.openstack.provider import OpenStackProvider
from labcloud.providers.openstack.servers import Servers
from tests.openstack.inventory import inventory
from tests.openstack.without_guests import WithoutGuests

pytestmark = pytest.mark.timeout(900)

MEMORY = 512


@dataclass
class Site:
    """A lab in the test cloud."""

    provider: OpenStackProvider
    nodes: WithoutGuests
    image: str
    tenant: str
    open: Callable[[str], OpenStackProvider]
    requests: Counter[str] = field(default_factory=Counter)

    @property
    def cluster(self) -> ClusterRef:
        return ClusterRef(self.tenant, "one.0")

    def spec(self, index: int = 0, group: str = "worker", **changed: Any) -> NodeSpec:
        return replace(NodeSpec(NodeRef(self.cluster, group, index), self.image, "tiny", MEMORY, 1.0, (NodeVolume(),)), **changed)

    def make(self, *specs: NodeSpec) -> None:
        self.provider.ensure_network(self.tenant)
        self.provider.ensure_config(self.cluster, {f"{spec.ref.name}/greeting": "hello\n" for spec in specs})
        self.provider.ensure_nodes(specs)

    def counted(self, do: Callable[[], object]) -> int:
        """How many requests ``do`` sends to all services together."""
        self.requests.clear()
        do()
        return self.requests.total()


@pytest.fixture
def site(cloud: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud.clouds_yaml))
    monkeypatch.setenv("OS_CLOUD", "member")
    before = inventory(cloud.member)
    mark = secrets.token_hex(3)
    kind = {"disk_format": "raw", "container_format": "bare", "labcloud_image": f"tiny-{mark}"}
    image = cloud.member.create_image(f"tiny-{mark}", data=b"no guest reads this", wait=True, **kind)
    home, opened = tmp_path / "home", []
    lab = Lab(home)
    lab.ensure_tenant(f"ost-{mark}")
    nodes = WithoutGuests(home)

    def open_lab(id: str) -> OpenStackProvider:
        opened.append(OpenStackProvider(home, id, nodes=nodes))
        return opened[-1]

    provider = open_lab(lab.id)
    found = Site(provider, nodes, provider.image(f"tiny-{mark}"), f"ost-{mark}", open_lab)
    with provider._cloud.change("count requests") as api:
        api.session.session.hooks["response"].append(lambda answer, **_: found.requests.update([f"{answer.request.method} {answer.url}"]))
    try:
        yield found
    finally:
        clean(provider, found.tenant, found.cluster)
        for each in opened:
            each.close()
        cloud.member.image.delete_image(image)
    assert inventory(cloud.member) == before


def clean(provider: OpenStackProvider, tenant: str, *made: ClusterRef) -> None:
    found = provider.find(tenant=tenant)
    provider.delete_nodes([node.ref for node in found.nodes])
    for ref, number in found.volumes:
        provider.delete_volume(ref, number)
    for cluster in {*found.configs, *(node.ref.cluster for node in found.nodes), *made}:
        provider.delete_config(cluster)
    provider.delete_network(tenant)


def test_a_cluster_is_made_and_found_by_few_requests(site: Site) -> None:
    workers = 20
    specs = [site.spec(0, "master"), *(site.spec(index) for index in range(workers))]
    site.provider.ensure_network(site.tenant)
    sent = site.counted(lambda: site.provider.ensure_nodes(specs))
    assert sent <= len(specs) + 30, site.requests
    assert (
        sum(each.startswith("POST") and each.endswith("/servers") for each in site.requests.elements()) == 3
    )  # master-0, worker-0, all others
    found = site.provider.find(cluster=site.cluster)
    assert {node.ref: (node.digest, node.status, node.memory) for node in found.nodes} == {
        spec.ref: (spec.digest, Status.RUNNING, MEMORY) for spec in specs
    }
    assert len({node.address for node in found.nodes}) == len(specs)
    assert sorted(site.nodes.made) == sorted(spec.ref for spec in specs)
    assert site.counted(lambda: site.provider.find(tenant=site.tenant)) <= 5
    assert site.counted(lambda: site.provider.delete_nodes([spec.ref for spec in specs])) <= len(specs) + 30
    assert site.provider.find(cluster=site.cluster).nodes == ()


def test_ensure_twice_changes_nothing(site: Site) -> None:
    specs = [site.spec(index) for index in range(2)]
    site.make(*specs)
    before = site.provider.find(tenant=site.tenant).nodes
    site.make(*specs)
    assert site.provider.find(tenant=site.tenant).nodes == before
    assert len(site.nodes.made) == 2


def test_what_is_missing_in_the_middle_is_made(site: Site) -> None:
    specs = [site.spec(index) for index in range(4)]
    site.make(*specs)
    site.provider.delete_nodes([specs[1].ref, specs[2].ref])
    site.make(*specs)
    assert [node.ref.index for node in site.provider.find(cluster=site.cluster).nodes] == [0, 1, 2, 3]


def test_a_node_that_was_never_configured_is_made_again_to_be_one(site: Site) -> None:
    spec = site.spec()
    site.make(spec)
    (note,) = (path for path in site.nodes._noted.iterdir())
    note.unlink()  # as if labcloud had been killed before it was done
    (node,) = site.provider.find(cluster=site.cluster).nodes
    assert node.status is Status.CREATED
    site.provider.ensure_node(spec)
    (again,) = site.provider.find(cluster=site.cluster).nodes
    assert (again.status, again.engine_id, len(site.nodes.made)) == (Status.RUNNING, node.engine_id, 2)


def test_a_drifted_node_is_made_anew(site: Site) -> None:
    site.make(site.spec())
    (before,) = site.provider.find(cluster=site.cluster).nodes
    site.provider.ensure_node(site.spec(publish={80: 0}))
    (after,) = site.provider.find(cluster=site.cluster).nodes
    assert (after.digest, after.status) == (site.spec(publish={80: 0}).digest, Status.RUNNING)
    assert after.engine_id != before.engine_id


def test_a_node_stops_and_starts_as_itself(site: Site) -> None:
    spec = site.spec()
    site.make(spec)
    site.provider.stop_node(spec.ref)
    (stopped,) = site.provider.find(cluster=site.cluster).nodes
    assert stopped.status is Status.STOPPED
    assert site.provider.inspect(spec.ref).state == "SHUTOFF"
    site.provider.stop_node(spec.ref)
    site.provider.ensure_node(replace(spec, memory=MEMORY - 12))
    (started,) = site.provider.find(cluster=site.cluster).nodes
    assert (started.status, started.engine_id, started.memory) == (Status.RUNNING, stopped.engine_id, MEMORY - 12)
    assert len(site.nodes.made) == 2  # what changed meanwhile has to be told


def test_limits_change_at_once_only_within_the_flavor(site: Site) -> None:
    spec = site.spec()
    site.make(spec)
    site.provider.resize_node(spec.ref, memory=MEMORY - 12, cpus=0.5)
    assert (site.provider.inspect(spec.ref).memory, site.provider.inspect(spec.ref).cpus) == (MEMORY - 12, 0.5)
    with pytest.raises(EngineError):
        site.provider.resize_node(spec.ref, memory=MEMORY * 4, cpus=1.0)
    assert site.provider.inspect(spec.ref).memory == MEMORY - 12
    with pytest.raises(NotFoundError):
        site.provider.resize_node(site.spec(7).ref, memory=MEMORY, cpus=1.0)


def test_another_flavor_is_given_while_the_server_is_off(site: Site, cloud: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, larger = site.spec(), site.spec(memory=MEMORY * 3)
    site.make(spec)
    (before,) = site.provider.find(cluster=site.cluster).nodes
    with pytest.raises(EngineError, match="would need the flavor") as caught:
        site.provider.ensure_node(larger)
    assert "labcloud stop" in caught.value.resolution

    site.provider.stop_node(spec.ref)
    with monkeypatch.context() as patch:  # as if labcloud were killed when Nova has moved it
        patch.setattr(Servers, "_confirm", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            site.provider.ensure_node(larger)
    assert site.provider.inspect(spec.ref).state == "VERIFY_RESIZE"
    site.provider.ensure_node(larger)
    (after,) = site.provider.find(cluster=site.cluster).nodes
    assert (after.engine_id, after.status, after.memory) == (before.engine_id, Status.RUNNING, MEMORY * 3)
    assert cloud.member.compute.get_server(after.engine_id).flavor.ram >= MEMORY * 3


def test_configuration_reaches_the_nodes_that_it_concerns(site: Site) -> None:
    specs = [site.spec(index) for index in range(3)]
    site.make(*specs)
    files = {f"{spec.ref.name}/greeting": "hello\n" for spec in specs} | {"worker-1/greeting": "good bye\n"}
    assert site.provider.ensure_config(site.cluster, files) is True
    assert {name: content.cluster for name, content in site.nodes.pushed.items()} == {"worker-1": {"greeting": b"good bye\n"}}
    assert site.provider.ensure_config(site.cluster, files) is False
    assert site.provider.config(site.cluster) == files


def test_a_server_that_no_host_has_room_for_is_told_with_novas_reason(site: Site, cloud: Any) -> None:
    flavor = cloud.admin.compute.create_flavor(name=site.tenant, ram=600_000, vcpus=1, disk=1)
    try:
        site.make()
        with pytest.raises(LabError) as caught:
            site.provider.ensure_node(site.spec(memory=600_000))
        assert "No valid host" in caught.value.brief
        assert "request id: req-" in caught.value.details
        (node,) = site.provider.find(cluster=site.cluster).nodes
        assert node.status is Status.FAILED
        seen = site.provider.inspect(node.ref)
        assert (seen.why, "No valid host" in seen.said) == (NO_ROOM, True)
        assert any(line.startswith("request id: req-") for line in seen.history)
        site.provider.ensure_node(site.spec())  # what failed is made anew
        (node,) = site.provider.find(cluster=site.cluster).nodes
        assert node.status is Status.RUNNING
    finally:
        cloud.admin.compute.delete_flavor(flavor)


@contextmanager
def faulty(cloud: Any, fault: str, memory: int) -> Iterator[int]:
    """A flavor whose servers fail, the smallest that has so much memory: see the simulated computes' driver."""
    flavor = cloud.admin.compute.create_flavor(name=f"fault-{fault}", ram=memory, vcpus=1, disk=2)
    try:
        yield memory
    finally:
        cloud.admin.compute.delete_flavor(flavor)


def test_a_host_that_aborts_is_told_and_its_server_made_anew(site: Site, cloud: Any) -> None:
    with faulty(cloud, "abort", 600) as memory:
        site.make()
        with pytest.raises(EngineError) as caught:
            site.provider.ensure_nodes([site.spec(index, memory=memory) for index in range(3)])
        assert "this host gives up" in caught.value.brief
    site.provider.ensure_nodes([site.spec(index, memory=600) for index in range(3)])
    assert {node.status for node in site.provider.find(cluster=site.cluster).nodes} == {Status.RUNNING}


def test_what_nova_can_place_elsewhere_is_no_failure(site: Site, cloud: Any) -> None:
    # A request a server: of several that one request places, Nova tries none on a host that another of them has.
    with faulty(cloud, "simulated1", 600) as memory:
        site.make(*(site.spec(index, memory=memory) for index in (0, 3, 5, 7)))
        nodes = site.provider.find(cluster=site.cluster).nodes
        hosts = {cloud.admin.compute.get_server(node.engine_id).hypervisor_hostname for node in nodes}
        assert ({node.status for node in nodes}, "simulated1" in hosts) == ({Status.RUNNING}, False)


def test_a_flavor_that_cannot_be_given_is_told(site: Site, cloud: Any) -> None:
    spec = site.spec()
    site.make(spec)
    site.provider.stop_node(spec.ref)
    with faulty(cloud, "finish_migration", 600) as memory:
        with pytest.raises(EngineError) as caught:
            site.provider.ensure_node(site.spec(memory=memory))
        assert "Virtual Interface creation failed" in caught.value.brief
        assert "request id: req-" in caught.value.details
        (node,) = site.provider.find(cluster=site.cluster).nodes
        assert (node.status, site.provider.inspect(node.ref).why) == (Status.FAILED, NO_NETWORK)


def test_what_is_missing_is_named(site: Site) -> None:
    with pytest.raises(NotFoundError):
        site.provider.ensure_node(site.spec())  # no network
    site.provider.ensure_network(site.tenant)
    for wrong in ({"image": "hadoop-0.1@none"}, {"memory": 10**7}):
        with pytest.raises(NotFoundError):
            site.provider.ensure_node(site.spec(**wrong))
    with pytest.raises(LabError):
        site.provider.ensure_node(site.spec(volumes=(NodeVolume(1, StorageClass("fast", path="/mnt/fast")),)))
    assert site.provider.find(cluster=site.cluster).nodes == ()


def test_a_half_made_network_is_seen_finished_and_deleted(site: Site, cloud: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    networks = site.provider._networks
    for step in ("_ensure_subnet", "_ensure_security_group", "_ensure_router"):
        with monkeypatch.context() as patch:
            patch.setattr(networks, step, lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                site.provider.ensure_network(site.tenant)
        assert site.provider.find(tenant=site.tenant).networks == {site.tenant}
        with pytest.raises(NotFoundError):
            site.provider.ensure_node(site.spec())
    site.provider.ensure_network(site.tenant)
    site.provider.ensure_node(site.spec())


def test_a_tenants_network_lets_in_ssh_alone(site: Site, cloud: Any) -> None:
    site.provider.ensure_network(site.tenant)
    (group,) = cloud.member.network.security_groups(name=f"labcloud-{site.tenant}")
    rules = [each for each in group.security_group_rules if each["direction"] == "ingress"]
    assert {(each["protocol"], each["port_range_min"], bool(each["remote_group_id"])) for each in rules} == {
        ("tcp", 22, False),
        (None, None, True),
    }


def test_labs_do_not_see_each_other(site: Site) -> None:
    site.make(site.spec())
    other = site.open("0therlab")
    found = other.find()
    assert (found.nodes, found.networks) == ((), frozenset())
    with pytest.raises(ConflictError):
        other.ensure_network(site.tenant)
    other.delete_network(f"{site.tenant}-x")
    assert len(site.provider.find(tenant=site.tenant).nodes) == 1


# Preflight


def ask(site: Site, id: str, memory: int = MEMORY, workers: int = 2, **more: Any) -> Finding:
    groups = (NodeGroup("worker", workers, memory, volumes=(Volume(1),)),)
    cluster = Cluster(site.cluster, "tiny", "openstack", "0" * 32, site.image, groups)
    name = site.image.partition("@")[0]
    subject = Subject(
        Path("/"),
        "openstack",
        site.provider.capacity,
        cluster=cluster,
        tenant=Tenant(site.tenant, 1),
        image=ImageNeed(name, 8, "none"),
        **more,
    )
    return next(each for each in site.provider.checks() if each.id == id).run(subject)


def test_nothing_is_wrong_with_a_healthy_cloud(site: Site) -> None:
    findings = {each.id: ask(site, each.id) for each in site.provider.checks()}
    bad = {id: each.summary for id, each in findings.items() if each.verdict not in (Verdict.PASS, Verdict.SKIP)}
    assert bad == {}
    assert findings["cloud.compute-quota"].evidence["instances"]["adds"] == 2


def test_what_is_there_already_is_not_counted_again(site: Site) -> None:
    site.make(site.spec(0))
    assert ask(site, "cloud.compute-quota").evidence["instances"]["adds"] == 1


def test_too_many_servers_are_refused_with_every_shortage(site: Site) -> None:
    found = ask(site, "cloud.compute-quota", workers=5000)
    assert found.verdict is Verdict.FAIL
    assert all(word in found.fix for word in ("--instances", "--cores", "--ram"))
    assert ask(site, "cloud.network-quota", workers=5000).verdict is Verdict.FAIL


def test_a_size_that_there_is_not_is_refused(site: Site) -> None:
    found = ask(site, "cloud.flavors", memory=10**7)
    assert (found.verdict, "labcloud create" in found.fix) == (Verdict.FAIL, True)


# Killed


class Killed(BaseException):
    """What no error handling takes for an error."""


@contextmanager
def killed_at(site: Site, request: int) -> Iterator[None]:
    """End whatever goes on when so many requests were answered: OpenStack has done what the last one asked for, and nobody noted it."""
    left = iter(range(request - 1))

    def look(answer: Any, **_: object) -> None:
        if next(left, None) is None:
            raise Killed(f"at {answer.request.method} {answer.url}")

    with site.provider._cloud.change("count requests") as api:
        hooks = api.session.session.hooks["response"]
    hooks.append(look)
    try:
        with pytest.raises(Killed):
            yield
    finally:
        hooks.remove(look)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # who is killed closes no connections
@pytest.mark.parametrize("places", [2, pytest.param(6, marks=pytest.mark.thorough)])
def test_killed_at_any_request_it_is_finished_and_deleted_to_the_last(site: Site, cloud: Any, places: int) -> None:
    """Where it was killed is another place each time; so is where its deletion was."""
    before = inventory(cloud.member)
    specs = [site.spec(0, "master"), *(site.spec(index) for index in range(3))]
    making = site.counted(lambda: site.make(*specs))
    deleting = site.counted(lambda: clean(site.provider, site.tenant, site.cluster))
    assert inventory(cloud.member) == before
    for place in range(places):
        with killed_at(site, 1 + place * making // places):
            site.make(*specs)
        if place % 2:  # else it is deleted as it is
            site.make(*specs)
            found = site.provider.find(cluster=site.cluster).nodes
            assert [(each.ref, each.status) for each in found] == [(each.ref, Status.RUNNING) for each in specs]
            with killed_at(site, 1 + place * deleting // places):
                clean(site.provider, site.tenant, site.cluster)
        clean(site.provider, site.tenant, site.cluster)
        assert inventory(cloud.member) == before, place


# What people get wrong


def test_wrong_credentials_are_told_in_one_sentence(cloud: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = yaml.safe_load(cloud.clouds_yaml.read_text())
    file = tmp_path / "clouds.yaml"
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
    monkeypatch.setenv("OS_CLOUD", "member")

    def said(**auth: str) -> str:
        member = known["clouds"]["member"]
        file.write_text(yaml.safe_dump({"clouds": {"member": {**member, "auth": {**member["auth"], **auth}}}}))
        provider = OpenStackProvider(tmp_path / "home", "lab")
        try:
            with pytest.raises(EngineError) as caught:
                provider.find()
        finally:
            provider.close()
        assert caught.value.resolution
        return caught.value.brief

    assert "the password is wrong, or has no role in the project member" in said(password="wrong")  # noqa: S106 - it is wrong
    assert "has no role in the project admin" in said(project_name="admin")
    assert "does not answer" in said(auth_url="http://127.0.0.1:9/v3")


def test_datasets_are_served_by_the_first_node_to_all_others(site: Site, tmp_path: Path) -> None:
    content = tmp_path / "home" / "datasets" / "store" / "numbers" / "1" / "content"
    content.mkdir(parents=True)
    with (content / "one.txt").open("wb") as file:
        file.truncate(3 << 30)  # and no byte of it is sent here
    numbers = StoredDataset("1-0123456789ab", content)
    site.provider.ensure_network(site.tenant)
    assert site.provider.ensure_datasets(site.cluster, {}) is False
    assert site.provider.ensure_datasets(site.cluster, {"numbers": numbers}) is True
    seen = {site.cluster: {"numbers": numbers.tag}}
    assert site.provider.find(cluster=site.cluster).datasets == seen
    site.make(site.spec(0, "master"), site.spec(0), site.spec(1))
    assert site.provider.find(cluster=site.cluster).datasets == seen
    # The disk of the one that has them is large enough.
    with site.provider._cloud.change("look at flavors") as api:
        flavors = {each.ref.group: api.compute.get_server(each.id).flavor.original_name for each in site.provider._list()}
    assert flavors == {"master": "m1.small", "worker": "m1.tiny"}

    assert site.provider.ensure_datasets(site.cluster, {"numbers": numbers}) is False
    assert site.provider.ensure_datasets(site.cluster, {}) is True
    machines = {each.ref.name: each for each in site.provider._list(cluster=site.cluster)}
    told = {name: each.datasets for name, each in site.nodes.pushed.items()}
    assert told == {"master-0": SERVED, "worker-0": machines["master-0"].address, "worker-1": machines["master-0"].address}
    assert site.provider.find(cluster=site.cluster).datasets == {site.cluster: {}}
    site.provider.delete_nodes([each.ref for each in machines.values()])
    site.provider.delete_datasets(site.cluster)
    assert site.provider.find(cluster=site.cluster).datasets == {}
    assert [each.name for each in (tmp_path / "home" / "configured").glob("*.datasets")] == []
