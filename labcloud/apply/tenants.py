"""The verbs that change tenants: each changes what is wanted first. Running one again finishes a broken-off run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from labcloud.apply.clusters import Clusters
from labcloud.apply.journal import Journal, Operation
from labcloud.apply.tenancy import Change, TenantView, changed, overdrawn, view
from labcloud.apply.verbs import Terms
from labcloud.apply.watch import Event, Kind, Watch
from labcloud.errors import ConflictError, LabError, NotFoundError, PartlyDoneError
from labcloud.lab import Lab
from labcloud.lab.locks import tenant_lock
from labcloud.lab.tenants import known_profile
from labcloud.model import Cluster, Tenant, Wanted, tenant_name
from labcloud.profiles import names
from labcloud.providers.base import Provider

_DEFAULT_PROVIDER: Final = "docker"


class Tenants:
    """The verbs, for one lab. ``provider`` opens an engine by its name; ``clusters`` are the verbs for clusters."""

    def __init__(self, lab: Lab, journal: Journal, provider: Callable[[str], Provider], watch: Watch, clusters: Clusters) -> None:
        self._lab = lab
        self._journal = journal
        self._provider = provider
        self._watch = watch
        self._clusters = clusters

    def views(self) -> list[TenantView]:
        """All tenants, by name."""
        clusters = self._lab.clusters()
        return [view(tenant, [each for each in clusters if each.ref.tenant == tenant.name]) for tenant in self._lab.tenants()]

    def show(self, name: str) -> TenantView:
        """One tenant, its file checked whole. Raise NotFoundError if there is none."""
        return view(self._known(name, names()), self._lab.clusters(name))

    def create(self, name: str, change: Change, terms: Terms, engine: str | None = None) -> bool:
        """Declare the tenant, and have on ``engine`` what it needs there: its network, and a project where the engine has such. Returns
        whether it is new; raise ConflictError if it is there and wanted differently."""
        _check_limits(change, names())
        with self._changing(name, "tenant create", terms, change.noted()):
            there = self._lab.tenant(name)
            if there is None:
                self._lab.create_tenant(changed(Tenant(name, 0), change), f"create the tenant {name}")
            elif changed(there, change) != there:
                raise ConflictError(
                    f"the tenant {name} exists already, and is declared differently", resolution=f"change it: labcloud tenant set {name} …"
                )
            if engine is not None:
                wanted, provider = self._known(name), self._provider(engine)
                provider.ensure_tenant(wanted)
                provider.ensure_network(name, wanted.subnet)
            return there is None

    def set(self, name: str, change: Change, terms: Terms) -> list[str]:
        """Change the tenant; running clusters get changed members at once. Returns what people should know about it, as sentences.

        Raise PartlyDoneError if some clusters do not have the members yet.
        """
        _check_limits(change, names())
        with self._changing(name, "tenant set", terms, change.noted()) as operation:
            there = self._known(name)
            wanted = changed(there, change)
            self._lab.save_tenant(wanted, f"change the tenant {name}")
            clusters = self._lab.clusters(name)
            notes = overdrawn(wanted, clusters) if change.quotas or change.limits else []
            if change.quotas:
                for engine in sorted({*(each.provider for each in clusters), *filter(None, [wanted.defaults.get("provider")])}):
                    self._provider(engine).ensure_tenant(wanted)
            if wanted.subnet != there.subnet and clusters:
                notes.append(f"the network of {name} stays where it is until its last cluster is deleted")
            if change.people:
                self._update_members(name, clusters, terms, operation)
            return notes

    def _update_members(self, name: str, clusters: Sequence[Cluster], terms: Terms, operation: Operation) -> None:
        running = [each.ref for each in clusters if each.state is Wanted.RUNNING]
        failed = []
        for ref in running:
            try:
                plan = self._clusters.update_members(ref, terms)
                operation.event("members", cluster=str(ref), steps=len(plan))
            except LabError as exc:
                failed.append((ref, exc))
        if failed:
            raise PartlyDoneError(
                f"the members of {name} are declared, but {len(failed)} of {len(running)} clusters do not have them yet: "
                + ", ".join(str(ref) for ref, _ in failed),
                details="\n".join(filter(None, (line for ref, exc in failed for line in (f"{ref}: {exc.brief}", exc.details)))),
                resolution="run the same command again",
            )

    def delete(self, name: str, terms: Terms, provider: str | None = None) -> None:
        """Delete the tenant, and its network on ``provider``, or on every engine that the lab's clusters use.

        Raise ConflictError if it has clusters, NotFoundError if there is nothing of that name.
        """
        with self._changing(name, "tenant delete", terms):
            there = self._lab.tenant(name)
            self._check_empty(name, [str(each.ref) for each in self._lab.clusters(name)])
            engines = self._engines(there, provider)
            gone = [self._delete_network(name, each) for each in engines]
            gone += [self._provider(each).delete_tenant(name) for each in engines]
            if not self._lab.remove_tenant(name, f"delete the tenant {name}") and not any(gone):
                raise self._unknown(name)

    def _engines(self, tenant: Tenant | None, provider: str | None) -> list[str]:
        if provider is not None:
            return [provider]
        default = tenant.defaults.get("provider") if tenant else None
        used = {each.provider for each in self._lab.clusters()} | ({default} if default else set())
        return sorted(used) or [_DEFAULT_PROVIDER]

    def _delete_network(self, name: str, engine: str) -> bool:
        """Returns whether there was one. Raise ConflictError if nodes are there that nobody declared."""
        provider = self._provider(engine)
        found = provider.find(tenant=name)
        self._check_empty(name, sorted({str(node.ref.cluster) for node in found.nodes}))
        if name in found.networks:
            provider.delete_network(name)
        return name in found.networks

    def _check_empty(self, name: str, clusters: Collection[str]) -> None:
        if clusters:
            raise ConflictError(
                f"the tenant {name} has {len(clusters)} cluster{'s' if len(clusters) > 1 else ''}: {', '.join(clusters)}",
                resolution=f"delete them first: labcloud delete {' '.join(clusters)}",
            )

    def _known(self, name: str, profiles: Collection[str] | None = None) -> Tenant:
        tenant = self._lab.tenant(name, profiles=profiles)
        if tenant is None:
            raise self._unknown(name)
        return tenant

    def _unknown(self, name: str) -> NotFoundError:
        others = ", ".join(each.name for each in self._lab.tenants()) or "none"
        return NotFoundError(f"there is no tenant {name}", resolution=f"tenants: {others}; make it: labcloud tenant create {name}")

    @contextmanager
    def _changing(self, name: str, verb: str, terms: Terms, spec: Mapping[str, object] | None = None) -> Iterator[Operation]:
        def waiting(text: str) -> None:
            self._watch.tell(Event(name, Kind.WAITING, text))

        tenant_name(name)
        with (
            tenant_lock(self._lab.home, name, verb=verb, timeout=terms.timeout, waiting=waiting, pause=self._watch.pause),
            self._journal.operation(verb, name, spec) as operation,
        ):
            yield operation


def _check_limits(change: Change, profiles: Collection[str]) -> None:
    """Raise UsageError for a limit of a profile that there is not; one that shall go may be of any."""
    for name, limit in change.limits.items():
        if limit is not None:
            known_profile(name, profiles)
