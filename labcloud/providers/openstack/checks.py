"""What only OpenStack can say of whether a cluster can be made: all that ends in "No valid host was found", and its relatives.

Reading is in `facts`, judging in `judging`; here both are put together into checks.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from labcloud.model import Cluster
from labcloud.model.checks import Check, Finding, Severity, Subject, failed, passed, skipped, warned
from labcloud.model.targets import ENGINE
from labcloud.providers.openstack import judging
from labcloud.providers.openstack.facts import Facts
from labcloud.providers.openstack.identity import tenant_resource
from labcloud.providers.openstack.judging import Need
from labcloud.providers.openstack.servers import ACTIVE_SECONDS, Servers
from labcloud.providers.openstack.settings import Settings

_REACHABLE: Final = "engine.reachable"
_VERSION: Final = "engine.version"
_PRESENT: Final = "image.present"
_FLAVORS: Final = "cloud.flavors"
_PROGRAMS: Final = ("ssh", "ssh-keygen")
_NO_ROUTER: Final = "none"

_WHY: Final = {
    _REACHABLE: "every node is made by OpenStack's interfaces, as a user of a project",
    _VERSION: "labcloud needs Nova, Neutron and Glance, and of Nova what came with OpenStack Rocky",
    "engine.client": "nodes are configured, and talked to, over ssh",
    "cloud.workers": "a server waits for ever, or fails, where what should make it does not work",
    "cloud.zone": "Nova refuses servers in a zone that there is not",
    _PRESENT: "nodes are made of the image of their profile",
    "cloud.outside": "a tenant's router leads to one external network, and floating addresses are of it",
    "cloud.image-room": "a host keeps each image that its servers are made of, and fails where its disk is full",
    "cloud.addresses": "Neutron gives no port an address where none is left, and its server goes to ERROR",
    _FLAVORS: "Nova makes servers of the sizes that there are, and refuses an image that is larger than the disk",
    "cloud.compute-quota": "Nova refuses a server that is over the project's quota, and what was made before it stays",
    "cloud.network-quota": "Neutron refuses a port that is over the project's quota, and its server goes to ERROR",
    "cloud.volume-quota": "Cinder refuses a volume that is over the project's quota, and what was made before it stays",
    "cloud.backup-quota": "Cinder refuses a backup that is over the project's quota, and the cluster has no new copy",
    "cloud.volume-types": "Cinder refuses a volume of a type that there is not",
    "cloud.room": "a server that no host has room for goes to ERROR",
    "names.free": "what another lab made would be taken for this one's",
    "storage.driver": "OpenStack's servers see no folder of this machine",
}


def checks(facts: Facts, servers: Servers, settings: Settings, *, lab: str, drivers: Sequence[str]) -> tuple[Check, ...]:
    """The checks of one cloud for the lab ``lab``. ``drivers`` are those of storage classes that servers can have."""
    asked = _Asked(facts, servers, settings, lab=lab, drivers=drivers)
    return (
        _machine(_REACHABLE, lambda _: judging.judge_session(facts.session(), facts.cloud.label), needs=""),
        _machine(_VERSION, lambda _: judging.judge_versions(facts.versions()), needs=_REACHABLE),
        _machine("engine.client", asked.client, needs=""),
        _machine("cloud.workers", asked.workers),
        _machine("cloud.zone", lambda _: judging.judge_zone(settings.zone, facts.zones())),
        _machine("cloud.outside", asked.outside),
        _cluster(_PRESENT, asked.image),
        _cluster("cloud.image-room", asked.kept_image, needs=_PRESENT),
        _cluster(_FLAVORS, asked.flavors, needs=_PRESENT),
        _cluster("cloud.compute-quota", asked.compute_quota, needs=_FLAVORS),
        _cluster("cloud.network-quota", asked.network_quota, needs=_PRESENT),
        _cluster("cloud.addresses", asked.addresses, needs=_PRESENT),
        _cluster("cloud.volume-quota", asked.volume_quota, needs=_FLAVORS),
        _cluster("cloud.backup-quota", asked.backup_quota, severity=Severity.ADVISORY),
        _cluster("cloud.volume-types", asked.volume_types),
        _cluster("cloud.room", asked.room, needs=_FLAVORS),
        _cluster("names.free", asked.names),
        _cluster("storage.driver", asked.storage),
    )


def _machine(id: str, run: Callable[[Subject], Finding], *, needs: str = _VERSION) -> Check:
    return Check(id, _WHY[id], run, Severity.BLOCKING, machine=True, needs=needs)


def _cluster(
    id: str, run: Callable[[Subject, Cluster], Finding], *, needs: str = _VERSION, severity: Severity = Severity.BLOCKING
) -> Check:  # fmt: skip
    def wanted(subject: Subject) -> Finding:
        return skipped("no cluster is asked for") if subject.cluster is None else run(subject, subject.cluster)

    return Check(id, _WHY[id], wanted, severity, needs=needs)


class _Asked:
    """Checks that take more than one answer."""

    def __init__(self, facts: Facts, servers: Servers, settings: Settings, *, lab: str, drivers: Sequence[str]) -> None:
        self._facts = facts
        self._servers = servers
        self._settings = settings
        self._lab = lab
        self._drivers = drivers

    def client(self, _: Subject) -> Finding:
        missing = [name for name in _PROGRAMS if shutil.which(name) is None]
        if missing:
            return failed(f"this machine has no {', '.join(missing)}", "apt-get install openssh-client", missing=missing)
        if shutil.which("sshfs") is None:
            return warned("snapshots and backups need sshfs, which this machine has not", "apt-get install sshfs", missing=["sshfs"])
        return passed("OpenSSH's client and sshfs are there", missing=[])

    def workers(self, _: Subject) -> Finding:
        workers = self._facts.workers()
        return skipped("only an administrator may ask what works") if workers is None else judging.judge_workers(workers)

    def image(self, subject: Subject, cluster: Cluster) -> Finding:
        name = subject.image.name if subject.image else cluster.profile
        return judging.judge_image(name, self._facts.images(name), self._facts.cloud.label, ACTIVE_SECONDS)

    def kept_image(self, subject: Subject, cluster: Cluster) -> Finding:
        free = self._facts.largest_disk()
        if free is None:
            return skipped("only an administrator may ask for hosts' disks")
        return judging.judge_kept_image(self._facts.images(subject.image.name if subject.image else cluster.profile)[0], free)

    def outside(self, _: Subject) -> Finding:
        wanted = self._settings.external
        if wanted == _NO_ROUTER:
            return skipped("tenants' networks lead nowhere")
        return judging.judge_outside(wanted, self._settings.floating, self._facts.external_networks())

    def addresses(self, subject: Subject, cluster: Cluster) -> Finding:
        return judging.judge_addresses(self._facts.subnet(tenant_resource(cluster.ref.tenant)), self._needs(subject, cluster))

    def flavors(self, subject: Subject, cluster: Cluster) -> Finding:
        return judging.judge_flavors(cluster, self._needs(subject, cluster), self._facts.flavors(), subject.storage)

    def _needs(self, subject: Subject, cluster: Cluster) -> list[Need]:
        """The servers that this command adds, beside what is there of a creation that was broken off."""
        image = self._facts.images(subject.image.name if subject.image else cluster.profile)[0]
        there = Counter(each.ref.group for each in self._servers.listed(cluster=cluster.ref))
        found = judging.needs(cluster, there, self._facts.flavors(), image)
        for each in subject.alongside:
            found += judging.needs(each, {}, self._facts.flavors(), image)
        return found

    def compute_quota(self, subject: Subject, cluster: Cluster) -> Finding:
        wanted = self._needs(subject, cluster)
        quotas = judging.compute_quotas(self._facts.compute_limits(), wanted, new_cluster=subject.there is None)
        return judging.judge_quotas(quotas, self._facts.session().project)

    def network_quota(self, subject: Subject, cluster: Cluster) -> Finding:
        limits = self._facts.network_limits()
        if limits is None:
            return skipped("Neutron does not tell this user the project's quotas")
        name = tenant_resource(cluster.ref.tenant)
        new = not any(each.name == name for each in self._facts.networks())
        outside = {"router": self._settings.external != _NO_ROUTER, "floating": self._settings.floating}
        quotas = judging.network_quotas(limits, self._needs(subject, cluster), new_network=new, **outside)
        return judging.judge_quotas(quotas, self._facts.session().project)

    def volume_quota(self, subject: Subject, cluster: Cluster) -> Finding:
        if not self._cinder(subject, cluster):
            return skipped("no storage class is Cinder's")
        limits = self._facts.volume_limits()
        if limits is None:
            return skipped("Cinder does not tell this user the project's quotas")
        quotas = judging.volume_quotas(limits, self._needs(subject, cluster), subject.storage, self._settings.boot_volume)
        return judging.judge_quotas(quotas, self._facts.session().project)

    def backup_quota(self, subject: Subject, cluster: Cluster) -> Finding:
        policies = [(each, subject.policy(each)) for each in (cluster, *subject.alongside)]
        kept = [each for each, policy in policies if policy.enabled and policy.target == f"{ENGINE}:{subject.provider}"]
        if not kept:
            return skipped("no backups are kept by Cinder")
        limits = self._facts.volume_limits()
        if limits is None:
            return skipped("Cinder does not tell this user the project's quotas")
        return judging.judge_quotas(judging.backup_quotas(limits, kept, subject.storage), self._facts.session().project)

    def volume_types(self, subject: Subject, cluster: Cluster) -> Finding:
        if not self._cinder(subject, cluster):
            return skipped("no storage class is Cinder's")
        return judging.judge_volume_types(cluster, subject.storage, self._facts.volume_types(), self._settings.boot_volume)

    def _cinder(self, subject: Subject, cluster: Cluster) -> bool:
        return bool(self._settings.boot_volume) or judging.uses_cinder(cluster, subject.storage)

    def room(self, subject: Subject, cluster: Cluster) -> Finding:
        wanted = self._needs(subject, cluster)
        rooms = {}
        for each in wanted:
            if each.flavor is not None:
                resources = judging.resources_of(each.flavor, own_disk=not self._settings.boot_volume)
                room = self._facts.room(resources, judging.traits_of(each.flavor))
                if room is None:
                    return skipped("only an administrator may ask Placement")
                rooms[each.flavor.id] = room
        return judging.judge_room(cluster, wanted, rooms, own_disk=not self._settings.boot_volume)

    def names(self, _: Subject, cluster: Cluster) -> Finding:
        return judging.judge_names(cluster.ref.tenant, self._lab, self._facts.networks())

    def storage(self, subject: Subject, cluster: Cluster) -> Finding:
        return judging.judge_storage(cluster, subject.storage, self._drivers)
