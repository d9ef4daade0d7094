"""Hosts of a cloud as its administrator sees them: Nova's compute services, all servers on them, and Nova's ways to move those.

Microversions are those of Zed, with those of Queens (2.60) as the floor; the SDK takes what both sides know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from labcloud.errors import EngineError, NotFoundError
from labcloud.model.hosts import MOVED, Group, Guest, Host, How, Migration, Need, Phase, Room
from labcloud.providers.hosts import Hosts
from labcloud.providers.openstack import identity
from labcloud.providers.openstack.connection import Cloud, refused
from labcloud.providers.openstack.facts import room_of_hosts

if TYPE_CHECKING:
    from openstack.connection import Connection

_Answer = TypeVar("_Answer")

_FORBIDDEN: Final = 403
_COMPUTE: Final = "nova-compute"
_CARRIES: Final = frozenset({"Linux bridge agent", "Open vSwitch agent", "OVN Controller agent", "OVN Controller Gateway agent"})
_DIRECT: Final = frozenset({"direct", "direct-physical", "macvtap", "virtio-forwarder", "accelerator-direct"})
_TRAITS: Final = "1.6"
_GONE: Final = frozenset({"DELETED", "SOFT_DELETED", "SHELVED_OFFLOADED"})

# nova/compute/manager.py and nova/conductor/tasks: the words of live and cold moves, and of evacuations.
_PHASES: Final = {
    "queued": Phase.WAITING, "accepted": Phase.PREPARING, "preparing": Phase.PREPARING, "pre-migrating": Phase.PREPARING,
    "running": Phase.COPYING, "migrating": Phase.COPYING, "running (post-copy)": Phase.FINISHING,
    "post-migrating": Phase.FINISHING, "confirming": Phase.FINISHING, "reverting": Phase.FINISHING,
    "completed": Phase.DONE, "finished": Phase.DONE, "confirmed": Phase.DONE, "done": Phase.DONE,
    "cancelled": Phase.CANCELLED, "reverted": Phase.CANCELLED, "error": Phase.FAILED, "failed": Phase.FAILED,
}  # fmt: skip

_KINDS: Final = {"live-migration": How.LIVE, "evacuation": How.REBUILD}  # and "migration", "resize"


class NovaHosts(Hosts):
    """The hosts of the cloud that an administrator's credentials lead to; ``lab`` says which servers are its nodes."""

    def __init__(self, cloud: Cloud, lab: str) -> None:
        self._cloud = cloud
        self._lab = lab

    def close(self) -> None:
        self._cloud.close()

    def _read(self, doing: str, ask: Callable[[Connection], _Answer]) -> _Answer:
        try:
            return self._cloud.read(doing, ask)
        except EngineError as exc:
            if refused(exc, _FORBIDDEN):
                exc.resolution = "this is an administrator's: name such an entry of clouds.yaml as 'operator-cloud' in openstack.yaml"
            raise

    # What there is

    def hosts(self) -> list[Host]:
        services = self._read("ask which hosts there are", lambda api: list(api.compute.services(binary=_COMPUTE)))
        machines = self._read("ask for the hypervisors", lambda api: list(api.compute.hypervisors(details=True)))
        agents = self._read("ask for the network's agents", lambda api: list(api.network.agents()))
        carrying = [each for each in agents if each.agent_type in _CARRIES]
        connected = {each.host: all(other.is_alive for other in carrying if other.host == each.host) for each in carrying}
        own = {(each.service_details or {}).get("host"): each for each in machines}
        return sorted((_host(each, own.get(each.host), connected.get(each.host)) for each in services), key=lambda each: each.name)

    def guests(self) -> list[Guest]:
        servers = self._read("ask which servers there are", lambda api: list(api.compute.servers(all_projects=True)))
        groups = self._read("ask which server groups there are", lambda api: list(api.compute.server_groups(all_projects=True)))
        member_of = {member: _group(each) for each in groups for member in each.member_ids or ()}
        there = (each for each in servers if each.status not in _GONE and each.compute_host)
        return sorted((_guest(self._lab, each, member_of.get(each.id)) for each in there), key=lambda each: each.label)

    def room(self, guest: Guest) -> dict[str, Room]:
        found = self._read("ask Placement for room", lambda api: room_of_hosts(api, guest.resources, guest.traits))
        return {id: _room(resources) for id, resources in found.items()}

    def traits(self, host: Host) -> frozenset[str]:
        from openstack.exceptions import raise_from_response

        def ask(api: Connection) -> frozenset[str]:
            answer = api.placement.get(f"/resource_providers/{host.id}/traits", microversion=_TRAITS)
            raise_from_response(answer)
            return frozenset(answer.json()["traits"])

        return self._read(f"ask Placement for the traits of {host.name}", ask)

    def direct_ports(self, host: str) -> set[str]:
        ports = self._read(f"ask for the ports on {host}", lambda api: list(api.network.ports(**{"binding:host_id": host})))
        return {each.device_id for each in ports if each.binding_vnic_type in _DIRECT}

    def set_enabled(self, host: Host, *, enabled: bool, reason: str = "") -> None:
        with self._cloud.change(f"{'enable' if enabled else 'disable'} the host {host.name}") as api:
            (service,) = api.compute.services(binary=_COMPUTE, host=host.name)
            if enabled:
                api.compute.enable_service(service)
            else:
                api.compute.disable_service(service, disabled_reason=reason)

    def fence(self, host: Host) -> None:
        with self._cloud.change(f"note that the host {host.name} is off") as api:
            (service,) = api.compute.services(binary=_COMPUTE, host=host.name)
            api.compute.update_service_forced_down(service, forced=True)

    # Moves

    def move(self, guest: Guest, target: str) -> None:
        with self._cloud.change(f"move {guest.label} to {target}") as api:
            api.compute.live_migrate_server(guest.id, host=target, block_migration="auto")

    def move_cold(self, guest: Guest, target: str) -> None:
        with self._cloud.change(f"move {guest.label} to {target}") as api:
            api.compute.migrate_server(guest.id, host=target)

    def settle(self, guest: Guest) -> bool:
        now = self._read(f"ask for the state of {guest.label}", lambda api: api.compute.get_server(guest.id))
        if now.status != MOVED:
            return False
        with self._cloud.change(f"confirm the move of {guest.label}") as api:
            api.compute.confirm_server_resize(guest.id)
        return True

    def rebuild(self, guest: Guest, target: str = "") -> None:
        with self._cloud.change(f"make {guest.label} anew elsewhere") as api:
            api.compute.evacuate_server(guest.id, host=target or None)

    def moves(self, since: datetime) -> list[Migration]:
        changed = since.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        found = self._read("ask which moves there are", lambda api: list(api.compute.migrations(changes_since=changed)))
        return sorted(map(_migration, found), key=lambda each: int(each.id), reverse=True)

    def measured(self, guest: Guest) -> Migration | None:
        found = self._read(f"ask how the move of {guest.label} goes on", lambda api: list(api.compute.server_migrations(guest.id)))
        return _migration(found[0]) if found else None

    def complete(self, move: Migration) -> None:
        with self._cloud.change("complete the move by force") as api:
            api.compute.force_complete_server_migration(move.id, move.server)

    def abort(self, move: Migration) -> None:
        with self._cloud.change("abort the move") as api:
            api.compute.abort_server_migration(move.id, move.server, ignore_missing=True)

    def why(self, guest: Guest) -> list[str]:
        try:
            actions = self._read("ask what happened", lambda api: list(api.compute.server_actions(guest.id)))
            last = next((each for each in actions if each.message), None)
            if last is None:
                return []
            told = self._read("ask what failed", lambda api: api.compute.get_server_action(last.request_id, guest.id))
        except (EngineError, NotFoundError):  # it is the explanation of an error: that it is lacking is none
            return []
        lines = [f"{last.action}: {last.message}", f"request id: {last.request_id}"]
        for event in told.events or ():
            fault = str(event.get("details") or (event.get("traceback") or "").strip().rpartition("\n")[2]).strip()
            if event.get("result") == "Error" and fault:
                lines.append(f"{event.get('event')}: {fault}")
        return lines


def _host(service: Any, machine: Any, connected: bool | None) -> Host:
    return Host(
        name=service.host,
        up=service.state == "up",
        enabled=service.status == "enabled",
        reason=service.disabled_reason or "",
        heard=service.updated_at or "",
        fenced=bool(service.is_forced_down),
        zone=service.availability_zone or "",
        hypervisor=(machine.hypervisor_type or "") if machine else "",
        version=int(machine.hypervisor_version or 0) if machine else 0,
        id=machine.id if machine else "",
        connected=connected,
    )


def _group(found: Any) -> Group:
    policy = found.policy or next(iter(found.policies or ()), "")  # Nova says `policies` up to 2.63
    return Group(found.id, policy, frozenset(found.member_ids or ()))


def _guest(lab: str, server: Any, group: Group | None) -> Guest:
    flavor, image = server.flavor, server.image
    specs: Mapping[str, str] = flavor.extra_specs or {}
    from_volume = not (image and image.id)
    disk = (0 if from_volume else int(flavor.disk or 0)) + int(flavor.ephemeral or 0)
    node = identity.machine(server) if (server.metadata or {}).get(identity.LAB) == lab else None
    return Guest(
        id=server.id,
        name=server.name,
        host=server.compute_host,
        state=server.status,
        task=server.task_state or "",
        ref=node.ref if node else None,
        local=frozenset(number for _, number in identity.local_volumes(node)) if node else frozenset(),
        memory=int(flavor.ram),
        disk=disk,
        volumes=len(server.attached_volumes or ()),
        resources=_resources(flavor, specs, disk),
        traits=frozenset(key.removeprefix("trait:") for key, value in specs.items() if key.startswith("trait:") and value == "required"),
        config_drive=bool(server.has_config_drive),
        needs=frozenset(_needs(specs)),
        group=group,
    )


def _resources(flavor: Any, specs: Mapping[str, str], disk: int) -> dict[str, int]:
    """What a server takes of its host, as Nova reckons it (nova/scheduler/utils.py): the flavor's own words come last."""
    dedicated = specs.get("hw:cpu_policy") == "dedicated"
    wanted = {"PCPU" if dedicated else "VCPU": int(flavor.vcpus), "MEMORY_MB": int(flavor.ram), "DISK_GB": disk}
    said = {key.removeprefix("resources:"): int(value) for key, value in specs.items() if key.startswith("resources:")}
    return {name: amount for name, amount in (wanted | said).items() if amount}


def _needs(specs: Mapping[str, str]) -> Iterable[Need]:
    if "pci_passthrough:alias" in specs or "accel:device_profile" in specs or any(key.startswith("resources:VGPU") for key in specs):
        yield Need.DEVICE
    if specs.get("hw:cpu_policy") == "dedicated":
        yield Need.PINNED
    if specs.get("hw:mem_page_size", "small") not in ("small", "any"):
        yield Need.HUGE_PAGES
    if specs.get("hw:mem_encryption", "").lower() in ("true", "yes", "1"):
        yield Need.ENCLAVE


def _room(resources: Mapping[str, Any]) -> Room:
    return Room(*({name: int(each[word]) for name, each in resources.items()} for word in ("capacity", "used")))


def _migration(found: Any) -> Migration:
    """What either list says of a move: all moves, or those of one server that are under way, with their bytes."""
    kind = str(getattr(found, "migration_type", "") or "live-migration")
    word = str(found.status or "")
    return Migration(
        id=str(found.id),
        server=getattr(found, "server_uuid", None) or found.server_id,
        phase=_PHASES.get(word, Phase.PREPARING),
        source=found.source_compute or "",
        target=found.dest_compute or "",
        how=_KINDS.get(kind, How.COLD),
        word=word,
        memory=_bytes(found, "memory_total_bytes"),
        memory_left=_bytes(found, "memory_remaining_bytes"),
        disk=_bytes(found, "disk_total_bytes"),
        disk_left=_bytes(found, "disk_remaining_bytes"),
    )


def _bytes(found: Any, key: str) -> int:
    return int(getattr(found, key, None) or 0)
