"""Backups of clusters on the simulated engine, by the real restic: made, counted, let go, listed, checked."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest

from labcloud.apply.journal import Journal
from labcloud.errors import EngineError, UsageError
from labcloud.protect.backups import CONTENTS
from labcloud.protect.complaints import NoRepositoryError
from labcloud.protect.manifest import NAME
from labcloud.protect.manifest import Manifest as Said
from labcloud.protect.restic import Repository
from labcloud.protect.targets import Target
from labcloud.providers.simulated import Faults
from tests.unit.protect.vault import Vault, calls
from tests.unit.protect.workshop import REF, TERMS


def _states(vault: Vault) -> list[str]:
    return [each.state for each in vault.verbs().copies(REF)]


def test_a_backup_and_the_next(tmp_path: Path) -> None:
    """The whole way, in few words to restic: a call costs half a second of deriving keys alone."""
    vault = Vault(tmp_path)
    vault.create()
    with calls() as asked:
        first = vault.back_up()
    assert asked == ["snapshots", "cat", "cat", "init", "cat", "backup", "snapshots"]
    assert (first.consistent, first.ref, first.stored.files) == (True, REF, 11)
    assert "lies on the lab's own disk" in first.warning
    vault.change()
    with calls() as asked:
        second = vault.back_up()
    assert asked == ["snapshots", "backup", "snapshots"]
    newest, oldest = second.stored.copies
    assert (newest.id, newest.parent, oldest.id) == (second.copy, first.copy, first.copy)

    made = vault.made()
    assert [each["copy"] for each in made] == [first.copy, second.copy]
    facts = made[1]
    assert (facts["cluster_id"], facts["consistent"], facts["snapshot"]) == (vault.wanted().id, True, vault.ids()[0])
    assert f"bytes={facts['bytes']}" in newest.tags

    assert len(vault.ids()) == 1, "only the newest automatic snapshot stays"
    one, two = vault.verbs().copies(REF)
    assert (one.id, two.id, one.state, one.origin) == (first.copy[:8], second.copy[:8], "consistent", "backup")
    assert (two.size, two.verified, two.drilled) == (facts["bytes"], "", "")

    # Another cluster of the same name has nothing in common with that copy, and what is remembered of it.
    vault.clusters().delete(REF, TERMS)
    vault.create()
    with calls() as asked:
        third = vault.back_up()
    assert asked == ["snapshots", "backup", "snapshots"]
    assert third.stored.copies[0].parent == ""
    manifest = Said.load(vault.verbs().repository("acme").dump(third.copy, NAME), "it")
    assert (manifest.cluster, manifest.consistent) == (vault.wanted(), True)


def test_what_is_remembered_of_the_last_copy_is_worth_a_question_only(vault: Vault) -> None:
    first = vault.back_up()
    cache = vault.lab.home / "cache/contents/acme/c"
    (kept,) = cache.iterdir()
    assert kept.name == f"{first.copy}.json.gz"
    kept.write_bytes(b"torn")
    with calls() as asked:
        second = vault.back_up()
    assert asked == ["snapshots", "dump", "backup", "snapshots"]
    assert [each.name for each in cache.iterdir()] == [f"{second.copy}.json.gz"]
    assert cache.joinpath(f"{second.copy}.json.gz").read_bytes() == vault.verbs().repository("acme").dump(second.copy, CONTENTS)


def test_an_inconsistent_one_is_kept_apart(vault: Vault) -> None:
    first = vault.back_up()
    good = vault.ids()
    poor = vault.poor()
    assert not poor.consistent
    assert poor.warning.startswith("it is not consistent: master-0: it went on by itself")
    assert _states(vault) == ["consistent", "inconsistent"]
    assert vault.made()[1]["consistent"] is False
    assert vault.ids() == good, "a snapshot that is no good takes no place of one that is"
    verbs = vault.verbs()
    assert verbs.chosen(REF, "latest").copy.id == first.copy
    vault.say(keep="last=1,daily=0,weekly=0,monthly=0")
    kept = verbs.prune(REF, "acme", dry_run=True)
    assert [(each.go, each.stay) for each in kept] == [((), poor.stored.copies)], "it is not counted, and not older than a good one"
    with calls() as asked:
        third = vault.back_up()
    assert asked.count("forget") == 2
    assert [each.id for each in verbs.copies(REF)] == [third.copy[:8]]


def test_nothing_is_stored_without_room(vault: Vault) -> None:
    with (
        mock.patch.object(Target, "room", lambda _: 2**20),
        calls() as asked,
        pytest.raises(EngineError, match=r"has 1\.0 MB free") as caught,
    ):
        vault.back_up()
    assert "backup" not in asked
    assert "target=" in caught.value.resolution
    assert vault.made() == []


def test_a_target_out_of_reach_does_not_fill_the_clusters_own_disks(vault: Vault) -> None:
    vault.say(target=str(vault.root / "missing" / "disk"))
    for _ in range(2):
        listing = mock.patch.object(Repository, "copies", return_value=[])
        with listing, mock.patch.object(Repository, "backup", side_effect=EngineError("unplugged")), pytest.raises(EngineError):
            vault.back_up()
    assert len(vault.ids()) == 1


def test_snapshots_of_hand_stay(vault: Vault) -> None:
    mine = vault.take().id
    vault.say(keep_snapshots="0")
    stored = vault.back_up()
    assert vault.ids() == [mine]
    # What cannot be tidied up is told: the backup is good, and must not be made again for it.
    refusing = mock.patch.object(Repository, "retain", side_effect=EngineError("gone away"))
    with refusing, mock.patch.object(Target, "shares_disk", lambda *_: False):
        again = vault.back_up()
    assert again.warning == "old copies are still there: gone away"
    assert again.stored.copies[1].id == stored.copy


def test_rules_that_keep_nothing_take_a_word(vault: Vault) -> None:
    vault.say(keep="last=0,daily=0,weekly=0,monthly=0")
    made = vault.back_up()
    verbs = vault.verbs()
    with calls() as asked, pytest.raises(UsageError, match="the rules of acme/c keep no backup at all") as caught:
        verbs.prune(None, "acme")
    assert asked == ["snapshots"]
    assert "--yes" in caught.value.resolution
    assert [each.id for kept in verbs.prune(None, "acme", confirmed=True, dry_run=True) for each in kept.go] == [made.copy]
    assert [each.id for each in verbs.copies(REF)] == [made.copy[:8]]
    verbs.prune(None, "acme", confirmed=True)
    assert verbs.copies(REF) == []
    assert verbs.repository("acme").stats() == 0
    with pytest.raises(NoRepositoryError):
        verbs.prune(None, "globex")


def test_checks_are_joined_with_the_list(vault: Vault) -> None:
    """And damage that one part of the data showed is not disproved by another part."""
    elsewhere = vault.root / "elsewhere"
    elsewhere.mkdir()
    first = vault.back_up()
    vault.say(target=str(elsewhere))
    second = vault.back_up()
    verbs = vault.verbs()
    assert [each.id for each in verbs.copies(REF)] == [first.copy[:8], second.copy[:8]]
    assert verbs.verify("acme", None).ok
    assert all(each.verified for each in verbs.copies(REF))

    pack = min((elsewhere / "acme/data").glob("*/*"), key=lambda each: each.stat().st_size)  # the files'; the folders' take more
    pack.chmod(0o600)
    data = bytearray(pack.read_bytes())
    data[0] ^= 1
    pack.write_bytes(data)
    verdict = verbs.verify("acme", "all")
    assert (verdict.ok, verdict.copies) == (False, (second.copy,)), verdict.problems
    one, two = verbs.copies(REF)
    assert (one.state, bool(one.verified), two.state, two.verified) == ("consistent", True, "damaged", "")

    part = int(pack.name[:2], 16) % 7 + 1
    other = part % 7 + 1
    assert verbs.verify("acme", (other, 7)).ok
    assert [each.state for each in verbs.copies(REF)] == ["consistent", "damaged"]
    data[0] ^= 1
    pack.write_bytes(data)
    assert verbs.verify("acme", "all").ok
    assert [(each.state, bool(each.verified)) for each in verbs.copies(REF)] == [("consistent", True)] * 2


def test_a_stopped_cluster_is_backed_up(vault: Vault) -> None:
    vault.clusters().stop(REF, TERMS)
    faults = Faults()
    assert vault.back_up(faults=faults).consistent
    assert "execute" not in faults.names()


def test_copies_of_a_deleted_cluster_are_found_where_its_own_policy_had_them(vault: Vault, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    vault.say(target=str(own))
    made = vault.back_up()
    vault.clusters().delete(REF, TERMS)
    verbs = vault.verbs()
    assert verbs.policy_of(REF).target == str(own)
    with mock.patch.object(Journal, "events", autospec=True, side_effect=Journal.events) as read:
        assert [each.id for each in verbs.copies(REF)] == [each.id for each in verbs.copies(tenant="acme")] == [made.copy[:8]]
        assert [each.id for each in verbs.copies()] == [made.copy[:8]]
    assert read.call_count == 3, "once for each list"
    assert verbs.verify("acme", None).ok
    assert verbs.chosen(REF, "latest").copy.id == made.copy
    vault.create()  # whoever has the name now has the policy of all
    assert verbs.policy_of(REF).target != str(own)
