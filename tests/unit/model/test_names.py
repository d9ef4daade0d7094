"""Names that people choose: all that is accepted is safe as a host name, a path and an argument."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labcloud.errors import UsageError
from labcloud.model import ClusterRef, NodeRef, cluster_name, tenant_name

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # RFC 1123, in lower case
TRICKS = [
    "",
    ".",
    "..",
    "a/b",
    "../x",
    "a b",
    "a\n",
    "\na",
    "-a",
    "a-",
    "A",
    "é",
    "a_b",
    "a;b",
    "$(a)",
    "a.",
    ".a",
    "a..b",
    "1a",
    "a\x00",
    "yes: no",
    "&a",
    "ａ",
]

# Near misses: mostly characters that names may have, some that they must not.
near = st.text(st.sampled_from("abz019-.-/ \n_A\x00é$:"), max_size=45) | st.text(max_size=45)


@given(near)
@example("a" * 32)
def test_an_accepted_tenant_is_one_host_label(text: str) -> None:
    try:
        accepted = tenant_name(text)
    except UsageError:
        return
    assert accepted == text
    assert LABEL.fullmatch(text)
    assert len(text) <= 31


@given(near)
@example("a." * 20)
@example("a" * 41)
def test_an_accepted_cluster_is_host_labels(text: str) -> None:
    try:
        accepted = cluster_name(text)
    except UsageError:
        return
    assert accepted == text
    assert all(LABEL.fullmatch(label) for label in text.split("."))
    assert "/" not in text
    assert ".." not in text


@given(near, near)
def test_what_parses_is_written_back_the_same(tenant: str, name: str) -> None:
    try:
        ref = ClusterRef.parse(f"{tenant}/{name}")
    except UsageError:
        return
    assert str(ref) == f"{tenant}/{name}"
    assert ClusterRef.parse(str(ref)) == ref
    assert ClusterRef.parse(ref.name, ref.tenant) == ref


@given(st.from_regex(r"[a-z][a-z0-9]{0,9}", fullmatch=True), st.integers(0, 99999))
def test_nodes_are_written_back_the_same(group: str, index: int) -> None:
    cluster = ClusterRef("acme", "c")
    node = NodeRef(cluster, group, index)
    assert NodeRef.parse(cluster, node.name) == node
    assert node.qualified == f"{group}-{index}.c.acme"


@pytest.mark.parametrize("text", TRICKS)
def test_tricks_are_refused(text: str) -> None:
    for check in (tenant_name, cluster_name):
        with pytest.raises(UsageError) as caught:
            check(text)
        assert caught.value.resolution


@pytest.mark.parametrize("text", ["root", "hdfs", "hadoop", "labcloud"])
def test_system_users_are_no_tenants(text: str) -> None:
    with pytest.raises(UsageError, match="reserved"):
        tenant_name(text)


@pytest.mark.parametrize("text", ["a/b/c", "a//b", "/b", "a/", "b"])
def test_what_names_no_cluster_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        ClusterRef.parse(text)


def test_tenant_and_option_must_agree() -> None:
    assert ClusterRef.parse("acme/c", "acme") == ClusterRef("acme", "c")
    with pytest.raises(UsageError, match="other"):
        ClusterRef.parse("acme/c", "other")


@pytest.mark.parametrize("text", ["worker", "worker-", "worker-01", "worker--1", "worker-1 ", "-1", "worker-100000", "a/worker-1"])
def test_what_names_no_node_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        NodeRef.parse(ClusterRef("acme", "c"), text)
