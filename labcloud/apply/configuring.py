"""The verbs that change how clusters are configured: apply what is wanted to nodes that run, and give nodes another size.

::

    apply: limits that somebody changed are adopted → nodes are healed, growing ones grow → rollout → shrinking ones shrink
    resize: declared and reserved → apply
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from labcloud.apply.admission import Question
from labcloud.apply.journal import Operation
from labcloud.apply.requests import cores
from labcloud.apply.reverting import CONFIGURED, Reverting
from labcloud.apply.rollout import Done, Pace, Rollout, check_expression
from labcloud.apply.survey import Consequence, limits_by_hand, survey
from labcloud.apply.verbs import Terms, Verbs
from labcloud.apply.watch import Deadline, Event, Kind
from labcloud.errors import LabError, UsageError
from labcloud.model import Cluster, ClusterRef, Found, NodeOverride, NodeRef, Status, Wanted
from labcloud.plan import Blueprint, converge, remembering
from labcloud.profiles import Profile
from labcloud.profiles.layering import Layering
from labcloud.profiles.settings import Level, check_settings
from labcloud.providers.base import Provider


@dataclass(frozen=True)
class Size:
    """What a group, or one node of it, shall have; None stays as it is. ``memory`` is MiB."""

    memory: int | None = None
    cpus: float | None = None


@dataclass(frozen=True)
class Applied:
    """What applying a configuration did. ``adopted`` are limits that somebody had changed on the engine, and are declared now."""

    steps: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    restarted: tuple[str, ...] = ()
    refreshed: tuple[str, ...] = ()
    adopted: tuple[str, ...] = field(default=())

    def __bool__(self) -> bool:
        return bool(self.steps or self.told or self.restarted or self.refreshed or self.adopted)


@dataclass(frozen=True)
class _Task:
    """One cluster that is configured, and in which operation."""

    wanted: Cluster
    profile: Profile
    provider: Provider
    operation: Operation
    terms: Terms
    deadline: Deadline


class Configuring(Verbs):
    """For one lab; see the module."""

    def plan(self, ref: ClusterRef) -> list[Consequence]:
        """What `apply` would do to the services of each node that runs and to its files. Changes nothing."""
        wanted, profile, provider = self._known(ref)
        found = provider.find(cluster=ref)
        blueprint = self._draw(remembering(wanted, found), profile, provider)
        return [each for each in survey(provider, profile, found, provider.config(ref)).consequences(blueprint.config) if each]

    def apply(self, ref: ClusterRef, terms: Terms, pace: Pace, *, adopting: bool = True) -> Applied:
        """Let the cluster's nodes have the configuration that is wanted: told live, or restarted one after the other.

        Limits that somebody changed on the engine are adopted, or put right where ``adopting`` is false.
        Where the pace is gradual, a step that goes wrong takes back all before it, in the lab repository, too, and raises ConfiguringError.
        """
        check_expression(pace.check)
        with self._changing(ref, "config apply", terms, {"shares": list(pace.shares), "check": pace.check}) as (operation, deadline):
            wanted, profile, provider = self._known(ref)
            adopted: list[str] = []
            if adopting:
                wanted, adopted = self._adopted(wanted, profile, provider, operation)
            self._check(wanted, profile)
            done = self._apply(_Task(wanted, profile, provider, operation, terms, deadline), pace)
            return replace(done, adopted=tuple(adopted))

    def resize(self, ref: ClusterRef, name: str, size: Size, terms: Terms) -> Applied:
        """Give every node of the group ``name`` (``worker``), or the node ``name`` (``worker-0``), another size, and apply what follows.

        Raise UsageError for a size that cannot hold what runs there, PreflightError or QuotaError if there is no room for it.
        """
        if size.cpus is not None:
            cores(size.cpus)
        spec = {"of": name, "memory": size.memory, "cpus": size.cpus}
        with self._changing(ref, "resize", terms, spec) as (operation, deadline):
            wanted, profile, provider = self._known(ref)
            resized = _resized(wanted, name, size)
            self._draw(resized, profile, provider)  # refused before it is declared
            if _larger(wanted, resized):
                self._admission.insist(Question(resized, profile, provider), terms.ignored, operation)
            self._admission.reserve(resized, f"resize {name} of {ref}", operation, self._room(provider, terms))
            if resized.state is not Wanted.RUNNING:
                return Applied()
            return self._apply(_Task(resized, profile, provider, operation, terms, deadline), Pace())

    # Applying

    def _apply(self, task: _Task, pace: Pace) -> Applied:
        provider, ref = task.provider, task.wanted.ref
        revision = self._lab.revision()  # what is changed from here on is not applied by this
        found = provider.find(cluster=ref)
        wanted = remembering(task.wanted, found)
        blueprint = self._draw(wanted, task.profile, provider)
        if wanted.state is not Wanted.RUNNING:
            provider.ensure_config(ref, blueprint.config)
            task.operation.event(CONFIGURED, revision=revision)
            return Applied()
        provider.ensure_base(ref)
        steps = self._heal(task, wanted, _keeping(blueprint, found, provider.config(ref)))
        done = self._roll_out(task, wanted, blueprint, pace)
        steps += self._heal(task, wanted, blueprint)
        task.operation.event(CONFIGURED, revision=revision)
        self._watch.tell(Event(str(ref), Kind.READY, "configured", seconds=task.deadline.seconds - task.deadline.left))
        return Applied(tuple(steps), tuple(done.told), tuple(done.restarted), tuple(done.refreshed))

    def _heal(self, task: _Task, wanted: Cluster, blueprint: Blueprint) -> list[str]:
        """Let the engine have what ``blueprint`` says of nodes."""
        plan = converge(wanted, task.provider.find(cluster=wanted.ref), blueprint)
        self._runner(task.provider, wanted, task.profile, task.operation, task.deadline).run(plan)
        if plan and task.terms.wait:
            self._readiness(wanted, task.profile, task.provider).wait(self._watch, task.deadline)
        return [str(step) for step in plan]

    def _roll_out(self, task: _Task, wanted: Cluster, blueprint: Blueprint, pace: Pace) -> Done:
        provider, ref = task.provider, wanted.ref
        seen = survey(provider, task.profile, provider.find(cluster=ref), provider.config(ref))
        restart = self._restarting(wanted, task.profile, provider)
        rollout = Rollout(provider, wanted, task.profile, watch=self._watch, operation=task.operation, restart=restart)
        try:
            return rollout.run(seen, blueprint.config, pace, task.deadline)
        except LabError as exc:
            if pace.gradual:
                self._revert(ref, task.operation, exc)
            raise

    def _restarting(
        self, wanted: Cluster, profile: Profile, provider: Provider
    ) -> Callable[[Mapping[NodeRef, Sequence[str]], Deadline], None]:
        readiness = self._readiness(wanted, profile, provider)

        def restart(services: Mapping[NodeRef, Sequence[str]], deadline: Deadline) -> None:
            for node, names in services.items():
                self._restart_services(provider, profile, node, names)
            readiness.wait_after_restart(services, self._watch, deadline)

        return restart

    def _check(self, wanted: Cluster, profile: Profile) -> None:
        """Raise UsageError for a setting whose value does not work, at whatever layer it is said."""
        layering = Layering(profile, wanted, self._lab.shared(wanted.ref.tenant))
        said = {id(layer.configuration): layer for ref in wanted.nodes() for layer in layering.of(ref)}
        for layer in (layering.base, *said.values()):
            known = {key: value for key, value in layer.configuration.settings.items() if profile.has_file_of(key)}
            for found in check_settings(profile, known):
                if found.level is Level.ERROR:
                    raise UsageError(f"{layer.source}: the setting {found.key}: {found.text}", resolution=found.resolution)

    def _revert(self, ref: ClusterRef, operation: Operation, why: LabError) -> None:
        """Let the lab repository want again what was last applied to the cluster."""
        back = Reverting(self._lab, self._journal).revert(ref, f"take back the change of {ref}\n\n{why.brief}")
        if back:
            operation.event("reverted", paths=list(back.paths), revision=back.revision)
            why.details = "\n".join(filter(None, [why.details, f"the lab repository has again what it had: {', '.join(back.paths)}"]))

    # Limits

    def _adopted(self, wanted: Cluster, profile: Profile, provider: Provider, operation: Operation) -> tuple[Cluster, list[str]]:
        """``wanted`` with the limits that somebody has changed on the engine: those of all nodes of a group become the group's."""
        changed = limits_by_hand(wanted, provider.find(cluster=wanted.ref), provider.config(wanted.ref))
        if not changed:
            return wanted, []
        said = [f"{ref.name} has {memory}m, {wanted.size(ref).memory}m was declared" for ref, memory in sorted(changed.items())]
        adopted = wanted
        for group in wanted.groups:
            mine = {ref: memory for ref, memory in changed.items() if ref.group == group.name}
            if mine and len(mine) == group.count and len(set(mine.values())) == 1:
                adopted = _resized(adopted, group.name, Size(memory=next(iter(mine.values()))))
            else:
                for ref, memory in mine.items():
                    adopted = _resized(adopted, ref.name, Size(memory=memory))
        self._draw(adopted, profile, provider)  # refused before it is declared
        operation.event("adopted", limits=said)
        self._admission.reserve(adopted, f"adopt the limits that nodes of {wanted.ref} have", operation)
        return adopted, said


def _resized(wanted: Cluster, name: str, size: Size) -> Cluster:
    """``wanted`` with another size of a group, or of one node of it. Raise UsageError if there is neither."""
    if any(group.name == name for group in wanted.groups):
        old = wanted.group(name)
        new = replace(old, memory=size.memory or old.memory, cpus=size.cpus or old.cpus)
        own = {
            node: replace(each, memory=None if size.memory else each.memory, cpus=None if size.cpus else each.cpus)
            if NodeRef.parse(wanted.ref, node).group == name
            else each
            for node, each in wanted.own.items()
        }
        return replace(wanted, groups=tuple(new if each is old else each for each in wanted.groups), own=_significant(own))
    if name not in {ref.name for ref in wanted.nodes()}:
        groups = ", ".join(group.name for group in wanted.groups)
        raise UsageError(
            f"{wanted.ref} has no group and no node {name!r}", resolution=f"its groups are {groups}; a node is named as worker-0"
        )
    there = wanted.own.get(name, NodeOverride())
    return replace(wanted, own={**wanted.own, name: replace(there, memory=size.memory or there.memory, cpus=size.cpus or there.cpus)})


def _significant(own: Mapping[str, NodeOverride]) -> dict[str, NodeOverride]:
    return {name: each for name, each in own.items() if each != NodeOverride()}


def _larger(old: Cluster, new: Cluster) -> bool:
    return any(new.size(ref).memory > old.size(ref).memory or new.size(ref).cpus > old.size(ref).cpus for ref in new.nodes())


def _keeping(blueprint: Blueprint, found: Found, config: Mapping[str, str]) -> Blueprint:
    """``blueprint``, where nodes that run keep the configuration that they have, and none is given less memory than it has."""
    running = {node.ref: node for node in found.nodes if node.status is Status.RUNNING}
    names = {ref.name for ref in running}
    kept = {path: text for path, text in config.items() if path.partition("/")[0] in names}
    new = {path: text for path, text in blueprint.config.items() if path.partition("/")[0] not in names}
    specs = {
        ref: replace(spec, memory=max(spec.memory, running[ref].memory)) if ref in running else spec
        for ref, spec in blueprint.specs.items()
    }
    return replace(blueprint, specs=specs, config={**new, **kept})
