"""The script that makes a node's users, run on folders: who is there, in which groups, with which keys, and who is locked."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from labcloud.images import declarations

SCRIPT = declarations.FOLDER / "base/files/usr/lib/labcloud/users"
USERS = "root:x:0:0:root:/root:/bin/bash\nhdfs:x:901:900::/var/lib/hdfs:/usr/sbin/nologin\n"
GROUP = "root:x:0:\nhadoop:x:900:\nsupergroup:x:904:hdfs\n"
STUBS = {
    "s6-setuidgid": '#!/bin/sh\nprintf "%s\\n" "$1" >>"$LABCLOUD_ROOT/asked"\nshift\nexec "$@"\n',
    "install": '#!/bin/sh\nfor folder; do :; done\nmkdir -p "$folder"\n',
}


class Node:
    """The files of a node, where only root could make users. ``asked`` are those as whom keys were written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("etc/labcloud/cluster/authorized_keys", "run", "home", "bin"):
            (root / folder).mkdir(parents=True)
        self.put("etc/passwd", USERS)
        self.put("etc/group", GROUP)
        self.put("etc/labcloud/cluster/node.env", "LABCLOUD_TENANT=acme\nLABCLOUD_USER_ID=20000\n")
        for name, text in STUBS.items():
            self.put(f"bin/{name}", text)
            (root / "bin" / name).chmod(0o755)

    def put(self, path: str, text: str) -> None:
        (self.root / path).write_text(text)

    def read(self, path: str) -> str:
        return (self.root / path).read_text()

    def members(self, *lines: str, **keys: str) -> None:
        self.put("etc/labcloud/cluster/users", "".join(f"{line}\n" for line in lines))
        for path in (self.root / "etc/labcloud/cluster/authorized_keys").iterdir():
            path.unlink()
        for name, key in keys.items():
            self.put(f"etc/labcloud/cluster/authorized_keys/{name}", f"{key}\n")

    def start(self) -> subprocess.Popen[str]:
        environment = {"PATH": f"{self.root}/bin:/usr/bin:/bin", "LABCLOUD_ROOT": str(self.root)}
        return subprocess.Popen([str(SCRIPT)], env=environment, text=True, stderr=subprocess.PIPE)

    def run(self) -> str:
        """What it said."""
        process = self.start()
        said = process.communicate(timeout=30)[1]
        assert process.returncode == 0, said
        return said

    def shell(self, name: str) -> str:
        return next(line.rpartition(":")[2] for line in self.read("etc/passwd").splitlines() if line.startswith(f"{name}:"))


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "node")


def test_without_members_there_is_the_tenant(node: Node) -> None:
    assert node.run() == ""
    assert node.read("etc/passwd") == USERS + "acme:x:20000:900:Tenant of labcloud:/home/acme:/bin/bash\n"
    assert node.read("etc/group") == "root:x:0:\nhadoop:x:900:acme\nsupergroup:x:904:hdfs,acme\n"
    assert [path.name for path in (node.root / "home").iterdir()] == ["acme"]
    assert not (node.root / "asked").exists()


def test_members_are_users_beside_the_tenant_with_their_keys_written_by_themselves(node: Node) -> None:
    node.members("alice 20001", "bob 20002", alice="ssh-ed25519 AAAA alice@desk")
    assert node.run() == ""
    assert node.read("etc/passwd").endswith(
        "alice:x:20001:900:Member of labcloud:/home/alice:/bin/bash\nbob:x:20002:900:Member of labcloud:/home/bob:/bin/bash\n"
    )
    assert "hadoop:x:900:acme,alice,bob\nsupergroup:x:904:hdfs,acme,alice,bob\n" in node.read("etc/group")
    keys = node.root / "home/alice/.ssh/authorized_keys"
    assert (keys.read_text(), keys.stat().st_mode & 0o777, keys.parent.stat().st_mode & 0o777) == (
        "ssh-ed25519 AAAA alice@desk\n",
        0o600,
        0o700,
    )
    assert node.read("asked") == "alice\n"
    assert not (node.root / "home/bob/.ssh").exists()


def test_doing_it_again_changes_nothing(node: Node) -> None:
    node.members("alice 20001", alice="ssh-ed25519 AAAA")
    node.run()
    before = node.read("etc/passwd"), node.read("etc/group")
    node.run()
    assert (node.read("etc/passwd"), node.read("etc/group")) == before
    assert [path.name for path in (node.root / "home/alice/.ssh").iterdir()] == ["authorized_keys"]


@pytest.mark.parametrize("left", [("bob 20002",), ()], ids=["another stays", "nobody stays"])
def test_who_is_removed_is_locked_and_keeps_the_files(node: Node, left: tuple[str, ...]) -> None:
    node.members("alice 20001", "bob 20002", alice="ssh-ed25519 AAAA")
    node.run()
    node.put("home/alice/work.txt", "mine")
    node.members(*left)
    node.run()
    assert node.shell("alice") == "/usr/sbin/nologin"
    assert node.read("home/alice/.ssh/authorized_keys") == ""
    assert "alice" not in node.read("etc/group")
    assert node.read("home/alice/work.txt") == "mine"
    assert ("bob" in node.read("etc/group")) == bool(left)
    assert node.shell("acme") == "/bin/bash"


def test_who_comes_back_is_unlocked(node: Node) -> None:
    for lines in (("alice 20001",), (), ("alice 20001",)):
        node.members(*lines, **({"alice": "ssh-ed25519 BBBB"} if lines else {}))
        node.run()
    assert node.shell("alice") == "/bin/bash"
    assert node.read("home/alice/.ssh/authorized_keys") == "ssh-ed25519 BBBB\n"
    assert node.read("etc/group").count("alice") == 2


def test_a_member_whose_keys_went_has_none(node: Node) -> None:
    node.members("alice 20001", alice="ssh-ed25519 AAAA")
    node.run()
    node.members("alice 20001")
    node.run()
    assert node.read("home/alice/.ssh/authorized_keys") == ""


def test_another_user_of_the_node_is_left_alone_and_told(node: Node) -> None:
    node.members("hdfs 20009", "alice 20001")
    assert node.run() == "labcloud-users: hdfs is another user of this node\n"
    assert node.read("etc/passwd").startswith(USERS)
    assert (node.read("etc/group").count("hdfs"), (node.root / "home/hdfs").exists()) == (1, False)
    assert node.shell("alice") == "/bin/bash"


def test_several_at_once_lose_nothing(node: Node) -> None:
    node.members("alice 20001", "bob 20002", alice="ssh-ed25519 AAAA")
    runs = [node.start() for _ in range(4)]
    assert [run.communicate(timeout=30)[1] for run in runs] == [""] * 4
    names = [line.partition(":")[0] for line in node.read("etc/passwd").splitlines()]
    assert names == ["root", "hdfs", "acme", "alice", "bob"]
