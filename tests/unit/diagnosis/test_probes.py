"""Probes and graphs together, on a simulated cluster that something is done to: the very cause is named, and no other."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import pytest

from labcloud.apply.journal import Operation
from labcloud.apply.verbs import Terms
from labcloud.diagnosis.subject import Subject
from labcloud.errors import ConfigError, ConflictError, DeadlineError, EngineError, LabError, NotFoundError, PreflightError, QuotaError
from labcloud.providers.base import NO_NETWORK, NO_ROOM, Inspection, Result
from labcloud.services.hadoop import Hadoop

from .conftest import MASTER, REF, WORKER, Ward


def facts(ward: Ward, **rows: str) -> None:
    """Let every node print healthy facts, and the rows that are given besides; a row that is given replaces its kind."""
    subject = ward.subject()
    command = ("bash", "-s", "--")
    from labcloud.providers.base import Command

    printed = ward.provider.execute(WORKER, Command((*command, "0"))).stdout.decode().splitlines()
    kept = [line for line in printed if line.partition("\t")[0] not in rows]
    assert subject.ref
    ward.provider.answer(command, Result(0, "\n".join([*kept, *filter(None, rows.values())]).encode()))


def inspected(ward: Ward, **changed: Any) -> None:
    ward.provider.inspected(WORKER, Inspection(**({"state": "running", "memory": 2048, "cpus": 2.0} | changed)))


def test_a_healthy_cluster_has_no_fault(ward: Ward) -> None:
    diagnosis = ward.diagnose()
    assert diagnosis.found == ()
    assert diagnosis.unknown == {}
    assert diagnosis.healthy
    assert len(diagnosis.ruled_out) > 60


def test_a_stopped_cluster_is_as_it_shall_be(ward: Ward) -> None:
    ward.clusters.stop(REF, Terms())
    diagnosis = ward.diagnose()
    assert diagnosis.healthy
    assert [each.id for each in diagnosis.notes] == ["cluster.stopped"]


def changed_configuration(ward: Ward) -> None:
    files = dict(ward.subject().blueprint.config)
    files["worker-0/conf/hdfs-site.xml"] += "<!-- by hand -->"
    ward.provider.ensure_config(REF, files)


NODES: dict[str, tuple[Callable[[Ward], object], set[str]]] = {
    "stopped": (lambda ward: ward.provider.stop_node(WORKER), {"node.stopped"}),
    "removed": (lambda ward: ward.provider.delete_node(WORKER), {"node.missing"}),
    "paused": (lambda ward: inspected(ward, state="paused"), {"node.paused"}),
    "suspended by Nova": (lambda ward: inspected(ward, state="PAUSED"), {"node.paused"}),
    "no room": (lambda ward: inspected(ward, state="ERROR", said="No valid host was found.", why=NO_ROOM), {"node.unplaced"}),
    "no port": (lambda ward: inspected(ward, state="ERROR", said="Binding failed", why=NO_NETWORK), {"network.unplugged"}),
    "detached": (lambda ward: inspected(ward, attached=False), {"network.detached"}),
    "less memory": (lambda ward: inspected(ward, memory=512), {"limits.memory-changed"}),
    "fewer cores": (lambda ward: inspected(ward, cpus=0.5), {"limits.cpus-changed"}),
    "no network": (lambda ward: ward.provider._lab.networks.clear(), {"network.missing", "network.detached"}),
    "silent engine": (lambda ward: ward.faults.fail(EngineError("no Docker Engine answers"), name="find"), {"engine.unreachable"}),
    "no configuration": (lambda ward: ward.provider.delete_config(REF), {"configuration.missing"}),
    "another configuration": (changed_configuration, {"configuration.changed"}),
    "mute": (lambda ward: ward.provider.answer(("bash",), Result(126, b"", b"no shell\n")), {"node.mute"}),
    "full": (lambda ward: facts(ward, disk="disk\t/data/0\trw\t100000000\t1000\t100000\t90000"), {"disk.full"}),
    "no inodes": (lambda ward: facts(ward, disk="disk\t/data/0\trw\t100000000\t90000000\t100000\t3"), {"disk.inodes-used-up"}),
    "read-only": (lambda ward: facts(ward, disk="disk\t/data/0\tro\t100000000\t90000000\t100000\t90000"), {"disk.read-only"}),
    "foreign folder": (lambda ward: facts(ward, folder="folder\tdatanode\t/data/0/hdfs/data\thdfs\troot\t700"), {"disk.folder-denied"}),
    "unresolved": (lambda ward: facts(ward, name="name\tmaster-0.c.acme.lab\t"), {"network.names-unresolved"}),
    "clock": (lambda ward: facts(ward, clock="clock\t1000"), {"node.clock-off"}),
    "killed processes": (lambda ward: facts(ward, memory="memory\t2147483648\t1000\t0\t3\t3"), {"memory.process-killed"}),
    "little memory": (lambda ward: facts(ward, memory="memory\t1000000\t999000\t0\t3\t0"), {"memory.short"}),
    "kept down": (lambda ward: facts(ward, service="service\tdatanode\tfalse\tfalse\t0\t30"), {"daemon.kept-down"}),
    "suspended": (lambda ward: facts(ward, process="process\tdatanode\tT\t1000"), {"daemon.suspended"}),
    "unsupervised": (lambda ward: facts(ward, service="service\tdatanode\tmissing"), {"daemon.unsupervised"}),
    "no heap": (lambda ward: facts(ward, out="out\tdatanode\tjava.lang.OutOfMemoryError: Java heap space"), {"daemon.out-of-heap"}),
    "flapping": (
        lambda ward: facts(
            ward, service="service\tdatanode\ttrue\ttrue\t9\t1", death="death\tdatanode\t5\texitcode\t1\ndeath\tdatanode\t2\texitcode\t1",
            out="out\tdatanode\tjava.net.BindException: Address already in use",
        ),
        {"daemon.port-taken"},
    ),
    "another cluster": (
        lambda ward: facts(ward, identity="identity\t/data/0/hdfs/data/current/VERSION\tCID-other"), {"datanode.cluster-id-mismatch"},
    ),
    "throttled": (lambda ward: facts(ward, cpu="cpu\t1\t100\t0\ncpu\t2\t110\t9"), {"slow.processor-withheld"}),
    "slow disk": (lambda ward: facts(ward, latency="latency\t900000"), {"slow.disk"}),
}  # fmt: skip


@pytest.mark.parametrize("name", NODES)
def test_the_very_cause_is_named_and_no_other(ward: Ward, name: str) -> None:
    do, causes = NODES[name]
    do(ward)
    diagnosis = ward.diagnose()
    assert {each.id for each in diagnosis.causes} == causes, diagnosis.unknown
    assert all("{" not in each.verdict for each in diagnosis.found)


# HDFS and YARN, by what their beans say


def beans(monkeypatch: pytest.MonkeyPatch, service: str, bean: str, **changed: Any) -> None:
    original = Subject.beans

    def told(self: Subject, asked: str) -> Mapping[str, Mapping[str, Any]]:
        found = dict(original(self, asked))
        if asked == service:
            found[bean] = {**found.get(bean, {}), **changed}
        return found

    monkeypatch.setattr(Subject, "beans", told)


LOW = "Safe mode is ON. Resources are low on NN. Please add or free up more resources then turn off safe mode manually."
MANUAL = 'Safe mode is ON. It was turned on manually. Use "hdfs dfsadmin -safemode leave" to turn safe mode off.'
BLOCKS = "Safe mode is ON. The reported blocks 3 needs additional 2 blocks to reach the threshold 0.9990 of total blocks 5."
NODES_NEEDED = "Safe mode is ON. The number of live datanodes 1 needs an additional 1 live datanodes to reach the minimum number 2."


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (LOW, "hdfs.namenode-disk-full"),
        (MANUAL, "hdfs.safe-mode-manual"),
        (BLOCKS, "hdfs.blocks-not-reported"),
        (NODES_NEEDED, "hdfs.too-few-datanodes"),
        ("Safe mode is ON. Nobody knows why.", "hdfs.safe-mode"),
    ],
)
def test_safe_mode_says_why(ward: Ward, monkeypatch: pytest.MonkeyPatch, said: str, cause: str) -> None:
    beans(monkeypatch, "namenode", "NameNodeInfo", Safemode=said)
    assert ward.named() == {cause}


def live(*names: str, **facts: Any) -> str:
    well = {"adminState": "In Service", "lastContact": 1, "numBlocks": 0, "volfails": 0}
    return json.dumps({f"{name}.c.acme.lab:50010": well | (facts if name == "worker-0" else {}) for name in names})


@pytest.mark.parametrize(
    ("nodes", "cause"),
    [
        (live("worker-1"), "datanode.not-registered"),
        (live("worker-0", "worker-1", adminState="Decommissioned"), "datanode.excluded"),
        (live("worker-0", "worker-1", volfails=1, failedStorageLocations=["/data/0/hdfs/data"]), "datanode.volume-failed"),
        (live("worker-0", "worker-1", lastContact=25), "datanode.silent"),
        (live("worker-0", "worker-1", numBlocks=7), "hdfs.block-files-gone"),
    ],
)
def test_datanodes_as_the_namenode_sees_them(ward: Ward, monkeypatch: pytest.MonkeyPatch, nodes: str, cause: str) -> None:
    beans(monkeypatch, "namenode", "NameNodeInfo", LiveNodes=nodes)
    assert ward.named() == {cause}


@pytest.mark.parametrize(
    ("places", "dead", "cause"),
    [
        (b"/data/0/hdfs/data/current/BP-1/current/finalized/blk_1073741825\n", "{}", "hdfs.replicas-corrupt"),
        (b"", "{}", "hdfs.replicas-lost"),
    ],
)
def test_missing_blocks_are_looked_for(ward: Ward, monkeypatch: pytest.MonkeyPatch, places: bytes, dead: str, cause: str) -> None:
    beans(monkeypatch, "namenode", "NameNodeInfo", NumberOfMissingBlocks=1, DeadNodes=dead)
    listed = b"The list of corrupt files under path '/' are:\nblk_1073741825\t/user/acme/book\nThe filesystem has 1 CORRUPT files\n"
    monkeypatch.setattr(
        "labcloud.services.hadoop.Hadoop.text", lambda self, service, path, **_: listed if "fsck" in path else _pages(self, service, path)
    )
    ward.provider.answer(("find",), Result(0, places))
    diagnosis = ward.diagnose()
    assert {each.id for each in diagnosis.causes} == {cause}
    assert "/user/acme/book" in diagnosis.causes[0].verdict


def _pages(hadoop: Any, service: str, path: str) -> bytes:
    body: bytes = hadoop._provider.request(MASTER, 1, path).body
    return body


def managers(**changed: Any) -> str:
    well = {"State": "RUNNING", "HealthReport": "", "UsedMemoryMB": 0, "AvailableMemoryMB": 1536}
    return json.dumps([{"HostName": f"worker-{n}.c.acme.lab", **well, **(changed if n == 0 else {})} for n in (0, 1)])


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (managers(State="UNHEALTHY", HealthReport="1/1 local-dirs are bad: /data/0/yarn/local"), "nodemanager.unhealthy"),
        (managers(State="UNHEALTHY", HealthReport="used space above threshold of 98.0%"), "nodemanager.disk-full"),
        (managers(State="LOST"), "nodemanager.not-registered"),
        (managers(HealthReport="Healthy"), "nodemanager.not-registered"),
        (managers(State="DECOMMISSIONED"), "nodemanager.excluded"),
    ],
)
def test_nodemanagers_as_the_resourcemanager_sees_them(ward: Ward, monkeypatch: pytest.MonkeyPatch, said: str, cause: str) -> None:
    beans(monkeypatch, "resourcemanager", "RMNMInfo", LiveNodeManagers=said)
    assert ward.named() == {cause}


QUEUE = "QueueMetrics,q0=root,q1=default"


@pytest.mark.parametrize(
    ("app", "queue", "pending", "cause"),
    [
        ({}, {}, {"PendingContainers": 1, "PendingMB": 4096}, "yarn.request-too-large"),
        ({}, {"numPendingApplications": 1, "numActiveApplications": 2, "AMResourceLimit": {"memory": 1536}}, {}, "yarn.masters-at-limit"),
        ({}, {"state": "STOPPED"}, {}, "yarn.queue-stopped"),
        ({"state": "RUNNING", "runningContainers": 1}, {}, {"PendingContainers": 4, "PendingMB": 2048}, "yarn.memory-used-up"),
        ({}, {}, {}, "yarn.waiting"),
        ({"state": "RUNNING", "runningContainers": 1}, {}, {}, ""),
        ({"elapsedTime": 3000}, {}, {"PendingContainers": 1, "PendingMB": 4096}, ""),
        ({"state": "RUNNING", "runningContainers": 5}, {}, {"PendingContainers": 4, "PendingMB": 2048}, ""),
    ],
)  # fmt: skip
def test_applications_that_wait(
    ward: Ward, monkeypatch: pytest.MonkeyPatch, app: dict[str, Any], queue: dict[str, Any], pending: dict[str, Any], cause: str
) -> None:
    one = {"id": "application_1_0001", "user": "acme", "state": "ACCEPTED", "queue": "default", "elapsedTime": 60000} | app
    leaf = {"queueName": "default", "state": "RUNNING"} | queue
    pages = {"apps": {"apps": {"app": [one]}}, "scheduler": {"scheduler": {"schedulerInfo": {"queues": {"queue": [leaf]}}}}}
    monkeypatch.setattr(Subject, "page", lambda *asked: pages["apps" if "/apps" in asked[-1] else "scheduler"])
    beans(monkeypatch, "resourcemanager", QUEUE, **pending)
    assert ward.named() == ({cause} if cause else set())


def test_a_job_that_asked_for_too_much_is_said_and_no_fault(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "MAP capability required is more than the supported max container capability in the cluster. Killing the Job."
    one = {"id": "application_1_0002", "user": "acme", "state": "FINISHED", "diagnostics": said}
    original = Hadoop.page

    def told(self: Hadoop, service: str, path: str, **options: Any) -> Any:
        return {"apps": {"app": [one]}} if "finishedTimeBegin" in path else original(self, service, path, **options)

    monkeypatch.setattr(Hadoop, "page", told)
    diagnosis = ward.diagnose()
    assert diagnosis.healthy
    assert [each.id for each in diagnosis.notes] == ["yarn.request-refused"]
    assert "MAP capability required" in diagnosis.notes[0].verdict


# Operations


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (PreflightError("preflight refuses it", details="host.memory: none"), "operation.preflight-refused-before"),
        (QuotaError("the quota of acme has no place"), "operation.quota-used-up"),
        (NotFoundError("the image of hadoop-2.7 is not built yet"), "operation.image-missing"),
        (ConflictError("could not create the node: a port that it shall publish is taken"), "operation.port-taken"),
        (EngineError("could not create the node: the disk is full"), "operation.disk-full"),
        (EngineError("could not find it: no Docker Engine answers"), "operation.engine-unreachable"),
        (EngineError("could not: no permission on Docker's socket"), "operation.no-permission"),
        (ConflictError("a container named x exists already, and is not this lab's"), "operation.name-taken"),
        (DeadlineError("the cluster acme/c is busy: create, process 1"), "operation.cluster-busy"),
        (DeadlineError("acme/c was not ready after 300 s: the NameNode is starting"), "operation.deadline-passed"),
        (EngineError("Docker said no"), "operation.engine-refused"),
        (ConfigError("x.yaml:1: wrong"), "operation.refused"),
    ],
)
def test_an_operation_is_explained_by_its_record(ward: Ward, error: LabError, cause: str) -> None:
    assert operated(ward, error) == {cause}


def operated(ward: Ward, error: BaseException | None, note: Callable[[Operation], None] = lambda _: None) -> set[str]:
    from labcloud.diagnosis.diagnose import Doctor

    doctor = Doctor(ward.lights)
    with suppress(type(error) if error else LabError), ward.journal.operation("create", "acme/c") as operation:
        note(operation)
        if error:
            raise error
    diagnosis = doctor.diagnose(doctor.operation(operation.id))
    return {each.id for each in diagnosis.found}


def test_a_refusal_names_the_checks_that_the_journal_noted(ward: Ward) -> None:
    checks = [{"id": "host.memory", "status": "fail", "summary": "0 MiB free", "fix": "stop one"}, {"id": "host.cpu", "status": "pass"}]
    assert operated(ward, PreflightError("no"), lambda each: each.event("preflight", checks=checks)) == {"operation.preflight-refused"}


def test_ends_without_an_error(ward: Ward) -> None:
    assert operated(ward, None) == {"operation.done"}
    assert operated(ward, KeyboardInterrupt()) == {"operation.interrupted"}
    assert operated(ward, ValueError("oops")) == {"operation.bug"}


def test_after_a_deadline_the_cluster_is_looked_at(ward: Ward) -> None:
    ward.provider.stop_node(WORKER)
    assert operated(ward, DeadlineError("acme/c was not ready")) == {"operation.deadline-passed", "node.stopped"}
