"""Probes of HDFS: safe mode, DataNodes, blocks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from labcloud.diagnosis.model import Case, Results
from labcloud.diagnosis.probes.base import Probe
from labcloud.diagnosis.subject import Subject
from labcloud.errors import EngineError, LabError
from labcloud.model import NodeRef
from labcloud.providers.base import Command

_STALE: Final = 15
_STARTING: Final = 20
_MOST_BLOCKS: Final = 200
_FSCK: Final = "/fsck?ugi=hdfs&path=%2F&listcorruptfileblocks=1"
_CORRUPT: Final = re.compile(r"^(blk_-?\d+)\s+(/.*)$", re.MULTILINE)
_REFUSALS: Final = (
    ("denied", re.compile(r"DisallowedDatanodeException|Datanode denied communication|UnregisteredNodeException")),
    ("namenode-address-wrong", re.compile(r"Problem connecting to server|UnknownHostException|NoRouteToHost|Retrying connect to server")),
    ("storage-unusable", re.compile(r"DiskErrorException|Incompatible clusterIDs|Failed to add storage|InconsistentFSStateException")),
)
# What FSNamesystem's safe mode says of itself (SafeModeInfo.getTurnOffTip, BlockManagerSafeMode.getSafeModeTip).
_SAFE_MODE: Final = (
    ("safe-mode-low-resources", re.compile(r"Resources are low")),
    ("safe-mode-manual", re.compile(r"turned on manually")),
    ("safe-mode-blocks", re.compile(r"reported blocks (?P<there>\d+) (?:needs|has not reached).*?(?P<short>\d+)? ?blocks", re.DOTALL)),
    ("safe-mode-datanodes", re.compile(r"number of live datanodes (?P<there>\d+) needs an additional (?P<short>\d+)")),
)


def _namenode(subject: Subject) -> Results:
    try:
        datanodes = subject.datanodes()
    except EngineError as exc:
        return {"namenode-silent": [{"said": exc.brief}]}
    said = datanodes.safe_mode
    if not said:
        return {}
    kinds = {name: found for name, rule in _SAFE_MODE if (found := rule.search(said))}
    first = next(iter(kinds), "safe-mode-other")
    return {"safe-mode": [{"said": said}], first: [{"said": said, **_numbers(kinds.get(first))}]}


def _numbers(found: re.Match[str] | None) -> Case:
    groups = found.groupdict() if found else {}
    return {"there": groups.get("there") or "", "short": groups.get("short") or ""}


def _datanodes(subject: Subject) -> Results:
    known, attached = subject.datanodes(), _attached(subject)
    results: dict[str, list[Case]] = {}
    for ref in subject.declared("datanode"):
        node = known.live.get(ref.name) or known.dead.get(ref.name)
        case = {"node": ref.name}
        if node is not None and node.state != "In Service":
            results.setdefault("datanode-excluded", []).append({**case, "state": node.state})
        elif ref.name not in known.live and ref in attached:
            results.setdefault("datanode-absent", []).append(case)
        elif node is not None and ref in attached and node.contact > _STALE:
            results.setdefault("datanode-stale", []).append({**case, "seconds": str(node.contact)})
        if node is not None and node.failed_volumes:
            folders = ", ".join(node.failed_folders) or f"{node.failed_volumes} of its folders"
            results.setdefault("volume-failed", []).append({**case, "folders": folders})
    results["leaving"] = [{"node": name, "blocks": str(left)} for name, left in known.leaving.items()]
    return results


def _attached(subject: Subject) -> set[NodeRef]:
    inspections = subject.inspections()
    return {ref for ref in subject.running() if ref in inspections and inspections[ref].attached}


def _refusals(subject: Subject) -> Results:
    """Why DataNodes that run are absent, by their logs. Those that do not run, or not yet, are others' business."""
    known, attached = subject.datanodes(), _attached(subject)
    results: dict[str, list[Case]] = {name: [] for name in (*(name for name, _ in _REFUSALS), "unexplained-absence")}
    for ref, facts in subject.facts().items():
        service = facts.service("datanode")
        runs = service.up and service.state != "T" and service.seconds >= _STARTING
        if ref in subject.declared("datanode") and ref in attached and ref.name not in known.live and runs:
            lines = [*service.log, *service.out]
            found = ((name, line) for name, rule in _REFUSALS for line in reversed(lines) if rule.search(line))
            name, line = next(found, ("unexplained-absence", lines[-1] if lines else "its log says nothing"))
            results[name].append({"node": ref.name, "said": line[:250]})
    return results


def _identity(subject: Subject) -> Results:
    """Folders of HDFS that carry another cluster's id than the one that the cluster was made with."""
    ours = f"CID-{subject.cluster.id}"
    foreign: dict[str, list[Case]] = {"wrong-cluster": [], "namenode-wrong-cluster": []}
    for ref, facts in subject.facts().items():
        for file, theirs in facts.identities.items():
            if theirs != ours:
                name = "namenode-wrong-cluster" if "/hdfs/name/" in file else "wrong-cluster"
                foreign[name].append({"node": ref.name, "file": file, "theirs": theirs, "ours": ours})
    return foreign


def _blocks(subject: Subject) -> Results:
    """Blocks that HDFS misses, and block files that are gone from a disk before HDFS noticed it."""
    bean = subject.bean("namenode", "NameNodeInfo")
    missing = int(bean.get("NumberOfMissingBlocks", 0))
    facts, known = subject.facts(), subject.datanodes()
    lost: list[Case] = []
    for ref in subject.declared("datanode"):
        node = known.live.get(ref.name)
        if node is not None and ref in facts and facts[ref].blocks < node.blocks and ref.name in known.fresh:
            lost.append({"node": ref.name, "lost": str(node.blocks - facts[ref].blocks), "blocks": str(node.blocks)})
    corrupt = int(subject.bean("namenode", "FSNamesystem").get("CorruptBlocks", 0))
    return {
        "blocks-missing": [{"count": str(missing)}] if missing else [],
        "blocks-corrupt": [{"count": str(corrupt)}] if corrupt else [],
        "block-files-gone": lost,
    }


def _missing(subject: Subject) -> Results:
    """Where the replicas of missing blocks are, or were: each block is looked for on the disk of every node that runs."""
    text = subject.hadoop.text("namenode", _FSCK).decode(errors="replace")
    files = dict(_CORRUPT.findall(text)[:_MOST_BLOCKS])
    if not files:
        return {}
    places = _places(subject, files)
    down = [ref.name for ref in subject.declared("datanode") if ref.name not in subject.datanodes().live]
    results: dict[str, list[Case]] = {"replicas-corrupt": [], "replicas-absent": [], "replicas-gone": []}
    for block, file in files.items():
        case = {"file": file, "block": block}
        if places.get(block):
            results["replicas-corrupt"].append({**case, "node": ", ".join(places[block])})
        elif down:
            results["replicas-absent"].append({**case, "node": ", ".join(down)})
        else:
            results["replicas-gone"].append(case)
    return results


def _places(subject: Subject, blocks: Iterable[str]) -> dict[str, list[str]]:
    """The nodes that have a file of each block."""
    names = [word for block in blocks for word in ("-o", "-name", block)][1:]
    command = Command(("find", "/data", "-type", "f", "(", *names, ")"))
    found: dict[str, list[str]] = {}
    live = subject.datanodes().live
    for ref in subject.running():
        if ref in subject.declared("datanode") and ref.name in live:
            for block in _found_on(subject, ref, command):
                found.setdefault(block, []).append(ref.name)
    return found


def _found_on(subject: Subject, ref: NodeRef, command: Command) -> Iterator[str]:
    try:
        output = subject.provider.execute(ref, command).stdout.decode(errors="replace")
    except LabError:
        return
    yield from dict.fromkeys(line.rpartition("/")[2] for line in output.splitlines())


def _repair(subject: Subject) -> Results:
    """What HDFS does besides its work: copies that it makes, nodes that it empties."""
    bean = subject.bean("namenode", "FSNamesystem")
    waiting = int(bean.get("UnderReplicatedBlocks", bean.get("LowRedundancyBlocks", 0)))
    busy = int(bean.get("PendingReplicationBlocks", bean.get("PendingReconstructionBlocks", 0)))
    return {"re-replicating": [{"blocks": str(waiting + busy)}] if waiting + busy else []}


_SAID: Final = ("said", "there", "short")
_BLOCK: Final = ("file", "block", "node")

PROBES: Final = (
    Probe(
        "namenode",
        {"namenode-silent": ("said",), "safe-mode": ("said",), **{name: _SAID for name, _ in _SAFE_MODE}, "safe-mode-other": _SAID},
        _namenode,
    ),
    Probe(
        "datanodes",
        {
            "datanode-absent": ("node",), "datanode-excluded": ("node", "state"), "datanode-stale": ("node", "seconds"),
            "volume-failed": ("node", "folders"), "leaving": ("node", "blocks"),
        },
        _datanodes,
    ),
    Probe(
        "identity",
        dict.fromkeys(("wrong-cluster", "namenode-wrong-cluster"), ("node", "file", "theirs", "ours")),
        _identity,
    ),
    Probe("refusals", dict.fromkeys((*(name for name, _ in _REFUSALS), "unexplained-absence"), ("node", "said")), _refusals),
    Probe("blocks", {"blocks-missing": ("count",), "blocks-corrupt": ("count",), "block-files-gone": ("node", "lost", "blocks")}, _blocks),
    Probe("missing", {"replicas-corrupt": _BLOCK, "replicas-absent": _BLOCK, "replicas-gone": ("file", "block")}, _missing),
    Probe("repair", {"re-replicating": ("blocks",)}, _repair),
)  # fmt: skip
