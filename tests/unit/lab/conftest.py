"""Laboratories of their own, and clusters to put into them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from labcloud.lab import Lab
from labcloud.model import Cluster, ClusterRef, Configuration, NodeGroup, Volume

ID = "0123456789abcdef" * 2


def make_cluster(tenant: str = "acme", name: str = "hadoop-2.7", **changed: object) -> Cluster:
    facts: dict[str, object] = {
        "ref": ClusterRef(tenant, name), "profile": "hadoop-2.7", "provider": "docker", "id": ID, "image": "labcloud/hadoop-2.7:0a1b",
        "configuration": Configuration(settings={"hdfs-site:dfs.replication": "2"}),
        "groups": (NodeGroup("master", 1, 2048), NodeGroup("worker", 2, 1536, 0.5, (Volume(), Volume()))),
        "publish": {"namenode": 9870},
    }  # fmt: skip
    return Cluster(**(facts | changed))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def author(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCLOUD_AUTHOR", "Ada <ada@example.org>")


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "home")


@pytest.fixture
def git(lab: Lab) -> Callable[..., str]:
    def run(*argv: str) -> str:
        folder = str(lab.home / "lab")
        return subprocess.run(
            ["git", "-c", f"safe.directory={folder}", "-C", folder, *argv], capture_output=True, text=True, check=True
        ).stdout

    return run
