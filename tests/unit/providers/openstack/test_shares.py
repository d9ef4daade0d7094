"""What serving nodes get, by a real rsync; ssh and sudo are programs that only pass on."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labcloud.datasets.views import Views
from labcloud.errors import EngineError
from labcloud.model import ClusterRef
from labcloud.model.dataset import StoredDataset
from labcloud.providers.openstack import shares
from labcloud.providers.openstack.shares import Shares, View
from labcloud.providers.openstack.ssh import Ssh, Target

CLUSTER = ClusterRef("acme", "lab")
SERVER: Any = SimpleNamespace(id="u-1")
TARGET = Target("u-1", "10.0.0.7", "acme/lab/master-0")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the serving node."""
    over = 'while [ "$1" != 10.0.0.7 ]; do shift; done; shift; exec sh -c "$*"'
    for name, body in {"ssh": over, "sudo": 'shift; exec "$@"'}.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(shares, "_PLACE", str(tmp_path / "served"))
    return tmp_path / "served"


def stored(root: Path, number: int, **files: str) -> StoredDataset:
    folder = root / "store" / str(number)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        (folder / name).chmod(0o444)
    return StoredDataset(f"{number}-0123456789ab", folder)


def test_the_serving_node_has_exactly_the_view_and_is_asked_once(tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    views, served = Views(tmp_path / "views"), Shares(Ssh(tmp_path / "key", os.environ.get("USER", "root")), tmp_path / "noted")

    def fill(datasets: dict[str, StoredDataset]) -> View:
        views.ensure(CLUSTER, datasets)
        view = View(views.folder(CLUSTER), views.shown(CLUSTER))
        served.fill(SERVER, TARGET, view)
        return view

    one = stored(tmp_path, 1, a="one", b="two")
    view = fill({"first": one, "second": one})
    assert served.there(SERVER) == view.tags == {"first": one.tag, "second": one.tag}
    assert view.bytes == 12
    assert (place / "first" / "a").read_text() == "one"
    assert (place / "first" / "a").stat().st_ino == (place / "second" / "a").stat().st_ino  # stored once
    assert oct((place / "first").stat().st_mode & 0o777) == "0o555"

    fill({"second": stored(tmp_path, 2, a="three")})
    assert sorted(str(each.relative_to(place)) for each in place.rglob("*")) == ["second", "second/a"]
    assert (place / "second" / "a").read_text() == "three"

    monkeypatch.setenv("PATH", "/nowhere")  # nothing is asked of a node that has what it shall have
    served.fill(SERVER, TARGET, View(views.folder(CLUSTER), views.shown(CLUSTER)))
    with pytest.raises(EngineError, match="rsync, which is not installed"):
        fill({})


def test_what_did_not_arrive_is_told_and_not_noted(tmp_path: Path, place: Path) -> None:
    views, served = Views(tmp_path / "views"), Shares(Ssh(tmp_path / "key", "root"), tmp_path / "noted")
    views.ensure(CLUSTER, {"numbers": stored(tmp_path, 1, a="one")})
    place.write_text("a file in the way")
    with pytest.raises(EngineError, match="acme/lab/master-0 did not get the datasets numbers") as caught:
        served.fill(SERVER, TARGET, View(views.folder(CLUSTER), views.shown(CLUSTER)))
    assert "rsync" in caught.value.details
    assert served.there(SERVER) == {}
