"""Explicit options before the tenant's defaults, those before the profile's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from labcloud.apply.defaults import with_defaults
from labcloud.apply.requests import CreateRequest
from labcloud.model import ClusterRef, Lease, Tenant
from labcloud.model.defaults import OPTIONS
from labcloud.model.protection import BackupTerms

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
REF = ClusterRef("acme", "c")
DEFAULTS = {
    "provider": "simulated", "workers": "3", "memory": "2g", "cpus": "0.5", "volume-size": "20g", "lease": "8h", "backup": "off",
    "hdfs-site:dfs.replication": "2", "core-site:a.b": "theirs",
}  # fmt: skip
EXPLICIT = {
    "provider": "docker", "workers": 1, "memory": 512, "cpus": 4.0, "volume_size": 5, "lease": Lease(NOW + timedelta(days=1)),
    "backup": BackupTerms(enabled=True, keep={"last": 1}),
}  # fmt: skip


def test_defaults_stand_for_what_is_not_asked_for() -> None:
    filled = with_defaults(CreateRequest(REF, "hadoop-2.7"), Tenant("acme", 20000, defaults=DEFAULTS), NOW)
    assert filled == CreateRequest(
        REF,
        "hadoop-2.7",
        provider="simulated",
        workers=3,
        memory=2048,
        cpus=0.5,
        volume_size=20,
        lease=Lease(NOW + timedelta(hours=8)),
        settings={"hdfs-site:dfs.replication": "2", "core-site:a.b": "theirs"},
        backup=BackupTerms(enabled=False),
    )


def test_what_nobody_says_is_the_profiles() -> None:
    request = CreateRequest(REF, "hadoop-2.7")
    assert with_defaults(request, Tenant("acme", 20000), NOW) == request


@given(st.sets(st.sampled_from(sorted(EXPLICIT))))
def test_what_is_asked_for_comes_first(said: set[str]) -> None:
    request = CreateRequest(REF, "hadoop-2.7", **{name: EXPLICIT[name] for name in said})  # type: ignore[arg-type]
    filled = with_defaults(request, Tenant("acme", 20000, defaults=DEFAULTS), NOW)
    for name, value in EXPLICIT.items():
        assert (getattr(filled, name) == value) == (name in said)


def test_settings_are_joined_and_those_that_are_asked_for_come_first() -> None:
    request = CreateRequest(REF, "hadoop-2.7", settings={"core-site:a.b": "mine", "core-site:c": "d"})
    filled = with_defaults(request, Tenant("acme", 20000, defaults=DEFAULTS), NOW)
    assert filled.settings == {"hdfs-site:dfs.replication": "2", "core-site:a.b": "mine", "core-site:c": "d"}


def test_every_option_that_may_have_a_default_is_filled_in() -> None:
    assert {name.replace("-", "_") for name in OPTIONS} == EXPLICIT.keys()
