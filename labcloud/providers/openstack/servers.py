"""Servers: listed, made many at once, waited for together, deleted. Asks of a cluster's servers are one list each, never one a server.

Nova numbers the names of what one request makes from 1. So the nodes of a group from index 1 on, which are all but the first of a
new cluster's, are made by one request; others by one each, and so are those that have volumes of their own. No name has to be changed
afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from labcloud.errors import DeadlineError, EngineError, LabError
from labcloud.model import ClusterRef, NodeRef, NodeSpec, Status
from labcloud.providers.openstack import identity
from labcloud.providers.openstack.connection import Cloud
from labcloud.providers.openstack.identity import Machine
from labcloud.providers.openstack.together import at_once, wait_for

if TYPE_CHECKING:
    from openstack.connection import Connection

ACTIVE_SECONDS: Final = 600.0
"""How long servers may take to be made."""

_GONE_SECONDS: Final = 300.0
_LEAST_PAUSE: Final = 0.5
_MOST_PAUSE: Final = 5.0
_SERVERS_A_SECOND: Final = 40
_REST: Final = 1.0  # times what a list takes: a Nova that is slow has more to do than to answer
_CONSOLE_LINES: Final = 20
_FAILED: Final = "ERROR"
_BUILDING: Final = "BUILD"
_OFF: Final = "SHUTOFF"
_MOVED: Final = "VERIFY_RESIZE"
"""It has another flavor, and Nova keeps the old disk until somebody confirms that."""
_DELETED: Final = frozenset({"DELETED", "SOFT_DELETED"})


@dataclass(frozen=True)
class BootVolume:
    """A volume of Cinder that a server boots from, made of its image and deleted with it: GiB, and its type ("": the cloud's choice)."""

    size: int
    type: str = ""


@dataclass(frozen=True)
class Ingredients:
    """What servers are made of, besides their specification: ids of the cloud's things, and the name of a key."""

    image: str
    flavor: str
    network: str
    security_group: str
    key: str
    server_group: str
    zone: str = ""
    config_drive: bool | None = None
    boot: BootVolume | None = None


class Servers:
    """The servers of one lab in a cloud."""

    def __init__(self, cloud: Cloud, lab: str) -> None:
        self._cloud = cloud
        self._lab = lab

    def listed(self, tenant: str = "", cluster: ClusterRef | None = None) -> list[Machine]:
        """The servers of the lab, of a tenant or of a cluster; those that are going away are still among them."""
        wanted = ",".join(identity.tags(self._lab, tenant, cluster))
        found = self._cloud.read("ask which servers exist", lambda api: list(api.compute.servers(tags=wanted)))
        return sorted((identity.machine(each) for each in found if each.status not in _DELETED), key=lambda each: each.ref)

    # Making

    def create(self, specs: Sequence[NodeSpec], parts: Ingredients, volumes: Mapping[NodeRef, Mapping[int, str]]) -> None:
        """Ask Nova for servers that differ in their index alone, and in their ``volumes`` (ids, by number); `await_active` waits."""
        cluster, group = specs[0].ref.cluster, specs[0].ref.group
        wanted = sorted(spec.ref.index for spec in specs)
        several = [each for each in wanted if each > 0 and not volumes]
        run = [index for place, index in enumerate(several, 1) if index == place]
        body = self._body(specs[0], parts)
        if len(run) > 1:
            self._request(f"{cluster}/{group}-1 to {group}-{len(run)}", identity.server_name(cluster, group), len(run), body)
        single = [index for index in wanted if len(run) < 2 or index not in run]
        at_once(partial(self._single, NodeRef(cluster, group, index), body, parts, volumes) for index in single)

    def _single(self, ref: NodeRef, body: dict[str, Any], parts: Ingredients, volumes: Mapping[NodeRef, Mapping[int, str]]) -> None:
        disks = {"block_device_mapping": [*_root(parts), *_devices(volumes[ref])]} if ref in volumes else {}
        self._request(str(ref), identity.server_name(ref.cluster, ref.group, ref.index), 1, body | disks)

    def _request(self, what: str, name: str, count: int, body: dict[str, Any]) -> None:
        numbers = {"min_count": count, "max_count": count} if count > 1 else {}
        with self._cloud.change(f"create the node {what}") as api:
            api.compute.create_server(name=name, **body, **numbers)

    def _body(self, spec: NodeSpec, parts: Ingredients) -> dict[str, Any]:
        body: dict[str, Any] = {
            "flavor_id": parts.flavor,
            "networks": [{"uuid": parts.network}],
            "security_groups": [{"name": parts.security_group}],
            "key_name": parts.key,
            "metadata": identity.metadata(self._lab, spec),
            "tags": identity.tags(self._lab, cluster=spec.ref.cluster),
        }
        body |= {"block_device_mapping": _root(parts)} if parts.boot else {"image_id": parts.image}
        body |= {"scheduler_hints": {"group": parts.server_group}} if parts.server_group else {}
        body |= {"availability_zone": parts.zone} if parts.zone else {}
        return body | ({"config_drive": parts.config_drive} if parts.config_drive is not None else {})

    # Waiting

    def await_active(self, refs: Collection[NodeRef]) -> list[Machine]:
        """The servers of ``refs``, all of one cluster, when all are ACTIVE.

        Raise EngineError, with Nova's reasons, if some are in ERROR, as soon as none is being built any more: the next run finds all of
        them then.
        """

        def active(own: list[Machine]) -> bool:
            broken = [each for each in own if each.state == _FAILED]
            if broken and not any(each.state == _BUILDING for each in own):
                raise self.why(broken)
            return len(own) == len(refs) and all(each.status is Status.RUNNING and each.address for each in own)

        return self._await(refs, active, "to be ACTIVE", ACTIVE_SECONDS)

    def await_gone(self, ids: Collection[str], refs: Collection[NodeRef]) -> None:
        def gone(own: list[Machine]) -> bool:
            left = [each for each in own if each.id in ids]
            broken = [each for each in left if each.state == _FAILED and not each.task]
            if broken:
                raise self.why(broken)
            return not left

        self._await(refs, gone, "to be gone", _GONE_SECONDS)

    def await_stopped(self, refs: Collection[NodeRef]) -> None:
        self._await(refs, lambda own: all(each.state != "ACTIVE" for each in own), "to be stopped", _GONE_SECONDS)

    def _await(self, refs: Collection[NodeRef], done: Callable[[list[Machine]], bool], what: str, seconds: float) -> list[Machine]:
        """The servers of ``refs``, all of one cluster, as soon as they are ``done``."""
        (cluster,) = {ref.cluster for ref in refs}

        def pause(took: float) -> float:
            """Many servers take longer, and a list of them costs Nova more: they are looked at less often."""
            return min(_MOST_PAUSE, max(_LEAST_PAUSE, len(refs) / _SERVERS_A_SECOND, _REST * took))

        def late(own: list[Machine]) -> DeadlineError:
            return DeadlineError(
                f"servers of {cluster} took longer than {seconds:g} s {what}",
                details="\n".join(f"{each.ref.name}: {each.state} {each.task}".rstrip() for each in own),
                resolution="look at them: openstack server list; the same command goes on where this one ended",
            )

        def ask() -> list[Machine]:
            return [each for each in self.listed(cluster=cluster) if each.ref in refs]

        return wait_for(ask, done, seconds=seconds, pause=pause, late=late)

    def why(self, broken: Sequence[Machine]) -> EngineError:
        """The error that tells why servers are in ERROR: Nova's fault, the request, the end of the console."""
        first, *others = self._explained(broken)
        lines = [f"server {first.id}", *self._history(first), *(f"also: {each.ref.name}: {each.fault}" for each in others)]
        return EngineError(
            f"OpenStack could not make the node {first.ref}: {first.fault or 'it is in ERROR, and no fault is told'}",
            details="\n".join(lines),
            resolution="mend what it says and run the same command again: what failed is made anew; or delete the cluster",
        )

    def told(self, broken: Machine) -> tuple[Machine, list[str]]:
        """A server in ERROR with its fault, and what Nova remembers of it."""
        (explained,) = self._explained([broken])
        return explained, self._history(explained)

    def _explained(self, broken: Sequence[Machine]) -> Sequence[Machine]:
        """The same servers with Nova's faults, which lists don't tell of servers that never got a host."""
        return [each if each.fault else self._cloud.read("ask for the fault", partial(_alone, each)) for each in broken]

    def _history(self, machine: Machine) -> list[str]:
        """What Nova remembers of a server: the requests that failed, and the last lines of its console. Silence is no error here."""
        told: list[str] = []
        with suppress(LabError):
            actions = self._cloud.read("ask what happened", lambda api: list(api.compute.server_actions(machine.id)))
            told += [f"request id: {each.request_id} ({each.action})" for each in actions]
        with suppress(LabError):  # a server that never came to be has none: 409
            said = self._cloud.read(
                "read the console", lambda api: api.compute.get_server_console_output(machine.id, length=_CONSOLE_LINES)
            )
            told += str((said or {}).get("output") or "").splitlines()[-_CONSOLE_LINES:]
        return told

    # Changing

    def start(self, machine: Machine) -> None:
        if machine.state == _MOVED:
            self._confirm(machine)
        with self._cloud.change(f"start the node {machine.ref}") as api:
            if machine.state in ("PAUSED", "SUSPENDED"):
                (api.compute.unpause_server if machine.state == "PAUSED" else api.compute.resume_server)(machine.id)
            elif machine.state.startswith("SHELVED"):
                api.compute.unshelve_server(machine.id)
            else:
                api.compute.start_server(machine.id)

    def stop(self, machine: Machine) -> None:
        with self._cloud.change(f"stop the node {machine.ref}") as api:
            api.compute.stop_server(machine.id)

    def flavor(self, machine: Machine) -> Any:
        """The flavor that a server has now."""
        return self._cloud.read(f"ask for the flavor of {machine.ref}", lambda api: api.compute.get_server(machine.id).flavor)

    def resize(self, machine: Machine, flavor: Any) -> None:
        """Give a server that is off another flavor, and leave it off. What was broken off in the middle is finished."""
        if machine.state == _MOVED:
            self._confirm(machine)
        if self.flavor(machine).original_name == flavor.name:
            return
        with self._cloud.change(f"give {machine.ref} the flavor {flavor.name}") as api:
            api.compute.resize_server(machine.id, flavor.id)
        self._await_state(machine, _MOVED, "to get another flavor")
        self._confirm(machine)

    def _confirm(self, machine: Machine) -> None:
        with self._cloud.change(f"confirm the flavor of {machine.ref}") as api:
            api.compute.confirm_server_resize(machine.id)
        self._await_state(machine, _OFF, "to keep its flavor")

    def _await_state(self, machine: Machine, state: str, what: str) -> None:
        def there(found: list[Machine]) -> bool:
            own = [each for each in found if each.id == machine.id]
            if any(each.state == _FAILED for each in own):
                raise self.why(own)
            return bool(own) and own[0].state == state and not own[0].task

        self._await([machine.ref], there, what, ACTIVE_SECONDS)

    def note(self, machine: Machine, changed: dict[str, str]) -> Machine:
        """Change what a server's metadata say."""
        with self._cloud.change(f"note the size of {machine.ref}") as api:
            api.compute.set_server_metadata(machine.id, **changed)
        return replace(machine, metadata={**machine.metadata, **changed})

    def mark(self, machine: Machine, mark: str, *, off: bool = False) -> None:
        """Give a server a tag, or take it ``off``."""
        with self._cloud.change(f"{'unmark' if off else 'mark'} {machine.ref}") as api:
            if off:
                api.compute.remove_tag_from_server(machine.id, mark)
            else:
                api.compute.add_tag_to_server(machine.id, mark)

    def delete(self, machines: Iterable[Machine]) -> None:
        """Delete servers, all at once, and wait until they are gone. One that is gone already is deleted."""
        for _, same in groupby(sorted(machines, key=lambda each: each.ref), key=lambda each: each.ref.cluster):
            of_cluster = list(same)
            at_once(partial(self._delete, each) for each in of_cluster)
            self.await_gone({each.id for each in of_cluster}, {each.ref for each in of_cluster})

    def _delete(self, machine: Machine) -> None:
        with self._cloud.change(f"delete the node {machine.ref}") as api:
            api.compute.delete_server(machine.id, ignore_missing=True)

    # What a cluster's servers share

    def ensure_group(self, cluster: ClusterRef, more: int) -> str:
        """The id of the cluster's server group, which keeps its servers on different hosts where it can.

        Empty if the project's quota lets it not have ``more`` members: ten is what OpenStack lets everybody have who says nothing, and
        Nova spreads servers by their hosts' free memory all the same.
        """
        name = identity.group_name(self._lab, cluster)
        found = self._groups(name)
        most = self._cloud.read("ask what the project may use", lambda api: api.compute.get_limits().absolute.server_group_members)
        members = len(found[0].member_ids or ()) if found else 0
        if most is not None and 0 <= int(most) < members + more:
            return ""
        if found:
            return str(found[0].id)
        with self._cloud.change(f"create the server group of {cluster}") as api:
            return str(api.compute.create_server_group(name=name, policy="soft-anti-affinity").id)

    def delete_group(self, cluster: ClusterRef) -> None:
        for each in self._groups(identity.group_name(self._lab, cluster)):
            with self._cloud.change(f"delete the server group of {cluster}") as api:
                api.compute.delete_server_group(each, ignore_missing=True)

    def groups(self) -> list[str]:
        """The names of all server groups of the project."""
        return [each.name for each in self._cloud.read("ask which server groups exist", _server_groups)]

    def _groups(self, name: str) -> list[Any]:
        return [each for each in self._cloud.read("ask which server groups exist", _server_groups) if each.name == name]

    def ensure_key(self, public: str) -> str:
        """The name of the lab's keypair, which is the one given."""
        name = identity.key_name(self._lab)
        found = self._cloud.read("look for the lab's key", lambda api: [each for each in api.compute.keypairs() if each.name == name])
        if found and found[0].public_key.split()[:2] == public.split()[:2]:
            return name
        with self._cloud.change("give OpenStack the lab's key") as api:
            if found:
                api.compute.delete_keypair(found[0], ignore_missing=True)
            api.compute.create_keypair(name=name, public_key=public)
        return name

    def delete_key(self) -> None:
        with self._cloud.change("take the lab's key away") as api:
            api.compute.delete_keypair(identity.key_name(self._lab), ignore_missing=True)


def _root(parts: Ingredients) -> list[dict[str, Any]]:
    """What a server boots from, which goes with it; in Nova's words ("Block Device Mapping in Nova")."""
    root = {"boot_index": 0, "uuid": parts.image, "source_type": "image", "destination_type": "local", "delete_on_termination": True}
    if parts.boot:
        root |= {"destination_type": "volume", "volume_size": parts.boot.size}
        root |= {"volume_type": parts.boot.type} if parts.boot.type else {}
    return [root]


def _devices(volumes: Mapping[int, str]) -> list[dict[str, Any]]:
    """Volumes, which stay."""
    data = {"boot_index": -1, "source_type": "volume", "destination_type": "volume", "delete_on_termination": False}
    return [data | {"uuid": id} for _, id in sorted(volumes.items())]


def _alone(machine: Machine, api: Connection) -> Machine:
    """A server as it is told when it is asked for by itself; as it was, if it is gone."""
    found = api.compute.find_server(machine.id)
    return identity.machine(found) if found else machine


def _server_groups(api: Connection) -> list[Any]:
    return list(api.compute.server_groups())
