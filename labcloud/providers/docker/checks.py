"""What only Docker can say of whether a cluster can be made: the engine, its images, what is taken on it.

Reading is in `facts` and `probes`, judging in `judging` and `occupancy`; here both are put together into checks.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from ipaddress import IPv4Network
from pathlib import Path
from typing import Final

from labcloud.errors import EngineError, LabError
from labcloud.model import Wanted
from labcloud.model.checks import Check, Finding, Severity, Subject, skipped
from labcloud.providers.docker import judging, occupancy
from labcloud.providers.docker.facts import Facts
from labcloud.providers.docker.probes import Probes, pick_image
from labcloud.providers.docker.subnets import host_routes

_HOUR: Final = 3600.0
_REACHABLE: Final = "engine.reachable"
_VERSION: Final = "engine.version"
_PRESENT: Final = "image.present"

_WHY: Final = {
    _REACHABLE: "every node is made and asked by Docker's own interface",
    _VERSION: "labcloud speaks version 1.41 of Docker's interface, and needs what came with Engine 20.10",
    "engine.storage-driver": "every other driver copies an image for each node, or is no longer kept",
    "engine.limits": "without these a create call with limits is refused, or a runaway job takes the whole machine",
    "engine.memory-limits": "a node that may take more than it was given takes it from its neighbours",
    "engine.dns": "Hadoop's daemons know each other by names that must resolve in both directions",
    "clock.skew": "leases and the ages of nodes are reckoned with both clocks",
    _PRESENT: "nodes are made of the image of their profile",
    "image.contents": "another Java or another version in the image than the profile is written for fails in ways nobody understands",
    "names.free": "Docker refuses a second thing of a name; a volume of another lab would be mounted as if it were new",
    "storage.driver": "Docker makes no volume for a driver that it has not",
    "network.subnet": "a tenant's wall is a network of its own, which may overlap no other",
    "network.ports": "a node whose fixed port is taken does not start",
}


def checks(facts: Facts, probes: Probes, lab: str) -> tuple[Check, ...]:
    """The checks of one engine for the lab ``lab``. What ``facts`` has answered once is not asked again."""
    asked = _Asked(facts, probes, lab)
    return (
        _machine(_REACHABLE, asked.reachable, needs=""),
        _machine(_VERSION, lambda _: judging.judge_version(facts.version()), needs=_REACHABLE),
        _machine("engine.storage-driver", lambda _: judging.judge_storage(facts.info().answer, has_daemon_file())),
        _machine("engine.limits", lambda _: judging.judge_limits(facts.info().answer)),
        _machine("engine.memory-limits", asked.memory_limits, keeps=_HOUR),
        _machine("engine.dns", asked.names, keeps=_HOUR),
        _machine("clock.skew", lambda _: judging.judge_clock(facts.info(), judging.kernel_clock()), severity=Severity.ADVISORY),
        _cluster(_PRESENT, asked.image_present),
        _cluster("image.contents", asked.image_contents, needs=_PRESENT),
        _cluster("names.free", asked.names_free),
        _cluster("storage.driver", asked.drivers, severity=Severity.ADVISORY),
        _cluster("network.subnet", asked.subnet),
        _cluster("network.ports", asked.ports),
    )


def _machine(
    id: str, run: Callable[[Subject], Finding], *, needs: str = _VERSION, keeps: float = 0.0, severity: Severity = Severity.BLOCKING
) -> Check:
    return Check(id, _WHY[id], run, severity, machine=True, keeps=keeps, needs=needs)


def _cluster(
    id: str, run: Callable[[Subject], Finding], needs: str = _VERSION, *, severity: Severity = Severity.BLOCKING
) -> Check:  # fmt: skip
    return Check(id, _WHY[id], run, severity, needs=needs)


def has_daemon_file() -> bool:
    """Whether the engine of this machine has a configuration file, which a fix must not overwrite."""
    return Path("/etc/docker/daemon.json").exists()


def address() -> str:
    """The engine's address; a user's name and password in it are nobody's business."""
    text = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    scheme, mark, rest = text.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"


class _Asked:
    """Checks that take more than one answer."""

    def __init__(self, facts: Facts, probes: Probes, lab: str) -> None:
        self._facts = facts
        self._probes = probes
        self._lab = lab

    def reachable(self, _: Subject) -> Finding:
        try:
            return judging.judge_reachable(self._facts.version(), address())
        except LabError as exc:
            return judging.unreachable(exc, judging.look_at_socket(address()))

    def memory_limits(self, subject: Subject) -> Finding:
        image = self._probe_image(subject)
        if not image:
            return skipped("no image is built yet")
        return judging.judge_memory(self._probes.memory(image), self._facts.info().answer)

    def names(self, subject: Subject) -> Finding:
        image = self._probe_image(subject)
        if not image:
            return skipped("no image is built yet")
        return judging.judge_names(self._probes.names(image))

    def _probe_image(self, subject: Subject) -> str:
        return pick_image(self._facts.images(), subject.cluster.image if subject.cluster else "")

    def image_present(self, subject: Subject) -> Finding:
        if subject.image is None or subject.cluster is None:
            return skipped("no image is asked for")
        pinned = subject.cluster.image if subject.there and subject.there.state is not Wanted.DELETED else ""
        return judging.judge_present(subject.image, pinned, self._facts.images())

    def image_contents(self, subject: Subject) -> Finding:
        if subject.image is None or subject.cluster is None:
            return skipped("no image is asked for")
        found = judging.find_image(self._facts.images(), subject.cluster.image or judging.latest(subject.image.name))
        if found is None:
            raise EngineError(f"the image of {subject.image.name} went away", resolution=f"labcloud image build {subject.image.name}")
        return judging.judge_contents(subject.image, found)

    def names_free(self, subject: Subject) -> Finding:
        if subject.cluster is None:
            return skipped("no cluster is asked for")
        return occupancy.judge_names(subject.cluster, self._lab, self._holdings())

    def drivers(self, subject: Subject) -> Finding:
        if subject.cluster is None:
            return skipped("no cluster is asked for")
        return judging.judge_drivers(subject.cluster, subject.storage, self._facts.info().answer)

    def subnet(self, subject: Subject) -> Finding:
        if subject.cluster is None:
            return skipped("no cluster is asked for")
        fixed = subject.tenant.subnet if subject.tenant else ""
        return occupancy.judge_subnet(subject.cluster.ref.tenant, fixed, self._lab, self._holdings(), self._routes())

    def ports(self, subject: Subject) -> Finding:
        if subject.cluster is None:
            return skipped("no cluster is asked for")
        cluster, here = subject.cluster, address().startswith("unix://")
        others = [each for each in subject.wanted if each.provider == cluster.provider and each.state is Wanted.RUNNING]
        listening = occupancy.listeners(cluster.publish.values()) if here else {}
        taken = occupancy.PortsTaken(listening, self._facts.containers(), others)
        return occupancy.judge_ports(cluster, subject.there is not None, self._lab, taken)

    def _holdings(self) -> occupancy.Holdings:
        return occupancy.Holdings(self._facts.containers(), self._facts.networks(), self._facts.volumes())

    def _routes(self) -> list[IPv4Network]:
        return host_routes() if address().startswith("unix://") else []
