"""What a cloud's figures mean."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from labcloud.errors import ConflictError, NotFoundError
from labcloud.model import Cluster, ClusterRef, NodeGroup, StorageClass, Volume
from labcloud.model.checks import Verdict
from labcloud.providers.openstack import judging
from labcloud.providers.openstack.catalogue import choose_flavor, disk_of
from labcloud.providers.openstack.facts import Session, Worker
from labcloud.providers.openstack.judging import Need, Quota

GROUPS = (NodeGroup("master", 1, 1536, volumes=(Volume(2),)), NodeGroup("worker", 3, 2048, volumes=(Volume(2),)))
SSD = StorageClass(driver="cinder", options={"type": "ssd"})
CLUSTER = Cluster(ClusterRef("acme", "c"), "hadoop-2.7", "openstack", "0" * 32, "", GROUPS)


def flavor(name: str, ram: int, vcpus: int, disk: int, **more: Any) -> Any:
    return SimpleNamespace(id=f"id-{name}", name=name, ram=ram, vcpus=vcpus, disk=disk, extra_specs=more)


FLAVORS = [flavor("large", 8192, 4, 40), flavor("tiny", 512, 1, 1), flavor("medium", 2048, 2, 8), flavor("diskless", 2048, 2, 0)]


class Image(dict[str, Any]):
    min_ram, size = 512, 3 * 2**30 + 1

    def __init__(self, min_disk: int = 0, **more: Any) -> None:
        super().__init__(**more)
        self.min_disk = min_disk


def test_the_smallest_flavor_that_fits_is_chosen() -> None:
    assert choose_flavor(FLAVORS, memory=1536, cpus=1, disk=4, ram=0).name == "diskless"
    assert choose_flavor(FLAVORS[:3], memory=1536, cpus=1, disk=4, ram=0).name == "medium"
    assert choose_flavor(FLAVORS[:3], memory=1536, cpus=1, disk=9, ram=0).name == "large"
    assert choose_flavor(FLAVORS[:3], memory=256, cpus=1, disk=1, ram=513).name == "medium"


def test_no_flavor_is_said_with_those_that_there_are() -> None:
    with pytest.raises(NotFoundError) as caught:
        choose_flavor(FLAVORS, memory=16384, cpus=1, disk=1, ram=0)
    assert "large (8g, 4 cores, 40 GiB)" in caught.value.details


def test_flavors_that_differ_in_what_they_ask_of_a_host_are_ambiguous() -> None:
    gpu, plain, twin = flavor("gpu", 2048, 2, 8, gpu="1"), flavor("plain", 2048, 2, 8), flavor("another", 2048, 2, 8)
    with pytest.raises(ConflictError) as caught:
        choose_flavor([gpu, plain], memory=2048, cpus=2, disk=1, ram=0)
    assert "gpu, plain" in caught.value.brief
    assert choose_flavor([plain, twin], memory=2048, cpus=2, disk=1, ram=0).name == "another"  # the same by another name


def test_an_images_disk_is_what_it_says_or_its_size() -> None:
    assert disk_of(Image()) == 4
    assert disk_of(Image(min_disk=10)) == 10
    assert disk_of(Image(virtual_size=6 * 2**30)) == 6


def needs(there: dict[str, int] | None = None, flavors: list[Any] = FLAVORS) -> list[Need]:
    return judging.needs(CLUSTER, there or {}, flavors, Image(virtual_size=2**30))


def test_what_is_there_is_not_needed_again() -> None:
    assert [(need.group.name, need.count) for need in needs()] == [("master", 1), ("worker", 3)]
    assert [need.count for need in needs({"master": 1, "worker": 1})] == [0, 2]


def test_a_group_without_a_flavor_is_refused_with_a_command_that_fits() -> None:
    found = judging.judge_flavors(CLUSTER, needs(flavors=FLAVORS[1:2]), FLAVORS[1:2])
    assert found.verdict is Verdict.FAIL
    assert "--memory 512m" in found.fix
    assert judging.judge_flavors(CLUSTER, needs(), FLAVORS).verdict is Verdict.PASS


def test_volumes_that_are_larger_than_the_disk_are_a_warning() -> None:
    small = [flavor("small", 2048, 2, 1)]
    found = judging.judge_flavors(CLUSTER, needs(flavors=small), small)
    assert (found.verdict, "--volume-size 1g" in found.fix) == (Verdict.WARN, True)
    assert judging.judge_flavors(CLUSTER, needs(flavors=small), small, {"default": SSD}).verdict is Verdict.PASS  # they are Cinder's


def test_quotas_of_volumes_are_counted_in_all_and_by_type() -> None:
    limits = {
        "volumes": {"limit": 4, "in_use": 1, "reserved": 1},
        "gigabytes": {"limit": -1, "in_use": 900},
        "volumes_ssd": {"limit": 2, "in_use": 0},
    }
    quotas = judging.volume_quotas(limits, needs(), {"default": SSD})
    assert {each.resource: (each.used, each.adds) for each in quotas} == {"volumes": (2, 4), "gigabytes": (900, 8), "volumes_ssd": (0, 4)}
    found = judging.judge_quotas(quotas, "p-1")
    assert found.fix == "openstack quota set --volumes 6 p-1; openstack quota set --volumes 4 --volume-type ssd p-1"
    assert judging.volume_quotas(limits, needs(), {}) == []


def test_a_copy_by_cinder_takes_a_backup_of_each_of_its_volumes() -> None:
    mixed = NodeGroup("worker", 3, 2048, volumes=(Volume(2, "fast"), Volume(5, "fast"), Volume(9)))
    clusters = (replace(CLUSTER, groups=(mixed,)), CLUSTER)
    limits = {"backups": {"limit": 10, "in_use": 4, "reserved": 1}, "backup_gigabytes": {"limit": -1, "in_use": 900}}
    quotas = judging.backup_quotas(limits, clusters, {"fast": SSD})
    assert {each.resource: (each.used, each.adds) for each in quotas} == {"backups": (5, 6), "backup-gigabytes": (900, 21)}
    found = judging.judge_quotas(quotas, "p-1")
    assert (found.verdict, found.fix) == (Verdict.FAIL, "openstack quota set --backups 11 p-1")
    assert "backups (6 more, 5 of 10 used)" in found.summary
    small = judging.backup_quotas({"backup_gigabytes": {"limit": 20, "in_use": 0}}, clusters, {"fast": SSD})
    assert judging.judge_quotas(small, "p-1").fix == "openstack quota set --backup-gigabytes 21 p-1"


def test_a_volume_type_that_there_is_not_is_told_with_those_that_there_are() -> None:
    found = judging.judge_volume_types(CLUSTER, {"default": SSD}, ["disk", "archive"])
    assert found.summary == "there is no volume type 'ssd' of the storage class default; there are: archive, disk"
    assert found.fix == "labcloud storage set default --driver cinder --option type=archive"
    assert judging.judge_volume_types(CLUSTER, {"default": SSD}, ["ssd"]).verdict is Verdict.PASS
    assert (judging.uses_cinder(CLUSTER, {"default": SSD}), judging.uses_cinder(CLUSTER, {})) == (True, False)


def test_every_quota_that_is_short_is_told_at_once() -> None:
    quotas = [Quota("instances", 5, 4, 4), Quota("cores", -1, 900, 8), Quota("ram", 100, 100, 0), Quota("floatingips", 1, 1, 1)]
    found = judging.judge_quotas(quotas, "p-1")
    assert found.verdict is Verdict.FAIL
    assert found.fix == "openstack quota set --instances 8 --floating-ips 2 p-1"
    assert "instances (4 more, 4 of 5 used)" in found.summary
    assert judging.judge_quotas(quotas[1:3], "p-1").verdict is Verdict.PASS


def host(memory: int, *, used: int = 0, cpus: int = 64) -> dict[str, Any]:
    return {
        "MEMORY_MB": {"capacity": memory, "used": used}, "VCPU": {"capacity": cpus, "used": 0}, "DISK_GB": {"capacity": 1000, "used": 0}
    }  # fmt: skip


@pytest.mark.parametrize(
    ("hosts", "verdict"),
    [
        ([host(8192)], Verdict.PASS),
        ([host(4096), host(4096)], Verdict.PASS),
        ([host(9000, used=1000)], Verdict.FAIL),
        ([host(4000), host(4000), host(4000)], Verdict.FAIL),  # much memory, and yet room for three only
        ([host(99999, cpus=7)], Verdict.FAIL),
        ([], Verdict.FAIL),
    ],
)
def test_there_must_be_room_for_all_servers_together(hosts: list[dict[str, Any]], verdict: Verdict) -> None:
    medium = [FLAVORS[2]]
    found = judging.judge_room(CLUSTER, needs(flavors=medium), {"id-medium": hosts})
    assert found.verdict is verdict
    if verdict is Verdict.FAIL:
        assert "No valid host" in found.summary


def test_who_may_not_make_servers_is_told() -> None:
    assert judging.judge_session(Session("p", "u", ("member", "reader")), "lab").verdict is Verdict.PASS
    assert judging.judge_session(Session("p", "u", ("reader",)), "lab").fix == "openstack role add --user u --project p member"
    assert judging.judge_session(Session("", "u", ("member",)), "lab").verdict is Verdict.FAIL


@pytest.mark.parametrize(("newest", "verdict"), [("2.93", Verdict.PASS), ("2.64", Verdict.PASS), ("2.7", Verdict.FAIL), ("", Verdict.FAIL)])
def test_an_old_nova_is_refused(newest: str, verdict: Verdict) -> None:
    assert judging.judge_versions({"compute": "u", "network": "u", "image": "u", "microversion": newest}).verdict is verdict


def test_a_service_that_is_missing_is_named() -> None:
    found = judging.judge_versions({"compute": "u", "network": "", "image": "u", "microversion": "2.93"})
    assert (found.verdict, "network" in found.summary) == (Verdict.FAIL, True)


def test_workers_that_do_not_work_are_named_and_none_at_all_is_fatal() -> None:
    alive, dead = Worker("nova-compute", "c1", alive=True), Worker("nova-compute", "c2", alive=False)
    assert judging.judge_workers([alive]).verdict is Verdict.PASS
    found = judging.judge_workers([alive, dead])
    assert (found.verdict, "nova-compute on c2" in found.summary) == (Verdict.WARN, True)
    assert judging.judge_workers([dead]).verdict is Verdict.FAIL


def test_a_zone_must_be_there_and_work() -> None:
    zones = [SimpleNamespace(name="a", state={"available": True}), SimpleNamespace(name="b", state={"available": False})]
    assert [judging.judge_zone(zone, zones).verdict for zone in ("", "a", "b", "c")] == [
        Verdict.PASS,
        Verdict.PASS,
        Verdict.FAIL,
        Verdict.FAIL,
    ]


def image(**facts: Any) -> Any:
    return SimpleNamespace(**{"id": "i", "disk_format": "raw", "size": 2**30, "min_disk": 1, "min_ram": 1, "created_at": "now"} | facts)


@pytest.mark.parametrize(
    ("facts", "verdict", "said"),
    [
        ({}, Verdict.PASS, "raw, 1024 MiB"),
        ({"disk_format": "iso"}, Verdict.FAIL, "in the format iso"),
        ({"size": 2**40}, Verdict.WARN, "may take longer than the 600 s"),
    ],
)
def test_an_image_must_boot_and_arrive_in_time(facts: dict[str, Any], verdict: Verdict, said: str) -> None:
    found = judging.judge_image("hadoop-2.7", [image(**facts)], "north", 600.0)
    assert (found.verdict, said in found.summary) == (verdict, True), found


def test_a_host_has_to_have_room_to_keep_the_image() -> None:
    assert judging.judge_kept_image(Image(virtual_size=5 * 2**30), 5).verdict is Verdict.PASS
    found = judging.judge_kept_image(Image(virtual_size=5 * 2**30 + 1), 5)
    assert (found.verdict, "it needs 5 GiB, and 5 are free" in found.summary) == (Verdict.FAIL, True)


NORTH, SOUTH = SimpleNamespace(id="n-1", name="public"), SimpleNamespace(id="n-2", name="public")


@pytest.mark.parametrize(
    ("wanted", "floating", "networks", "verdict", "said"),
    [
        ("", False, [], Verdict.PASS, "no network leads outside"),
        ("", True, [], Verdict.FAIL, "there is no external network"),
        ("", True, [NORTH], Verdict.PASS, "lead to public"),
        ("", False, [NORTH, SOUTH], Verdict.FAIL, "public (n-1), public (n-2)"),
        ("public", False, [NORTH, SOUTH], Verdict.FAIL, "several"),
        ("n-2", False, [NORTH, SOUTH], Verdict.PASS, "lead to public"),
        ("privat", False, [NORTH], Verdict.FAIL, "no external network 'privat'; there are: public (n-1)"),
    ],
)
def test_the_external_network_must_be_told_from_others(
    wanted: str, floating: bool, networks: list[Any], verdict: Verdict, said: str
) -> None:
    found = judging.judge_outside(wanted, floating, networks)
    assert (found.verdict, said in found.summary) == (verdict, True), found


def test_every_server_needs_an_address_of_the_subnet() -> None:
    assert judging.judge_addresses(None, needs()).evidence["adds"] == 4
    assert judging.judge_addresses(("10.0.0.0/29", 5, 1), needs()).verdict is Verdict.PASS
    found = judging.judge_addresses(("10.0.0.0/29", 5, 2), needs())
    assert (found.verdict, "has 3 addresses left, and 4 nodes are wanted" in found.summary) == (Verdict.FAIL, True)


def test_what_a_flavor_asks_of_its_host_is_asked_of_placement() -> None:
    asked = {"trait:HW_CPU_X86_AVX2": "required", "trait:CUSTOM_SLOW": "forbidden", "hw:mem_page_size": "large", "trait:ODD": "maybe"}
    assert judging.traits_of(flavor("fast", 1, 1, 1, **asked)) == ["!CUSTOM_SLOW", "HW_CPU_X86_AVX2"]
