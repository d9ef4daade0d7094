"""HDFS is told that a node goes and that it is back, and whoever dies in between leaves nothing that is not found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from labcloud.apply.clusters import Clusters
from labcloud.apply.journal import Journal
from labcloud.apply.requests import CreateRequest
from labcloud.apply.verbs import Terms
from labcloud.apply.watch import Watch
from labcloud.errors import ConfiguringError
from labcloud.lab import Lab
from labcloud.migrate.maintenance import Maintenance
from labcloud.model import Cluster, ClusterRef, NodeRef
from labcloud.profiles import load
from labcloud.providers.base import Command, Result
from labcloud.providers.simulated import Faults, Killed, SimulatedProvider, World

REF = ClusterRef("acme", "c")
NODE = NodeRef(REF, "worker", 1)
LIST = "master-0/conf/dfs.hosts.json"
TERMS = Terms(timeout=20)


class Telling(SimulatedProvider):
    """``read`` is what its NameNode read when it was last told to. One that ``refuses`` reads nothing."""

    refuses = False

    def __init__(self, *where: Any, read: list[str], **options: Any) -> None:
        super().__init__(*where, **options)
        self._read = read

    def execute(self, ref: NodeRef, command: Command, **streams: Any) -> Result:
        result = super().execute(ref, command, **streams)
        if command.argv == ("hdfs", "dfsadmin", "-refreshNodes"):
            if self.refuses:
                return Result(255, stderr=b"refreshNodes: no")
            self._read[:] = [self.config(ref.cluster)[LIST]]
        return result


class Bench:
    def __init__(self, home: Path, profile: str = "hadoop-3.4") -> None:
        self.lab, self.world, self.read = Lab(home), World(), ["[]\n"]
        self.profile = load(profile)
        self.clusters().create(CreateRequest(REF, profile, "simulated", workers=2), TERMS)

    def engine(self, faults: Faults | None = None) -> Telling:
        return Telling(self.lab.home, self.lab.id, world=self.world, faults=faults or Faults(), read=self.read)

    def clusters(self) -> Clusters:
        engine = self.engine()
        return Clusters(self.lab, Journal(self.lab.home), lambda _: engine, Watch())

    @property
    def cluster(self) -> Cluster:
        found = self.lab.cluster(REF)
        assert found
        return found

    def maintenance(self, faults: Faults | None = None) -> Maintenance:
        return Maintenance(self.engine(faults), self.cluster, self.profile)

    def tree(self) -> dict[str, str]:
        return self.engine().config(REF)


def test_the_namenode_is_told_and_nothing_else_changes(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    before = bench.tree()
    bench.maintenance().begin(NODE, 600)
    changed = {path for path, text in bench.tree().items() if before.get(path) != text}
    assert changed == {LIST}
    (entry,) = json.loads(bench.read[0])
    assert (entry["hostName"].split(".")[0], entry["adminState"]) == ("worker-1", "IN_MAINTENANCE")
    bench.maintenance().end(NODE)
    assert (bench.tree(), bench.read) == (before, ["[]\n"])


def test_a_version_without_it_is_known(tmp_path: Path) -> None:
    assert Bench(tmp_path / "new", "hadoop-2.10").maintenance().known
    assert not Bench(tmp_path / "old", "hadoop-2.7").maintenance().known


@pytest.mark.parametrize("after", [False, True])
def test_who_dies_on_the_way_is_put_right_by_a_start(tmp_path: Path, after: bool) -> None:
    """At each call of the engine, from its beginning to its end."""
    for number in range(1, 50):
        bench = Bench(tmp_path / str(number))
        before = bench.tree()
        faults = Faults()
        faults.die(number=number, after=after)
        maintenance = bench.maintenance(faults)
        try:
            maintenance.begin(NODE, 600)
            maintenance.end(NODE)
        except Killed:
            bench.clusters().start(REF, TERMS)
            assert (bench.tree(), bench.read) == (before, ["[]\n"]), number
        else:
            assert number > 6
            return
    pytest.fail("it never came to an end")


def test_a_namenode_that_refuses_is_told_of_and_told_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path)
    monkeypatch.setattr(Telling, "refuses", True)
    with pytest.raises(ConfiguringError, match="the namenode of acme/c refused to read its list of hosts"):
        bench.maintenance().begin(NODE, 600)
    monkeypatch.setattr(Telling, "refuses", False)
    bench.maintenance().end(NODE)
    assert bench.read == ["[]\n"]
    assert LIST + ".unread" not in bench.tree()
