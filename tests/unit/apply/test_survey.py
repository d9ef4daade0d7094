"""What nodes have and what their services were started with, against what is wanted."""

from __future__ import annotations

import pytest

from labcloud.apply.survey import Survey, by_node, rendered_only, survey
from labcloud.errors import ConfiguringError
from labcloud.model import NodeOverride
from labcloud.profiles import load, render
from labcloud.providers.base import Result
from labcloud.providers.simulated import SimulatedProvider
from tests.unit.apply.conftest import REF, TERMS, Shop, asked

PROFILE = load("hadoop-2.7")
HANDLERS = {"hdfs-site:dfs.datanode.handler.count": "20"}
PROXY = {"core-site:hadoop.proxyuser.ada.hosts": "*"}


@pytest.fixture
def engine(shop: Shop) -> SimulatedProvider:
    shop.clusters().create(asked(), TERMS)
    return shop.provider()


def look(engine: SimulatedProvider) -> Survey:
    return survey(engine, PROFILE, engine.find(cluster=REF), engine.config(REF))


def wanted(shop: Shop, settings: dict[str, str]) -> dict[str, str]:
    shop.configure(settings)
    cluster = shop.lab.cluster(REF)
    assert cluster
    return render(PROFILE, cluster, "lab", shared=shop.lab.shared("acme"))


def test_nothing_follows_from_what_is_there(engine: SimulatedProvider) -> None:
    found = look(engine)
    consequences = found.consequences(engine.config(REF))
    assert [each.ref.name for each in consequences] == ["master-0", "worker-0", "worker-1"]
    assert not any(consequences)
    assert found.started[consequences[1].ref].keys() == {"datanode", "nodemanager"}


def test_what_differs_restarts_its_readers_alone(shop: Shop, engine: SimulatedProvider) -> None:
    master, worker, _ = look(engine).consequences(wanted(shop, HANDLERS))
    assert worker.files == master.files == ("conf/hdfs-site.xml",)
    assert dict(worker.effects.restart).keys() == {"datanode"}
    assert [str(each) for each in worker.changes] == ["hdfs-site:dfs.datanode.handler.count 3 → 20"]
    assert (dict(master.effects.restart), master.effects.live) == ({}, ())
    assert worker
    assert master, "its file differs"


def test_what_is_told_is_told(shop: Shop, engine: SimulatedProvider) -> None:
    master, worker, _ = look(engine).consequences(wanted(shop, PROXY))
    assert [each.service for each in master.effects.live] == ["namenode", "resourcemanager", "historyserver"]
    assert not master.effects.restart
    assert not worker.effects.restart


def test_services_that_run_with_older_configuration_are_seen_where_files_are_alike(shop: Shop, engine: SimulatedProvider) -> None:
    tree = wanted(shop, HANDLERS)
    engine.ensure_config(REF, tree)
    _, worker, _ = look(engine).consequences(tree)
    assert (worker.files, set(worker.effects.restart)) == ((), {"datanode"})
    assert bool(worker)


def test_nodes_that_do_not_run_are_not_asked(shop: Shop, engine: SimulatedProvider) -> None:
    shop.clusters().stop(REF, TERMS)
    found = look(shop.provider())
    assert (found.nodes, found.consequences({}), dict(found.started)) == ((), [], {})


def test_a_service_that_has_not_started_yet_waits_for_nothing(shop: Shop, engine: SimulatedProvider) -> None:
    found = look(engine)
    ref = found.nodes[1].ref
    waiting = Survey(PROFILE, found.nodes, found.config, {**found.started, ref: {"datanode": found.started[ref]["datanode"]}})
    tree = wanted(shop, {"yarn-site:yarn.nodemanager.vmem-pmem-ratio": "3", **HANDLERS})
    assert set(waiting.consequences(tree)[1].effects.restart) == {"datanode"}
    assert set(found.consequences(tree)[1].effects.restart) == {"datanode", "nodemanager"}


def test_a_node_that_cannot_say_it_is_an_error(engine: SimulatedProvider) -> None:
    engine.answer(("/usr/lib/labcloud/started",), Result(127, stderr=b"not found"))
    with pytest.raises(ConfiguringError, match="does not say what its services were started with"):
        look(engine)


def test_without_asking_services_run_with_what_their_nodes_see(shop: Shop, engine: SimulatedProvider) -> None:
    tree = wanted(shop, HANDLERS)
    assert set(rendered_only(PROFILE, engine.find(cluster=REF), engine.config(REF)).consequences(tree)[1].effects.restart) == {"datanode"}
    engine.ensure_config(REF, tree)
    assert not any(rendered_only(PROFILE, engine.find(cluster=REF), engine.config(REF)).consequences(tree))


def test_one_nodes_own_is_one_nodes_consequence(shop: Shop, engine: SimulatedProvider) -> None:
    cluster = shop.want(own={"worker-1": NodeOverride(memory=8192)})
    found = look(engine).consequences(render(PROFILE, cluster, "lab"))
    assert [bool(each) for each in found] == [False, False, True]
    assert "heap" in {each.what for each in found[2].changes}


def test_files_by_node() -> None:
    assert by_node({"a/conf/x": "1", "a/y": "2", "b/conf/x": "3"}) == {"a": {"conf/x": "1", "y": "2"}, "b": {"conf/x": "3"}}
