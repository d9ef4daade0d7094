"""The checks that only a real Docker Engine can prove: limits that hold, names that resolve, ports and subnets that are really taken."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from labcloud.model import Cluster, ClusterRef, NodeGroup, Tenant
from labcloud.model.checks import Finding, ImageNeed, Subject, Verdict
from labcloud.preflight import Preflight, Report
from labcloud.providers.docker.engine import Engine
from labcloud.providers.docker.probes import PROBE, Probes
from labcloud.providers.docker.provider import DockerProvider
from tests.contract.conftest import IMAGE, _build_image

pytestmark = pytest.mark.timeout(120)

Answer = TypeVar("Answer")


def docker(*argv: str) -> str:
    return subprocess.run(("docker", *argv), check=True, capture_output=True, text=True).stdout.strip()


def eventually(ask: Callable[[], Answer], seconds: float = 20.0) -> Answer:
    end = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < end, answer
        time.sleep(0.02)
    return answer


@dataclass(frozen=True)
class Desk:
    """A lab with nothing in it, and what preflight is asked about it."""

    home: Path
    lab: str
    provider: DockerProvider
    subject: Subject

    def ask(self, id: str, **changed: Any) -> Finding:
        check = next(each for each in self.provider.checks() if each.id == id)
        return check.run(replace(self.subject, **changed))

    def all(self) -> Report:
        return Preflight(self.provider, self.home).run(self.subject)

    def left(self) -> list[str]:
        mine = f"label=labcloud.lab={self.lab}"
        containers = docker("ps", "--all", "--filter", mine, "--format", "{{.Names}}")
        return [*containers.split(), *docker("network", "ls", "--filter", mine, "--format", "{{.Name}}").split()]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    _build_image()
    lab, tenant = f"probe-{secrets.token_hex(4)}", f"ct-{secrets.token_hex(3)}"
    provider = DockerProvider(tmp_path, lab)
    groups = (NodeGroup("master", 1, 1536), NodeGroup("worker", 2, 2048))
    cluster = Cluster(ClusterRef(tenant, "c"), IMAGE, "docker", "0" * 32, provider.image(IMAGE), groups)
    need = ImageNeed(IMAGE, 8, "hadoop-2.7.7", (7, 8))
    subject = Subject(tmp_path, "docker", provider.capacity, cluster=cluster, tenant=Tenant(tenant, 1), image=need)
    desk = Desk(tmp_path, lab, provider, subject)
    try:
        yield desk
    finally:
        provider.close()
        left = desk.left()
        for name in left:
            subprocess.run(
                ("docker", "network" if name.startswith("probe-") and "." not in name else "container", "rm", "--force", name), check=False
            )
    assert left == []


def test_nothing_is_wrong_with_a_healthy_machine(desk: Desk) -> None:
    report = desk.all()
    bad = [each for each in report.checks if each.status in (Verdict.FAIL, Verdict.WARN)]
    assert {each.id for each in bad} <= {"host.swappiness", "host.transparent-huge-pages", "image.digest", "disk.latency"}, bad
    by_id = {each.id: each for each in report.checks}
    assert by_id["engine.memory-limits"].evidence["exit_code"] == 137
    assert by_id["engine.dns"].evidence["forward"] is by_id["engine.dns"].evidence["reverse"] is True
    assert max(each.seconds for each in report.checks) < 10
    assert desk.left() == []


def test_probes_at_the_same_time_do_not_disturb_each_other(desk: Desk) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(desk.ask, ["engine.dns", "engine.memory-limits"] * 2))
    assert [each.verdict for each in found] == [Verdict.PASS] * 4


def test_a_port_that_is_really_taken_is_found_with_its_holder(desk: Desk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        cluster = replace(desk.subject.cluster or pytest.fail(), publish={"namenode": port})
        finding = desk.ask("network.ports", cluster=cluster)
    assert finding.verdict is Verdict.FAIL
    assert f"(process {os.getpid()})" in finding.summary
    assert desk.ask("network.ports", cluster=cluster).verdict is Verdict.PASS


def test_a_port_that_a_container_has_is_found_with_its_name(desk: Desk) -> None:
    name = f"probe-{secrets.token_hex(4)}"
    docker("run", "--detach", "--rm", "--name", name, "--publish", "127.0.0.1::80", "--entrypoint", "sleep", f"labcloud/{IMAGE}", "60")
    try:
        port = int(docker("port", name, "80/tcp").rpartition(":")[2])
        cluster = replace(desk.subject.cluster or pytest.fail(), publish={"namenode": port})
        finding = desk.ask("network.ports", cluster=cluster, there=cluster)
    finally:
        docker("rm", "--force", name)
    assert (finding.verdict, finding.fix) == (Verdict.FAIL, f"docker stop {name}")


def test_a_subnet_that_is_really_taken_is_found_with_its_owner(desk: Desk) -> None:
    name = f"probe-{secrets.token_hex(4)}"
    free = desk.ask("network.subnet").evidence["subnet"]
    docker("network", "create", "--subnet", free, name)
    try:
        finding = desk.ask("network.subnet", tenant=Tenant("t", 1, subnet=free))
        other = desk.ask("network.subnet")
    finally:
        docker("network", "rm", name)
    assert finding.verdict is Verdict.FAIL
    assert finding.evidence["overlaps"][free] == f"Docker's network {name}"
    assert other.evidence["subnet"] != free


def test_a_name_that_is_really_taken_is_found(desk: Desk) -> None:
    node = next((desk.subject.cluster or pytest.fail()).nodes())
    docker("create", "--name", node.qualified, f"labcloud/{IMAGE}")
    try:
        finding = desk.ask("names.free")
    finally:
        docker("rm", "--force", node.qualified)
    assert (finding.verdict, finding.evidence["taken"]) == (Verdict.FAIL, [f"container {node.qualified}"])
    assert desk.ask("names.free").verdict is Verdict.PASS


def test_an_image_that_was_never_built_is_found_missing(desk: Desk) -> None:
    finding = desk.ask("image.present", image=ImageNeed("hadoop-9.9", 8, "hadoop-9.9.9"))
    assert (finding.verdict, finding.fix) == (Verdict.FAIL, "labcloud image build hadoop-9.9")


_DIES = """
import os, signal, sys
from labcloud.providers.docker.engine import Engine
from labcloud.providers.docker.probes import Probes, _body
engine = Engine()
probes = Probes(engine, sys.argv[1])
with engine.api("probe") as api, probes._network(api, sys.argv[2]), \
     probes._container(api, sys.argv[2] + ".x", _body(sys.argv[3], ["sleep", "60"], {"NetworkMode": sys.argv[2]})) as made:
    api.start(made)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_probe_left_is_removed_by_the_next_one(desk: Desk) -> None:
    done = subprocess.run([sys.executable, "-c", _DIES, desk.lab, f"probe-{secrets.token_hex(4)}", f"labcloud/{IMAGE}"], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(desk.left()) == 2
    assert desk.provider.find().nodes == ()  # it is no part of any cluster
    assert desk.ask("engine.memory-limits").verdict is Verdict.PASS
    assert desk.left() == []


def test_what_is_probed_with_is_removed_when_the_command_ends(desk: Desk) -> None:
    engine = Engine()
    probes = Probes(engine, desk.lab)
    thread = threading.Thread(target=_until_closed, args=(probes, f"labcloud/{IMAGE}"), daemon=True)
    thread.start()
    eventually(lambda: docker("ps", "--quiet", "--filter", f"label=labcloud.lab={desk.lab}", "--filter", f"label={PROBE}"))
    probes.close()
    assert desk.left() == []
    thread.join(20)
    engine.close()


def _until_closed(probes: Probes, image: str) -> None:
    from labcloud.errors import LabError

    with pytest.raises(LabError):
        while True:
            probes.names(image)
