"""What the reliability suite looks with: a writer that knows what it wrote, copies read without labcloud, commands killed at a stage."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from labcloud.errors import EngineError
from labcloud.services.files import NativeFiles
from tests.acceptance.driver import PROGRAM, Answer, Cluster, Done, Labcloud, digest, docker, run, wait_for

_BETWEEN = 0.15  # seconds between two files
_OP_CLOSE = 9  # org.apache.hadoop.hdfs.server.namenode.FSEditLogOpCodes
_OP_INVALID = 0xFF


# What was written


def content(path: str) -> bytes:
    """What the writer writes to ``path``: 1 to 30 kB that no other file has."""
    return random.Random(path).randbytes(1000 + int(digest(path.encode())[:4], 16) % 29000)  # noqa: S311 - no secret


def hdfs(cluster: Cluster) -> NativeFiles:
    """A cluster's HDFS, as this process reaches it."""
    address = docker("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", cluster.container("master-0"))
    return NativeFiles(address, 8020)


@dataclass
class Writer:
    """Writes one small file after the other to HDFS and notes when each was acknowledged (Unix time). What failed it does not count."""

    cluster: Cluster
    acknowledged: dict[str, float] = field(default_factory=dict)
    failed: int = 0
    longest: float = 0.0
    """The longest time between two acknowledgements, since it was set to 0."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _number: int = 0

    @property
    def folder(self) -> str:
        return f"/user/{self.cluster.tenant}/writer"

    def start(self) -> None:
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, daemon=True, name="writer")
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join(90)
            assert not self._thread.is_alive()

    def _run(self) -> None:
        files, last = None, time.monotonic()
        while not self._stop.wait(_BETWEEN):
            path = f"{self.folder}/f{self._number:06}"
            self._number += 1
            try:
                files = files or hdfs(self.cluster)
                files.write(path, content(path))
            except (EngineError, AssertionError, OSError, RuntimeError, subprocess.SubprocessError):
                self.failed, files = self.failed + 1, None
                continue
            self.acknowledged[path] = time.time()
            self.longest, last = max(self.longest, time.monotonic() - last), time.monotonic()

    def wait_for_more(self, count: int = 10, *, seconds: float = 120) -> None:
        """Wait until so many more files are written: a copy then has something new, and HDFS does work."""
        enough = len(self.acknowledged) + count
        wait_for(f"{count} more files ({self.failed} failed)", lambda: len(self.acknowledged) >= enough, seconds=seconds)

    def before(self, moment: float) -> list[str]:
        """What was acknowledged before ``moment`` (Unix time)."""
        return [path for path, when in list(self.acknowledged.items()) if when < moment]

    def lost(self) -> list[str]:
        """What was acknowledged, and HDFS does not list with its length."""
        written = self.before(time.time())
        there = hdfs(self.cluster).statuses(self.folder)
        return [path for path in written if (there.get(path.rpartition("/")[2]) or _NOTHING).length != len(content(path))]

    def lost_or_changed(self) -> list[str]:
        """What was acknowledged, and cannot be read as it was written, byte for byte."""
        files = hdfs(self.cluster)

        def differs(path: str) -> bool:
            try:
                return files.read(path) != content(path)
            except EngineError:
                return True

        written = self.before(time.time())
        with ThreadPoolExecutor(4) as pool:
            return [path for path, bad in zip(written, pool.map(differs, written), strict=True) if bad]


@dataclass(frozen=True)
class _Absent:
    length: int = -1


_NOTHING = _Absent()


# What copies have


@dataclass
class Copy:
    """What a copy has of a cluster, told by its files alone.

    ``taken`` is when (Unix time), ``closed`` the paths of files that the NameNode's log says were written to their end, ``blocks`` the
    digests of all finalised replicas.
    """

    id: str
    taken: float = 0.0
    closed: set[str] = field(default_factory=set)
    blocks: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, id: str, files: Iterator[tuple[str, Callable[[], bytes]]]) -> Copy:
        """Read a copy from its files: paths, and what gives the content of each."""
        found = cls(id)
        for path, get in files:
            name = path.rpartition("/")[2]
            if name == "manifest.json":
                found.taken = datetime.fromisoformat(json.loads(get())["taken"]).timestamp()
            elif "/name/current/edits_" in path:
                found.closed |= _closed(get())
            elif "/finalized/" in path and name.startswith("blk_") and not name.endswith(".meta"):
                found.blocks.add(digest(get()))
        assert found.taken, f"the copy {id} has no manifest"
        return found

    def lacks(self, writer: Writer) -> tuple[list[str], int]:
        """What was acknowledged before it was taken, and is not in it; and how many files were looked for."""
        wanted = writer.before(self.taken)
        return [path for path in wanted if path not in self.closed or digest(content(path)) not in self.blocks], len(wanted)


def _closed(log: bytes) -> set[str]:
    """The writer's files that a segment of the NameNode's log closes: an operation is its code, its length, and what it says.

    No image of the namespace is needed: HDFS keeps a million operations beside the newest one.
    """
    found, at = set(), 8  # after the layout's version and flags
    while at + 5 <= len(log) and log[at] != _OP_INVALID:
        (length,) = struct.unpack_from(">i", log, at + 1)
        end = at + 1 + length
        if log[at] == _OP_CLOSE and end + 4 <= len(log):
            found |= {path.decode() for path in re.findall(rb"/user/[a-z0-9-]+/writer/f\d{6}", log[at:end])}
        at = end + 4
    return found


@dataclass(frozen=True)
class Repository:
    """The repository of a tenant, as restic alone sees it."""

    folder: Path
    password_file: Path
    host: str

    def _restic(self, *words: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
        argv = ("restic", "-r", str(self.folder), "--password-file", str(self.password_file), "--no-cache", *words)
        return subprocess.Popen(argv, stdout=stdout, stderr=subprocess.DEVNULL)

    def copies(self) -> list[dict[str, Any]]:
        """All consistent copies that are not from the future, the oldest first."""
        process = self._restic("--no-lock", "snapshots", "--json", "--host", self.host, "--tag", "consistent")
        output = process.communicate(timeout=60)[0]
        now = datetime.now(UTC)
        found = [each | {"when": _time(each["time"])} for each in json.loads(output or b"null") or ()]
        return sorted((each for each in found if each["when"] <= now), key=lambda each: each["when"])

    def read(self, id: str) -> Copy:
        """A copy's files, through restic alone."""
        with TemporaryDirectory() as into:
            process = self._restic("--no-lock", "restore", id, "--target", into, "--exclude", "*.meta", stdout=subprocess.DEVNULL)
            assert process.wait(120) == 0, f"restic cannot read {id}"
            return Copy.read(id, ((str(path), path.read_bytes) for path in Path(into).rglob("*") if path.is_file()))

    def forget(self, id: str) -> None:
        """Remove a copy, as an operator would."""
        assert self._restic("forget", id, stdout=subprocess.DEVNULL).wait(60) == 0

    def packs(self) -> set[Path]:
        return {path for path in (self.folder / "data").rglob("*") if path.is_file() and re.fullmatch(r"[0-9a-f]{64}", path.name)}

    def locks(self) -> set[str]:
        return {path.name for path in (self.folder / "locks").glob("*")}


def read_snapshot(cluster: Cluster, id: str) -> Copy:
    """A snapshot's files, where Docker has them."""
    labels = (f"label=labcloud.snapshot={id}", f"label=labcloud.lab={cluster.labcloud.id}")
    names = docker("volume", "ls", "-q", *(word for label in labels for word in ("--filter", label))).split()
    folders = [Path(each) for each in docker("volume", "inspect", "--format", "{{.Mountpoint}}", *names).split()]
    return Copy.read(id, ((str(path), path.read_bytes) for folder in folders for path in folder.rglob("*") if path.is_file()))


def _time(text: str) -> datetime:
    whole, _, rest = text.partition(".")
    zone = re.search(r"(Z|[+-]\d\d:\d\d)$", rest or whole)
    assert zone
    return datetime.fromisoformat(whole.removesuffix(zone[0]) + ("+00:00" if zone[0] == "Z" else zone[0]))


# Commands that are broken off


class Begun:
    """labcloud while it runs: what it has said so far, and the restic that it has started."""

    def __init__(self, labcloud: Labcloud, *argv: str, env: Mapping[str, str] | None = None) -> None:
        self._argv = argv
        self.process = subprocess.Popen(
            (str(PROGRAM), *argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**labcloud.env, **(env or {})},
        )
        self._said: list[bytes] = []
        self._written: list[bytes] = []
        pairs = ((self.process.stderr, self._said), (self.process.stdout, self._written))
        self._threads = [threading.Thread(target=into.extend, args=(pipe,), daemon=True) for pipe, into in pairs if pipe]
        for each in self._threads:
            each.start()

    @property
    def said(self) -> str:
        return b"".join(self._said).decode(errors="replace")

    def restic(self, verb: str) -> int | None:
        """The process number of the restic that it has called for ``verb``."""
        for pid in _children(self.process.pid):
            words = _words(pid)
            if words and words[0].rpartition(b"/")[2] == b"restic" and verb.encode() in words:
                return pid
        return None

    def until(self, what: str, ask: Callable[[], Answer], *, seconds: float = 120) -> Answer:
        """Ask, often, until the answer is true. Fail if the command ends before."""
        end = time.monotonic() + seconds
        while not (answer := ask()):
            assert self.process.poll() is None, f"it ended before: {what}\n{self.end()}"
            assert time.monotonic() < end, f"waited {seconds:g} s for {what}\n{self.said}"
            time.sleep(0.002)
        return answer

    def says(self, text: str) -> None:
        self.until(f"'{text}'", lambda: text in self.said)

    def calls(self, verb: str, repository: Repository) -> int:
        """Wait until restic works on ``verb``: it has opened the repository, and locked it. Returns its process number."""
        before: set[str] = set()
        seen: list[int] = []

        def locked() -> int | None:
            pid = self.restic(verb)
            if pid is None:
                before.clear()
                before.update(repository.locks())
                seen.clear()
                return None
            seen.append(pid)
            return pid if repository.locks() - before else None

        found = self.until(f"restic {verb}", locked)
        assert found
        return found

    def kill(self) -> Done:
        self.process.kill()
        done = self.end()
        assert done.code == -signal.SIGKILL, f"it ended before it was killed: {done}"
        return done

    def end(self, *, expect: int | None = None, seconds: float = 300) -> Done:
        code = self.process.wait(seconds)
        for each in self._threads:
            each.join(10)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()
        done = Done(self._argv, code, b"".join(self._written), b"".join(self._said))
        assert expect is None or code == expect, f"{expect} was expected: {done}"
        return done


def _children(pid: int) -> list[int]:
    try:
        return [int(each) for path in Path(f"/proc/{pid}/task").glob("*/children") for each in path.read_text().split()]
    except OSError:
        return []


def _words(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


# Services, as this machine sees their processes


def daemons(cluster: Cluster, nodes: Collection[str]) -> dict[str, int]:
    """The process numbers, on this machine, of NameNode, ResourceManager and DataNodes: ``NODE/NAME``."""
    found = {}
    for node in nodes:
        for line in docker("top", cluster.container(node), "-ww", "-eo", "pid,args").splitlines()[1:]:
            pid, _, words = line.strip().partition(" ")
            name = re.search(r"\.(NameNode|DataNode|ResourceManager)\b", words)
            if name and "java" in words:
                found[f"{node}/{name[1]}"] = int(pid)
    return found


def stands(pid: int) -> bool:
    """Whether a process stands still by a signal."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("T")
    except OSError:
        return False


def seconds_until_all_go_on(pids: Mapping[str, int], limit: float) -> float:
    """How long it takes until none of the processes stands still. Fail after ``limit`` seconds."""
    began = time.monotonic()
    while still := [name for name, pid in pids.items() if stands(pid)]:
        assert time.monotonic() - began < limit, f"after {limit} s they still stand: {still}"
        time.sleep(0.005)
    return time.monotonic() - began


# A target that can be full, and go away


@dataclass(frozen=True)
class Disk:
    """A file system of its own on a file of this machine. It is attached once: taken away and put back it is the same, whoever still has
    it open."""

    device: str
    folder: Path

    @classmethod
    def make(cls, at: Path, size: int) -> Disk:
        image, folder = at / "image", at / "disk"
        folder.mkdir()
        with image.open("wb") as file:
            file.truncate(size)
        run(("mkfs.ext4", "-q", "-F", "-m", "0", str(image)))
        disk = cls(run(("losetup", "--find", "--show", str(image))).text, folder)
        disk.attach()
        return disk

    def attach(self) -> None:
        run(("mount", self.device, str(self.folder)))

    def detach(self) -> None:
        """Take it away, even from who has files of it open."""
        run(("umount", "--lazy", str(self.folder)))

    def remove(self) -> None:
        if self.folder.is_mount():
            self.detach()
        run(("losetup", "--detach", self.device))

    @property
    def _filler(self) -> Path:
        return self.folder / "filler"

    def fill(self) -> None:
        """Leave no room at all."""
        room = os.statvfs(self.folder)
        with self._filler.open("wb", buffering=0) as file, suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, max(1, room.f_bavail * room.f_frsize - (1 << 20)))
            file.seek(0, os.SEEK_END)
            while file.write(b"x" * 4096):
                pass

    def free(self) -> None:
        self._filler.unlink()


def flip(path: Path) -> None:
    """Change one byte in the middle of a file, and back again if done twice."""
    mode = path.stat().st_mode
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 0x55]))
    path.chmod(mode)


_AHEAD = """
import datetime, time
real = time.time
class Ahead(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(real() + SECONDS, tz)
datetime.datetime = Ahead
time.time = lambda: real() + SECONDS
"""


def ahead(folder: Path, days: float) -> dict[str, str]:
    """The environment in which labcloud sees a clock that is ahead by so much. ``folder`` is for what that takes.

    Python reads this as it starts. (libfaketime cannot: Python 3.11 sleeps by a clock that it breaks.) Times of files stay what they are.
    """
    folder.joinpath("sitecustomize.py").write_text(_AHEAD.replace("SECONDS", str(days * 86400)))
    return {"PYTHONPATH": str(folder)}
