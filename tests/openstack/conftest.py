"""A real OpenStack for the whole run: labcloud's test cloud (``tests/openstack/cloud``, described in docs/openstack-testing.md).

It is installed where that has not been done, started unless it runs already, and then stopped at the end; one that ran before goes on.
``LABCLOUD_TEST_CLOUD`` says in which folder it lives. A cloud that can't be started fails the tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.openstack import driver
from tests.openstack.driver import Cloud
from tests.openstack.inventory import inventory

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever comes to the garbage collector last is not to blame for sockets that the SDK left to it somewhere: that labcloud closes its
    own is tested by `tests/unit/providers/openstack/test_connection.py`."""
    for each in items:
        if each.path.is_relative_to(_HERE):
            each.add_marker(pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"))


@pytest.fixture(scope="session")
def cloud() -> Iterator[Cloud]:
    ran_before = driver.runs()
    driver.script("install.sh")
    try:
        with driver.connected(driver.start()) as made:
            yield made
    finally:
        if not ran_before:
            driver.script("stop.sh")
    if not ran_before:
        assert driver.leftovers() == [], "the cloud's own stop left this"


@pytest.fixture
def nothing_left(cloud: Cloud) -> Iterator[None]:
    """The member's project holds after the test what it held before."""
    before = inventory(cloud.member)
    yield
    assert inventory(cloud.member) == before


@pytest.fixture(scope="session")
def guest_image(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The id of a public image of a small guest, for the real compute host; who logs in is root, by key."""
    disk = tmp_path_factory.mktemp("guest") / "guest.raw"
    driver.script("guest-image.sh", str(disk))
    image = cloud.admin.create_image(
        "small-guest", data=disk.read_bytes(), disk_format="raw", container_format="bare", visibility="public", wait=True
    )
    yield image.id
    cloud.admin.delete_image(image.id, wait=True)
