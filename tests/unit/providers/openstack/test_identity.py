"""What is written into a cloud is read back as it was."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from labcloud.errors import EngineError
from labcloud.model import ClusterRef, NodeRef, NodeSpec, NodeVolume, Status, StorageClass
from labcloud.providers.base import NO_NETWORK, NO_ROOM
from labcloud.providers.openstack import identity

CLUSTER = ClusterRef("acme", "hadoop-2.7")
VOLUMES = (NodeVolume(), NodeVolume(5, StorageClass("fast")))
SPEC = NodeSpec(NodeRef(CLUSTER, "worker", 3), "hadoop-2.7@1-2-3", "hadoop-2.7", 2048, 1.5, VOLUMES, {8088: 0, 9870: 9870})
ADDRESSES = [
    {"version": 6, "addr": "::2", "OS-EXT-IPS:type": "fixed"},
    {"version": 4, "addr": "10.0.0.7", "OS-EXT-IPS:type": "fixed"},
    {"version": 4, "addr": "198.18.0.9", "OS-EXT-IPS:type": "floating"},
]


def server(**changed: Any) -> SimpleNamespace:
    facts = {
        "id": "u-1", "name": "acme.hadoop-2.7.worker-3", "status": "ACTIVE", "task_state": None, "metadata": identity.metadata("1ab", SPEC),
        "addresses": {"n": ADDRESSES},
        "created_at": "2026-11-26T08:00:00Z", "fault": None, "tags": [], "updated_at": "2026-11-26T08:01:00Z",
    }  # fmt: skip
    return SimpleNamespace(**facts | changed)


def test_a_server_is_the_node_that_it_was_made_for() -> None:
    found = identity.found_node(identity.machine(server()), configured=True)
    assert (found.ref, found.digest, found.image, found.profile) == (SPEC.ref, SPEC.digest, SPEC.image, SPEC.profile)
    assert (found.memory, found.cpus, found.address, found.status) == (2048, 1.5, "10.0.0.7", Status.RUNNING)
    assert found.created == 1795680000.0


def test_what_changes_a_nodes_digest_is_in_its_metadata() -> None:
    for other in ({identity.IMAGE: "hadoop-2.7@9"}, {identity.VOLUMES: "-"}, {identity.PUBLISH: ""}, {identity.LAYOUT: "1"}):
        assert identity.machine(server(metadata=identity.metadata("1ab", SPEC) | other)).digest != SPEC.digest, other
    for same in ({identity.MEMORY: "4096"}, {identity.CPUS: "4"}):
        assert identity.machine(server(metadata=identity.metadata("1ab", SPEC) | same)).digest == SPEC.digest, same


def test_a_node_is_reached_by_its_floating_address_where_it_has_one() -> None:
    assert identity.machine(server()).reached == "198.18.0.9"
    only_fixed = {"n": [{"version": 4, "addr": "10.0.0.7", "OS-EXT-IPS:type": "fixed"}]}
    assert identity.machine(server(addresses=only_fixed)).reached == "10.0.0.7"


@pytest.mark.parametrize("name", ["web", "acme.hadoop-2.7.worker", "acme.hadoop-2.7.worker-x", "acme.hadoop-2.7.master-3"])
def test_a_server_whose_name_says_no_node_is_told_of(name: str) -> None:
    with pytest.raises(EngineError) as caught:
        identity.machine(server(name=name))
    assert "u-1" in caught.value.details
    assert "acme.hadoop-2.7.worker-NUMBER" in caught.value.resolution


def test_a_server_that_runs_and_was_never_configured_is_only_created() -> None:
    assert identity.found_node(identity.machine(server()), configured=False).status is Status.CREATED
    for state, status in {"ERROR": Status.FAILED, "SHUTOFF": Status.STOPPED, "BUILD": Status.CREATED, "UNKNOWN": Status.FAILED}.items():
        assert identity.found_node(identity.machine(server(status=state)), configured=True).status is status


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("No valid host was found. There are not enough hosts available.", NO_ROOM),
        ("Exceeded maximum number of retries. Exhausted all hosts available for retrying build failures", NO_ROOM),
        ("Virtual Interface creation failed", NO_NETWORK),
        ("Binding failed for port 5f0f, please check neutron logs for more information.", NO_NETWORK),
        ("Image 8 is unacceptable: Image is not raw", ""),
    ],
)
def test_novas_faults_have_kinds(fault: str, why: str) -> None:
    seen = identity.inspection(identity.machine(server(status="ERROR", fault={"message": fault})), ["request id: req-1 (create)"])
    assert (seen.state, seen.said, seen.why, seen.history) == ("ERROR", fault, why, ("request id: req-1 (create)",))
    assert (seen.exit_code, seen.ended) == (1, "2026-11-26T08:01:00")
    assert identity.inspection(identity.machine(server(fault={"message": fault}))).why == ""


def test_tags_say_which_snapshots_its_volumes_hold() -> None:
    id = "20261126t193421-ee32"
    mark = identity.snapshot_mark(1, id)
    assert len(mark) <= 60
    assert identity.machine(server(tags=["labcloud.lab=1ab", mark])).snapshots == {(1, id)}
    assert identity.machine(server(tags=[f"{identity.SNAPSHOT}.{odd}" for odd in ("", "1", "1.", "one.x")])).snapshots == frozenset()
    known = identity.volume_metadata("1ab", SPEC.ref, 1) | {mark: "yes"}
    volume = SimpleNamespace(id="v-1", description="", metadata=known, status="in-use", attachments=[{"server_id": "u-1"}])
    assert (identity.disk(volume).snapshots, identity.disk(volume).server) == ({(1, id)}, "u-1")


def test_a_volume_that_cinder_makes_of_a_backup_is_whose_its_description_says() -> None:
    other = NodeRef(ClusterRef("red", "copy.1"), "worker", 0)
    marks = identity.volume_metadata("1ab", SPEC.ref, 1) | {identity.snapshot_mark(1, "20261126t193421-ee32"): "yes"}

    def disk(description: str) -> identity.Disk:
        return identity.disk(SimpleNamespace(id="v-1", description=description, metadata=marks, status="available", attachments=[]))

    found = disk(identity.volume_described("1ab", other, 2))
    assert (found.place, found.snapshots) == ((other, 2), frozenset())
    for mine in (identity.volume_described("1ab", SPEC.ref, 1), identity.node_described("1ab", SPEC.ref), "what somebody wrote a=b"):
        found = disk(mine)
        assert (found.place, len(found.snapshots)) == ((SPEC.ref, 1), 1)


def test_descriptions_say_whose_a_thing_is() -> None:
    assert identity.tenant_of("1ab", identity.described("1ab", "acme")) == "acme"
    assert identity.tenant_of("1ab", identity.node_described("1ab", SPEC.ref)) == "acme"
    for foreign in ("", "something else", identity.described("1abc", "acme")):
        assert identity.tenant_of("1ab", foreign) == ""


def test_tags_are_short_enough_for_nova() -> None:
    longest = ClusterRef("t" * 31, "c" * 40)
    assert max(map(len, identity.tags("0123456789abcdef", cluster=longest))) <= 60
    assert len(identity.tags("1ab")) == 1
    assert len(identity.tags("1ab", "acme")) == 2
