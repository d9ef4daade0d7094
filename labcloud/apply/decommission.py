"""Lets nodes leave a running cluster without losing a block: HDFS copies first, then YARN and the node go.

The lists of excluded nodes are part of the rendered configuration; here the daemons are told to read them, and waited for.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from labcloud.apply.watch import Deadline, Watch, wait_until_nothing
from labcloud.errors import ConfiguringError, EngineError
from labcloud.model import Cluster, NodeRef
from labcloud.profiles import Profile
from labcloud.providers.base import Command, Provider
from labcloud.services.hadoop import DECOMMISSIONED, Hadoop

# As each service's own user: a superuser of its own file system or scheduler.
_REFRESH: Final = {
    "namenode": Command(("hdfs", "dfsadmin", "-refreshNodes"), user="hdfs"),
    "resourcemanager": Command(("yarn", "rmadmin", "-refreshNodes"), user="yarn"),
}


def read_lists(provider: Provider, node: NodeRef, service: str) -> None:
    """Let the ``service`` on ``node``, NameNode or ResourceManager, read its list of hosts again. Raise ConfiguringError if it refuses."""
    result = provider.execute(node, _REFRESH[service])
    if result.exit_code:
        raise ConfiguringError(
            f"the {service} of {node.cluster} refused to read its list of hosts",
            details=result.stderr.decode(errors="replace")[-2000:],
            resolution=f"see 'labcloud logs {node.cluster} --service {service}'; if it was started with other settings than it has now, "
            f"'labcloud restart {node.cluster}'; then run the same command again",
        )


class Decommissioner:
    """For one cluster. ``deadline`` limits the wait for blocks to be copied."""

    def __init__(self, provider: Provider, cluster: Cluster, profile: Profile, *, watch: Watch, deadline: Deadline) -> None:
        self._provider = provider
        self._cluster = cluster
        self._services = profile.services
        self._hadoop = Hadoop(provider, cluster, profile)
        self._watch = watch
        self._deadline = deadline

    def refresh(self) -> None:
        """Let the daemons read again which nodes are excluded. Raise ConfiguringError if one refuses."""
        nodes = {name: NodeRef(self._cluster.ref, self._services[name].group, 0) for name in _REFRESH if name in self._services}
        with ThreadPoolExecutor(len(_REFRESH)) as pool:
            list(pool.map(lambda name: read_lists(self._provider, nodes[name], name), nodes))

    def wait(self, nodes: Iterable[NodeRef]) -> None:
        """Wait until HDFS and YARN have let go of ``nodes``. Raise DeadlineError with what is left to copy."""
        names = {node.name for node in nodes}
        wait_until_nothing(lambda: self._left(names), subject=str(self._cluster.ref), watch=self._watch, deadline=self._deadline)

    def await_gone(self, nodes: Iterable[NodeRef]) -> None:
        """Wait until HDFS takes none of ``nodes`` for alive: it does for 40 seconds after the last heartbeat."""
        names = {node.name for node in nodes}
        wait_until_nothing(lambda: self._alive(names), subject=str(self._cluster.ref), watch=self._watch, deadline=self._deadline)

    def _alive(self, names: set[str]) -> str:
        try:
            alive = sorted(names & self._hadoop.hdfs().live.keys())
        except EngineError as exc:
            return exc.brief
        return f"HDFS still takes the former {', '.join(alive)} for alive" if alive else ""

    def _left(self, names: set[str]) -> str:
        try:
            hdfs = self._hadoop.hdfs()
            if hdfs.safe_mode:
                return "HDFS is in safe mode"  # it has just started: nodes that it does not know yet may hold the only copies
            busy = sorted(name for name in names if {**hdfs.dead, **hdfs.live}.get(name, DECOMMISSIONED) != DECOMMISSIONED)
            unknown = sorted(names - hdfs.live.keys() - hdfs.dead.keys())
            if unknown and hdfs.missing_blocks:
                return f"HDFS misses {hdfs.missing_blocks} blocks, and knows nothing of {', '.join(unknown)} yet"
            if busy:
                return f"HDFS copies the blocks of {', '.join(busy)} elsewhere ({hdfs.under_replicated(busy)} left)"
            working = sorted(names & self._hadoop.yarn().keys()) if "resourcemanager" in self._services else []
        except EngineError as exc:
            return exc.brief
        return f"YARN lets go of {', '.join(working)}" if working else ""
