"""What an engine's own backup service keeps: chains that begin each week, and nothing that goes while another needs it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from labcloud.errors import EngineError, NotFoundError, UsageError
from labcloud.lab.documents import cluster_document, dump
from labcloud.model import Cluster, ClusterRef, NodeGroup, NodeRef, NodeVolume, Volume
from labcloud.model.protection import Keep
from labcloud.model.snapshot import SnapshotRef
from labcloud.protect.answers import Copy
from labcloud.protect.contents import Contents
from labcloud.protect.manifest import NAME, Manifest, Origin
from labcloud.protect.restic import CONSISTENT, INCONSISTENT
from labcloud.protect.targets import Target
from labcloud.protect.vaults import WHOLE, Vault, copy_id, staying
from labcloud.providers.base import Command, KeptVolume, Result

GROUPS = (NodeGroup("master", 1, 1536, volumes=(Volume(2),)), NodeGroup("worker", 2, 2048, volumes=(Volume(2),)))
CLUSTER = Cluster(ClusterRef("acme", "lab"), "hadoop-2.7", "openstack", "0" * 32, "", GROUPS)
NIGHT = datetime(2026, 11, 1, 2, tzinfo=UTC)


@dataclass
class Service:
    """An engine that keeps volumes, as strict as Cinder with what needs what."""

    name: str = "openstack"
    keeps_volumes: bool = True
    all: list[KeptVolume] = field(default_factory=list)
    fails: bool = False
    brought: dict[str, Any] = field(default_factory=dict)
    ran: list[tuple[str, ...]] = field(default_factory=list)

    def kept_volumes(self, tenant: str, cluster: ClusterRef | None = None) -> list[KeptVolume]:
        return [each for each in self.all if each.ref.cluster.tenant == tenant and cluster in (None, each.ref.cluster)]

    def keep_volumes(self, copy: str, places: Sequence[tuple[NodeRef, int]], facts: Mapping[str, str], *, whole: bool) -> None:
        for ref, number in places[:1] if self.fails else places:
            self.all.append(KeptVolume(copy, ref, number, datetime.now(UTC), whole, KeptVolume.KEPT, size=2 << 30, facts=facts))
        if self.fails:
            raise EngineError("Cinder did not back up volume 0")

    def forget_volumes(self, tenant: str, copies: Collection[str]) -> None:
        assert all(each.ref.cluster.tenant == tenant for each in self.all)
        for copy in sorted(copies, reverse=True):
            end = max(place for place, each in enumerate(self.all) if each.copy == copy)
            assert all(each.whole for each in self.all[end + 1 : end + 2]), f"{copy} is needed"
            self.all = [each for each in self.all if each.copy != copy]

    def bring_volumes(
        self, copy: str, places: Mapping[Any, Any], volumes: Mapping[tuple[NodeRef, int], NodeVolume], snapshot: str
    ) -> None:  # fmt: skip
        self.brought = {"copy": copy, "places": places, "volumes": volumes, "snapshot": snapshot}

    def volume_place(self, _: NodeRef, number: int, snapshot: str) -> str:
        return f"/data/{number}/.labcloud-snapshots/{snapshot}"

    def execute(self, ref: NodeRef, command: Command) -> Result:
        self.ran.append((ref.name, *command.argv[3:]))
        return Result(0)


def vault(service: Service, known: Mapping[str, Contents] | None = None) -> Vault:
    return Vault(Target.parse("engine:openstack").of("acme"), service, "acme", lambda _, id: (known or {}).get(id))  # type: ignore[arg-type]


def manifest(night: int) -> Manifest:
    taken = NIGHT + timedelta(days=night)
    return Manifest(
        id=f"{taken:%Y%m%dt%H%M%S}-{night:04x}", ref=CLUSTER.ref, taken=taken, origin=Origin.BACKUP,
        declaration=dump(cluster_document(CLUSTER)), tenant="", volumes={"master-0": 1, "worker-0": 1, "worker-1": 1}, size=9, files=3,
    )  # fmt: skip


def aged(service: Service, days: float) -> None:
    service.all = [replace(each, made=each.made - timedelta(days=days)) for each in service.all]


def test_a_week_begins_with_a_whole_copy_and_the_nights_after_it_have_what_is_new() -> None:
    service, made, new = Service(), [], []
    for night in range(16):
        aged(service, 1)
        stored = vault(service).keep(manifest(night), ("labcloud", CONSISTENT))
        new.append(stored.bytes_added)
        made.append(all(each.whole for each in service.all if each.copy == manifest(night).id))
        assert stored.copies[0].id == stored.id == copy_id(CLUSTER.ref, manifest(night).id)
    assert made == [night % 7 == 0 for night in range(16)]
    assert new == [3 * (2 << 30) if whole else None for whole in made]  # how much the others have Cinder does not tell
    (newest, *_) = vault(service).copies("acme/lab", ("labcloud",))
    assert (newest.time, newest.host, WHOLE in newest.tags) == (manifest(15).taken, "acme/lab", False)
    assert vault(service).copies("acme/other") == []
    assert vault(service).dump(newest.id, NAME).decode() == manifest(15).dump()


def test_what_was_left_unfinished_is_no_copy_and_goes_before_the_next() -> None:
    service = Service()
    vault(service).keep(manifest(0), (CONSISTENT,))
    service.fails = True
    with pytest.raises(EngineError):
        vault(service).keep(manifest(1), (CONSISTENT,))
    assert len(vault(service).copies()) == 1
    service.fails = False
    vault(service).keep(manifest(2), (CONSISTENT,))
    assert {each.copy for each in service.all} == {manifest(0).id, manifest(2).id}


def test_one_that_breaks_later_stays_and_a_new_week_begins() -> None:
    service = Service()
    for night in range(3):
        vault(service).keep(manifest(night), (CONSISTENT,))
    service.all[0] = replace(service.all[0], state="error")
    assert WHOLE in vault(service).keep(manifest(3), (CONSISTENT,)).copies[0].tags
    assert {each.copy for each in service.all} == {manifest(night).id for night in range(4)}


def test_rules_keep_what_a_kept_copy_needs() -> None:
    service = Service()
    for night in range(10):  # weeks begin on nights 0 and 7, a Sunday and the Sunday after it
        aged(service, 1)
        vault(service).keep(manifest(night), (CONSISTENT,))
    kept = vault(service).retain(Keep(last=1, daily=0, weekly=0, monthly=0), host="acme/lab", dry_run=True)
    assert len(service.all) == 30
    assert [each.time.day for each in kept.stay] == [10, 9, 8]
    vault(service).retain(Keep(last=1, daily=0, weekly=3, monthly=0), host="acme/lab")
    assert sorted({each.copy[6:8] for each in service.all}) == ["01", "08", "09", "10"]
    vault(service).forget([each.id for each in vault(service).copies()])
    assert service.all == []


def copies(kinds: Sequence[tuple[int, bool, bool]]) -> list[Copy]:
    found = [
        Copy(f"{number:064x}", "", NIGHT + timedelta(hours=sum(gap for gap, _, _ in kinds[: number + 1])), "acme/lab",
             (*([WHOLE] if whole or not number else []), CONSISTENT if good else INCONSISTENT), "")
        for number, (_, whole, good) in enumerate(kinds)
    ]  # fmt: skip
    return found[::-1]


@given(
    some.lists(some.tuples(some.integers(1, 200), some.booleans(), some.booleans()), min_size=1, max_size=30),
    some.tuples(*[some.integers(0, 4)] * 4).filter(any),
)
def test_nothing_goes_that_a_staying_copy_needs(kinds: list[tuple[int, bool, bool]], rules: tuple[int, int, int, int]) -> None:
    there = copies(kinds)
    stay = staying(Keep(*rules), there)
    needed = False
    for each in there:  # the newest first
        assert not needed or each.id in stay
        needed = each.id in stay and WHOLE not in each.tags
    good = [each.id for each in there if CONSISTENT in each.tags]
    assert set(good[: rules[0]]) <= stay
    assert not good or good[0] in stay


def test_a_check_says_what_the_service_says() -> None:
    service = Service()
    vault(service).keep(manifest(0), (CONSISTENT,))
    assert vault(service).check("all").ok
    service.all[1] = replace(service.all[1], state="error", said="no space left")
    found = vault(service).check()
    assert (found.ok, found.copies) == (False, (copy_id(CLUSTER.ref, manifest(0).id),))
    assert "volume 0 of acme/lab/worker-0" in found.problems[0]
    assert "no space left" in found.problems[0]
    with pytest.raises(UsageError):
        vault(service).mend(found.packs)


def test_a_copy_becomes_volumes_of_another_cluster() -> None:
    service, to = Service(), ClusterRef("acme", "copy")
    vault(service).keep(manifest(0), (CONSISTENT,))
    name = SnapshotRef(to, f"{manifest(0).id[:15]}-abcd")
    vault(service).bring(manifest(0), replace(CLUSTER, ref=to), name, {})
    assert (service.brought["copy"], service.brought["snapshot"]) == (manifest(0).id, name.id)
    assert service.brought["places"][NodeRef(to, "worker", 1), 0] == (NodeRef(CLUSTER.ref, "worker", 1), 0)
    assert service.brought["volumes"][NodeRef(to, "master", 0), 0].size == 2
    vault(service).settle(manifest(0), name)
    assert ("worker-1", "sh", "/data/0/.labcloud-snapshots", manifest(0).id, name.id) in service.ran


def test_contents_are_known_where_they_are_remembered() -> None:
    service = Service()
    id = vault(service).keep(manifest(0), (CONSISTENT,)).id
    contents = Contents(why="the cluster did not run")
    assert Contents.load(vault(service, {id: contents}).dump(id, "files.json.gz")) == contents
    with pytest.raises(NotFoundError, match="known nowhere but in it"):
        vault(service).dump(id, "files.json.gz")
    with pytest.raises(NotFoundError, match="there is no copy"):
        vault(service).dump("0" * 64, NAME)


def test_an_engine_without_such_a_service_is_refused() -> None:
    with pytest.raises(UsageError, match="docker has no backup service"):
        vault(Service("docker", keeps_volumes=False))
