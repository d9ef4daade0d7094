"""Rendered configurations side by side."""

from __future__ import annotations

from labcloud.apply.comparing import FileDifference, compare, rendered
from labcloud.model import ClusterRef
from tests.unit.apply.conftest import REF, TERMS, Shop, asked


def test_what_is_alike_does_not_differ() -> None:
    assert compare({}, {}) == compare({"a/x": "1"}, {"a/x": "1"}) == []


def test_nodes_that_differ_alike_are_named_together() -> None:
    old = {"w-0/x": "a\nb\n", "w-1/x": "a\nb\n", "w-2/x": "a\nb\n", "w-3/x": "a\n"}
    new = {"w-0/x": "a\nc\n", "w-1/x": "a\nc\n", "w-2/x": "a\nd\n", "w-3/x": "a\n"}
    both, one = compare(old, new, ("then", "now"))
    assert (both.path, both.nodes, one.nodes) == ("x", ("w-0", "w-1"), ("w-2",))
    assert both.text == "--- then/x\n+++ now/x\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n"


def test_files_that_are_on_one_side_only() -> None:
    gone, new = compare({"a/gone": "1\n"}, {"a/new": "2"})
    assert gone == FileDifference("gone", ("a",), "--- before/gone\n+++ after/gone\n@@ -1 +0,0 @@\n-1\n")
    assert new.text.endswith("+2\n"), "a last line without an end is one of its own"


def test_a_lab_at_two_revisions(shop: Shop) -> None:
    shop.clusters().create(asked(), TERMS)
    before = shop.lab.revision()
    shop.configure({"core-site:my.own": "x"})
    engine = shop.provider()
    old, new = rendered(shop.lab.at(before), REF, engine), rendered(shop.lab, REF, engine)
    assert old == engine.config(REF)
    (found,) = compare(old, new)
    assert (found.path, found.nodes) == ("conf/core-site.xml", ("master-0", "worker-0", "worker-1"))
    assert "+" in found.text
    assert "my.own" in found.text
    assert rendered(shop.lab, ClusterRef("acme", "none"), engine) == {}
