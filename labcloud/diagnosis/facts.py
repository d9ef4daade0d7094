"""A node's facts: what one run of node-facts.sh printed, as data. Pure but for reading that script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

_KIB: Final = 1024
_UNLIMITED: Final = 1 << 60
# How a service ends that was told to: by the supervisor's SIGTERM, or as Java answers it.
_ASKED: Final = frozenset({("signal", "SIGTERM"), ("exitcode", "143")})


@cache
def script() -> bytes:
    return Path(__file__).with_name("node-facts.sh").read_bytes()


@dataclass(frozen=True)
class Memory:
    """Bytes; ``used`` without what the kernel can give back at once. ``limit`` is 0 where there is none. ``refused`` counts how often
    the limit was met, ``kills`` the processes that were killed at it."""

    limit: int = 0
    used: int = 0
    refused: int = 0
    kills: int = 0


@dataclass(frozen=True)
class Disk:
    """A file system, by a folder on it. Sizes in bytes."""

    folder: str
    writable: bool
    size: int
    free: int
    inodes: int
    inodes_free: int

    @property
    def used_percent(self) -> int:
        return 100 - 100 * self.free // self.size if self.size else 0


@dataclass(frozen=True)
class Folder:
    """A folder of a service, whose it should be and whose it is; ``owner`` is empty where it does not exist."""

    path: str
    user: str
    owner: str
    mode: str


@dataclass(frozen=True)
class Death:
    """An end of a service: how many seconds ago, and how (``exitcode 1``, ``signal SIGKILL``)."""

    ago: int
    how: str
    what: str

    @property
    def asked(self) -> bool:
        return (self.how, self.what) in _ASKED

    def __str__(self) -> str:
        return f"exit code {self.what}" if self.how == "exitcode" else f"signal {self.what}"


@dataclass(frozen=True)
class ServiceFacts:
    """A service as its supervisor has it: ``seconds`` is for how long it is up or down; ``state`` is its process' (``T``: stopped by a
    signal), ``log`` what its log has of warnings and errors, ``out`` the end of its output."""

    name: str
    supervised: bool = False
    up: bool = False
    wanted: bool = False
    seconds: int = 0
    state: str = ""
    resident: int = 0
    deaths: tuple[Death, ...] = ()
    folders: tuple[Folder, ...] = ()
    log: tuple[str, ...] = ()
    out: tuple[str, ...] = ()

    def ends(self, within: float) -> tuple[Death, ...]:
        """How it ended in the last seconds without having been told to."""
        return tuple(each for each in self.deaths if each.ago <= within and not each.asked)


@dataclass(frozen=True)
class CpuSample:
    """When, in seconds, and how many of how many periods the processor was withheld in."""

    time: float
    periods: int
    throttled: int


@dataclass(frozen=True)
class Facts:
    """What a node said of itself.

    ``clock`` is seconds since 1970, ``skew`` how many it is ahead of this machine. ``names`` are addresses by host name, empty where it
    does not resolve; ``identities`` the cluster ids that HDFS' folders carry, by file; ``blocks`` is the number of block files;
    ``latency`` microseconds that a small write takes, 0 if it was not measured.
    """

    clock: float = 0.0
    addresses: tuple[str, ...] = ()
    memory: Memory = Memory()
    disks: tuple[Disk, ...] = ()
    services: tuple[ServiceFacts, ...] = ()
    names: dict[str, str] = field(default_factory=dict)
    identities: dict[str, str] = field(default_factory=dict)
    blocks: int = 0
    latency: int = 0
    cpu: tuple[CpuSample, ...] = ()
    skew: float = 0.0

    def service(self, name: str) -> ServiceFacts:
        return next((each for each in self.services if each.name == name), ServiceFacts(name))

    @property
    def throttled_percent(self) -> int:
        """In how many of a hundred periods between the samples the processor was withheld."""
        if len(self.cpu) < 2:
            return 0
        first, last = self.cpu[0], self.cpu[-1]
        return 100 * (last.throttled - first.throttled) // max(last.periods - first.periods, 1)


def parse(text: str) -> Facts:
    """The facts in what the script printed. Rows that are not understood are passed over: a broken node prints what it can."""
    rows: dict[str, list[list[str]]] = {}
    for line in text.splitlines():
        kind, *fields = line.split("\t")
        rows.setdefault(kind, []).append(fields)
    return Facts(
        clock=_float(_first(rows, "clock")),
        addresses=tuple(_first(rows, "address").split()),
        memory=_memory(next(iter(rows.get("memory", [])), [])),
        disks=tuple(_disk(each) for each in rows.get("disk", ()) if len(each) >= 6),
        services=tuple(_service(each, rows) for each in rows.get("service", ()) if each),
        names={each[0]: each[1] if len(each) > 1 else "" for each in rows.get("name", ())},
        identities={each[0]: each[1] for each in rows.get("identity", ()) if len(each) == 2},
        blocks=_int(_first(rows, "blocks")),
        latency=_int(_first(rows, "latency")),
        cpu=tuple(CpuSample(_float(each[0]), _int(each[1]), _int(each[2])) for each in rows.get("cpu", ()) if len(each) == 3),
    )


def _memory(row: Sequence[str]) -> Memory:
    limit, used, cache_, refused, kills = ([_int(each) for each in row] + [0] * 5)[:5]
    return Memory(limit if limit < _UNLIMITED else 0, max(0, used - cache_), refused, kills)


def _disk(row: Sequence[str]) -> Disk:
    size, free, inodes, inodes_free = (_int(each) for each in row[2:6])
    return Disk(row[0], row[1] == "rw", size * _KIB, free * _KIB, inodes, inodes_free)


def _service(row: Sequence[str], rows: dict[str, list[list[str]]]) -> ServiceFacts:
    name = row[0]
    own = {
        kind: [each[1:] for each in rows.get(kind, ()) if each and each[0] == name] for kind in ("death", "process", "folder", "log", "out")
    }
    if len(row) < 5:
        return ServiceFacts(name)
    process = own["process"][0] if own["process"] else ["", "0"]
    return ServiceFacts(
        name=name,
        supervised=True,
        up=row[1] == "true",
        wanted=row[2] == "true",
        seconds=_int(row[4]),
        state=process[0],
        resident=_int(process[1]) * _KIB,
        deaths=tuple(Death(_int(each[0]), each[1], each[2]) for each in own["death"] if len(each) == 3),
        folders=tuple(Folder(*each) for each in own["folder"] if len(each) == 4),
        log=_texts(own["log"]),
        out=_texts(own["out"]),
    )


def _texts(rows: Iterable[Sequence[str]]) -> tuple[str, ...]:
    return tuple(" ".join(each) for each in rows)


def _first(rows: dict[str, list[list[str]]], kind: str) -> str:
    found = rows.get(kind)
    return found[0][0] if found and found[0] else ""


def _int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return 0


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
