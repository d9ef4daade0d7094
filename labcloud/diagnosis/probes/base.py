"""What a probe is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from labcloud.diagnosis.model import Results
from labcloud.diagnosis.subject import Subject


@dataclass(frozen=True)
class Probe:
    """``run`` gives the results that are true, out of those that ``gives`` names with the keys of their cases; it raises LabError where
    it cannot tell."""

    name: str
    gives: Mapping[str, tuple[str, ...]]
    run: Callable[[Subject], Results]
