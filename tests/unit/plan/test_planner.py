"""Properties of plans: any wanted state, any found one, the steps done in any order that their stages allow, broken off anywhere."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from labcloud.model import Cluster, ClusterRef, Found, FoundNode, NodeGroup, NodeRef, NodeSpec, NodeVolume, Status, config_digests
from labcloud.plan import (
    AwaitGone,
    Blueprint,
    Decommission,
    DeleteConfig,
    DeleteNetwork,
    DeleteNode,
    DeleteVolume,
    EnsureNetwork,
    EnsureNode,
    Plan,
    PutConfig,
    RefreshNodes,
    ResizeNode,
    Step,
    StopNode,
    converge,
    remembering,
    remove,
    stop,
)

REF = ClusterRef("acme", "c")
MASTER = NodeRef(REF, "master", 0)
LIST = "master-0/conf/dfs.exclude"
MOST = 5


def worker(index: int) -> NodeRef:
    return NodeRef(REF, "worker", index)


def cluster(workers: int) -> Cluster:
    return Cluster(REF, "p", "simulated", "0" * 32, "image:1", (NodeGroup("master", 1, 1024), NodeGroup("worker", workers, 1024)))


def files(excluded: tuple[NodeRef, ...] = (), other: str = "same") -> dict[str, str]:
    return {LIST: "".join(f"{ref.name}\n" for ref in excluded), "master-0/conf/site.xml": other, "worker-0/conf/site.xml": other}


def remembered(workers: int, engine: Engine) -> Cluster:
    """What is wanted, as a run begins with it."""
    return remembering(cluster(workers), engine.found())


def rescaled(wanted: Cluster, workers: int, engine: Engine) -> Cluster:
    """The same cluster with another number of workers."""
    master, old = wanted.groups
    used = max(old.used, old.count)
    return remembering(replace(wanted, groups=(master, replace(old, count=workers, used=used if used > workers else 0))), engine.found())


def blueprint(wanted: Cluster) -> Blueprint:
    refs = (*wanted.nodes(), *wanted.retired())
    specs = {ref: NodeSpec(ref, wanted.image, wanted.profile, 1024, 1.0, (NodeVolume(),)) for ref in refs}
    return Blueprint(specs, files(tuple(wanted.retired())), frozenset({LIST}), frozenset({"worker"}))


def plan_for(wanted: Cluster, found: Found) -> Plan:
    return converge(wanted, found, blueprint(wanted))


def node(ref: NodeRef, status: Status = Status.RUNNING, *, drifted: bool = False) -> FoundNode:
    spec = NodeSpec(ref, "image:1", "p", 1024, 1.0, (NodeVolume(),))
    return FoundNode(ref, status, "p", spec.image, "0ther" if drifted else spec.digest, spec.memory, engine_id="e", cpus=spec.cpus)


@dataclass
class Engine:
    """What a plan is done to. It refuses what a real engine and a real Hadoop would not survive."""

    nodes: dict[NodeRef, FoundNode] = field(default_factory=dict)
    volumes: set[tuple[NodeRef, int]] = field(default_factory=set)
    networks: set[str] = field(default_factory=set)
    config: dict[str, str] | None = None
    declared: frozenset[NodeRef] = frozenset()
    excluded: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)
    emptied: set[NodeRef] = field(default_factory=set)
    ghosts: set[str] = field(default_factory=set)

    def found(self) -> Found:
        ordered = tuple(self.nodes[ref] for ref in sorted(self.nodes))
        configs = {} if self.config is None else {REF: config_digests(self.config)}
        return Found(ordered, frozenset(self.networks), frozenset(self.volumes), configs)

    def do(self, step: Step) -> None:  # noqa: C901, PLR0912 - one case a step
        match step:
            case EnsureNetwork(tenant):
                self.networks.add(tenant)
            case PutConfig(_, texts):
                self.config = dict(texts)
                self.excluded = set(texts[LIST].split())
            case EnsureNode(spec):
                assert self.networks == {"acme"}, "a node without its network"
                assert self.config is not None, "a node without its configuration"
                if spec.ref == MASTER:  # as daemons that start
                    self.told = set(self.excluded)
                    self.ghosts.clear()
                assert spec.ref.name not in self.ghosts, "HDFS takes a new node for one that is gone"
                self.nodes[spec.ref] = node(spec.ref)
                self.volumes.add((spec.ref, 0))
            case RefreshNodes():
                assert self.nodes[MASTER].status is Status.RUNNING
                self.told = set(self.excluded)
                assert self.ghosts <= self.told, "HDFS counts the blocks of a node that is gone, and deletes others for them"
            case AwaitGone(_, former):
                assert self.nodes[MASTER].status is Status.RUNNING
                self.ghosts -= {ref.name for ref in former}
            case Decommission(_, leaving):
                assert {ref.name for ref in leaving} <= self.told, "decommissioned before it was excluded"
                assert all(self.nodes[ref].status is Status.RUNNING for ref in leaving), "nobody is there to copy from"
                self.emptied |= set(leaving)
            case StopNode(ref):
                self.nodes[ref] = replace(self.nodes[ref], status=Status.STOPPED)
            case DeleteNode(ref):
                assert ref in self.emptied or not self.declared, "deleted before it was decommissioned"
                del self.nodes[ref]
                self.ghosts.add(ref.name)
            case DeleteVolume(ref, number):
                assert ref not in self.declared, "the data of a declared node"
                assert ref not in self.nodes, "the volume is in use"
                self.volumes.discard((ref, number))
            case DeleteConfig():
                assert not self.nodes, "a node lost its configuration"
                self.config = None
            case DeleteNetwork(tenant):
                assert not self.nodes, "a node lost its network"
                self.networks.discard(tenant)
            case _:
                pytest.fail(f"what is {step}?")

    def run(self, plan: Plan, *, declared: Cluster | None, order: Random, most: int | None = None) -> None:
        """Do the plan's first ``most`` steps; those of a stage in any order."""
        self.declared = frozenset(declared.nodes()) if declared else frozenset()
        steps = [step for stage in plan.stages for step in order.sample(stage, len(stage))]
        for step in steps[:most]:
            self.do(step)


STATES = st.sampled_from([None, "drifted", *Status])


@st.composite
def engines(draw: st.DrawFn) -> Engine:
    refs = [MASTER, *(worker(index) for index in range(MOST))]
    states = {ref: draw(STATES) for ref in refs}
    nodes = {ref: node(ref, drifted=True) if state == "drifted" else node(ref, Status(state)) for ref, state in states.items() if state}
    kept = {(ref, number) for ref in refs for number in (0, 1) if draw(st.booleans())}
    config = draw(st.sampled_from([None, files(), files(other="old"), files((worker(1),)), {"worker-0/stray": ""}]))
    networks: set[str] = set(draw(st.sampled_from([(), ("acme",)])))
    excluded = set((config or {}).get(LIST, "").split())
    return Engine(nodes, kept | {(ref, 0) for ref in nodes}, networks, config, excluded=excluded, told=excluded)


WORKERS = st.integers(0, MOST)
ORDERS = st.randoms(use_true_random=False)


@given(WORKERS, engines(), ORDERS)
def test_converge_reaches_exactly_the_declared_nodes(workers: int, engine: Engine, order: Random) -> None:
    wanted = remembered(workers, engine)
    engine.run(plan_for(wanted, engine.found()), declared=wanted, order=order)
    assert engine.nodes == {ref: node(ref) for ref in wanted.nodes()}
    assert {ref for ref, _ in engine.volumes} == set(wanted.nodes())
    assert (engine.config, engine.networks) == (files(tuple(wanted.retired())), {"acme"})


@given(WORKERS, engines(), ORDERS)
def test_a_second_converge_has_nothing_to_do(workers: int, engine: Engine, order: Random) -> None:
    wanted = remembered(workers, engine)
    engine.run(plan_for(wanted, engine.found()), declared=wanted, order=order)
    assert plan_for(wanted, engine.found()) == Plan()


@given(WORKERS, engines(), ORDERS, st.integers(0, 30))
def test_a_plan_that_was_broken_off_anywhere_is_finished_by_another(workers: int, engine: Engine, order: Random, most: int) -> None:
    wanted = remembered(workers, engine)
    engine.run(plan_for(wanted, engine.found()), declared=wanted, order=order, most=most)
    engine.emptied.clear()  # nobody remembers
    engine.run(plan_for(wanted, engine.found()), declared=wanted, order=order)
    assert engine.nodes == {ref: node(ref) for ref in wanted.nodes()}
    assert plan_for(wanted, engine.found()) == Plan()


@given(WORKERS, WORKERS, engines(), ORDERS, st.integers(0, 30))
def test_no_daemon_excludes_a_node_for_ever_that_a_broken_off_plan_excluded(
    first: int, second: int, engine: Engine, order: Random, most: int
) -> None:
    assume(MASTER in engine.nodes)
    wanted = remembered(first, engine)
    engine.run(plan_for(wanted, engine.found()), declared=wanted, order=order, most=most)
    for _ in range(2):
        wanted = rescaled(wanted, second, engine)
        engine.run(plan_for(wanted, engine.found()), declared=wanted, order=order)
    assert (engine.told, engine.config) == ({ref.name for ref in wanted.retired()}, files(tuple(wanted.retired())))


@given(WORKERS, engines(), ORDERS)
def test_data_of_declared_nodes_outlives_every_plan(workers: int, engine: Engine, order: Random) -> None:
    wanted = remembered(workers, engine)
    theirs = {volume for volume in engine.volumes if volume[0] in set(wanted.nodes())}
    engine.run(plan_for(wanted, engine.found()), declared=wanted, order=order)
    assert theirs <= engine.volumes


@given(WORKERS, engines(), ORDERS, st.integers(0, 30))
def test_remove_leaves_nothing_of_a_plan_that_was_broken_off(workers: int, engine: Engine, order: Random, most: int) -> None:
    wanted = remembered(workers, engine)
    engine.run(plan_for(wanted, engine.found()), declared=wanted, order=order, most=most)
    engine.run(remove(REF, engine.found(), last_of_tenant=True), declared=None, order=order)
    assert engine.found() == Found()
    assert remove(REF, engine.found(), last_of_tenant=True) == Plan()


@given(engines(), ORDERS)
def test_the_network_stays_while_its_tenant_has_another_cluster(engine: Engine, order: Random) -> None:
    before = set(engine.networks)
    engine.run(remove(REF, engine.found(), last_of_tenant=False), declared=None, order=order)
    assert (engine.nodes, engine.volumes, engine.config, engine.networks) == ({}, set(), None, before)


@given(engines(), ORDERS)
def test_stop_stops_all_and_takes_nothing_away(engine: Engine, order: Random) -> None:
    nodes, volumes = set(engine.nodes), set(engine.volumes)
    engine.run(stop(engine.found()), declared=None, order=order)
    assert Status.RUNNING not in {each.status for each in engine.nodes.values()}
    assert (set(engine.nodes), engine.volumes) == (nodes, volumes)
    assert stop(engine.found()) == Plan()


@given(WORKERS, engines())
def test_daemons_are_told_only_where_a_running_one_has_another_list(workers: int, engine: Engine) -> None:
    wanted, found = remembered(workers, engine), engine.found()
    assume(not set(engine.nodes) - set(wanted.nodes()))
    told = any(isinstance(step, RefreshNodes) for step in plan_for(wanted, found))
    other = (engine.config or {}).get(LIST) != files(tuple(wanted.retired()))[LIST]
    reader = any(each.ref.name == LIST.partition("/")[0] for each in found.nodes)
    assert told == (other and reader and any(each.status is Status.RUNNING for each in found.nodes))


@given(WORKERS, engines())
def test_only_what_is_missing_stopped_drifted_or_dead_is_made(workers: int, engine: Engine) -> None:
    wanted = remembered(workers, engine)
    made = {step.spec.ref: step.reason for step in plan_for(wanted, engine.found()) if isinstance(step, EnsureNode)}
    for ref in {*wanted.nodes(), *engine.nodes}:
        there = engine.nodes.get(ref)
        if there is None:
            assert made[ref] == "missing"
        elif there.digest != node(ref).digest or there.status is Status.FAILED:
            assert made[ref] == "drifted"
        else:
            assert made.get(ref) == (None if there.status is Status.RUNNING else "stopped")


def test_a_scale_down_says_each_step_in_words() -> None:
    engine = Engine({ref: node(ref) for ref in (MASTER, worker(0), worker(1))}, {(worker(1), 0)}, {"acme"}, files())
    wanted = remembered(1, engine)
    plan = plan_for(wanted, engine.found())
    assert [str(step) for step in plan] == [
        "write the configuration, excluding worker-1",
        "tell HDFS and YARN which nodes are excluded",
        "note that HDFS and YARN know their lists",
        "decommission worker-1",
        "delete the node worker-1",
        "delete volume 0 of worker-1",
    ]
    engine.run(plan, declared=wanted, order=Random(0))  # noqa: S311
    assert [str(step) for step in plan_for(rescaled(wanted, 2, engine), engine.found())] == [
        "write the configuration",
        "wait until HDFS has given up the former worker-1",
        "make the node worker-1",
        "tell HDFS and YARN which nodes are excluded",
        "note that HDFS and YARN know their lists",
    ]


def test_making_starting_and_making_again_have_their_own_words() -> None:
    engine = Engine({MASTER: node(MASTER, Status.STOPPED), worker(0): node(worker(0), Status.STOPPED, drifted=True)})
    assert [str(step) for step in plan_for(remembered(2, engine), engine.found())] == [
        "make the network of acme",
        "write the configuration",
        "start the node master-0",
        "make again the node worker-0",
        "make the node worker-1",
    ]


def test_a_deletion_says_each_step_in_words() -> None:
    engine = Engine({MASTER: node(MASTER)}, {(MASTER, 0)}, {"acme"}, files())
    assert [str(step) for step in remove(REF, engine.found(), last_of_tenant=True)] == [
        "delete the node master-0",
        "delete volume 0 of master-0",
        "delete the configuration",
        "delete the network of acme",
    ]
    assert [str(step) for step in stop(engine.found())] == ["stop the node master-0"]


def test_a_plan_has_no_empty_stages_and_counts_its_steps() -> None:
    first, second = StopNode(MASTER), StopNode(worker(0))
    plan = Plan.of((), (first, second), ())
    assert (plan.stages, len(plan), list(plan), bool(plan), bool(Plan.of((), ()))) == (((first, second),), 2, [first, second], True, False)


# Limits


@pytest.mark.parametrize("changed", [{"memory": 512}, {"cpus": 0.5}])
def test_a_node_that_runs_gets_its_limits_before_anything_else(changed: dict[str, float]) -> None:
    wanted = cluster(2)
    nodes = tuple(replace(node(ref), **(changed if ref == worker(1) else {})) for ref in wanted.nodes())
    found = Found(nodes, frozenset({"acme"}), frozenset(), {REF: config_digests(files(other="old"))})
    plan = plan_for(wanted, found)
    assert plan.stages[0] == (ResizeNode(worker(1), 1024, 1.0),)
    assert str(plan.stages[0][0]) == "limit the node worker-1 to 1g and 1 cores"
    assert isinstance(plan.stages[1][0], PutConfig)


@pytest.mark.parametrize("status", [Status.STOPPED, Status.FAILED])
@pytest.mark.parametrize("drifted", [False, True])
def test_a_node_that_is_started_or_made_again_has_its_limits_by_that(status: Status, drifted: bool) -> None:
    wanted = cluster(1)
    changed = replace(node(worker(0), status, drifted=drifted), memory=512)
    found = Found((node(MASTER), changed), frozenset({"acme"}), frozenset(), {REF: config_digests(files())})
    (only,) = plan_for(wanted, found)
    assert isinstance(only, EnsureNode)
