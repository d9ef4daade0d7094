"""Docker hosts between which a lab's nodes move. All that is known of a move is known by who makes it: it ends with this process.

A host that gets no nodes is told by a volume on the home engine, which keeps the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from ipaddress import IPv4Address
from typing import ClassVar, Final

from labcloud.errors import EngineError, LabError, NotFoundError
from labcloud.model import FoundNode, NodeRef, Status
from labcloud.model.checks import Finding, failed, passed, warned
from labcloud.model.hosts import MOVED, Guest, Host, How, Migration, Phase, Room
from labcloud.providers.base import Command
from labcloud.providers.docker import containers, volumes
from labcloud.providers.docker.estate import Estate
from labcloud.providers.docker.moving import Moving, Way
from labcloud.providers.docker.seats import CARRIER, Places
from labcloud.providers.hosts import Hosts

_MIB: Final = 1 << 20
_THREADS: Final = 8


class DockerHosts(Hosts):
    """The hosts of one estate. They are called by their names here; in `Estate` the home has an empty one."""

    way: ClassVar[How] = How.RESTART

    def __init__(self, estate: Estate) -> None:
        self._estate = estate
        self._moves: list[Moving] = []
        self._memory: dict[str, int] = {}
        self._there: list[Guest] | None = None

    def close(self) -> None:
        for each in self._moves:
            each.abort()
        for each in self._moves:
            each.join()

    def _place(self, name: str) -> str:
        return "" if name == self._estate.settings.name else name

    def _name(self, place: str) -> str:
        return place or self._estate.settings.name

    # Who is there

    def hosts(self) -> list[Host]:
        places = ["", *self._estate.remotes]
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="hosts") as pool:
            return sorted(pool.map(self._host, places), key=lambda each: each.name)

    def _host(self, place: str) -> Host:
        name, reason = self._name(place), self._estate.reason(place)
        try:
            with self._estate.engine(place).api("ask what the host is") as api:
                facts = api.info()
        except LabError as exc:
            return Host(name, up=False, enabled=not reason, reason=exc.brief, id=name)
        self._memory[name] = int(facts["MemTotal"]) // _MIB
        return Host(name, enabled=not reason, reason=reason, hypervisor=f"docker on {facts['Architecture']}", id=name)

    def guests(self) -> list[Guest]:
        found = self._estate.places()
        self._there = [each for place in ("", *sorted(found.hosts())) for each in self._guests(place, found)]
        return self._there

    def _guests(self, place: str, found: Places) -> list[Guest]:
        name = self._name(place)
        try:
            nodes = self._estate.on(place).find().nodes
        except EngineError:  # a host that does not answer has them still
            return [Guest(str(ref), ref.qualified, name, "UNKNOWN", ref=ref) for ref in found.on(place)]
        own = [each for each in nodes if found.host(each.ref) == place]
        # One whose name is free just now: a move was killed when the node was to change its place.
        nameless = sorted(set(found.on(place)) - {each.ref for each in own})
        broken = [Guest(str(ref), ref.qualified, name, MOVED, ref=ref) for ref in nameless if found.broken_off(ref)]
        return [*(_guest(each, name, found) for each in own), *broken]

    def room(self, guest: Guest) -> dict[str, Room]:
        """By those guests who were last asked for."""
        del guest
        used: dict[str, int] = {}
        for each in self.guests() if self._there is None else self._there:
            used[each.host] = used.get(each.host, 0) + each.memory
        return {name: Room({"MEMORY_MB": memory}, {"MEMORY_MB": used.get(name, 0)}) for name, memory in self._memory.items()}

    def traits(self, host: Host) -> frozenset[str]:
        del host
        return frozenset()

    def data(self, guest: Guest) -> int:
        if guest.ref is None or guest.state != "ACTIVE":
            return 0
        result = self._estate.of(guest.ref).execute(guest.ref, Command(("du", "-sm", "/data")))
        said = result.stdout.split()
        return int(said[0]) if said and said[0].isdigit() else 0

    def judge(self, guest: Guest, target: Host) -> Sequence[tuple[str, Finding]]:
        return [("move.network", self._network(guest)), ("move.volumes", self._volumes(guest)), ("move.image", self._image(guest, target))]

    def _network(self, guest: Guest) -> Finding:
        tenant = _node(guest).cluster.tenant
        layout = self._estate.layout(tenant)
        nodes = self._estate.home.find(tenant=tenant).nodes
        above = sorted(str(each.ref) for each in nodes if each.address and IPv4Address(each.address) in layout.upper)
        if above:
            return failed(
                f"{len(above)} nodes have addresses in {layout.upper}, which other hosts give away",
                f"give the tenant a larger subnet: labcloud tenant set {tenant} --subnet NETWORK", nodes=above,
            )  # fmt: skip
        return passed(f"{layout.subnet} reaches both hosts by VXLAN", subnet=str(layout.subnet))

    def _volumes(self, guest: Guest) -> Finding:
        ref, place = _node(guest), self._place(guest.host)
        own = self._estate.volumes(ref, place)
        with self._estate.engine(place).api(f"look at the volumes of {ref}") as api:
            there = [volumes.find(api, containers.volume_name(ref, number)) or {} for number in own]
        strange = sorted({str(each.get("Driver")) for each in there} - {"local"})
        if strange:
            return failed(f"its data is with the driver {strange[0]}, not on its host", "let that storage move it", drivers=strange)
        if any(each.get("Options") for each in there):
            return warned(
                "its storage class is this machine's: elsewhere its data lies in Docker's own volumes", "nothing, if that is well"
            )
        return passed("its data go with it")

    def _image(self, guest: Guest, target: Host) -> Finding:
        ref = _node(guest)
        with self._estate.engine(self._place(guest.host)).api(f"look at {ref}") as api:
            image = str(api.inspect_container(ref.qualified)["Config"]["Image"])
        try:
            self._estate.home.image(CARRIER)
        except NotFoundError as exc:
            return failed("the image of helpers is not built yet", "labcloud image build carrier", said=exc.brief)
        there = self._estate.has(image, self._place(target.name))
        return passed(f"{image} is there" if there else f"{image} is brought there first", image=image)

    # Letting nodes in

    def set_enabled(self, host: Host, *, enabled: bool, reason: str = "") -> None:
        self._estate.mark(self._place(host.name), "" if enabled else reason or "no reason was given")

    def fence(self, host: Host) -> None:
        raise EngineError(
            f"nodes of {host.name} cannot be made anew elsewhere: their data were on its disks alone",
            resolution="bring clusters back from their newest backup: labcloud backup list",
        )

    # Moves

    def move(self, guest: Guest, target: str) -> None:
        self._begin(guest, target, live=True)

    def move_cold(self, guest: Guest, target: str) -> None:
        self._begin(guest, target, live=False)

    def _begin(self, guest: Guest, target: str, *, live: bool) -> None:
        ref = _node(guest)
        how = How.RESTART if live else How.COLD
        number = str(len(self._moves) + 1)
        first = Migration(number, guest.id, Phase.PREPARING, guest.host, target, how=how, word="preparing")
        was_on = guest.state == "ACTIVE"
        broken_off = any(not each.taken and not each.left for each in self._estate.places(cluster=ref.cluster).of(ref))
        way = Way(ref, self._place(guest.host), self._place(target), copies=live and was_on, runs=was_on or broken_off)
        move = Moving(self._estate, way, first)
        self._moves.append(move)
        move.start()

    def settle(self, guest: Guest) -> bool:
        ref, place = _node(guest), self._place(guest.host)
        self._estate.tidy(ref)
        self._estate.join(ref.cluster.tenant)
        if place:
            self._estate.wake(ref)
        with self._estate.engine(place).api(f"start {ref}") as api:
            api.start(ref.qualified)
        self._estate.part(ref.cluster.tenant)
        return True

    def rebuild(self, guest: Guest, target: str = "") -> None:
        del target
        raise EngineError(f"{guest.label} cannot be made anew elsewhere: its data were on {guest.host} alone")

    def moves(self, since: datetime) -> list[Migration]:
        del since
        return [each.state for each in reversed(self._moves)]

    def measured(self, guest: Guest) -> Migration | None:
        return next((each.state for each in reversed(self._moves) if each.state.server == guest.id and not each.state.phase.over), None)

    def complete(self, move: Migration) -> None:
        self._of(move).hurry()

    def abort(self, move: Migration) -> None:
        self._of(move).abort()

    def why(self, guest: Guest) -> Sequence[str]:
        return next((each.why for each in reversed(self._moves) if each.state.server == guest.id), ())

    def _of(self, move: Migration) -> Moving:
        return self._moves[int(move.id) - 1]


def _guest(node: FoundNode, host: str, places: Places) -> Guest:
    """``MOVED``: it has changed its place, and somebody was killed before that was over."""
    ref = node.ref
    state = MOVED if places.broken_off(ref) else "ACTIVE" if node.status is Status.RUNNING else "SHUTOFF"
    return Guest(str(ref), ref.qualified, host, state, ref=ref, memory=node.memory, resources={"MEMORY_MB": node.memory})


def _node(guest: Guest) -> NodeRef:
    if guest.ref is None:
        raise EngineError(f"{guest.name} is no node of this lab")
    return guest.ref
