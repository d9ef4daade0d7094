"""Whether the disks can hold it, and are fast enough: the lab's own, and those in which the engine keeps images and volumes.

Two folders on one file system are one disk. An engine that does not answer hides its folders, not the lab's own.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from labcloud.errors import LabError
from labcloud.model import Cluster, NodeGroup
from labcloud.model.checks import Check, Finding, Severity, Subject, Verdict, ask_again, failed, passed, skipped, warned
from labcloud.model.storage import DEFAULT_CLASS, Classes, gibibytes
from labcloud.preflight import growth

START_SPACE: Final = 32
"""MiB that a node writes until it is ready, and a first hour's logs (measured: 2 to 11; images are shared, and there already)."""

START_INODES: Final = 500
"""Files and folders of a node that runs (measured: 67 to 219 in its volume, and those of the container itself)."""

LAB_SPACE: Final = 100
"""MiB for the lab's own files, and what HDFS wants free on the NameNode's disk (``dfs.namenode.resource.du.reserved``)."""

FULL: Final = 0.02
"""Below this share of free space YARN calls a NodeManager unhealthy: profiles set ``max-disk-utilization-per-disk-percentage`` to 98."""

LOW: Final = 0.10

OVERCOMMIT: Final = growth.Setting("LABCLOUD_DISK_OVERCOMMIT", 4.0)
"""How much volumes may be promised, as a multiple of the disk. Cinder's thin pools allow 20 (``max_over_subscription_ratio``); what HDFS
has written stays, so a lab that promised so much would be surprised sooner."""

SLOW: Final = 100.0
"""Milliseconds. etcd asks for a p99 below 10 to be good; HDFS' JournalNodes complain from 1000 on (``WARN_SYNC_MILLIS_THRESHOLD``)."""

_WRITES: Final = 100
_SECONDS: Final = 0.4
_BLOCK: Final = bytes(4096)
_HOUR: Final = 3600.0


@dataclass(frozen=True)
class Disk:
    """A file system: the folders of interest on it by purpose, its free and total MiB, its free and total inodes (0: it has no such
    limit). Free is what everybody may take, as Java's ``getUsableSpace`` and so HDFS and YARN see it."""

    folders: dict[str, Path]
    free: int
    size: int
    free_inodes: int = 0
    inodes: int = 0

    @property
    def holds_nodes(self) -> bool:
        return any(purpose != "lab" for purpose in self.folders)

    def __str__(self) -> str:
        return " and ".join(f"{path} ({purpose})" for purpose, path in self.folders.items())


def disks(folders: dict[str, Path]) -> list[Disk]:
    """The file systems of ``folders``; of the nearest parent of one that is not there yet."""
    found: dict[int, Disk] = {}
    for purpose, folder in folders.items():
        there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
        device = there.stat().st_dev
        if device in found:
            found[device].folders[purpose] = folder
        else:
            facts = os.statvfs(there)
            mib = facts.f_frsize / 2**20
            sizes = round(facts.f_bavail * mib), round(facts.f_blocks * mib)
            found[device] = Disk({purpose: folder}, *sizes, facts.f_favail, facts.f_files)
    return list(found.values())


def folders_of(subject: Subject) -> dict[str, Path]:
    folders = {"lab": subject.home}
    try:
        folders |= dict(subject.capacity().folders)
    except LabError:  # the engine's own checks say so
        return folders
    return folders


def judge_space(disk: Disk, nodes: int) -> Finding:
    """Whether ``nodes`` more can begin on ``disk``."""
    need = LAB_SPACE + (nodes * START_SPACE if disk.holds_nodes else 0)
    floor = max(need, round(disk.size * FULL) if disk.holds_nodes else 0)
    figures = _figures(disk) | {"free_mib": disk.free, "size_mib": disk.size, "needed_mib": need, "floor_mib": floor, "new_nodes": nodes}
    summary = f"{disk.free} of {disk.size} MiB are free at {disk}"
    if disk.free < floor:
        why = f"{need} MiB are needed" if floor == need else f"below {floor} MiB YARN calls its nodes unhealthy"
        return failed(f"{summary}; {why}", _free_space(disk), **figures)
    if disk.free < disk.size * LOW:
        return warned(f"{summary}: less than {LOW:.0%}", _free_space(disk), **figures)
    return passed(summary, **figures)


def judge_inodes(disk: Disk, nodes: int) -> Finding:
    need = nodes * START_INODES if disk.holds_nodes else 100
    figures = _figures(disk) | {"free_inodes": disk.free_inodes, "inodes": disk.inodes, "needed_inodes": need}
    if not disk.inodes:
        return passed(f"the file system of {disk} has as many inodes as it needs", **figures)
    summary = f"{disk.free_inodes} of {disk.inodes} inodes are free at {disk}"
    if disk.free_inodes < need:
        return failed(f"{summary}; {need} are needed", _free_space(disk), **figures)
    if disk.free_inodes < disk.inodes * LOW:
        return warned(f"{summary}: less than {LOW:.0%}", _free_space(disk), **figures)
    return passed(summary, **figures)


def judge_volumes(disk: Disk, clusters: Iterable[Cluster], ratio: float, fix: str) -> Finding:
    """Whether what all data volumes were promised could be kept; ``ratio`` is how far nobody minds, ``fix`` promises less."""
    clusters = tuple(clusters)
    promised = _promised(clusters)
    largest = max((volume.size for each in clusters for group in each.groups for volume in group.volumes), default=0)
    size = disk.size / 1024
    figures = _figures(disk) | {"promised_gib": promised, "size_gib": round(size, 1), "largest_volume_gib": largest, "overcommit": ratio}
    if largest > size:
        return warned(f"one volume is promised {largest} GiB, the disk of {disk} has {size:.0f}", fix, **figures)
    if promised > size * ratio:
        return warned(f"{promised} GiB are promised to volumes, more than {ratio:g} times the {size:.0f} of {disk}", fix, **figures)
    return passed(f"{promised} GiB are promised to volumes, the disk of {disk} has {size:.0f}", **figures)


def judge_latency(disk: Disk, seconds: Sequence[float]) -> Finding:
    """``seconds`` that writes took to reach the disk."""
    if not seconds:
        return skipped(f"{disk} cannot be written to by this user", **_figures(disk))
    ordered = sorted(seconds)
    p99, median = (1000 * ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.99, 0.5))
    figures = _figures(disk) | {"p99_ms": round(p99, 2), "median_ms": round(median, 2), "writes": len(ordered)}
    summary = f"{p99:.1f} ms (p99 of {len(ordered)}) until 4 KiB have reached the disk of {disk}"
    if p99 > SLOW:
        return warned(f"{summary}: a NameNode writes each change so", "iostat -x 1 5", **figures)
    return passed(summary, **figures)


def measure_latency(folder: Path) -> list[float]:
    """Seconds that each of some writes of 4 KiB took to reach the disk. Empty if ``folder`` cannot be written to. Leaves nothing."""
    taken: list[float] = []
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            end = time.monotonic() + _SECONDS
            while len(taken) < _WRITES and (began := time.monotonic()) < end:
                file.write(_BLOCK)
                os.fsync(file.fileno())
                taken.append(time.monotonic() - began)
    except OSError:
        return taken
    return taken


def worst(findings: Iterable[Finding]) -> Finding:
    """One answer of those of several disks: the worst one's, with what was measured on the others."""
    order = [Verdict.FAIL, Verdict.WARN, Verdict.PASS, Verdict.SKIP]
    first, *others = sorted(findings, key=lambda each: order.index(each.verdict))
    more = {"others": [dict(each.evidence) for each in others]} if others else {}
    return Finding(first.verdict, first.summary, {**first.evidence, **more}, first.fix)


def _figures(disk: Disk) -> dict[str, Any]:
    return {"folders": [str(each) for each in disk.folders.values()]}


def _free_space(disk: Disk) -> str:
    if disk.holds_nodes:
        return "labcloud image prune && docker system df"
    return f"du -xh --max-depth=2 {next(iter(disk.folders.values()))} | sort -h | tail"


def _on_each(judge: Callable[[Disk, Subject], Finding], *, nodes_only: bool = False) -> Callable[[Subject], Finding]:
    def run(subject: Subject) -> Finding:
        found = [each for each in disks(folders_of(subject)) if each.holds_nodes or not nodes_only]
        if not found:
            return skipped(f"the volumes of {subject.provider} are not on this machine")
        return worst(judge(each, subject) for each in found)

    return run


def _volumes(disk: Disk, subject: Subject) -> Finding:
    clusters, ratio = kept_here(growth.wanted(subject), subject.storage), OVERCOMMIT.value()
    own = next((each for each in clusters if subject.cluster and each.ref == subject.cluster.ref), None)
    return judge_volumes(disk, clusters, ratio, smaller_volumes(disk, clusters, ratio, own, asked=subject.cluster))


def smaller_volumes(
    disk: Disk, clusters: Iterable[Cluster], ratio: float, cluster: Cluster | None, *, asked: Cluster | None = None
) -> str:  # fmt: skip
    """The command that asks for ``cluster``, one of ``clusters``, with volumes that can be promised; else the setting that allows more.

    ``asked`` is the whole cluster, where ``cluster`` is what of it lies on this disk.
    """
    size, everything = disk.size / 1024, _promised(clusters)
    own = sum(group.count * len(group.volumes) for group in cluster.groups) if cluster else 0
    if cluster and own:
        fits = int(min(size, (size * ratio - everything + _promised([cluster])) / own))
        if fits >= 1:
            return ask_again(asked or cluster, volume_size=f"{fits}g")
    return f"export {OVERCOMMIT.name}={math.ceil(10 * everything / max(size, 1)) / 10:g}"


def _promised(clusters: Iterable[Cluster]) -> int:
    """GiB of all data volumes."""
    return sum(group.count * gibibytes(group.volumes) for each in clusters for group in each.groups)


def kept_here(clusters: Iterable[Cluster], classes: Classes) -> tuple[Cluster, ...]:
    """``clusters`` with those of their volumes only that the engine keeps where it keeps its own."""
    elsewhere = {"" if name == DEFAULT_CLASS else name for name, each in classes.items() if each.path or each.driver}

    def kept(group: NodeGroup) -> NodeGroup:
        return replace(group, volumes=tuple(each for each in group.volumes if each.storage not in elsewhere))

    return tuple(replace(each, groups=tuple(map(kept, each.groups))) for each in clusters)


def _latency(disk: Disk, _: Subject) -> Finding:
    return judge_latency(disk, next((taken for each in disk.folders.values() if (taken := measure_latency(each))), []))


CHECKS: Final[tuple[Check, ...]] = (
    Check(
        "disk.space", "a full disk stops every cluster on it, and what was being written is lost",
        _on_each(lambda disk, subject: judge_space(disk, growth.count_new_nodes(subject))), machine=True,
    ),
    Check(
        "disk.inodes", "a file system without inodes refuses new files, however much space it has",
        _on_each(lambda disk, subject: judge_inodes(disk, growth.count_new_nodes(subject))), machine=True,
    ),
    Check(
        "disk.volumes", "volumes take space as they are filled: what was promised to all cannot be had by all",
        _on_each(_volumes, nodes_only=True), Severity.ADVISORY, machine=True, needs="engine.version",
    ),
    Check(
        "disk.latency", "the NameNode answers a change when it has reached the disk, so a slow disk makes all of HDFS slow",
        _on_each(_latency, nodes_only=True), Severity.ADVISORY, machine=True, keeps=_HOUR, needs="engine.version",
    ),
)  # fmt: skip
