"""Declared files and directories, made on folders by the node's own script: what it writes, takes away, refuses, and says of drift."""

from __future__ import annotations

from pathlib import Path

import pytest

from labcloud.model.node_paths import OWN_PATHS, refused
from tests.unit.images.sandbox import LIB, ME, MY_GROUP, Node

OWNED = f"{ME} {MY_GROUP}"


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "node")


def file(path: str, mode: str = "0644", name: str = "one", owned: str = OWNED) -> str:
    return f"file {path} {owned} {mode} {name}"


def test_files_and_directories_become_what_is_declared(node: Node) -> None:
    node.declare(
        f"directory /opt/acme {OWNED} 2750",
        file("/opt/acme/etc/a.conf", "0600"),
        file("/usr/local/bin/tool", "0755", "two"),
        one="a=1\n",
        two="#!/bin/sh\n",
    )
    done = node.run("declared")
    assert (done.code, done.said) == (0, "")
    assert done.lines == ["directory /opt/acme made", "file /opt/acme/etc/a.conf made", "file /usr/local/bin/tool made"]
    assert (node.read("opt/acme/etc/a.conf"), node.mode("opt/acme/etc/a.conf"), node.mode("usr/local/bin/tool")) == ("a=1\n", 0o600, 0o755)
    assert (node.mode("opt/acme"), node.mode("opt/acme/etc")) == (0o2750, 0o2755)
    assert [each.name for each in (node.root / "opt/acme/etc").iterdir()] == ["a.conf"]


def test_doing_it_again_changes_nothing(node: Node) -> None:
    node.declare(f"directory /opt/acme {OWNED} 0755", file("/opt/acme/a"), one="1")
    node.run("declared")
    before = (node.root / "opt/acme/a").stat().st_ino, node.read("var/lib/labcloud/declared/files")
    done = node.run("declared")
    assert (done.code, done.lines, done.said) == (0, [], "")
    assert ((node.root / "opt/acme/a").stat().st_ino, node.read("var/lib/labcloud/declared/files")) == before
    assert node.run("declared", "--check").lines == []


def test_what_is_declared_no_longer_goes_and_what_was_there_before_comes_back(node: Node) -> None:
    node.put("etc/motd", "as the image had it\n")
    node.declare(f"directory /opt/a {OWNED} 0755", f"directory /opt/a/b {OWNED} 0755", file("/opt/a/b/c"), file("/etc/motd"), one="1")
    assert "file /etc/motd changed" in node.run("declared").lines
    node.declare()
    assert node.run("declared", "--check").lines == [
        "directory /opt/a/b no longer declared" if each == "/opt/a/b" else f"{kind} {each} no longer declared"
        for kind, each in (("file", "/opt/a/b/c"), ("directory", "/opt/a/b"), ("directory", "/opt/a"), ("file", "/etc/motd"))
    ]
    done = node.run("declared")
    assert (done.code, done.said) == (0, "")
    assert sorted(done.lines) == [
        "directory /opt/a removed",
        "directory /opt/a/b removed",
        "file /etc/motd removed",
        "file /opt/a/b/c removed",
    ]
    assert node.read("etc/motd") == "as the image had it\n"
    assert list((node.root / "opt").iterdir()) == []
    assert not (node.root / "var/lib/labcloud/declared/files").exists()
    assert [each.name for each in (node.root / "etc").iterdir() if "before" in each.name] == []


def test_what_somebody_changed_or_filled_is_left_and_told(node: Node) -> None:
    node.declare(f"directory /opt/a {OWNED} 0755", file("/etc/a.conf"), one="1")
    node.run("declared")
    node.put("etc/a.conf", "mine")
    node.put("opt/a/mine", "")
    node.declare()
    done = node.run("declared")
    assert (done.code, done.lines) == (0, [])
    assert "file /etc/a.conf is no longer declared, but stays: it was changed on the node" in done.said
    assert "directory /opt/a is no longer declared, but stays: it is not empty" in done.said
    assert node.read("etc/a.conf") == "mine"
    assert node.run("declared").said == ""


def test_drift_is_told_and_mended(node: Node) -> None:
    node.declare(f"directory /opt/a {OWNED} 0700", file("/opt/a/b"), file("/opt/a/c"), file("/opt/a/d", "0600"), one="1\n")
    node.run("declared")
    (node.root / "opt/a").chmod(0o755)
    (node.root / "opt/a/b").unlink()
    node.put("opt/a/c", "2\n")
    (node.root / "opt/a/d").chmod(0o666)
    done = node.run("declared", "--check")
    assert (done.code, done.lines) == (
        0,
        [
            "directory /opt/a mode 0755 wanted 0700",
            "file /opt/a/b missing",
            "file /opt/a/c changed",
            "file /opt/a/d mode 0666 wanted 0600",
        ],
    )
    assert "-1\n+2\n" in node.run("declared", "--diff", "/opt/a/c").output.decode()
    assert len(node.run("declared").lines) == 4
    assert (node.read("opt/a/c"), node.mode("opt/a"), node.mode("opt/a/d")) == ("1\n", 0o700, 0o600)
    assert node.run("declared", "--check").lines == []


def test_a_link_at_the_place_of_a_file_is_replaced_and_not_followed(node: Node) -> None:
    victim = node.put("etc/victim", "precious")
    (node.root / "etc/a.conf").symlink_to(victim)
    node.declare(file("/etc/a.conf"), one="1")
    assert node.run("declared").lines == ["file /etc/a.conf changed"]
    assert (node.read("etc/victim"), (node.root / "etc/a.conf").is_symlink(), node.read("etc/a.conf")) == ("precious", False, "1")


def test_a_link_on_the_way_is_refused(node: Node) -> None:
    (node.root / "srv").symlink_to(node.root / "etc")
    node.declare(file("/srv/a"), one="1")
    done = node.run("declared")
    assert (done.code, done.lines) == (1, [])
    assert "file /srv/a is refused: /srv on the way is a symbolic link" in done.said
    assert not (node.root / "etc/a").exists()


def test_a_folder_that_others_may_write_to_is_refused(node: Node) -> None:
    (node.root / "opt").chmod(0o1777)
    node.declare(file("/opt/a"), one="1")
    assert "others than root may write to /opt" in node.run("declared").said


def test_in_a_users_folder_the_user_does_the_work(node: Node) -> None:
    (node.root / "home/acme").mkdir()
    node.put("foreign", f"{node.root}/home/acme\n")
    node.declare(file("/home/acme/.config/a", owned="acme hadoop"), file("/home/acme/b", owned="root root"), one="1")
    done = node.run("declared")
    assert (done.code, done.lines) == (1, ["file /home/acme/.config/a made"])
    assert node.read("home/acme/.config/a") == "1"
    assert node.asked() == ["as acme", "chown acme:hadoop"]
    assert "/home/acme belongs to acme: only what is acme's own can be below it" in done.said
    node.declare()
    assert node.run("declared").lines == ["file /home/acme/.config/a removed"]
    assert node.asked() == ["as acme"]


@pytest.mark.parametrize(
    "path",
    [
        "etc/a",
        "/etc/../etc/a",
        "/etc//a",
        "/opt/",
        "/",
        "/etc/passwd",
        "/etc",
        "/data/0/hdfs/name",
        "/usr",
        "/etc/labcloud/base/x",
        "/home/./a",
        "/a\\b",
    ],
)
def test_paths_that_cannot_be_declared_are_refused_by_both_sides(node: Node, path: str) -> None:
    assert refused(path)
    node.declare(f"directory {path} {OWNED} 0755")
    done = node.run("declared")
    assert (done.code, done.lines) == (1, [])
    assert f"directory {path} is refused: {refused(path)}" in done.said


@pytest.mark.parametrize(
    "path", ["/etc/a", "/home/acme/.vimrc", "/opt/stacksx", "/usr/local/bin/a", "/etc/profile.d/a.sh", "/etc/passwd-policy"]
)
def test_other_paths_can_be_declared(path: str) -> None:
    assert refused(path) == ""


def test_both_sides_refuse_the_same() -> None:
    lines = (LIB / "own-paths").read_text().splitlines()
    assert tuple(line for line in lines if line.startswith("/")) == OWN_PATHS
    assert list(OWN_PATHS) == sorted(OWN_PATHS)


@pytest.mark.parametrize(
    "line",
    [
        "file /etc/a root root 4755 one",
        "file /etc/a root root 0644 ../manifest",
        "file /etc/a root",
        "link /etc/a root root 0644 b",
        "directory /opt/a root root 9",
    ],
)
def test_a_line_that_is_none_is_told_and_the_others_are_done(node: Node, line: str) -> None:
    node.declare(line, file("/etc/b"), one="1")
    done = node.run("declared")
    assert (done.code, done.lines) == (1, ["file /etc/b made"])
    assert "the manifest has a line that is none" in done.said


def test_what_cannot_be_made_now_is_not_taken_away(node: Node) -> None:
    node.declare(file("/opt/a"), one="1")
    node.run("declared")
    (node.root / "etc/labcloud/cluster/declared/one").unlink()
    node.put("opt/a", "2")
    done = node.run("declared")
    assert (done.code, node.read("opt/a")) == (1, "2")
    assert "its content one is not there" in done.said
    node.declare(file("/opt/a"), one="1")
    assert node.run("declared").lines == ["file /opt/a changed"]


def test_a_file_that_becomes_a_directory(node: Node) -> None:
    node.declare(file("/opt/a"), one="1")
    node.run("declared")
    node.declare(f"directory /opt/a {OWNED} 0755")
    assert node.run("declared").lines == ["file /opt/a removed", "directory /opt/a made"]


def test_a_full_disk_leaves_what_was_there(node: Node) -> None:
    node.declare(file("/opt/a"), one="1")
    node.run("declared")
    node.put("bin/cat", "#!/bin/sh\nexit 1\n").chmod(0o755)
    node.declare(file("/opt/a"), one="2")
    done = node.run("declared")
    assert (done.code, node.read("opt/a"), [each.name for each in (node.root / "opt").iterdir()]) == (1, "1", ["a"])
    assert "file /opt/a could not be written" in done.said
