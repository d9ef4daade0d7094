"""Whether the machine can carry it: memory, processors, kernel settings that daemons need.

What is read from the kernel comes by `labcloud.preflight.kernel`; what it means is judged here, in pure functions of figures. An engine on
another machine is asked for its capacity only: the kernel here says nothing of that one's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from labcloud.model import Cluster, NodeGroup, Wanted, committed_memory
from labcloud.model.checks import Capacity, Check, Finding, Severity, Subject, ask_again, failed, passed, skipped, warned
from labcloud.preflight import growth, kernel

CPU_OVERCOMMIT: Final = 16.0
"""Nova's ``cpu_allocation_ratio``: processors are shared by the moment, and too many of them make things slow, not wrong."""

START_MEMORY: Final = 320
"""MiB that a node has in use when its daemons are up, a fifth more than measured (Hadoop 3.4's master 423, each of two workers 193).

It does not grow with the node's memory, for the daemons' first heaps do not (``first_heap`` of the profiles).
"""

START_TASKS: Final = 250
"""Threads of a node when its daemons are up (measured: 243 on a master, 135 on a worker)."""

_LEAST_FILES: Final = 1024
_FEW_FILES: Final = 4096
_MAPS: Final = 65530
_SWAPPINESS: Final = 10
_FULL: Final = 0.8

_ENGINE: Final = "engine.version"


def judge_commitment(before: int, after: int, capacity: Capacity, ratio: float, relief: str) -> Finding:
    """``before`` and ``after`` are MiB that running nodes may take; ``relief`` is the command that makes room."""
    limit = round(capacity.memory * ratio)
    figures = {"committed_mib": before, "after_mib": after, "machine_mib": capacity.memory, "overcommit": ratio, "limit_mib": limit}
    share = f"{after} MiB promised to nodes, {limit} MiB may be ({capacity.memory} MiB × {ratio:g})"
    if after <= limit:
        return passed(share, **figures)
    if after <= before:  # a node is healed: nothing is promised that was not
        return warned(f"{share}; this command promises no more than before", relief, **figures)
    return failed(share, relief, **figures)


def judge_available(memory: kernel.Memory, nodes: int, relief: str) -> Finding:
    """Whether ``nodes`` more can start now, in what the kernel says can be had without swapping."""
    need = nodes * START_MEMORY
    figures = {"available_mib": memory.available, "total_mib": memory.total, "new_nodes": nodes, "needed_at_start_mib": need}
    if nodes and memory.available < need:
        return failed(f"{memory.available} MiB are free now; {nodes} nodes need {need} MiB to start", relief, **figures)
    return passed(f"{memory.available} of {memory.total} MiB are free now" + (f", {need} MiB are needed" if need else ""), **figures)


def relief(subject: Subject, missing: int, cost: Callable[[NodeGroup], int]) -> str:
    """The command that makes ``missing`` MiB free: the fewest other clusters to stop, else so many nodes less; empty if nothing does.

    ``cost`` is what a node of a group takes, in MiB.
    """

    def gain(cluster: Cluster) -> int:
        return sum(group.count * cost(group) for group in cluster.groups)

    freed, chosen = 0, []
    for each in sorted(growth.others_running(subject), key=lambda each: (-gain(each), each.ref)):
        if freed < missing:
            freed += gain(each)
            chosen.append(f"labcloud stop {each.ref}")
    if freed >= missing and chosen:
        return " && ".join(chosen)
    return _smaller(subject, missing, cost)


def _smaller(subject: Subject, missing: int, cost: Callable[[NodeGroup], int]) -> str:
    cluster, there = subject.cluster, subject.there
    if cluster is None or (there is not None and there.state is Wanted.STOPPED):
        return ""
    group = cluster.groups[-1]
    count = group.count - -(-missing // cost(group))
    if count < 1 or len(cluster.groups) == 1:
        return ""
    return (
        f"labcloud scale {cluster.ref} --workers {count}" if there and there.state is Wanted.RUNNING else ask_again(cluster, workers=count)
    )


def _memory(subject: Subject) -> Finding:
    capacity, ratio = subject.capacity(), growth.OVERCOMMIT.value()
    before, after = committed_memory(growth.declared(subject)), committed_memory(growth.wanted(subject))
    missing = after - round(capacity.memory * ratio)
    enough = math.ceil(10 * after / capacity.memory) / 10
    fix = relief(subject, missing, lambda group: group.memory) or f"export {growth.OVERCOMMIT.name}={enough:g}"
    return judge_commitment(before, after, capacity, ratio, fix)


def _free_memory(subject: Subject) -> Finding:
    memory, nodes = kernel.memory(), growth.count_new_nodes(subject)
    missing = nodes * START_MEMORY - memory.available
    return judge_available(memory, nodes, relief(subject, missing, lambda _: START_MEMORY) or "ps -eo pid,rss,args --sort=-rss | head")


def judge_cpus(wanted: float, largest: tuple[str, float], capacity: Capacity, fix: str) -> Finding:
    """``wanted`` cores of all nodes; ``largest`` are a group's name and cores, the most that one node asks for; ``fix`` asks for less."""
    name, most = largest
    figures = {"committed_cores": wanted, "machine_cores": capacity.cpus, "largest_node_cores": most}
    if most > capacity.cpus:
        return failed(f"a {name} asks for {most:g} cores, the machine has {capacity.cpus:g}: the engine refuses that", fix, **figures)
    if wanted > capacity.cpus * CPU_OVERCOMMIT:
        summary = f"{wanted:g} cores promised to nodes on a machine of {capacity.cpus:g}: more than {CPU_OVERCOMMIT:g} times as many"
        return warned(summary, "labcloud list", **figures)
    return passed(f"{wanted:g} cores promised to nodes, the machine has {capacity.cpus:g}", **figures)


def _cpus(subject: Subject) -> Finding:
    running = [each for each in growth.wanted(subject) if each.state is Wanted.RUNNING]
    wanted = sum(group.count * group.cpus for each in running for group in each.groups)
    groups = [group for each in growth.asked(subject) for group in each.groups]
    most = max(((group.name, group.cpus) for group in groups), key=lambda each: each[1], default=("node", 0.0))
    capacity = subject.capacity()
    fix = ask_again(subject.cluster, cpus=f"{capacity.cpus:g}") if subject.cluster else "labcloud list"
    return judge_cpus(wanted, most, capacity, fix)


def judge_open_files(limit: kernel.FileLimit) -> Finding:
    """A DataNode has up to 4096 transfer threads (``dfs.datanode.max.transfer.threads``), each with a file or two open."""
    figures = {"limit": limit.hard, "holder": limit.holder, "system_open": limit.used, "system_limit": limit.system}
    fix = f"prlimit --pid {limit.pid} --nofile=65536:65536"
    if limit.used > limit.system * 0.9:
        most = max(2 * limit.system, 1_000_000)
        return failed(f"{limit.used} of {limit.system} files of the whole machine are open", f"sysctl -w fs.file-max={most}", **figures)
    if limit.hard < _LEAST_FILES:
        return failed(f"a process in a container may open {limit.hard} files; a daemon needs {_LEAST_FILES}", fix, **figures)
    if limit.hard < _FEW_FILES:
        return warned(f"a process in a container may open {limit.hard} files; a busy DataNode wants {_FEW_FILES}", fix, **figures)
    return passed(f"a process in a container may open {limit.hard} files", **figures)


def judge_maps(most: int) -> Finding:
    """Hadoop's daemons have some 400 mappings (measured: 220 to 389); what needs more is Lucene, as in Solr and Elasticsearch."""
    if most < _MAPS:
        return warned(
            f"a process may map {most} areas; the kernel's own default is {_MAPS}",
            f"sysctl -w vm.max_map_count={_MAPS}",
            max_map_count=most,
        )
    return passed(f"a process may map {most} areas; Hadoop's daemons need some 400", max_map_count=most)


def judge_swappiness(swappiness: int, memory: kernel.Memory) -> Finding:
    figures = {"swappiness": swappiness, "swap_mib": memory.swap}
    if memory.swap == 0:
        return passed("there is no swap", **figures)
    if swappiness > _SWAPPINESS:
        return warned(f"swappiness is {swappiness}, with {memory.swap} MiB of swap", "sysctl -w vm.swappiness=1", **figures)
    return passed(f"swappiness is {swappiness}", **figures)


def judge_huge_pages(mode: str) -> Finding:
    if mode == "always":
        fix = "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"
        return warned("transparent huge pages are given to every process", fix, mode=mode)
    return passed(f"transparent huge pages: {mode or 'none in this kernel'}", mode=mode)


def judge_processes(tasks: kernel.Tasks, nodes: int) -> Finding:
    need = nodes * START_TASKS
    most = min(tasks.pid_max, tasks.threads_max)
    figures = {"tasks": tasks.running, "pid_max": tasks.pid_max, "threads_max": tasks.threads_max, "needed_at_start": need}
    name = "kernel.pid_max" if tasks.pid_max <= tasks.threads_max else "kernel.threads-max"
    fix = f"sysctl -w {name}={min(4194304, max(131072, 4 * (tasks.running + need)))}"
    summary = f"{tasks.running} of {most} processes and threads are there, {need} will come"
    if tasks.running + need > most:
        return failed(summary, fix, **figures)
    if tasks.running + need > most * _FULL:
        return warned(summary, fix, **figures)
    return passed(summary, **figures)


def judge_forwarding(forwards: bool) -> Finding:
    if not forwards:
        return warned(
            "the kernel forwards no packets: nodes reach each other, and nothing else", "sysctl -w net.ipv4.ip_forward=1", ip_forward=0
        )
    return passed("the kernel forwards packets", ip_forward=1)


def _here(run: Callable[[Subject], Finding]) -> Callable[[Subject], Finding]:
    """For what the kernel of this machine says: only where the engine is on it."""

    def only_here(subject: Subject) -> Finding:
        if not subject.capacity().folders:
            return skipped(f"the nodes of {subject.provider} are not on this machine")
        return run(subject)

    return only_here


_ADVICE: Final = Severity.ADVISORY

_WHY: Final = {
    "memory": "nodes that were promised more than there is are killed by the kernel when they take it",
    "free-memory": "a node that finds no memory at its start is killed, or makes another one be killed",
    "cpu": "an engine refuses a node with more cores than its machine has; far too many promised ones make all slow",
    "open-files": "a daemon that may open no more files loses blocks and connections",
    "max-map-count": "a JVM that may map no more memory ends",
    "swappiness": "a JVM that was swapped out stands still for seconds when it collects garbage",
    "transparent-huge-pages": "making room for huge pages takes processor time from Hadoop's daemons",
    "processes": "a JVM that can start no thread ends",
    "ip-forward": "without it no node reaches a machine outside its tenant's network",
}


def _check(name: str, run: Callable[[Subject], Finding], severity: Severity = Severity.BLOCKING) -> Check:
    return Check(f"host.{name}", _WHY[name], run, severity, machine=True, needs=_ENGINE)


CHECKS: Final[tuple[Check, ...]] = (
    _check("memory", _memory),
    _check("cpu", _cpus),
    _check("free-memory", _here(_free_memory)),
    _check("open-files", _here(lambda _: judge_open_files(kernel.file_limit()))),
    _check("processes", _here(lambda subject: judge_processes(kernel.tasks(), growth.count_new_nodes(subject)))),
    _check("max-map-count", _here(lambda _: judge_maps(kernel.number("vm/max_map_count"))), _ADVICE),
    _check("swappiness", _here(lambda _: judge_swappiness(kernel.number("vm/swappiness"), kernel.memory())), _ADVICE),
    _check("transparent-huge-pages", _here(lambda _: judge_huge_pages(kernel.huge_pages())), _ADVICE),
    _check("ip-forward", _here(lambda _: judge_forwarding(kernel.number("net/ipv4/ip_forward") != 0)), _ADVICE),
)
