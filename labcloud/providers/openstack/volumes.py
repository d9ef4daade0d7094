"""Data volumes in Cinder: made with their identity before the server that has them, kept when it goes, deleted when they are told to be.

They are seen by lists alone, of a cluster or of a lab: a server more costs one request to make its volume, and none to look at it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from labcloud.errors import DeadlineError, EngineError, LabError
from labcloud.model import ClusterRef, NodeRef, NodeSpec, NodeVolume
from labcloud.providers.openstack import identity
from labcloud.providers.openstack.connection import Cloud
from labcloud.providers.openstack.identity import Disk, Place
from labcloud.providers.openstack.together import at_once, wait_for

if TYPE_CHECKING:
    from openstack.connection import Connection

DRIVER: Final = "cinder"
"""The driver of storage classes whose volumes are Cinder's. Their options: ``type`` (a volume type), ``availability-zone``."""

_SECONDS: Final = 300.0
_PAUSE: Final = 0.5
_REST: Final = 2.0  # times what a list takes
_READY: Final = "available"  # and no server's any more
_BROKEN: Final = "error"


def of_cinder(spec: NodeSpec) -> dict[int, NodeVolume]:
    """The volumes of a node that are Cinder's, by their numbers."""
    return {number: each for number, each in enumerate(spec.volumes) if each.storage.driver == DRIVER}


@dataclass(frozen=True)
class Volumes:
    """The volumes of one lab in a cloud."""

    cloud: Cloud
    lab: str

    def listed(self, tenant: str = "", cluster: ClusterRef | None = None) -> list[Disk]:
        """The volumes of the lab, of a tenant or of a cluster; none where the cloud has no Cinder.

        All of the lab's are asked for: metadata alone do not tell whose one is that is being made of a backup.
        """
        wanted = repr(identity.owner(self.lab))

        def ask(api: Connection) -> list[Any]:
            if not api.has_service("block-storage"):
                return []
            return list(api.block_storage.volumes(properties=wanted))

        found = [identity.disk(each) for each in self.cloud.read("ask which volumes exist", ask)]
        return [each for each in found if cluster in (None, each.ref.cluster) and tenant in ("", each.ref.cluster.tenant)]

    def by_node(self, cluster: ClusterRef) -> dict[NodeRef, dict[int, str]]:
        """The ids of a cluster's volumes, by node and number."""
        return _by_node(self.listed(cluster=cluster))

    def ensure(self, specs: Sequence[NodeSpec]) -> dict[NodeRef, dict[int, str]]:
        """Volumes of ``specs``, all of one cluster: those that there are, and new ones. Their ids by node and number, when ready."""
        wanted = {(spec.ref, number): volume for spec in specs for number, volume in of_cinder(spec).items()}
        if not wanted:
            return {}
        (cluster,) = {spec.ref.cluster for spec in specs}
        there = {each.place for each in self.listed(cluster=cluster)}
        at_once(partial(self.create, *place, volume) for place, volume in wanted.items() if place not in there)
        return _by_node(self.await_ready(cluster, set(wanted)))

    def create(self, ref: NodeRef, number: int, volume: NodeVolume, *, backup: str = "", snapshot: str = "") -> None:
        """Ask Cinder for a volume: an empty one, or what the ``backup`` of that id has, with ``snapshot`` in it."""
        options = volume.storage.options
        where = {"volume_type": options.get("type"), "availability_zone": options.get("availability-zone"), "backup_id": backup}
        marks = self._marks(ref, number, snapshot)
        with self.cloud.change(f"create volume {number} of {ref}") as api:
            api.block_storage.create_volume(
                name=identity.volume_name(ref, number), size=volume.size, description=identity.volume_described(self.lab, ref, number),
                metadata=marks, **{key: value for key, value in where.items() if value},
            )  # fmt: skip

    def _marks(self, ref: NodeRef, number: int, snapshot: str) -> dict[str, str]:
        """The metadata of a volume, which holds ``snapshot`` where one is given."""
        held = {identity.snapshot_mark(number, snapshot): "yes"} if snapshot else {}
        return identity.volume_metadata(self.lab, ref, number) | held

    def await_ready(self, cluster: ClusterRef, places: Collection[Place], seconds: float = _SECONDS) -> list[Disk]:
        """The volumes at ``places``, when Cinder has made all of them and none is in use."""

        def ready(found: list[Disk]) -> bool:
            own = [each for each in found if each.place in places]
            broken = [each for each in own if each.status.startswith(_BROKEN)]
            if broken:
                raise self._why(broken[0])
            return len(own) >= len(places) and all(each.status == _READY for each in own)

        return [each for each in self._await(cluster, ready, "to be made", seconds) if each.place in places]

    def _why(self, disk: Disk) -> EngineError:
        """Cinder's own words for its failure, if it keeps any."""
        told: list[dict[str, Any]] = []
        with suppress(LabError):  # silence is no error here
            told = self.cloud.read("ask why", partial(_messages, disk.id))
        said = next((str(each["user_message"]) for each in told), "Cinder does not say why")
        requests = "\n".join(f"request id: {each['request_id']}" for each in told)
        return EngineError(
            f"volume {disk.number} of {disk.ref} is in the state {disk.status}: {said}", details=f"volume {disk.id}\n{requests}".strip(),
            resolution=f"mend what it says, remove it (openstack volume delete --force {disk.id}) and run the same command again",
        )  # fmt: skip

    def claim(self, disk: Disk, snapshot: str) -> None:
        """Give a volume that was made of another's backup its own metadata: it holds ``snapshot``, and nothing of what the other held."""
        marks = self._marks(*disk.place, snapshot)
        with self.cloud.change(f"mark volume {disk.number} of {disk.ref}") as api:
            from openstack.exceptions import raise_from_response

            raise_from_response(api.block_storage.put(f"/volumes/{disk.id}/metadata", json={"metadata": marks}))

    def mark(self, disk: Disk, mark: str, *, off: bool = False) -> None:
        """Give a volume's metadata a key, or take it ``off``."""
        with self.cloud.change(f"{'unmark' if off else 'mark'} volume {disk.number} of {disk.ref}") as api:
            if off:
                api.block_storage.delete_volume_metadata(disk.id, keys=[mark])
            else:
                api.block_storage.set_volume_metadata(disk.id, **{mark: "yes"})

    def delete(self, cluster: ClusterRef, places: Collection[Place]) -> set[Place]:
        """Delete volumes of a cluster's nodes with their data, and return which there were. Raise EngineError if a server uses one."""
        found = [each for each in self.listed(cluster=cluster) if each.place in places]
        for each in found:
            if each.server:
                raise EngineError(f"volume {each.number} of {each.ref} is in use by its node", resolution="delete the node first")
        at_once(partial(self._delete, each) for each in found)

        def gone(found: list[Disk]) -> bool:
            left = [each for each in found if each.place in places]
            broken = [each for each in left if each.status.startswith(_BROKEN)]
            if broken:
                raise self._why(broken[0])
            return not left

        if found:
            self._await(cluster, gone, "to be gone")
        return {each.place for each in found}

    def _delete(self, disk: Disk) -> None:
        with self.cloud.change(f"delete volume {disk.number} of {disk.ref}") as api:
            api.block_storage.delete_volume(disk.id, ignore_missing=True)

    def of(self, ref: NodeRef, number: int) -> list[Disk]:
        """A node's volume; at most one, unless somebody made another by hand."""
        return [each for each in self.listed(cluster=ref.cluster) if each.place == (ref, number)]

    def _await(self, cluster: ClusterRef, done: Callable[[list[Disk]], bool], what: str, seconds: float = _SECONDS) -> list[Disk]:
        def late(found: list[Disk]) -> DeadlineError:
            return DeadlineError(
                f"volumes of {cluster} took longer than {seconds:g} s {what}",
                details="\n".join(f"{each.ref.name} {each.number}: {each.status}" for each in found),
                resolution="look at them: openstack volume list; the same command goes on where this one ended",
            )

        ask = partial(self.listed, cluster=cluster)
        return wait_for(ask, done, seconds=seconds, pause=lambda took: max(_PAUSE, _REST * took), late=late)


def _messages(id: str, api: Connection) -> list[dict[str, Any]]:
    """What Cinder tells users of a volume (microversion 3.3, of Newton), the newest first."""
    from openstack.exceptions import raise_from_response

    answer = api.block_storage.get("/messages", microversion="3.3")
    raise_from_response(answer)
    found: list[dict[str, Any]] = answer.json()["messages"]
    return sorted((each for each in found if each["resource_uuid"] == id), key=lambda each: str(each["created_at"]), reverse=True)


def _by_node(disks: Iterable[Disk]) -> dict[NodeRef, dict[int, str]]:
    found: dict[NodeRef, dict[int, str]] = {}
    for each in disks:
        found.setdefault(each.ref, {})[each.number] = each.id
    return found
