"""Which servers move where, and what is to be expected of each move. Asks; changes nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from typing import Final

from labcloud.errors import ConflictError, LabError, NotFoundError
from labcloud.migrate.caring import Care
from labcloud.migrate.choosing import Choice, Places, ranked, why_none
from labcloud.migrate.estimating import BANDWIDTH, Estimate, Load, MaintenancePolicy, estimate
from labcloud.migrate.judging import Facts, answer, judge
from labcloud.model.checks import failed
from labcloud.model.hosts import Guest, Host, How, Room
from labcloud.model.names import ClusterRef, NodeRef
from labcloud.preflight.checklist import Answer, Report
from labcloud.providers.hosts import Hosts

_THREADS: Final = 8


@dataclass(frozen=True)
class Wish:
    """How moves shall be: ``to`` a host, or to the best; ``cold`` even if the server runs; a move may take ``limit`` seconds over a network
    of ``bandwidth`` MiB/s, and is completed by ``force`` if it does not converge. ``maintenance``: whether HDFS is told. ``rebuild``: the
    host is gone; ``shared``: the disks of its servers are not. ``ignored`` are checks, with reasons."""

    to: str = ""
    cold: bool = False
    limit: float = 0.0
    bandwidth: float = BANDWIDTH
    force: bool = False
    maintenance: MaintenancePolicy = MaintenancePolicy.AUTO
    rebuild: bool = False
    shared: bool = False
    ignored: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Move:
    """One server's way: ``target`` is None if there is none. ``report`` is what its preflight answered."""

    guest: Guest
    source: Host
    target: Host | None
    how: How
    report: Report
    estimate: Estimate
    reasons: tuple[str, ...] = ()

    @property
    def cluster(self) -> ClusterRef | None:
        return self.guest.ref.cluster if self.guest.ref else None


class Planner:
    """Plans with all hosts as they are now, and all servers as they are when somebody first asks. ``care`` asks nodes of this lab how they
    are."""

    def __init__(self, hosts: Hosts, care: Care) -> None:
        self._hosts = hosts
        self._care = care
        self.all = {each.name: each for each in hosts.hosts()}
        self._rooms: dict[tuple[object, ...], dict[str, Room]] = {}
        self._traits: dict[str, frozenset[str]] = {}
        self._direct: dict[str, Collection[str]] = {}

    @cached_property
    def guests(self) -> list[Guest]:
        return self._hosts.guests()

    def host(self, name: str) -> Host:
        """Raise NotFoundError, with the nearest names, if there is none."""
        if name not in self.all:
            near = get_close_matches(name, self.all, 3) or sorted(self.all)[:6]
            raise NotFoundError(f"there is no host {name}", resolution=f"there are {', '.join(near)}; 'labcloud host list' shows all")
        return self.all[name]

    def on(self, host: Host) -> list[Guest]:
        return [each for each in self.guests if each.host == host.name]

    def of(self, cluster: ClusterRef, node: NodeRef | None = None) -> list[Guest]:
        """The servers of a cluster, or of one of its nodes. Raise NotFoundError if there are none."""
        found = [each for each in self.guests if each.ref and each.ref.cluster == cluster and node in (None, each.ref)]
        if not found:
            raise NotFoundError(
                f"no host runs {node or cluster}",
                resolution=f"'labcloud show {cluster}' shows its nodes; is 'operator-cloud' an administrator's?",
            )
        return sorted(found, key=lambda each: each.ref or NodeRef(cluster, "", 0))

    def plan(self, guests: Sequence[Guest], wish: Wish) -> list[Move]:
        """A move for each of ``guests``, with room reckoned for all of them together: the largest choose first.

        Raise ConflictError if the host that is wished for is the one where they all are.
        """
        if wish.to and guests and all(each.host == wish.to for each in guests):
            raise ConflictError(f"{guests[0].label} runs on {wish.to} already", resolution="name another host, or none")
        if wish.to:
            self.host(wish.to)
        asked = {} if wish.rebuild else self._asked(guests)
        places = {each.id: each.host for each in self.guests}
        given: dict[str, dict[str, int]] = {}
        moves = {}
        for guest in sorted(guests, key=lambda each: (-each.memory, each.label)):
            if wish.to == guest.host:
                continue
            moves[guest.id] = self._move(guest, wish, Places(places), given, *asked.get(guest.id, (Load(), [])))
            target = moves[guest.id].target
            if target:
                places[guest.id] = target.name
                taken = given.setdefault(target.name, {})
                taken.update({name: taken.get(name, 0) + amount for name, amount in guest.resources.items()})
        return [moves[each.id] for each in guests if each.id in moves]

    def _asked(self, guests: Sequence[Guest]) -> dict[str, tuple[Load, list[Answer]]]:
        """What nodes of this lab say of themselves; a cluster is asked once a node, several at once."""
        own = {each.id: each.ref for each in guests if each.ref}
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="care") as pool:
            return dict(zip(own, pool.map(self._ask, own.values()), strict=True))

    def _ask(self, ref: NodeRef) -> tuple[Load, list[Answer]]:
        try:
            return self._care.load(ref), self._care.judge(ref)
        except LabError as exc:
            finding = failed(f"nobody can tell how {ref.cluster} is: {exc.brief}", exc.resolution)
            return Load(), [Answer("hadoop.answers", finding.verdict, finding.summary, fix=finding.fix)]

    def _move(
        self, guest: Guest, wish: Wish, places: Places, given: Mapping[str, Mapping[str, int]], load: Load, answers: Sequence[Answer]
    ) -> Move:
        source = self.host(guest.host)
        how = How.REBUILD if wish.rebuild else How.COLD if wish.cold or guest.state == "SHUTOFF" else self._hosts.way
        room = {name: each.after(given.get(name, {})) for name, each in self._room(guest).items()}
        hosts = [self.all[wish.to]] if wish.to else list(self.all.values())
        choices = ranked(guest, source, hosts, room, places)
        best: Choice | None = choices[0] if choices else None
        expected = self._expected(guest, how, load, wish)
        facts = Facts(
            guest, source, how, best, {} if best else why_none(guest, source, hosts, room, places),
            (self._traits_of(source), self._traits_of(best.host)) if best and how is How.LIVE else ((), ()),
            load, expected, direct=how is How.LIVE and guest.id in self._direct_on(source),
            limit=wish.limit, force=wish.force, shared=wish.shared,
            irreplaceable=how is How.REBUILD and self._irreplaceable(guest),
        )  # fmt: skip
        own = [] if best is None or wish.rebuild else self._hosts.judge(guest, best.host)
        told = guest.ref if not wish.rebuild and wish.maintenance.of(how, expected.pause) else None
        away = self._absence(told) if told else []
        found = [*judge(facts), *(answer(id, finding) for id, finding in own), *answers, *away]
        report = Report(tuple(_passed_over(each, wish.ignored) for each in found))
        return Move(guest, source, best.host if best else None, how, report, expected, best.reasons if best else ())

    def _expected(self, guest: Guest, how: How, load: Load, wish: Wish) -> Estimate:
        data = self._hosts.data(guest)
        if how is How.RESTART:
            return Estimate(data / wish.bandwidth, 0.0, data, converges=True)
        return estimate(guest.memory, load, disk=data, bandwidth=wish.bandwidth)

    def _absence(self, ref: NodeRef) -> Sequence[Answer]:
        try:
            return self._care.absence(ref)
        except LabError:  # its cluster is wanted no longer, as the other answers say
            return ()

    def _irreplaceable(self, guest: Guest) -> bool:
        try:
            return guest.ref is not None and self._care.irreplaceable(guest.ref)
        except LabError:  # its cluster is wanted no longer
            return False

    def _room(self, guest: Guest) -> dict[str, Room]:
        key = (*sorted(guest.resources.items()), *sorted(guest.traits))
        if key not in self._rooms:
            found = self._hosts.room(guest)
            self._rooms[key] = {each.name: found[each.id] for each in self.all.values() if each.id in found}
        return self._rooms[key]

    def _traits_of(self, host: Host) -> frozenset[str]:
        if host.name not in self._traits:
            self._traits[host.name] = self._hosts.traits(host) if host.id else frozenset()
        return self._traits[host.name]

    def _direct_on(self, host: Host) -> Collection[str]:
        if host.name not in self._direct:
            self._direct[host.name] = self._hosts.direct_ports(host.name)
        return self._direct[host.name]


def _passed_over(answer: Answer, ignored: Mapping[str, str]) -> Answer:
    return replace(answer, ignored=ignored[answer.id]) if answer.id in ignored else answer
