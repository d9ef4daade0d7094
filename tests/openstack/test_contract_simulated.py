"""The provider's contract where nobody need be inside a node: on the simulated computes of a real Nova."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from labcloud.lab import Lab
from labcloud.providers.openstack.provider import OpenStackProvider
from tests.contract import test_provider as contract
from tests.contract.conftest import IMAGE, Bench, bench_of
from tests.openstack.driver import Cloud
from tests.openstack.inventory import inventory
from tests.openstack.without_guests import WithoutGuests

pytestmark = pytest.mark.timeout(180)

TESTS = (
    contract.test_a_dataset_that_is_not_stored_is_refused,
    contract.test_a_made_node_is_found_with_its_identity,
    contract.test_a_node_can_be_deleted_while_stopped,
    contract.test_a_node_needs_its_image,
    contract.test_a_node_needs_its_network,
    contract.test_a_volume_in_use_is_not_deleted,
    contract.test_an_image_has_a_reference,
    contract.test_an_unknown_image_is_not_found,
    contract.test_another_lab_sees_nothing,
    contract.test_another_provider_of_the_same_lab_sees_the_same,
    contract.test_deletions_at_once_all_end_when_it_is_gone,
    contract.test_ensure_twice_changes_nothing,
    contract.test_execute_needs_a_running_node,
    contract.test_find_gives_what_is_asked_for_and_no_more,
    contract.test_nodes_are_made_from_several_threads,
    contract.test_nothing_exists_at_first,
    contract.test_what_is_gone_is_deleted,
    contract.test_what_nodes_see_is_written_from_several_threads,
)
globals().update({each.__name__: each for each in TESTS})


@pytest.fixture
def bench(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    for name, value in cloud.environment.items():
        monkeypatch.setenv(name, value)
    before = inventory(cloud.member)
    kind = {"disk_format": "raw", "container_format": "bare", "labcloud_image": IMAGE}
    image = cloud.member.create_image(f"labcloud/{IMAGE}", data=b"no guest reads this", wait=True, **kind)
    lab = Lab(tmp_path / "home")
    with bench_of(lab, lambda id: OpenStackProvider(lab.home, id, nodes=WithoutGuests(lab.home))) as made:
        yield made
    cloud.member.image.delete_image(image)
    assert inventory(cloud.member) == before
