"""What "ready" means, and waiting for it.

A cluster is ready when HDFS has left safe mode, every declared DataNode and NodeManager is registered and healthy, the tenant's
user and its members have homes, and a file has been written and read back. Not when containers run. The SecondaryNameNode and the history
server may still be starting (the latter sleeps for ten seconds in Hadoop 2): nothing that a tenant does first needs them.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Mapping

from labcloud.apply.watch import Deadline, Event, Kind, Watch, wait_until_nothing
from labcloud.errors import ConfiguringError, DeadlineError, EngineError
from labcloud.model import Cluster, NodeRef
from labcloud.profiles import Profile
from labcloud.providers.base import Command, Provider
from labcloud.services.files import Files
from labcloud.services.hadoop import IN_SERVICE, SILENT, Hadoop

_LOG_LINES = "300"
_SHOWN_LINES = 4
_TROUBLE = re.compile(r"\b(?:ERROR|FATAL)\b|Exception|Caused by")
_PATIENCE = 15.0  # seconds until a NodeManager that answers has registered
_HEARTBEAT = 3.0  # seconds until the first heartbeat follows, of which five a second are asked for
_BETWEEN_COUNTS = 1.0
_HOPELESS = 3  # times that a service may end while it is waited for


class Readiness:
    """The test of one cluster, whose tenant has these ``members`` (names of OS users)."""

    def __init__(self, provider: Provider, cluster: Cluster, profile: Profile, members: Iterable[str] = ()) -> None:
        self._provider = provider
        self._cluster = cluster
        self._profile = profile
        self._hadoop = Hadoop(provider, cluster, profile)
        self._absent_since: dict[tuple[str, float], float] = {}  # by NodeManager and the patience with it
        self._homeless = list(members)
        self._ends: dict[tuple[NodeRef, str], tuple[float, int]] = {}  # when a service's ends were counted last, and how many at first

    def wait(self, watch: Watch, deadline: Deadline) -> None:
        """Return when the cluster is ready. Raise DeadlineError, with the log of the service that is missing, if it never is."""
        began = time.monotonic()
        subject = str(self._cluster.ref)
        try:
            for missing in (self._hdfs, self._proof, self._yarn, self._homes):  # a file is proved while YARN's nodes register
                wait_until_nothing(missing, subject=subject, watch=watch, deadline=deadline)
        except DeadlineError as exc:
            exc.details = self._why()
            raise
        watch.tell(Event(subject, Kind.READY, "ready", seconds=time.monotonic() - began))

    def wait_for_homes(self, watch: Watch, deadline: Deadline) -> None:
        """Return when every member has a home in HDFS. Raise DeadlineError if HDFS makes none."""
        wait_until_nothing(self._homes, subject=str(self._cluster.ref), watch=watch, deadline=deadline)

    def wait_after_restart(self, restarted: Mapping[NodeRef, Iterable[str]], watch: Watch, deadline: Deadline) -> None:
        """Return when the restarted services answer, and the cluster is ready: their masters take them for alive meanwhile."""
        subject = str(self._cluster.ref)
        self._ends.clear()
        wait_until_nothing(lambda: self._silent(restarted), subject=subject, watch=watch, deadline=deadline)
        self.wait(watch, deadline)

    def _silent(self, restarted: Mapping[NodeRef, Iterable[str]]) -> str:
        for node, names in restarted.items():
            for name in names:
                if self._profile.services[name].probe and not self._answers(node, name):
                    self._check_alive(node, name)
                    return f"the {name} on {node.name} is starting"
        return ""

    def _check_alive(self, node: NodeRef, name: str) -> None:
        """Raise ConfiguringError, with what the service said last, if it has ended several times since it was first asked for here."""
        now, (asked, first) = time.monotonic(), self._ends.get((node, name), (0.0, -1))
        if now - asked < _BETWEEN_COUNTS:
            return
        ends = self._provider.execute(node, Command(("s6-svdt", f"/run/service/{name}"))).stdout.count(b"\n")
        self._ends[node, name] = (now, first if first >= 0 else ends)
        if first >= 0 and ends - first >= _HOPELESS:
            raise ConfiguringError(
                f"the {name} on {node.name} ends again and again",
                details=self._tail(node, name),
                resolution=f"'labcloud diagnose {self._cluster.ref}' looks for the cause",
            )

    # Each of these returns what is missing still, or nothing.

    def known_to(self, masters: Collection[str]) -> str:
        """What those of ``masters`` (services) that have workers do not know of after their start; it is asked again until nothing is."""
        return (self._hdfs() if "namenode" in masters else "") or (self._yarn() if "resourcemanager" in masters else "")

    def _hdfs(self) -> str:
        try:
            state = self._hadoop.hdfs()
        except EngineError:
            return "the NameNode is starting"
        absent = self._absent("datanode", lambda name: state.live.get(name) == IN_SERVICE)
        if absent:
            return _lacking("DataNodes", absent, self._declared("datanode"))
        return "HDFS is in safe mode" if state.safe_mode else ""

    def _yarn(self) -> str:
        if "resourcemanager" not in self._profile.services:
            return ""
        try:
            nodes = self._hadoop.yarn()
        except EngineError:
            return "the ResourceManager is starting"
        absent = self._absent("nodemanager", lambda name: nodes.get(name) == "RUNNING")
        self._wake_nodemanagers({name: _HEARTBEAT if nodes.get(name) == SILENT else _PATIENCE for name in absent})
        return _lacking("NodeManagers", absent, self._declared("nodemanager")) if absent else ""

    def _wake_nodemanagers(self, absent: Mapping[str, float]) -> None:
        """Restart NodeManagers that answer, and yet have been absent for longer than their patience: name → seconds.

        Seen with Hadoop 2 after a restart of the ResourceManager: see :func:`labcloud.services.hadoop.nodemanager_state`. The containers
        of running jobs outlive the restart.
        """
        now = time.monotonic()
        self._absent_since = {each: self._absent_since.get(each, now) for each in absent.items()}
        for (name, patience), since in self._absent_since.items():
            node = NodeRef.parse(self._cluster.ref, name)
            if now - since > patience and self._answers(node, "nodemanager"):
                self._provider.execute(node, Command(("s6-svc", "-r", "/run/service/nodemanager")))
                self._absent_since[name, patience] = now

    def _proof(self) -> str:
        user = self._cluster.ref.tenant
        path = f"/user/{user}/.ready-{secrets.token_hex(4)}"
        content = path.encode()
        try:
            files = self._hadoop.files()
            _make_home(files, user)
            try:
                files.write(path, content)
                back = files.read(path)
            finally:  # a try that failed leaves nothing in somebody's home
                files.delete(path)
        except EngineError as exc:
            return f"a file cannot be written to HDFS and read back yet ({exc.brief})"
        return "" if back == content else "HDFS returned other bytes than were written"

    def _homes(self) -> str:
        try:
            files = self._hadoop.files() if self._homeless else None
            while files and self._homeless:
                _make_home(files, self._homeless[0])
                self._homeless.pop(0)
        except EngineError as exc:
            return f"HDFS has no home for {self._homeless[0]} yet ({exc.brief})"
        return ""

    def _declared(self, service: str) -> list[str]:
        return [node.name for node in self._cluster.nodes(self._profile.services[service].group)]

    def _absent(self, service: str, there: Callable[[str], bool]) -> list[str]:
        return [name for name in self._declared(service) if not there(name)]

    def _why(self) -> str:
        """The last lines of the log of each service that does not answer."""
        silent = [
            (node, name)
            for name, service in self._profile.services.items()
            if service.probe is not None
            for node in self._cluster.nodes(service.group)
            if not self._answers(node, name)
        ]
        return "\n".join(self._tail(node, name) for node, name in silent[:3])

    def _answers(self, node: NodeRef, name: str) -> bool:
        """Whether the service answers its probe; one without a probe cannot be asked."""
        service = self._profile.services[name]
        if service.probe is None:
            return False
        try:
            return self._provider.request(node, service.ports[service.probe.port], service.probe.path, timeout=2).status < 500
        except EngineError:
            return False

    def _tail(self, node: NodeRef, service: str) -> str:
        """The last lines of a service's log that tell of trouble; the last of all, if none does."""
        command = Command(("tail", "-n", _LOG_LINES, f"/var/log/hadoop/{service}.log", f"/var/log/hadoop/{service}.out"))
        try:
            lines = self._provider.execute(node, command).stdout.decode(errors="replace").splitlines()
        except EngineError as exc:
            return f"{service} on {node.name}: {exc.brief}"
        shown = [line for line in lines if _TROUBLE.search(line)] or [line for line in lines if line.strip()]
        return "\n".join([f"{service} on {node.name}:", *shown[-_SHOWN_LINES:]])


def _make_home(files: Files, user: str) -> None:
    files.make_folder(f"/user/{user}", owner=user, group=user, mode="750")


def _lacking(what: str, absent: Iterable[str], declared: Iterable[str]) -> str:
    absent, declared = list(absent), list(declared)
    named = ", ".join(absent[:3]) + (", …" if len(absent) > 3 else "")
    return f"{len(declared) - len(absent)} of {len(declared)} {what} are registered; missing: {named}"
