"""Names, subnets and ports that others have."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from labcloud.model import Cluster, ClusterRef, NodeGroup
from labcloud.model.checks import Finding, Verdict
from labcloud.providers.docker import occupancy
from labcloud.providers.docker.occupancy import Holdings, Listener, PortsTaken
from labcloud.providers.docker.subnets import POOL

LAB = "lab1"
CLUSTER = Cluster(
    ClusterRef("acme", "c"), "hadoop-2.7", "docker", "0" * 32, "i", (NodeGroup("master", 1, 1536), NodeGroup("worker", 2, 2048)),
    publish={"namenode": 9870},
)  # fmt: skip


def container(name: str, lab: str = "", port: int = 0, **labels: str) -> dict[str, Any]:
    marks = ({"labcloud.lab": lab} if lab else {}) | {f"labcloud.{key}": value for key, value in labels.items()}
    return {"Names": [f"/{name}"], "Labels": marks, "Ports": [{"PrivatePort": 1, "PublicPort": port}] if port else []}


def network(name: str, *subnets: str, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    return {"Name": name, "Labels": labels, "IPAM": {"Config": [{"Subnet": each} for each in subnets] or None}}


# Names


def test_names_that_nobody_has_are_free() -> None:
    finding = occupancy.judge_names(CLUSTER, LAB, Holdings())
    assert (finding.verdict, finding.evidence["names"]) == (Verdict.PASS, 7)


def test_names_of_this_lab_are_its_own() -> None:
    own = Holdings(
        [container("master-0.c.acme", LAB)],
        [network("labcloud-acme", labels={"labcloud.lab": LAB})],
        [{"Name": "worker-1.c.acme.data-0", "Labels": {"labcloud.lab": LAB}}],
    )
    assert occupancy.judge_names(CLUSTER, LAB, own).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("held", "taken"),
    [
        (Holdings([container("worker-1.c.acme", "lab2")]), ["container worker-1.c.acme"]),
        (Holdings([container("worker-1.c.acme")]), ["container worker-1.c.acme"]),
        (Holdings(volumes=[{"Name": "master-0.c.acme.data-0", "Labels": None}]), ["volume master-0.c.acme.data-0"]),
    ],
)
def test_a_name_of_somebody_else_is_refused(held: Holdings, taken: list[str]) -> None:
    finding = occupancy.judge_names(CLUSTER, LAB, held)
    assert finding.verdict is Verdict.FAIL
    assert finding.evidence["taken"] == taken
    assert finding.fix == (
        "labcloud create hadoop-2.7 --tenant acme --name c-2 --workers 2 --cpus 1 --volume-size 10g "
        "--group master:memory=1536m --group worker:memory=2g --publish namenode=9870"
    )


def test_the_other_name_is_free_too() -> None:
    held = Holdings(
        [container("worker-1.c.acme"), container("master-0.c-2.acme")], (), [{"Name": "worker-0.c-3.acme.data-0", "Labels": None}]
    )
    assert occupancy.judge_names(CLUSTER, LAB, held).fix.split("--name ")[1].split()[0] == "c-4"


def test_a_network_of_somebody_else_is_refused() -> None:
    finding = occupancy.judge_names(CLUSTER, LAB, Holdings(networks=[network("labcloud-acme")]))
    assert (finding.verdict, finding.fix) == (Verdict.FAIL, "docker network rm labcloud-acme")


# Subnets


def judge(subnet: str, *networks: dict[str, Any], routes: tuple[str, ...] = ()) -> Finding:
    return occupancy.judge_subnet("acme", subnet, LAB, Holdings(networks=networks), [IPv4Network(each) for each in routes])


def test_a_tenant_that_has_its_network_needs_no_other() -> None:
    own = network("labcloud-acme", "10.192.0.0/22", labels={"labcloud.lab": LAB})
    assert judge("10.192.0.0/22", own, routes=("10.192.0.0/22",)).verdict is Verdict.PASS


def test_the_first_free_subnet_is_named() -> None:
    other = network("labcloud-blue", "10.192.0.0/22")
    assert judge("", other, routes=("10.192.4.0/24",)).evidence["subnet"] == "10.192.8.0/22"


def test_a_full_pool_is_refused() -> None:
    finding = judge("", routes=(str(POOL),))
    assert finding.verdict is Verdict.FAIL
    assert str(POOL) in finding.summary


@pytest.mark.parametrize(
    ("networks", "routes", "owner"),
    [
        ([network("bridge", "10.200.1.0/24")], (), "Docker's network bridge"),
        ([], ("10.0.0.0/8",), "a route of this machine"),
        ([], ("10.200.0.0/24",), "a route of this machine"),
    ],
)
def test_a_fixed_subnet_that_overlaps_is_refused(networks: list[dict[str, Any]], routes: tuple[str, ...], owner: str) -> None:
    finding = judge("10.200.0.0/22", *networks, routes=routes)
    assert finding.verdict is Verdict.FAIL
    assert finding.summary.endswith(owner)


def test_the_fix_of_a_subnet_is_a_free_one() -> None:
    finding = judge("10.200.0.0/22", routes=("10.200.0.0/24", "10.192.0.0/22"))
    assert finding.fix == "labcloud tenant set acme --subnet 10.192.4.0/22"
    assert judge("10.192.4.0/22", routes=("10.200.0.0/24", "10.192.0.0/22")).verdict is Verdict.PASS


def test_a_probe_in_the_pool_takes_nothing() -> None:
    probe = network("probe-1", "10.192.0.0/29", labels={"labcloud.probe": "1"})
    assert judge("", probe).evidence["subnet"] == "10.192.0.0/22"


# Ports


def ports(taken: PortsTaken, *, there: bool = False, cluster: Cluster = CLUSTER) -> Finding:
    return occupancy.judge_ports(cluster, there, LAB, taken)


def test_free_ports() -> None:
    assert ports(PortsTaken({}, [], [CLUSTER])).verdict is Verdict.PASS


def test_a_cluster_without_fixed_ports_is_not_asked() -> None:
    bare = Cluster(CLUSTER.ref, "p", "docker", "0", "i", CLUSTER.groups)
    assert ports(PortsTaken({}, [], []), cluster=bare).verdict is Verdict.SKIP


def test_a_program_that_holds_a_port_is_named() -> None:
    taken = PortsTaken({9870: Listener(9870, "nginx", 77)}, [], [])
    finding = ports(taken)
    assert finding.summary == "9870 for namenode is held by nginx (process 77)"
    assert finding.fix == (
        "labcloud create hadoop-2.7 --tenant acme --name c --workers 2 --cpus 1 --volume-size 10g "
        "--group master:memory=1536m --group worker:memory=2g --publish namenode=10000"
    )
    assert ports(taken, there=True).fix == "kill 77"


def test_a_port_of_another_users_process_is_taken_too() -> None:
    finding = ports(PortsTaken({9870: Listener(9870)}, [], []), there=True)
    assert finding.summary.endswith("held by a process of another user")
    assert finding.fix == "ss --listening --tcp --processes sport = :9870"


def test_a_container_that_holds_a_port_is_named() -> None:
    taken = PortsTaken({9870: Listener(9870, "docker-proxy", 5)}, [container("web", port=9870)], [])
    assert ports(taken, there=True).fix == "docker stop web"
    assert ports(taken).evidence["taken"] == {"namenode": "the container web"}


def test_the_clusters_own_node_may_hold_its_port() -> None:
    own = container("master-0.c.acme", LAB, 9870, tenant="acme", cluster="c")
    assert ports(PortsTaken({9870: Listener(9870, "docker-proxy", 5)}, [own], []), there=True).verdict is Verdict.PASS


def test_another_cluster_that_is_to_have_the_port_is_named() -> None:
    other = Cluster(ClusterRef("blue", "c"), "p", "docker", "1", "i", (), publish={"namenode": 9870})
    assert ports(PortsTaken({}, [], [CLUSTER, other])).evidence["taken"] == {"namenode": "the cluster blue/c"}


def test_the_port_of_the_fix_is_free() -> None:
    taken = PortsTaken({9870: Listener(9870), 10000: Listener(10000)}, [container("web", port=10001)], [])
    assert ports(taken).fix.endswith("--publish namenode=10002")


# Who listens


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])  # noqa: S104 - a free port of this machine, for a moment
def test_this_process_is_found_as_the_holder(address: str) -> None:
    with socket.create_server((address, 0)) as server:
        port = server.getsockname()[1]
        found = occupancy.listeners([port, 1])
    assert found[port].pid == os.getpid()
    assert found[port].port == port
    assert port not in occupancy.listeners([port])


def test_a_port_of_another_address_is_free() -> None:
    with socket.create_server(("127.0.0.2", 0)) as server:
        assert occupancy.listeners([server.getsockname()[1]]) == {}


def test_a_kernel_without_ipv6_has_one_table_less(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    row = "   0: 0100007F:268E 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2312068 1\n"
    established = "   1: 0100007F:268F 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 2312069 1\n"
    (tmp_path / "net/tcp").write_text(head + row + established)
    assert occupancy.listeners([9870, 9871], tmp_path) == {9870: Listener(9870)}
