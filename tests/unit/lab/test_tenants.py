"""Tenants: what is wrong in their files is said with its line, what is written is read the same, ids are nobody else's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labcloud.errors import ConfigError, ConflictError, UsageError
from labcloud.lab import Lab
from labcloud.lab.documents import dump
from labcloud.lab.edit import update
from labcloud.lab.tenants import numbered, read_tenant, tenant_document
from labcloud.model import Member, Resource, Tenant
from tests.unit.lab.conftest import make_cluster
from tests.unit.model.test_protection import terms

PATH = Path("/lab/tenants/acme.yaml")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
GOOD = f"""\
user_id: 20001
quotas:
  clusters: 4
  memory: 16g
  cpus: 0.5
  volumes: 100g
limits:
  hadoop-3.4: 2
members:
- name: alice
  user_id: 20002
  keys:
  - {KEY} alice@desk
- {{name: bob, user_id: 20003}}
former:
  carol: 20004
subnet: 10.200.0.0/22
defaults:
  memory: 2g
  lease: 8h
  hdfs-site:dfs.replication: 2
notify: https://chat.example.org/hook
"""
FULL = Tenant(
    "acme", 20001,
    quotas={Resource.CLUSTERS: 4, Resource.MEMORY: 16384, Resource.CPUS: 0.5, Resource.VOLUMES: 100},
    limits={"hadoop-3.4": 2},
    members=(Member("alice", 20002, (f"{KEY} alice@desk",)), Member("bob", 20003)),
    subnet="10.200.0.0/22",
    defaults={"memory": "2g", "lease": "8h", "hdfs-site:dfs.replication": "2"},
    notify="https://chat.example.org/hook",
    former={"carol": 20004},
)  # fmt: skip


def test_a_whole_tenant_is_read() -> None:
    assert read_tenant(GOOD, "acme", PATH) == FULL


def test_what_is_empty_is_left_out() -> None:
    assert tenant_document(Tenant("acme", 20000)) == {"user_id": 20000}
    assert read_tenant("user_id: 20000\n", "acme", PATH) == Tenant("acme", 20000)


def test_amounts_are_written_as_people_write_them() -> None:
    assert tenant_document(FULL)["quotas"] == {"clusters": 4, "cpus": 0.5, "memory": "16g", "volumes": "100g"}


names = st.from_regex(r"[b-z][a-z]{2,8}x", fullmatch=True)
printable = st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126))
amounts = {
    Resource.CLUSTERS: st.integers(0, 999), Resource.NODES: st.integers(1, 999), Resource.MEMORY: st.integers(1, 999_999),
    Resource.CPUS: st.integers(1, 99999).map(lambda n: n / 1000), Resource.VOLUMES: st.integers(1, 9999),
    Resource.SNAPSHOTS: st.integers(0, 99), Resource.BACKUPS: st.integers(0, 9999),
}  # fmt: skip
members = st.lists(names, unique=True, max_size=4).map(lambda found: tuple(Member(name, 20001 + n, (KEY,)) for n, name in enumerate(found)))
tenants = st.builds(
    Tenant, st.just("acme"), st.just(20000),
    quotas=st.fixed_dictionaries({}, optional=amounts),
    limits=st.dictionaries(names, st.integers(0, 9), max_size=3),
    members=members,
    subnet=st.sampled_from(["", "10.9.0.0/24", "192.168.4.0/22"]),
    defaults=st.fixed_dictionaries({}, optional={"memory": st.just("2g"), "hdfs-site:a.b": printable}),
    notify=st.sampled_from(["", "https://example.org/x?y=1"]),
    former=st.dictionaries(names, st.integers(30000, 30009), max_size=1),
    backup=terms,
)  # fmt: skip


@given(tenants)
def test_what_is_written_is_read_the_same(tenant: Tenant) -> None:
    assert read_tenant(dump(tenant_document(tenant)), "acme", PATH) == tenant


@given(tenants, tenants)
def test_an_updated_text_says_what_is_wanted(old: Tenant, new: Tenant) -> None:
    text = "# head\n" + dump(tenant_document(old)) + "# tail\n"
    assert read_tenant(update(text, tenant_document(new)), "acme", PATH) == new


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read_tenant(text, "acme", PATH)
    except ConfigError as exc:
        assert exc.brief.startswith(f"{PATH}:")


WRONG = [
    ("user_id: 20001", "user_id: 7", 1, "whole number from 20000"),
    ("user_id: 20001", "user: 20001", 1, "'user' means nothing here"),
    ("quotas:\n", "quota:\n", 2, "'quota' means nothing here"),
    ("clusters: 4", "clutsers: 4", 3, "there is no quota of 'clutsers'"),
    ("clusters: 4", "clusters: -4", 3, "the quota of clusters cannot be '-4'"),
    ("clusters: 4", "clusters: .nan", 3, "the quota of clusters cannot be '.nan'"),
    ("clusters: 4", "clusters: 99999999", 3, "the quota of clusters cannot be '99999999'"),
    ("memory: 16g", "memory: 16", 4, "the quota of memory cannot be '16'"),
    ("memory: 16g", "memory: [16g]", 4, "one value is expected here"),
    ("cpus: 0.5", "cpus: inf", 5, "the quota of cpus cannot be 'inf'"),
    ("cpus: 0.5", "cpus: 0", 5, "cannot be none"),
    ("hadoop-3.4: 2", "hadoop-3.4: two", 8, "'two' is not a number of clusters"),
    ("hadoop-3.4: 2", "../x: 2", 8, "'../x' is not a profile"),
    ("hadoop-3.4: 2", "hadoop-9: 2", 8, "the profile 'hadoop-9', which there is not"),
    ("name: alice", "name: root", 10, "the member name 'root' is reserved"),
    ("name: alice", "name: Alice", 10, "'Alice' cannot name a member"),
    ("name: alice", "name: acme", 10, "is the tenant's own user"),
    ("user_id: 20002", "user_id: 20100", 11, "the user id 20100 is taken in the tenant other"),
    ("user_id: 20002", "user_id: 20001", 1, "two people of this tenant have the same user id"),
    ("ssh-ed25519 ", "ssh-dss ", 13, "this is not the public key of an ssh user"),
    ("name: bob", "name: alice", 14, "the member 'alice' is declared twice"),
    ("10.200.0.0/22", "8.8.8.0/24", 17, "is not a private network"),
    ("10.200.0.0/22", "10.201.4.0/22", 17, "10.201.4.0/22 overlaps 10.201.0.0/16, the subnet of other"),
    ("memory: 2g", "memroy: 2g", 19, "there is no default for 'memroy'"),
    ("memory: 2g", "memory: much", 19, "the default of memory cannot be 'much'"),
    ("lease: 8h", "lease: never", 20, "the default of lease cannot be 'never'"),
    ("https://", "ftp://", 22, "this is not the URL of a web service"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "said"), WRONG)
def test_what_is_wrong_is_said_with_its_line(old: str, new: str, line: int, said: str) -> None:
    assert old in GOOD
    other = Tenant("other", 20100, subnet="10.201.0.0/16")
    with pytest.raises(ConfigError) as caught:
        read_tenant(GOOD.replace(old, new, 1), "acme", PATH, profiles=["hadoop-3.4"], others=[other])
    assert caught.value.brief.startswith(f"{PATH}:{line}: ")
    assert said in caught.value.brief
    assert caught.value.resolution


def test_a_private_key_in_a_file_is_refused_without_a_word_of_it() -> None:
    text = (
        "user_id: 20001\nmembers:\n- name: alice\n  user_id: 20002\n  keys:\n  - |\n    -----BEGIN OPENSSH PRIVATE KEY-----\n    c2VjcmV0\n"
    )
    with pytest.raises(ConfigError, match=r"acme\.yaml:6: this is a PRIVATE key") as caught:
        read_tenant(text, "acme", PATH)
    assert "c2VjcmV0" not in caught.value.brief + caught.value.details + caught.value.resolution


def test_a_tenant_is_checked_against_the_others_only_where_profiles_are_given(lab: Lab) -> None:
    for name in ("a", "b"):
        lab.ensure_tenant(name)
        (lab.home / "lab" / "tenants" / f"{name}.yaml").write_text("user_id: 20000\nlimits: {hadoop-9: 1}\n")
    assert [each.user_id for each in lab.tenants()] == [20000, 20000]
    with pytest.raises(ConfigError, match=r"b\.yaml:1: the user id 20000 is taken in the tenant a"):
        lab.tenant("b", profiles=["hadoop-9"])


def test_who_has_no_id_gets_the_lowest_free_one(lab: Lab) -> None:
    created = lab.create_tenant(Tenant("acme", 0, members=(Member("alice", 0), Member("bob", 0))), "create")
    assert (created.user_id, [each.user_id for each in created.members]) == (20000, [20001, 20002])
    assert lab.tenant("acme") == created
    assert lab.ensure_tenant("other").user_id == 20003
    assert lab.save_tenant(replace(created, members=(*created.members, Member("carol", 0))), "add carol")
    changed = lab.tenant("acme")
    assert changed is not None
    assert changed.members[2] == Member("carol", 20004)


def test_ids_of_members_that_left_are_nobody_elses(lab: Lab) -> None:
    lab.create_tenant(Tenant("acme", 0, former={"alice": 20001}), "create")
    assert lab.ensure_tenant("other").user_id == 20002


def test_nothing_new_is_no_commit(lab: Lab, git: Callable[..., str]) -> None:
    tenant = lab.create_tenant(Tenant("acme", 0, quotas={Resource.NODES: 3.0}), "create")
    assert lab.save_tenant(tenant, "again") is False
    assert lab.save_tenant(replace(tenant, quotas={}), "no quotas") is True
    assert git("log", "--reverse", "--format=%s").splitlines()[1:] == ["create", "no quotas"]


def test_comments_survive(lab: Lab) -> None:
    tenant = lab.create_tenant(Tenant("acme", 0, quotas={Resource.NODES: 3.0}), "create")
    path = lab.home / "lab" / "tenants" / "acme.yaml"
    path.write_text("# the class of 2026\n" + path.read_text().replace("nodes: 3", "nodes: 3  # for now"))
    lab.save_tenant(replace(tenant, quotas={Resource.NODES: 9.0}), "grow")
    assert path.read_text() == "# the class of 2026\nuser_id: 20000\nquotas:\n  nodes: 9  # for now\n"


def test_a_tenant_is_created_once(lab: Lab) -> None:
    lab.ensure_tenant("acme")
    with pytest.raises(ConflictError, match="the tenant acme exists already"):
        lab.create_tenant(Tenant("acme", 0), "create")


@pytest.mark.parametrize(
    ("tenant", "said"),
    [
        (Tenant("b", 0, subnet="10.200.1.0/24"), "overlaps 10.200.0.0/22, the subnet of a"),
        (Tenant("b", 20000), "the user id 20000 is taken in the tenant a"),
        (Tenant("b", 0, members=(Member("alice", 20001),)), "the user id 20001 is taken in the tenant a"),
    ],
)
def test_what_another_tenant_has_is_refused(lab: Lab, tenant: Tenant, said: str) -> None:
    lab.create_tenant(Tenant("a", 0, subnet="10.200.0.0/22", members=(Member("bob", 0),)), "create")
    with pytest.raises(UsageError, match=said):
        lab.create_tenant(tenant, "create")
    assert [each.name for each in lab.tenants()] == ["a"]


def test_a_tenant_with_clusters_is_not_removed(lab: Lab) -> None:
    lab.ensure_tenant("acme")
    lab.save(make_cluster(), "create")
    with pytest.raises(ConflictError, match=r"the tenant acme has 1 clusters: hadoop-2\.7") as caught:
        lab.remove_tenant("acme", "delete")
    assert caught.value.resolution == "delete them first: labcloud delete acme/hadoop-2.7"
    lab.remove(make_cluster().ref, "delete")
    assert (lab.remove_tenant("acme", "delete"), lab.remove_tenant("acme", "again"), lab.tenants()) == (True, False, [])


@given(st.sets(st.integers(20000, 20020)), st.integers(0, 5))
def test_numbers_are_new_and_the_lowest(taken: set[int], count: int) -> None:
    tenant = numbered(Tenant("acme", 0, members=tuple(Member(f"m{n}", 0) for n in range(count))), taken)
    given_out = [tenant.user_id, *(each.user_id for each in tenant.members)]
    assert given_out == sorted(set(range(20000, 20040)) - taken)[: count + 1]
