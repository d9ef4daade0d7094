"""Tenants as Keystone projects: made, limited, walled off from each other, adopted, deleted with nothing left."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openstack
import pytest
import yaml
from openstack.connection import Connection

from labcloud.errors import ConflictError, EngineError, QuotaError
from labcloud.lab import Lab
from labcloud.model import ClusterRef, NodeRef, NodeSpec, NodeVolume, Resource, Status, Tenant
from labcloud.providers.openstack.projects import ADOPT
from labcloud.providers.openstack.tenants import TenantProjects, provider
from tests.openstack.inventory import inventory
from tests.openstack.test_provider import MEMORY
from tests.openstack.without_guests import WithoutGuests

pytestmark = pytest.mark.timeout(900)

QUOTAS = {Resource.NODES: 2, Resource.CPUS: 4, Resource.MEMORY: 4096, Resource.VOLUMES: 10}


@dataclass
class Lands:
    """A lab whose tenants have projects, and what an administrator sees of them."""

    engine: TenantProjects
    home: Path
    lab: str
    image: str
    mark: str
    admin: Connection

    def tenant(self, name: str, **changed: Any) -> Tenant:
        return Tenant(f"{name}-{self.mark}", 20001, **changed)

    def make(self, tenant: Tenant, index: int = 0) -> NodeSpec:
        cluster = ClusterRef(tenant.name, "one")
        spec = NodeSpec(NodeRef(cluster, "worker", index), self.image, "tiny", MEMORY, 1.0, (NodeVolume(),))
        self.engine.ensure_network(tenant.name)
        self.engine.ensure_config(cluster, {"worker-0/greeting": "hello\n"})
        self.engine.ensure_nodes([spec])
        return spec

    def clean(self, tenant: Tenant) -> None:
        found = self.engine.find(tenant=tenant.name)
        self.engine.delete_nodes([node.ref for node in found.nodes])
        for cluster in found.configs:
            self.engine.delete_config(cluster)
        self.engine.delete_network(tenant.name)
        self.engine.delete_tenant(tenant.name)

    def project(self, tenant: Tenant) -> Any:
        return self.admin.identity.find_project(tenant.name)

    def as_tenant(self, tenant: Tenant) -> Connection:
        """What the tenant's own user sees, by the file that labcloud wrote for it."""
        path = self.home / "secrets/openstack" / f"{tenant.name}.clouds.yaml"
        assert path.stat().st_mode & 0o777 == 0o600
        config = openstack.config.OpenStackConfig(config_files=[str(path)], load_envvars=False)
        return Connection(config=config.get_one(cloud=tenant.name))


@pytest.fixture
def lands(cloud: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lands]:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud.clouds_yaml))
    monkeypatch.setenv("OS_CLOUD", "admin")
    home, mark = tmp_path / "home", secrets.token_hex(3)
    lab = Lab(home)
    lab.ensure_tenant(f"ost-{mark}")
    (home / "lab/openstack.yaml").write_text("projects: true\n")
    before = inventory(cloud.admin)
    with ExitStack() as undo:
        kind = {"disk_format": "raw", "container_format": "bare", "visibility": "public", "labcloud_image": f"tiny-{mark}"}
        image = cloud.admin.create_image(f"tiny-{mark}", data=b"no guest reads this", wait=True, **kind)
        undo.callback(cloud.admin.image.delete_image, image)
        engine = TenantProjects(home, lab.id, nodes=WithoutGuests(home))
        undo.callback(engine.close)
        yield Lands(engine, home, lab.id, engine.image(f"tiny-{mark}"), mark, cloud.admin)
    assert {each.name for each in cloud.admin.identity.projects() if each.name.endswith(mark)} == set()
    assert {each.name for each in cloud.admin.identity.users() if each.name.endswith(mark)} == set()
    assert inventory(cloud.admin) == before


def test_each_tenant_has_its_own_project_with_its_quotas(lands: Lands) -> None:
    one, other = lands.tenant("red", quotas=QUOTAS), lands.tenant("green")
    with ExitStack() as undo:
        for each in (one, other):
            undo.callback(lands.clean, each)
            lands.engine.ensure_tenant(each)
        project = lands.project(one)
        assert {f"labcloud.lab={lands.lab}", f"labcloud.tenant={one.name}"} <= set(project.tags)
        quotas = lands.admin.compute.get_quota_set(project.id)
        assert (quotas.instances, quotas.cores, quotas.ram) == (2, 4, 4096)
        assert lands.admin.block_storage.get_quota_set(project.id).gigabytes == 10
        lands.engine.ensure_tenant(lands.tenant("red", quotas=QUOTAS | {Resource.NODES: 3}))
        assert lands.admin.compute.get_quota_set(project.id).instances == 3
        common = lands.admin.compute.get_quota_set(lands.project(other).id).cores
        lands.engine.ensure_tenant(lands.tenant("red", quotas={Resource.NODES: 1}))
        assert lands.admin.compute.get_quota_set(project.id).cores == common, "what is taken away is the cloud's own again"
        lands.engine.ensure_tenant(one)

        specs = [lands.make(one), lands.make(other)]
        assert {node.ref: node.status for node in lands.engine.find().nodes} == {spec.ref: Status.RUNNING for spec in specs}
        assert [node.ref for node in lands.engine.find(tenant=one.name).nodes] == [specs[0].ref]
        for tenant, spec in zip((one, other), specs, strict=True):
            with lands.as_tenant(tenant) as seen:
                assert [each.name for each in seen.compute.servers()] == [f"{tenant.name}.one.{spec.ref.name}"]
                assert [each.name for each in seen.network.networks(**{"router:external": False})] == [f"labcloud-{tenant.name}"]
        lands.make(one, 1)
        with pytest.raises(QuotaError):
            lands.make(one, 2)


def test_a_project_of_the_tenants_name_is_adopted_and_let_go_of(lands: Lands) -> None:
    tenant = lands.tenant("blue")
    project = lands.admin.identity.create_project(name=tenant.name, tags=["ours"])
    try:
        with pytest.raises(ConflictError, match="which labcloud has not made") as caught:
            lands.engine.ensure_tenant(tenant)
        assert f"--tag {ADOPT} {tenant.name}" in caught.value.resolution
        project.add_tag(lands.admin.identity, ADOPT)
        lands.engine.ensure_tenant(tenant)
        assert set(lands.project(tenant).tags) == {"ours", ADOPT, f"labcloud.lab={lands.lab}", f"labcloud.tenant={tenant.name}"}
        lands.make(tenant)
        another = TenantProjects(lands.home, "another")
        with pytest.raises(ConflictError, match="belongs to another lab"):
            another.ensure_tenant(tenant)
        another.close()
        lands.clean(tenant)
        assert set(lands.project(tenant).tags) == {"ours", ADOPT}
        assert lands.engine.find(tenant=tenant.name).nodes == ()
    finally:
        for group in lands.admin.network.security_groups(project_id=project.id):
            lands.admin.network.delete_security_group(group)
        lands.admin.identity.delete_project(project)


def test_who_is_no_administrator_is_told(lands: Lands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "OS_CLOUD", "member")
    engine = provider(lands.home, lands.lab)
    assert isinstance(engine, TenantProjects)
    with pytest.raises(EngineError, match="only an administrator of member may") as caught:
        engine.ensure_tenant(lands.tenant("grey"))
    assert "labcloud tenant create" in caught.value.resolution
    assert engine.find().nodes == ()
    engine.close()


def test_what_was_broken_off_is_finished(lands: Lands) -> None:
    tenant = lands.tenant("gold")
    marks = [f"labcloud.lab={lands.lab}", f"labcloud.tenant={tenant.name}", "labcloud.made"]
    lands.admin.identity.create_project(name=tenant.name, tags=marks)
    lands.engine.ensure_tenant(tenant)
    assert yaml.safe_load((lands.home / f"secrets/openstack/{tenant.name}.clouds.yaml").read_text())["clouds"]
    with lands.as_tenant(tenant) as seen:
        assert list(seen.compute.servers()) == []
    lands.clean(tenant)
