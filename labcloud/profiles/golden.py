"""The golden rendering of each profile: ``expected/`` beside its profile.yaml, for one master and two workers.

``python -m labcloud.profiles.golden [PROFILE…]`` writes them anew, to be read like code in the diff.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from labcloud.model import Cluster, ClusterRef, NodeGroup
from labcloud.profiles.loading import load, names
from labcloud.profiles.model import Profile
from labcloud.profiles.rendering import by_group, render

DOMAIN: Final = "lab.internal"


def sample(profile: Profile) -> Cluster:
    """A cluster of the profile's own defaults."""
    groups = tuple(NodeGroup(each.name, each.count, each.memory, each.cpus, each.data_volumes) for each in profile.groups.values())
    return Cluster(
        ref=ClusterRef("acme", "lab"), profile=profile.name, provider="docker", id="0123456789abcdef" * 2, image="", groups=groups
    )


def rendered(name: str) -> dict[str, str]:
    """The files of the first node of each group, below the group's name: its others have the same."""
    profile = load(name)
    return by_group(render(profile, sample(profile), DOMAIN))


def write(name: str) -> Path:
    """Replace the profile's golden rendering; returns its folder."""
    folder = load(name).folders[0] / "expected"
    shutil.rmtree(folder, ignore_errors=True)
    for path, text in rendered(name).items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return folder


def main(arguments: Sequence[str]) -> None:
    for name in arguments or names():
        sys.stdout.write(f"{write(name)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
