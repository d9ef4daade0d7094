"""The verbs that change clusters: each changes what is wanted, then makes it so. Running one again finishes a broken-off run.

::

    create scale start → wanted → plan.converge → Runner → Readiness
    stop               → wanted → plan.stop     → Runner
    delete             → wanted → plan.remove   → Runner → no longer wanted
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from labcloud.apply.admission import Question, note_gone
from labcloud.apply.asking import Asking
from labcloud.apply.journal import Journal, Operation, Result
from labcloud.apply.requests import CreateRequest, provider_of, workers
from labcloud.apply.reverting import CONFIGURED
from labcloud.apply.runner import Runner
from labcloud.apply.verbs import Terms, Verbs, check_whole
from labcloud.apply.watch import Deadline, Event, Kind, Watch
from labcloud.errors import ConfiguringError, ConflictError, UsageError
from labcloud.lab import Lab
from labcloud.model import Cluster, ClusterRef, Found, NodeRef, Status, Wanted
from labcloud.model.leases import check_lease
from labcloud.plan import Plan, converge, members, remembering, remove, stop
from labcloud.profiles import Profile, load
from labcloud.providers.base import Command, Provider

if TYPE_CHECKING:
    from labcloud.preflight import Report

_DEFAULT_PROVIDER: Final = "docker"
_LANDING: Final = 5.0  # seconds: an engine with much to do takes two or three to make a node
_DEFAULT_REPLICATION: Final = ("hdfs", "getconf", "-confKey", "dfs.replication")


class Clusters(Verbs):
    """The verbs that make clusters, change their nodes and end them."""

    def __init__(self, lab: Lab, journal: Journal, provider: Callable[[str], Provider], watch: Watch, *, fresh: bool = False) -> None:
        super().__init__(lab, journal, provider, watch, fresh=fresh)
        self._asking = Asking(lab)

    @property
    def watch(self) -> Watch:
        """Who is told of what they do."""
        return self._watch

    # Making and changing

    def plan_create(self, request: CreateRequest) -> Plan:
        """What `create` would do. Nothing is made or written."""
        request = self._asking.completed(request)
        profile, provider = load(request.profile), self._provider(provider_of(request))
        wanted = self._asking.cluster(request, profile, provider)
        found = provider.find(cluster=request.ref)
        return self._plan(remembering(wanted, found), profile, provider, found)

    def create(self, request: CreateRequest, terms: Terms, alongside: Sequence[CreateRequest] = ()) -> Plan:
        """Make the cluster, or finish making it. Returns what had to be done: nothing if it was there.

        ``alongside`` is what the same command makes besides: the machine must hold all of it. Raise ConflictError if the cluster exists
        with another specification, PreflightError if a check refuses it, QuotaError if somebody else was quicker to take the last place.
        """
        request = self._asking.completed(request)
        profile, provider = load(request.profile), self._provider(provider_of(request))
        self._asking.cluster(request, profile, provider)  # refused before anything is written
        spec = {"profile": request.profile, "provider": provider.name, "workers": request.workers}
        with self._changing(request.ref, "create", terms, spec) as (operation, deadline):
            there = self._lab.cluster(request.ref)
            if there is not None and there.state is Wanted.DELETED:
                self._remove(there.ref, self._provider(there.provider), operation)
            wanted = self._asking.cluster(request, profile, provider)
            check_whole(wanted)
            check_lease(wanted, datetime.now(UTC))
            if there is None or not self._runs(wanted, provider):
                others = self._asking.new(alongside, profile)
                self._admission.insist(Question(wanted, profile, provider, others), terms.ignored, operation)
            if not wanted.image:
                wanted = replace(wanted, image=provider.image(profile.image_name))
            wanted = replace(wanted, user_id=self._lab.ensure_tenant(request.ref.tenant).user_id)
            self._admission.reserve(wanted, f"create {wanted.ref}: {wanted.profile}", operation, self._room(provider, terms))
            return self._converge(wanted, profile, provider, operation, terms, deadline)

    def preflight(self, request: CreateRequest, ignored: Mapping[str, str], alongside: Sequence[CreateRequest] = ()) -> Report:
        """What the whole checklist says of `create`. Nothing is made or written, but passes that stay true for a while."""
        request = self._asking.completed(request)
        profile, provider = load(request.profile), self._provider(provider_of(request))
        wanted = self._asking.roughly(request, profile, provider)
        return self._admission.ask(Question(wanted, profile, provider, self._asking.new(alongside, profile)), ignored)

    def _runs(self, wanted: Cluster, provider: Provider) -> bool:
        """Whether every declared node runs: then nothing grows."""
        running = {node.ref for node in provider.find(cluster=wanted.ref).nodes if node.status is Status.RUNNING}
        return running.issuperset(wanted.nodes())

    def start(self, ref: ClusterRef, terms: Terms) -> Plan:
        """Make every declared node run and wait until the cluster is ready."""
        with self._changing(ref, "start", terms) as (operation, deadline):
            wanted, profile, provider = self._known(ref)
            wanted = replace(wanted, state=Wanted.RUNNING)
            check_lease(wanted, datetime.now(UTC))
            if not self._runs(wanted, provider):
                self._admission.insist(Question(wanted, profile, provider), terms.ignored, operation)
            self._admission.reserve(wanted, f"start {ref}", operation, self._room(provider, terms))
            return self._converge(wanted, profile, provider, operation, terms, deadline)

    def stop(self, ref: ClusterRef, terms: Terms) -> Plan:
        """Stop every node; all data stays."""
        with self._changing(ref, "stop", terms) as (operation, _):
            wanted, _, provider = self._known(ref)
            self._admission.reserve(replace(wanted, state=Wanted.STOPPED), f"stop {ref}", operation)
            plan = stop(provider.find(cluster=ref))
            Runner(provider, self._watch, operation).run(plan)
            return plan

    def scale(self, ref: ClusterRef, count: int, terms: Terms) -> Plan:
        """Give the cluster ``count`` workers. Nodes that leave are emptied first. Raise ConflictError if the data needs more."""
        with self._changing(ref, "scale", terms, {"workers": count}) as (operation, deadline):
            wanted, profile, provider = self._known(ref)
            if wanted.state is not Wanted.RUNNING:
                raise ConflictError(f"the cluster {ref} is stopped", resolution=f"start it first: labcloud start {ref}")
            group = next(name for name, each in profile.groups.items() if each.scalable)
            scaled = _with_count(wanted, group, workers(count, group, profile))
            if count < wanted.group(group).count:
                self._check_replication(provider, wanted, group, count)
            if count > wanted.group(group).count:
                self._admission.insist(Question(scaled, profile, provider), terms.ignored, operation)
            self._admission.reserve(scaled, f"scale {ref} to {count} {group}s", operation, self._room(provider, terms))
            return self._converge(scaled, profile, provider, operation, terms, deadline)

    def update_members(self, ref: ClusterRef, terms: Terms) -> Plan:
        """Let the cluster's running nodes have the members that its tenant has now, and the members homes in HDFS. Nothing restarts.

        A cluster that shall not run has nothing to do: its nodes learn of their members when they start.
        """
        with self._changing(ref, "update members", terms) as (operation, deadline):
            wanted, profile, provider = self._known(ref)
            if wanted.state is not Wanted.RUNNING:
                return Plan()
            found = provider.find(cluster=ref)
            wanted, revision = remembering(wanted, found), self._lab.revision()
            plan = members(wanted, found, self._draw(wanted, profile, provider))
            Runner(provider, self._watch, operation).run(plan)
            operation.event(CONFIGURED, revision=revision)
            if plan and terms.wait:
                self._readiness(wanted, profile, provider).wait_for_homes(self._watch, deadline)
            return plan

    def restart(self, ref: ClusterRef, terms: Terms, *, service: str | None = None, rolling: bool = False) -> list[str]:
        """Restart all services of all nodes, or one; ``rolling`` waits for readiness after each node. Returns what was done."""
        with self._changing(ref, "restart", terms, {"service": service, "rolling": rolling}) as (operation, deadline):
            wanted, profile, provider = self._known(ref)
            if service and service not in profile.services:
                raise UsageError(f"{wanted.profile} has no service {service!r}", resolution=f"it has {', '.join(profile.services)}")
            own = {node: [name for name in profile.services_of(node.group) if service in (None, name)] for node in wanted.nodes()}
            readiness = self._readiness(wanted, profile, provider)
            done = []
            for node, names in own.items():
                if not names:
                    continue
                self._restart_services(provider, profile, node, names)
                operation.event("restarted", node=node.name, services=names)
                done.append(f"restart {', '.join(names)} on {node.name}")
                self._watch.tell(Event(str(ref), Kind.DONE, done[-1]))
                if rolling and terms.wait:
                    readiness.wait_after_restart({node: names}, self._watch, deadline)
            if terms.wait and not rolling:
                readiness.wait_after_restart(own, self._watch, deadline)
            return done

    # Deleting

    def delete(self, ref: ClusterRef, terms: Terms) -> Plan:
        """Delete the cluster with all its data; nothing of it is left. Raise NotFoundError if there is nothing."""
        with self._changing(ref, "delete", terms) as (operation, _):
            wanted = self._lab.cluster(ref)
            provider = self._provider(wanted.provider if wanted else _DEFAULT_PROVIDER)
            if wanted is None and not _exists(provider.find(cluster=ref), ref):
                raise self._unknown(ref)
            if wanted is not None:
                self._admission.reserve(replace(wanted, state=Wanted.DELETED), f"delete {ref}: begun", operation)
            self._await_landing(ref, operation)
            return self._remove(ref, provider, operation)

    def _await_landing(self, ref: ClusterRef, operation: Operation) -> None:
        """Wait until nothing can come to be any more of what a killed run asked the engine for: Docker ends a request whose client is gone
        all the same, and what it makes after this run has looked would be left behind."""
        makers = (each for each in self._journal.operations() if each.target == str(ref) and each.verb != operation.verb)
        last = next(makers, None)
        if last is None or last.result is not Result.BROKEN_OFF:
            return
        events = self._journal.read(last.id).events
        heard = datetime.fromisoformat(events[-1].time if events else last.began)
        left = _LANDING - (datetime.now(UTC) - heard).total_seconds()
        if left > 0:
            self._watch.tell(Event(str(ref), Kind.WAITING, f"the engine may still do what '{last.verb}' asked for when it was killed"))
            self._watch.pause(min(left, _LANDING))

    def _remove(self, ref: ClusterRef, provider: Provider, operation: Operation) -> Plan:
        others = provider.find(tenant=ref.tenant).nodes
        last = all(node.ref.cluster == ref for node in others) and all(each.ref == ref for each in self._lab.clusters(ref.tenant))
        plan = remove(ref, provider.find(cluster=ref), last_of_tenant=last)
        Runner(provider, self._watch, operation).run(plan)
        wanted = self._lab.cluster(ref)
        if wanted is not None and self._lab.remove(ref, f"delete {ref}"):
            note_gone(operation, wanted)
        # Of two clusters that go at once each may have taken the other for one that stays: whoever is forgotten last takes the network.
        if not last and not self._lab.refs(ref.tenant):
            Runner(provider, self._watch, operation).run(remove(ref, provider.find(cluster=ref), last_of_tenant=True))
        return plan

    # What they share

    def _plan(self, wanted: Cluster, profile: Profile, provider: Provider, found: Found) -> Plan:
        return converge(wanted, found, self._draw(wanted, profile, provider))

    def _converge(
        self, wanted: Cluster, profile: Profile, provider: Provider, operation: Operation, terms: Terms, deadline: Deadline
    ) -> Plan:
        found = provider.find(cluster=wanted.ref)
        wanted = remembering(wanted, found)
        self._lab.save(wanted, f"{operation.verb} {wanted.ref}: nodes beyond what is declared")
        revision = self._lab.revision()
        plan = self._plan(wanted, profile, provider, found)
        operation.event("planned", steps=[str(step) for step in plan])
        self._runner(provider, wanted, profile, operation, deadline).run(plan)
        if terms.wait:
            self._readiness(wanted, profile, provider).wait(self._watch, deadline)
            operation.event("ready")
        operation.event(CONFIGURED, revision=revision)
        return plan

    def _check_replication(self, provider: Provider, wanted: Cluster, group: str, count: int) -> None:
        """Raise ConflictError if files have more replicas than ``count`` nodes of ``group`` can hold: decommissioning would never end.

        Some programs ask for more than there are nodes, as TeraSort does for ten of its partition list. Those files keep nobody: a
        node may leave as soon as they have the default number (``isSufficient`` of HDFS' DatanodeAdminManager).
        """
        above = {path: copies for path, copies in self._replicas(provider, wanted).items() if copies > count}
        nodes = wanted.group(group).count
        if max(above.values(), default=0) > nodes and int(self._ask(provider, wanted, *_DEFAULT_REPLICATION)) <= count:
            above = {path: copies for path, copies in above.items() if copies <= nodes}
        if above:
            raise ConflictError(
                f"{wanted.ref} cannot do with {count} workers: "
                f"{len(above)} files have up to {max(above.values())} replicas, the first is {next(iter(above))}",
                resolution=f"lower it first: labcloud exec {wanted.ref} -- hdfs dfs -setrep -R {count} /",
            )

    def _replicas(self, provider: Provider, wanted: Cluster) -> dict[str, int]:
        """The number of replicas that each file shall have: the second column of ``hdfs dfs -ls``, ``-`` for folders."""
        rows = (line.split(maxsplit=7) for line in self._ask(provider, wanted, "hdfs", "dfs", "-ls", "-R", "/").splitlines())
        return {row[7]: int(row[1]) for row in rows if len(row) > 7 and row[1].isdigit()}

    def _ask(self, provider: Provider, wanted: Cluster, *argv: str) -> str:
        node = NodeRef(wanted.ref, wanted.groups[0].name, 0)
        result = provider.execute(node, Command(argv, user="hdfs"))
        if result.exit_code:
            raise ConfiguringError(
                f"could not ask HDFS of {wanted.ref} which replication its files have",
                details=result.stderr.decode(errors="replace")[-1000:],
                resolution=f"look at 'labcloud show {wanted.ref}'",
            )
        return result.stdout.decode(errors="replace")


def _with_count(cluster: Cluster, group: str, count: int) -> Cluster:
    """The cluster with ``count`` nodes in ``group``; the names of those that leave are retired."""
    old = cluster.group(group)
    used = max(old.used, old.count)
    new = replace(old, count=count, used=used if used > count else 0)
    return replace(cluster, groups=tuple(new if each is old else each for each in cluster.groups))


def _exists(found: Found, ref: ClusterRef) -> bool:
    return bool(found.nodes or found.volumes or found.snapshots or ref in found.configs or ref in found.datasets)
