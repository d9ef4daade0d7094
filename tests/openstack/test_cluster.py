"""A Hadoop cluster on guests of a real Nova, from the disk that labcloud built and published to a project that is as it was before."""

from __future__ import annotations

import json
import secrets
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from tests.acceptance.driver import Cluster, Labcloud, count_words, read_counts, real_text, wait_for
from tests.openstack.driver import Cloud
from tests.openstack.inventory import inventory
from tests.openstack.labs import lab_of_guests

pytestmark = pytest.mark.timeout(900)

PROFILE = "hadoop-2.7"
TEXT = real_text()
PAUSE = 2.0


@pytest.fixture(scope="module")
def labcloud(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labcloud]:
    with lab_of_guests(cloud, tmp_path_factory.mktemp("lab") / "home", PROFILE) as lab:
        yield lab


@pytest.fixture(scope="module")
def cluster(labcloud: Labcloud) -> Iterator[Cluster]:
    made = Cluster(labcloud, f"ost-{secrets.token_hex(3)}", PROFILE)
    yield made
    labcloud("delete", "--yes", made.ref, expect=None)


def test_a_disk_is_built_and_published_once(labcloud: Labcloud) -> None:
    labcloud("image", "build", PROFILE, "--format", "raw", timeout=600)
    (first,) = labcloud.json("image", "publish", PROFILE, "--format", "raw", timeout=300)
    (again,) = labcloud.json("image", "publish", PROFILE, "--format", "raw")
    assert (first["made"], again["made"], again["id"]) == (True, False, first["id"])


def test_a_cluster_gets_ready_and_is_found(cluster: Cluster) -> None:
    view = cluster.create("--provider", "openstack", "--workers", "2", "--timeout", "400")
    assert (view["provider"], view["status"]) == ("openstack", "ready")
    assert [node["name"] for node in view["nodes"]] == ["master-0", "worker-0", "worker-1"]
    assert set(cluster.states().values()) <= {"running", "starting"}
    assert "there already" in cluster.labcloud("create", PROFILE, "--tenant", cluster.tenant, "--provider", "openstack").said


def test_names_resolve_forward_and_reverse(cluster: Cluster) -> None:
    addresses = {node["name"]: node["address"] for node in cluster.show()["nodes"]}
    script = 'for name; do forward=$(getent ahostsv4 "$name") address=${forward%% *}; echo "$name" $(getent hosts "$address"); done'
    for node in addresses:
        lines = cluster.exec("bash", "-c", script, "bash", *addresses, node=node).text.splitlines()
        for name, address, reverse, *_ in (line.split() for line in lines):
            assert address == addresses[name]
            assert reverse.startswith(f"{name}.{cluster.name}.{cluster.tenant}.")


def test_user_interfaces_are_reached_from_here_alone(cluster: Cluster) -> None:
    with ExitStack() as undo:
        shown = undo.enter_context(cluster.labcloud.begin("ui", cluster.ref, "--output", "json"))
        undo.callback(shown.kill)
        assert shown.stdout
        text = ""
        while not text.rstrip().endswith("}"):
            line = shown.stdout.readline().decode()
            assert line, "it ended"
            text += line
        found = json.loads(text)
        assert {"namenode", "resourcemanager", "datanode"} <= found.keys()
        for url in found.values():
            assert url.startswith("http://127.0.0.1:")
            wait_for(url, lambda url=url: answers(url))  # the last daemons may still start
        shown.send_signal(signal.SIGINT)
        assert shown.wait(20) == 0
    assert not answers(found["namenode"])


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=30).status_code == 200
    except requests.ConnectionError:
        return False


def test_words_are_counted(cluster: Cluster) -> None:
    cluster.put("text", TEXT)
    cluster.submit("wordcount", "text", "words")
    assert read_counts(cluster.cat("words/part-*")) == count_words(TEXT)


def test_an_edit_of_the_labs_base_is_there_at_once(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\necho 'export LESSON=today' >\"$1\"\n")
    editor.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(editor))
    cluster.labcloud("config", "edit", "base/bashrc", "--reason", "a lesson")
    for node in ("master-0", "worker-1"):
        assert cluster.exec("bash", "-lc", "echo $LESSON", node=node).text == "today"


def test_a_worker_joins_and_leaves(cluster: Cluster) -> None:
    cluster.labcloud("scale", cluster.ref, "--workers", "3", timeout=400)
    assert len(cluster.show()["nodes"]) == 4
    cluster.labcloud("scale", cluster.ref, "--workers", "2", timeout=400)
    assert [node["name"] for node in cluster.show()["nodes"]] == ["master-0", "worker-0", "worker-1"]
    assert cluster.cat("text") == TEXT


def test_what_happened_to_a_server_is_diagnosed_and_mended(cluster: Cluster, cloud: Cloud) -> None:
    labcloud, api = cluster.labcloud, cloud.member.compute
    assert labcloud.json("diagnose", cluster.ref)["causes"] == []
    # The other replica goes for good: what the one that is stopped has not on its disk yet would be lost, as by any two faults at once.
    cluster.exec("sync", node="worker-0", user="root")
    stopped, gone = (next(api.servers(name=f"{cluster.tenant}.{cluster.name}.worker-{index}$")) for index in range(2))
    api.stop_server(stopped)
    api.delete_server(gone)
    api.wait_for_server(stopped, "SHUTOFF", interval=1, wait=120)
    api.wait_for_delete(gone, interval=1, wait=120)
    found = {each["id"] for each in labcloud.json("diagnose", cluster.ref, expect=1)["causes"]}
    assert {"node.stopped", "node.missing"} <= found
    labcloud("start", cluster.ref, timeout=400)
    found = {each["id"] for each in labcloud.json("diagnose", cluster.ref, expect=None)["causes"]}
    assert {each for each in found if each.startswith(("node.", "network."))} == set()  # HDFS may still copy blocks


def test_a_snapshot_brings_back_what_was_deleted(cluster: Cluster) -> None:
    taken = cluster.labcloud.json("snapshot", "create", cluster.ref)
    assert (taken["consistent"], taken["why"]) == (True, "")
    assert taken["pause_seconds"] <= PAUSE
    cluster.exec("hdfs", "dfs", "-rm", "-skipTrash", "text")
    cluster.labcloud("snapshot", "restore", cluster.ref, taken["id"], "--yes", timeout=400)
    assert cluster.cat("text") == TEXT
    kept, safety = cluster.labcloud.json("snapshot", "list", cluster.ref)
    assert (kept["id"], kept["state"], safety["state"]) == (taken["id"], "consistent", "consistent")
    cluster.labcloud("snapshot", "delete", cluster.ref, safety["id"])
    assert [each["id"] for each in cluster.labcloud.json("snapshot", "list", cluster.ref)] == [taken["id"]]


@pytest.mark.thorough
def test_backups_are_incremental_and_become_another_cluster(cluster: Cluster, tmp_path: Path) -> None:
    labcloud, copy = cluster.labcloud, Cluster(cluster.labcloud, cluster.tenant, PROFILE, "copy")
    labcloud("backup", "policy", "set", cluster.ref, f"target={tmp_path}")
    (first,) = labcloud.json("backup", "run", cluster.ref)
    cluster.put("more", b"that the second has\n")
    (second,) = labcloud.json("backup", "run", cluster.ref)
    assert second["bytes_added"] < first["bytes_added"] / 2
    labcloud("backup", "restore", cluster.ref, "--to", copy.name, timeout=600)
    assert (copy.cat("text"), copy.cat("more")) == (TEXT, b"that the second has\n")
    assert cluster.cat("text") == TEXT
    copy.delete()
    labcloud("backup", "verify", "--tenant", cluster.tenant, "--full")
    assert list((labcloud.home / "mounts").glob("*/*")) == []


def test_delete_leaves_nothing(cluster: Cluster, cloud: Cloud) -> None:
    cluster.delete()
    found = inventory(cloud.member)
    assert {kind: names for kind, names in found.items() if names} == {"images": [f"labcloud/{PROFILE}"]}
    assert cluster.labcloud.leftovers(cluster.tenant) == []
