"""config apply, config drift and resize on the command line."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from labcloud.apply.configuring import Applied, Configuring
from labcloud.errors import ConfiguringError
from labcloud.lab import Lab
from labcloud.model import ClusterRef
from tests.unit.cli.conftest import Labcloud

REF = ClusterRef("acme", "c")
HANDLERS = "hdfs-site:dfs.datanode.handler.count"
NOTHING = {"tenant": "acme", "name": "c", "adopted": [], "steps": [], "refreshed": [], "told": [], "restarted": []}


@pytest.fixture
def changed(labcloud: Labcloud, cluster: str) -> str:
    """A cluster whose configuration was changed and not applied."""
    assert labcloud("config", "set", cluster, f"{HANDLERS}=20").code == 0
    return cluster


def by_hand(home: Path, node: str, file: str, old: str, new: str) -> None:
    """Somebody edits a rendered file of a node."""
    state = home.parent / "engine.json"
    kept = json.loads(state.read_text())
    path = f"{node}/{file}"

    def walk(value: object) -> int:
        if not isinstance(value, dict | list):
            return 0
        if isinstance(value, dict) and isinstance(value.get(path), str):
            assert old in value[path]
            value[path] = value[path].replace(old, new)
            return 1
        return sum(map(walk, value.values() if isinstance(value, dict) else value))

    assert walk(kept) == 1
    state.write_text(json.dumps(kept))


def test_what_was_done_is_said_and_the_second_time_nothing_is(labcloud: Labcloud, changed: str) -> None:
    done = labcloud("config", "apply", changed, "-o", "json")
    assert (done.code, json.loads(done.out)) == (0, {**NOTHING, "restarted": ["datanode on worker-0", "datanode on worker-1"]})
    again = labcloud("config", "apply", changed, "-o", "json")
    assert (again.code, json.loads(again.out)) == (0, NOTHING)
    assert labcloud("config", "apply", changed).err.splitlines()[-1] == "acme/c: nothing had to be done"


def test_people_are_told_line_by_line(labcloud: Labcloud, changed: str) -> None:
    done = labcloud("config", "apply", changed)
    assert done.out == ""
    assert done.err.splitlines()[-2:] == ["acme/c: restarted datanode on worker-0", "acme/c: restarted datanode on worker-1"]


def test_a_dry_run_says_who_would_restart_and_why(labcloud: Labcloud, changed: str) -> None:
    done = labcloud("config", "apply", changed, "--dry-run", "-o", "json")
    found = {each["node"]: each for each in json.loads(done.out)["acme/c"]}
    assert list(found) == ["master-0", "worker-0", "worker-1"]
    assert found["worker-0"].keys() == {"node", "files", "restart", "live", "clients"}
    assert found["worker-0"]["files"] == ["conf/hdfs-site.xml"]
    assert found["worker-0"]["restart"] == {"datanode": [f"{HANDLERS} 3 → 20"]}
    assert found["master-0"]["restart"] == {}
    lines = labcloud("config", "apply", changed, "--dry-run").out.splitlines()
    assert lines[:2] == ["acme/c", "NODE      SERVICE   HOW      WHAT"]
    assert ["worker-0", "datanode", "restart"] in [line.split()[:3] for line in lines]
    assert json.loads(labcloud("config", "apply", changed, "-o", "json").out)["restarted"], "nothing was done yet"
    assert labcloud("config", "apply", changed, "--dry-run").out.splitlines() == ["acme/c", "nothing would change"]


def test_all_clusters_that_run(labcloud: Labcloud, changed: str) -> None:
    for name, tenant in (("d", "acme"), ("e", "blue")):
        assert labcloud("create", "hadoop-2.7", "--tenant", tenant, "--name", name, "--provider", "simulated", "--workers", "1").code == 0
    labcloud("stop", "acme/d")
    names = [(each["tenant"], each["name"]) for each in json.loads(labcloud("config", "apply", "--all", "-o", "json").out)]
    assert names == [("acme", "c"), ("blue", "e")]
    assert json.loads(labcloud("config", "apply", "--all", "--tenant", "blue", "-o", "json").out)["name"] == "e"


class Crowd:
    """Notes which clusters are configured, in what order, and how many at once; those in ``ill`` fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *ill: str) -> None:
        self.order: list[str] = []
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()
        apply = Configuring.apply

        def noted(verbs: Configuring, ref: ClusterRef, *args: Any) -> Applied:
            with self._lock:
                self.order.append(str(ref))
                self._now += 1
                self.most = max(self.most, self._now)
            time.sleep(0.05)
            try:
                if str(ref) in ill:
                    raise ConfiguringError(f"{ref} is ill")
                return apply(verbs, ref, *args)
            finally:
                with self._lock:
                    self._now -= 1

        monkeypatch.setattr(Configuring, "apply", noted)


@pytest.fixture
def many(labcloud: Labcloud) -> list[str]:
    """Seven clusters that have yet to learn of a setting."""
    tenants = [f"t{index}" for index in range(7)]
    words = [word for tenant in tenants for word in ("--tenant", tenant)]
    assert labcloud("create", "hadoop-2.7", *words, "--name", "c", "--provider", "simulated", "--workers", "1").code == 0
    assert labcloud("config", "set", "--binding", "b", f"{HANDLERS}=20").code == 0
    return [f"{tenant}/c" for tenant in tenants]


def test_the_first_is_configured_alone_and_then_the_others_at_once(
    labcloud: Labcloud, many: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = Crowd(monkeypatch)
    done = labcloud("config", "apply", *many, "-o", "json")
    assert [(f"{each['tenant']}/c", each["restarted"]) for each in json.loads(done.out)] == [
        (ref, ["datanode on worker-0"]) for ref in many
    ]
    assert crowd.order[0] == many[0]
    assert sorted(crowd.order) == many
    assert 1 < crowd.most <= 4


def test_what_is_wrong_at_the_first_reaches_no_other(labcloud: Labcloud, many: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = Crowd(monkeypatch, many[0])
    done = labcloud("config", "apply", "--all")
    assert (done.code, crowd.order) == (9, many[:1])


def test_what_is_wrong_at_another_is_named_and_the_rest_is_done(
    labcloud: Labcloud, many: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = Crowd(monkeypatch, many[3])
    done = labcloud("config", "apply", *many)
    assert done.code == 10
    assert "error: t3/c is ill" in done.err
    assert "1 of 7 clusters failed: t3/c" in done.err
    assert sorted(crowd.order) == many


def test_in_steps_it_is_one_cluster_after_the_other(labcloud: Labcloud, many: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = Crowd(monkeypatch, many[1])
    done = labcloud("config", "apply", *many[:4], "--gray", "50%,100%")
    assert (done.code, crowd.order, crowd.most) == (9, many[:2], 1)


def test_steps_are_kept_in_the_journal(labcloud: Labcloud, changed: str) -> None:
    done = labcloud("config", "apply", changed, "--gray", "30%, 60%,100%", "--pause", "0.01s", "--check", "yarn.unhealthy == 0")
    assert done.code == 0, done.err
    (last, *_) = (each for each in json.loads(labcloud("operation", "list", "-o", "json").out) if each["verb"] == "config apply")
    events = json.loads(labcloud("operation", "show", last["id"], "-o", "json").out)["events"]
    assert [each["details"]["nodes"] for each in events if each["kind"] == "step"] == [["worker-0"], ["worker-1"], ["master-0"]]


def test_a_check_that_fails_takes_back_and_says_where_to_look(labcloud: Labcloud, home: Path, changed: str) -> None:
    done = labcloud("config", "apply", changed, "--gray", "30%,100%", "--check", "done < 1", "--patience", "1")
    assert done.code not in (0, 2)
    assert "stopped after 1 of 3 nodes and taken back" in done.err
    assert "labcloud operation show " in done.err
    there = Lab(home).cluster(REF)
    assert there
    assert not there.configuration.settings
    log = json.loads(labcloud("config", "log", changed, "-o", "json").out)
    assert log[0]["reason"].startswith("take back the change of acme/c")
    assert json.loads(labcloud("config", "drift", changed, "-o", "json").out)["drift"] == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--gray", "50%,10%,100%"), "do not grow to 100%"),
        (("--gray", "10%,10%,100%"), "do not grow to 100%"),
        (("--gray", "10%,50%"), "do not grow to 100%"),
        (("--gray", "0%,100%"), "no share of the nodes"),
        (("--gray", "110%"), "no share of the nodes"),
        (("--gray", "half,100%"), "no share of the nodes"),
        (("--pause", "1m"), "--pause is for a release in steps"),
        (("--gray", "50%,100%", "--pause", "soon"), "soon"),
        (("--check", "yarn.sick == 0"), "the check cannot be evaluated"),
        (("--check", "yarn.unhealthy =="), "the check cannot be evaluated"),
        (("--patience", "0"), "patience"),
        (("--all",), "name clusters, or say --all"),
    ],
)
def test_what_cannot_be_is_refused_before_anything(labcloud: Labcloud, changed: str, options: tuple[str, ...], said: str) -> None:
    done = labcloud("config", "apply", changed, *options)
    assert (done.code, said in done.err) == (2, True), done.err
    assert json.loads(labcloud("config", "apply", changed, "-o", "json").out)["restarted"]


def test_no_cluster_or_one_that_is_not_there(labcloud: Labcloud, cluster: str) -> None:
    assert labcloud("config", "apply").code == 2
    assert labcloud("config", "apply", "acme/none").code == 4


# Drift


def test_drift_is_told_shown_and_put_right(labcloud: Labcloud, home: Path, cluster: str) -> None:
    assert labcloud("config", "drift", cluster).err.splitlines()[-1] == "all is as it is wanted"
    by_hand(home, "worker-1", "conf/core-site.xml", "</configuration>", "<!-- mine --></configuration>")
    done = labcloud("config", "drift", cluster, "--diff")
    assert done.code == 5
    assert done.out.splitlines()[:2] == ["NODE      KIND  WHAT", "worker-1  file  conf/core-site.xml"]
    assert "+<!-- mine --></configuration>" in done.out
    found = json.loads(labcloud("config", "drift", cluster, "-o", "json").out)
    assert [each.keys() for each in found["drift"]] == [{"node", "kind", "what", "difference"}]
    assert labcloud("config", "drift", cluster, "--fix").code == 0
    assert json.loads(labcloud("config", "drift", cluster, "-o", "json").out) == {"drift": [], "adopted": []}


def test_drift_is_adopted(labcloud: Labcloud, home: Path, cluster: str) -> None:
    more = "<property><name>my.own</name><value>x</value></property></configuration>"
    by_hand(home, "worker-1", "conf/core-site.xml", "</configuration>", more)
    done = labcloud("config", "drift", cluster, "--adopt", "-o", "json")
    assert (done.code, json.loads(done.out)["adopted"]) == (0, ["core-site:my.own = x on worker-1"])
    there = Lab(home).cluster(REF)
    assert there
    assert dict(there.own["worker-1"].configuration.settings) == {"core-site:my.own": "x"}
    assert labcloud("config", "drift", cluster).code == 0


def test_adopting_and_putting_right_are_opposites(labcloud: Labcloud, cluster: str) -> None:
    assert labcloud("config", "drift", cluster, "--adopt", "--fix").code == 2


# Resize


def test_a_group_and_a_node_are_resized(labcloud: Labcloud, home: Path, cluster: str) -> None:
    done = labcloud("resize", cluster, "--group", "worker", "--memory", "4g", "-o", "json")
    facts = json.loads(done.out)
    assert (done.code, facts.keys()) == (0, NOTHING.keys())
    assert any("worker-0" in step for step in facts["steps"])
    assert any(each.endswith("on worker-0") for each in facts["restarted"])
    assert labcloud("resize", cluster, "--node", "worker-1", "--cpus", "2").code == 0
    there = Lab(home).cluster(REF)
    assert there
    assert (there.group("worker").memory, there.own["worker-1"].cpus, there.own["worker-1"].memory) == (4096, 2.0, None)
    assert labcloud("config", "drift", cluster).code == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "say which nodes"),
        (("--group", "worker", "--node", "worker-0", "--memory", "4g"), "say which nodes"),
        (("--group", "worker"), "say which size"),
        (("--group", "worker", "--memory", "much"), "amount of memory"),
        (("--group", "gateway", "--memory", "4g"), "has no group and no node 'gateway'"),
        (("--node", "worker-9", "--memory", "4g"), "has no group and no node 'worker-9'"),
        (("--group", "worker", "--memory", "100m"), "worker"),
        pytest.param(
            ("--group", "worker", "--cpus", "0"),
            "cores",
        ),
        pytest.param(
            ("--group", "worker", "--cpus", "-1"),
            "cores",
        ),
        pytest.param(
            ("--group", "worker", "--cpus", "nan"),
            "cores",
        ),
        pytest.param(
            ("--group", "worker-0", "--memory", "4g"),
            "has no group",
        ),
        pytest.param(
            ("--node", "worker", "--memory", "4g"),
            "has no node",
        ),
    ],
)
def test_a_size_that_cannot_be_is_refused(labcloud: Labcloud, home: Path, cluster: str, options: tuple[str, ...], said: str) -> None:
    before = Lab(home).revision()
    done = labcloud("resize", cluster, *options)
    assert (done.code, said in done.err) == (2, True), done.err
    assert Lab(home).revision() == before
