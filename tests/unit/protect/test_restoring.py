"""Backups brought back on the simulated engine, by the real restic; each way may be broken off at any point."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

from labcloud.errors import ConflictError, EngineError, LabError, NotFoundError, UsageError
from labcloud.model import ClusterRef
from labcloud.model.quota import Resource
from labcloud.model.snapshot import SnapshotRef
from labcloud.protect.nightly import Nightly
from labcloud.protect.passing import Passing
from labcloud.protect.restic import Repository
from labcloud.protect.restoring import From
from tests.unit.protect.conftest import Place
from tests.unit.protect.vault import Vault, calls
from tests.unit.protect.workshop import LOG, REF, TERMS, node

OTHER = ClusterRef("acme", "copy")


class DeathError(BaseException):
    """The end of the process, which nobody catches."""


@contextmanager
def dying(cls: type, method: str, times: int = 1, *, after: bool = False) -> Iterator[None]:
    """Die in the ``times``-th call of a method."""
    real, seen = getattr(cls, method), []

    def deadly(self: object, *args: object, **options: object) -> object:
        seen.append(1)
        if len(seen) < times:
            return real(self, *args, **options)
        if after:
            real(self, *args, **options)
        raise DeathError

    with mock.patch.object(cls, method, deadly), pytest.raises(DeathError):
        yield


def _log(vault: Vault, ref: ClusterRef) -> str:
    return (vault.folder(node("master-0", ref)) / LOG).read_text()


def _snapshots(vault: Vault, ref: ClusterRef) -> set[str]:
    return {id for _, _, id in vault.found(ref).snapshots}


@pytest.fixture
def kept(vault: Vault) -> Vault:
    """With a backup, after which the cluster went on."""
    vault.back_up()
    vault.change()
    return vault


def test_a_new_cluster_of_a_backup(kept: Vault) -> None:
    verbs = kept.verbs()
    chosen = verbs.chosen(REF, "latest")
    with pytest.raises(ConflictError, match="the cluster acme/c exists, and a restore overwrites nothing") as caught:
        verbs.restore_backup(chosen, REF, TERMS)
    assert "--to" in caught.value.resolution
    before = kept.data()
    verbs.restore_backup(chosen, OTHER, TERMS)
    made = kept.wanted(OTHER)
    assert (made.restoring, made.origin, made.id != kept.wanted().id) == ("", str(chosen.snapshot(OTHER)), True)
    assert _log(kept, OTHER) == "log"
    assert kept.running(OTHER) == ["master-0", "worker-0", "worker-1"]
    assert _snapshots(kept, OTHER) == set()
    assert "blk_9" not in str(kept.data(OTHER))
    assert kept.data() == before
    with pytest.raises(ConflictError):  # it is finished: nothing is left to finish
        verbs.restore_backup(chosen, OTHER, TERMS)


@pytest.mark.parametrize(
    ("cls", "method", "times", "after", "fetched"),
    [
        (Nightly, "_snapshot_volume", 2, True, 1),
        (Repository, "restore", 1, False, 1),
        (Repository, "restore", 1, True, 1),
        (Nightly, "_fetch", 1, True, 0),
        (Nightly, "_filled", 1, False, 0),
        (Nightly, "_run", 1, False, 0),
        (Nightly, "_drop", 1, False, 0),
    ],
)
def test_a_restore_that_was_broken_off_goes_on(kept: Vault, cls: type, method: str, times: int, after: bool, fetched: int) -> None:
    with dying(cls, method, times, after=after):
        kept.verbs().restore_backup(kept.verbs().chosen(REF, "latest"), OTHER, TERMS)
    id = kept.wanted(OTHER).id
    chosen = kept.verbs().chosen(REF, "latest")
    with calls() as asked:
        kept.verbs().restore_backup(chosen, OTHER, TERMS)
    assert asked.count("restore") == fetched
    assert (kept.wanted(OTHER).id, kept.wanted(OTHER).restoring, _log(kept, OTHER)) == (id, "", "log")
    assert _snapshots(kept, OTHER) == set()
    assert ".labcloud" not in str(kept.data(OTHER))


def test_a_cluster_of_somebody_elses_is_never_filled(kept: Vault) -> None:
    """Not even one that came between the question and the lock."""
    verbs = kept.verbs()
    chosen = verbs.chosen(REF, "latest")
    kept.create(OTHER, workers=1)
    before = kept.data(OTHER)
    with pytest.raises(ConflictError, match="overwrites nothing"):
        verbs._make(chosen, chosen.snapshot(OTHER), TERMS)
    assert kept.data(OTHER) == before


def test_its_own_name_when_that_is_free_and_its_tenant_with_it(kept: Vault) -> None:
    tenant = kept.lab.tenant("acme")
    assert tenant
    kept.lab.save_tenant(replace(tenant, quotas={Resource.CLUSTERS: 3}), "a limit")
    # By its id: two copies of one second have no order.
    chosen = kept.verbs().chosen(REF, kept.back_up().copy)
    kept.clusters().delete(REF, TERMS)
    kept.lab.remove_tenant("acme", "gone")
    # Its user id is another tenant's now.
    assert kept.lab.ensure_tenant("globex").user_id == tenant.user_id

    provider = kept.provider()
    missing = NotFoundError("no image", resolution="labcloud image build hadoop-2.7")
    with mock.patch.object(type(provider), "image", side_effect=missing), pytest.raises(LabError) as caught:
        kept.verbs(provider=provider).restore_backup(chosen, REF, TERMS)
    assert "image build" in caught.value.resolution
    assert (kept.lab.cluster(REF), kept.lab.tenant("acme"), kept.found().volumes) == (None, None, frozenset())

    kept.verbs().restore_backup(chosen, REF, TERMS)
    back = kept.lab.tenant("acme")
    assert back
    assert back.quotas == {Resource.CLUSTERS: 3}
    assert back.user_id != tenant.user_id
    assert kept.wanted().user_id == back.user_id
    assert kept.running() == ["master-0", "worker-0", "worker-1"]


def test_in_place_of_what_there_is(kept: Vault) -> None:
    """A snapshot of the same moment stays untouched until the data was fetched: it may be all that is good."""
    (own,) = kept.ids()
    chosen = kept.verbs().chosen(REF, "latest")
    name = chosen.snapshot(REF)
    assert name != SnapshotRef(REF, own)
    with mock.patch.object(Repository, "restore", side_effect=EngineError("damaged")), pytest.raises(EngineError):
        kept.verbs().restore_backup(chosen, REF, TERMS, replacing=True)
    assert _log(kept, REF) == "log, and more"
    assert [each.state for each in kept.snapshots().list(REF) if each.id == own] == ["consistent"]

    with dying(type(kept.verbs()), "_clear"):
        kept.verbs().restore_backup(chosen, REF, TERMS, replacing=True)
    assert kept.wanted().restoring == str(name)
    with pytest.raises(ConflictError):
        kept.verbs().restore_backup(chosen, REF, TERMS)
    with calls() as asked:
        kept.verbs().restore_backup(chosen, REF, TERMS, replacing=True)
    assert asked == [], "what was fetched is whole, and was read again"
    assert (_log(kept, REF), kept.wanted().restoring) == ("log", "")
    assert [each.origin for each in kept.snapshots().list(REF)].count("safety") == 1


def test_one_node(kept: Vault) -> None:
    chosen = kept.verbs().chosen(REF, "latest")
    verbs = kept.verbs()
    for name, error, words in [
        ("worker-7", NotFoundError, "has no node worker-7"),
        ("master-0", UsageError, "leads acme/c"),
    ]:
        with pytest.raises(error, match=words) as caught:
            verbs.restore_node(chosen, name, TERMS)
        assert caught.value.resolution
    fewer = replace(chosen, manifest=replace(chosen.manifest, volumes={"master-0": 1, "worker-0": 1}))
    with pytest.raises(ConflictError, match="the backup has no worker-1"):
        verbs.restore_node(fewer, "worker-1", TERMS)

    worker = node("worker-0")
    kept.put(worker, {kept.block(worker): "rotten"})
    before = kept.ids()
    with calls() as asked:
        verbs.restore_node(chosen, "worker-0", TERMS)
    assert asked == ["restore"]
    assert (kept.folder(worker) / kept.block(worker)).read_text() == "block of worker-0"
    assert _log(kept, REF) == "log, and more"
    assert kept.ids() == before, "no snapshot of the cluster's own goes with what was fetched"
    assert kept.running() == ["master-0", "worker-0", "worker-1"]

    # Blocks of another line of the cluster's life have the same numbers, and other data.
    kept.snapshots().restore(SnapshotRef(REF, before[0]), TERMS)
    with pytest.raises(ConflictError, match="acme/c was put back to a snapshot after"):
        kept.verbs().restore_node(chosen, "worker-0", TERMS)
    kept.clusters().delete(REF, TERMS)
    kept.create()
    with pytest.raises(ConflictError, match="acme/c was"):
        kept.verbs().restore_node(chosen, "worker-0", TERMS)


def test_where_nothing_is_known_of_the_lab(kept: Vault, tmp_path: Path) -> None:
    new = Vault(tmp_path / "new")
    place = From(str(kept.lab.home / "backups"), kept.lab.home / "secrets/backup/acme.password")
    with pytest.raises(UsageError, match="needs the password"):
        new.verbs().chosen(REF, "latest", replace(place, password_file=None))
    with pytest.raises(NotFoundError):
        new.verbs().chosen(REF, "latest", replace(place, password_file=tmp_path / "none"))
    new.verbs().restore_backup(new.verbs().chosen(REF, "latest", place), REF, TERMS)
    assert _log(new, REF) == "log"


def test_a_cluster_for_a_while(kept: Vault) -> None:
    chosen = kept.verbs().chosen(REF, "latest")
    before = kept.lab.tenants()
    verbs = kept.verbs()
    with pytest.raises(ZeroDivisionError), verbs.for_a_while(chosen, TERMS, "drill") as cluster:
        tenant = cluster.ref.tenant
        assert tenant.startswith("drill-")
        assert _log(kept, cluster.ref) == "log"
        assert not kept.lab.backup_policy(cluster.ref).enabled, "what exists for a while is not backed up"
        assert verbs._passing.left() == []
        raise ZeroDivisionError
    assert (kept.lab.tenants(), kept.found(cluster.ref).volumes, list(verbs.repository("acme").copies(str(cluster.ref)))) == (
        before,
        frozenset(),
        [],
    )
    assert list((kept.lab.home / "passing").iterdir()) == []

    # What could not be deleted is told; the next run does it, though this process lives no more.
    with mock.patch.object(type(verbs), "delete", side_effect=EngineError("busy")), verbs.for_a_while(chosen, TERMS, "drill") as cluster:
        pass
    assert "it could not be deleted yet: busy" in kept.told()
    assert kept.running(cluster.ref)
    verbs.sweep(TERMS)
    assert kept.running(cluster.ref), "its process lives"
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True)
    with mock.patch("labcloud.protect.passing.lives", lambda _, pid, began: False if pid != int(dead.stdout) else began):
        verbs.sweep(TERMS)
    assert (kept.lab.tenants(), kept.running(cluster.ref)) == (before, [])
    assert list((kept.lab.home / "passing").iterdir()) == []


def test_tenants_for_a_while_are_told_from_others(place: Place) -> None:
    passing = Passing(place.root)
    assert passing.left() == []
    mine = passing.new("drill")
    code = "import sys, pathlib; from labcloud.protect.passing import Passing; print(Passing(pathlib.Path(sys.argv[1])).new('restore'))"
    dead = subprocess.run([sys.executable, "-c", code, str(place.root)], capture_output=True, text=True, check=True).stdout.strip()
    folder = place.root / "passing"
    for name, text in {"acme": '{"host": "h", "pid": 1, "ticks": 1}', "drill-000000": "torn", f"{mine}x": "{}"}.items():
        (folder / f"{name}.json").write_text(text)
    assert passing.left() == [dead]
    passing.over(dead)
    passing.over(dead)
    assert passing.left() == []
