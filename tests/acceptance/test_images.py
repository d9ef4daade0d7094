"""Images on engines as people have them (one whose disk is full, one that has its operating system from a hub), and that of helpers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.driver import Done, Labcloud, docker, run, wait_for

pytestmark = [pytest.mark.timeout(300), pytest.mark.alone]
SOURCE = Path(__file__).parents[2]
FULL = 560  # MiB of the second engine's disk: two chains up to Java 8 and what building one takes on the way
BALLAST = 130  # of it, so that only one chain and what building it takes fit
LIKE_A_HUBS = "s6 procps less nano-tiny netbase"  # what labcloud adds to Debian, or most of it


@dataclass(frozen=True)
class Checkout:
    """A copy of the program with declarations of its own, as somebody edits them, and the engine that it talks to."""

    folder: Path
    env: Mapping[str, str]

    def __call__(self, *argv: str, expect: int | None = 0) -> Done:
        program = (sys.executable, "-m", "labcloud.cli.main", "image", *argv)
        return run(program, expect=expect, env={**self.env, "PYTHONPATH": str(self.folder), "PYTHONSAFEPATH": "1"}, timeout=240)

    def edit(self, path: str, old: str, new: str) -> None:
        file = self.folder / "images" / path
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    def listed(self) -> list[tuple[str, str, bool, bool]]:
        """Name, digest, whether it is what is declared now, whether a container has it."""
        found: Any = json.loads(self("list", "-o", "json").stdout)["images"]
        return [(each["name"], each["reference"].rpartition(":")[2], each["current"], each["in_use"]) for each in found]


@pytest.fixture
def checkout(labcloud: Labcloud, tmp_path: Path) -> Checkout:
    folder = tmp_path / "checkout"
    for name in ("labcloud", "images", "hadoop_profiles"):
        shutil.copytree(SOURCE / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    # With what was downloaded before. The disks of machines stay away from an engine that does not have their images, and would prune them.
    cache = tmp_path / "cache"
    cache.mkdir()
    for each in labcloud.cache.iterdir():
        if each.name != "machines":
            (cache / each.name).symlink_to(each)
    return Checkout(folder, labcloud.env | {"LABCLOUD_CACHE": str(cache)})


@contextmanager
def second_engine(folder: Path) -> Iterator[str]:
    """A Docker Engine of its own, without networks, whose disk is small; gives its address."""
    data = folder / "data"
    data.mkdir(parents=True)
    run(("mount", "-t", "tmpfs", "-o", f"size={FULL}m", "tmpfs", str(data)))
    address = f"unix://{folder}/docker.sock"
    # In a network of its own: an engine without a bridge takes away the one that another engine of the machine has.
    argv = ["unshare", "--net", "dockerd", "--host", address, "--bridge", "none", "--iptables=false"]
    argv += ["--data-root", str(data), "--exec-root", str(folder / "exec"), "--pidfile", str(folder / "pid")]
    with (folder / "log").open("wb") as log:
        engine = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        wait_for("the second engine", lambda: run(("docker", "-H", address, "version"), expect=None).code == 0, seconds=30)
        yield address
    finally:
        engine.send_signal(signal.SIGTERM)
        engine.wait(60)
        run(("umount", str(data)))


@pytest.fixture
def full(checkout: Checkout) -> Iterator[Checkout]:
    """The checkout with an engine that has the images up to Java 8 as they are declared, and room for no more of them."""
    folder = Path("/run") / f"labcloud-images-{os.getpid()}"  # an engine's socket has a short name
    try:
        with second_engine(folder) as address:
            save = ["docker", "save", *current("debian", "base", "java-8")]
            with subprocess.Popen(save, stdout=subprocess.PIPE) as saved:
                subprocess.run(["docker", "-H", address, "load", "-q"], stdin=saved.stdout, check=True, capture_output=True)
            run(("fallocate", "-l", f"{BALLAST}m", str(folder / "data/ballast")))
            yield Checkout(checkout.folder, {**checkout.env, "DOCKER_HOST": address})
    finally:
        shutil.rmtree(folder)


def current(*names: str) -> list[str]:
    """The images as they were built last, by their digests."""
    tags = (json.loads(docker("inspect", "--format", "{{json .RepoTags}}", f"labcloud/{name}:latest")) for name in names)
    return [next(tag for tag in each if not tag.endswith(":latest")) for each in tags]


def used(engine: Checkout) -> int:
    """Bytes that the engine's disk holds."""
    return shutil.disk_usage(Path(engine.env["DOCKER_HOST"].removeprefix("unix://")).parent / "data").used


def test_prune_makes_room_on_a_full_engine(full: Checkout) -> None:
    def engine(*argv: str, stdin: bytes = b"") -> str:
        return run(("docker", "-H", full.env["DOCKER_HOST"], *argv), stdin=stdin).text

    before = full.listed()
    assert [(name, now) for name, _, now, _ in before] == [("base", True), ("debian", True), ("java-8", True)]
    assert full("prune").text.startswith("0 images removed")
    engine("import", "-", "foreign:1", stdin=bytes(10240))  # an empty tar file
    engine("create", "--name", "keeps", f"labcloud/base:{before[0][1]}")
    full.edit("base/files/etc/profile.d/labcloud.sh", "\n", "\n# changed\n")

    refused = full("build", "java-8", expect=6)
    assert "labcloud/java-8" in refused.said
    assert "the disk is full" in refused.said
    assert "'labcloud image prune' helps" in refused.said

    held = used(full)
    pruned = json.loads(full("prune", "-o", "json").stdout)
    assert pruned["removed"] == [f"labcloud/java-8:{before[2][1]}"]
    assert held - used(full) == pytest.approx(pruned["freed"], rel=0.1)
    assert full("build", "java-8").text.splitlines()[-1].startswith("java-8")
    kept = full.listed()
    assert [(name, now, has) for name, _, now, has in kept if not now] == [("base", False, True)]
    assert sorted(name for name, _, now, _ in kept if now) == ["base", "debian", "java-8"]

    engine("rm", "keeps")
    last = json.loads(full("prune", "-o", "json").stdout)
    assert last["removed"] == [f"labcloud/base:{before[0][1]}"]
    assert full("prune").text.startswith("0 images removed")
    assert engine("images", "-q", "foreign:1")


@pytest.fixture
def hub(labcloud: Labcloud, tmp_path: Path) -> Iterator[str]:
    """An image hub on this machine that has Debian as hubs have it; gives the image's name there."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = tmp_path / "registry.yml"
    config.write_text(f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/registry}}}}\nhttp: {{addr: '{address}'}}\n")
    with (tmp_path / "registry.log").open("wb") as log:
        registry = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log)
    name = f"{address}/debian:trixie-slim"
    try:
        publish(name, tmp_path / "debian.tar")
        yield name
    finally:
        registry.kill()
        registry.wait(10)


def upon(hub: str) -> list[str]:
    """The images that were made of a hub's, by their names."""
    found = docker("images", "--filter", f"label=labcloud.version={hub}", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
    return [name for name in found if "<none>" not in name]


def publish(name: str, archive: Path) -> None:
    """Push Debian without what labcloud added to it, and keep nothing of it on the engine."""
    container = "labcloud-like-a-hubs"
    script = f"apt-get -y autoremove --purge {LIKE_A_HUBS} && rm -rf /usr/share/labcloud"
    try:
        run(("docker", "run", "--name", container, "--network", "none", *current("debian"), "sh", "-c", script))
        run(("docker", "export", "-o", str(archive), container))
    finally:
        docker("rm", "-f", container)
    docker("import", str(archive), name)
    docker("push", "-q", name)
    docker("rmi", name)


def test_a_hubs_image_may_be_the_operating_system(hub: str, checkout: Checkout, labcloud: Labcloud) -> None:
    checkout.edit("debian.yaml", 'from: ""', f"from: {hub}")
    try:
        built = json.loads(checkout("build", "base", "-o", "json").stdout)
        assert [(each["name"], each["made"]) for each in built] == [("debian", True), ("base", True)]
        (verified,) = json.loads(checkout("verify", "base", "-o", "json").stdout)
        assert [(check["id"], check["ok"]) for check in verified["checks"]] == [("users", True), ("supervisor", True)]
        assert (hub, True) in [(each["version"], each["current"]) for each in json.loads(checkout("list", "-o", "json").stdout)["images"]]
        script = "cut -f1 /usr/share/labcloud/packages | grep -x s6; ls /usr/share/doc/s6 2>/dev/null | wc -l"
        assert docker("run", "--rm", "--network", "none", built[0]["reference"], "sh", "-c", script).split() == ["s6", "0"]
        again = json.loads(checkout("build", "base", "-o", "json").stdout)
        assert not any(each["made"] for each in again)
    finally:
        labcloud("image", "build", "base")  # the newest again
        for image in (*upon(hub), hub):
            run(("docker", "rmi", image), expect=None)  # one may never have come to be


def test_the_image_of_helpers_has_its_programs_and_is_built_once(labcloud: Labcloud) -> None:
    built = labcloud.json("image", "build", "carrier")
    assert [each["name"] for each in built] == ["debian", "carrier"]
    assert not any(each["made"] for each in labcloud.json("image", "build", "carrier"))
    (system,) = labcloud.json("image", "verify", "debian")
    assert [each["ok"] for each in system["checks"]] == [True]
    (verified,) = labcloud.json("image", "verify", "carrier")
    assert [(check["id"], check["ok"]) for check in verified["checks"]] == [("packages", True), ("programs", True), ("files", True)]
    script = "stat -c %a /usr/lib/labcloud/*; find /usr/share/doc /usr/share/man -type f | wc -l"
    said = docker("run", "--rm", "--network", "none", "--entrypoint", "sh", built[1]["reference"], "-c", script).split()
    assert set(said[:-1]) == {"755"}
    assert said[-1] == "0"
