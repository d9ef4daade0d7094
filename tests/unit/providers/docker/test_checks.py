"""The list of Docker's checks, on an engine of given answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labcloud.errors import EngineError
from labcloud.model import Cluster, ClusterRef, NodeGroup, Tenant, Wanted
from labcloud.model.checks import Capacity, Check, Finding, ImageNeed, Severity, Subject, Verdict
from labcloud.providers.docker import checks as subject_of_test
from labcloud.providers.docker.engine import Engine
from labcloud.providers.docker.facts import Facts, Timed
from labcloud.providers.docker.probes import Ended, Probes, Resolved

NEED = ImageNeed("hadoop-2.7", 8, "hadoop-2.7.7")
CLUSTER = Cluster(
    ClusterRef("acme", "c"), "hadoop-2.7", "docker", "0" * 32, "labcloud/hadoop-2.7:0123456789ab", (NodeGroup("master", 1, 1536),)
)
IMAGE = {
    "Id": "sha256:1", "RepoTags": ["labcloud/hadoop-2.7:0123456789ab", "labcloud/hadoop-2.7:latest"],
    "Labels": {"labcloud.java": "8", "labcloud.version": "2.7.7"}, "Size": 1,
}  # fmt: skip


class Given(Facts):
    """Answers of a healthy engine without anything on it, or others."""

    def __init__(self, **answers: Any) -> None:
        super().__init__(Engine())
        info = {"Driver": "overlay2", "SystemTime": "1970-01-01T00:00:00Z"}
        self._given: dict[str, Any] = {
            "version": {"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12"},
            "info": Timed(info, 0.0, 0.0), "images": [IMAGE], "containers": [], "networks": [], "volumes": [],
        } | answers  # fmt: skip

    def _once(self, what: str, ask: Callable[..., Any]) -> Any:  # noqa: ARG002 - nobody is asked
        answer = self._given[what]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Probed(Probes):
    """Probes that always find the same."""

    def __init__(self) -> None:
        self.images: list[str] = []

    def memory(self, image: str) -> Ended:
        self.images.append(image)
        return Ended(137, True)

    def names(self, image: str) -> Resolved:
        self.images.append(image)
        return Resolved("a", "10.0.0.2", "n", Ended(0, False, "10.0.0.2 a\n10.0.0.2 a.n\n"))


def listed(facts: Facts, probes: Probes | None = None) -> Mapping[str, Check]:
    return {each.id: each for each in subject_of_test.checks(facts, probes or Probed(), "lab1")}


def ask(id: str, *, facts: Facts | None = None, **changed: Any) -> Finding:
    subject = Subject(Path("/lab"), "docker", lambda: Capacity(1, 1.0), cluster=CLUSTER, image=NEED, tenant=Tenant("acme", 1))
    return listed(facts or Given())[id].run(replace(subject, **changed))


@pytest.fixture(autouse=True)
def local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)


@pytest.mark.parametrize("id", sorted(listed(Given())))
def test_a_healthy_engine_passes_every_check(id: str) -> None:
    finding = ask(id)
    assert finding.verdict is (Verdict.SKIP if id == "network.ports" else Verdict.PASS), finding
    assert finding.fix == ""


def test_everything_needs_an_engine_that_answers() -> None:
    found = listed(Given())
    assert next(iter(found)) == "engine.reachable"  # whoever needs it must find it begun
    for check in found.values():
        chain = [check.id]
        while found[chain[-1]].needs:
            chain.append(found[chain[-1]].needs)
        assert chain[-1] == "engine.reachable"


def test_what_is_slow_is_believed_for_an_hour_and_concerns_no_cluster() -> None:
    kept = [each for each in listed(Given()).values() if each.keeps]
    assert {each.id for each in kept} == {"engine.memory-limits", "engine.dns"}
    assert all(each.machine for each in kept)
    assert listed(Given())["clock.skew"].severity is Severity.ADVISORY


def test_an_engine_that_is_silent_is_found_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///no/such/socket")
    finding = ask("engine.reachable", facts=Given(version=EngineError("no", details="said")))
    assert (finding.verdict, finding.summary) == (Verdict.FAIL, "no Docker Engine answers at unix:///no/such/socket")


def test_an_engines_address_is_shown_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://ada:s3cret@h:2375")
    assert subject_of_test.address() == "tcp://h:2375"


@pytest.mark.parametrize("id", ["engine.memory-limits", "engine.dns"])
def test_without_an_image_nothing_is_probed(id: str) -> None:
    finding = ask(id, facts=Given(images=[]))
    assert (finding.verdict, finding.summary) == (Verdict.SKIP, "no image is built yet")


@pytest.mark.parametrize(("cluster", "image"), [(CLUSTER, CLUSTER.image), (None, "sha256:1")])
def test_probes_use_the_clusters_image_or_any(cluster: Cluster | None, image: str) -> None:
    probes = Probed()
    check = listed(Given(), probes)["engine.dns"]
    check.run(Subject(Path("/lab"), "docker", lambda: Capacity(1, 1.0), cluster=cluster))
    assert probes.images == [image]


@pytest.mark.parametrize(
    ("there", "verdict"), [(None, Verdict.PASS), (CLUSTER, Verdict.FAIL), (replace(CLUSTER, state=Wanted.DELETED), Verdict.PASS)]
)
def test_only_a_cluster_that_is_there_is_bound_to_its_image(there: Cluster | None, verdict: Verdict) -> None:
    newer = {**IMAGE, "RepoTags": ["labcloud/hadoop-2.7:ba9876543210", "labcloud/hadoop-2.7:latest"]}
    assert ask("image.present", facts=Given(images=[newer]), there=there).verdict is verdict


def test_the_tenants_own_subnet_is_asked_for() -> None:
    route: Sequence[Any] = [{"Name": "n", "IPAM": {"Config": [{"Subnet": "10.250.0.0/16"}]}}]
    finding = ask("network.subnet", facts=Given(networks=route), tenant=Tenant("acme", 1, subnet="10.250.4.0/22"))
    assert finding.verdict is Verdict.FAIL
    assert "Docker's network n" in finding.summary


def test_two_clusters_of_one_command_cannot_have_one_port() -> None:
    mine, other = (replace(CLUSTER, ref=ClusterRef(tenant, "c"), publish={"namenode": 39870}) for tenant in ("acme", "blue"))
    finding = ask("network.ports", cluster=mine, alongside=(other,))
    assert finding.summary == "39870 for namenode is held by the cluster blue/c"
