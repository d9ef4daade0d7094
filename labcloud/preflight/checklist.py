"""Which checks there are, and what all of them answered together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Final

from labcloud.errors import PreflightError, UsageError
from labcloud.model.checks import Check, Finding, Severity, Verdict, warned
from labcloud.providers.base import Provider

_FAMILIES: Final = ("tenant", "profile", "host", "disk", "storage", "datasets", "mirrors")
_ENTRY_POINTS: Final = "labcloud.checks"


@dataclass(frozen=True)
class Answer:
    """One line of a report. ``ignored`` is the reason for which a failure is to be passed over; ``seconds`` is how long it took."""

    id: str
    status: Verdict
    summary: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    fix: str = ""
    severity: Severity = Severity.BLOCKING
    why: str = ""
    ignored: str = ""
    seconds: float = 0.0
    firm: bool = False

    @property
    def refuses(self) -> bool:
        return self.status is Verdict.FAIL and not self.ignored

    def noted(self) -> dict[str, Any]:
        """What the journal keeps of it."""
        facts = {"id": self.id, "status": str(self.status), "summary": self.summary, "evidence": dict(self.evidence), "fix": self.fix}
        return facts | ({"ignored": self.ignored} if self.ignored else {})


@dataclass(frozen=True)
class Report:
    """What the whole checklist answered, in its order."""

    checks: tuple[Answer, ...]

    @property
    def ok(self) -> bool:
        return not any(each.refuses for each in self.checks)

    def refuse(self, what: str) -> None:
        """Raise PreflightError with every failure, its evidence and its fix, unless all is well."""
        refusing = [each for each in self.checks if each.refuses]
        if not refusing:
            return
        lines = [line for each in refusing for line in (f"{each.id}: {each.summary}", *([f"    mend it: {each.fix}"] if each.fix else []))]
        raise PreflightError(
            f"preflight refuses {what}: {len(refusing)} of {len(self.checks)} checks failed",
            details="\n".join(lines),
            resolution=self.way_out(),
        )

    def way_out(self) -> str:
        """What to do about the failures."""
        soft = [each.id for each in self.checks if each.refuses and not each.firm]
        return "mend what failed" + (f", or pass over what you know better: --ignore {soft[0]}=REASON" if soft else "")


def all_checks(provider: Provider) -> tuple[Check, ...]:
    """Every check: the engine's, then those of each family, then other packages'. A package that cannot be read is an entry too."""
    own = [check for family in _FAMILIES for check in import_module(f"labcloud.preflight.families.{family}").CHECKS]
    return (*provider.checks(), *own, *_others())


def known(checks: Iterable[Check], ids: Iterable[str]) -> None:
    """Raise UsageError for the first of ``ids`` that no check has, or that cannot be passed over."""
    there = {check.id: check for check in checks}
    for id in ids:
        if id in there and there[id].firm:
            raise UsageError(f"the check {id!r} cannot be passed over", resolution="mend what it finds; 'labcloud preflight' says how")
        if id not in there:
            near = get_close_matches(id, there, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]}? " if near else ""
            raise UsageError(f"there is no check {id!r}", resolution=f"{hint}'labcloud preflight --list' shows all")


def _others() -> Iterator[Check]:
    for entry in entry_points(group=_ENTRY_POINTS):
        try:
            loaded = entry.load()
            found = tuple(loaded() if callable(loaded) else loaded)
            if not all(isinstance(each, Check) for each in found):
                raise TypeError("it gives other things than checks")  # noqa: TRY301 - one message for all that a plug-in gets wrong
        except Exception as exc:  # noqa: BLE001 - another package's fault must not keep anybody from creating a cluster
            yield _broken(entry.name, exc)
        else:
            yield from found


def _broken(name: str, exc: Exception) -> Check:
    finding = warned(f"the checks of {name!r} cannot be read: {exc}", "correct or uninstall that package")
    return Check(f"plugin.{name}", "what it checks is not checked", _always(finding), Severity.ADVISORY, machine=True)


def _always(finding: Finding) -> Any:
    return lambda _: finding
