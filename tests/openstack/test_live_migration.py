"""A machine that runs is moved between two hosts, by QEMU itself: a virtual machine with an emulated processor, and what it does meanwhile.

What simulated computes cannot show is shown here: memory and disk are copied while the machine works, it stands still for a moment, and
nobody inside has noticed. The cloud is another one, with two libvirt hosts. The machine boots the disk that labcloud built and published.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from labcloud.apply.journal import Journal
from labcloud.apply.watch import Watch
from labcloud.lab import Lab
from labcloud.migrate.moving import Outcome, Policy
from labcloud.migrate.planning import Wish
from labcloud.migrate.verbs import Migrating
from labcloud.model.hosts import How
from labcloud.providers.openstack.connection import Cloud as Door
from labcloud.providers.openstack.hosts import NovaHosts
from tests.acceptance.driver import wait_for
from tests.openstack import driver
from tests.openstack.driver import Cloud
from tests.openstack.labs import lab_of_guests
from tests.openstack.test_migrate import Cared

PROFILE = "hadoop-2.7"
HOSTS = {"real1", "real2"}
_TICK = 0.2
_CHANGED = 40
"""MiB, of what a program changes in a second, where one does."""
_BOOT = 400
"""Seconds. An emulated machine takes a fifth of it where nothing else runs."""

_TICKS = f"""
import time
count = 0
while True:
    print(count, time.monotonic(), flush=True)
    count += 1
    time.sleep({_TICK})
"""
_CHANGES = """
import mmap, time
step, turn = {size} << 20, 0
memory = mmap.mmap(-1, 4 * step)
while True:
    began = time.monotonic()
    for page in range(turn * step, turn * step + step, mmap.PAGESIZE):
        memory[page] = (memory[page] + 1) % 256
    turn = (turn + 1) % 4
    print(flush=True)
    time.sleep(max(0, 1 - (time.monotonic() - began)))
"""

pytestmark = pytest.mark.timeout(_BOOT + 600)


@dataclass
class Ticks:
    """What a program in the machine says five times a second, by one connection: a number, and its own clock; and when that came."""

    seen: list[tuple[int, float, float]] = field(default_factory=list)
    """Number, the machine's clock, ours."""

    def read(self, lines: Any) -> None:
        for line in lines:
            number, theirs = line.split()
            self.seen.append((int(number), float(theirs), time.monotonic()))

    def pause(self, began: float, ended: float) -> float:
        """Seconds for which the machine stood still, and its clock with it: how much further behind ours that is after than before. Of
        words on their way, the fastest tell."""
        before, after = ([ours - theirs for _, theirs, ours in self.seen if then(ours)] for then in (began.__gt__, ended.__lt__))
        return min(after) - min(before)

    def silence(self) -> float:
        """The longest time in which nothing came."""
        return max(after[2] - before[2] for before, after in zip(self.seen, self.seen[1:], strict=False))


@dataclass(frozen=True)
class Machine:
    cloud: Cloud
    id: str
    address: str
    key: Path

    def ssh(self, *command: str) -> list[str]:
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes", "ConnectTimeout=5")
        words = [word for each in options for word in ("-o", each)]
        return ["ssh", "-q", "-F", "none", "-i", str(self.key), *words, f"labcloud@{self.address}", *command]

    def says(self, *command: str, stdin: bytes = b"") -> str:
        """What a command prints there; nothing if nobody answers."""
        return subprocess.run(self.ssh(*command), input=stdin, capture_output=True, timeout=120, check=False).stdout.decode().strip()

    @property
    def host(self) -> str:
        return str(self.cloud.admin.compute.get_server(self.id).compute_host)

    @property
    def boot(self) -> str:
        return self.says("cat", "/proc/sys/kernel/random/boot_id")

    @contextmanager
    def running(self, program: str) -> Iterator[subprocess.Popen[str]]:
        """A program in Python, in the machine, by a connection that lasts as long as it."""
        argv = self.ssh(f"exec python3 -c '{program}'")
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as process:
            try:
                yield process
            finally:
                process.kill()

    @contextmanager
    def ticking(self) -> Iterator[Ticks]:
        ticks = Ticks()
        with self.running(_TICKS) as process:
            reader = threading.Thread(target=ticks.read, args=(process.stdout,))
            reader.start()
            wait_for("the first ticks", lambda: len(ticks.seen) > 3 / _TICK)
            yield ticks
        reader.join()


@pytest.fixture(scope="module")
def moving() -> Iterator[Cloud]:
    with driver.own_cloud("moving", GUESTS="qemu", REAL="2", HOSTS="0") as made:
        yield made


@pytest.fixture(scope="module")
def machine(moving: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A server of nobody's cluster, on one of the hosts, with an address that is reached from here."""
    folder, name, api = tmp_path_factory.mktemp("lab"), f"mv-{secrets.token_hex(3)}", moving.member
    with lab_of_guests(moving, folder / "home", PROFILE) as labcloud, ExitStack() as undo:
        labcloud("image", "build", PROFILE, "--format", "qcow2", timeout=900)
        labcloud("image", "publish", PROFILE, "--format", "qcow2", timeout=300)
        keypair = api.compute.create_keypair(name=name)
        undo.callback(api.compute.delete_keypair, keypair)
        (folder / "key").touch(mode=0o600)
        (folder / "key").write_text(keypair.private_key)
        port = _port(api, name, undo)
        server = api.compute.create_server(
            name=name, image_id=api.image.find_image(f"labcloud/{PROFILE}").id, flavor_id=api.compute.find_flavor("m1.tiny").id,
            key_name=name, availability_zone="real", networks=[{"port": port.id}],
        )  # fmt: skip
        undo.callback(api.compute.wait_for_delete, server, interval=0.5, wait=120)
        undo.callback(api.compute.delete_server, server)
        api.compute.wait_for_server(server, interval=0.5, wait=_BOOT)
        address = api.network.create_ip(floating_network_id=api.network.find_network("public").id, port_id=port.id)
        undo.callback(api.network.delete_ip, address)
        made = Machine(moving, server.id, address.floating_ip_address, folder / "key")
        wait_for("a shell", lambda: made.boot, seconds=_BOOT)
        yield made


def _port(api: Any, name: str, undo: ExitStack) -> Any:
    """On a network with a way out, open for ssh."""
    group = api.network.create_security_group(name=name)
    undo.callback(api.network.delete_security_group, group)
    for protocol, port in (("tcp", 22), ("icmp", None)):
        api.network.create_security_group_rule(
            security_group_id=group.id, direction="ingress", protocol=protocol, port_range_min=port, port_range_max=port
        )
    network = api.network.create_network(name=name)
    undo.callback(api.network.delete_network, network)
    subnet = api.network.create_subnet(name=name, network_id=network.id, ip_version=4, cidr="10.20.30.0/24")
    router = api.network.create_router(name=name, external_gateway_info={"network_id": api.network.find_network("public").id})
    undo.callback(api.network.delete_router, router)
    api.network.add_interface_to_router(router, subnet_id=subnet.id)
    undo.callback(api.network.remove_interface_from_router, router, subnet_id=subnet.id)
    port = api.network.create_port(name=name, network_id=network.id, security_groups=[group.id])
    undo.callback(api.network.delete_port, port)
    return port


@pytest.fixture
def verbs(moving: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Migrating]:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(moving.clouds_yaml))
    lab = Lab(tmp_path / "home")
    hosts = NovaHosts(Door("admin"), lab.id)
    yield Migrating(lab, Journal(lab.home), hosts, Cared(), Watch(), who="somebody")
    hosts.close()


def drain(verbs: Migrating, machine: Machine, say: pytest.CaptureFixture[str]) -> Outcome:
    """Its host is emptied, and gets servers again: what the machine says of that on its way, and that it is still the same."""
    source, boot, began = machine.host, machine.boot, time.monotonic()
    with machine.ticking() as ticks:
        began = time.monotonic()
        (outcome,) = verbs.drain(source, Wish(), Policy(), enable=True).outcomes
        ended = time.monotonic()
        wait_for("what it says from there", lambda: ticks.seen[-1][2] > ended + 3)
    pause, silence = ticks.pause(began, ended), ticks.silence()
    with say.disabled():
        print(f"\n{source} → {outcome.target}: {outcome.seconds:.1f} s, stood still {pause:.2f} s, silent {silence:.2f} s")  # noqa: T201
    assert (outcome.moved, outcome.how, outcome.why) == (True, How.LIVE, "")
    assert machine.host == outcome.target != source
    assert machine.boot == boot, "it has been started again"
    assert [number for number, _, _ in ticks.seen] == list(range(len(ticks.seen))), "the program went on, and so did its connection"
    assert pause < 5
    assert silence < 30
    return outcome


def test_a_machine_that_runs_moves_to_the_other_host_and_back(
    verbs: Migrating, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {(host.name, host.hypervisor, host.connected) for host, _ in verbs.hosts()} == {(name, "QEMU", True) for name in HOSTS}
    first = machine.host
    (second,) = HOSTS - {first}
    assert drain(verbs, machine, capsys).target == second
    with machine.running(_CHANGES.format(size=_CHANGED)):
        assert drain(verbs, machine, capsys).target == first


def test_how_fast_a_machine_changes_its_memory_is_measured(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """By its own kernel, which is Debian's."""
    idle = measured(machine)
    with machine.running(_CHANGES.format(size=_CHANGED)) as process:
        assert process.stdout
        process.stdout.readline()
        began = time.monotonic()
        busy = measured(machine)
        took = time.monotonic() - began
        process.kill()
        changed = process.stdout.read().count("\n") * _CHANGED / took
    with capsys.disabled():
        print(f"\nidle: {idle}; with a program that changed {changed:.1f} MiB/s: {busy}")  # noqa: T201
    assert idle["dirtied"] < changed / 4
    assert changed / 2 < busy["dirtied"] < changed * 2
    assert 50 < idle["used"] < busy["used"] < 512


def measured(machine: Machine) -> dict[str, float]:
    program = files("labcloud.migrate").joinpath("dirtying.py").read_bytes()
    return dict(json.loads(machine.says("sudo", "python3", "-", stdin=program)))
