"""A changed configuration reaches running nodes: told where that is enough, else restarted, node by node, so that HDFS stays available.

::

    for each share of the nodes: write → refresh → tell → restart, one node after the other → is all well?
    if it is not: the same backwards, with what the nodes had before

Workers come first and masters last: what breaks a worker is seen while the others work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from labcloud.apply.journal import Operation
from labcloud.apply.survey import Consequence, Survey, by_node
from labcloud.apply.watch import Deadline, Event, Kind, Watch, wait_until_nothing
from labcloud.errors import ConfiguringError, EngineError, LabError, UsageError
from labcloud.model import Cluster, NodeRef
from labcloud.profiles import Profile, host_name
from labcloud.profiles.effects import Live
from labcloud.profiles.expressions import ExpressionError, evaluate
from labcloud.providers.base import Command, Provider
from labcloud.services import refreshing, started
from labcloud.services.hadoop import IN_SERVICE, Hadoop
from labcloud.services.reconfiguration import Reconfiguration, outcome

_THREADS: Final = 8
_TIME_TO_RECOVER: Final = 120.0
_OF_NODES: Final = ("nodes", "done")


@dataclass(frozen=True)
class Pace:
    """How a change goes out: to these ``shares`` of the nodes (0 to 1, growing), with ``pause`` seconds between.

    After each, ``check`` has to hold, an expression over `facts`. ``patience`` is how many seconds a node may take to be well again.
    """

    shares: tuple[float, ...] = (1.0,)
    pause: float = 0.0
    check: str = ""
    patience: float = 90.0

    @property
    def gradual(self) -> bool:
        return len(self.shares) > 1 or bool(self.check)


@dataclass
class Done:
    """What a rollout did."""

    nodes: list[NodeRef] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    restarted: list[str] = field(default_factory=list)
    refreshed: list[str] = field(default_factory=list)


class Rollout:
    """For one cluster, whose nodes were surveyed. ``restart`` restarts services of nodes, and returns when all of them work again."""

    def __init__(
        self, provider: Provider, cluster: Cluster, profile: Profile, *,
        watch: Watch, operation: Operation, restart: Callable[[Mapping[NodeRef, Sequence[str]], Deadline], None],
    ) -> None:  # fmt: skip
        self._provider = provider
        self._cluster = cluster
        self._profile = profile
        self._hadoop = Hadoop(provider, cluster, profile)
        self._watch = watch
        self._operation = operation
        self._restart = restart

    def run(self, survey: Survey, wanted: Mapping[str, str], pace: Pace, deadline: Deadline) -> Done:
        """Let the nodes have the configuration ``wanted``.

        Where the pace is gradual and something is not well after a step, everything is taken back, and ConfiguringError says what it was.
        """
        done = Done()
        order = sorted(survey.consequences(wanted), key=self._rank)
        try:
            for share in pace.shares:
                batch = order[len(done.nodes) : max(len(done.nodes) + 1, round(share * len(order)))]
                self._step(survey, wanted, batch, done, Deadline(min(deadline.left, pace.patience * max(1, len(batch)))))
                self._healthy(pace, done, len(order), Deadline(min(deadline.left, pace.patience)))
                self._operation.event("step", share=share, nodes=[each.ref.name for each in batch])
                if share != pace.shares[-1]:
                    self._wait(pace.pause, share)
        except LabError as exc:
            if not pace.gradual:
                raise
            self._take_back(survey, order[: len(done.nodes)], exc, deadline)
        return done

    def _rank(self, consequence: Consequence) -> tuple[bool, str, int]:
        ref = consequence.ref
        return (not self._profile.groups[ref.group].scalable, ref.group, ref.index)

    def _step(self, survey: Survey, wanted: Mapping[str, str], batch: Sequence[Consequence], done: Done, deadline: Deadline) -> None:
        done.nodes += [each.ref for each in batch]
        self._write(survey, wanted, {ref.name for ref in done.nodes})
        self._refresh(batch, done)
        failed = self._tell(batch, wanted, done, deadline)
        for each in batch:
            names = [
                name for name in self._profile.services_of(each.ref.group) if name in {*each.effects.restart, *failed.get(each.ref, ())}
            ]
            if names:
                self._watch.tell(Event(str(self._cluster.ref), Kind.WAITING, f"restarting {', '.join(names)} on {each.ref.name}"))
                reasons = {name: [str(change) for change in each.effects.restart.get(name, ())] for name in names}
                self._operation.event("restarting", node=each.ref.name, services=reasons)
                self._restart({each.ref: names}, deadline)
                done.restarted += [f"{name} on {each.ref.name}" for name in names]
                self._watch.tell(Event(str(self._cluster.ref), Kind.DONE, f"restarted {', '.join(names)} on {each.ref.name}"))

    def _write(self, survey: Survey, wanted: Mapping[str, str], names: set[str]) -> None:
        """The nodes ``names``, and those that do not run, have what is wanted; the others keep what they have."""
        kept = {node.ref.name for node in survey.nodes} - names
        mixed = {path: text for path, text in wanted.items() if path.partition("/")[0] not in kept}
        mixed |= {path: text for path, text in survey.config.items() if path.partition("/")[0] in kept}
        self._provider.ensure_config(self._cluster.ref, mixed)

    def _refresh(self, batch: Sequence[Consequence], done: Done) -> None:
        for ref, lines in self._each(batch, lambda each: refreshing.refresh(self._provider, each.ref)):
            done.refreshed += [f"{ref.name}: {line}" for line in lines]

    def _each(self, batch: Sequence[Consequence], do: Callable[[Consequence], Any]) -> list[tuple[NodeRef, Any]]:
        with ThreadPoolExecutor(min(_THREADS, len(batch)) or 1) as pool:
            return list(zip([each.ref for each in batch], pool.map(do, batch), strict=True))

    # Telling

    def _tell(self, batch: Sequence[Consequence], wanted: Mapping[str, str], done: Done, deadline: Deadline) -> dict[NodeRef, list[str]]:
        """Tell services what they can take up while they run; returns those that refused, by node: they have to be restarted."""
        trees = by_node(wanted)
        failed: dict[NodeRef, list[str]] = {}
        for ref, refused in self._each(batch, lambda each: self._tell_node(each, trees.get(each.ref.name, {}), deadline)):
            failed[ref] = [live.service for live in refused]
        for each in batch:
            told = [live for live in each.effects.live if live.service not in failed[each.ref]]
            done.told += [f"{live.service} on {each.ref.name}: {' '.join(live.argv[:3])}" for live in told]
        return failed

    def _tell_node(self, consequence: Consequence, tree: Mapping[str, str], deadline: Deadline) -> list[Live]:
        ref, host = consequence.ref, host_name(consequence.ref, self._provider.domain(consequence.ref.cluster.tenant))
        refused = [live for live in consequence.effects.live if not self._told(ref, live.on(host), deadline)]
        # Noted when all is told: who dies in between tells it once more.
        for service in {live.service for live in consequence.effects.live} - {live.service for live in refused}:
            started.update(self._provider, ref, service, {path: text for path, text in tree.items() if path.startswith("conf/")})
        return refused

    def _told(self, ref: NodeRef, live: Live, deadline: Deadline) -> bool:
        at = ref if live.at == live.service else NodeRef(ref.cluster, self._profile.services[live.at].group, 0)
        result = self._provider.execute(at, Command(live.argv, user=live.user))
        ok = result.exit_code == 0 and (not live.reconfigures or self._reconfigured(at, live, deadline))
        said = "" if ok else (result.stderr or result.stdout).decode(errors="replace")[-500:]
        changes = [str(each) for each in live.changes]
        kind = "told" if ok else "refused"
        self._operation.event(kind, node=ref.name, service=live.service, command=list(live.argv), changes=changes, said=said)
        return ok

    def _reconfigured(self, at: NodeRef, live: Live, deadline: Deadline) -> bool:
        """Whether a reconfiguration that was begun has taken up all changes."""
        ended = Reconfiguration()

        def running() -> str:
            nonlocal ended
            ended = outcome(self._provider.execute(at, Command(live.status, user=live.user)).stdout.decode(errors="replace"))
            return "" if ended.finished else f"the {live.service} on {at.name} takes up its configuration"

        wait_until_nothing(running, subject=str(self._cluster.ref), watch=self._watch, deadline=deadline)
        return not ended.failed.keys() & {change.what.partition(":")[2] for change in live.changes}

    # Health

    def _healthy(self, pace: Pace, done: Done, nodes: int, deadline: Deadline) -> None:
        """Wait until the check holds; raise ConfiguringError, with what was seen, if it does not in time."""
        if not pace.check:
            return
        seen: dict[str, Any] = {}

        def missing() -> str:
            try:
                facts = self._facts(nodes, len(done.nodes))
            except EngineError as exc:
                return exc.brief
            seen.clear()
            seen.update(facts)
            try:
                return "" if evaluate(pace.check, seen) else f"the check {pace.check!r} to hold"
            except ExpressionError as exc:
                return f"the check cannot be evaluated: {exc}"

        try:
            wait_until_nothing(missing, subject=str(self._cluster.ref), watch=self._watch, deadline=deadline)
        except LabError as exc:
            raise ConfiguringError(f"the check {pace.check!r} does not hold", details=f"it saw {seen}") from exc

    def _facts(self, nodes: int, done: int) -> dict[str, Any]:
        hdfs = self._hadoop.hdfs()
        yarn = list(self._hadoop.yarn().values()) if "resourcemanager" in self._profile.services else []
        hdfs_facts = {
            "live": sum(state == IN_SERVICE for state in hdfs.live.values()),
            "dead": len(hdfs.dead),
            "missing_blocks": hdfs.missing_blocks,
            "failed_volumes": hdfs.failed_volumes,
            "safe_mode": bool(hdfs.safe_mode),
        }
        yarn_facts = {"running": yarn.count("RUNNING"), "unhealthy": yarn.count("UNHEALTHY"), "known": len(yarn)}
        return facts(nodes, done, hdfs_facts, yarn_facts)

    def _wait(self, seconds: float, share: float) -> None:
        if seconds:
            text = f"{share:.0%} of the nodes have it; pausing for {seconds:g} s"
            self._watch.tell(Event(str(self._cluster.ref), Kind.WAITING, text))
            self._watch.pause(seconds)

    # Back

    def _take_back(self, survey: Survey, touched: Sequence[Consequence], why: LabError, deadline: Deadline) -> None:
        """Let the nodes that were reached have what they had, and raise ConfiguringError."""
        reached = [each.ref.name for each in touched]
        self._operation.event("check failed", nodes=reached, error=why.brief, details=why.details)
        self._watch.tell(Event(str(self._cluster.ref), Kind.WAITING, f"taking back: {why.brief}"))
        self._provider.ensure_config(self._cluster.ref, survey.config)
        with suppress(ConfiguringError):  # what a node cannot make may be the very reason
            self._refresh(touched, Done())
        restarts = {
            each.ref: list(dict.fromkeys([*each.effects.restart, *(live.service for live in each.effects.live)])) for each in touched
        }
        # All at once: none of them is of use as it is.
        self._restart({ref: names for ref, names in restarts.items() if names}, Deadline(max(deadline.left, _TIME_TO_RECOVER)))
        self._operation.event("rolled back", nodes=sorted(reached))
        raise ConfiguringError(
            f"the change of {self._cluster.ref} was stopped after {len(reached)} of {len(survey.nodes)} nodes and taken back: {why.brief}",
            details=why.details,
            resolution=f"'labcloud operation show {self._operation.id}' tells what was done; correct the change, then apply it again",
        )


def facts(nodes: int, done: int, hdfs: Mapping[str, Any], yarn: Mapping[str, Any]) -> dict[str, Any]:
    """What a check may ask: ``nodes`` that run, how many are ``done``, and what HDFS and YARN say of theirs."""
    return {"nodes": nodes, "done": done, "hdfs": dict(hdfs), "yarn": dict(yarn)}


def check_expression(check: str) -> None:
    """Raise UsageError if a check cannot be evaluated."""
    hdfs = {"live": 1, "dead": 1, "missing_blocks": 1, "failed_volumes": 1, "safe_mode": False}
    sample = facts(1, 1, hdfs, {"running": 1, "unhealthy": 1, "known": 1})
    try:
        if check:
            evaluate(check, sample)
    except ExpressionError as exc:
        known = ", ".join([*_OF_NODES, *(f"{name}.{key}" for name in ("hdfs", "yarn") for key in sample[name])])
        raise UsageError(
            f"the check cannot be evaluated: {exc}", resolution=f"it may ask for {known}, as in 'yarn.unhealthy == 0'"
        ) from exc
