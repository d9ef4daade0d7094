"""Probes of daemons, as their supervisor, their process and their log have them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from labcloud.diagnosis.facts import ServiceFacts
from labcloud.diagnosis.model import Case, Results
from labcloud.diagnosis.probes.base import Probe
from labcloud.diagnosis.subject import Subject
from labcloud.errors import EngineError
from labcloud.model import NodeRef

_RECENT: Final = 180.0
_STARTING: Final = 60
_THREADS: Final = 16
_STOPPED: Final = "T"
_SOON: Final = 15

_HEAP: Final = re.compile(r"OutOfMemoryError|Could not reserve enough space|Too small (?:initial|maximum) heap")

# What healthy daemons call errors, too.
_NOISE: Final = re.compile(r"directoryscan\.throttle|RECEIVED SIGNAL 15|ExpiredTokenRemover|sleep interrupted|MetricsConfig")

# What a daemon says before it ends, most telling first. Hadoop's own words, the same from 2.7 to 3.4 unless two are given.
_LAST_WORDS: Final = (
    ("other-cluster", re.compile(r"Incompatible clusterIDs|is of cluster .* not of")),
    ("port-taken", re.compile(r"BindException|Address already in use|Port in use")),
    ("heap-out", _HEAP),
    (
        "configuration-bad",
        re.compile(
            r"error parsing conf|XML document structures|SAXParseException|WstxParsingException|WstxUnexpectedChar|XMLStreamException"
            r"|Could not find or load main class|Unrecognized (?:VM )?option|Invalid (?:maximum|initial) heap"
            r"|Error occurred during initialization of VM|NumberFormatException|IllegalArgumentException|Invalid .* configuration"
            r"|Incorrect configuration|does not contain a valid host:port"
        ),
    ),
    (
        "storage-refused",
        re.compile(
            r"DiskErrorException|Too many failed volumes|All specified directories|All directories in .* are invalid|InconsistentFSState"
            r"Exception|NoSpaceLeft|No space left on device|Read-only file system|Permission denied|Cannot lock storage|not formatted"
        ),
    ),
    (
        "master-unreachable",
        re.compile(r"UnknownHostException|NoRouteToHost|Connection refused|ConnectException|Problem connecting to server"),
    ),
)


def _services(subject: Subject) -> Results:
    results: dict[str, list[Case]] = {"kept-down": [], "suspended": [], "flapping": [], "unsupervised": [], "heap-exhausted": []}
    for ref, service in _all(subject):
        case = {"node": ref.name, "service": service.name}
        if not service.supervised:
            results["unsupervised"].append(case)
        elif service.state == _STOPPED:
            results["suspended"].append(case)
        elif not service.up and not service.wanted:
            results["kept-down"].append(case)
        elif flaps(service):
            results["flapping"].append({**case, **_ends(service)})
        if said := _out_of_heap(service):
            results["heap-exhausted"].append({**case, "said": said})
    return results


def _out_of_heap(service: ServiceFacts) -> str:
    """What a service that shall run said of its heap since it started, or, if it ends again and again, before.

    A daemon ends at once where it finds no memory (``-XX:+ExitOnOutOfMemoryError``), and again after each start if its heap is too small.
    Where that is not set, Java goes on without the thread that found none: such a daemon may run for ever, and do nothing.
    """
    if not service.wanted:
        return ""
    again = flaps(service)
    lines = [*_since_start(service.log, starts=2 if again else 1), *_since_end(service.out, ends=2 if again else 1)]
    return next((_short(line) for line in reversed(lines) if _HEAP.search(line)), "")


def _all(subject: Subject) -> Iterator[tuple[NodeRef, ServiceFacts]]:
    for ref, facts in subject.facts().items():
        yield from ((ref, service) for service in facts.services)


def flaps(service: ServiceFacts) -> bool:
    """Whether it ends again and again: not once that it has run for longer than it used to.

    One that ends soon after each start is seen by its second end, one that lives longer by its fourth.
    """
    ends = sorted(each.ago for each in service.ends(_RECENT))
    if len(ends) < 2:
        return False
    life = (ends[-1] - ends[0]) / (len(ends) - 1)
    if life >= _SOON and len(ends) < 4:
        return False
    return not service.up or service.seconds <= (life + 5 if life < _SOON else 2 * life)


def _ends(service: ServiceFacts) -> Case:
    ends = service.ends(_RECENT)
    return {"times": str(len(ends)), "how": str(min(ends, key=lambda each: each.ago))}


def _crashes(subject: Subject) -> Results:
    """Why services end, by their last words."""
    results: dict[str, list[Case]] = {}
    for ref, service in _all(subject):
        if service.supervised and service.state != _STOPPED and flaps(service):
            name, said = last_words(service)
            case = {"node": ref.name, "service": service.name, "said": said, **_ends(service)}
            results.setdefault(name, []).append(case)
    return results


def last_words(service: ServiceFacts) -> tuple[str, str]:
    """Which of the known reasons its last start's log and output name, and the line that does; ``unexplained`` with the last line."""
    lines = [*_since_start(service.log, starts=2), *_since_end(service.out, ends=2)]
    for name, rule in _LAST_WORDS:
        for line in reversed(lines):
            if rule.search(line):
                return name, _short(line)
    telling = [line for line in lines if re.search(r"FATAL|ERROR|Exception|Error", line) and not _NOISE.search(line)]
    if service.deaths and service.deaths[-1].how == "signal":
        return "killed", str(service.deaths[-1])
    return "unexplained", _short(telling[-1]) if telling else "its log says nothing"


def _since_start(lines: tuple[str, ...], *, starts: int) -> tuple[str, ...]:
    """The lines of a log since so many starts ago: the last one may be too young to have said anything."""
    found = [number for number, line in enumerate(lines) if "STARTUP_MSG: Starting" in line]
    return lines[found[-starts] :] if len(found) >= starts else lines


def _since_end(lines: tuple[str, ...], *, ends: int) -> tuple[str, ...]:
    """The lines of a service's output since so many ends ago, which the supervisor notes there."""
    found = [number for number, line in enumerate(lines) if line.startswith("labcloud: ") and " ended " in line]
    return lines[found[-ends] + 1 :] if len(found) >= ends else lines


def _short(line: str) -> str:
    return re.sub(r"^[\d-]+ [\d:,]+ \w+ (?:[\w$]+\.)*(?=[A-Z])", "", line)[:200]


def _answers(subject: Subject) -> Results:
    """Services that run and do not answer: their probe is asked, unless their master says that they are well."""
    asked = [(ref, service) for ref, service in _all(subject) if service.up and service.state != _STOPPED and not flaps(service)]
    well = _registered(subject)
    asked = [(ref, service) for ref, service in asked if (ref, service.name) not in well and subject.has(service.name)]
    attached = {ref for ref, seen in subject.inspections().items() if seen.attached}
    asked = [each for each in asked if each[0] in attached]
    if not asked:
        return {}
    with ThreadPoolExecutor(min(_THREADS, len(asked))) as pool:
        silent = [each for each, answers in zip(asked, pool.map(lambda each: _says(subject, *each), asked), strict=True) if not answers]
    cases = [({"node": ref.name, "service": service.name, "seconds": str(service.seconds)}, service.seconds) for ref, service in silent]
    return {
        "silent": [case for case, seconds in cases if seconds >= _STARTING],
        "starting": [case for case, seconds in cases if seconds < _STARTING],
    }


def _registered(subject: Subject) -> set[tuple[NodeRef, str]]:
    """Services of which their master heard a moment ago."""
    found: set[tuple[NodeRef, str]] = set()
    asks: tuple[tuple[str, str, Callable[[], set[str]]], ...] = (
        ("datanode", "namenode", lambda: subject.datanodes().fresh),
        ("nodemanager", "resourcemanager", lambda: subject.nodemanagers().fresh),
    )
    for service, master, ask in asks:
        if subject.has(service) and subject.has(master):
            try:
                found |= {(ref, service) for ref in subject.declared(service) if ref.name in ask()}
            except EngineError:
                continue  # the master itself is silent, and asked here
    return found


def _says(subject: Subject, ref: NodeRef, service: ServiceFacts) -> bool:
    known = subject.profile.services[service.name]
    if known.probe is None:
        return True
    try:
        return subject.provider.request(ref, known.ports[known.probe.port], known.probe.path, timeout=3).status < 500
    except EngineError:
        return False


_WHICH: Final = ("node", "service")
_ENDED: Final = ("node", "service", "said", "times", "how")

PROBES: Final = (
    Probe(
        "services",
        {
            "kept-down": _WHICH,
            "suspended": _WHICH,
            "unsupervised": _WHICH,
            "flapping": ("node", "service", "times", "how"),
            "heap-exhausted": ("node", "service", "said"),
        },
        _services,
    ),
    Probe("crashes", {**{name: _ENDED for name, _ in _LAST_WORDS}, "killed": _ENDED, "unexplained": _ENDED}, _crashes),
    Probe("answers", {"silent": ("node", "service", "seconds"), "starting": ("node", "service", "seconds")}, _answers),
)
