"""Before a cluster grows: the checklist is asked, then what it takes is reserved by declaring it. Makes nothing on any engine."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from labcloud.apply.journal import Operation
from labcloud.errors import ConflictError, NotFoundError
from labcloud.lab import Lab
from labcloud.model import FIRST_USER_ID, Cluster, Tenant, Wanted, demand
from labcloud.model.checks import Capacity, ImageNeed, Subject
from labcloud.model.dataset import check_use
from labcloud.model.quota import Amounts, Resource
from labcloud.profiles import Profile
from labcloud.profiles.sizing import minimum_memory
from labcloud.providers.base import Provider

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labcloud.preflight import Preflight, Report

MEMORY_CHECK = "host.memory"
"""The check that the reservation makes once more, when nobody else can declare anything."""

ALLOCATED = "allocated"
"""The event of the journal that says what a cluster takes from now on."""

GONE = "gone"
"""The state in it of a cluster of which nothing is left."""


@dataclass(frozen=True)
class Question:
    """A cluster that somebody wants (or wants larger), what it is made of, and what the same command asks for besides."""

    cluster: Cluster
    profile: Profile
    provider: Provider
    alongside: Sequence[Cluster] = field(default=())


class Admission:
    """Asks and reserves for one lab, in one command. ``fresh`` measures everything anew."""

    def __init__(self, lab: Lab, *, fresh: bool = False) -> None:
        self._lab = lab
        self._fresh = fresh
        self._lists: dict[str, Preflight] = {}
        self._lock = threading.Lock()

    def checklist(self, provider: Provider) -> Preflight:
        """The checklist of an engine; one for the command, so that the machine is measured once for all its clusters."""
        from labcloud.preflight import Preflight

        with self._lock:
            if provider.name not in self._lists:
                self._lists[provider.name] = Preflight(provider, self._lab.home, fresh=self._fresh)
            return self._lists[provider.name]

    def machine(self, provider: Provider, ignored: Mapping[str, str]) -> Report:
        """What the checks of the machine alone say."""
        subject = Subject(
            self._lab.home, provider.name, provider.capacity, declared=tuple(self._lab.clusters()), storage=self._lab.storage()
        )
        return self.checklist(provider).run(subject, ignored)

    def ask(self, question: Question, ignored: Mapping[str, str]) -> Report:
        """What the whole checklist says. Raise UsageError for an ignored check that does not exist."""
        return self.checklist(question.provider).run(self._subject(question), ignored)

    def insist(self, question: Question, ignored: Mapping[str, str], operation: Operation) -> None:
        """Ask, note the answers with the operation, and raise PreflightError if one of them refuses."""
        report = self.ask(question, ignored)
        operation.event("preflight", ok=report.ok, checks=[each.noted() for each in report.checks])
        report.refuse(str(question.cluster.ref))

    def reserve(self, cluster: Cluster, reason: str, operation: Operation, room: Capacity | None = None) -> None:
        """Declare ``cluster``: from now on its tenant's quotas hold it, and the memory of the machine, where its ``room`` is given.

        Raise QuotaError if somebody else was quicker, ConflictError if the tenant was deleted meanwhile, or a dataset is not for it.
        """
        from labcloud.preflight.quotas import admit, admit_memory

        name = cluster.ref.tenant

        def admitted(declared: Sequence[Cluster]) -> None:
            if self._lab.tenant(name) is None and not any(each.ref.tenant == name for each in declared):
                raise ConflictError(f"the tenant {name} was deleted meanwhile", resolution="run the same command again")
            check_use(name, cluster.datasets, self._lab.datasets() if cluster.datasets else {})
            admit(self.tenant(cluster.ref.tenant), cluster, declared)
            if room is not None:
                admit_memory(cluster, declared, room)

        # What ends is refused nothing, and a broken file of somebody else's must not keep it.
        if self._lab.save(cluster, reason, admit=admitted if cluster.state is Wanted.RUNNING else None):
            note_allocation(operation, cluster)

    def tenant(self, name: str) -> Tenant:
        """The tenant, or what it will be: one without limits, that the first cluster makes."""
        return self._lab.tenant(name) or Tenant(name, FIRST_USER_ID)

    def _subject(self, question: Question) -> Subject:
        cluster, profile = question.cluster, question.profile
        declared = tuple(self._lab.clusters())
        counts = {group.name: group.count for group in cluster.groups}
        return Subject(
            home=self._lab.home,
            provider=question.provider.name,
            capacity=question.provider.capacity,
            declared=declared,
            cluster=cluster,
            there=next((each for each in declared if each.ref == cluster.ref), None),
            alongside=tuple(question.alongside),
            tenant=self.tenant(cluster.ref.tenant),
            image=ImageNeed(profile.image_name, profile.java, profile.stack, profile.supported_java),
            minimum_memory={group.name: minimum_memory(profile, group.name, counts) for group in cluster.groups},
            built=lambda name: _built(question.provider, name),
            storage=self._lab.storage(),
            policy=self._lab.policy_of,
        )


def _built(provider: Provider, name: str) -> str:
    """The reference of the newest image ``name``; empty if there is none."""
    try:
        return provider.image(name)
    except NotFoundError:
        return ""


def note_allocation(operation: Operation, cluster: Cluster) -> None:
    """Note what ``cluster`` takes from now on: what `labcloud.accounting` adds up."""
    _note(operation, cluster, str(cluster.state), demand(cluster))


def note_gone(operation: Operation, cluster: Cluster) -> None:
    """Note that nothing is left of ``cluster``."""
    _note(operation, cluster, GONE, dict.fromkeys(Resource, 0.0))


def _note(operation: Operation, cluster: Cluster, state: str, takes: Amounts) -> None:
    operation.event(
        ALLOCATED, profile=cluster.profile, provider=cluster.provider, state=state, nodes=int(takes[Resource.NODES]),
        cpus=takes[Resource.CPUS], memory_mib=int(takes[Resource.MEMORY]), volumes_gib=int(takes[Resource.VOLUMES]),
    )  # fmt: skip
