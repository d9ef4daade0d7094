"""Small containers that show what an engine really does, rather than what it says. Knows no Hadoop and no verdict.

Everything made here has the lab's label and `PROBE`, which names the process that made it: what a killed process left is removed by the
next one, or with a tenant's network. Nothing here has a tenant's label, so none of it is taken for a part of a cluster.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from labcloud.errors import EngineError, LabError
from labcloud.providers.docker.containers import LAB, PREFIX
from labcloud.providers.docker.engine import Engine
from labcloud.providers.docker.subnets import POOL, host_routes

if TYPE_CHECKING:
    from docker import APIClient

PROBE: Final = PREFIX + "probe"

LIMIT: Final = 16
"""MiB that the memory probe may take. It asks for four times as much."""

_PATIENCE: Final = 15  # seconds for a container that should end at once
_ABANDONED: Final = 60.0  # seconds after which a probe of a process that cannot be looked at is over for certain
_CLOSING: Final = 5.0
_TRIES: Final = 8
_PROC: Final = Path("/proc")


@dataclass(frozen=True)
class Ended:
    """How a probe's container ended: its exit code, whether the kernel killed it for memory, what it printed."""

    exit_code: int
    out_of_memory: bool
    said: str = ""


@dataclass(frozen=True)
class Resolved:
    """What one container learned of another: the forward and the reverse look-up of its ``name`` and ``address``."""

    name: str
    address: str
    network: str
    ended: Ended


class Probes:
    """Probes of one lab on one engine. Safe for several threads; several processes do not disturb each other."""

    def __init__(self, engine: Engine, lab: str) -> None:
        self._engine = engine
        self._labels = {LAB: lab, PROBE: mark()}
        self._lock = threading.Lock()
        self._containers: list[str] = []
        self._networks: list[str] = []
        self._closed = False

    def memory(self, image: str) -> Ended:
        """Let a container take four times the memory that it may."""
        argv = ["dd", "if=/dev/zero", "of=/dev/null", f"bs={4 * LIMIT}M", "count=1"]
        host = {"NetworkMode": "none", "Memory": LIMIT << 20, "MemorySwap": LIMIT << 20, "LogConfig": {"Type": "none"}}
        with self._engine.api("probe the limit of a container's memory") as api:
            self.sweep(api)
            with self._container(api, f"probe-memory-{secrets.token_hex(4)}", _body(image, argv, host)) as identity:
                api.start(identity)
                return self._ended(api, identity)

    def names(self, image: str) -> Resolved:
        """Let one container look up another one by its name, and by its address."""
        word = secrets.token_hex(4)
        network, name = f"probe-{word}", f"probe-0.{word}.labcloud"
        host = {"NetworkMode": network, "Memory": 32 << 20, "MemorySwap": 32 << 20, "LogConfig": {"Type": "json-file"}}
        with self._engine.api("probe the names of containers") as api:
            self.sweep(api)
            with self._network(api, network), self._container(api, name, _body(image, ["sleep", "60"], host)) as first:
                api.start(first)
                address = str(api.inspect_container(first)["NetworkSettings"]["Networks"][network]["IPAddress"])
                argv = ["getent", "hosts", name, address]
                with self._container(api, f"probe-1.{word}.labcloud", _body(image, argv, host)) as second:
                    api.start(second)
                    return Resolved(name, address, network, self._ended(api, second, read=True))

    def _ended(self, api: APIClient, identity: str, *, read: bool = False) -> Ended:
        api.wait(identity, timeout=_PATIENCE)
        state = api.inspect_container(identity)["State"]
        said = api.logs(identity).decode(errors="replace") if read else ""
        return Ended(int(state["ExitCode"]), bool(state["OOMKilled"]), said)

    @contextmanager
    def _container(self, api: APIClient, name: str, body: Mapping[str, Any]) -> Iterator[str]:
        with self._lock:
            self._check_open()
            identity = str(api.create_container_from_config({**body, "Labels": self._labels}, name)["Id"])
            self._containers.append(identity)
        try:
            yield identity
        finally:
            _remove(lambda: api.remove_container(identity, force=True, v=True))
            self._containers.remove(identity)

    @contextmanager
    def _network(self, api: APIClient, name: str) -> Iterator[None]:
        with self._lock:
            self._check_open()
            self._make_network(api, name)
            self._networks.append(name)
        try:
            yield
        finally:
            _remove(lambda: api.remove_network(name))
            self._networks.remove(name)

    def _make_network(self, api: APIClient, name: str) -> None:
        """At the far end of the pool that tenants' networks are taken from the beginning of; where Docker likes if that is full."""
        from docker.errors import APIError
        from docker.types import IPAMConfig, IPAMPool

        for subnet in _candidates(api):
            config = IPAMConfig(pool_configs=[IPAMPool(subnet=str(subnet))]) if subnet else None
            try:
                api.create_network(name, driver="bridge", ipam=config, labels=self._labels)
            except APIError as exc:
                if "overlap" not in str(exc):
                    raise
            else:
                return
        raise EngineError("could not make a network to probe names in", resolution="docker network prune")

    def _check_open(self) -> None:
        if self._closed:
            raise EngineError("the command ended before the probe")

    def sweep(self, api: APIClient) -> None:
        """Remove what processes of this lab left that are no more."""
        mine = {"label": [f"{LAB}={self._labels[LAB]}", PROBE]}
        for each in api.containers(all=True, filters=mine):
            if abandoned(each["Labels"][PROBE], time.time() - float(each["Created"])):
                _remove(lambda each=each: api.remove_container(each["Id"], force=True, v=True))
        for each in api.networks(filters=mine):
            if abandoned(each["Labels"][PROBE], time.time() - _seconds(each["Created"])):
                _remove(lambda each=each: api.remove_network(each["Id"]))

    def close(self) -> None:
        """Remove what is there still of probes that nobody waits for any more; begin no other."""
        self._closed = True
        if not self._lock.acquire(timeout=_CLOSING):  # an engine that hangs keeps nobody; the next probe sweeps
            return
        containers, networks = tuple(self._containers), tuple(self._networks)
        self._lock.release()
        if not containers and not networks:
            return
        with suppress(LabError), self._engine.api("remove what was probed with") as api:
            for identity in containers:
                _remove(lambda identity=identity: api.remove_container(identity, force=True, v=True))
            for name in networks:
                _remove(lambda name=name: api.remove_network(name))


def pick_image(images: Sequence[Mapping[str, Any]], preferred: str = "") -> str:
    """The image to probe with: ``preferred`` if it is there, else the smallest; empty if there is none."""
    tagged = [each for each in images if any(not tag.startswith("<none>") for tag in each.get("RepoTags") or ())]
    if any(preferred in each["RepoTags"] for each in tagged):
        return preferred
    return str(min(tagged, key=lambda each: each["Size"])["Id"]) if tagged else ""


def mark(proc: Path = _PROC) -> str:
    """This process, so that another one can tell whether it lives still: namespace of process ids, id, time of its start."""
    return f"{_namespace(proc)}.{os.getpid()}.{_start_of(proc, 'self')}"


def abandoned(label: str, age: float, proc: Path = _PROC) -> bool:
    """Whether the process that ``label`` marks has ended. One of another namespace cannot be seen: ``age`` seconds decide."""
    namespace, _, rest = label.partition(".")
    pid, _, start = rest.partition(".")
    if namespace != _namespace(proc):
        return age > _ABANDONED
    return _start_of(proc, pid) != start


def _namespace(proc: Path) -> str:
    return str((proc / "self/ns/pid").stat().st_ino)


def _start_of(proc: Path, pid: str) -> str:
    """When a process began, in the kernel's ticks; empty if there is none. The program's name, in brackets, may hold anything."""
    try:
        text = (proc / pid / "stat").read_text()
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[19]


def _body(image: str, argv: Sequence[str], host: Mapping[str, Any]) -> dict[str, Any]:
    return {"Image": image, "Entrypoint": list(argv), "Cmd": [], "HostConfig": dict(host)}


def _candidates(api: APIClient) -> list[IPv4Network | None]:
    taken = [*host_routes()]
    for each in api.networks():
        taken += [IPv4Network(config["Subnet"]) for config in each["IPAM"].get("Config") or () if "." in config.get("Subnet", "")]
    *_, last = POOL.subnets(new_prefix=22)
    free = [each for each in last.subnets(new_prefix=29) if not any(each.overlaps(other) for other in taken)]
    return [*secrets.SystemRandom().sample(free, min(_TRIES, len(free))), None]


def _remove(remove: Any) -> None:
    """Remove what may be gone already, or be removed by somebody else just now."""
    from docker.errors import APIError

    try:
        remove()
    except APIError as exc:
        if getattr(exc.response, "status_code", 0) not in (404, 409):
            raise


def _seconds(text: str) -> float:
    """Seconds since 1970 of Docker's time, which has nanoseconds: ``2026-01-02T03:04:05.123456789Z``, or with an offset."""
    return datetime.fromisoformat(text).timestamp()
