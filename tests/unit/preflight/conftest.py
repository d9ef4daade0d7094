"""Clusters and subjects as tests need them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labcloud.model import Cluster, ClusterRef, NodeGroup
from labcloud.model.checks import Capacity, Subject

Made = Callable[..., Cluster]
Asked = Callable[..., Subject]


def make_cluster(name: str = "acme/c", *, workers: int = 2, memory: int = 2048, **changed: Any) -> Cluster:
    groups = (NodeGroup("master", 1, 1536, 2.0), NodeGroup("worker", workers, memory, 2.0))
    cluster = Cluster(ClusterRef.parse(name), "hadoop-2.7", "docker", "0" * 32, "labcloud/hadoop-2.7:0123456789ab", groups)
    return replace(cluster, **changed)


@pytest.fixture
def cluster() -> Made:
    return make_cluster


@pytest.fixture
def subject(tmp_path: Path) -> Asked:
    def make(cluster: Cluster | None = None, *, capacity: Capacity | None = None, **facts: Any) -> Subject:
        there = capacity or Capacity(16384, 4.0, {"images and volumes": tmp_path})
        return Subject(tmp_path, "docker", lambda: there, cluster=cluster, **facts)

    return make
