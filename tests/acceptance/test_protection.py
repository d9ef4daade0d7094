"""Snapshots and backups on the real Docker Engine, Hadoop and restic: what was acknowledged is in the copy, and comes back from it."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from labcloud.protect.contents import Contents, Entry
from labcloud.protect.manifest import Manifest
from labcloud.protect.restic import Repository, Upload
from labcloud.protect.staging import Tree
from labcloud.protect.targets import Target
from tests.acceptance import protecting
from tests.acceptance.conftest import clean, remove_by_force, unprotected
from tests.acceptance.driver import Cluster, Labcloud, ended, load, wait_for
from tests.acceptance.protecting import Writer, copies, home, noise, shared, snapshots, store, volume

pytestmark = pytest.mark.timeout(400)

SIZE = ("--workers", "1", "--memory", "1536m")
PAUSE = 2.0
LIKE = 64_000_000  # bytes in HDFS, of which a hundredth changes
FAR = "20200101t000000-0000"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("backups")


@pytest.fixture(scope="module", autouse=True)
def _nothing_left(labcloud: Labcloud) -> Iterator[None]:
    """Whatever was tested: no copy, no cluster for a while, no process and no half of a tree is left."""
    yield
    left = [each for each in labcloud.leftovers() if "drill-" in each or "restore-" in each]
    tenants = [each["name"] for each in labcloud.json("tenant", "list")]
    assert left + [each for each in tenants if each.startswith(("drill-", "restore-"))] == []
    assert list((labcloud.home / "stage").glob("*")) == []
    assert protecting.births("") == []


def protected(labcloud: Labcloud, tenant: str, profile: str, target: Path) -> Cluster:
    """A new cluster whose tenant's backups go to ``target``, once its first snapshot and backup are there; no more come by themselves."""
    labcloud("tenant", "create", tenant, "--quota", "clusters=7")
    labcloud("backup", "policy", "set", "--tenant", tenant, f"target={target}")
    cluster = Cluster(labcloud, tenant, profile, "lab")
    cluster.create(*SIZE, "--backup")
    protecting.wait_for_birth(cluster)
    labcloud("backup", "policy", "set", cluster.ref, "enabled=false")
    return cluster


@pytest.fixture(scope="module")
def old(labcloud: Labcloud, mark: str, target: Path) -> Iterator[Cluster]:
    cluster = protected(labcloud, f"{mark}-old", "hadoop-2.7", target)
    yield cluster
    labcloud("delete", "--yes", cluster.ref, expect=None)


@pytest.fixture(scope="module")
def new(labcloud: Labcloud, mark: str, target: Path) -> Iterator[Cluster]:
    cluster = protected(labcloud, f"{mark}-new", "hadoop-3.4", target)
    yield cluster
    labcloud("delete", "--yes", cluster.ref, expect=None)


# Snapshots


def taken_meanwhile(cluster: Cluster, job: bool) -> tuple[str, dict[str, str], bytes]:
    """Take a snapshot while a writer writes; return its id, and what had been acknowledged before: files, and bytes of an open one."""
    with Writer(cluster) as writer:
        wait_for("the writer", lambda: len(writer.files) > 20)
        working = cluster.begin("wordcount", f"/user/{cluster.tenant}/words", f"/user/{cluster.tenant}/counted") if job else None
        if job:
            cluster.running_app()
        before = time.monotonic()
        said = cluster.labcloud.json("snapshot", "create", cluster.ref)
        after = len(writer.files)
        wait_for("writes after it", lambda: len(writer.files) > after + 10 or writer.refused)
        if working:
            done = ended(working)
            assert done.code == 0, str(done)
    assert writer.refused == []
    assert said["consistent"], said["why"]
    assert writer.longest_pause() <= PAUSE
    files = writer.acknowledged(before)
    assert len(files) > 20
    assert writer.flushed(before)
    return str(said["id"]), files, writer.flushed(before)


def check_copy(copy: Cluster, files: dict[str, str], flushed: bytes) -> None:
    """All that was acknowledged is in the copy, at home, and so are the bytes that were flushed; they can be read once HDFS closes it."""
    there = home(copy)
    assert {path: there.get(path) for path in files} == files
    stream = f"/user/{copy.tenant}/written/stream"
    copy.exec("hdfs", "debug", "recoverLease", "-path", stream, "-retries", "10", user="hdfs")
    assert load(copy.hdfs(), stream).startswith(flushed)


def check_apart(snapshot: str, *clusters: Cluster) -> None:
    """No two of them could be taken for one another, and blocks that were finished in the snapshot of the first are there once."""
    told = [protecting.identities(each, "master-0", "worker-0") for each in clusters]
    for key in ("clusterID", "namespaceID", "blockpoolID", "datanodeUuid", "pool"):
        ids = [each[key] for each in told]
        assert all(len(each) == 1 for each in ids), f"{key}: {ids}"
        assert len(set.union(*ids)) == len(clusters), f"{key}: {ids}"
    taken = protecting.blocks(volume(clusters[0], "worker-0", snapshot))
    for each in clusters:
        there = protecting.blocks(volume(each, "worker-0"))
        common = taken.keys() & there.keys()  # what a job had for itself may be gone since
        assert len(common) > 20
        assert [name for name in common if not shared(taken[name], there[name])] == []


def check_independent(changed: Cluster, *others: Cluster) -> None:
    """What is appended and deleted in one changes no other."""
    before = [home(each) for each in others]
    client, base = changed.hdfs(), f"/user/{changed.tenant}/"
    names = sorted(name for name in home(changed, client) if name.startswith("written/"))
    with client.append(base + names[0]) as file:
        file.write(b"appended")
    client.delete(base + names[1], False)
    now = home(changed)
    assert now[names[0]] != before[0][names[0]]
    assert names[1] not in now
    assert [home(each) for each in others] == before


def test_a_snapshot_of_hadoop_2_and_a_copy_of_it(labcloud: Labcloud, old: Cluster) -> None:
    store(old.hdfs(), f"/user/{old.tenant}/words", b"some words to count\n" * 1000)
    id, files, flushed = taken_meanwhile(old, job=True)
    copy = Cluster(labcloud, old.tenant, old.profile, "copy")
    try:
        labcloud("snapshot", "restore", old.ref, id, "--to", copy.name)
        check_apart(id, old, copy)
        check_copy(copy, files, flushed)
        check_independent(copy, old)
    finally:
        copy.delete()


def test_reset_and_back(labcloud: Labcloud, old: Cluster) -> None:
    birth, *_ = snapshots(labcloud, old.ref)
    assert (birth["origin"], birth["state"]) == ("birth", "consistent")
    store(old.hdfs(), f"/user/{old.tenant}/after", b"birth")
    before = home(old)
    labcloud("reset", "--yes", old.ref)
    assert home(old) == {}
    kept = snapshots(labcloud, old.ref)[-1]
    assert (kept["origin"], kept["state"]) == ("safety", "consistent")
    assert birth["id"] in kept["title"]
    labcloud("snapshot", "restore", "--yes", old.ref, kept["id"])
    assert home(old) == before
    old.wait_until_all_runs()


def test_golden_labs_for_two_tenants_at_once(labcloud: Labcloud, new: Cluster, mark: str) -> None:
    id, files, flushed = taken_meanwhile(new, job=False)
    one, other = (Cluster(labcloud, f"{mark}-{name}", new.profile, "lab") for name in "ab")
    try:
        labcloud("create", "--from", f"{new.ref}@{id}", "--tenant", one.tenant, "--tenant", other.tenant)
        check_apart(id, new, one, other)
        for each in (one, other):
            check_copy(each, files, flushed)
        check_independent(one, other, new)
    finally:
        labcloud("delete", "--yes", one.ref, other.ref)
    labcloud("snapshot", "delete", new.ref, id)
    new.hdfs().delete(f"/user/{new.tenant}/written", True)


# Backups


def back_up(cluster: Cluster) -> str:
    """Make a backup; return its id."""
    (outcome,) = cluster.labcloud.json("backup", "run", cluster.ref)
    return str(outcome["copy"])


@pytest.fixture(scope="module")
def backed_up(new: Cluster, target: Path) -> tuple[str, str]:
    """Two backups, between which a hundredth changed: their ids."""
    client, folder = new.hdfs(), f"/user/{new.tenant}/data"
    for number in range(10):
        store(client, f"{folder}/{number}", noise(number, LIKE // 10))
    store(client, f"/user/{new.tenant}/words", b"some words to count\n" * 1000)
    return back_up(new), changed_and_backed_up(new, target / new.tenant)


def changed_and_backed_up(cluster: Cluster, repository: Path) -> str:
    changed = LIKE // 100
    store(cluster.hdfs(), f"/user/{cluster.tenant}/data/new", noise(99, changed))
    before = protecting.room(repository)
    id = back_up(cluster)
    assert protecting.room(repository) - before <= changed * 1.2
    return id


def test_copies_are_listed(labcloud: Labcloud, new: Cluster, backed_up: tuple[str, str]) -> None:
    rows = copies(labcloud, new.ref)
    assert [row["id"] for row in rows[-2:]] == list(backed_up)
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
    assert {row["state"] for row in rows} == {"consistent"}
    assert {(row["verified"], row["drilled"]) for row in rows[-2:]} == {("", "")}
    assert all(row["size"] > LIKE for row in rows[-2:])
    password = labcloud.home / "secrets" / "backup" / f"{new.tenant}.password"
    assert password.stat().st_mode & 0o077 == 0
    journal = b"".join(each.read_bytes() for each in (labcloud.home / "journal").iterdir())
    assert password.read_bytes().strip() not in journal


def test_a_flipped_byte_is_found_and_other_copies_are_told_unharmed(
    labcloud: Labcloud, new: Cluster, target: Path, backed_up: tuple[str, str]
) -> None:
    _, second = backed_up
    (verdict,) = labcloud.json("backup", "verify", "--full", "--tenant", new.tenant)
    assert (verdict["ok"], verdict["problems"]) == (True, [])
    assert all(row["verified"] for row in copies(labcloud, new.ref))
    repository = target / new.tenant
    newest = max(protecting.packs(repository), key=lambda pack: pack.stat().st_mtime_ns if pack.stat().st_size > 100_000 else 0)
    with protecting.flipped(newest):
        labcloud("backup", "verify", "--tenant", new.tenant)
        (verdict,) = labcloud.json("backup", "verify", "--full", "--tenant", new.tenant, expect=6)
        assert not verdict["ok"]
        assert any(newest.name[:8] in each for each in verdict["problems"])
        assert [each[:8] for each in verdict["copies"]] == [second]
        states = {row["id"]: row["state"] for row in copies(labcloud, new.ref)}
        assert (states.pop(second), set(states.values())) == ("damaged", {"consistent"})
        said = labcloud("backup", "drill", new.ref, "--at", second, expect=6).said
        assert "did not prove good" in said
    labcloud("backup", "verify", "--full", "--tenant", new.tenant)
    assert {row["state"] for row in copies(labcloud, new.ref)} == {"consistent"}


def test_a_drill_proves_a_copy(labcloud: Labcloud, new: Cluster, backed_up: tuple[str, str]) -> None:
    drill = labcloud.json("backup", "drill", new.ref)
    assert (drill["copy"], drill["verdict"]) == (backed_up[1], "good")
    assert drill["files"] >= 12
    assert drill["bytes"] > LIKE
    row = copies(labcloud, new.ref)[-1]
    assert row["drilled"]
    assert row["drill"] == "good"


def test_a_drill_finds_a_copy_that_is_not_what_it_says(
    labcloud: Labcloud, new: Cluster, target: Path, backed_up: tuple[str, str], tmp_path: Path
) -> None:
    password = labcloud.home / "secrets" / "backup" / f"{new.tenant}.password"
    repository = Repository(Target.parse(str(target)).of(new.tenant), password, cache=tmp_path / "cache")
    good = next(each for each in repository.copies(new.ref) if each.short == backed_up[1])
    manifest = Manifest.load(repository.dump(good.id, "manifest.json"), "it")
    contents = Contents.load(repository.dump(good.id, "files.json.gz"))
    volumes = {f"{node}/0": tmp_path / node for node in manifest.volumes}
    for folder in volumes.values():
        folder.mkdir()
    repository.restore(good.id, volumes, stage=tmp_path / "stage")
    one = next(each for each in contents.entries if each.path.endswith("/data/3"))
    lie = replace(one, checksum=one.checksum[:-1] + ("0" if one.checksum[-1] != "0" else "1"))
    entries = [lie if each == one else each for each in contents.entries]
    lost = Entry(f"/user/{new.tenant}/lost", 5, 0, "MD5-of-0MD5-of-512CRC32C:00")
    tree = Tree(volumes, {"manifest.json": manifest.dump().encode(), "files.json.gz": Contents((*entries, lost)).dump()})
    stored = repository.backup(Upload(tree, new.ref, good.tags, good.time, good.id), stage=tmp_path / "stage")
    try:
        done = labcloud("backup", "drill", new.ref, "--at", stored.id[:8], expect=6)
        assert "1 files are missing, 1 differ" in done.said
        assert "lost" in done.said
        assert "/data/3: another checksum" in done.said
        row = next(row for row in copies(labcloud, new.ref) if row["id"] == stored.id[:8])
        assert row["drill"] != "good"
    finally:
        repository.forget([stored.id])


def test_one_worker_comes_back(labcloud: Labcloud, new: Cluster, backed_up: tuple[str, str]) -> None:
    before = home(new)
    labcloud("exec", "--user", "root", "--node", "worker-0", new.ref, "--", "s6-svc", "-d", "/run/service/datanode")
    new.exec("bash", "-c", "sleep 1; rm -rf /data/0/hdfs/data", node="worker-0", user="root")
    labcloud("backup", "restore", new.ref, "--at", backed_up[1], "--node", "worker-0")
    wait_for("a healthy file system", new.healthy)
    assert home(new) == before
    assert "leads" in labcloud("backup", "restore", new.ref, "--node", "master-0", expect=2).said


def test_one_path_comes_back(labcloud: Labcloud, new: Cluster, backed_up: tuple[str, str]) -> None:
    before, folder = home(new), f"/user/{new.tenant}/data"
    new.hdfs().delete(f"{folder}/7", False)
    into = f"/user/{new.tenant}/back"
    labcloud("backup", "restore", new.ref, "--at", backed_up[0], "--path", folder, "--into", into)
    there = home(new)
    data = {path: made for path, made in before.items() if path.startswith("data/") and path != "data/new"}
    assert {path.removeprefix("back/"): made for path, made in there.items() if path.startswith("back/")} == data
    assert "overwrites nothing" in labcloud("backup", "restore", new.ref, "--path", folder, "--into", into, expect=5).said
    client = new.hdfs()
    client.rename(f"{into}/data/7", f"{folder}/7")
    client.delete(into, True)
    assert home(new) == before


def test_each_backup_has_its_own_number_of_workers(labcloud: Labcloud, new: Cluster, backed_up: tuple[str, str]) -> None:
    labcloud("scale", new.ref, "--workers", "2")
    store(new.hdfs(), f"/user/{new.tenant}/two", b"when there were two")
    both, grown = home(new), back_up(new)
    refused = labcloud("backup", "restore", new.ref, "--at", backed_up[1], expect=5).said
    assert "--replace" in refused
    labcloud("backup", "restore", new.ref, "--at", backed_up[1], "--replace")
    assert [node["name"] for node in new.show()["nodes"]] == ["master-0", "worker-0"]
    assert home(new) == {path: made for path, made in both.items() if path != "two"}
    kept = [each for each in snapshots(labcloud, new.ref) if each["origin"] == "safety"]
    assert [each["state"] for each in kept] == ["consistent"]
    new.delete()
    labcloud("backup", "restore", new.ref, "--at", grown)
    assert len(new.show()["nodes"]) == 3
    assert home(new) == both
    assert snapshots(labcloud, new.ref) == []
    assert labcloud.json("backup", "list", new.ref)[-1]["id"] == grown


def test_a_restore_that_was_killed_goes_on(
    labcloud: Labcloud, new: Cluster, backed_up: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restic = protecting.FalseRestic(tmp_path / "bin")
    restic.install()
    monkeypatch.setenv("PATH", restic.path)
    words = ("backup", "restore", new.ref, "--at", backed_up[1])
    new.delete()
    restic.hold("--include /worker-0/0")
    process = labcloud.begin(*words)
    wait_for("restic to be asked", lambda: restic.calls("restore"))
    process.send_signal(signal.SIGKILL)
    ended(process)
    restic.forget()
    labcloud(*words)
    (again,) = restic.calls("restore")
    assert ("/master-0/0" in again, "/worker-0/0" in again) == (True, True), "nothing was there that could have stayed"
    assert {"data/0", "data/new", "words"} <= home(new).keys()
    new.wait_until_all_runs()


def test_a_new_machine_needs_the_target_and_its_password_alone(
    labcloud: Labcloud, new: Cluster, target: Path, tmp_path: Path, backed_up: tuple[str, str]
) -> None:
    before = home(new)
    password = tmp_path / "password"
    password.write_text((labcloud.home / "secrets" / "backup" / f"{new.tenant}.password").read_text())
    password.chmod(0o600)
    new.delete()
    lab = Labcloud(tmp_path / "home", labcloud.cache)
    unprotected(lab)
    there = Cluster(lab, new.tenant, new.profile, "lab")
    try:
        lab("backup", "restore", new.ref, "--at", backed_up[1], "--from", str(target), "--password-file", str(password))
        assert home(there) == before
        assert lab.json("tenant", "show", new.tenant)["quotas"]["clusters"]["limit"] == 7
        password.write_text("another")
        place = ("--from", str(target), "--password-file", str(password))
        wrong = lab("backup", "restore", new.ref, "--to", "elsewhere", *place, expect=3)
        assert str(password) in wrong.said
    finally:
        clean(lab)
        left = lab.leftovers()
        remove_by_force(lab)
    assert left == []


# Bad input


def test_what_is_not_there_is_not_found_and_the_nearest_is_shown(labcloud: Labcloud, old: Cluster) -> None:
    (copy, *_), (snapshot, *_) = copies(labcloud, old.ref), snapshots(labcloud, old.ref)
    assert snapshot["id"] in labcloud("snapshot", "restore", "--yes", old.ref, FAR, expect=4).said
    for at in ("2020-01-01", "2020-01-01T10:00:00+02:00", "deadbeef"):
        assert copy["id"] in labcloud("backup", "restore", old.ref, "--at", at, "--to", "x", expect=4).said
    assert "no backup of" in labcloud("backup", "restore", f"{old.tenant}/other", expect=4).said
    assert labcloud("snapshot", "restore", "--yes", old.ref, "yesterday", expect=2).said


def test_a_repository_of_another_tenant(labcloud: Labcloud, old: Cluster, new: Cluster, target: Path) -> None:
    """The password of one opens no other's, and what is in one is no other's cluster."""
    folder = labcloud.home / "secrets" / "backup"
    words = ("--from", str(target), "--password-file", str(folder / f"{old.tenant}.password"))
    assert "password" in labcloud("backup", "restore", new.ref, "--to", "x", *words, expect=3).said
    assert labcloud("backup", "restore", f"{old.tenant}-x/lab", *words, expect=4).said
    assert labcloud.leftovers(f"{old.tenant}-x") == []


def test_a_target_without_room_is_told_before_anything_is_stored(labcloud: Labcloud, old: Cluster, tmp_path: Path) -> None:
    def kept() -> tuple[list[str], Counter[str]]:
        """Snapshots that stay until someone deletes them, and how many others there are of which origin."""
        rows = snapshots(labcloud, old.ref)
        stay = [row["id"] for row in rows if row["origin"] in ("birth", "hand")]
        return stay, Counter(row["origin"] for row in rows if row["id"] not in stay)

    before, _ = kept()
    with protecting.small_disk(tmp_path, 24) as place:
        labcloud("backup", "policy", "set", old.ref, f"target={place}")
        try:
            said = labcloud("backup", "run", old.ref, expect=6).said
            assert "free, and this backup may need" in said
            assert list(protecting.packs(place / old.tenant)) == []
            # What could not be stored is on the cluster's own storage, as many as the policy keeps there of each origin.
            assert kept() == (before, {"backup": 1, "safety": 1})
        finally:
            labcloud("backup", "policy", "set", old.ref, "--unset", "target")


def test_rules_that_keep_nothing_are_refused(labcloud: Labcloud, old: Cluster) -> None:
    rules = [f"keep.{rule}=0" for rule in ("last", "daily", "weekly", "monthly")]
    assert "keep no backup" in labcloud("backup", "policy", "set", old.ref, *rules, expect=2).said
    labcloud("backup", "policy", "set", "--yes", old.ref, *rules)
    try:
        assert "keep no backup" in labcloud("backup", "prune", old.ref, expect=2).said
        would = labcloud.json("backup", "prune", "--yes", "--dry-run", old.ref)
        assert would["removed"] == [row["id"] for row in copies(labcloud, old.ref)][::-1]
        labcloud("backup", "prune", "--yes", old.ref)
        assert copies(labcloud, old.ref) == []
    finally:
        labcloud("backup", "policy", "set", old.ref, *(word for rule in rules for word in ("--unset", rule.partition("=")[0])))
