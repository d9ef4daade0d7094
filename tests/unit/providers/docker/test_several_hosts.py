"""What is known of several Docker hosts without asking one: settings, seats, addresses, and what a node is made of elsewhere."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from labcloud.errors import ConfigError, ConflictError
from labcloud.model import ClusterRef, NodeRef, NodeSpec, NodeVolume
from labcloud.providers.docker import containers, remote, seats
from labcloud.providers.docker.provider import DockerProvider
from labcloud.providers.docker.settings import read_settings
from labcloud.providers.docker.spread import SpreadDocker, provider
from labcloud.providers.docker.tunnel import Layout, vni

REF = NodeRef(ClusterRef("acme", "big"), "worker", 1)
HERE = containers.Mounts(Path("/lab/base"), Path("/rendered/acme/big"), Path("/views/acme/big"))


def lab(tmp_path: Path, text: str) -> Path:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab/docker.yaml").write_text(text)
    return tmp_path


def test_without_settings_there_is_one_engine(tmp_path: Path) -> None:
    assert read_settings(tmp_path) is None
    assert type(provider(tmp_path, "lab")) is DockerProvider
    two = "address: 192.0.2.1\nhosts: {lab2: {url: 'tcp://192.0.2.2:2376', address: 192.0.2.2}}\n"
    assert type(provider(lab(tmp_path, two), "lab")) is SpreadDocker


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("hosts: {}", "address"),
        ("address: 192.0.2.1\nhosts: {}", "hosts"),
        ("address: 192.0.2.1\nhosts: {lab2: {address: 192.0.2.2}}", "either context or url"),
        ("address: 192.0.2.1\nhosts: {lab2: {address: 192.0.2.2, url: 'tcp://x', context: y}}", "either context or url"),
        ("address: 192.0.2.1\nhosts: {lab2: {address: 192.0.2.1, context: y}}", "one address"),
        ("address: 192.0.2.1\nhosts: {home: {address: 192.0.2.2, context: y}}", "this machine's engine and another's"),
        ("address: 192.0.2.1\nhosts: {'../x': {address: 192.0.2.2, context: y}}", "no name of a host"),
        ("address: 192.0.2.1\nhosts: {lab2: {address: 192.0.2.2, url: 'ssh://-oProxyCommand=x'}}", "url"),
        ("address: here\nhosts: {lab2: {address: 192.0.2.2, context: y}}", "address"),
        ("address: [", "docker.yaml"),
    ],
)
def test_bad_settings_are_named(tmp_path: Path, text: str, wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"docker\.yaml cannot be read") as caught:
        read_settings(lab(tmp_path, text))
    assert wrong in caught.value.details or wrong in caught.value.brief


def listed(name: str, host: str = "", state: str = "running") -> dict[str, Any]:
    labels = containers.identity("lab", REF) | ({containers.HOST: host} if host else {})
    networks = {"labcloud-acme": {"IPAddress": "10.192.0.5", "IPAMConfig": None}}
    return {"Names": [f"/{name}"], "Labels": labels, "State": state, "NetworkSettings": {"Networks": networks}}


NAME = REF.qualified


@pytest.mark.parametrize(
    ("there", "host"),
    [
        ([], ""),
        ([listed(NAME)], ""),
        ([listed(NAME), listed(f"{NAME}.to-lab2", "lab2")], ""),
        ([listed(f"{NAME}.from-home"), listed(f"{NAME}.to-lab2", "lab2")], ""),
        ([listed(f"{NAME}.from-home"), listed(NAME, "lab2")], "lab2"),
        ([listed(NAME, "lab2"), listed(f"{NAME}.to-home")], "lab2"),
        ([listed(f"{NAME}.from-lab2", "lab2"), listed(f"{NAME}.to-lab3", "lab3")], "lab2"),
        ([listed(f"{NAME}.from-lab2", "lab2"), listed(NAME, "lab3")], "lab3"),
        ([listed(f"{NAME}.from-lab2", "lab2"), listed(NAME)], ""),
    ],
)
def test_at_every_moment_of_a_move_a_node_has_one_place(there: list[dict[str, Any]], host: str) -> None:
    found = seats.places(there)
    assert found.host(REF) == host
    assert found.hosts() == {each["Labels"][containers.HOST] for each in there if containers.HOST in each["Labels"]}


def test_a_stand_in_is_no_node() -> None:
    assert seats.is_node(listed(NAME))
    assert not seats.is_node(listed(NAME, "lab2"))
    assert not seats.is_node(listed(f"{NAME}.from-home"))


def test_addresses_of_hosts_do_not_meet() -> None:
    layout = Layout(IPv4Network("10.192.4.0/22"))
    parts = [layout.of(number) for number in range(7)]
    assert parts[0] == IPv4Network("10.192.6.0/26")
    assert not any(one.overlaps(other) for one in parts for other in parts if one != other)
    assert all(each.subnet_of(layout.upper) for each in parts)
    assert layout.gateway(1) == IPv4Address("10.192.6.65")
    assert layout.names == IPv4Address("10.192.7.254")
    assert not any(layout.names in each for each in parts)
    with pytest.raises(ConflictError, match="too small"):
        Layout(IPv4Network("10.192.4.0/28"))


def test_each_tenant_of_each_lab_has_a_vxlan_of_its_own() -> None:
    found = {vni(one, tenant) for one in ("a", "b") for tenant in ("x", "y")}
    assert len(found) == 4
    assert all(0 < each < 1 << 24 for each in found)


def test_a_node_elsewhere_has_nothing_of_this_machine_and_gets_it_again() -> None:
    spec = NodeSpec(REF, "labcloud/x:1", "hadoop-2.7", 512, 1.0, (NodeVolume(),), {8088: 0, 9870: 8000})
    here = containers.create_body("lab", spec, HERE)
    there = remote.settled(here, "lab", REF, "10.192.0.5", "10.192.3.254")
    assert all(each["Type"] == "volume" for each in there["HostConfig"]["Mounts"])
    assert {each["Target"] for each in there["HostConfig"]["Mounts"]} == {each["Target"] for each in here["HostConfig"]["Mounts"]}
    assert there["HostConfig"]["PortBindings"] == {}
    assert there["HostConfig"]["Dns"] == ["10.192.3.254"]
    assert there["NetworkingConfig"]["EndpointsConfig"]["labcloud-acme"] == {"IPAMConfig": {"IPv4Address": "10.192.0.5"}}
    further = remote.settled(there, "lab", REF, "10.192.0.5", "10.192.3.254")
    back = remote.at_home(further, HERE, REF)
    assert back["HostConfig"]["PortBindings"] == here["HostConfig"]["PortBindings"]
    assert back["Labels"] == here["Labels"]
    assert sorted(map(str, back["HostConfig"]["Mounts"])) == sorted(map(str, here["HostConfig"]["Mounts"]))
