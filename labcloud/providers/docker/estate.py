"""A lab's several Docker hosts as one: their engines, the tenants' networks across them, mirrors of this machine's folders, and what is
cleared away behind a node that has moved."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Final

from labcloud.errors import EngineError, NotFoundError
from labcloud.model import ClusterRef, NodeRef
from labcloud.providers.docker import carrying, containers, seats, tunnel
from labcloud.providers.docker.engine import Engine, refused, remove_container
from labcloud.providers.docker.provider import DockerProvider, tags_of
from labcloud.providers.docker.remote import BASE, CONFIG, DATASETS, RemoteDocker, data_mounts, home_mounts
from labcloud.providers.docker.seats import Places, Seat
from labcloud.providers.docker.settings import Settings

_KNOWN_SECONDS: Final = 2.0
_CHUNK: Final = 1 << 20
_REASON: Final = containers.PREFIX + "reason"
FILES: Final = (BASE, CONFIG, DATASETS)


class Estate:
    """The hosts that ``settings`` name, and the home. A host's name is empty for the home, as in `seats`."""

    def __init__(self, home: Path, lab: str, settings: Settings) -> None:
        self.lab = lab
        self.settings = settings
        self.home_engine = Engine()
        self.home = DockerProvider(home, lab, engine=self.home_engine)
        self.remotes = {name: RemoteDocker(home, lab, name, place) for name, place in settings.hosts.items()}
        self._numbers = {name: number for number, name in enumerate(settings.hosts)}
        self._known: tuple[Places, float] = (Places(), 0.0)
        self._lock = threading.RLock()

    def close(self) -> None:
        for each in (self.home, *self.remotes.values()):
            each.close()

    # Who is where

    def places(self, tenant: str | None = None, cluster: ClusterRef | None = None) -> Places:
        with self.home_engine.api("ask where nodes are") as api:
            return seats.read(api, self.lab, tenant=tenant, cluster=cluster)

    def place(self, ref: NodeRef) -> str:
        """The host of a node, not older than a moment."""
        with self._lock:
            known, until = self._known
            if time.monotonic() > until:
                known = self.places()
                self._known = known, time.monotonic() + _KNOWN_SECONDS
            return known.host(ref)

    def changed(self) -> None:
        """Nodes have moved."""
        with self._lock:
            self._known = Places(), 0.0

    def on(self, host: str) -> DockerProvider:
        """Raise NotFoundError for one that the settings do not name."""
        if not host:
            return self.home
        if host not in self.remotes:
            raise NotFoundError(f"docker.yaml names no host {host}, and nodes are there", resolution=f"name {host} in docker.yaml again")
        return self.remotes[host]

    def engine(self, host: str) -> Engine:
        found = self.on(host)
        return found.engine if isinstance(found, RemoteDocker) else self.home_engine

    def of(self, ref: NodeRef) -> DockerProvider:
        """The engine that has the node."""
        return self.on(self.place(ref))

    def address(self, ref: NodeRef) -> str:
        """That which its seat keeps."""
        found = self.places(cluster=ref.cluster)
        return next((each.address for each in (found.seat(ref), *found.of(ref)) if each and each.address), "")

    def free_address(self, tenant: str) -> str:
        """One that nobody in the tenant's network has or keeps, for a node that has none while it is off."""
        with self.home_engine.api(f"look at the network of {tenant}") as api:
            there = api.inspect_network(containers.network_name(tenant))
        taken = {each["IPv4Address"].partition("/")[0] for each in (there.get("Containers") or {}).values()}
        taken |= {each.address for each in self.places(tenant=tenant).seats}
        hosts = iter(tunnel.Layout(IPv4Network(there["IPAM"]["Config"][0]["Subnet"])).subnet.hosts())
        next(hosts)  # the bridge's own
        return next(str(each) for each in hosts if str(each) not in taken)

    # Which hosts get nodes

    def reason(self, host: str) -> str:
        """Why a host gets no nodes; empty if it does."""
        with self.home_engine.api("ask which hosts get nodes") as api:
            found = api.volumes(filters={"name": self._marker(host)}).get("Volumes") or ()
        return next((str((each["Labels"] or {}).get(_REASON, "")) for each in found if each["Name"] == self._marker(host)), "")

    def mark(self, host: str, reason: str) -> None:
        """Let a host get no nodes for a ``reason``, or let it get them."""
        with self.home_engine.api("note which hosts get nodes") as api:
            if reason:
                api.create_volume(self._marker(host), labels={containers.LAB: self.lab, _REASON: reason})
            elif self.reason(host):
                api.remove_volume(self._marker(host))

    def _marker(self, host: str) -> str:
        return f"labcloud.{self.lab}.{host or self.settings.name}.drained"

    # Images

    def carrier(self, host: str = "") -> str:
        """The image of helpers, which is brought to a host that has not got it."""
        image = self.home.image(seats.CARRIER)
        self.bring(image, host)
        return image

    def has(self, image: str, host: str) -> bool:
        with self.engine(host).api(f"look for the image {image}") as api:
            return bool(tags_of(api, image))

    def bring(self, image: str, host: str, source: str = "") -> None:
        """Copy an image from one engine to another, unless it is there."""
        if host == source or self.has(image, host):
            return
        with self.engine(source).api(f"read the image {image}") as here, self.engine(host).api(f"bring the image {image}") as there:
            there.load_image(here.get_image(image, chunk_size=_CHUNK), quiet=True)

    # Networks

    def layout(self, tenant: str) -> tunnel.Layout:
        with self.home_engine.api(f"look for the network of {tenant}") as api:
            return tunnel.Layout(tunnel.subnet_of(api, tenant))

    def join(self, tenant: str, more: Collection[str] = ()) -> None:
        """Let the tenant's network reach all hosts that have nodes of it, and ``more``."""
        hosts = sorted((self.places(tenant=tenant).hosts() | set(more)) - {""})
        if not hosts:
            return
        subnet = self.layout(tenant).subnet
        addresses = {"": self.settings.address} | {each: self.settings.hosts[each].address for each in hosts if self.on(each)}
        for host, local in addresses.items():
            image = self.carrier(host)
            with self.engine(host).api(f"join the network of {tenant}") as api:
                if host:
                    tunnel.ensure_network(api, self.lab, tenant, subnet, self._numbers[host])
                peers = [each for other, each in addresses.items() if other != host]
                tunnel.ensure_link(api, self.lab, tenant, image, local=local, peers=peers)
                if not host:
                    tunnel.ensure_names(api, self.lab, tenant, image, subnet)

    def part(self, tenant: str) -> None:
        """Let the tenant's network leave the hosts that have nothing of it any more, and be the home's own in the end."""
        with self._lock:
            with self.home_engine.api(f"look for the link of {tenant}") as api:
                peers = tunnel.peers(api, tenant)
            if not peers:
                return
            needed = self.places(tenant=tenant).hosts()
            for host in (name for name, place in self.settings.hosts.items() if place.address in peers and name not in needed):
                with self.engine(host).api(f"leave the network of {tenant}") as api:
                    tunnel.remove(api, tunnel.link_name(tenant))
                    tunnel.remove_network(api, tenant)
            if needed:
                self.join(tenant)
            else:
                with self.home_engine.api(f"leave the network of {tenant}") as api:
                    tunnel.remove(api, tunnel.names_name(tenant))
                    tunnel.remove(api, tunnel.link_name(tenant))  # last: it tells which hosts there were

    # Mirrors

    def fill(self, refs: Iterable[NodeRef], folders: Collection[str] = FILES) -> None:
        """Let nodes elsewhere see this machine's ``folders`` as they are now."""
        for ref in refs:
            host = self.place(ref)
            if host:
                self.fill_at(ref, host, folders)

    def fill_at(self, ref: NodeRef, host: str, folders: Collection[str] = FILES) -> None:
        remote, image = self.remotes[host], self.carrier(host)
        mounts = {name: mount for name, mount in home_mounts(self.home.mounts(ref.cluster), ref).items() if name in folders}
        ends = self.end(ref, "", mounts), self.end(ref, host, remote.mirrors(ref))
        with carrying.journey(self.lab, ref, image, *ends) as way:
            way.carry()

    def journey(self, ref: NodeRef, source: str, target: str, volumes: int) -> AbstractContextManager[carrying.Journey]:
        """A way for the data of a node, which has so many ``volumes``, from one host to another."""
        mounts = data_mounts(self.lab, ref, volumes)
        ends = (self.end(ref, each, mounts) for each in (source, target))
        return carrying.journey(self.lab, ref, self.carrier(), *ends)

    def volumes(self, ref: NodeRef, host: str) -> list[int]:
        """The numbers of the data volumes that a host has of a node."""
        return sorted(number for each, number in self.on(host).find(cluster=ref.cluster).volumes if each == ref)

    def end(self, ref: NodeRef, host: str, mounts: Mapping[str, Mapping[str, Any]]) -> carrying.End:
        """One end of a journey of the node's folders."""
        return carrying.End(self.engine(host), mounts, () if host else self.layout(ref.cluster.tenant).helpers)

    def away(self, cluster: ClusterRef) -> list[NodeRef]:
        """The nodes of a cluster that are elsewhere."""
        found = self.places(cluster=cluster)
        return sorted(ref for host in found.hosts() for ref in found.on(host))

    # Seats

    def sit(self, ref: NodeRef, host: str, address: str, name: str) -> None:
        """A stand-in at home, not started, unless it is there."""
        from docker.errors import APIError

        body = seats.stand_in(self.lab, ref, host, address, self.carrier())
        with self.home_engine.api(f"make a stand-in for {ref}") as api:
            try:
                api.create_container_from_config(body, name)
            except APIError as exc:
                if not refused(exc, 409):
                    raise

    def rename(self, old: str, new: str) -> None:
        with self.home_engine.api(f"rename {old}") as api:
            api.rename(old, new)

    def wake(self, ref: NodeRef) -> None:
        """Start the node's stand-in."""
        with self.home_engine.api(f"start the stand-in of {ref}") as api:
            api.start(ref.qualified)

    def sweep(self, ref: NodeRef, hosts: Iterable[str]) -> None:
        """Remove the helpers of killed moves of a node."""
        with self._lock:  # threads that delete several volumes of a node do it once
            for host in {"", *hosts}:
                carrying.sweep(self.engine(host), self.lab, ref)

    def let_go(self, name: str) -> None:
        """Stop a stand-in, so that its address is free."""
        with self.home_engine.api(f"stop {name}") as api:
            api.stop(name, timeout=0)

    def tidy(self, ref: NodeRef, *, lenient: bool = False) -> None:
        """Clear away what moves of a node have left: on all hosts where it is not. It is under its cluster's lock. With ``lenient``, what
        is left on a host that does not answer stays until somebody comes again."""
        found = self.places(cluster=ref.cluster)
        keep = found.seat(ref)
        if keep is None or (found.of(ref) == [keep] and keep.taken):
            return
        for each in found.of(ref):
            if each != keep:
                try:
                    self._clear(each, keep)
                except EngineError:
                    if not lenient:
                        raise
        if lenient:
            with suppress(EngineError):
                self.part(ref.cluster.tenant)
        if not keep.taken:  # a move was killed just when the node was to change its place
            self.rename(keep.name, ref.qualified)
        self.changed()

    def _clear(self, seat: Seat, keep: Seat | None) -> None:
        """A seat and, unless the node is there, all that its host has of the node. Of another host's the seat goes last: it tells of the
        rest."""
        if not seat.host:
            self._unseat(seat.name)
        if keep is None or seat.host != keep.host:
            self.clear_host(seat.ref, seat.host)
        if seat.host:
            self._unseat(seat.name)

    def _unseat(self, name: str) -> None:
        with self.home_engine.api(f"remove {name}") as api:
            remove_container(api, name)

    def clear_host(self, ref: NodeRef, host: str) -> None:
        """Delete a node and its data from a host; snapshots stay."""
        engine, provider = self.engine(host), self.on(host)
        carrying.sweep(engine, self.lab, ref)
        if host:
            provider.delete_node(ref)
        for number in self.volumes(ref, host):
            provider.delete_volume(ref, number)

    def forget_if_gone(self, ref: NodeRef, hosts: Collection[str]) -> None:
        """As `forget`, once none of its volumes is left on ``hosts``; the last of several threads that delete them does it."""
        with self._lock:
            if not any(self.volumes(ref, host) for host in hosts):
                self.forget(ref)
                self.part(ref.cluster.tenant)

    def forget(self, ref: NodeRef) -> None:
        """Remove the seats of a node that nothing is left of, wherever it was."""
        with self._lock:
            for each in self.places(cluster=ref.cluster).of(ref):
                if each.host:
                    self._clear(each, None)
            self.changed()
