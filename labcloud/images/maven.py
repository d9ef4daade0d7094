"""Locking: which jars a profile's artifacts come to, resolved by Maven itself. Needs ``mvn``; building from a lock does not.

Knows coordinates and repositories; where a jar goes is decided elsewhere (`labcloud.images.placement`).
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from labcloud.errors import EngineError
from labcloud.images import download

MIRROR_SETTING: Final = "LABCLOUD_MAVEN_MIRROR"
_MIRROR: Final = "https://repo.maven.apache.org/maven2"
_GOAL: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
_ALONE: Final = "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>"


@dataclass(frozen=True)
class Coordinates:
    """``group:artifact:version``, with ``type`` and ``classifier`` where there are."""

    group: str
    artifact: str
    version: str
    type: str = "jar"
    classifier: str = ""

    @classmethod
    def parse(cls, text: str) -> Coordinates:
        """Read ``group:artifact:version[:type[:classifier]]``, or with the classifier alone as the fourth part."""
        parts = text.split(":")
        if len(parts) == 4 and parts[3] not in ("jar", "zip", "tar.gz", "war", "pom"):
            parts = [*parts[:3], "jar", parts[3]]
        return cls(*parts)

    @property
    def path(self) -> str:
        """Where a repository has it."""
        classifier = f"-{self.classifier}" if self.classifier else ""
        folder = f"{self.group.replace('.', '/')}/{self.artifact}/{self.version}"
        return f"{folder}/{self.artifact}-{self.version}{classifier}.{self.type}"


def mirror() -> str:
    """The repository's address, without a slash at its end."""
    return (os.environ.get(MIRROR_SETTING) or _MIRROR).rstrip("/")


def available(coordinates: Coordinates) -> bool:
    """Whether the repository has the file and its description."""
    pom = Coordinates(coordinates.group, coordinates.artifact, coordinates.version, "pom")
    return all(download.exists(f"{mirror()}/{each.path}") for each in (pom, coordinates))


def resolve(wanted: Sequence[tuple[Coordinates, bool]], folder: Path) -> list[Path]:
    """Put all that ``wanted`` (coordinates, and whether with dependencies) comes to under ``folder``, laid out as the
    repository is. Return the files. Raise EngineError with what Maven said."""
    with tempfile.TemporaryDirectory(prefix="labcloud-lock-") as scratch:
        pom, settings = Path(scratch, "pom.xml"), Path(scratch, "settings.xml")
        pom.write_text(_pom(wanted), encoding="utf-8")
        settings.write_text(_settings(), encoding="utf-8")
        argv = ["mvn", "-q", "-B", "-ntp", "-s", str(settings), "-f", str(pom), _GOAL]
        options = [f"-DoutputDirectory={folder}", "-Dmdep.useRepositoryLayout=true", "-DincludeScope=runtime"]
        try:
            done = subprocess.run([*argv, *options], capture_output=True, text=True, check=False)
        except FileNotFoundError as exc:
            raise EngineError("the program mvn is missing; only locking needs it", resolution="apt-get install maven") from exc
    if done.returncode:
        said = (done.stdout + done.stderr)[-4000:]
        raise EngineError("Maven could not resolve the artifacts", details=said, resolution="correct the profile's artifacts")
    # The repository layout brings descriptions (.pom) along.
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in (".jar", ".zip", ".gz"))


def _pom(wanted: Sequence[tuple[Coordinates, bool]]) -> str:
    dependencies = "\n".join(_dependency(coordinates, transitive) for coordinates, transitive in wanted)
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>labcloud</groupId>'
        "<artifactId>stack</artifactId><version>1</version><packaging>pom</packaging>"
        f"<dependencies>\n{dependencies}\n</dependencies></project>\n"
    )


def _dependency(coordinates: Coordinates, transitive: bool) -> str:
    fields = {
        "groupId": coordinates.group,
        "artifactId": coordinates.artifact,
        "version": coordinates.version,
        "type": coordinates.type,
        "classifier": coordinates.classifier,
    }
    inner = "".join(f"<{key}>{escape(value)}</{key}>" for key, value in fields.items() if value)
    return f"<dependency>{inner}{'' if transitive else _ALONE}</dependency>"


def _settings() -> str:
    return (
        "<settings><mirrors><mirror><id>labcloud</id><mirrorOf>central</mirrorOf>"
        f"<url>{escape(mirror())}</url></mirror></mirrors></settings>\n"
    )
