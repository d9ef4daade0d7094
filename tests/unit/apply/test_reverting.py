"""What has changed in the lab repository since a cluster was configured is taken back, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from labcloud.apply.reverting import CONFIGURED, Reverting
from labcloud.apply.rollout import Pace
from labcloud.model import ClusterRef, Configuration, Wanted
from tests.unit.apply.conftest import REF, TERMS, Shop, asked

OTHER = ClusterRef("acme", "other")
C = "clusters/acme/c.yaml"


@pytest.fixture
def made(shop: Shop) -> Shop:
    shop.lab.change({"base/settings.yaml": "core-site:a: base\n", "bindings/keep.yaml": "settings: {core-site:k: '1'}\n"}, "before")
    shop.clusters().create(asked(), TERMS)
    return shop


def reverting(shop: Shop) -> Reverting:
    return Reverting(shop.lab, shop.journal())


def test_the_revision_that_was_applied_last(made: Shop) -> None:
    first = reverting(made).applied(REF)
    assert first == made.lab.revision()
    made.configure({"core-site:b": "1"})
    assert reverting(made).applied(REF) == first
    made.configuring().apply(REF, TERMS, Pace())
    assert reverting(made).applied(REF) == made.lab.revision() != first
    assert reverting(made).applied(OTHER) == ""


def test_a_stopped_cluster_that_is_configured_is_configured(made: Shop) -> None:
    made.clusters().stop(REF, TERMS)
    made.configure({"core-site:b": "1"})
    made.configuring().apply(REF, TERMS, Pace())
    assert reverting(made).applied(REF) == made.lab.revision()
    assert "<name>b</name>" in made.provider().config(REF)["worker-0/conf/core-site.xml"]


def test_files_that_concern_the_cluster_say_again_what_they_said(made: Shop) -> None:
    made.lab.change(
        {
            "base/settings.yaml": "core-site:a: changed\n",
            "bindings/new.yaml": "settings: {core-site:n: '1'}\n",
            "bindings/keep.yaml": None,
            "prices.yaml": None,
            "tenants/blue.yaml": "user_id: 20007\n",
        },
        "others",
    )
    made.configure({"core-site:b": "1"})
    assert set(reverting(made).changed(REF, reverting(made).applied(REF))) == {
        C, "base/settings.yaml", "bindings/new.yaml", "bindings/keep.yaml",
    }  # fmt: skip
    back = reverting(made).revert(REF, "take back")
    assert back
    assert set(back.paths) == {C, "base/settings.yaml", "bindings/new.yaml", "bindings/keep.yaml"}
    assert back.revision == made.lab.revision()
    cluster = made.lab.cluster(REF)
    assert cluster
    assert not cluster.configuration.settings
    shared = made.lab.shared("acme")
    assert (dict(shared.base.settings), [each.name for each in shared.bindings]) == ({"core-site:a": "base"}, ["keep"])
    assert made.lab.tenant("blue")


def test_how_many_nodes_there_are_and_whether_they_run_stays(made: Shop) -> None:
    made.clusters().create(asked(OTHER), TERMS)
    there = made.lab.cluster(REF)
    assert there
    groups = (there.groups[0], replace(there.groups[1], count=3))
    made.want(groups=groups, state=Wanted.STOPPED, configuration=Configuration({"core-site:b": "1"}))
    assert reverting(made).revert(REF, "take back")
    cluster = made.lab.cluster(REF)
    assert cluster
    assert (cluster.group("worker").count, cluster.state, dict(cluster.configuration.settings)) == (3, Wanted.STOPPED, {})
    assert made.lab.cluster(OTHER)


def test_where_nothing_is_new_or_known_nothing_is_done(made: Shop) -> None:
    before = made.lab.revision()
    assert reverting(made).revert(REF, "again") is None
    assert reverting(made).revert(OTHER, "never") is None
    assert made.lab.revision() == before


def test_what_was_changed_and_changed_back_is_no_change(made: Shop) -> None:
    made.configure({"core-site:b": "1"})
    made.configure({})
    before = made.lab.revision()
    assert reverting(made).revert(REF, "nothing") is None
    assert made.lab.revision() == before


def test_the_event_of_another_cluster_counts_for_that_one_only(made: Shop) -> None:
    first = reverting(made).applied(REF)
    made.clusters().create(asked(OTHER), TERMS)
    assert reverting(made).applied(REF) == first != reverting(made).applied(OTHER)
    assert [target for target, _ in made.journal().events(CONFIGURED)] == ["acme/c", "acme/other"]
