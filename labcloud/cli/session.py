"""What a command works with: the lab, its journal, its engines, opened when they are first asked for."""

from __future__ import annotations

import importlib
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from labcloud.cli.output import note
from labcloud.errors import LabError, UsageError
from labcloud.lab import Lab, home
from labcloud.model import ClusterRef

if TYPE_CHECKING:
    from labcloud.apply.clusters import Clusters
    from labcloud.apply.configuring import Configuring
    from labcloud.apply.datasets import Datasets
    from labcloud.apply.drifting import Drifting
    from labcloud.apply.journal import Journal
    from labcloud.apply.look import Look
    from labcloud.apply.tenants import Tenants
    from labcloud.apply.watch import Watch
    from labcloud.providers.base import Provider

# Those that are shipped; the entry points "labcloud.providers" name others (reading them all takes longer than `list`).
_SHIPPED: Final = {
    "docker": "labcloud.providers.docker.opening:provider",
    "openstack": "labcloud.providers.openstack.tenants:provider",
    "simulated": "labcloud.providers.simulated.provider:SimulatedProvider",
}


class Session:
    """One command's view of the lab."""

    def __init__(self) -> None:
        self.lab = Lab(home())
        self._providers: dict[str, Provider] = {}
        self._opening = threading.Lock()

    def provider(self, name: str) -> Provider:
        """The engine ``name``. Raise UsageError if nobody ships one."""
        with self._opening:  # the clusters of several tenants are made on threads
            if name not in self._providers:
                self._providers[name] = _provider_class(name)(self.lab.home, self.lab.id)
            return self._providers[name]

    def journal(self) -> Journal:
        from labcloud.apply.journal import Journal

        return Journal(self.lab.home)

    def clusters(self, watch: Watch, *, fresh: bool = False) -> Clusters:
        """The verbs; ``fresh`` lets preflight measure everything anew."""
        from labcloud.apply.clusters import Clusters

        return Clusters(self.lab, self.journal(), self.provider, watch, fresh=fresh)

    def configuring(self, watch: Watch, *, fresh: bool = False) -> Configuring:
        """The verbs that apply configurations."""
        from labcloud.apply.configuring import Configuring

        return Configuring(self.lab, self.journal(), self.provider, watch, fresh=fresh)

    def drifting(self, watch: Watch) -> Drifting:
        from labcloud.apply.drifting import Drifting

        return Drifting(self.lab, self.journal(), self.provider, watch)

    def tenants(self, watch: Watch) -> Tenants:
        from labcloud.apply.tenants import Tenants

        return Tenants(self.lab, self.journal(), self.provider, watch, self.clusters(watch))

    def datasets(self, watch: Watch) -> Datasets:
        from labcloud.apply.datasets import Datasets

        return Datasets(self.lab, self.journal(), self.provider, watch)

    def look(self) -> Look:
        from labcloud.apply.look import Look

        return Look(self.lab, self.provider)

    def close(self) -> None:
        for found in self.lab.broken:
            broken = self.lab.fault(found.path)  # it may have been corrected just now
            if broken:
                note(f"note: {broken}; to take that back: labcloud config rollback --file {broken.path}")
        for provider in self._providers.values():
            provider.close()


@contextmanager
def session() -> Iterator[Session]:
    """A session that lets go of its engines at the end."""
    opened = Session()
    with suppress(LabError):  # who may only read reads what is there
        opened.lab.mend()
    try:
        yield opened
    finally:
        opened.close()


def _provider_class(name: str) -> Callable[[Path, str], Provider]:
    target = _SHIPPED.get(name)
    if target is None:
        from importlib.metadata import entry_points

        found = {each.name: each for each in entry_points(group="labcloud.providers")}
        if name not in found:
            raise UsageError(f"there is no provider {name!r}", resolution=f"known are {', '.join(sorted(found.keys() | _SHIPPED.keys()))}")
        loaded: Callable[[Path, str], Provider] = found[name].load()
        return loaded
    module, _, attribute = target.partition(":")
    shipped: Callable[[Path, str], Provider] = getattr(importlib.import_module(module), attribute)
    return shipped


class Seconds(click.FloatRange):
    """A time limit; not a number that no clock reaches."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        seconds: float = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail("this is not a number of seconds", param, ctx)
        return seconds


class ClusterParam(click.ParamType[ClusterRef]):
    """``TENANT/CLUSTER``, or ``CLUSTER`` with ``--tenant``, which comes first in the options."""

    name = "cluster"

    def convert(self, value: str | ClusterRef, param: click.Parameter | None, ctx: click.Context | None) -> ClusterRef:  # noqa: ARG002
        if isinstance(value, ClusterRef):
            return value
        tenant = ctx.params.get("tenant") if ctx else None
        return ClusterRef.parse(value, tenant if isinstance(tenant, str) else None)


tenant_option = click.option("--tenant", metavar="T", is_eager=True, help="The tenant, where CLUSTER is a bare name.")
cluster_argument = click.argument("cluster", type=ClusterParam())
