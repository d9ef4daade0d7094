"""Data volumes in Cinder, on servers that only seem to run: real volumes, really attached as far as Nova and Cinder know."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labcloud.errors import EngineError, LabError
from labcloud.model import Cluster, NodeGroup, NodeSpec, NodeVolume, Status, StorageClass, Tenant, Volume
from labcloud.model.checks import Finding, ImageNeed, Subject, Verdict
from labcloud.model.protection import BackupPolicy
from labcloud.providers.openstack.servers import Servers
from labcloud.providers.openstack.volumes import DRIVER
from tests.acceptance.driver import wait_for
from tests.openstack.test_provider import MEMORY, Site, site  # noqa: F401 - a fixture

pytestmark = pytest.mark.timeout(900)

FAST = StorageClass("fast", driver=DRIVER)


def spec(site: Site, index: int = 0, *more: NodeVolume, **changed: Any) -> NodeSpec:  # noqa: F811
    return site.spec(index, volumes=(NodeVolume(1, FAST), *more), **changed)


def of_cluster(site: Site, cloud: Any) -> dict[str, tuple[str, str]]:  # noqa: F811
    """By name the id of each volume, and of the server that has it."""
    found = {each.name: (each.id, each.attachments) for each in cloud.member.block_storage.volumes() if each.name.startswith(site.tenant)}
    return {name: (id, attachments[0]["server_id"] if attachments else "") for name, (id, attachments) in found.items()}


def test_volumes_are_made_attached_found_and_deleted(site: Site, cloud: Any) -> None:  # noqa: F811
    specs = [spec(site, index) for index in range(4)]
    site.provider.ensure_network(site.tenant)
    sent = site.counted(lambda: site.provider.ensure_nodes(specs))
    assert sent <= 4 * len(specs) + 30, site.requests
    servers = {node.ref: node.engine_id for node in site.provider.find(cluster=site.cluster).nodes}
    found = of_cluster(site, cloud)
    assert found == {
        f"{site.tenant}.one.0.worker-{each.ref.index}.data-0": (site.nodes.disks[each.ref][0], servers[each.ref]) for each in specs
    }
    assert site.provider.find(tenant=site.tenant).volumes == {(each.ref, 0) for each in specs}
    with pytest.raises(EngineError, match="in use"):
        site.provider.delete_volume(specs[0].ref, 0)

    site.provider.delete_nodes([each.ref for each in specs])
    assert site.provider.find(cluster=site.cluster).volumes == {(each.ref, 0) for each in specs}
    for each in specs:
        site.provider.delete_volume(each.ref, 0)
    site.provider.delete_volume(specs[0].ref, 0)
    assert of_cluster(site, cloud) == {}
    assert site.provider.find(cluster=site.cluster).volumes == frozenset()


def test_a_node_that_is_made_anew_gets_its_volume_back(site: Site, cloud: Any) -> None:  # noqa: F811
    before = spec(site, 0, NodeVolume())  # the second lies on the server's own disk
    site.make(before)
    volumes = of_cluster(site, cloud)
    assert site.provider.find(cluster=site.cluster).volumes == {(before.ref, 0), (before.ref, 1)}
    (old,) = site.provider.find(cluster=site.cluster).nodes
    site.provider.ensure_node(replace(before, publish={80: 0}))
    (new,) = site.provider.find(cluster=site.cluster).nodes
    assert (new.status, new.engine_id != old.engine_id) == (Status.RUNNING, True)
    ((name, (id, server)),) = of_cluster(site, cloud).items()
    assert (volumes[name][0], server) == (id, new.engine_id)


def test_what_was_killed_between_volume_and_server_is_finished(site: Site, cloud: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    wanted = spec(site)
    with monkeypatch.context() as patch:
        patch.setattr(Servers, "create", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            site.make(wanted)
    left = of_cluster(site, cloud)
    assert len(left) == 1
    assert site.provider.find(cluster=site.cluster).volumes == {(wanted.ref, 0)}
    site.make(wanted)
    after = of_cluster(site, cloud)
    assert {name: id for name, (id, _) in after.items()} == {name: id for name, (id, _) in left.items()}


def test_a_volume_that_cannot_be_made_is_told(site: Site, cloud: Any) -> None:  # noqa: F811
    """The type is one that no backend offers: Cinder says so only after it has taken the request."""
    kind = cloud.admin.block_storage.create_type(name=site.tenant, extra_specs={"volume_backend_name": "none-has-it"})
    try:
        wanted = site.spec(volumes=(NodeVolume(1, replace(FAST, options={"type": site.tenant})),))
        with pytest.raises(LabError) as caught:
            site.make(wanted)
        assert "volume 0 of" in caught.value.brief
        assert "is in the state error: " in caught.value.brief
        assert "request id: req-" in caught.value.details
        assert site.provider.find(cluster=site.cluster).nodes == ()
    finally:
        site.provider.delete_volume(site.spec().ref, 0)
        cloud.admin.block_storage.delete_type(kind)


# Preflight


def ask(site: Site, id: str, cls: StorageClass, count: int = 2, target: str = "engine:openstack") -> Finding:  # noqa: F811
    groups = (NodeGroup("worker", count, MEMORY, volumes=(Volume(1, cls.name),)),)
    cluster = Cluster(site.cluster, "tiny", "openstack", "0" * 32, site.image, groups)
    need = ImageNeed(site.image.partition("@")[0], 8, "none")
    subject = Subject(
        site.nodes._rendered, "openstack", site.provider.capacity, cluster=cluster, tenant=Tenant(site.tenant, 1), image=need,
        storage={cls.name: cls}, policy=lambda _: BackupPolicy(target),
    )  # fmt: skip
    return next(each for each in site.provider.checks() if each.id == id).run(subject)


def test_quotas_and_types_of_volumes_are_asked_first(site: Site, cloud: Any) -> None:  # noqa: F811
    kind = cloud.admin.block_storage.create_type(name=site.tenant)
    project = cloud.member.current_project_id
    typed = replace(FAST, options={"type": site.tenant})
    try:
        assert ask(site, "cloud.volume-types", typed).verdict is Verdict.PASS
        wrong = ask(site, "cloud.volume-types", replace(FAST, options={"type": "platinum"}))
        assert (wrong.verdict, site.tenant in wrong.summary, "type=" in wrong.fix) == (Verdict.FAIL, True, True)
        assert ask(site, "storage.driver", FAST).verdict is Verdict.PASS
        assert ask(site, "cloud.volume-types", StorageClass("slow")).verdict is Verdict.SKIP

        cloud.admin.set_volume_quotas(project, **{f"volumes_{site.tenant}": 3})
        assert ask(site, "cloud.volume-quota", typed, 3).verdict is Verdict.PASS
        short = ask(site, "cloud.volume-quota", typed, 4)
        assert (short.verdict, short.fix) == (
            Verdict.FAIL,
            f"openstack quota set --volumes 4 --volume-type {site.tenant} {project}",
        )
    finally:
        cloud.admin.block_storage.delete_type(kind)


def test_quotas_of_cinders_own_backups_are_asked_first(site: Site, cloud: Any) -> None:  # noqa: F811
    project = cloud.member.current_project_id
    before = cloud.admin.get_volume_quotas(project)
    cloud.admin.set_volume_quotas(project, backups=3, backup_gigabytes=100)
    try:
        assert ask(site, "cloud.backup-quota", FAST, 3).verdict is Verdict.PASS
        short = ask(site, "cloud.backup-quota", FAST, 4)
        assert (short.verdict, short.fix) == (Verdict.FAIL, f"openstack quota set --backups 4 {project}")
        assert ask(site, "cloud.backup-quota", FAST, 4, target="/var/backups").verdict is Verdict.SKIP
    finally:
        cloud.admin.set_volume_quotas(project, backups=before.backups, backup_gigabytes=before.backup_gigabytes)


def test_servers_boot_from_volumes_where_the_lab_says_so(site: Site, cloud: Any, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "home" / "lab" / "openstack.yaml").write_text("boot-volume: default\n")
    site.provider = site.open(site.provider._lab)
    findings = {id: ask(site, id, FAST) for id in ("cloud.volume-quota", "cloud.volume-types", "cloud.room")}
    assert {each.verdict for each in findings.values()} <= {Verdict.PASS, Verdict.SKIP}, findings
    assert findings["cloud.volume-quota"].evidence["volumes"]["adds"] == 2 * 2  # each has one for its data as well
    site.make(spec(site, 0), *(site.spec(index) for index in (1, 2, 3)))
    servers = list(cloud.member.compute.servers(name=site.tenant))
    assert [bool(each.image and each.image.id) for each in servers] == [False] * 4
    volumes = list(cloud.member.block_storage.volumes())
    assert sorted((each.is_bootable, each.size) for each in volumes) == [(False, 1), *[(True, 2)] * 4]
    assert site.provider.find(cluster=site.cluster).volumes == {(site.spec(index).ref, 0) for index in range(4)}
    site.provider.delete_nodes([each.ref for each in (spec(site, 0), *(site.spec(index) for index in (1, 2, 3)))])
    storage = cloud.member.block_storage  # data stays; what was booted from goes, soon after its server
    wait_for("no volumes but those of data", lambda: [each.is_bootable for each in storage.volumes()] == [False], seconds=60)
