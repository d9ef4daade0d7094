"""Checks that a cloud answers with figures, and whom they ask."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labcloud.model import Cluster, ClusterRef, NodeGroup, StorageClass, Volume
from labcloud.model.checks import Capacity, Check, Severity, Subject, Verdict
from labcloud.model.protection import BackupPolicy
from labcloud.providers.openstack.checks import checks
from labcloud.providers.openstack.settings import Settings

GROUPS = (NodeGroup("master", 1, 1536, volumes=(Volume(2),)), NodeGroup("worker", 3, 2048, volumes=(Volume(2),)))
CLUSTER = Cluster(ClusterRef("acme", "c"), "hadoop-2.7", "openstack", "0" * 32, "", GROUPS)
CINDERS = BackupPolicy("engine:openstack")


def backup_quota(limits: Any) -> Check:
    facts: Any = SimpleNamespace(volume_limits=lambda: limits, session=lambda: SimpleNamespace(project="p-1"))
    servers: Any = None
    return next(
        each
        for each in checks(facts, servers, Settings.model_validate({}), lab="1ab", drivers=("", "cinder"))
        if each.id == "cloud.backup-quota"
    )


def subject(policy: BackupPolicy, **more: Any) -> Subject:
    fast = {"default": StorageClass(driver="cinder")}
    return Subject(
        Path("/lab"), "openstack", lambda: Capacity(1, 1.0), cluster=CLUSTER, storage=fast, policy=lambda _: policy, **more
    )  # fmt: skip


LIMITS = {"backups": {"limit": 10, "in_use": 6}, "backup_gigabytes": {"limit": 1000, "in_use": 12}}


def test_a_copy_by_cinder_that_has_no_room_is_told_and_keeps_nobody() -> None:
    check = backup_quota(LIMITS)
    assert check.severity is Severity.ADVISORY
    assert check.run(subject(CINDERS)).verdict is Verdict.PASS
    found = check.run(subject(CINDERS, alongside=(replace(CLUSTER, ref=ClusterRef("acme", "d")),)))
    assert (found.verdict, found.fix) == (Verdict.FAIL, "openstack quota set --backups 14 p-1")
    assert found.evidence["backups"] == {"limit": 10, "used": 6, "adds": 8}


@pytest.mark.parametrize(
    ("policy", "limits"),
    [(BackupPolicy("/srv/backups"), {}), (BackupPolicy("engine:other"), {}), (replace(CINDERS, enabled=False), {}), (CINDERS, None)],
)
def test_who_keeps_nothing_with_cinder_is_not_asked(policy: BackupPolicy, limits: Any) -> None:
    assert backup_quota(limits).run(subject(policy)).verdict is Verdict.SKIP
    assert backup_quota(limits).run(Subject(Path("/lab"), "openstack", lambda: Capacity(1, 1.0), cluster=CLUSTER)).verdict is Verdict.SKIP
