"""labcloud diagnose: exit codes, JSON, drawings, mending, bundles."""

from __future__ import annotations

import json
import stat
import tarfile
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from labcloud.diagnosis.bundle import clean

from .conftest import Labcloud


def stop(home: Path, labcloud: Labcloud) -> None:
    """Stop a node behind labcloud's back."""
    from labcloud.cli.session import session
    from labcloud.model import ClusterRef, NodeRef

    with session() as opened:
        opened.provider("simulated").stop_node(NodeRef(ClusterRef("acme", "c"), "worker", 1))


def test_a_healthy_cluster(labcloud: Labcloud, cluster: str) -> None:
    done = labcloud("diagnose", cluster)
    assert done.code == 0
    assert "no fault found in acme/c" in done.out


def test_a_fault_is_named_with_what_mends_it(labcloud: Labcloud, cluster: str, home: Path) -> None:
    stop(home, labcloud)
    done = labcloud("diagnose", "--tenant", "acme", "c", "-o", "json")
    assert done.code == 1
    said = json.loads(done.out)
    assert said.keys() == {"target", "healthy", "causes", "notes", "ruled_out", "unknown", "seconds"}
    assert (said["target"], said["healthy"], said["unknown"]) == ("acme/c", False, {})
    (cause,) = said["causes"]
    assert cause.keys() == {"id", "verdict", "confidence", "evidence", "fix", "advice", "graph", "path"}
    assert cause["id"] == "node.stopped"
    assert cause["fix"] == {"commands": ["labcloud start --no-wait acme/c"], "safe": True}
    assert cause["path"] == ["triage", "cluster", "nodes", "node-unreachable", "nodes"]
    assert cause["evidence"]["node-stopped"][0]["node"] == "worker-1"
    table = labcloud("diagnose", cluster)
    assert "node.stopped" in table.out
    assert "mend it: labcloud start --no-wait acme/c" in table.out


def test_fix_does_what_is_safe_and_diagnoses_again(labcloud: Labcloud, cluster: str, home: Path) -> None:
    stop(home, labcloud)
    done = labcloud("diagnose", cluster, "--fix", "-o", "json")
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert said["healthy"]
    assert said["fixed"] == [{"command": "labcloud start --no-wait acme/c", "ok": True, "said": ""}]
    assert "mending: labcloud start --no-wait acme/c" in done.err


def test_what_is_not_safe_is_shown_and_needs_yes(labcloud: Labcloud, cluster: str, home: Path) -> None:
    from labcloud.cli.session import session
    from labcloud.model import ClusterRef, Wanted

    with session() as opened:
        wanted = opened.lab.cluster(ClusterRef("acme", "c"))
        assert wanted
        opened.lab.save(type(wanted)(**{**wanted.__dict__, "state": Wanted.DELETED}), "begin to delete")
    done = labcloud("diagnose", cluster, "--fix")
    assert done.code == 1
    assert "cluster.deletion-broken-off" in done.out
    assert "not done without --yes: labcloud delete --yes acme/c" in done.err
    assert labcloud("diagnose", cluster, "--fix", "--yes").code == 4  # what it was about is gone
    assert json.loads(labcloud("list", "-o", "json").out) == []


def test_an_operation(labcloud: Labcloud, cluster: str) -> None:
    operation = json.loads(labcloud("operation", "list", "-o", "json").out)[0]["id"]
    done = labcloud("diagnose", operation, "-o", "json")
    assert done.code == 0, done.out
    assert [each["id"] for each in json.loads(done.out)["notes"]] == ["operation.done"]


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        ((), 2, "name a cluster or an operation"),
        (("acme/none",), 4, "there is no cluster acme/none"),
        (("2mxmbn8f0zz",), 4, "there is no operation '2mxmbn8f0zz'"),
        (("nowhere",), 2, "'nowhere' names no tenant"),
        (("acme/c", "--yes"), 2, "--yes is for --fix"),
        (("acme/c", "--from", "weather"), 4, "there is no graph 'weather'"),
        (("acme/c", "--from", "operation"), 2, "the graph 'operation' is about operations"),
        (("acme/c", "--timeout", "0"), 2, "0.0 is not in the range"),
        (("--graph", "--from", "weather"), 4, "there is no graph 'weather'"),
        (("acme/c", "--graph", "/no/such/folder/x.svg"), 6, "could not write /no/such/folder/x.svg"),
        (("acme/c", "--bundle", "/no/such/folder/x.tar.gz"), 6, "could not write /no/such/folder/x.tar.gz"),
    ],
)
def test_bad_input(labcloud: Labcloud, cluster: str, argv: tuple[str, ...], code: int, said: str) -> None:
    done = labcloud("diagnose", *argv)
    assert (done.code, said in done.err) == (code, True), done.err


def test_graphs_are_listed_and_checked(labcloud: Labcloud, home: Path) -> None:
    listed = json.loads(labcloud("diagnose", "--list", "-o", "json").out)
    assert {"triage", "operation"} <= {each["name"] for each in listed}
    assert "graphs with" in labcloud("diagnose", "--check").err
    folder = home / "lab" / "diagnosis"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("title: mine\nabout: weather\nstart: x\ncheckpoints: {}\ncauses: {}\n")
    done = labcloud("diagnose", "--check")
    assert done.code == 3
    assert f"{folder}/mine.yaml:2: 'weather' is none of cluster, operation" in done.err


def test_a_graph_as_text_and_as_svg(labcloud: Labcloud, cluster: str, home: Path, tmp_path: Path) -> None:
    plain = labcloud("diagnose", "--graph", "--from", "datanode")
    assert plain.code == 0
    assert "○ datanode: a DataNode is not registered" in plain.out
    assert "wrong-cluster → datanode.cluster-id-mismatch" in plain.out
    stop(home, labcloud)
    taken = labcloud("diagnose", cluster, "--graph")
    assert taken.code == 1
    assert "● node-stopped → node.stopped  worker-1: stopped" in taken.out
    file = tmp_path / "path.svg"
    assert labcloud("diagnose", cluster, "--graph", str(file)).code == 1
    root = ET.fromstring(file.read_text())  # noqa: S314 - our own
    shown = ["".join(group.itertext()) for group in root.iter("{http://www.w3.org/2000/svg}g") if group.get("class") == "cause on"]
    assert len(shown) == 1
    assert "node.stopped" in shown[0]
    boxes = [
        tuple(float(box.get(key, 0)) for key in ("x", "y", "width", "height")) for box in root.iter("{http://www.w3.org/2000/svg}rect")
    ][1:]
    for number, (x, y, width, height) in enumerate(boxes):
        assert not [
            other for other in boxes[number + 1 :]
            if x < other[0] + other[2] and other[0] < x + width and y < other[1] + other[3] and other[1] < y + height
        ], "boxes lie on each other"  # fmt: skip


def test_a_bundle_is_private_and_has_no_secrets(labcloud: Labcloud, home: Path, tmp_path: Path) -> None:
    made = ("create", "hadoop-2.7", "--tenant", "acme", "--name", "c", "--provider", "simulated")
    assert labcloud(*made, "--set", "core-site:fs.store.secret.key=swordfish", "--set", "core-site:plain.setting=herring").code == 0
    file = tmp_path / "bundle.tar.gz"
    done = labcloud("diagnose", "acme/c", "--bundle", str(file))
    assert done.code == 0, done.err
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with tarfile.open(file) as tar:
        texts = {member.name.removeprefix("bundle/"): tar.extractfile(member).read().decode() for member in tar.getmembers()}  # type: ignore[union-attr]
    manifest = json.loads(texts["manifest.json"])
    assert {"show.json", "diagnosis.json", "machine.json", "journal.json", "nodes/master-0/namenode.jmx.json"} <= texts.keys()
    assert manifest["files"].keys() == texts.keys() - {"manifest.json"}
    assert manifest["target"] == "acme/c"
    assert not [name for name, text in texts.items() if "swordfish" in text]
    assert "herring" in texts["configuration/master-0/conf/core-site.xml"]
    again = labcloud("diagnose", "acme/c", "--bundle", str(file))
    assert again.code == 6
    assert "File exists" in again.err


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<name>hadoop.http.password</name>\n<value>x1</value>", "<name>hadoop.http.password</name>\n<value>[redacted]</value>"),
        ("<name>fs.s3a.access.key</name><value>x1</value>", "<name>fs.s3a.access.key</name><value>[redacted]</value>"),
        ("<name>dfs.replication</name><value>2</value>", "<name>dfs.replication</name><value>2</value>"),
        ("password=x1 http://me:x1@host/", "password=[redacted] http://me:[redacted]@host/"),
        ("-----BEGIN RSA PRIVATE KEY-----\nx1\n-----END RSA PRIVATE KEY-----", "[redacted]"),
    ],
)
def test_secrets_are_replaced_wherever_they_stand(text: str, left: str) -> None:
    assert clean(text) == left
