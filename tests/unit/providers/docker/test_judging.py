"""What a Docker Engine's answers mean; the answers are shortened ones of real engines."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from labcloud.errors import EngineError
from labcloud.model import Cluster, ClusterRef, NodeGroup, StorageClass, Volume
from labcloud.model.checks import ImageNeed, Verdict
from labcloud.providers.docker import judging
from labcloud.providers.docker.facts import Timed
from labcloud.providers.docker.judging import Socket
from labcloud.providers.docker.probes import Ended, Resolved

DEBIAN = {"Version": "20.10.24+dfsg1", "ApiVersion": "1.41", "MinAPIVersion": "1.12"}
NEED = ImageNeed("hadoop-2.7", 8, "hadoop-2.7.7")
OVERLAY = {"Driver": "overlay2", "DriverStatus": [["Backing Filesystem", "extfs"], ["Supports d_type", "true"]], "DockerRootDir": "/d"}


def image(name: str = "hadoop-2.7", *, java: str = "8", version: str = "2.7.7") -> dict[str, Any]:
    tags = [f"labcloud/{name}:0123456789ab", f"labcloud/{name}:latest"]
    return {"Id": "sha256:1", "RepoTags": tags, "Labels": {"labcloud.java": java, "labcloud.version": version}, "Size": 307_000_000}


# Whether it answers


@pytest.mark.parametrize(
    ("socket", "summary", "fix"),
    [
        (Socket("unix:///s", True, systemd=True), "no Docker Engine answers at unix:///s", "systemctl restart docker"),
        (
            Socket("unix:///s", True, exists=True, allowed=True),
            "no Docker Engine answers at unix:///s",
            "dockerd >/var/log/dockerd.log 2>&1 &",
        ),
        (Socket("unix:///s", True, exists=True), "this user may not speak to Docker at unix:///s", "usermod --append --groups docker "),
        (Socket("tcp://h:2375", False), "Docker at tcp://h:2375 does not answer", "unset DOCKER_HOST"),
    ],
)
def test_why_nobody_answers(socket: Socket, summary: str, fix: str) -> None:
    finding = judging.unreachable(EngineError("no", details="said"), socket)
    assert (finding.verdict, finding.summary) == (Verdict.FAIL, summary)
    assert finding.fix.startswith(fix)
    assert finding.evidence["said"] == "said"


def test_a_socket_that_is_not_there_is_seen() -> None:
    assert judging.look_at_socket("unix:///no/such/socket").exists is False
    assert judging.look_at_socket("tcp://h:1").local is False


@pytest.mark.parametrize(
    ("version", "verdict", "fix"),
    [
        (DEBIAN, Verdict.PASS, ""),
        ({"Version": "28.2.2", "ApiVersion": "1.50", "MinAPIVersion": "1.24"}, Verdict.PASS, ""),
        ({"Version": "19.03.15", "ApiVersion": "1.40", "MinAPIVersion": "1.12"}, Verdict.FAIL, "--only-upgrade"),
        ({"Version": "29.0.4", "ApiVersion": "1.52", "MinAPIVersion": "1.44"}, Verdict.FAIL, "DOCKER_MIN_API_VERSION=1.41"),
        ({"Version": "", "ApiVersion": ""}, Verdict.FAIL, "--only-upgrade"),
    ],
)
def test_versions(version: dict[str, str], verdict: Verdict, fix: str) -> None:
    finding = judging.judge_version(version)
    assert finding.verdict is verdict
    assert fix in finding.fix


@pytest.mark.parametrize(("text", "found"), [("20.10.24+dfsg1", (20, 10, 24)), ("29.0.0-rc.1", (29, 0, 0)), ("", ()), ("dev", ())])
def test_numbers_of_a_version(text: str, found: tuple[int, ...]) -> None:
    assert judging.numbers(text) == found


# How it keeps images and holds limits


@pytest.mark.parametrize(
    ("driver", "verdict"),
    [
        *((each, "pass") for each in ("overlay2", "overlayfs", "btrfs", "zfs")),
        *((each, "fail") for each in ("vfs", "devicemapper", "aufs")),
        ("fuse-overlayfs", "warn"),
    ],
)
def test_storage_drivers(driver: str, verdict: str) -> None:
    assert judging.judge_storage(OVERLAY | {"Driver": driver}, False).verdict == verdict


def test_overlay_on_a_file_system_without_types_is_refused() -> None:
    info = OVERLAY | {"DriverStatus": [["Backing Filesystem", "xfs"], ["Supports d_type", "false"]]}
    assert judging.judge_storage(info, False).verdict is Verdict.FAIL


def test_a_file_of_settings_that_is_there_is_added_to() -> None:
    bad = OVERLAY | {"Driver": "vfs"}
    assert judging.judge_storage(bad, False).fix.startswith('echo \'{"storage-driver": "overlay2"}\' >/etc/docker/daemon.json')
    assert judging.judge_storage(bad, True).fix.startswith('jq \'."storage-driver"="overlay2"\' /etc/docker/daemon.json')


@pytest.mark.parametrize(
    ("info", "verdict", "missing"),
    [
        ({"MemoryLimit": True, "CpuCfsQuota": True, "PidsLimit": True}, Verdict.PASS, ""),
        ({"MemoryLimit": False, "CpuCfsQuota": True, "PidsLimit": True}, Verdict.FAIL, "memory"),
        ({"MemoryLimit": True, "CpuCfsQuota": False, "PidsLimit": False}, Verdict.FAIL, "cpu, pids"),
    ],
)
def test_controllers(info: dict[str, bool], verdict: Verdict, missing: str) -> None:
    finding = judging.judge_limits(info)
    assert finding.verdict is verdict
    assert missing in finding.summary


@pytest.mark.parametrize(
    ("ended", "info", "verdict"),
    [
        (Ended(137, True), {}, Verdict.PASS),
        (Ended(137, False), {}, Verdict.PASS),  # the engine learns of it later than of the end
        (Ended(0, False), {"SwapLimit": True}, Verdict.FAIL),
        (Ended(0, False), {"SwapLimit": False}, Verdict.WARN),
        (Ended(1, False), {}, Verdict.FAIL),
    ],
)
def test_a_limit_holds_if_the_kernel_kills(ended: Ended, info: dict[str, bool], verdict: Verdict) -> None:
    assert judging.judge_memory(ended, info).verdict is verdict


FORWARD, REVERSE = "10.0.0.2  a.w.labcloud\n", "10.0.0.2  a.w.labcloud.net\n"


@pytest.mark.parametrize(
    ("said", "broken"),
    [
        (FORWARD + REVERSE, ""),
        (FORWARD, "by address"),
        (REVERSE, "by name"),
        ("10.0.0.9  a.w.labcloud\n" + REVERSE, "by name"),
        ("", "by name and by address"),
    ],
)
def test_names_must_resolve_in_both_directions(said: str, broken: str) -> None:
    finding = judging.judge_names(Resolved("a.w.labcloud", "10.0.0.2", "net", Ended(0 if not broken else 2, False, said)))
    assert finding.verdict is (Verdict.FAIL if broken else Verdict.PASS)
    assert finding.summary.endswith(broken)


@pytest.mark.parametrize(
    ("theirs", "skew", "verdict"),
    [
        (100.0, 0.0, Verdict.PASS),
        (100.4, 0.0, Verdict.PASS),
        (95.0, -5.0, Verdict.PASS),
        (94.9, -5.1, Verdict.WARN),
        (106.0, 5.5, Verdict.WARN),
    ],
)
def test_clocks(theirs: float, skew: float, verdict: Verdict) -> None:
    time = datetime.fromtimestamp(theirs, UTC).isoformat().replace("+00:00", "Z")
    finding = judging.judge_clock(Timed({"SystemTime": time}, 100.0, 100.5), True)
    assert finding.verdict is verdict
    assert finding.evidence["skew_seconds"] == pytest.approx(skew)


def test_the_kernel_says_whether_its_clock_is_synchronised() -> None:
    assert judging.kernel_clock() in (True, False)


# Images


def test_the_newest_image_is_looked_for() -> None:
    assert judging.judge_present(NEED, "", [image()]).evidence["size_mb"] == 307.0
    missing = judging.judge_present(NEED, "", [image("hadoop-3.4")])
    assert (missing.verdict, missing.fix) == (Verdict.FAIL, "labcloud image build hadoop-2.7")
    assert missing.evidence["built"] == ["labcloud/hadoop-3.4:latest"]


def test_an_existing_clusters_image_is_its_own() -> None:
    pinned = "labcloud/hadoop-2.7:ba9876543210"
    assert judging.judge_present(NEED, "labcloud/hadoop-2.7:0123456789ab", [image()]).verdict is Verdict.PASS
    gone = judging.judge_present(NEED, pinned, [image()])
    assert gone.summary == f"the image {pinned}, which the cluster is made of, is gone"


@pytest.mark.parametrize(
    ("java", "version", "wrong"),
    [
        ("8", "2.7.7", ""),
        ("11", "2.7.7", "Java 11 instead of 8"),
        ("8", "2.7.6", "version 2.7.6 instead of 2.7.7"),
        ("", "", "Java unknown"),
    ],
)
def test_contents(java: str, version: str, wrong: str) -> None:
    finding = judging.judge_contents(NEED, image(java=java, version=version))
    assert finding.verdict is (Verdict.FAIL if wrong else Verdict.PASS)
    assert wrong in finding.summary


# Volume drivers


def test_a_volume_driver_that_docker_has_not_is_named_with_its_class() -> None:
    volumes = (Volume(1, "far"), Volume(1))
    cluster = Cluster(ClusterRef("acme", "c"), "p", "docker", "0", "i", (NodeGroup("worker", 1, 1024, volumes=volumes),))
    classes = {"far": StorageClass("far", driver="sshfs"), "unused": StorageClass("unused", driver="rexray")}
    info = {"Plugins": {"Volume": ["local"]}}
    finding = judging.judge_drivers(cluster, classes, info)
    assert (finding.verdict, finding.fix) == (Verdict.FAIL, "docker plugin install sshfs")
    assert "that far names" in finding.summary
    assert judging.judge_drivers(cluster, {"far": StorageClass("far", driver="local")}, info).verdict is Verdict.PASS
    assert judging.judge_drivers(cluster, {}, {}).verdict is Verdict.PASS
