"""What ran on a host that is dead, made anew elsewhere. In a cloud of its own: it is back only when its service was started anew."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from labcloud.errors import ConflictError
from labcloud.migrate.moving import Policy
from labcloud.migrate.planning import Wish
from labcloud.model.hosts import How
from tests.openstack import driver
from tests.openstack.driver import Cloud
from tests.openstack.test_migrate import Fleet, fleet, host_of, nodes  # noqa: F401 - fixtures

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with driver.own_cloud("dying", GUESTS="none") as made:
        yield made


def test_what_ran_on_a_dead_host_is_made_anew_elsewhere(fleet: Fleet, nodes: Any) -> None:  # noqa: F811
    (id,), (ref,), api = fleet.make(), nodes("one", 1), fleet.cloud.admin.compute
    dead = host_of(fleet, ref)
    with pytest.raises(ConflictError, match="is up"):
        fleet.verbs().evacuate(dead, Wish(), Policy(), fenced=True)
    (service,) = api.services(binary="nova-compute", host=dead)
    api.update_service_forced_down(service, forced=True)
    plan = {each.guest.label: each for each in fleet.verbs().plan_evacuate(dead, Wish())}
    lost = next(each for each in plan[str(ref)].report.checks if each.id == "move.data")
    assert lost.summary == "/data/0 were on its host alone: HDFS copies what others have"
    outcomes = fleet.verbs().evacuate(dead, Wish(), Policy())
    assert {each.how for each in outcomes} == {How.REBUILD}
    assert host_of(fleet, ref) != dead
    assert fleet.host_of(id) != dead
    assert fleet.state_of(id) == ("ACTIVE", None)
