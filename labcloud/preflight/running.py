"""Runs the checklist: every check on a thread of its own, all under one deadline, machine checks once for all clusters of a command.

A pass that stays true for a while (``Check.keeps``) is remembered in HOME/cache/checks.json for `create`, which shall not spend a second on
what was measured a minute ago. It is forgotten when the machine started anew.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from labcloud.errors import EngineError, LabError
from labcloud.lab.files import make_private, replace
from labcloud.model.checks import Check, Finding, Severity, Subject, Verdict, failed, passed, skipped, warned
from labcloud.preflight.checklist import Answer, Report, all_checks, known
from labcloud.providers.base import Provider

DEADLINE: Final = 20.0
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_Measured = tuple[Finding, float]


class Preflight:
    """The checklist of one engine, for one command. ``fresh`` believes no remembered pass."""

    def __init__(self, provider: Provider, home: Path, *, fresh: bool = True, deadline: float = DEADLINE) -> None:
        self._checks = all_checks(provider)
        self._memory = _Memory(home / "cache" / "checks.json", provider.name)
        self._fresh = fresh
        self._deadline = deadline
        self._lock = threading.Lock()
        self._machine: dict[str, Future[_Measured]] = {}

    @property
    def checks(self) -> tuple[Check, ...]:
        return self._checks

    def run(self, subject: Subject, ignored: Mapping[str, str] | None = None) -> Report:
        """Ask everything about ``subject``. ``ignored`` are reasons by the ids of checks whose failure shall not count.

        Raise UsageError for an id that no check has.
        """
        reasons = dict(ignored or {})
        known(self._checks, reasons)
        asked = [check for check in self._checks if check.machine or subject.cluster is not None]
        running: dict[str, Future[_Measured]] = {}
        for check in asked:
            running[check.id] = self._begin(check, subject, running)
        end = time.monotonic() + self._deadline
        answers = [_answer(check, *self._await(check, running[check.id], end), reasons.get(check.id, "")) for check in asked]
        self._memory.save()
        return Report(tuple(answers))

    def _begin(self, check: Check, subject: Subject, running: Mapping[str, Future[_Measured]]) -> Future[_Measured]:
        with self._lock:
            if check.machine and check.id in self._machine:
                return self._machine[check.id]
            future: Future[_Measured] = Future()
            if check.machine:
                self._machine[check.id] = future
        # Not a pool: one whose check hangs would keep the program from ending.
        threading.Thread(target=self._measure, args=(check, subject, running, future), daemon=True, name=check.id).start()
        return future

    def _measure(self, check: Check, subject: Subject, running: Mapping[str, Future[_Measured]], future: Future[_Measured]) -> None:
        began = time.monotonic()
        try:
            finding = self._find(check, subject, running)
        except EngineError as exc:
            finding = failed(exc.brief, exc.resolution, said=exc.details)
        except LabError as exc:
            finding = failed(exc.brief, exc.resolution)
        except Exception as exc:  # noqa: BLE001 - one check's bug must not hide what the others found
            finding = warned(f"the check itself failed: {type(exc).__name__}: {exc}", "report this; the other checks were made")
        except BaseException as exc:  # noqa: BLE001 - an interruption ends the whole run, whichever thread it comes to
            future.set_exception(exc)
            return
        if check.severity is Severity.ADVISORY and finding.verdict is Verdict.FAIL:
            finding = warned(finding.summary, finding.fix, **finding.evidence)
        future.set_result((finding, time.monotonic() - began))

    def _find(self, check: Check, subject: Subject, running: Mapping[str, Future[_Measured]]) -> Finding:
        if check.needs in running:
            needed, _ = running[check.needs].result(self._deadline)
            if needed.verdict in (Verdict.FAIL, Verdict.SKIP):
                return skipped(f"makes no sense before {check.needs} passes")
        if check.keeps and not self._fresh and (finding := self._memory.recall(check, subject)):
            return finding
        finding = check.run(subject)
        if check.keeps:
            self._memory.keep(check, subject, finding)
        return finding

    def _await(self, check: Check, future: Future[_Measured], end: float) -> _Measured:
        try:
            return future.result(max(0.0, end - time.monotonic()))
        except TimeoutError:
            finding = Finding(
                Verdict.FAIL if check.severity is Severity.BLOCKING else Verdict.WARN,
                f"no answer within {self._deadline:g} s",
                fix=f"look at what it asks; or pass over it: --ignore {check.id}=REASON",
            )
            return finding, self._deadline


class _Memory:
    """Passes that stay true for a while, by check, with when they were measured."""

    def __init__(self, path: Path, provider: str) -> None:
        self._path = path
        self._key = f"{provider}@{_boot()}"
        self._lock = threading.Lock()
        self._changed = False
        self._kept: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            read = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(read, dict) and read.get("key") == self._key:
                self._kept = dict(read["checks"])

    def recall(self, check: Check, subject: Subject) -> Finding | None:
        with suppress(KeyError, TypeError, ValueError):
            kept = self._kept[_about(check, subject)]
            age = time.time() - float(kept["time"])
            if 0 <= age < check.keeps:
                return passed(str(kept["summary"]), **kept["evidence"])
        return None

    def keep(self, check: Check, subject: Subject, finding: Finding) -> None:
        with self._lock:
            self._changed = True
            if finding.verdict is Verdict.PASS:
                self._kept[_about(check, subject)] = {"time": time.time(), "summary": finding.summary, "evidence": dict(finding.evidence)}
            else:
                self._kept.pop(_about(check, subject), None)

    def save(self) -> None:
        """Write what was measured. A disk that refuses costs a measurement next time, and nothing else."""
        with self._lock, suppress(OSError, LabError):
            if self._changed:
                make_private(self._path.parent)
                text = json.dumps({"key": self._key, "checks": self._kept}, default=str)
                replace(self._path, text, scratch=self._path.with_name(f"checks.{os.getpid()}.new"))
                self._changed = False


def _about(check: Check, subject: Subject) -> str:
    """What a remembered pass holds for: the machine, or everything that is made of the same image."""
    return check.id if check.machine or subject.cluster is None else f"{check.id} {subject.cluster.image}"


def _boot() -> str:
    with suppress(OSError):
        return _BOOT_ID.read_text(encoding="ascii").strip()
    return ""


def _answer(check: Check, finding: Finding, seconds: float, ignored: str) -> Answer:
    return Answer(
        id=check.id, status=finding.verdict, summary=finding.summary, evidence=finding.evidence, fix=finding.fix,
        severity=check.severity, why=check.why, ignored=ignored, seconds=round(seconds, 3), firm=check.firm,
    )  # fmt: skip
