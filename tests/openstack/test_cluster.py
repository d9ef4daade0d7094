"""A Hadoop cluster on guests of a real Nova, from the disk that labcloud built and published to a project that is as it was before."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator

import pytest
import yaml

from labcloud.lab import home
from tests.acceptance.driver import Cluster, Labcloud, count_words, read_counts, real_text
from tests.openstack.driver import Cloud
from tests.openstack.inventory import inventory

pytestmark = pytest.mark.timeout(900)

PROFILE = "hadoop-2.7"
# The project's guests are reached as a tenant of a public cloud reaches them.
SETTINGS = {"availability-zone": "real", "external-network": "public", "floating-addresses": True}
TEXT = real_text()


@pytest.fixture(scope="module")
def labcloud(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labcloud]:
    """A lab that knows the cloud as its member does; the project holds afterwards what it held before."""
    before = inventory(cloud.member)
    lab = Labcloud(tmp_path_factory.mktemp("lab") / "home", home() / "cache")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in cloud.environment.items():
            patch.setenv(name, value)
        lab("backup", "policy", "set", "--lab", "enabled=false")
        settings = lab.home / "lab" / "openstack.yaml"
        settings.write_text(yaml.safe_dump(SETTINGS))
        for argv in (("add", settings.name), ("commit", "-q", "-m", "which cloud")):
            subprocess.run(["git", "-C", str(settings.parent), *argv], check=True)
        yield lab
    for image in cloud.member.image.images(owner=cloud.member.current_project_id, name=f"labcloud/{PROFILE}"):
        cloud.member.image.delete_image(image)
    assert inventory(cloud.member) == before


@pytest.fixture(scope="module")
def cluster(labcloud: Labcloud) -> Iterator[Cluster]:
    made = Cluster(labcloud, f"ost-{secrets.token_hex(3)}", PROFILE)
    yield made
    labcloud("delete", "--yes", made.ref, expect=None)


def test_a_disk_is_built_and_published_once(labcloud: Labcloud) -> None:
    labcloud("image", "build", PROFILE, "--format", "raw", timeout=600)
    (first,) = labcloud.json("image", "publish", PROFILE, "--format", "raw", timeout=300)
    (again,) = labcloud.json("image", "publish", PROFILE, "--format", "raw")
    assert (first["made"], again["made"], again["id"]) == (True, False, first["id"])


def test_a_cluster_gets_ready_and_is_found(cluster: Cluster) -> None:
    view = cluster.create("--provider", "openstack", "--workers", "2", "--timeout", "400")
    assert (view["provider"], view["status"]) == ("openstack", "ready")
    assert [node["name"] for node in view["nodes"]] == ["master-0", "worker-0", "worker-1"]
    assert set(cluster.states().values()) <= {"running", "starting"}
    assert "there already" in cluster.labcloud("create", PROFILE, "--tenant", cluster.tenant, "--provider", "openstack").said


def test_names_resolve_forward_and_reverse(cluster: Cluster) -> None:
    addresses = {node["name"]: node["address"] for node in cluster.show()["nodes"]}
    script = 'for name; do forward=$(getent ahostsv4 "$name") address=${forward%% *}; echo "$name" $(getent hosts "$address"); done'
    for node in addresses:
        lines = cluster.exec("bash", "-c", script, "bash", *addresses, node=node).text.splitlines()
        for name, address, reverse, *_ in (line.split() for line in lines):
            assert address == addresses[name]
            assert reverse.startswith(f"{name}.{cluster.name}.{cluster.tenant}.")


def test_words_are_counted(cluster: Cluster) -> None:
    cluster.put("text", TEXT)
    cluster.submit("wordcount", "text", "words")
    assert read_counts(cluster.cat("words/part-*")) == count_words(TEXT)


def test_a_worker_joins_and_leaves(cluster: Cluster) -> None:
    cluster.labcloud("scale", cluster.ref, "--workers", "3", timeout=400)
    assert len(cluster.show()["nodes"]) == 4
    cluster.labcloud("scale", cluster.ref, "--workers", "2", timeout=400)
    assert [node["name"] for node in cluster.show()["nodes"]] == ["master-0", "worker-0", "worker-1"]
    assert cluster.cat("text") == TEXT


def test_delete_leaves_nothing(cluster: Cluster, cloud: Cloud) -> None:
    cluster.delete()
    found = inventory(cloud.member)
    assert {kind: names for kind, names in found.items() if names} == {"images": [f"labcloud/{PROFILE}"]}
    assert cluster.labcloud.leftovers(cluster.tenant) == []
