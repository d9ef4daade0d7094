"""What a cloud's answers mean for a cluster that is wanted. Pure: figures in, findings out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from labcloud.errors import LabError
from labcloud.model import Cluster, NodeGroup, format_memory
from labcloud.model.checks import Finding, ask_again, failed, passed, warned
from labcloud.model.storage import NO_CLASSES, Classes, StorageClass, storage_class
from labcloud.providers.openstack.catalogue import choose_flavor, disk_of, networks_meant
from labcloud.providers.openstack.facts import Json, Session, Worker
from labcloud.providers.openstack.identity import tenant_of, tenant_resource
from labcloud.providers.openstack.settings import ANY_TYPE
from labcloud.providers.openstack.volumes import DRIVER as CINDER

NEEDED: Final = (2, 64)
"""The microversion of Nova's interface that brought the last thing that labcloud needs: policies of server groups."""

_ROLES: Final = frozenset({"member", "admin", "manager", "_member_", "Member"})
_UNLIMITED: Final = -1
_TRAIT: Final = "trait:"
_BOOTABLE: Final = frozenset({"qcow2", "raw"})
_FETCHED_A_SECOND: Final = 20
"""MiB of an image that a host is trusted to get from Glance in a second, where nobody has measured."""
_GIB: Final = 2**30


@dataclass(frozen=True)
class Need:
    """Servers that will be made: so many of a group, all of one flavor; ``flavor`` is None where none fits, ``why`` says so then.
    ``disk`` is GiB of the disk that each boots from."""

    group: NodeGroup
    count: int
    flavor: Any
    why: str = ""
    disk: int = 0


def judge_session(session: Session, label: str) -> Finding:
    figures = {"project": session.project, "user": session.user, "roles": sorted(session.roles)}
    if not session.project:
        return failed(f"the credentials for {label} are for no project", "name one in clouds.yaml: project_name", **figures)
    if not _ROLES & set(session.roles):
        fix = f"openstack role add --user {session.user} --project {session.project} member"
        return failed(f"the user has the roles {', '.join(sorted(session.roles)) or 'none'}: none that may make servers", fix, **figures)
    return passed(f"{label} lets us in, with the roles {', '.join(sorted(session.roles))}", **figures)


def judge_versions(versions: Mapping[str, str]) -> Finding:
    missing = [name for name, url in versions.items() if not url and name != "microversion"]
    newest = versions.get("microversion", "")
    if missing:
        return failed(f"the region has no service {', '.join(missing)}", "openstack catalog list", **versions)
    if tuple(map(int, newest.split("."))) < NEEDED if newest else True:
        wanted = ".".join(map(str, NEEDED))
        return failed(
            f"Nova speaks {newest or 'no microversion'}; labcloud needs {wanted} (OpenStack Rocky)", "openstack versions show", **versions
        )
    return passed(f"Nova speaks {newest}; network and image services are there", **versions)


def judge_workers(workers: Sequence[Worker]) -> Finding:
    dead = [f"{each.kind} on {each.host}" for each in workers if not each.alive]
    computes = [each for each in workers if each.kind == "nova-compute"]
    alive = sum(each.alive for each in computes)
    figures = {"workers": len(workers), "computes_alive": alive, "not_working": dead}
    if not alive:
        return failed(f"none of {len(computes)} nova-compute works", "openstack compute service list", **figures)
    if dead:
        return warned(
            f"{len(dead)} of {len(workers)} do not work: {', '.join(dead)}",
            "openstack compute service list; openstack network agent list",
            **figures,
        )
    return passed(f"all {len(workers)} work, {alive} nova-compute among them", **figures)


def judge_image(name: str, images: Sequence[Any], label: str, limit: float) -> Finding:
    """``limit`` is for how many seconds a server is waited for."""
    if not images:
        return failed(f"the image of {name} is not in {label}", f"labcloud image publish {name} --provider openstack", name=name)
    image = images[0]
    figures = {
        "id": image.id,
        "format": image.disk_format,
        "size_mib": int(image.size or 0) // 2**20,
        "min_disk_gib": image.min_disk,
        "min_ram_mib": image.min_ram,
    }
    again = f"labcloud image publish {name} --format qcow2"
    if image.disk_format not in _BOOTABLE:
        return failed(f"{name} is in the format {image.disk_format}, of which no node can be made", again, **figures)
    if figures["size_mib"] / _FETCHED_A_SECOND > limit:
        text = f"{name} has {figures['size_mib']} MiB: a host that fetches it first may take longer than the {limit:g} s that are waited"
        return warned(text, again, **figures)
    return passed(f"{name} is there: {image.disk_format}, {figures['size_mib']} MiB, of {image.created_at}", **figures)


def judge_kept_image(image: Any, free: int) -> Finding:
    """Whether a host has room to keep ``image``, beside the disks of its servers; ``free`` is the most that one has, in GiB."""
    size = int(image.get("virtual_size") or image.size or 0)
    figures = {"image_gib": round(size / _GIB, 1), "free_gib": free}
    if size > free * _GIB:
        return failed(
            f"no host has room for the image: it needs {figures['image_gib']:g} GiB, and {free} are free where most are",
            "openstack image delete (what is not needed; hosts let go of it by themselves), or a host with a larger disk", **figures,
        )  # fmt: skip
    return passed(f"hosts have room for the image: {figures['image_gib']:g} of {free} GiB", **figures)


def judge_outside(wanted: str, floating: bool, networks: Sequence[Any]) -> Finding:
    """Whether the external network can be told: the one ``wanted`` by name or id, or the only one."""
    there = {each.id: each.name for each in networks}
    named = networks_meant(networks, wanted)
    figures = {"external": sorted(there.values()), "wanted": wanted}
    listed = ", ".join(f"{name} ({id})" for id, name in sorted(there.items(), key=lambda each: str(each[1]))) or "none"
    fix = "correct external-network in openstack.yaml"
    if wanted and not named:
        return failed(f"there is no external network {wanted!r}; there are: {listed}", fix, **figures)
    if len(named) > 1:
        return failed(f"several external networks could be meant: {listed}", f"{fix}: by its id", **figures)
    if floating and not named:
        return failed("nodes shall have floating addresses, and there is no external network", fix, **figures)
    return passed(f"tenants' routers lead to {named[0].name}" if named else "no network leads outside", **figures)


def judge_addresses(subnet: tuple[str, int, int] | None, wanted: Sequence[Need]) -> Finding:
    """Whether the tenant's subnet has addresses for all servers."""
    adds = sum(each.count for each in wanted)
    if subnet is None:
        return passed("the tenant's network is new, and has a thousand addresses", adds=adds)
    cidr, size, given = subnet
    figures = {"subnet": cidr, "addresses": size, "given": given, "adds": adds}
    if given + adds > size:
        return failed(
            f"{cidr} has {max(0, size - given)} addresses left, and {adds} nodes are wanted",
            "labcloud tenant create OTHER --subnet CIDR, with room for it; or delete another cluster of this one", **figures,
        )  # fmt: skip
    return passed(f"{cidr} has {size - given} addresses left for {adds}", **figures)


def needs(cluster: Cluster, there: Mapping[str, int], flavors: Sequence[Any], image: Any) -> list[Need]:
    """The servers that ``cluster`` needs beside those that are ``there`` (how many, by group)."""
    found = []
    for group in cluster.groups:
        flavor, why = None, ""
        try:
            flavor = choose_flavor(list(flavors), memory=group.memory, cpus=group.cpus, disk=disk_of(image), ram=int(image.min_ram or 0))
        except LabError as exc:
            why = exc.brief
        disk = max(int(flavor.disk), disk_of(image)) if flavor else 0
        found.append(Need(group, max(0, group.count - there.get(group.name, 0)), flavor, why, disk))
    return found


def judge_flavors(cluster: Cluster, wanted: Sequence[Need], flavors: Sequence[Any], storage: Classes = NO_CLASSES) -> Finding:
    none = [each for each in wanted if each.flavor is None]
    figures = {each.group.name: each.flavor.name if each.flavor else None for each in wanted}
    if none:
        largest = max((int(each.ram) for each in flavors), default=0)
        fix = ask_again(cluster, memory=format_memory(largest)) if largest else "openstack flavor create"
        return failed("; ".join(f"{each.group.name}: {each.why}" for each in none), fix, **figures)
    chosen = ", ".join(
        f"{each.group.name} {each.flavor.name} ({format_memory(each.flavor.ram)}, {each.flavor.vcpus} cores)" for each in wanted
    )
    small = [each for each in wanted if each.flavor.disk and each.flavor.disk < _on_own_disk(each.group, storage)]
    if small:
        first = small[0]
        asked = _on_own_disk(first.group, storage)
        text = f"{chosen}; the disk of {first.flavor.name} has {first.flavor.disk} GiB, the volumes of a {first.group.name} ask for {asked}"
        return warned(text, ask_again(cluster, volume_size=f"{first.flavor.disk}g"), **figures)
    return passed(chosen, **figures)


def _on_own_disk(group: NodeGroup, storage: Classes) -> int:
    """GiB of the volumes that lie on a server's own disk."""
    return sum(volume.size for volume in group.volumes if not _is_cinders(storage, volume.storage))


@dataclass(frozen=True)
class Quota:
    """One quota of the project: so much ``used`` of ``limit`` (`_UNLIMITED` for none), and what this command ``adds``."""

    resource: str
    limit: int
    used: int
    adds: int

    @property
    def short(self) -> int:
        if self.limit == _UNLIMITED or not self.adds:
            return 0
        return max(0, self.used + self.adds - self.limit)


def compute_quotas(limits: Any, wanted: Sequence[Need], *, new_cluster: bool) -> list[Quota]:
    servers = sum(each.count for each in wanted)
    cores = sum(each.count * int(each.flavor.vcpus) for each in wanted if each.flavor)
    memory = sum(each.count * int(each.flavor.ram) for each in wanted if each.flavor)
    return [
        Quota("instances", int(limits.instances), int(limits.instances_used or 0), servers),
        Quota("cores", int(limits.total_cores), int(limits.total_cores_used or 0), cores),
        Quota("ram", int(limits.total_ram), int(limits.total_ram_used or 0), memory),
        Quota("server-groups", int(limits.server_groups), int(limits.server_groups_used or 0), int(new_cluster)),
    ]


def network_quotas(limits: Mapping[str, Json], wanted: Sequence[Need], *, new_network: bool, router: bool, floating: bool) -> list[Quota]:
    once = {"network": 1, "subnet": 1, "security_group": 1, "security_group_rule": 4, "router": int(router)} if new_network else {}
    # A DHCP port, and the router's.
    ports = sum(each.count for each in wanted) + ((1 + 2 * int(router)) if new_network else 0)
    return [
        Quota(
            name.replace("_", "-") + "s", int(limits[name]["limit"]), int(limits[name]["used"]) + int(limits[name].get("reserved", 0)), adds
        )
        for name, adds in {"port": ports, "floatingip": sum(each.count for each in wanted) * int(floating), **once}.items()
        if name in limits
    ]


def judge_quotas(quotas: Iterable[Quota], project: str) -> Finding:
    """All that is short at once: Nova alone would tell one after the other, each with a cluster that failed."""
    every = list(quotas)
    short = [each for each in every if each.short]
    figures = {each.resource: {"limit": each.limit, "used": each.used, "adds": each.adds} for each in every}
    if short:
        told = ", ".join(f"{each.resource} ({each.adds} more, {each.used} of {each.limit} used)" for each in short)
        return failed(f"the project's quota is short of {told}", _raise(short, project), **figures)
    added = ", ".join(f"{each.adds} {each.resource}" for each in every if each.adds)
    return passed(f"the project's quotas have room for {added}" if added else "nothing is added", **figures)


def _raise(short: Iterable[Quota], project: str) -> str:
    """The commands that raise quotas: one, and one more for each volume type (``volumes_ssd`` is of the type ``ssd``)."""
    options: dict[str, list[str]] = {}
    for each in short:
        resource, _, kind = each.resource.partition("_")
        options.setdefault(kind, []).append(f"--{_option(resource)} {each.used + each.adds}")
    types = {kind: f" --volume-type {kind}" if kind else "" for kind in options}
    return "; ".join(f"openstack quota set {' '.join(each)}{types[kind]} {project}" for kind, each in options.items())


def _option(resource: str) -> str:
    """The option of ``openstack quota set``, which says some of them by other names."""
    return {"security-groups": "secgroups", "security-group-rules": "secgroup-rules", "floatingips": "floating-ips"}.get(resource, resource)


def judge_room(cluster: Cluster, wanted: Sequence[Need], rooms: Mapping[str, Sequence[Json]], *, own_disk: bool = True) -> Finding:
    """Whether Placement has room for all servers, not just for one: ``rooms`` are hosts' resources by flavor.

    Groups are placed one after the other on what the ones before have left, the largest first.
    """
    left: dict[int, dict[str, int]] = {}
    placed: dict[str, int] = {}
    for each in sorted(wanted, key=lambda need: -int(need.flavor.ram if need.flavor else 0)):
        if each.flavor is None or not each.count:
            continue
        hosts = rooms[each.flavor.id]
        for number, resources in enumerate(hosts):
            left.setdefault(number, {name: int(facts["capacity"]) - int(facts["used"]) for name, facts in resources.items()})
        placed[each.group.name] = _place(resources_of(each.flavor, own_disk=own_disk), each.count, list(left.values()))
    missing = {
        each.group.name: each.count - placed[each.group.name] for each in wanted if placed.get(each.group.name, each.count) < each.count
    }
    figures: dict[str, Any] = {"hosts": max((len(each) for each in rooms.values()), default=0), "placed": placed}
    if missing:
        told = ", ".join(f"{count} of the {name}s" for name, count in missing.items())
        fits = placed.get(cluster.groups[-1].name, 0)
        fix = ask_again(cluster, workers=fits) if fits else "openstack hypervisor stats show"
        return failed(f"no host has room for {told} ('No valid host was found')", fix, **figures)
    return passed(f"{figures['hosts']} hosts have room for all {sum(placed.values())}" if placed else "nothing is added", **figures)


def traits_of(flavor: Any) -> list[str]:
    """What a flavor asks of its host, in Placement's words: ``NAME``, or ``!NAME`` for what it must not have."""
    signs = {"required": "", "forbidden": "!"}
    asked = {name.removeprefix(_TRAIT): str(said) for name, said in (flavor.extra_specs or {}).items() if name.startswith(_TRAIT)}
    return sorted(f"{signs[said]}{name}" for name, said in asked.items() if said in signs)


def resources_of(flavor: Any, *, own_disk: bool = True) -> dict[str, int]:
    """What Placement counts of a flavor; of its disk only where that is the host's."""
    return {"VCPU": int(flavor.vcpus), "MEMORY_MB": int(flavor.ram), "DISK_GB": int(flavor.disk) if own_disk else 0}


def _place(one: Mapping[str, int], count: int, hosts: list[dict[str, int]]) -> int:
    """How many of ``count`` servers that take ``one`` each have room; what they take is taken from ``hosts``."""
    done = 0
    for host in hosts:
        fit = min((host.get(name, 0) // amount for name, amount in one.items() if amount), default=count)
        taken = max(0, min(fit, count - done))
        for name, amount in one.items():
            host[name] = host.get(name, 0) - taken * amount
        done += taken
    return done


def judge_zone(zone: str, zones: Sequence[Any]) -> Finding:
    there = {each.name: bool((each.state or {}).get("available")) for each in zones}
    if zone and not there.get(zone):
        what = "is not available" if zone in there else "does not exist"
        return failed(f"the availability zone {zone!r} {what}", "correct availability-zone in openstack.yaml", zones=there)
    return passed(f"servers are made in {zone}" if zone else "servers are made wherever Nova puts them", zones=there)


def judge_names(tenant: str, lab: str, networks: Sequence[Any]) -> Finding:
    name = tenant_resource(tenant)
    foreign = [each.id for each in networks if each.name == name and tenant_of(lab, each.description) != tenant]
    if foreign:
        return failed(f"{name} exists already, and is not this lab's: {', '.join(foreign)}", "choose another --tenant", taken=foreign)
    return passed(f"{name} is free, or this lab's", taken=[])


def volume_quotas(limits: Mapping[str, Json], wanted: Sequence[Need], storage: Classes, boot: str = "") -> list[Quota]:
    """Quotas of Cinder, of all its volumes and of those of each type; ``limits`` is ``{"volumes": {"limit": 10, "in_use": 1, …}, …}``.
    ``boot`` is the type of the volumes that servers boot from; empty if they do not."""
    added: Counter[str] = Counter()

    def add(need: Need, size: int, type_: str) -> None:
        for kind in ("", *([f"_{type_}"] if type_ else [])):
            added.update({f"volumes{kind}": need.count, f"gigabytes{kind}": need.count * size})

    for need in wanted:
        if boot:
            add(need, need.disk, "" if boot == ANY_TYPE else boot)
        for volume in need.group.volumes:
            found = _class(storage, volume.storage)
            if found is not None and found.driver == CINDER:
                add(need, volume.size, found.options.get("type", ""))
    return [_cinders_quota(name, limits[name], adds) for name, adds in added.items() if name in limits]


def backup_quotas(limits: Mapping[str, Json], kept: Iterable[Cluster], storage: Classes) -> list[Quota]:
    """Quotas of Cinder's own backups, of which the next copy of each cluster that is ``kept`` by them takes one a volume.

    Each counts with the volume's whole size, also one that has what is new alone (``create`` in cinder/backup/api.py).
    """
    groups = [group for cluster in kept for group in cluster.groups]
    sizes = [each.size for group in groups for each in group.volumes * group.count if _is_cinders(storage, each.storage)]
    added = {"backups": len(sizes), "backup_gigabytes": sum(sizes)}
    return [_cinders_quota(name.replace("_", "-"), limits[name], adds) for name, adds in added.items() if name in limits]


def _cinders_quota(resource: str, figures: Json, adds: int) -> Quota:
    return Quota(resource, int(figures["limit"]), int(figures["in_use"]) + int(figures.get("reserved", 0)), adds)


def judge_volume_types(cluster: Cluster, storage: Classes, types: Iterable[str], boot: str = "") -> Finding:
    there = sorted(types)
    found = filter(None, (_class(storage, name) for name in _storage_names(cluster)))
    wanted = {each.name: each.options["type"] for each in found if each.driver == CINDER and "type" in each.options}
    wrong = {name: kind for name, kind in wanted.items() if kind not in there}
    if boot and boot not in (ANY_TYPE, *there):
        text = f"there is no volume type {boot!r} to boot from; there are: {', '.join(there) or 'none'}"
        return failed(text, "correct boot-volume in openstack.yaml", types=there)
    if wrong:
        told = ", ".join(f"{kind!r} of the storage class {name or 'default'}" for name, kind in wrong.items())
        fix = f"labcloud storage set {next(iter(wrong)) or 'default'} --driver {CINDER} --option type={there[0] if there else 'TYPE'}"
        return failed(f"there is no volume type {told}; there are: {', '.join(there) or 'none'}", fix, types=there)
    return passed("the volume types are there" if wanted else "no volume type is asked for", types=there)


def _storage_names(cluster: Cluster) -> list[str]:
    return sorted({volume.storage for group in cluster.groups for volume in group.volumes})


def _class(storage: Classes, name: str) -> StorageClass | None:
    """The class of that name; None for one that there is not, which another check tells."""
    return storage_class(storage, name) if not name or name in storage else None


def _is_cinders(storage: Classes, name: str) -> bool:
    found = _class(storage, name)
    return found is not None and found.driver == CINDER


def uses_cinder(cluster: Cluster, storage: Classes) -> bool:
    return any(_is_cinders(storage, name) for name in _storage_names(cluster))


def judge_storage(cluster: Cluster, storage: Classes, drivers: Iterable[str]) -> Finding:
    classes = list(filter(None, (_class(storage, name) for name in _storage_names(cluster))))
    wrong = [each for each in classes if each.path or each.driver not in drivers]
    if wrong:
        told = ", ".join(f"{each.name or 'default'} ({each.where})" for each in wrong)
        return failed(
            f"no server reaches where these storage classes lie: {told}",
            "labcloud storage set NAME --driver local",
            wrong=[each.name for each in wrong],
        )
    where = "in Cinder" if any(each.driver == CINDER for each in classes) else "on the servers' own disks"
    return passed(f"volumes lie {where}", classes=[each.name or "default" for each in classes])
