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

ANY_TYPE: Final = "default"
"""The volume type of who asks for none."""


class Settings(BaseModel):
    """``cloud`` and ``region`` are names of ``clouds.yaml``; ``availability-zone`` is where servers shall be.

    ``external-network`` is what tenants' routers lead to (``none`` for no router). Where nodes' addresses are not reached from here,
    ``floating-addresses`` gives each node one of the external network, ``jump`` is ``[USER@]HOST`` over which they are, or ``proxy`` a
    program, with arguments, that connects to ``%h`` port ``%p``; `NETWORK` stands in it for the tenant's network. ``nameservers`` are what
    nodes ask for other names; ``ssh-from`` is who is let in; ``user`` is who logs in on the images' machines. With ``projects`` each tenant
    has a project of its own, in which users of it have ``role``. ``boot-volume`` is the type of Cinder's volumes that servers boot from
    (`ANY_TYPE`: the cloud's own choice); without it they have their own disk where they run. ``operator-cloud`` is the entry of
    ``clouds.yaml`` with which an administrator moves servers from host to host; ``cloud`` if there is none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    cloud: str = ""
    region: str = ""
    zone: str = Field("", alias="availability-zone")
    external: str = Field("", alias="external-network")
    floating: bool = Field(False, alias="floating-addresses")
    jump: str = ""
    proxy: tuple[str, ...] = ()
    nameservers: tuple[str, ...] = ()
    user: str = "labcloud"
    config_drive: bool | None = Field(None, alias="config-drive")
    projects: bool = False
    role: str = "member"
    boot_volume: str = Field("", alias="boot-volume")
    operator: str = Field("", alias="operator-cloud")
    ssh_from: str = Field("0.0.0.0/0", alias="ssh-from")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if sum(map(bool, (self.jump, self.proxy, self.floating))) > 1:
            raise ValueError("jump, proxy and floating-addresses are three ways to the same nodes: say one of them")
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
