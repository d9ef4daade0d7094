"""The probe of an operation: how it ended, from its record in the journal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from labcloud.apply.journal import Record, Result
from labcloud.diagnosis.model import Case, Results
from labcloud.diagnosis.probes.base import Probe
from labcloud.diagnosis.subject import Subject
from labcloud.errors import UsageError

# What the error said that ended it, by the words of `labcloud.errors`' raisers, most telling first.
_WORDS: Final = (
    ("engine-unreachable", re.compile(r"no Docker Engine answers|did not answer in time")),
    ("no-permission", re.compile(r"no permission on Docker's socket")),
    ("disk-was-full", re.compile(r"disk is full|no space left", re.IGNORECASE)),
    ("port-was-taken", re.compile(r"port.*(?:is taken|already allocated|already in use)", re.IGNORECASE)),
    ("image-missing", re.compile(r"image of .* is not built|there is no image", re.IGNORECASE)),
    ("name-was-taken", re.compile(r"exists already, and is not this lab's")),
    ("waited-for-lock", re.compile(r"is busy: ")),
)
_KINDS: Final = {
    "PreflightError": "preflight-refused", "QuotaError": "quota-used-up", "DeadlineError": "deadline-passed",
    "ConfiguringError": "configuring-failed", "ConflictError": "conflict", "UsageError": "asked-wrongly",
    "ConfigError": "file-wrong", "NotFoundError": "not-found", "EngineError": "engine-refused", "PartlyDoneError": "partly-done",
}  # fmt: skip
_ENDED: Final = ("error", "said", "verb", "cluster")


def _operation(subject: Subject) -> Results:
    record = subject.record
    if record is None:
        raise UsageError(f"{subject.target} is no operation", resolution="'labcloud operation list' shows those that there are")
    case = {"error": record.error, "said": " ".join(record.said.split()), "verb": record.verb, "cluster": record.target}
    name = _name(record)
    results: dict[str, list[Case]] = {name: [case], "checks-failed": list(_checks(record)), "steps-refused": list(_refused(record))}
    if subject.wanted is not None and record.verb in ("create", "start", "scale", "restart"):
        results["cluster-declared"] = [{}]
    return results


def _name(record: Record) -> str:
    """The one result that says how it ended."""
    if record.result is not Result.ERROR:
        return {
            Result.OK: "operation-done",
            Result.RUNNING: "operation-runs",
            Result.INTERRUPTED: "operation-interrupted",
            Result.BROKEN_OFF: "operation-broken-off",
        }[record.result]
    if record.kind in ("EngineError", "ConflictError", "NotFoundError", "DeadlineError"):
        for name, rule in _WORDS:
            if rule.search(record.error) or (record.kind != "DeadlineError" and rule.search(record.said)):
                return name
    return _KINDS.get(record.kind, "bug-met")


def _checks(record: Record) -> Iterator[Case]:
    """The checks that refused it, as the journal noted them."""
    for event in record.events:
        if event.kind == "preflight":
            for check in event.details.get("checks", ()):
                if check.get("status") == "fail" and not check.get("ignored"):
                    yield {"check": str(check.get("id")), "summary": str(check.get("summary")), "fix": str(check.get("fix", ""))}


def _refused(record: Record) -> Iterator[Case]:
    """Steps that the engine refused at least once."""
    for event in record.events:
        if event.kind == "refused":
            yield {"step": str(event.details.get("step")), "error": str(event.details.get("error"))}


_NAMES: Final = (
    "operation-done", "operation-runs", "operation-interrupted", "operation-broken-off", "bug-met",
    *(name for name, _ in _WORDS), *_KINDS.values(),
)  # fmt: skip

PROBES: Final = (
    Probe(
        "operation",
        {
            **dict.fromkeys(_NAMES, _ENDED),
            "checks-failed": ("check", "summary", "fix"),
            "steps-refused": ("step", "error"),
            "cluster-declared": (),
        },
        _operation,
    ),
)
