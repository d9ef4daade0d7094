"""What people do on their cluster: commands on nodes, jobs, logs. Changes nothing that is wanted."""

from __future__ import annotations

import io
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from labcloud.errors import ConflictError, NotFoundError, UsageError
from labcloud.model import Cluster, FoundNode, NodeRef, Status, Tenant
from labcloud.profiles import Profile
from labcloud.providers.base import Command, Provider, Sink

EXAMPLES: Final = "examples"
_LOGS: Final = "/var/log/hadoop"
_CHUNK: Final = 1 << 20
_THREADS: Final = 64
# A program that follows files on a node would outlive whoever asked for it: it ends with its standard input.
_FOLLOW: Final = 'tail -F "$@" & read -r _; kill "$!"'
_GLANCE: Final = 0.5  # seconds between looks at whether somebody pressed Ctrl-C


class Work:
    """Work on one cluster as ``user``, by default the tenant's; ``user_id`` is the owner of what is taken to nodes."""

    def __init__(self, provider: Provider, cluster: Cluster, profile: Profile, user: str = "", user_id: int = 0) -> None:
        self._provider = provider
        self._cluster = cluster
        self._profile = profile
        self.user = user or cluster.ref.tenant
        self._user_id = user_id or cluster.user_id

    def nodes(self, *, node: str | None = None, group: str | None = None, every: bool = False) -> list[NodeRef]:
        """The running nodes that are meant: one, a group's, all, or the first of the first group.

        Raise NotFoundError for a node or a group that there is none of, ConflictError for one that does not run.
        """
        found = {each.ref: each for each in self._provider.find(cluster=self._cluster.ref).nodes}
        if node is not None:
            wanted = [NodeRef.parse(self._cluster.ref, node)]
        elif group is not None or every:
            wanted = [ref for ref in found if group in (None, ref.group)]
        else:
            wanted = [NodeRef(self._cluster.ref, self._cluster.groups[0].name, 0)]
        if not wanted or not all(ref in found for ref in wanted):
            names = ", ".join(ref.name for ref in found) or "none"
            raise NotFoundError(f"{self._cluster.ref} has no {node or group or 'running node'}", resolution=f"its nodes are {names}")
        return [_running(found[ref]) for ref in wanted]

    def run(self, commands: Mapping[NodeRef, Command], stdout: Sink, stderr: Sink) -> dict[NodeRef, int]:
        """Run a command on each node, at once; with several, each line begins with its node's name. Returns the exit codes."""
        if len(commands) == 1:
            ((ref, command),) = commands.items()
            return {ref: self._provider.execute(ref, command, stdout=stdout, stderr=stderr).exit_code}
        lock = threading.Lock()

        def one(ref: NodeRef) -> int:
            with _Prefixed(stdout, ref.name, lock) as out, _Prefixed(stderr, ref.name, lock) as err:
                return self._provider.execute(ref, commands[ref], stdout=out, stderr=err).exit_code

        return _on_all(one, list(commands))

    def shell(self, ref: NodeRef, user: str) -> list[str]:
        """The command line, on this machine, of a login shell in the user's home."""
        return self._provider.interactive(ref, ("/bin/bash", "-c", "cd; exec /bin/bash --login"), user=user)

    def submit(self, jar: str, arguments: Sequence[str], stdout: Sink, stderr: Sink) -> int:
        """Run ``yarn jar`` with a jar of this machine, one on the node (an absolute path), or ``examples``. Returns its exit code."""
        (node,) = self.nodes()
        local = Path(jar)
        if jar == EXAMPLES:
            return self._yarn_jar(node, self._profile.examples_jar, arguments, stdout, stderr)
        if not local.is_file():
            if jar.startswith("/"):
                return self._yarn_jar(node, jar, arguments, stdout, stderr)
            raise NotFoundError(f"there is no file {jar}", resolution="name a jar here, an absolute path on the node, or 'examples'")
        remote = f"/home/{self.user}/.{secrets.token_hex(4)}-{local.name}"
        self._provider.put_file(node, remote, _chunks(local), size=local.stat().st_size, owner=self._user_id)
        try:
            return self._yarn_jar(node, remote, arguments, stdout, stderr)
        finally:
            self._provider.execute(node, Command(("rm", "-f", remote)))

    def _yarn_jar(self, node: NodeRef, jar: str, arguments: Sequence[str], stdout: Sink, stderr: Sink) -> int:
        command = Command(("yarn", "jar", jar, *arguments), user=self.user)
        return self._provider.execute(node, command, stdout=stdout, stderr=stderr).exit_code

    def logs(self, refs: Sequence[NodeRef], service: str | None, *, lines: int, follow: bool) -> dict[NodeRef, Command]:
        """The command that prints the logs of ``service``, or of all, for each node that has any.

        Raise UsageError for a service that the profile has not.
        """
        if service is not None and service not in self._profile.services:
            raise UsageError(f"{self._profile.name} has no service {service!r}", resolution=f"it has {', '.join(self._profile.services)}")
        commands = {}
        for ref in refs:
            names = [name for name, each in self._profile.services.items() if each.group == ref.group and service in (None, name)]
            files = [f"{_LOGS}/{name}.{kind}" for name in names for kind in ("log", "out")]
            if files:
                words = ("-n", str(lines), *files)
                commands[ref] = (
                    Command(("sh", "-c", _FOLLOW, "sh", *words), stdin=cast(BinaryIO, _Open())) if follow else Command(("tail", *words))
                )
        return commands


class _Open(io.RawIOBase):
    """A standard input that says nothing, and ends with this process, however that ends."""

    def read(self, size: int = -1) -> bytes:  # noqa: ARG002 - nothing comes, however much is asked for
        threading.Event().wait()
        return b""


def person(tenant: Tenant, name: str) -> tuple[str, int]:
    """The OS user, by name and number, of somebody in ``tenant``: a member, or the tenant's own. Raise NotFoundError for others."""
    if name == tenant.name:
        return name, tenant.user_id
    member = tenant.member(name)
    if member is None:
        there = ", ".join(each.name for each in tenant.members) or "none"
        raise NotFoundError(
            f"{tenant.name} has no member {name!r}",
            resolution=f"its members: {there}; take one in: labcloud tenant set {tenant.name} --member NAME=@KEY.pub",
        )
    return member.name, member.user_id


def _running(node: FoundNode) -> NodeRef:
    if node.status is not Status.RUNNING:
        raise ConflictError(f"the node {node.ref} does not run", resolution=f"start it: labcloud start {node.ref.cluster}")
    return node.ref


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _on_all(do: Callable[[NodeRef], int], refs: Sequence[NodeRef]) -> dict[NodeRef, int]:
    """What ``do`` returns for each node, on many at once.

    A command may run for ever, as one that follows a log: threads are daemons, so that Ctrl-C need not wait for them.
    """
    results: dict[NodeRef, Future[int]] = {ref: Future() for ref in refs}
    waiting = iter(list(results.items()))  # a list's iterator may be asked by several threads

    def run() -> None:
        for ref, result in waiting:
            try:
                result.set_result(do(ref))
            except BaseException as exc:  # noqa: BLE001 - handed over to the caller
                result.set_exception(exc)

    for _ in range(min(len(refs), _THREADS)):
        threading.Thread(target=run, daemon=True, name="on-nodes").start()
    pending = set(results.values())
    while pending:  # a Ctrl-C that comes just before a wait without an end would not end it
        done, pending = wait(pending, timeout=_GLANCE, return_when=FIRST_EXCEPTION)
        for result in done:
            result.result()
    return {ref: result.result() for ref, result in results.items()}


class _Prefixed(io.RawIOBase):
    """Passes whole lines on, each with the name of its node before it."""

    def __init__(self, target: Sink, name: str, lock: threading.Lock) -> None:
        self._target = target
        self._prefix = f"{name}: ".encode()
        self._lock = lock
        self._rest = b""

    def write(self, chunk: Any) -> int:
        *whole, self._rest = (self._rest + bytes(chunk)).split(b"\n")
        with self._lock:
            self._target.write(b"".join(self._prefix + line + b"\n" for line in whole))
            self._target.flush()
        return len(chunk)

    def close(self) -> None:
        if self._rest and not self.closed:
            self.write(b"\n")
        super().close()
