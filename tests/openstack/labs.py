"""A lab whose nodes are guests of the test cloud, which it knows as the cloud's member does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from labcloud.lab import home
from tests.acceptance.driver import Labcloud, run
from tests.openstack.driver import Cloud
from tests.openstack.inventory import inventory

# The project's guests are reached as a tenant of a public cloud reaches them.
_SETTINGS = {"availability-zone": "real", "external-network": "public", "floating-addresses": True}


@contextmanager
def lab_of_guests(cloud: Cloud, folder: Path, profile: str) -> Iterator[Labcloud]:
    """The lab, at ``folder``; without the profile's published image, the project holds afterwards what it held before."""
    before = inventory(cloud.member)
    lab = Labcloud(folder, home() / "cache")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in cloud.environment.items():
            patch.setenv(name, value)
        lab("backup", "policy", "set", "--lab", "enabled=false")
        settings = lab.home / "lab" / "openstack.yaml"
        settings.write_text(yaml.safe_dump(_SETTINGS))
        for argv in (("add", settings.name), ("commit", "-q", "-m", "which cloud")):
            run(("git", "-C", str(settings.parent), *argv))
        yield lab
    for image in cloud.member.image.images(owner=cloud.member.current_project_id, name=f"labcloud/{profile}"):
        cloud.member.image.delete_image(image)
    assert inventory(cloud.member) == before
