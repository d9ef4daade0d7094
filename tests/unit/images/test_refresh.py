"""The script that makes a running node what is declared: hosts, resolver, users, and the programs that it calls for the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.images.sandbox import ME, MY_GROUP, Node

HOSTS = "127.0.0.1\tlocalhost\n10.0.0.2\tworker-0.c.t.labcloud-t worker-0\n"
RESOLVER = "search c.t.labcloud-t\nnameserver 127.0.0.11\noptions ndots:0\n"


@pytest.fixture
def node(tmp_path: Path) -> Node:
    node = Node(tmp_path / "node")
    node.put("etc/hosts", HOSTS)
    node.put("etc/resolv.conf", RESOLVER)
    assert node.run("refresh").lines == ["user acme made", "group hadoop changed", "group supergroup changed"]
    return node


def test_where_nothing_is_declared_nothing_is_changed(node: Node) -> None:
    done = node.run("refresh")
    assert (done.code, done.lines, done.said) == (0, [], "")
    assert (node.read("etc/hosts"), node.read("etc/resolv.conf")) == (HOSTS, RESOLVER)
    assert not (node.root / "var/lib/labcloud").exists()


def test_hosts_come_and_change_and_go_in_place(node: Node) -> None:
    inode = (node.root / "etc/hosts").stat().st_ino
    node.put("etc/labcloud/base/hosts", "# ours\n192.0.2.7 printer.lab printer\n\nfd00::7 printer6 # new")
    assert node.run("refresh", "--check").lines == ["hosts differ"]
    assert node.read("etc/hosts") == HOSTS
    assert node.run("refresh").lines == ["hosts changed"]
    block = "192.0.2.7 printer.lab printer\nfd00::7 printer6 # new\n"
    assert node.read("etc/hosts") == f"{HOSTS}# labcloud: for all nodes\n{block}# labcloud: end\n"
    assert node.run("refresh").lines == []
    node.put("etc/labcloud/base/hosts", "192.0.2.8 p\n")
    assert node.run("refresh").lines == ["hosts changed"]
    assert node.read("etc/hosts") == f"{HOSTS}# labcloud: for all nodes\n192.0.2.8 p\n# labcloud: end\n"
    (node.root / "etc/labcloud/base/hosts").unlink()
    assert node.run("refresh").lines == ["hosts changed"]
    assert (node.read("etc/hosts"), (node.root / "etc/hosts").stat().st_ino) == (HOSTS, inode)
    assert node.run("refresh").lines == []


def test_lines_of_hosts_that_the_engine_adds_stay(node: Node) -> None:
    node.put("etc/labcloud/base/hosts", "192.0.2.7 printer\n")
    node.run("refresh")
    node.put("etc/hosts", node.read("etc/hosts") + "10.0.0.9 late\n")
    assert node.run("refresh").lines == ["hosts changed"]
    assert node.read("etc/hosts") == f"{HOSTS}10.0.0.9 late\n# labcloud: for all nodes\n192.0.2.7 printer\n# labcloud: end\n"


@pytest.mark.parametrize("line", ["printer 192.0.2.7", "192.0.2.7", "192.0.2.7 -x", "192.0.2.7 a b;c", "192.0.2.7 ümlaut"])
def test_a_line_that_is_no_host_is_told_and_left_out(node: Node, line: str) -> None:
    node.put("etc/labcloud/base/hosts", f"{line}\n192.0.2.8 good\n")
    done = node.run("refresh")
    assert (done.code, done.lines) == (1, ["hosts changed"])
    assert f"base/hosts: '{line}' is no address with names" in done.said
    assert "192.0.2.8 good\n" in node.read("etc/hosts")
    assert f"\n{line}\n" not in node.read("etc/hosts")


def test_options_of_the_resolver_are_added_and_nothing_else(node: Node) -> None:
    node.put("etc/labcloud/base/resolver", "options timeout:1 attempts:2\nsearch elsewhere\n")
    done = node.run("refresh")
    assert (done.code, done.lines) == (1, ["options of the resolver changed"])
    assert "base/resolver: 'search elsewhere' is no line of options" in done.said
    assert node.read("etc/resolv.conf") == f"{RESOLVER}# labcloud: for all nodes\noptions timeout:1 attempts:2\n# labcloud: end\n"


def test_operators_of_the_lab_are_users_without_being_superusers(node: Node) -> None:
    node.put("etc/labcloud/base/users", "# people\nolga 3001\nsam 3002 supergroup,adm\n")
    node.put("etc/labcloud/base/authorized_keys/olga", "ssh-ed25519 AAAA\n")
    node.put("etc/group", node.read("etc/group") + "adm:x:4:\n")
    assert node.run("refresh", "--check").lines == [
        "user olga missing", "user sam missing",
        "group hadoop differs", "group supergroup differs", "group adm differs",
        "keys of olga differ",
    ]  # fmt: skip
    done = node.run("refresh")
    assert (done.code, done.said) == (0, "")
    assert done.lines == ["user olga made", "user sam made", "group hadoop changed", "group supergroup changed", "group adm changed"]
    assert node.read("etc/group") == "hadoop:x:900:acme,olga,sam\nsupergroup:x:904:acme,sam\nadm:x:4:sam\n"
    assert "olga:x:3001:900:Operator of labcloud:/home/olga:/bin/bash\n" in node.read("etc/passwd")
    assert node.read("home/olga/.ssh/authorized_keys") == "ssh-ed25519 AAAA\n"
    assert node.run("refresh", "--check").lines == []
    before = (node.root / "etc/passwd").stat().st_ino
    assert (node.run("refresh").lines, (node.root / "etc/passwd").stat().st_ino) == ([], before)
    node.put("etc/labcloud/base/users", "sam 3002\n")
    assert node.run("refresh").lines == ["user olga changed", "group hadoop changed", "group supergroup changed", "group adm changed"]
    assert node.read("etc/group") == "hadoop:x:900:acme,sam\nsupergroup:x:904:acme\nadm:x:4:\n"
    assert (
        node.read("home/olga/.ssh/authorized_keys"),
        "olga:x:3001:900:Operator of labcloud:/home/olga:/usr/sbin/nologin" in node.read("etc/passwd"),
    ) == ("", True)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("acme 3001", "acme is the tenant or a member of it"),
        ("alice 3001", "alice is the tenant or a member of it"),
        ("olga 20000", "the id 20000 of olga is the tenant's or a member's"),
        ("olga 20001", "the id 20001 of olga is the tenant's or a member's"),
        ("root 3001", "root is another user of this node"),
        ("olga 1500", "the id 1500 of olga is another user's of this node"),
        ("olga 0", "is no NAME ID"),
        ("olga 901", "is no NAME ID"),
        ("Olga 3001", "is no NAME ID"),
        ("olga:x 3001", "is no NAME ID"),
        ("olga", "is no NAME ID"),
        ("sam 3009", "sam is there twice"),
    ],
)
def test_operators_that_cannot_be_are_told_and_the_others_made(node: Node, line: str, why: str) -> None:
    node.put("etc/labcloud/cluster/users", "alice 20001\n")
    node.put("etc/passwd", node.read("etc/passwd") + "other:x:1500:100::/:/bin/sh\n")
    node.put("etc/labcloud/base/users", f"sam 3002\n{line}\n")
    done = node.run("users")
    assert (done.code, why in done.said) == (0, True), done.said
    names = [each.partition(":")[0] for each in node.read("etc/passwd").splitlines()]
    assert names == ["root", "acme", "other", "alice", "sam"]
    assert node.read("etc/group") == "hadoop:x:900:acme,alice,sam\nsupergroup:x:904:acme,alice\n"


def test_a_group_that_is_not_there_is_told(node: Node) -> None:
    node.put("etc/labcloud/base/users", "sam 3002 docker")
    done = node.run("users")
    assert "there is no group docker for sam" in done.said
    assert "user sam made" in done.lines


def test_refresh_does_declared_things_and_says_what_failed(node: Node) -> None:
    node.declare(f"file /opt/a {ME} {MY_GROUP} 0644 one", "file /etc/passwd root root 0644 one", one="1")
    assert node.run("refresh", "--check").lines == ["file /opt/a missing"]
    done = node.run("refresh")
    assert (done.code, done.lines) == (1, ["file /opt/a made"])
    assert "file /etc/passwd is refused" in done.said
    node.put("opt/a", "2\n")
    assert "+2\n" in node.run("refresh", "--diff", "/opt/a").output.decode()


def test_what_is_of_no_use_is_told(node: Node) -> None:
    assert (node.run("refresh", "--cheque").code, node.run("refresh", "--diff", "/opt/a").code) == (1, 1)
