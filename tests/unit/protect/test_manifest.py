"""What a copy says of itself: read as it was written, and refused if it is anything else."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labcloud.errors import ConfigError
from labcloud.lab.documents import cluster_document, dump
from labcloud.model import Cluster, ClusterRef, NodeGroup
from labcloud.model.snapshot import new_snapshot_id
from labcloud.protect.manifest import Manifest, Origin

REF = ClusterRef("acme", "c")
CLUSTER = Cluster(REF, "hadoop-2.7", "simulated", "0" * 32, "image:1", (NodeGroup("master", 1, 1536), NodeGroup("worker", 3, 2048)))
TAKEN = datetime(2026, 11, 21, 2, tzinfo=UTC)
MANIFEST = Manifest(
    id="20261121t020000-1a2b",
    ref=REF,
    taken=TAKEN,
    origin=Origin.HAND,
    declaration=dump(cluster_document(CLUSTER)),
    tenant="title: Acme\n",
    volumes={"master-0": 1, "worker-0": 2},
    pause=0.25,
    size=7,
    files=2,
    facts={"profile": "hadoop-2.7"},
)
TEXT = st.text(max_size=20)
ZONES = st.integers(-23, 23).map(lambda hours: timezone(timedelta(hours=hours)))
MOMENTS = st.datetimes(datetime(1970, 1, 3), datetime(9000, 1, 1), timezones=st.just(UTC))
MANIFESTS = st.builds(
    Manifest,
    id=MOMENTS.map(new_snapshot_id),
    ref=st.just(REF),
    taken=st.builds(lambda each, zone: each.replace(microsecond=each.microsecond // 1000 * 1000).astimezone(zone), MOMENTS, ZONES),
    origin=st.sampled_from(Origin),
    declaration=TEXT,
    tenant=TEXT,
    volumes=st.dictionaries(TEXT, st.integers(0, 99), max_size=3),
    pause=st.integers(0, 10**6).map(lambda number: number / 1000),
    why=TEXT,
    title=TEXT,
    size=st.integers(0, 2**60),
    files=st.integers(0, 2**40),
    facts=st.dictionaries(TEXT, TEXT, max_size=3),
)


@given(MANIFESTS)
def test_it_is_read_as_it_was_written(manifest: Manifest) -> None:
    assert Manifest.load(manifest.dump(), "here") == manifest
    assert Manifest.load(manifest.dump().encode(), "here") == manifest


def test_it_says_which_cluster_it_is_of() -> None:
    assert MANIFEST.cluster == CLUSTER
    assert MANIFEST.consistent
    assert not replace(MANIFEST, why="something moved").consistent


def changed(**values: Any) -> str:
    read = json.loads(MANIFEST.dump())
    for key, value in values.items():
        if value is None:
            del read[key]
        else:
            read[key] = value
    return json.dumps(read)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "null", '"text"', "{}", "[" * 100000, b"\xff\xfe\xff"], ids=str)
def test_anything_else_is_none(text: str | bytes) -> None:
    with pytest.raises(ConfigError, match="disk 7 is not what a copy says of itself"):
        Manifest.load(text, "disk 7")


@pytest.mark.parametrize("key", sorted(set(json.loads(MANIFEST.dump())) - {"consistent"}))
def test_nothing_may_be_missing(key: str) -> None:
    with pytest.raises(ConfigError, match="here is not"):
        Manifest.load(changed(**{key: None}), "here")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("id", "../../etc"), ("id", 7), ("tenant", "a/b"), ("tenant", ""), ("name", "../c"), ("taken", "yesterday"), ("taken", 7),
        ("taken", "2026-11-21T02:00:00"), ("origin", "magic"), ("declaration", 7), ("tenant_declaration", ["x"]), ("volumes", [1]),
        ("volumes", {"master-0": "many"}), ("pause_seconds", "long"), ("bytes", 1e999), ("files", "many"), ("why", 7), ("title", {}),
        ("facts", ["x"]), ("facts", {"image": 7}),
    ],
)  # fmt: skip
def test_bad_values_are_refused(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match="here is not"):
        Manifest.load(changed(**{key: value}), "here")


def test_one_of_another_version_says_so() -> None:
    with pytest.raises(ConfigError, match="of another version") as caught:
        Manifest.load(changed(version=2), "here")
    assert caught.value.resolution == "use the labcloud that wrote it"


def test_a_declaration_that_cannot_be_read_names_the_copy() -> None:
    with pytest.raises(ConfigError, match="acme/c@20261121t020000-1a2b"):
        _ = replace(MANIFEST, declaration="profile: [").cluster
