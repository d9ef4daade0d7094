"""What the verbs that change clusters share: one at a time for a cluster, in the journal, under one deadline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from labcloud.apply.admission import MEMORY_CHECK, Admission
from labcloud.apply.blueprint import draw
from labcloud.apply.decommission import Decommissioner
from labcloud.apply.journal import Journal, Operation
from labcloud.apply.ready import Readiness
from labcloud.apply.runner import Runner
from labcloud.apply.watch import Deadline, Event, Kind, Watch
from labcloud.datasets.placement import stored_datasets
from labcloud.errors import ConfiguringError, ConflictError, NotFoundError
from labcloud.lab import Lab
from labcloud.lab.locks import cluster_lock
from labcloud.model import Cluster, ClusterRef, NodeRef, Wanted
from labcloud.model.checks import Capacity
from labcloud.plan import Blueprint
from labcloud.profiles import Profile, Service, host_name, load
from labcloud.providers.base import Command, Provider, Result

DEFAULT_TIMEOUT: Final = 300.0
_RESTART_LIMIT: Final = "30000"  # milliseconds, as s6-svc takes them


@dataclass(frozen=True)
class Terms:
    """How a verb is done: ``timeout`` seconds for all waits together, whether to wait until the cluster is ready, and which preflight
    checks are passed over for which reasons. ``still`` is called when nobody else can change the cluster any more, and refuses by
    raising."""

    timeout: float = DEFAULT_TIMEOUT
    wait: bool = True
    ignored: Mapping[str, str] = field(default_factory=dict)
    still: Callable[[], None] = lambda: None


class Verbs:
    """For one lab. ``provider`` opens an engine by its name; ``fresh`` lets preflight measure everything anew."""

    def __init__(self, lab: Lab, journal: Journal, provider: Callable[[str], Provider], watch: Watch, *, fresh: bool = False) -> None:
        self._lab = lab
        self._journal = journal
        self._provider = provider
        self._watch = watch
        self._admission = Admission(lab, fresh=fresh)

    @contextmanager
    def _changing(
        self, ref: ClusterRef, verb: str, terms: Terms, spec: Mapping[str, object] | None = None
    ) -> Iterator[tuple[Operation, Deadline]]:
        deadline = Deadline(terms.timeout)

        def waiting(text: str) -> None:
            self._watch.tell(Event(str(ref), Kind.WAITING, text))

        with cluster_lock(self._lab.home, ref, verb=verb, timeout=terms.timeout, waiting=waiting, pause=self._watch.pause):
            terms.still()
            with self._journal.operation(verb, str(ref), spec) as operation:
                yield operation, deadline

    def _known(self, ref: ClusterRef) -> tuple[Cluster, Profile, Provider]:
        wanted = self._lab.cluster(ref)
        if wanted is None:
            raise self._unknown(ref)
        if wanted.state is Wanted.DELETED:
            raise ConflictError(f"the deletion of {ref} was begun and not finished", resolution=f"finish it: labcloud delete {ref}")
        check_whole(wanted)
        return wanted, load(wanted.profile), self._provider(wanted.provider)

    def _unknown(self, ref: ClusterRef) -> NotFoundError:
        others = ", ".join(str(each.ref) for each in self._lab.clusters(ref.tenant)) or "none"
        return NotFoundError(f"there is no cluster {ref}", resolution=f"clusters of {ref.tenant}: {others}; 'labcloud list' shows all")

    def _room(self, provider: Provider, terms: Terms) -> Capacity | None:
        """What the reservation must fit into; nothing if the operator knows better than the check."""
        return None if MEMORY_CHECK in terms.ignored else provider.capacity()

    def _draw(self, wanted: Cluster, profile: Profile, provider: Provider) -> Blueprint:
        return draw(
            wanted,
            profile,
            provider.domain(wanted.ref.tenant),
            self._admission.tenant(wanted.ref.tenant),
            self._lab.shared(wanted.ref.tenant),
            datasets=stored_datasets(self._lab, wanted.datasets),
        )

    def _readiness(self, wanted: Cluster, profile: Profile, provider: Provider) -> Readiness:
        return Readiness(provider, wanted, profile, [each.name for each in self._admission.tenant(wanted.ref.tenant).members])

    def _restart_services(self, provider: Provider, profile: Profile, node: NodeRef, names: Sequence[str]) -> None:
        """Restart services of a node, each so that its clients know that it comes back, where it can tell them."""
        host = host_name(node, provider.domain(node.cluster.tenant))

        def restart(name: str) -> Result:
            folder = f"/run/service/{name}"
            leave = _leave(profile.services[name], host)
            if leave:
                left = provider.execute(node, Command(("s6-svlisten1", "-r", "-t", _RESTART_LIMIT, folder, *leave)))
                if left.exit_code == 0:
                    return left
            return provider.execute(node, Command(("s6-svc", "-wr", "-T", _RESTART_LIMIT, "-r", folder)))

        with ThreadPoolExecutor(len(names)) as pool:
            failed = [(name, result) for name, result in zip(names, pool.map(restart, names), strict=True) if result.exit_code]
        if failed:
            raise ConfiguringError(
                f"could not restart {', '.join(name for name, _ in failed)} on {node}",
                details="\n".join(result.stderr.decode(errors="replace") for _, result in failed),
                resolution=f"look at 'labcloud logs {node.cluster} --node {node.name}'",
            )

    def _runner(self, provider: Provider, wanted: Cluster, profile: Profile, operation: Operation, deadline: Deadline) -> Runner:
        decommissioner = Decommissioner(provider, wanted, profile, watch=self._watch, deadline=deadline)
        return Runner(provider, self._watch, operation, decommissioner, subnet=self._admission.tenant(wanted.ref.tenant).subnet)


def check_whole(cluster: Cluster) -> None:
    """Raise ConflictError if the cluster has only a part of its data, because bringing that back was broken off."""
    if cluster.restoring:
        raise ConflictError(
            f"{cluster.ref} was about to get its data from the snapshot {cluster.restoring}, and that was not finished",
            resolution=f"finish it by the same command (labcloud snapshot restore {cluster.restoring} --to {cluster.ref}, "
            f"or labcloud backup restore), or: labcloud delete {cluster.ref}",
        )


def _leave(service: Service, host: str) -> tuple[str, ...]:
    """The command by which a service of the node ``host`` ends and lets its clients know; empty if it has none."""
    values = {"{host}": host, **{f"{{port.{name}}}": str(port) for name, port in service.ports.items()}}
    words = list(service.leave)
    for name, value in values.items():
        words = [word.replace(name, value) for word in words]
    return ("s6-setuidgid", service.user, *words) if words else ()
