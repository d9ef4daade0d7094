"""What a preflight check is, what it is asked about, and what it answers. Pure.

A check looks at one thing and answers with a `Finding`. Checks come from three places: `labcloud.preflight` (the machine, the tenant, the
profile), each provider (`Provider.checks`), and other packages by the entry point ``labcloud.checks``.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from labcloud.model.cluster import Cluster, NodeGroup
from labcloud.model.protection import BackupPolicy
from labcloud.model.sizes import format_memory, parse_gigabytes
from labcloud.model.storage import NO_CLASSES, Classes, format_volumes
from labcloud.model.tenant import Tenant


class Verdict(StrEnum):
    """What a check found. ``SKIP``: it could not, or need not, be asked here; its summary says why."""

    PASS = "pass"  # noqa: S105 - not a password
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


class Severity(StrEnum):
    """What a failure means: ``BLOCKING`` stops what was asked for, ``ADVISORY`` becomes a warning."""

    BLOCKING = "blocking"
    ADVISORY = "advisory"


@dataclass(frozen=True)
class Finding:
    """An answer: one sentence with figures (``summary``), what was measured (``evidence``, plain data with the unit in the key, as
    ``free_mib``), and the exact command that mends it (``fix``; empty where nothing is wrong)."""

    verdict: Verdict
    summary: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    fix: str = ""


@dataclass(frozen=True)
class Capacity:
    """What an engine can make nodes of: ``memory`` MiB and ``cpus`` of the whole machine, and by their purpose the folders of *this*
    machine in which it keeps data (``{"images and volumes": /var/lib/docker}``; none for an engine elsewhere)."""

    memory: int
    cpus: float
    folders: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageNeed:
    """What a profile needs of its image: its ``name``, the ``java`` release and the ``stack`` (``hadoop-2.7.7``) in it.

    ``supported_java`` are the releases that the stack runs on; empty if nobody says so.
    """

    name: str
    java: int
    stack: str
    supported_java: tuple[int, ...] = ()


def none_built(name: str) -> str:
    """The answer of `Subject.built` where no engine was asked."""
    del name
    return ""


def unprotected(cluster: Cluster) -> BackupPolicy:
    """The answer of `Subject.policy` where no lab was asked."""
    del cluster
    return BackupPolicy(target="", enabled=False)


@dataclass(frozen=True)
class Subject:
    """What is asked whether it may succeed.

    ``home`` is the lab's folder. ``cluster`` is what is wanted and ``there`` what was declared before, if anything was; None for both
    asks for the machine alone. ``declared`` are all clusters of the lab as they are declared, ``there`` included; ``alongside`` those
    that the same command asks for besides. ``capacity`` asks the engine, and raises EngineError if it does not answer.
    ``built`` gives the reference of the newest image of a name, empty if there is none. ``storage`` are the lab's storage classes.
    ``policy`` tells how a cluster is protected as soon as it is declared.
    """

    home: Path
    provider: str
    capacity: Callable[[], Capacity]
    declared: tuple[Cluster, ...] = ()
    cluster: Cluster | None = None
    there: Cluster | None = None
    alongside: tuple[Cluster, ...] = ()
    tenant: Tenant | None = None
    image: ImageNeed | None = None
    minimum_memory: Mapping[str, int] = field(default_factory=dict)
    built: Callable[[str], str] = none_built
    storage: Classes = field(default_factory=lambda: NO_CLASSES)
    policy: Callable[[Cluster], BackupPolicy] = unprotected

    @property
    def wanted(self) -> tuple[Cluster, ...]:
        """All clusters that shall be declared after this command."""
        asked = {each.ref: each for each in (*self.alongside, *((self.cluster,) if self.cluster else ()))}
        return (*(each for each in self.declared if each.ref not in asked), *asked.values())


@dataclass(frozen=True)
class Check:
    """One entry of the checklist.

    ``id`` is stable and dotted, family first (``host.memory``); ``why`` says what goes wrong otherwise. ``machine`` checks look at
    the machine or the engine, and are asked once a command, also by ``preflight --host``; the others need ``Subject.cluster``.
    ``keeps`` is for how many seconds a pass may be believed by ``create`` (0: it is always asked anew): for the whole machine, or, if
    the check is not the machine's, for what is made of the same image. ``needs`` is the id of a
    check without whose pass this one makes no sense. What is ``firm`` cannot be passed over.
    """

    id: str
    why: str
    run: Callable[[Subject], Finding]
    severity: Severity = Severity.BLOCKING
    machine: bool = False
    keeps: float = 0.0
    needs: str = ""
    firm: bool = False


def passed(summary: str, **evidence: Any) -> Finding:
    return Finding(Verdict.PASS, summary, evidence)


def warned(summary: str, fix: str, **evidence: Any) -> Finding:
    return Finding(Verdict.WARN, summary, evidence, fix)


def failed(summary: str, fix: str, **evidence: Any) -> Finding:
    return Finding(Verdict.FAIL, summary, evidence, fix)


def skipped(reason: str, **evidence: Any) -> Finding:
    return Finding(Verdict.SKIP, reason, evidence)


def ask_again(cluster: Cluster, publish: Mapping[str, int] | None = None, **options: object) -> str:
    """The command that asks for the same cluster with other ``options`` of create (``volume_size="20g"``), or ports: a fix.

    What every node has alike is said once, and what groups have of their own for each of them, lest the tenant's or the profile's
    default take its place. A ``volume_size`` is the most that a volume shall have: smaller ones stay as they are.
    """
    most = options.pop("volume_size", None)
    own = {each.name: _described(each, parse_gigabytes(str(most)) if most else None) for each in cluster.groups}
    said: dict[str, object] = {"name": cluster.ref.name}
    if len(cluster.groups) > 1:
        said["workers"] = cluster.groups[-1].count
    for name in ("memory", "cpus", "volume_size"):
        values = {facts.get(name) for facts in own.values()}
        if len(values) == 1 and None not in values:
            said[name] = next(iter(values))
        if name in said or name in options:
            own = {group: {key: value for key, value in facts.items() if key != name} for group, facts in own.items()}
    groups = {name: ",".join(f"{key.replace('_', '-')}={value}" for key, value in facts.items()) for name, facts in own.items()}
    pairs = [("group", f"{name}:{facts}") for name, facts in groups.items() if facts]
    pairs += [("publish", f"{service}={port}") for service, port in (publish or cluster.publish).items()]
    pairs += [("set", f"{key}={value}") for key, value in cluster.configuration.settings.items()]
    pairs += [("dataset", f"{name}@{number}" if number else name) for name, number in cluster.datasets.items()]
    words = [word for name, value in (*(said | options).items(), *pairs) for word in (f"--{name.replace('_', '-')}", str(value))]
    return shlex.join(["labcloud", "create", cluster.profile, "--tenant", cluster.ref.tenant, *words])


def _described(group: NodeGroup, most: int | None) -> dict[str, str]:
    """What a group is like, as create takes it; of one volume of the default class the size is all that there is to say."""
    limits = {"memory": format_memory(group.memory), "cpus": f"{group.cpus:g}"}
    volumes = [replace(each, size=min(each.size, most or each.size)) for each in group.volumes]
    if len(volumes) == 1 and not volumes[0].storage:
        return limits | {"volume_size": f"{volumes[0].size}g"}
    return limits | {"volumes": format_volumes(volumes)}
