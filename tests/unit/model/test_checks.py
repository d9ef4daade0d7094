"""The command that asks for a cluster again."""

from __future__ import annotations

from dataclasses import replace

from labcloud.model import Cluster, ClusterRef, Configuration, NodeGroup
from labcloud.model.checks import ask_again

PLAIN = Cluster(
    ClusterRef("acme", "c"), "hadoop-2.7", "docker", "0", "i", (NodeGroup("master", 1, 1536, 2.0), NodeGroup("worker", 3, 2048, 1.0))
)


def test_what_differs_between_groups_is_left_to_the_profile() -> None:
    assert ask_again(PLAIN) == "labcloud create hadoop-2.7 --tenant acme --name c --workers 3 --volume-size 10g"


def test_what_all_nodes_have_alike_is_said_again() -> None:
    alike = replace(PLAIN, groups=tuple(replace(each, memory=900, cpus=1.5) for each in PLAIN.groups))
    assert ask_again(alike).endswith("--workers 3 --memory 900m --cpus 1.5 --volume-size 10g")


def test_an_option_that_is_given_takes_the_place_of_the_old_one() -> None:
    assert ask_again(PLAIN, workers=2, volume_size="5g") == "labcloud create hadoop-2.7 --tenant acme --name c --workers 2 --volume-size 5g"


def test_settings_and_ports_come_along_and_are_quoted() -> None:
    full = replace(PLAIN, configuration=Configuration(settings={"core-site:x": "a b;c"}), publish={"namenode": 1})
    assert ask_again(full).endswith("--publish namenode=1 --set 'core-site:x=a b;c'")
    assert "--publish namenode=2" in ask_again(full, {"namenode": 2})
