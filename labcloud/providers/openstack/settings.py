"""What a lab says of the cloud that it uses: ``openstack.yaml`` of the lab repository. All of it is optional."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from labcloud.errors import ConfigError

FILE: Final = "openstack.yaml"
NETWORK: Final = "{network}"
"""Stands in ``proxy`` for the id of the tenant's network."""


class Settings(BaseModel):
    """``cloud`` and ``region`` are names of ``clouds.yaml``; ``availability-zone`` is where servers shall be.

    ``external-network`` is what tenants' routers lead to (``none`` for no router). ``floating`` gives each node an address of it, by
    which it is reached; ``jump`` is ``[USER@]HOST``, over which nodes are reached instead; ``proxy`` is a program with its arguments that
    connects to ``%h`` port ``%p``, where `NETWORK` stands for the tenant's network. ``nameservers`` are what nodes ask for names that are not theirs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    cloud: str = ""
    region: str = ""
    zone: str = Field("", alias="availability-zone")
    external: str = Field("", alias="external-network")
    floating: bool = False
    jump: str = ""
    proxy: tuple[str, ...] = ()
    nameservers: tuple[str, ...] = ()
    user: str = "labcloud"
    config_drive: bool | None = Field(None, alias="config-drive")
    ssh_from: str = Field("0.0.0.0/0", alias="ssh-from")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if sum(map(bool, (self.jump, self.proxy, self.floating))) > 1:
            raise ValueError("of jump, proxy and floating one can be said: each is a way to nodes")
        return self


def read_settings(home: Path) -> Settings:
    """The lab's settings. Raise ConfigError, with the file and what is wrong in it."""
    path = home / "lab" / FILE
    if not path.exists():
        return Settings.model_validate({})
    try:
        return Settings.model_validate(yaml.safe_load(path.read_text()) or {})
    except (yaml.YAMLError, ValidationError) as exc:
        raise ConfigError(f"{path} cannot be read", details=str(exc), resolution="docs/openstack.md says what may stand in it") from exc
