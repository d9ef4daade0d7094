"""The provider's contract where a node has to answer: on guests of a real Nova, made once for all of these tests.

What needs an NFS server in the guest's kernel, datasets, is asked of virtual machines (test_machines.py): containers have none.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labcloud.lab import Lab
from labcloud.providers.openstack.provider import OpenStackProvider
from tests.contract import test_provider as contract
from tests.contract.conftest import IMAGE, Bench, bench_of
from tests.openstack.driver import Cloud
from tests.openstack.labs import lab_of_guests

pytestmark = pytest.mark.timeout(300)

TESTS = (
    contract.test_a_node_is_inspected_with_its_real_limits,
    contract.test_a_request_that_nothing_answers_is_refused,
    contract.test_a_volume_that_is_not_there_has_no_folder,
    contract.test_configuration_changes_in_place_and_is_read_only,
    contract.test_execute_feeds_standard_input,
    contract.test_execute_gives_exit_code_and_both_streams,
    contract.test_execute_passes_streams_on,
    contract.test_execute_runs_as_the_user,
    contract.test_execute_takes_arguments_as_they_are,
    contract.test_names_resolve_forward_and_reverse,
    contract.test_nodes_of_a_tenant_reach_each_other_and_no_others,
    contract.test_put_file_needs_an_existing_folder,
    contract.test_put_file_sets_content_owner_and_mode,
    contract.test_snapshots_go_one_by_one_while_their_node_runs,
    contract.test_stop_and_start_keep_the_node_and_its_volume,
)
globals().update({each.__name__: each for each in TESTS})


@pytest.fixture(scope="module")
def bench(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with lab_of_guests(cloud, tmp_path_factory.mktemp("lab") / "home", IMAGE) as labcloud:
        labcloud("image", "build", IMAGE, "--format", "raw", timeout=600)
        labcloud("image", "publish", IMAGE, "--format", "raw", timeout=300)
        lab = Lab(labcloud.home)
        with bench_of(lab, lambda id: OpenStackProvider(lab.home, id)) as made:
            yield made
