"""What a lab says of the Docker Engines of other machines: ``docker.yaml`` of the lab repository. Without it there is one engine, this
machine's."""

from __future__ import annotations

import re
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from labcloud.errors import ConfigError
from labcloud.providers.docker.opening import FILE
from labcloud.providers.docker.seats import HOME

_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,40}[a-z0-9])?")
MOST: Final = 7
"""How many other hosts there can be: each has a sixteenth of a tenant's addresses."""


class Place(BaseModel):
    """Another machine's engine: a ``context`` of Docker's command line, or a ``url`` (``ssh://root@lab2``, ``unix:///run/lab2.sock``). Its
    machine is reached from the others at ``address``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: IPv4Address
    context: str = ""
    url: str = Field("", pattern=r"^(|(ssh|tcp|unix)://[^\s-]\S*)$")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.context) == bool(self.url):
            raise ValueError("say either context or url")
        return self


class Settings(BaseModel):
    """``name`` is what the engine of this machine is called, ``address`` where other machines reach it; ``hosts`` are the others, by
    name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: IPv4Address
    name: str = HOME
    hosts: dict[str, Place] = Field(min_length=1, max_length=MOST)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        bad = [each for each in (self.name, *self.hosts) if not _NAME.fullmatch(each)]
        if bad:
            raise ValueError(f"{bad[0]!r} is no name of a host: lower-case letters, digits and '-'")
        if self.name in self.hosts:
            raise ValueError(f"{self.name} is this machine's engine and another's")
        addresses = [self.address, *(each.address for each in self.hosts.values())]
        if len(set(addresses)) < len(addresses):
            raise ValueError("two hosts have one address")
        return self


def read_settings(home: Path) -> Settings | None:
    """The lab's settings; None if there are none. Raise ConfigError, with the file and what is wrong in it."""
    path = home / "lab" / FILE
    try:
        return Settings.model_validate(yaml.safe_load(path.read_text()))
    except FileNotFoundError:
        return None
    except (yaml.YAMLError, ValidationError) as exc:
        raise ConfigError(f"{path} cannot be read", details=str(exc), resolution="docs/migration.md says what may stand in it") from exc
