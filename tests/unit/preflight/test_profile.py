"""Memory and Java of a profile, and whether its image is the newest that could be."""

from __future__ import annotations

import pytest

from labcloud.model import Configuration
from labcloud.model.checks import Check, ImageNeed, Severity, Verdict
from labcloud.preflight.families import profile
from labcloud.profiles import load, names
from tests.unit.preflight.conftest import Asked, Made

NEED = ImageNeed("hadoop-2.7", 8, "hadoop-2.7.7", (7, 8))


def check(id: str) -> Check:
    return next(each for each in profile.CHECKS if each.id == id)


def test_a_group_with_too_little_memory_is_named_with_both_figures(cluster: Made) -> None:
    finding = profile.judge_memory(cluster(memory=1024), {"master": 1024, "worker": 1040})
    assert finding.verdict is Verdict.FAIL
    assert finding.summary == "hadoop-2.7: a worker has 1g and needs 1040m"
    assert finding.fix == "labcloud create hadoop-2.7 --tenant acme --name c --workers 2 --cpus 2 --volume-size 10g --memory 1040m"
    assert finding.evidence["needs_mib"] == {"master": 1024, "worker": 1040}


def test_the_fix_is_enough_for_every_group(cluster: Made) -> None:
    finding = profile.judge_memory(cluster(memory=512), {"master": 3000, "worker": 1040})
    assert finding.fix.partition("--memory ")[2].startswith("3000m")


def test_just_enough_is_enough(cluster: Made) -> None:
    assert profile.judge_memory(cluster(memory=1040), {"master": 1536, "worker": 1040}).verdict is Verdict.PASS


@pytest.mark.parametrize(("java", "verdict"), [(8, Verdict.PASS), (17, Verdict.FAIL)])
def test_java(java: int, verdict: Verdict) -> None:
    finding = profile.judge_java(ImageNeed("hadoop-2.7", java, "hadoop-2.7.7", (7, 8)))
    assert finding.verdict is verdict
    assert finding.evidence["supported"] == [7, 8]


def test_a_profile_that_does_not_say_is_not_judged() -> None:
    assert profile.judge_java(ImageNeed("mine", 8, "mine-1")).verdict is Verdict.SKIP


@pytest.mark.parametrize("name", names())
def test_every_profile_that_is_shipped_runs_on_its_java(name: str) -> None:
    shipped = load(name)
    assert profile.judge_java(ImageNeed(name, shipped.java, shipped.stack, shipped.supported_java)).verdict is Verdict.PASS


def test_an_older_image_is_told_and_never_refused() -> None:
    finding = profile.judge_digest("hadoop-2.7", "labcloud/hadoop-2.7:0123456789ab", "labcloud/hadoop-2.7:ba9876543210")
    assert finding.verdict is Verdict.WARN
    assert finding.fix == "labcloud image build hadoop-2.7"
    assert check("image.digest").severity is Severity.ADVISORY


def test_the_image_as_declared_passes(subject: Asked, cluster: Made) -> None:
    from labcloud.images.cookbook import Cookbook

    current = Cookbook().recipe("hadoop-2.7").reference
    assert check("image.digest").run(subject(cluster(image=current), image=NEED)).verdict is Verdict.PASS
    assert check("image.digest").run(subject(cluster(), image=NEED)).verdict is Verdict.WARN


@pytest.mark.parametrize(
    ("image", "reason"), [("", "no image is built yet"), ("labcloud/hadoop-2.7:simulated", "labcloud/hadoop-2.7:simulated has no digest")]
)
def test_what_has_no_digest_is_skipped(subject: Asked, cluster: Made, image: str, reason: str) -> None:
    assert check("image.digest").run(subject(cluster(image=image), image=NEED)).summary == reason


def test_a_cluster_keeps_its_image(subject: Asked, cluster: Made) -> None:
    there = cluster()
    finding = check("image.digest").run(subject(there, there=there, image=NEED))
    assert finding.summary == "acme/c keeps the image that it was created with"


def test_settings_are_asked_only_where_there_are_any(subject: Asked, cluster: Made) -> None:
    assert check("profile.settings").run(subject(cluster())).verdict is Verdict.SKIP
    assert (
        check("profile.settings").run(subject(cluster(configuration=Configuration({"hdfs-site:dfs.replication": "2"})))).verdict
        is Verdict.PASS
    )


def test_all_that_is_wrong_with_settings_is_told_at_once(subject: Asked, cluster: Made) -> None:
    settings = {"core-site:a.b": "1", "hdfs-site:dfs.replication": "x"}
    finding = check("profile.settings").run(subject(cluster(configuration=Configuration(settings))))
    assert finding.verdict is Verdict.FAIL
    assert finding.evidence["findings"] == {"hdfs-site:dfs.replication": "error", "core-site:a.b": "warning"}
    assert "'x' is not a whole number" in finding.summary
    assert "knows no setting a.b" in finding.summary
