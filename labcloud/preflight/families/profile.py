"""Whether the nodes can hold what the profile runs, and its parts fit together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from labcloud.model import Cluster, format_memory
from labcloud.model.checks import Check, Finding, ImageNeed, Severity, Subject, ask_again, failed, passed, skipped, warned
from labcloud.profiles.settings import Level, SettingFinding, check_settings

_DIGEST: Final = re.compile(":[0-9a-f]{12}$")


def judge_memory(cluster: Cluster, minimum: Mapping[str, int]) -> Finding:
    """Whether a node of each group has the ``minimum`` MiB that its daemons and its work need."""
    has = {group.name: group.memory for group in cluster.groups}
    figures = {"has_mib": has, "needs_mib": {name: minimum.get(name, 0) for name in has}}
    short = {name: need for name, need in minimum.items() if has.get(name, need) < need}
    if short:
        said = ", ".join(f"a {name} has {format_memory(has[name])} and needs {format_memory(need)}" for name, need in short.items())
        return failed(f"{cluster.profile}: {said}", ask_again(cluster, memory=format_memory(max(minimum.values()))), **figures)
    said = ", ".join(f"{name} {format_memory(have)}" for name, have in has.items())
    return passed(f"enough for what {cluster.profile} runs: {said}", **figures)


def judge_java(need: ImageNeed) -> Finding:
    """Whether the stack runs on the Java release that the profile names."""
    figures = {"java": need.java, "stack": need.stack, "supported": list(need.supported_java)}
    if not need.supported_java:
        return skipped(f"{need.name} does not say which Java releases {need.stack} runs on", **figures)
    if need.java not in need.supported_java:
        releases = ", ".join(map(str, need.supported_java))
        fix = f"labcloud profile check {need.name}"
        return failed(f"{need.stack} runs on Java {releases}, and the profile {need.name} names {need.java}", fix, **figures)
    return passed(f"{need.stack} runs on Java {need.java}", **figures)


def judge_digest(name: str, reference: str, current: str) -> Finding:
    """Whether the newest image of ``name`` is what its declarations would make now. Both are ``labcloud/NAME:DIGEST``."""
    built, declared = reference.rpartition(":")[2], current.rpartition(":")[2]
    figures = {"built": built, "declared": declared}
    if built != declared:
        return warned(
            f"the image of {name} is {built}; what is declared now would be {declared}", f"labcloud image build {name}", **figures
        )
    return passed(f"the image of {name} is {built}, as it is declared", **figures)


def judge_settings(cluster: Cluster, findings: Sequence[SettingFinding]) -> Finding:
    """Whether what people set works in the profile, and is there at all."""
    number = len(cluster.configuration.settings)
    figures = {"settings": number, "findings": {each.key: str(each.level) for each in findings}}
    if not findings:
        return passed(f"{number} setting{'s' if number > 1 else ''}, known and of the right kind", **figures)
    said = "; ".join(map(str, findings))
    first = findings[0]
    file, _, name = first.key.partition(":")
    if first.level is Level.ERROR:
        return failed(f"{cluster.profile}: {said}", f"labcloud profile settings {cluster.profile} {name}", **figures)
    return warned(f"{cluster.profile}: {said}", f"labcloud profile settings {cluster.profile} {file}:", **figures)


def _settings(subject: Subject) -> Finding:
    if subject.cluster is None or not subject.cluster.configuration.settings:
        return skipped("no setting is asked for")
    from labcloud.profiles import load

    return judge_settings(subject.cluster, check_settings(load(subject.cluster.profile), subject.cluster.configuration.settings))


def _memory(subject: Subject) -> Finding:
    if subject.cluster is None:
        return skipped("no cluster is asked for")
    return judge_memory(subject.cluster, subject.minimum_memory)


def _java(subject: Subject) -> Finding:
    return judge_java(subject.image) if subject.image else skipped("no profile is asked for")


def _digest(subject: Subject) -> Finding:
    if subject.image is None or subject.cluster is None:
        return skipped("no image is asked for")
    if subject.there is not None and subject.there.image == subject.cluster.image:
        return skipped(f"{subject.cluster.ref} keeps the image that it was created with")
    if not subject.cluster.image:
        return skipped("no image is built yet")
    if not _DIGEST.search(subject.cluster.image):
        return skipped(f"{subject.cluster.image} has no digest")
    from labcloud.images.cookbook import Cookbook

    return judge_digest(subject.image.name, subject.cluster.image, Cookbook().recipe(subject.image.name).reference)


CHECKS: Final[tuple[Check, ...]] = (
    Check("profile.memory", "a daemon whose heap does not fit into its node's memory is killed under the first load", _memory),
    Check("profile.java", "Hadoop on a Java that it was not made for ends with errors of missing classes", _java),
    Check("profile.settings", "a setting that Hadoop does not know has no effect; a value that it cannot read ends a daemon", _settings),
    Check(
        "image.digest",
        "a node of an older image lacks what was mended since",
        _digest,
        Severity.ADVISORY,
        keeps=600.0,
        needs="image.present",
    ),
)
