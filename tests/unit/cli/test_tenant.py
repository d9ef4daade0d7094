"""tenant create, list, show, set, delete, and working as a member: what is printed, what is refused with which code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Labcloud
from tests.unit.cli.test_errors import HOSTILE
from tests.unit.cli.test_output import golden
from tests.unit.model.test_people import ED25519, PRIVATE

CREATE = (
    "tenant", "create", "acme", "--quota", "memory=16g", "--quota", "clusters=4", "--quota", "cpus=none", "--limit", "hadoop-2.7=2",
    "--member", f"alice={ED25519} alice@desk", "--member", "bob", "--subnet", "10.200.0.0/22", "--default", "memory=2g",
    "--default", "set=hdfs-site:dfs.replication=1", "--notify", "https://example.org/hook",
)  # fmt: skip


@pytest.fixture
def acme(labcloud: Labcloud) -> str:
    done = labcloud(*CREATE)
    assert done.code == 0, done.err
    return "acme"


def test_json_has_the_keys_that_scripts_know(labcloud: Labcloud, acme: str, cluster: str) -> None:
    labcloud("tenant", "set", acme, "--remove-member", "bob")
    golden("tenant", labcloud("tenant", "show", acme, "-o", "json").out)
    golden("tenants", labcloud("tenant", "list", "-o", "json").out)


def test_create_and_set_print_what_show_prints(labcloud: Labcloud) -> None:
    created = labcloud(*CREATE, "-o", "json")
    assert json.loads(created.out) == json.loads(labcloud("tenant", "show", "acme", "-o", "json").out)
    changed = labcloud("tenant", "set", "acme", "--quota", "nodes=9", "-o", "json")
    assert json.loads(changed.out)["quotas"]["nodes"] == {"used": 0, "limit": 9}


def test_a_table_shows_what_is_used_of_what(labcloud: Labcloud, acme: str, cluster: str) -> None:
    lines = labcloud("tenant", "show", acme).out.splitlines()
    assert lines[0] == "acme  user id 20000"
    assert "clusters      1    4  █████░░░░░░░░░░░░░░░  25%" in lines
    assert "nodes         3    -" in lines
    assert "alice     20001  ssh-ed25519 alice@desk" in lines
    assert lines[-4:] == [
        "clusters: c",
        "subnet: 10.200.0.0/22",
        "notify: https://example.org/hook",
        "defaults: hdfs-site:dfs.replication=1, memory=2g",
    ]
    heading, row = labcloud("tenant", "list").out.splitlines()
    assert heading.split() == ["TENANT", "CLUSTERS", "NODES", "CPUS", "MEMORY", "VOLUMES", "MEMBERS"]
    assert row.split()[:3] == ["acme", "1/4", "3"]


def test_no_tenants_is_said(labcloud: Labcloud) -> None:
    done = labcloud("tenant", "list")
    assert (done.code, done.out, done.err) == (0, "", "no tenants; make one: labcloud tenant create T\n")


def test_create_again_says_that_nothing_had_to_be_done(labcloud: Labcloud, acme: str) -> None:
    done = labcloud(*CREATE)
    assert (done.code, done.err) == (0, "the tenant acme is there already; nothing had to be done\n")
    other = labcloud("tenant", "create", "acme", "--quota", "memory=1g")
    assert (other.code, other.err.splitlines()[0]) == (5, "error: the tenant acme exists already, and is declared differently")


def test_none_takes_things_away(labcloud: Labcloud, acme: str) -> None:
    argv = ("--quota", "memory=none", "--limit", "hadoop-2.7=none", "--default", "memory=none", "--subnet", "none", "--notify", "none")
    shown = json.loads(labcloud("tenant", "set", acme, *argv, "-o", "json").out)
    assert (shown["quotas"]["memory"]["limit"], shown["limits"], shown["subnet"], shown["notify"]) == (None, {}, "", "")
    assert shown["defaults"] == {"hdfs-site:dfs.replication": "1"}


def test_keys_come_from_a_file(labcloud: Labcloud, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "id.pub").write_text(f"# two\n{ED25519} one\n{ED25519} two\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for said in (f"@{tmp_path}/id.pub", "@~/id.pub"):
        shown = json.loads(labcloud("tenant", "create", "acme", "--member", f"alice={said}", "-o", "json").out)
        assert shown["members"][0]["keys"] == [f"{ED25519} one", f"{ED25519} two"]


def test_a_private_key_is_refused_and_stands_nowhere(labcloud: Labcloud, acme: str, home: Path, tmp_path: Path) -> None:
    (tmp_path / "id").write_text(PRIVATE)
    for said in (PRIVATE, f"@{tmp_path}/id"):
        done = labcloud("tenant", "set", acme, "--member", f"carol={said}")
        assert (done.code, done.err.splitlines()[0]) == (2, "error: the key of carol: this is a PRIVATE key: nothing of it was kept")
        assert PRIVATE.splitlines()[1] not in done.out + done.err
    kept = [path.read_bytes() for path in home.rglob("*") if path.is_file()]
    assert kept
    assert not any(PRIVATE.splitlines()[1].encode() in text for text in kept)


WRONG = [
    (("--quota", "memory"), "--quota 'memory' is not of the form NAME=VALUE"),
    (("--quota", "memory="), "--quota 'memory=' is not of the form NAME=VALUE"),
    (("--quota", "memory=1g", "--quota", "memory=2g"), "--quota names 'memory' twice"),
    (("--quota", "memory=-1g"), "the quota of memory cannot be '-1g'"),
    (("--quota", "memory=0"), "the quota of memory cannot be '0'"),
    (("--quota", "memory=99999999999g"), "the quota of memory cannot be '99999999999g'"),
    (("--quota", "cpus=nan"), "the quota of cpus cannot be 'nan'"),
    (("--quota", "cpus=inf"), "the quota of cpus cannot be 'inf'"),
    (("--quota", "nodes=0"), "the quota of nodes cannot be none: every cluster needs some"),
    (("--quota", "clutsers=1"), "there is no quota of 'clutsers'"),
    (("--limit", "hadoop-2.7=-1"), "'-1' is not a number of clusters"),
    (("--limit", "hadoop-9=1"), "a limit names the profile 'hadoop-9', which there is not"),
    (("--member", "root"), "the member name 'root' is reserved for an OS user or group"),
    (("--member", "acme"), "'acme' is the tenant's own user, and cannot be a member besides"),
    (("--member", "alice", "--member", "alice"), "the member 'alice' is named twice"),
    (("--member", "alice=ssh-rsa AAAA"), "the key of alice: this is not the public key of an ssh user"),
    (("--member", "alice=@/nowhere.pub"), "the key of alice: /nowhere.pub is no file of public keys that can be read"),
    (("--member", "alice=@/dev/zero"), "the key of alice: /dev/zero is no file of public keys that can be read"),
    (("--subnet", "8.8.8.0/24"), "8.8.8.0/24 is not a private network"),
    (("--subnet", "10.0.0.0/30"), "10.0.0.0/30 is too small: it has 1 addresses for nodes"),
    (("--subnet", "10.201.0.0/24"), "10.201.0.0/24 overlaps 10.201.0.0/22, the subnet of other"),
    (("--default", "memroy=2g"), "there is no default for 'memroy'"),
    (("--default", "lease=ever"), "the default of lease cannot be 'ever'"),
    (("--default", "set=replication=1"), "there is no default for 'replication'"),
    (("--notify", "hook"), "this is not the URL of a web service"),
]


@pytest.mark.parametrize(("argv", "said"), WRONG, ids=lambda each: " ".join(each) if isinstance(each, tuple) else "")
@pytest.mark.parametrize("verb", ["create", "set"])
def test_what_cannot_be_is_one_sentence_with_a_way_out(labcloud: Labcloud, home: Path, verb: str, argv: tuple[str, ...], said: str) -> None:
    if said.endswith("of other"):
        labcloud("tenant", "create", "other", "--subnet", "10.201.0.0/22")
    if verb == "set":
        labcloud("tenant", "create", "acme")
    before = {path: path.read_text() for path in home.glob("lab/tenants/*")}
    done = labcloud("tenant", verb, "acme", *argv)
    lines = done.err.splitlines()
    assert (done.code, done.out, lines[0], len(lines)) == (2, "", f"error: {said}", 2)
    assert lines[1].startswith("  try: ")
    assert {path: path.read_text() for path in home.glob("lab/tenants/*")} == before


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("verb", ["create", "set", "show", "delete"])
def test_a_hostile_name_is_refused(labcloud: Labcloud, home: Path, verb: str, name: str) -> None:
    done = labcloud("tenant", verb, *(("--yes",) if verb == "delete" else ()), "--", name)
    assert (done.code, done.out) == (2, "")
    assert not (home / "lab").exists()


def test_set_needs_something_to_set(labcloud: Labcloud, acme: str) -> None:
    assert labcloud("tenant", "set", acme).err.splitlines()[0] == "error: nothing is to change"


def test_a_quota_under_what_is_used_is_noted(labcloud: Labcloud, cluster: str) -> None:
    done = labcloud("tenant", "set", "acme", "--quota", "nodes=1")
    assert (done.code, done.err) == (0, "the quota of nodes is 1, and 3 are used: it blocks growth only\n")


def test_unknown_tenants_and_members_exit_with_4(labcloud: Labcloud, acme: str) -> None:
    assert labcloud("tenant", "show", "acne").err == (
        "error: there is no tenant acne\n  try: tenants: acme; make it: labcloud tenant create acne\n"
    )
    assert [labcloud("tenant", *argv).code for argv in (("show", "acne"), ("set", "acne", "--quota", "nodes=1"))] == [4, 4]
    done = labcloud("tenant", "set", acme, "--remove-member", "carol")
    assert (done.code, done.err.splitlines()[0]) == (4, "error: acme has no member 'carol'")


def test_a_broken_file_exits_with_3_and_names_file_and_line(labcloud: Labcloud, acme: str, home: Path) -> None:
    path = home / "lab" / "tenants" / "acme.yaml"
    path.write_text(path.read_text().replace("memory: 16g", "memory: lots"))
    done = labcloud("tenant", "set", acme, "--quota", "nodes=1")
    assert (done.code, done.err.splitlines()[1]) == (3, f"error: {path}:4: the quota of memory cannot be 'lots'")
    for argv in (("show", acme), ("list",)):  # what it said before is in force
        done = labcloud("tenant", *argv)
        assert (done.code, "16g" in done.out) == (0, True)
        assert done.err.startswith("note: tenants/acme.yaml:4: the quota of memory cannot be 'lots'; what it said at ")


def test_a_tenant_with_clusters_is_not_deleted_and_one_without_is(labcloud: Labcloud, cluster: str) -> None:
    done = labcloud("tenant", "delete", "acme", "--yes")
    said = "error: the tenant acme has 1 cluster: acme/c\n  try: delete them first: labcloud delete acme/c\n"
    assert (done.code, done.out, done.err) == (5, "", said)
    labcloud("delete", cluster, "--yes")
    done = labcloud("tenant", "delete", "acme", "--provider", "simulated", "--yes")
    assert (done.code, done.out, done.err) == (0, "", "the tenant acme is deleted\n")
    assert labcloud("tenant", "delete", "acme", "--provider", "simulated", "--yes").code == 4


def test_members_work_as_themselves(labcloud: Labcloud, acme: str, cluster: str) -> None:
    for argv in (("--as", "alice", cluster, "id", "-un"), (cluster, "--as", "alice", "--", "id", "-un")):
        assert labcloud("exec", *argv).out == "alice\n"
    assert labcloud("exec", "--as", "alice", cluster, "id", "-u").out == "20001\n"
    assert labcloud("exec", "--as", "acme", cluster, "id", "-un").out == "acme\n"


def test_who_is_no_member_does_not_work_here(labcloud: Labcloud, acme: str, cluster: str) -> None:
    for argv in (
        ("exec", "--as", "carol", cluster, "true"),
        ("shell", "--as", "carol", cluster),
        ("submit", "--as", "carol", cluster, "x"),
    ):
        done = labcloud(*argv)
        assert (done.code, done.err.splitlines()[0]) == (4, "error: acme has no member 'carol'")
    labcloud("tenant", "set", acme, "--remove-member", "alice")
    assert labcloud("exec", "--as", "alice", cluster, "true").code == 4


def test_two_answers_to_who_it_is_are_refused(labcloud: Labcloud, acme: str, cluster: str) -> None:
    assert labcloud("exec", "--as", "alice", "--user", "hdfs", cluster, "true").code == 2
