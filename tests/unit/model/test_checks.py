"""The command that asks for a cluster again."""

from __future__ import annotations

from dataclasses import replace

from labcloud.model import Cluster, ClusterRef, Configuration, NodeGroup, Volume
from labcloud.model.checks import ask_again

PLAIN = Cluster(
    ClusterRef("acme", "c"), "hadoop-2.7", "docker", "0", "i", (NodeGroup("master", 1, 1536, 2.0), NodeGroup("worker", 3, 2048, 1.0))
)


OWN = "--group master:memory=1536m,cpus=2 --group worker:memory=2g,cpus=1"


def test_what_differs_between_groups_is_said_of_each() -> None:
    assert ask_again(PLAIN) == f"labcloud create hadoop-2.7 --tenant acme --name c --workers 3 --volume-size 10g {OWN}"


def test_what_is_given_for_all_is_not_said_of_groups() -> None:
    asked = ask_again(PLAIN, memory="4g", cpus=1)
    assert asked == "labcloud create hadoop-2.7 --tenant acme --name c --workers 3 --volume-size 10g --memory 4g --cpus 1"


def test_volumes_of_several_classes_are_said_again_and_resized() -> None:
    alike = [replace(each, memory=900, cpus=1.5) for each in PLAIN.groups]
    mixed = replace(PLAIN, groups=(alike[0], replace(alike[1], volumes=(Volume(20, "fast"), Volume(20, "fast"), Volume(100, "bulk")))))
    start = "--workers 3 --memory 900m --cpus 1.5"
    assert ask_again(mixed).endswith(f"{start} --group master:volume-size=10g --group worker:volumes=2x20g@fast+1x100g@bulk")
    smaller = ask_again(mixed, volume_size="50g")
    assert smaller.endswith(f"{start} --group master:volume-size=10g --group worker:volumes=2x20g@fast+1x50g@bulk")


def test_what_all_nodes_have_alike_is_said_again() -> None:
    alike = replace(PLAIN, groups=tuple(replace(each, memory=900, cpus=1.5) for each in PLAIN.groups))
    assert ask_again(alike).endswith("--workers 3 --memory 900m --cpus 1.5 --volume-size 10g")


def test_an_option_that_is_given_takes_the_place_of_the_old_one() -> None:
    asked = ask_again(PLAIN, workers=2, volume_size="5g")
    assert asked == f"labcloud create hadoop-2.7 --tenant acme --name c --workers 2 --volume-size 5g {OWN}"


def test_settings_and_ports_come_along_and_are_quoted() -> None:
    full = replace(PLAIN, configuration=Configuration(settings={"core-site:x": "a b;c"}), publish={"namenode": 1})
    assert ask_again(full).endswith("--publish namenode=1 --set 'core-site:x=a b;c'")
    assert "--publish namenode=2" in ask_again(full, {"namenode": 2})
