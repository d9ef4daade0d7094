"""Declared packages, with an apt that only says how it was called: which are installed, which go, what stays and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.images.sandbox import STUBS, Node

# The folder packages holds a file a package, with its version in it; the archive's are in archive; needs/NAME are lines of who needs NAME.
APT = """#!/bin/bash
cd "$LABCLOUD_ROOT"
words=() act=
for word; do
    case $word in
        -s) simulate=yes ;;
        update | install | remove) act=$word ;;
        --download-only) fetch=yes ;;
        -* | *::*) ;;
        *) words+=("$word") ;;
    esac
done
echo "$act${fetch:+ fetch} ${words[*]}" >>asked
case $act in
    install)
        for word in "${words[@]}"; do
            if [ ! -e "archive/${word%%=*}" ]; then echo "E: Unable to locate package $word"; exit 100; fi
            [ "${fetch-}" ] || cp "archive/${word%%=*}" "packages/"
        done ;;
    remove)
        if [ "${simulate-}" ]; then
            echo "Remv ${words[0]} [1]"
            if [ -e "needs/${words[0]}" ]; then sed 's/.*/Remv & [1]/' "needs/${words[0]}"; fi
        else
            rm "packages/${words[0]}"
        fi ;;
esac
"""
DPKG = """#!/bin/bash
cd "$LABCLOUD_ROOT/packages"
for each in *; do printf 'ii \t%s\t%s\n' "$each" "$(<"$each")"; done
printf 'rc \tleft\t1\n'
"""
NICE = '#!/bin/sh\nshift 2\nexec "$@"\n'


@pytest.fixture
def node(tmp_path: Path) -> Node:
    node = Node(tmp_path / "node", {**STUBS, "apt-get": APT, "dpkg-query": DPKG, "nice": NICE})
    node.put("packages/bash", "5.2")
    for name, version in (("tree", "2.2"), ("jq", "1.7"), ("left", "1")):
        node.put(f"archive/{name}", version)
    return node


def test_missing_ones_are_fetched_and_installed_and_nothing_else(node: Node) -> None:
    node.declare("package tree", "package bash", "package left")
    assert node.run("packages", "--check").lines == ["package left missing", "package tree missing"]
    assert node.asked() == []
    done = node.run("packages")
    assert (done.code, done.said, sorted(done.lines)) == (0, "", ["package left installed", "package tree installed"])
    asked = node.asked()
    assert [each.split(" ")[0] for each in asked] == ["update", "install", "install"]
    assert (sorted(asked[1].split()), sorted(asked[2].split())) == (["fetch", "install", "left", "tree"], ["install", "left", "tree"])
    assert "apt-get" in node.read("var/log/labcloud/packages.log")


def test_doing_it_again_asks_nobody(node: Node) -> None:
    node.declare("package tree")
    node.run("packages")
    node.asked()
    done = node.run("packages")
    assert (done.lines, node.asked(), node.run("packages", "--check").lines) == ([], [], [])


def test_its_own_go_when_they_are_not_declared_and_those_of_the_image_stay(node: Node) -> None:
    node.declare("package tree", "package bash")
    node.run("packages")
    node.declare()
    assert node.run("packages", "--check").lines == ["package tree no longer declared"]
    assert node.run("packages").lines == ["package tree removed"]
    assert (node.root / "packages/bash").exists()
    assert not (node.root / "var/lib/labcloud/declared/packages").exists()


def test_one_that_another_needs_stays_and_is_told(node: Node) -> None:
    node.declare("package jq")
    node.run("packages")
    node.declare()
    node.put("needs/jq", "tool\n")
    done = node.run("packages")
    assert (done.code, done.lines) == (0, [])
    assert "package jq is no longer declared, but stays: needed by tool" in done.said
    (node.root / "needs/jq").unlink()
    assert node.run("packages").lines == ["package jq removed"]


def test_another_version_is_installed(node: Node) -> None:
    node.declare("package tree")
    node.run("packages")
    node.put("archive/tree", "2.3")
    node.declare("package tree=2.3")
    assert node.run("packages", "--check").lines == ["package tree version 2.2 wanted 2.3"]
    assert node.run("packages").lines == ["package tree changed to 2.3"]


def test_one_that_there_is_not_is_told_and_its_reason(node: Node) -> None:
    node.declare("package nonesuch")
    done = node.run("packages")
    assert (done.code, done.lines) == (1, [])
    assert "E: Unable to locate package nonesuch" in done.said
    assert "not installed: nonesuch" in done.said


@pytest.mark.parametrize("name", ["bash-", "Tree", "a b", "-y", "tree=", "tree;x", "--purge", "tree/sid", "x"])
def test_what_apt_would_take_for_something_else_is_refused(node: Node, name: str) -> None:
    node.put("etc/labcloud/cluster/declared/manifest", f"package\t{name}\npackage\ttree\n")
    done = node.run("packages")
    assert (done.code, done.lines) == (1, ["package tree installed"])
    assert f"'{name}' is no name of a Debian package" in done.said


def test_files_alone_ask_nobody(node: Node) -> None:
    node.declare("file /opt/a root root 0644 one")
    node.put("bin/dpkg-query", "#!/bin/sh\nexit 9\n").chmod(0o755)
    assert (node.run("packages").code, node.asked()) == (0, [])


def test_at_the_start_of_a_node_nobody_waits(node: Node) -> None:
    node.put("bin/apt-get", "#!/bin/sh\nsleep 20\n").chmod(0o755)
    node.declare("package tree")
    done = node.run("refresh", "--start")  # the time limit of this call is that of a test
    assert (done.code, done.lines) == (0, [])
