"""What tests of snapshots and backups need: a writer that knows what it wrote, and looks at data volumes and repositories from outside."""

from __future__ import annotations

import os
import random
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread
from typing import Any

import hdfs_native

from tests.acceptance.driver import Cluster, Labcloud, digest, docker, load, run, wait_for

Content = Mapping[str, str]
"""Files of HDFS by their path in a home: the digests of their content."""


# HDFS, asked from this process


def store(client: hdfs_native.Client, path: str, content: bytes) -> None:
    with client.create(path, hdfs_native.WriteOptions(overwrite=True, create_parent=True)) as file:
        file.write(content)


def home(cluster: Cluster, client: hdfs_native.Client | None = None) -> dict[str, str]:
    """All files of the tenant's home, with their digests; not what is still open, no application's staging, no file of a probe."""
    asked, base = client or cluster.hdfs(), f"/user/{cluster.tenant}/"
    found = [each.path for each in asked.list_status(base.rstrip("/"), recursive=True) if not each.isdir]
    paths = (path for path in found if "/.staging/" not in path and not path.endswith("/stream") and "/.ready-" not in path)
    return {path.removeprefix(base): digest(load(asked, path)) for path in paths}


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311 - no secret


class Writer:
    """Puts small files one after the other, and keeps one more open that it only flushes; notes what was acknowledged, and when."""

    def __init__(self, cluster: Cluster) -> None:
        self._base = f"/user/{cluster.tenant}/written"
        self._client = cluster.hdfs()
        self._over = Event()
        self.files: dict[str, tuple[float, str]] = {}
        self.streamed: list[tuple[float, int]] = []
        self.refused: list[str] = []
        self._threads = [Thread(target=self._run, args=(do,), daemon=True) for do in (self._put, self._flush)]

    def __enter__(self) -> Writer:
        self._stream = self._client.create(f"{self._base}/stream", hdfs_native.WriteOptions(create_parent=True))
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for each in self._threads:
            each.join(30)
        assert not any(each.is_alive() for each in self._threads)

    def _run(self, do: Any) -> None:
        number = 0
        try:
            while not self._over.is_set():
                do(number)
                number += 1
        except Exception as exc:  # noqa: BLE001 - whatever it is, a write was not acknowledged
            self.refused.append(repr(exc))

    def _put(self, number: int) -> None:
        content = noise(number, 3000 + number * 7 % 2000)
        store(self._client, f"{self._base}/{number:06}", content)
        self.files[f"written/{number:06}"] = (time.monotonic(), digest(content))
        self._over.wait(0.05)

    def _flush(self, number: int) -> None:
        self._stream.write(line(number))
        self._stream.hsync()
        self.streamed.append((time.monotonic(), number))
        self._over.wait(0.02)

    def acknowledged(self, moment: float) -> dict[str, str]:
        """The files that were acknowledged before."""
        return {path: made for path, (when, made) in self.files.items() if when < moment}

    def flushed(self, moment: float) -> bytes:
        """What was flushed to the open file before."""
        return b"".join(line(number) for when, number in self.streamed if when < moment)

    def longest_pause(self) -> float:
        """Seconds between two acknowledged files."""
        times = [when for when, _ in self.files.values()]
        return max(later - sooner for sooner, later in pairwise(times))


def line(number: int) -> bytes:
    return f"line {number:08}\n".encode() * 8


# Data volumes, seen from this machine


def volume(cluster: Cluster, node: str, snapshot: str = "") -> Path:
    """The folder of a node's data volume, or of a snapshot of it."""
    name = f"{cluster.container(node)}.data-0" + (f".{snapshot}" if snapshot else "")
    return Path(docker("volume", "inspect", "--format", "{{.Mountpoint}}", name))


def identities(cluster: Cluster, *nodes: str) -> dict[str, set[str]]:
    """What stands in the VERSION files of its nodes, by key: cluster, namespace and pool ids, names of DataNodes."""
    found: dict[str, set[str]] = {}
    for node in nodes:
        for version in volume(cluster, node).glob("hdfs/*/current/VERSION"):
            pairs = (each.partition("=") for each in version.read_text().splitlines() if "=" in each)
            for key, _, value in pairs:
                if key in ("clusterID", "namespaceID", "blockpoolID", "datanodeUuid"):
                    found.setdefault(key, set()).add(value)
        found.setdefault("pool", set()).update(each.name for each in volume(cluster, node).glob("hdfs/*/current/BP-*"))
    return found


def blocks(folder: Path) -> dict[str, Path]:
    """The finished block files of a DataNode's volume by name; HDFS names them alike in all copies."""
    return {each.name: each for each in folder.rglob("finalized/**/blk_*") if not each.name.endswith(".meta")}


def shared(one: Path, other: Path) -> bool:
    """Whether two files have their bytes once: they are one file, or have the same extents."""
    return one.stat().st_ino == other.stat().st_ino or _extents(one) == _extents(other) != []


def _extents(path: Path) -> list[str]:
    said = run(("filefrag", "-v", str(path))).text
    return [found[1] for row in said.splitlines() if (found := re.match(r"\s*\d+:\s*\d+\.\.\s*\d+:\s*(\d+\.\.\s*\d+):.*shared", row))]


# Processes


def births(of: str) -> list[str]:
    """The processes that make the first backup of a cluster."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = each.read_bytes().split(b"\0")
            if b"--birth" in words and of.encode() in words:
                found.append(each.parent.name)
    return found


@dataclass(frozen=True)
class FalseRestic:
    """A program that goes before restic in ``PATH``: it notes the words that it gets, and stands still at some of them for a while."""

    folder: Path

    @property
    def path(self) -> str:
        return f"{self.folder}:{os.environ['PATH']}"

    def install(self) -> None:
        self.folder.mkdir()
        real = run(("sh", "-c", "command -v restic")).text
        program = self.folder / "restic"
        program.write_text(
            f'#!/bin/sh\necho "$*" >>{self.folder}/words\n'
            f'if [ -s {self.folder}/hold ]; then case "$*" in *"$(cat {self.folder}/hold)"*) exec sleep 60;; esac; fi\n'
            f'exec {real} "$@"\n'
        )
        program.chmod(0o755)

    def hold(self, words: str) -> None:
        (self.folder / "hold").write_text(words)

    def calls(self, verb: str) -> list[str]:
        """Calls with ``verb``, as lines; what was noted is then forgotten."""
        noted = self.folder / "words"
        return [each for each in noted.read_text().splitlines() if verb in each.split()] if noted.exists() else []

    def forget(self) -> None:
        (self.folder / "hold").unlink(missing_ok=True)
        (self.folder / "words").unlink(missing_ok=True)


# Repositories, seen from outside


def packs(repository: Path) -> dict[Path, int]:
    """The files with data, and their sizes."""
    return {each: each.stat().st_size for each in repository.glob("data/*/*") if each.is_file()}


def room(repository: Path) -> int:
    """Bytes of all files."""
    return sum(each.stat().st_size for each in repository.rglob("*") if each.is_file())


@contextmanager
def flipped(file: Path) -> Iterator[None]:
    """One byte in the middle of a file is another one for a while."""
    mode, place = file.stat().st_mode, file.stat().st_size // 2

    def flip() -> None:
        with file.open("r+b") as opened:
            opened.seek(place)
            byte = opened.read(1)[0]
            opened.seek(place)
            opened.write(bytes([byte ^ 0xFF]))

    file.chmod(0o600)
    flip()
    try:
        yield
    finally:
        flip()
        file.chmod(mode)


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own."""
    image, place = folder / "disk.img", folder / "disk"
    with image.open("wb") as opened:
        opened.truncate(megabytes << 20)
    run(("mkfs.ext4", "-q", str(image)))
    place.mkdir()
    run(("mount", "-o", "loop", str(image), str(place)))
    try:
        yield place
    finally:
        subprocess.run(("umount", str(place)), check=True)


# labcloud


def copies(lab: Labcloud, ref: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = lab.json("backup", "list", ref)
    return found


def snapshots(lab: Labcloud, ref: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = lab.json("snapshot", "list", ref)
    return found


def wait_for_birth(cluster: Cluster) -> None:
    """Wait until the process beside `create` has made the first snapshot and the first backup, and has ended."""
    wait_for(f"the first backup of {cluster.ref}", lambda: copies(cluster.labcloud, cluster.ref), seconds=120)
    wait_for("its process to end", lambda: not births(cluster.ref))
