"""What is in HDFS, by WebHDFS of the simulated engine: homes that become another user's."""

from __future__ import annotations

import gc
from pathlib import Path

import hdfs_native
import pytest

from labcloud.errors import EngineError
from labcloud.model import ClusterRef, NodeRef, NodeSpec, NodeVolume
from labcloud.providers.simulated import SimulatedProvider, World
from labcloud.providers.simulated.webhdfs import Tree
from labcloud.providers.simulated.world import File
from labcloud.services.files import NativeFiles, WebFiles, give_home

REF = ClusterRef("acme", "c")
MASTER = NodeRef(REF, "master", 0)


@pytest.fixture
def tree() -> Tree:
    return Tree({})


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch, tree: Tree) -> WebFiles:
    provider = SimulatedProvider(Path("/nowhere"), "lab", world=World())
    provider.ensure_network("acme")
    provider.ensure_config(REF, {"master-0/services/namenode": ""})
    provider.ensure_node(NodeSpec(MASTER, "image", "hadoop-2.7", 1024, 1.0, (NodeVolume(),)))
    monkeypatch.setattr("labcloud.providers.simulated.daemons.hdfs", lambda _: tree)
    return WebFiles(provider, MASTER, 50070)


def put(tree: Tree, *paths: str, owner: str = "red") -> None:
    for path in paths:
        tree[path.rstrip("/")] = File(b"" if path.endswith("/") else path.encode(), owner, owner, 0o755, path.endswith("/"))


def owners(tree: Tree) -> dict[str, str]:
    return {path: tree[path].owner for path in sorted(tree) if path not in ("/", "/user")}


def test_all_that_is_in_a_home_is_the_others(tree: Tree, files: WebFiles) -> None:
    put(tree, "/user/", owner="hdfs")
    put(tree, "/user/red/", "/user/red/a", "/user/red/deep/", "/user/red/deep/b", "/user/red/a file with spaces & ü")
    put(tree, "/user/green/", "/user/green/mine", owner="green")
    put(tree, "/user/blue/", owner="blue")
    give_home(files, "red", "green")
    assert owners(tree) == {
        "/user/blue": "blue",
        "/user/green": "green",
        "/user/green/a": "green",
        "/user/green/a file with spaces & ü": "green",
        "/user/green/deep": "green",
        "/user/green/deep/b": "green",
        "/user/green/mine": "green",
    }
    assert tree["/user/green/deep/b"].content == b"/user/red/deep/b"
    before = owners(tree)
    give_home(files, "red", "green")
    assert owners(tree) == before


def test_what_has_a_name_that_is_taken_stays_where_it_is(tree: Tree, files: WebFiles) -> None:
    put(tree, "/user/", owner="hdfs")
    put(tree, "/user/red/", "/user/red/a", "/user/red/b")
    put(tree, "/user/green/", "/user/green/a", owner="green")
    give_home(files, "red", "green")
    assert owners(tree) == {
        "/user/green": "green",
        "/user/green/a": "green",
        "/user/green/b": "green",
        "/user/red": "red",
        "/user/red/a": "red",
    }
    assert tree["/user/green/a"].content == b"/user/green/a"


def test_children_are_told_with_what_they_are(tree: Tree, files: WebFiles) -> None:
    put(tree, "/a/", "/a/file", "/a/folder/", "/a/folder/deep")
    assert files.children("/a") == {"file": False, "folder": True}
    assert files.children("/none") == {}


class Raw:
    """A file whose DataNode is gone: whoever closes it waits long."""

    def __init__(self) -> None:
        self.closed = 0

    def write(self, _: bytes) -> int:
        raise RuntimeError("the connection was reset")

    def close(self) -> None:
        self.closed += 1


def test_a_file_that_could_not_be_written_is_closed_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = Raw()
    monkeypatch.setattr(hdfs_native.Client, "create", lambda *_: hdfs_native.FileWriter(raw))
    files = NativeFiles("127.0.0.1", 8020)
    for write in (lambda: files.write("/a", b"a"), lambda: files.write_parts("/a", [b"a"])):
        with pytest.raises(EngineError, match="could not write /a"):
            write()
    gc.collect()
    assert raw.closed == 0
