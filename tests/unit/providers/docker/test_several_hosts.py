"""What is known of several Docker hosts without asking one: settings, seats, addresses, and what a node is made of elsewhere."""

from __future__ import annotations

import subprocess
import sys
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from labcloud.errors import ConfigError, ConflictError, EngineError, NotFoundError
from labcloud.model import ClusterRef, NodeRef, NodeSpec, NodeVolume, StorageClass
from labcloud.providers.docker import containers, remote, seats
from labcloud.providers.docker.engine import Engine
from labcloud.providers.docker.forwarding import Forwarded
from labcloud.providers.docker.opening import provider
from labcloud.providers.docker.provider import DockerProvider
from labcloud.providers.docker.settings import read_settings
from labcloud.providers.docker.spread import SpreadDocker
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
    volumes = (NodeVolume(), NodeVolume(storage=StorageClass("fast", "/mnt/fast")))
    spec = NodeSpec(REF, "labcloud/x:1", "hadoop-2.7", 512, 1.0, volumes, {8088: 0, 9870: 8000})
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
    assert {number: each.storage.path for number, each in remote.class_volumes(back).items()} == {1: "/mnt/fast"}
    assert sorted(map(str, back["HostConfig"]["Mounts"])) == sorted(map(str, here["HostConfig"]["Mounts"]))


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_a_host_that_ssh_cannot_reach_is_told_in_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "ssh", "echo 'Host key verification failed.' >&2; exit 255")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with (
        pytest.raises(EngineError, match=r"could not reach lab2 by ssh") as caught,
        Engine("ssh://root@lab2", name="lab2").api("x"),
    ):
        pass
    assert caught.value.details == "Host key verification failed."
    assert not list(tmp_path.glob("labcloud-*"))


def test_a_way_over_ssh_ends_with_its_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(
        tmp_path,
        "ssh",
        'echo "$@" >"$(dirname "$0")/said"; for each; do case $each in *.sock:*) touch "${each%%:*}";; esac; done; exec sleep 60',
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    way = Forwarded("lab2", "ssh://root@lab2:2222")
    url = way.url()
    assert way.url() == url
    assert (tmp_path / "said").read_text().split()[-2:] == ["--", "ssh://root@lab2:2222"]
    folder = Path(url.removeprefix("unix://")).parent
    assert folder.stat().st_mode & 0o777 == 0o700
    way.close()
    assert not folder.exists()


def test_contexts_are_those_of_dockers_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = '[{"Endpoints": {"docker": {"Host": "tcp://192.0.2.2:2375"}}, "Storage": {"TLSPath": "/nowhere"}}]'
    program(tmp_path, "docker", f"[ $4 = lab2 ] && echo '{said}' && exit; echo context not found >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with Engine(context="lab2", name="lab2").api("x") as api:
        assert api.base_url == "http://192.0.2.2:2375"
    with pytest.raises(NotFoundError, match="there is no Docker context lab3") as caught, Engine(context="lab3", name="lab3").api("x"):
        pass
    assert caught.value.details == "context not found"
    assert Engine(context="lab2", name="lab2").arguments() == ["--context", "lab2"]


def test_an_engine_elsewhere_that_is_silent_is_not_started_here() -> None:
    engine = Engine("tcp://127.0.0.1:1", name="lab2")
    with pytest.raises(EngineError, match="could not ask on lab2: no Docker Engine answers there") as caught, engine.api("ask") as api:
        api.version()
    assert "whether lab2 is up" in caught.value.resolution
    engine.close()


def test_a_lab_with_one_engine_does_not_load_what_several_need(tmp_path: Path) -> None:
    loaded = f"""
import sys
from pathlib import Path
from labcloud.providers.docker.opening import provider
provider(Path({str(tmp_path)!r}), "lab")
print([each for each in ("pydantic", "labcloud.providers.docker.spread") if each in sys.modules])
"""
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout == "[]\n"
