"""Runs a plan: stage by stage, the steps of a stage side by side on bounded threads, each retried where that can help."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import singledispatchmethod
from queue import Empty, SimpleQueue
from typing import Final

from labcloud.apply.decommission import Decommissioner
from labcloud.apply.journal import Operation
from labcloud.apply.watch import Event, Kind, Watch
from labcloud.errors import ConfiguringError, EngineError, LabError, NotFoundError
from labcloud.model import NodeSpec
from labcloud.plan import (
    AwaitGone,
    Decommission,
    DeleteConfig,
    DeleteDatasets,
    DeleteNetwork,
    DeleteNode,
    DeleteVolume,
    EnsureNetwork,
    EnsureNode,
    Plan,
    PutConfig,
    PutDatasets,
    RefreshNodes,
    ResizeNode,
    Step,
    StopNode,
    UpdateUsers,
)
from labcloud.providers.base import Command, Provider

_THREADS: Final = 16
_TRIES: Final = 3
_PAUSE: Final = 0.2
_GLANCE: Final = 0.5  # seconds between looks at whether to stop
_MAKE_USERS: Final = Command(("/usr/lib/labcloud/users",))


class Runner:
    """Runs plans for one cluster on one provider.

    ``decommissioner`` is only needed where nodes leave a running cluster; ``subnet`` is where the tenant's network shall be.
    """

    def __init__(
        self, provider: Provider, watch: Watch, operation: Operation, decommissioner: Decommissioner | None = None, *, subnet: str = ""
    ) -> None:
        self._provider = provider
        self._watch = watch
        self._operation = operation
        self._decommissioner = decommissioner
        self._subnet = subnet

    def run(self, plan: Plan) -> None:
        """Do every step. The first error ends the run after the steps that were under way with it; others are in its details."""
        if not plan:
            return
        self._watch.tell(Event(self._operation.target, Kind.PLANNED, "", count=len(plan)))
        width = min(_THREADS, max(len(stage) for stage in plan.stages))
        pool = ThreadPoolExecutor(width, thread_name_prefix="step")
        try:
            for stage in plan.stages:
                self._run_stage(pool, stage)
        except KeyboardInterrupt:
            self._watch.stop()  # a step may wait for long, and the pool waits for its steps
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _run_stage(self, pool: ThreadPoolExecutor, stage: tuple[Step, ...]) -> None:
        ended: SimpleQueue[Future[None]] = SimpleQueue()
        futures = [pool.submit(self._run_steps, steps) for steps in self._together(stage)]
        for future in futures:
            future.add_done_callback(ended.put)
        failures: list[LabError] = []
        for _ in futures:
            future = self._next(ended)
            exc = None if future.cancelled() else future.exception()
            if exc is None:
                continue
            if not isinstance(exc, LabError):
                raise exc
            failures.append(exc)
            for each in futures:
                each.cancel()
        if failures:
            raise _joined(failures)

    def _next(self, ended: SimpleQueue[Future[None]]) -> Future[None]:
        while True:
            self._watch.check()
            with suppress(Empty):
                return ended.get(timeout=_GLANCE)

    def _together(self, stage: tuple[Step, ...]) -> list[tuple[Step, ...]]:
        """A stage's steps, each for a thread of its own; those that the engine does better together are together."""
        kinds = (EnsureNode, DeleteNode, DeleteVolume) if self._provider.takes_many else ()
        many = [tuple(step for step in stage if isinstance(step, kind)) for kind in kinds]
        return [steps for steps in many if steps] + [(step,) for step in stage if not isinstance(step, kinds)]

    def _run_steps(self, steps: tuple[Step, ...]) -> None:
        began = time.monotonic()
        for attempt in range(1, _TRIES + 1):
            self._watch.check()
            try:
                self._do_together(steps)
                break
            except EngineError as exc:
                self._operation.event("refused", step=", ".join(map(str, steps)), attempt=attempt, error=exc.brief)
                if attempt == _TRIES:
                    raise
                self._watch.pause(_PAUSE * 2**attempt)
        seconds = time.monotonic() - began
        for step in steps:
            self._operation.event("done", step=str(step), seconds=round(seconds, 3))
            self._watch.tell(Event(self._operation.target, Kind.DONE, str(step), seconds=seconds))

    def _do_together(self, steps: tuple[Step, ...]) -> None:
        specs = [step.spec for step in steps if isinstance(step, EnsureNode)]
        refs = [step.ref for step in steps if isinstance(step, DeleteNode)]
        volumes = [(step.ref, step.number, step.snapshot) for step in steps if isinstance(step, DeleteVolume)]
        if len(steps) > 1 and specs:
            self._ensure_nodes(specs)
        elif len(steps) > 1 and refs:
            self._provider.delete_nodes(refs)
        elif len(steps) > 1 and volumes:
            self._provider.delete_volumes(volumes)
        else:
            self._do(*steps)

    @singledispatchmethod
    def _do(self, step: Step) -> None:
        raise TypeError(f"no way is known to {step}")

    @_do.register
    def _(self, step: EnsureNetwork) -> None:
        self._provider.ensure_network(step.tenant, step.subnet)

    @_do.register
    def _(self, step: PutConfig) -> None:
        self._provider.ensure_config(step.cluster, step.files)

    @_do.register
    def _(self, step: PutDatasets) -> None:
        self._provider.ensure_datasets(step.cluster, step.datasets)

    @_do.register
    def _(self, step: EnsureNode) -> None:
        self._ensure_nodes([step.spec])

    @_do.register
    def _(self, step: ResizeNode) -> None:
        self._provider.resize_node(step.ref, memory=step.memory, cpus=step.cpus)

    @_do.register
    def _(self, step: UpdateUsers) -> None:
        result = self._provider.execute(step.ref, _MAKE_USERS)
        if result.exit_code:
            raise ConfiguringError(
                f"the node {step.ref} did not make the users of its tenant's members",
                details=(result.stderr or result.stdout).decode(errors="replace")[-1000:],
                resolution="run the same command again; an image from before there were members has no way to make them",
            )

    @_do.register
    def _(self, step: StopNode) -> None:
        self._provider.stop_node(step.ref)

    @_do.register
    def _(self, step: RefreshNodes) -> None:  # noqa: ARG002 - chosen by its type alone
        self._leaving().refresh()

    @_do.register
    def _(self, step: Decommission) -> None:
        self._leaving().wait(step.nodes)

    @_do.register
    def _(self, step: AwaitGone) -> None:
        self._leaving().await_gone(step.nodes)

    @_do.register
    def _(self, step: DeleteNode) -> None:
        self._provider.delete_node(step.ref)

    @_do.register
    def _(self, step: DeleteVolume) -> None:
        self._provider.delete_volume(step.ref, step.number, step.snapshot)

    @_do.register
    def _(self, step: DeleteConfig) -> None:
        self._provider.delete_config(step.cluster)

    @_do.register
    def _(self, step: DeleteDatasets) -> None:
        self._provider.delete_datasets(step.cluster)

    @_do.register
    def _(self, step: DeleteNetwork) -> None:
        try:
            self._provider.delete_network(step.tenant)
        except EngineError:
            # Another cluster of the tenant may have come since the plan was made: it keeps the network.
            if not self._provider.find(tenant=step.tenant).nodes:
                raise

    def _ensure_nodes(self, specs: Sequence[NodeSpec]) -> None:
        try:
            self._provider.ensure_nodes(specs)
        except NotFoundError:
            # The deletion of the tenant's last other cluster may just have taken the network away.
            self._provider.ensure_network(specs[0].ref.cluster.tenant, self._subnet)
            self._provider.ensure_nodes(specs)

    def _leaving(self) -> Decommissioner:
        if self._decommissioner is None:
            raise TypeError("this plan needs a decommissioner")
        return self._decommissioner


def _joined(failures: list[LabError]) -> LabError:
    first, *others = failures
    if others:
        first.details = "\n".join(filter(None, [first.details, *(f"also: {each.brief}" for each in others)]))
    return first
