"""Changed members: nodes that run learn of them, nothing restarts, and a run that breaks off leaves a mark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from labcloud.model import Cluster, ClusterRef, Found, FoundNode, NodeGroup, NodeSpec, NodeVolume, Status, config_digests
from labcloud.plan import Blueprint, EnsureNetwork, Plan, PutConfig, converge, members

Find = Callable[[Cluster, Found, Blueprint], Plan]
REF = ClusterRef("acme", "c")
WANTED = Cluster(REF, "p", "simulated", "0" * 32, "image:1", (NodeGroup("master", 1, 1024), NodeGroup("worker", 1, 1024)))
LIST = "master-0/conf/dfs.exclude"
PLAIN = {LIST: "", "master-0/conf/site.xml": "", "worker-0/conf/site.xml": ""}
ALICE = {"master-0/users": "alice 20001\n", "worker-0/users": "alice 20001\n"}
MARKS = {"master-0/users.unread": "", "worker-0/users.unread": ""}


def blueprint(config: dict[str, str]) -> Blueprint:
    specs = {ref: NodeSpec(ref, WANTED.image, WANTED.profile, 1024, 1.0, (NodeVolume(),)) for ref in WANTED.nodes()}
    return Blueprint(specs, config, frozenset({LIST}), frozenset({"worker"}), subnet="10.9.0.0/24")


def found(config: dict[str, str], *stopped: str) -> Found:
    nodes = tuple(
        FoundNode(
            ref, Status.STOPPED if ref.name in stopped else Status.RUNNING, "p", "image:1", spec.digest, 1024, engine_id="e", cpus=1.0
        )
        for ref, spec in blueprint({}).specs.items()
    )
    return Found(nodes, frozenset({"acme"}), frozenset(), {REF: config_digests(config)})


def words(plan: Plan) -> list[list[str]]:
    return [[str(step) for step in stage] for stage in plan.stages]


def configs(plan: Plan) -> list[set[str]]:
    return [set(step.files) for step in plan if isinstance(step, PutConfig)]


TOLD = [
    ["write the configuration"],
    ["update the users of master-0", "update the users of worker-0"],
    ["note that the nodes have their users"],
]


@pytest.mark.parametrize("find", [converge, members])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (PLAIN, PLAIN | ALICE),
        (PLAIN | ALICE, PLAIN),
        (PLAIN | ALICE, PLAIN | ALICE | {"worker-0/authorized_keys/alice": "ssh-ed25519 AAAA\n"}),
        (PLAIN | ALICE | MARKS, PLAIN | ALICE),
        (PLAIN | MARKS, PLAIN),
    ],
    ids=["joins", "leaves", "another key", "broken off", "broken off when nobody was left"],
)
def test_running_nodes_learn_of_changed_members(find: Find, before: dict[str, str], after: dict[str, str]) -> None:
    plan = find(WANTED, found(before), blueprint(after))
    assert words(plan) == TOLD
    assert configs(plan) == [{*after, *MARKS}, {*after}]


@pytest.mark.parametrize("find", [converge, members])
def test_who_knows_all_members_has_nothing_to_do(find: Find) -> None:
    assert find(WANTED, found(PLAIN | ALICE), blueprint(PLAIN | ALICE)) == Plan()


def test_a_node_that_starts_learns_of_them_by_itself() -> None:
    plan = converge(WANTED, found(PLAIN, "worker-0"), blueprint(PLAIN | ALICE))
    assert words(plan) == [TOLD[0], ["start the node worker-0"], ["update the users of master-0"], TOLD[2]]
    assert words(members(WANTED, found(PLAIN, "worker-0"), blueprint(PLAIN | ALICE))) == [
        TOLD[0],
        ["update the users of master-0"],
        TOLD[2],
    ]


def test_where_no_node_runs_the_configuration_is_all() -> None:
    for before in (PLAIN, PLAIN | MARKS):
        plan = members(WANTED, found(before, "master-0", "worker-0"), blueprint(PLAIN | ALICE))
        assert (words(plan), configs(plan)) == ([["write the configuration"]], [{*PLAIN, *ALICE}])


def test_where_no_node_is_nothing_is_done() -> None:
    assert members(WANTED, Found(), blueprint(PLAIN | ALICE)) == Plan()


def test_other_changes_alone_are_not_made() -> None:
    assert members(WANTED, found(PLAIN | ALICE | {LIST: "worker-1\n"}), blueprint(PLAIN | ALICE)) == Plan()


@pytest.mark.parametrize("before", [PLAIN | {LIST: "worker-7\n"}, PLAIN | {f"{LIST}.unread": ""}], ids=["changed", "marked"])
def test_lists_that_daemons_have_not_read_stay_marked(before: dict[str, str]) -> None:
    plan = members(WANTED, found(before), blueprint(PLAIN | ALICE))
    assert configs(plan) == [{*PLAIN, *ALICE, *MARKS, f"{LIST}.unread"}, {*PLAIN, *ALICE, f"{LIST}.unread"}]


def test_members_and_lists_that_change_together_are_told_together() -> None:
    plan = converge(WANTED, found(PLAIN | {LIST: "worker-7\n"}), blueprint(PLAIN | ALICE))
    assert words(plan) == [
        ["write the configuration"],
        ["tell HDFS and YARN which nodes are excluded", *TOLD[1]],
        ["note that HDFS and YARN know their lists"],
    ]
    assert configs(plan) == [{*PLAIN, *ALICE, *MARKS, f"{LIST}.unread"}, {*PLAIN, *ALICE}]


def test_a_network_is_made_where_it_shall_be() -> None:
    plan = converge(WANTED, replace(found(PLAIN), networks=frozenset()), blueprint(PLAIN))
    assert (list(plan), words(plan)) == ([EnsureNetwork("acme", "10.9.0.0/24")], [["make the network of acme in 10.9.0.0/24"]])
