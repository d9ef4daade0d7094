"""Cinder's own backups of data volumes, by the real Cinder and its backup service; servers that have the volumes only seem to run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from labcloud.errors import EngineError
from labcloud.model import ClusterRef, NodeRef, NodeVolume
from labcloud.providers.base import KeptVolume
from tests.openstack.test_provider import Site, site  # noqa: F401 - a fixture
from tests.openstack.test_volumes import FAST, of_cluster, spec

pytestmark = pytest.mark.timeout(900)

FACTS = {"manifest": "größer\n" * 300, "volumes": "2"}


def written(cloud: Any, id: str, text: str = "") -> str:
    """What a volume begins with; ``text`` is written there before. Its file is where the test cloud's Cinder has it."""
    share = Path(os.path.realpath(cloud.clouds_yaml.parent), "cinder", "share", f"volume-{id}")
    if text:
        cloud.inside("python3", "-c", "import sys; open(sys.argv[1], 'r+b').write(sys.argv[2].encode())", str(share), text)
    return str(cloud.inside("head", "-c", "8", str(share))).strip("\0")


def test_volumes_are_kept_while_they_are_used_and_come_back_as_others(site: Site, cloud: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    provider, specs = site.provider, [spec(site, index) for index in range(2)]
    monkeypatch.setattr(provider, "_on_node", lambda *_: None)  # there is no guest whose memory could have anything
    places = [(each.ref, 0) for each in specs]
    site.make(*specs)
    ids = [id for _, (id, _) in sorted(of_cluster(site, cloud).items())]  # in the order of places
    for id in ids:
        written(cloud, id, "monday..")
    provider.keep_volumes("20261123t020000-0001", places, FACTS, whole=True)
    written(cloud, ids[0], "tuesday.")
    provider.keep_volumes("20261124t020000-0002", places, FACTS, whole=False)
    provider.keep_volumes("20261124t020000-0002", places, FACTS, whole=False)  # and is there already

    found = provider.kept_volumes(site.tenant, site.cluster)
    assert [(each.copy[-4:], each.whole, each.state) for each in found] == [
        *[("0001", True, KeptVolume.KEPT)] * 2, *[("0002", False, KeptVolume.KEPT)] * 2,
    ]  # fmt: skip
    assert {(each.ref, each.number) for each in found} == set(places)
    assert all(dict(each.facts) == FACTS and each.size == 1 << 30 for each in found)
    assert provider.kept_volumes(site.tenant, ClusterRef(site.tenant, "other")) == []
    assert site.open("another lab").kept_volumes(site.tenant) == []

    # As volumes of another cluster, of the newer and of the older copy.
    for copy, text in (("20261124t020000-0002", "tuesday."), ("20261123t020000-0001", "monday..")):
        other = ClusterRef(site.tenant, f"from.{copy[-4:]}")
        new = {(NodeRef(other, "worker", index), 0): place for index, place in enumerate(places)}
        provider.bring_volumes(copy, new, dict.fromkeys(new, NodeVolume(1, FAST)), copy)
        provider.bring_volumes(copy, new, dict.fromkeys(new, NodeVolume(1, FAST)), copy)
        brought = provider.find(cluster=other)
        assert brought.volumes == new.keys()
        assert brought.snapshots == {(ref, number, copy) for ref, number in new}
        there = {each.place: each.id for each in provider._volumes.listed(cluster=other)}
        assert [written(cloud, there[place]) for place in sorted(there)] == [text, "monday.."]
        provider.delete_volumes([(*place, "") for place in new])

    with pytest.raises(EngineError):  # the other copy needs it
        provider.forget_volumes(site.tenant, ["20261123t020000-0001"])
    provider.forget_volumes(site.tenant, ["20261123t020000-0001", "20261124t020000-0002"])
    assert provider.kept_volumes(site.tenant) == []


def test_what_lies_on_a_servers_own_disk_is_refused(site: Site) -> None:  # noqa: F811
    site.make(site.spec(0))
    with pytest.raises(EngineError, match="Cinder keeps its own volumes alone") as caught:
        site.provider._keeping.keep("20261123t020000-0001", [(site.spec(0).ref, 0)], {}, whole=True)
    assert "driver cinder" in caught.value.resolution
