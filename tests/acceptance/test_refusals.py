"""Every fault of the table is really made on this machine, and preflight has to refuse with just its check; on the healthy one, nothing."""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.acceptance.driver import PROGRAM, Done, Labcloud, docker, run

pytestmark = pytest.mark.alone

PROFILE = "hadoop-2.10"
SECONDS = 10.0
"""Far beyond what it takes (benchmarks/README.md), and well below what people wait for."""


@dataclass(frozen=True)
class Place:
    """Where a fault is made: a lab, a tenant of it, and a folder for what is needed."""

    labcloud: Labcloud
    tenant: str
    folder: Path


@dataclass(frozen=True)
class Asked:
    """What preflight is asked besides, and in which environment."""

    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


Fault = Callable[[Place], Iterator[Asked]]
FAULTS: dict[str, tuple[str, str, Fault]] = {}
"""What is wrong → the check that has to fail (or warn), with which verdict, and how it is made."""


def fault(name: str, check: str, verdict: str = "fail") -> Callable[[Fault], Fault]:
    def add(make: Fault) -> Fault:
        FAULTS[name] = (check, verdict, make)
        return make

    return add


@fault("a port is taken by another program", "network.ports")
def port_taken(place: Place) -> Iterator[Asked]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Asked(("--publish", f"namenode={server.getsockname()[1]}"))


@fault("the machine has not so much memory", "host.memory")
def too_much_memory(place: Place) -> Iterator[Asked]:
    yield Asked(("--memory", "40g"))


@fault("the machine's memory is used by others", "host.free-memory")
def eaten_memory(place: Place) -> Iterator[Asked]:
    """Sixty nodes need some 19 GiB to start; files in memory leave less."""
    facts = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    eaten = max(0, int(facts["MemAvailable"].split()[0]) - (16 << 20)) * 1024
    with _disk(place, f"size={eaten + (1 << 20)}") as folder:
        os.posix_fallocate(os.open(folder / "eaten", os.O_CREAT | os.O_WRONLY), 0, max(1, eaten))
        yield Asked(("--workers", "60"), {"LABCLOUD_MEMORY_OVERCOMMIT": "50"})


@fault("a node asks for more cores than there are", "host.cpu")
def too_many_cores(place: Place) -> Iterator[Asked]:
    yield Asked(("--cpus", "300"))


@fault("nodes are too small for their daemons", "profile.memory")
def too_small_nodes(place: Place) -> Iterator[Asked]:
    yield Asked(("--memory", "512m"))


@fault("the image is not built", "image.present")
def image_missing(place: Place) -> Iterator[Asked]:
    with _image_tag("") as _:
        yield Asked()


@fault("the image has another Hadoop and Java", "image.contents")
def image_wrong(place: Place) -> Iterator[Asked]:
    with _image_tag("labcloud/hadoop-3.4:latest") as _:
        yield Asked()


@contextmanager
def _image_tag(other: str) -> Iterator[None]:
    """``latest`` of the profile's image names ``other``, or nothing, for a while."""
    name = f"labcloud/{PROFILE}:latest"
    identity = docker("inspect", "--format", "{{.Id}}", name)
    tags = docker("inspect", "--format", '{{join .RepoTags " "}}', name).split()
    for tag in tags:
        docker("tag", identity, tag.replace("labcloud/", "kept/"))
    try:
        docker("rmi", *tags)
        if other:
            docker("tag", other, name)
        yield
    finally:
        for tag in tags:
            docker("tag", identity, tag)
            docker("rmi", tag.replace("labcloud/", "kept/"))


@fault("the tenant's quota of nodes is used up", "quota.nodes")
def quota_of_nodes(place: Place) -> Iterator[Asked]:
    with _tenant(place, "--quota", "nodes=2"):
        yield Asked()


@fault("the tenant may have no more of this profile", "quota.profile")
def limit_of_profile(place: Place) -> Iterator[Asked]:
    with _tenant(place, "--limit", f"{PROFILE}=0"):
        yield Asked()


@fault("the tenant's subnet was taken meanwhile", "network.subnet")
def subnet_taken(place: Place) -> Iterator[Asked]:
    with _tenant(place, "--subnet", "10.211.0.0/22"):
        name = f"foreign-{secrets.token_hex(4)}"
        docker("network", "create", "--subnet", "10.211.1.0/24", name)
        try:
            yield Asked()
        finally:
            docker("network", "rm", name)


@contextmanager
def _tenant(place: Place, *options: str) -> Iterator[None]:
    place.labcloud("tenant", "create", place.tenant, *options)
    try:
        yield
    finally:
        place.labcloud("tenant", "delete", place.tenant)


@fault("a node's name is taken", "names.free")
def name_taken(place: Place) -> Iterator[Asked]:
    name = f"worker-0.{PROFILE}.{place.tenant}"
    docker("create", "--name", name, f"labcloud/{PROFILE}:latest")
    try:
        yield Asked()
    finally:
        docker("rm", name)


@fault("the lab's disk is full", "disk.space")
def disk_full(place: Place) -> Iterator[Asked]:
    with _disk(place, "size=64m") as home:
        os.posix_fallocate(os.open(home / "filler", os.O_CREAT | os.O_WRONLY), 0, 63 << 20)
        yield Asked(environment={"LABCLOUD_HOME": str(home)})


@fault("the lab's disk has no inodes left", "disk.inodes")
def inodes_gone(place: Place) -> Iterator[Asked]:
    with _disk(place, "size=1g,nr_inodes=120") as home:
        for number in range(100):
            (home / f"filler-{number}").touch()
        yield Asked(environment={"LABCLOUD_HOME": str(home)})


@contextmanager
def _disk(place: Place, options: str) -> Iterator[Path]:
    """A lab on a small disk of its own."""
    home = place.folder / f"disk-{secrets.token_hex(4)}"
    home.mkdir()
    run(("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(home)))
    try:
        yield home
    finally:
        run(("umount", "-l", str(home)))


@fault("no engine answers", "engine.reachable")
def engine_gone(place: Place) -> Iterator[Asked]:
    yield Asked(environment={"DOCKER_HOST": f"unix://{place.folder}/nobody.sock"})


@fault("the kernel forwards no packets", "host.ip-forward", "warn")
def no_forwarding(place: Place) -> Iterator[Asked]:
    with _kernel("net/ipv4/ip_forward", "0"):
        yield Asked()


@fault("a process may map few areas", "host.max-map-count", "warn")
def few_maps(place: Place) -> Iterator[Asked]:
    with _kernel("vm/max_map_count", "30000"):
        yield Asked()


@fault("huge pages are forced on everybody", "host.transparent-huge-pages", "warn")
def huge_pages(place: Place) -> Iterator[Asked]:
    with _setting(Path("/sys/kernel/mm/transparent_hugepage/enabled"), "always", lambda text: text.partition("[")[2].partition("]")[0]):
        yield Asked()


@contextmanager
def _kernel(name: str, value: str) -> Iterator[None]:
    with _setting(Path("/proc/sys") / name, value, str.strip):
        yield


@contextmanager
def _setting(path: Path, value: str, read: Callable[[str], str]) -> Iterator[None]:
    before = read(path.read_text())
    path.write_text(value)
    try:
        yield
    finally:
        path.write_text(before)


def ask(place: Place, asked: Asked, *more: str) -> tuple[Done, float]:
    environment = {**place.labcloud.env, **asked.environment}
    argv = (str(PROGRAM), "preflight", PROFILE, "--tenant", place.tenant, *asked.options, *more, "-o", "json")
    began = time.monotonic()
    done = run(argv, expect=None, env=environment)
    seconds = time.monotonic() - began
    assert done.code in (0, 11), str(done)
    return done, seconds


@pytest.fixture
def place(labcloud: Labcloud, mark: str, tmp_path: Path) -> Place:
    return Place(labcloud, f"{mark}-refused", tmp_path)


def test_a_healthy_machine_is_refused_nothing_and_answers_in_time(place: Place) -> None:
    answers = [ask(place, Asked()) for _ in range(3)]
    for done, _ in answers:
        report = json.loads(done.stdout)
        assert (done.code, report["ok"]) == (0, True)
        assert [each["id"] for each in report["checks"] if each["status"] == "fail"] == []
        assert {each["id"] for each in report["checks"] if each["status"] == "warn"} <= {"host.swappiness", "host.transparent-huge-pages"}
    assert min(seconds for _, seconds in answers) <= SECONDS


def test_every_fault_is_refused_by_just_its_check(place: Place, show_table: Callable[[str, str], None]) -> None:
    rows = [meet(place, name) for name in FAULTS]
    table = "\n".join(
        [f"{'FAULT':<46} {'CHECK':<30} {'FOUND?':<24} {'s':>5}", *(f"{a:<46} {b:<30} {c:<24} {d:>5.1f}" for a, b, c, d in rows)]
    )
    show_table("faults that preflight refuses", table)
    assert [row for row in rows if row[2] != "yes"] == [], table


def meet(place: Place, name: str) -> tuple[str, str, str, float]:
    check, verdict, make = FAULTS[name]
    with contextmanager(make)(place) as asked:
        done, seconds = ask(place, asked)
    bad = {each["id"]: each for each in json.loads(done.stdout)["checks"] if each["status"] in ("fail", "warn")}
    strange = {id for id, each in bad.items() if id != check and each["status"] == "fail"}
    found = check in bad and bad[check]["status"] == verdict and bool(bad[check]["fix"]) and (done.code == 11) == (verdict == "fail")
    return name, check, "yes" if found and not strange else f"{sorted(bad)}", seconds
