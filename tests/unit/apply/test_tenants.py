"""The verbs for tenants on the simulated engine: what is declared, what running clusters have of it, what is refused."""

from __future__ import annotations

import json

import pytest

from labcloud.apply.clusters import Clusters
from labcloud.apply.journal import Result as Outcome
from labcloud.apply.tenancy import Change, Use, changed, overdrawn, view
from labcloud.apply.tenants import Tenants
from labcloud.apply.watch import Watch
from labcloud.errors import ConfigError, ConflictError, EngineError, NotFoundError, PartlyDoneError, UsageError
from labcloud.model import ClusterRef, Member, NodeRef, Resource, Tenant
from labcloud.providers.base import Command, Result
from labcloud.providers.simulated import Faults, Killed, SimulatedProvider
from tests.unit.apply.conftest import REF, TERMS, Shop, asked
from tests.unit.lab.conftest import make_cluster

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
OTHER = ClusterRef("acme", "other")
ALICE = Change(members={"alice": (KEY,)})


def tenants(shop: Shop, provider: SimulatedProvider | None = None, *, faults: Faults | None = None, watch: Watch | None = None) -> Tenants:
    engine = provider or shop.provider(faults=faults)
    clusters = Clusters(shop.lab, shop.journal(), lambda _: engine, watch or shop.watch)
    return Tenants(shop.lab, shop.journal(), lambda _: engine, watch or shop.watch, clusters)


def read(shop: Shop, node: str, path: str) -> str | None:
    done = shop.provider().execute(NodeRef.parse(REF, node), Command(("cat", path)))
    return None if done.exit_code else done.stdout.decode()


# What a change makes of a tenant


def test_only_what_is_named_changes() -> None:
    tenant = Tenant(
        "acme", 20000, quotas={Resource.NODES: 3.0}, limits={"p": 1}, subnet="10.9.0.0/24", defaults={"memory": "2g"}, notify="u"
    )
    assert changed(tenant, Change()) == tenant
    after = changed(tenant, Change(quotas={Resource.CPUS: 2.0}, limits={"p": None}, subnet="", defaults={"cpus": "1"}))
    assert after == Tenant(
        "acme", 20000, quotas={Resource.NODES: 3.0, Resource.CPUS: 2.0}, defaults={"memory": "2g", "cpus": "1"}, notify="u"
    )
    assert changed(after, Change(quotas={Resource.CPUS: None, Resource.NODES: None}, notify="")).quotas == {}


def test_who_leaves_is_remembered_and_comes_back_with_the_same_id() -> None:
    tenant = Tenant("acme", 20000, members=(Member("alice", 20001, (KEY,)), Member("bob", 20002)))
    left = changed(tenant, Change(leavers=("alice",), members={"carol": ()}))
    assert (left.members, left.former) == ((Member("bob", 20002), Member("carol", 0)), {"alice": 20001})
    back = changed(left, ALICE)
    assert (back.members[-1], back.former) == (Member("alice", 20001, (KEY,)), {})


def test_a_member_that_is_named_again_gets_other_keys_only() -> None:
    tenant = Tenant("acme", 20000, members=(Member("alice", 20001), Member("bob", 20002)))
    assert changed(tenant, ALICE).members == (Member("alice", 20001, (KEY,)), Member("bob", 20002))


def test_who_is_no_member_cannot_leave() -> None:
    with pytest.raises(NotFoundError, match="acme has no member 'bob'") as caught:
        changed(Tenant("acme", 20000, members=(Member("alice", 20001),)), Change(leavers=("bob",)))
    assert caught.value.resolution == "its members: alice"
    with pytest.raises(UsageError, match="cannot be a member and be removed"):
        changed(Tenant("acme", 20000, members=(Member("alice", 20001),)), Change(leavers=("alice",), members={"alice": ()}))


def test_a_view_has_every_resource_and_every_profile() -> None:
    tenant = Tenant("acme", 20000, quotas={Resource.NODES: 6.0, Resource.CPUS: 0.5}, limits={"hadoop-3.4": 2})
    shown = view(tenant, [make_cluster("acme", "c")])
    assert shown.quotas.keys() == {str(each) for each in Resource}
    assert (shown.quotas["nodes"], shown.quotas["cpus"], shown.quotas["memory"]) == (Use(3, 6), Use(2, 0.5), Use(5120, None))
    assert shown.limits == {"hadoop-2.7": Use(1, None), "hadoop-3.4": Use(0, 2)}
    assert "3.0" not in json.dumps([use.used for use in shown.quotas.values()])


def test_limits_under_what_is_used_are_told() -> None:
    tenant = Tenant("acme", 20000, quotas={Resource.MEMORY: 4096.0, Resource.NODES: 3.0}, limits={"hadoop-2.7": 0})
    assert overdrawn(tenant, [make_cluster("acme", "c")]) == [
        "the quota of memory is 4g, and 5g are used: it blocks growth only",
        "the limit of hadoop-2.7 is 0, and 1 are used: it blocks growth only",
    ]


# The verbs


def test_a_tenant_is_declared_once(shop: Shop) -> None:
    change = Change(quotas={Resource.MEMORY: 16384.0}, members={"alice": (KEY,)})
    assert [tenants(shop).create("acme", change, TERMS) for _ in range(2)] == [True, False]
    assert shop.lab.tenant("acme") == Tenant("acme", 20000, quotas={Resource.MEMORY: 16384.0}, members=(Member("alice", 20001, (KEY,)),))
    with pytest.raises(ConflictError, match="exists already, and is declared differently"):
        tenants(shop).create("acme", Change(quotas={Resource.MEMORY: 1024.0}), TERMS)
    assert not (shop.home / "locks" / "acme").exists()


def test_the_journal_has_what_was_asked_without_keys_and_addresses(shop: Shop) -> None:
    tenants(shop).create("acme", Change(members={"alice": (KEY,)}, notify="https://example.org/t0ken", subnet="10.9.0.0/24"), TERMS)
    (record,) = shop.journal().operations()
    assert (record.verb, record.target, record.result) == ("tenant create", "acme", Outcome.OK)
    assert record.spec == {"members": ["alice"], "subnet": "10.9.0.0/24", "notify": True}
    lines = "".join(path.read_text() for path in (shop.home / "journal").iterdir())
    assert "t0ken" not in lines
    assert KEY not in lines


def test_running_nodes_have_changed_members_and_nothing_restarts(shop: Shop) -> None:
    shop.clusters().create(asked(), TERMS)
    before = {node.ref: node.engine_id for node in shop.found().nodes}
    faults = Faults()
    tenants(shop, faults=faults).set("acme", ALICE, TERMS)
    for node in ("master-0", "worker-0", "worker-1"):
        assert read(shop, node, "/home/alice/.ssh/authorized_keys") == f"{KEY}\n"
        assert read(shop, node, "/etc/labcloud/cluster/users") == "alice 20001\n"
    assert {node.ref: node.engine_id for node in shop.found().nodes} == before
    assert set(faults.names()) <= {"find", "ensure_config", "execute", "request"}
    tenants(shop).set("acme", Change(leavers=("alice",)), TERMS)
    assert read(shop, "worker-1", "/home/alice/.ssh/authorized_keys") == ""
    assert read(shop, "worker-1", "/etc/labcloud/cluster/users") is None


def test_members_have_homes_in_hdfs(shop: Shop) -> None:
    shop.clusters().create(asked(), TERMS)
    tenants(shop).set("acme", Change(members={"alice": (), "bob": ()}), TERMS)
    listing = shop.provider().execute(NodeRef.parse(REF, "master-0"), Command(("hdfs", "dfs", "-ls", "-R", "/user"))).stdout.decode()
    assert {line.split()[-1]: line.split()[2] for line in listing.splitlines()} == {
        f"/user/{each}": each for each in ("acme", "alice", "bob")
    }


def test_a_new_cluster_has_the_members_from_the_start(shop: Shop) -> None:
    tenants(shop).create("acme", ALICE, TERMS)
    shop.clusters().create(asked(), TERMS)
    assert read(shop, "worker-0", "/etc/labcloud/cluster/authorized_keys/alice") == f"{KEY}\n"
    assert "update" not in " ".join(event.text for event in shop.events)
    listing = shop.provider().execute(NodeRef.parse(REF, "master-0"), Command(("hdfs", "dfs", "-ls", "-R", "/user"))).stdout.decode()
    assert "/user/alice" in listing


def test_a_stopped_cluster_learns_of_its_members_when_it_starts(shop: Shop) -> None:
    shop.clusters().create(asked(), TERMS)
    shop.clusters().stop(REF, TERMS)
    faults = Faults()
    tenants(shop, faults=faults).set("acme", ALICE, TERMS)
    assert "ensure_config" not in faults.names()
    shop.clusters().start(REF, TERMS)
    assert read(shop, "worker-0", "/etc/labcloud/cluster/users") == "alice 20001\n"


def test_other_changes_do_not_touch_clusters(shop: Shop) -> None:
    shop.clusters().create(asked(), TERMS)
    faults = Faults()
    tenants(shop, faults=faults).set("acme", Change(quotas={Resource.NODES: 9.0}), TERMS)
    assert faults.names() == []


def test_a_run_that_died_is_finished_by_running_it_again(shop: Shop) -> None:
    shop.clusters().create(asked(), TERMS)
    faults = Faults()
    faults.die(name="execute", number=2)
    with pytest.raises(Killed):
        tenants(shop, faults=faults, watch=Watch()).set("acme", ALICE, TERMS)
    assert read(shop, "worker-0", "/etc/labcloud/cluster/users.unread") == ""
    tenants(shop).set("acme", ALICE, TERMS)
    assert read(shop, "worker-0", "/etc/labcloud/cluster/users.unread") is None
    assert [read(shop, node, "/home/alice/.ssh/authorized_keys") for node in ("master-0", "worker-0", "worker-1")] == [f"{KEY}\n"] * 3


def test_a_cluster_that_cannot_be_told_is_named_and_the_others_are_told(shop: Shop, no_pauses: None) -> None:
    for ref in (REF, OTHER):
        shop.clusters().create(asked(ref), TERMS)
    faults = Faults()
    faults.fail(EngineError("it is busy"), name="ensure_config", target="acme/c")
    with pytest.raises(PartlyDoneError, match="1 of 2 clusters do not have them yet: acme/c") as caught:
        tenants(shop, faults=faults).set("acme", ALICE, TERMS)
    assert (caught.value.details, caught.value.resolution) == ("acme/c: it is busy", "run the same command again")
    assert shop.found().configs[OTHER].keys() >= {"master-0/users"}
    assert (shop.lab.tenant("acme") or Tenant("", 0)).members == (Member("alice", 20001, (KEY,)),)


def test_a_node_that_cannot_make_users_is_named(shop: Shop) -> None:
    shop.clusters().create(asked(), TERMS)
    engine = shop.provider()
    engine.answer(("/usr/lib/labcloud/users",), Result(127, stderr=b"no such file"))
    with pytest.raises(PartlyDoneError) as caught:
        tenants(shop, engine).set("acme", ALICE, TERMS)
    assert "did not make the users of its tenant's members" in caught.value.details
    assert "no such file" in caught.value.details


def test_a_quota_under_what_is_used_is_allowed_and_told(shop: Shop) -> None:
    shop.clusters().create(asked(), TERMS)
    notes = tenants(shop).set("acme", Change(quotas={Resource.NODES: 1.0}), TERMS)
    assert notes == ["the quota of nodes is 1, and 3 are used: it blocks growth only"]
    assert tenants(shop).set("acme", Change(defaults={"memory": "2g"}), TERMS) == []


def test_another_subnet_counts_for_the_next_network(shop: Shop) -> None:
    shop.clusters().create(asked(), TERMS)
    notes = tenants(shop).set("acme", Change(subnet="10.9.0.0/24"), TERMS)
    assert notes == ["the network of acme stays where it is until its last cluster is deleted"]
    shop.clusters().delete(REF, TERMS)
    plan = shop.clusters().create(asked(), TERMS)
    assert str(plan.stages[0][0]) == "make the network of acme in 10.9.0.0/24"
    with pytest.raises(UsageError, match=r"overlaps 10\.9\.0\.0/24, the subnet of acme"):
        tenants(shop).create("other", Change(subnet="10.9.0.128/25"), TERMS)


def test_a_network_that_somebody_took_away_is_made_again_in_the_subnet(shop: Shop) -> None:
    tenants(shop).create("acme", Change(subnet="10.9.0.0/24"), TERMS)
    faults = Faults()
    faults.fail(NotFoundError("no network"), name="ensure_node", number=1)
    shop.clusters(faults=faults).create(asked(), TERMS)
    assert shop.world.lab(shop.lab.id).networks == {"acme": "10.9.0.0/24"}


def test_a_limit_of_an_unknown_profile_is_refused_and_can_be_taken_away(shop: Shop) -> None:
    with pytest.raises(UsageError, match="the profile 'hadoop-9', which there is not"):
        tenants(shop).create("acme", Change(limits={"hadoop-9": 1}), TERMS)
    assert shop.lab.tenants() == []
    shop.lab.create_tenant(Tenant("acme", 0, limits={"hadoop-9": 1}), "by hand")
    with pytest.raises(ConfigError, match=r"acme\.yaml:3: a limit names the profile 'hadoop-9'"):
        tenants(shop).show("acme")
    tenants(shop).set("acme", Change(limits={"hadoop-9": None}), TERMS)
    assert tenants(shop).show("acme").limits == {}


def test_delete_takes_the_network_too(shop: Shop) -> None:
    tenants(shop).create("acme", ALICE, TERMS)
    shop.provider().ensure_network("acme")
    tenants(shop).delete("acme", TERMS)
    assert (shop.found().networks, shop.lab.tenants()) == (frozenset(), [])
    with pytest.raises(NotFoundError, match="there is no tenant acme"):
        tenants(shop).delete("acme", TERMS)


def test_a_tenant_with_clusters_is_not_deleted(shop: Shop) -> None:
    for ref in (REF, OTHER):
        shop.clusters().create(asked(ref), TERMS)
    with pytest.raises(ConflictError, match="the tenant acme has 2 clusters: acme/c, acme/other") as caught:
        tenants(shop).delete("acme", TERMS)
    assert caught.value.resolution == "delete them first: labcloud delete acme/c acme/other"
    assert shop.found().networks == {"acme"}


def test_nodes_that_nobody_declared_keep_their_tenant(shop: Shop) -> None:
    shop.clusters().create(asked(), TERMS)
    shop.lab.remove(REF, "by hand")
    with pytest.raises(ConflictError, match="the tenant acme has 1 cluster: acme/c"):
        tenants(shop).delete("acme", TERMS)
    assert [tenant.name for tenant in shop.lab.tenants()] == ["acme"]


@pytest.mark.parametrize("engines", [{"docker"}, {"simulated"}, {"simulated", "mine"}])
def test_the_network_is_looked_for_where_the_labs_clusters_are(shop: Shop, engines: set[str]) -> None:
    asked_for = set()
    engine = shop.provider()

    def opened(name: str) -> SimulatedProvider:
        asked_for.add(name)
        return engine

    defaults = {"provider": "mine"} if "mine" in engines else {}
    shop.lab.create_tenant(Tenant("acme", 0, defaults=defaults), "create")
    if "simulated" in engines:
        shop.lab.save(make_cluster("other", provider="simulated"), "create")
    clusters = Clusters(shop.lab, shop.journal(), opened, shop.watch)
    Tenants(shop.lab, shop.journal(), opened, shop.watch, clusters).delete("acme", TERMS)
    assert asked_for == engines


def test_an_unknown_tenant_is_told_with_those_that_there_are(shop: Shop) -> None:
    shop.lab.ensure_tenant("acme")
    for verb in (lambda: tenants(shop).show("acne"), lambda: tenants(shop).set("acne", ALICE, TERMS)):
        with pytest.raises(NotFoundError, match="there is no tenant acne") as caught:
            verb()
        assert caught.value.resolution == "tenants: acme; make it: labcloud tenant create acne"


# What an engine has of a tenant


class Accounts(SimulatedProvider):
    """An engine on which each tenant has an account."""

    def __init__(self, shop: Shop) -> None:
        super().__init__(shop.lab.home, shop.lab.id, world=shop.world)
        self.accounts: dict[str, dict[str, float]] = {}

    def ensure_tenant(self, tenant: Tenant) -> None:
        self.accounts[tenant.name] = {str(name): amount for name, amount in tenant.quotas.items()}

    def delete_tenant(self, tenant: str) -> bool:
        return self.accounts.pop(tenant, None) is not None


def test_its_engine_has_an_account_of_it_from_its_birth_to_its_end(shop: Shop) -> None:
    engine = Accounts(shop)
    verbs = tenants(shop, engine)
    here = Change(quotas={Resource.NODES: 3.0}, defaults={"provider": "simulated"})
    assert verbs.create("red", here, TERMS, "simulated")
    assert (engine.accounts, engine.find(tenant="red").networks) == ({"red": {"nodes": 3.0}}, frozenset({"red"}))
    assert not verbs.create("red", here, TERMS, "simulated"), "again, it finishes what was broken off"
    verbs.set("red", Change(quotas={Resource.NODES: 5.0}), TERMS)
    assert engine.accounts == {"red": {"nodes": 5.0}}
    verbs.delete("red", TERMS)
    assert (engine.accounts, engine.find(tenant="red").networks) == ({}, frozenset())
