"""Which provider a lab's Docker is: one engine, or several. What several need is loaded by those labs alone that have them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from labcloud.providers.base import Provider
from labcloud.providers.docker.provider import DockerProvider

FILE: Final = "docker.yaml"


def provider(home: Path, lab_id: str) -> Provider:
    """The lab's engine, or its engines, as its settings want it."""
    if (home / "lab" / FILE).exists():
        from labcloud.providers.docker.settings import read_settings
        from labcloud.providers.docker.spread import SpreadDocker

        if settings := read_settings(home):
            return SpreadDocker(home, lab_id, settings)
    return DockerProvider(home, lab_id)
