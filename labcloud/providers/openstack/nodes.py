"""What makes a server a node: its configuration, the names of its neighbours, its services started. Talks to nodes by ssh alone.

New nodes are configured by Ansible, all at once. That they were is noted below ``HOME/configured``, by their server's id: where a note
is missing, the node is configured again, which changes nothing where nothing is to be changed. What changes on nodes that run goes the
same way in small: the same program takes the same archive, over the connection that is there, in milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from labcloud.ansible.content import SERVED, TAKE, Content
from labcloud.ansible.inventory import Host
from labcloud.ansible.play import configure
from labcloud.errors import ConfiguringError, LabError
from labcloud.model import NodeRef
from labcloud.providers.base import Command
from labcloud.providers.openstack.identity import Machine
from labcloud.providers.openstack.shares import Shares, View, server_of
from labcloud.providers.openstack.ssh import Ssh, Target
from labcloud.providers.openstack.together import ended
from labcloud.providers.tree import read_tree

_THREADS: Final = 16
_SSH_SECONDS: Final = 180.0
_STOP_SECONDS: Final = 60.0

Item = TypeVar("Item")


class Nodes:
    """The nodes of one lab. ``way`` gives ssh's options that lead to one, ``home`` is the lab's folder."""

    def __init__(self, ssh: Ssh, way: Callable[[Machine], Sequence[str]], home: Path) -> None:
        self._ssh = ssh
        self._way = way
        self._base = home / "lab" / "base"
        self._rendered = home / "rendered"
        self._noted = home / "configured"
        self._shares = Shares(ssh, self._noted)

    def target(self, machine: Machine) -> Target:
        """Where the node's ssh is."""
        return Target(machine.id, machine.reached, str(machine.ref), tuple(self._way(machine)))

    def make(
        self, new: Collection[Machine], all_: Sequence[Machine], domain: str, disks: Mapping[NodeRef, Mapping[int, str]],
        idle: Collection[NodeRef] = (), view: View | None = None,
    ) -> None:  # fmt: skip
        """Configure ``new`` ones, whose services start, and let ``all_`` running ones of the cluster know each other's names.

        ``disks`` are the ids of data volumes that are disks of their own, by node and number. No service runs on those that are ``idle``,
        and they are not noted as configured: whoever wants them to be nodes has to make them so. ``view`` is what nodes see of datasets.
        """
        if not new:
            return
        hosts = names(all_, domain)
        _on_all(lambda each: self._ssh.wait(self.target(each), _SSH_SECONDS), new)
        resting = [each for each in new if each.ref in idle]
        for each in resting:
            self.forget(each)
        where = _where(all_) if view else {}
        contents = {
            each.ref: self._content(
                each, hosts, disks.get(each.ref, {}), start=each not in resting, datasets=where.get(each.ref, "")
            ) for each in new
        }  # fmt: skip
        configure([self._host(each, contents[each.ref]) for each in new])
        _on_all(lambda each: self.stop_services(each, _STOP_SECONDS), resting)
        self._noted.mkdir(parents=True, exist_ok=True)
        for each in new:
            if each not in resting:
                (self._noted / each.id).touch()
        others = [each for each in all_ if each.ref not in contents and self.configured(each)]
        self.push([(each, Content(hosts=hosts, datasets=where.get(each.ref, ""))) for each in others])
        if view:
            self._fill(all_, view)

    def show(self, machines: Sequence[Machine], view: View) -> None:
        """Let running nodes, all of a cluster's, see what is in ``view``."""
        where = _where(machines)
        self.push([(each, Content(datasets=where[each.ref])) for each in machines])
        self._fill(machines, view)

    def _fill(self, machines: Sequence[Machine], view: View) -> None:
        if server := server_of(machines):
            self._shares.fill(server, self.target(server), view)

    def sees(self, server: Machine) -> dict[str, str]:
        """What nodes see of datasets whose cluster has ``server`` to serve them, by name and tag."""
        return self._shares.there(server)

    def configured(self, machine: Machine) -> bool:
        """Whether the node was ever made to be one."""
        return (self._noted / machine.id).exists()

    def forget(self, machine: Machine) -> None:
        """The node's server is off: it has to be configured when it runs again."""
        (self._noted / machine.id).unlink(missing_ok=True)

    def gone(self, machine: Machine) -> None:
        """The server is deleted, and with it all that it had."""
        self.forget(machine)
        self._shares.forget(machine)

    def _host(self, machine: Machine, content: Content) -> Host:
        return Host(machine.ref.qualified, machine.reached, self._ssh.user, self._ssh.options(self.target(machine)), content)

    def _content(
        self, machine: Machine, hosts: Mapping[str, Iterable[str]], disks: Mapping[int, str], *, start: bool, datasets: str
    ) -> Content:  # fmt: skip
        volumes = machine.metadata.get("labcloud.volumes", "").split()
        return Content(
            name=machine.ref.name,
            cluster=tree_of(self._rendered / machine.ref.cluster.tenant / machine.ref.cluster.name / machine.ref.name),
            base=tree_of(self._base),
            hosts=hosts,
            folders=("/datasets", *(f"/data/{number}" for number, _ in enumerate(volumes))),
            disks={f"/data/{number}": id for number, id in disks.items()},
            start=start,
            datasets=datasets,
        )

    def push(self, contents: Iterable[tuple[Machine, Content]]) -> None:
        """Give running nodes what changed, at once. Raise ConfiguringError for those that do not take it."""

        def one(pair: tuple[Machine, Content]) -> None:
            machine, content = pair
            command = Command(("/bin/sh", "-c", TAKE.read_text()), stdin=content.archive())
            result = self._ssh.run(self.target(machine), command)
            if result.exit_code:
                raise ConfiguringError(
                    f"the node {machine.ref} did not take its configuration", details=result.stderr.decode(errors="replace")[-1000:],
                    resolution="run the same command again",
                )  # fmt: skip

        _on_all(one, contents)

    def push_cluster(self, machines: Iterable[Machine], files: Mapping[str, str], nodes: Collection[str]) -> None:
        """Give the running ones of ``machines`` that are named in ``nodes`` their part of the configuration tree ``files``."""
        parts: dict[str, dict[str, bytes]] = {name: {} for name in nodes}
        for path, text in files.items():
            name, _, rest = path.partition("/")
            if name in parts:
                parts[name][rest] = text.encode()
        base = tree_of(self._base)
        self.push([(each, Content(cluster=parts[each.ref.name], base=base)) for each in machines if each.ref.name in parts])

    def push_base(self, machines: Iterable[Machine]) -> None:
        """Give running nodes the lab's ``base/``."""
        base = tree_of(self._base)
        self.push([(each, Content(base=base)) for each in machines])

    def stop_services(self, machine: Machine, timeout: float) -> None:
        """Stop the node's services in order; after ``timeout`` seconds the server stops whatever still runs."""
        self._ssh.run(self.target(machine), Command(("timeout", f"{timeout:g}", "systemctl", "stop", "labcloud-node.service")))


def _on_all(do: Callable[[Item], None], items: Iterable[Item]) -> None:
    """Do something for all items at once; the first error is raised when all are done, and tells of the others."""
    failures = [exc for each in ended((partial(do, item) for item in items), _THREADS) if (exc := each.exception()) is not None]
    first = next((exc for exc in failures if not isinstance(exc, LabError)), failures[0] if failures else None)
    if isinstance(first, LabError):
        first.details = "\n".join(filter(None, [first.details, *(f"also: {each}" for each in failures[1:])]))
    if first is not None:
        raise first


def _where(machines: Iterable[Machine]) -> dict[NodeRef, str]:
    """What each node of a cluster is told of where its datasets are."""
    machines = list(machines)
    server = server_of(machines)
    return {each.ref: SERVED if each is server else server.address for each in machines} if server else {}


def names(machines: Iterable[Machine], domain: str) -> dict[str, tuple[str, str]]:
    """By address what a node is called: its host name in full, which look-ups in both directions give, and its name inside the cluster."""
    return {each.address: (f"{each.ref.qualified}.{domain}", each.ref.name) for each in machines if each.address}


def tree_of(root: Path) -> dict[str, bytes]:
    return {name: text.encode() for name, text in read_tree(root).items()}


def changed_nodes(before: Mapping[str, str], after: Mapping[str, str]) -> frozenset[str]:
    """The names of nodes whose part of the tree differs."""
    differing = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    return frozenset(path.partition("/")[0] for path in differing)
