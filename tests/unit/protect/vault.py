"""A workshop whose clusters are backed up by the real restic, into the lab's own folder."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

from labcloud.apply.journal import Journal
from labcloud.apply.watch import Watch
from labcloud.errors import EngineError
from labcloud.model import ClusterRef
from labcloud.model.protection import BackupTerms, changed
from labcloud.protect.backups import Backup
from labcloud.protect.calling import Restic
from labcloud.protect.nightly import Nightly
from labcloud.protect.notes import MADE
from labcloud.protect.processes import Ended
from labcloud.providers.simulated import Faults, SimulatedProvider
from tests.unit.protect.workshop import REF, TERMS, Workshop


class Vault(Workshop):
    """Each `verbs` is what another run of the program would have."""

    _second = 0  # in which the newest backup ended

    def verbs(self, faults: Faults | None = None, provider: SimulatedProvider | None = None) -> Nightly:
        engine = provider or self.provider(faults)
        return Nightly(self.lab, Journal(self.lab.home), lambda _: engine, Watch(self.events.append))

    def back_up(self, ref: ClusterRef = REF, faults: Faults | None = None) -> Backup:
        """Make a backup, in another second than the one before: restic's times have no finer parts, and two of one second no order."""
        while int(time.time()) == self._second:
            time.sleep(0.01)
        try:
            return self.verbs(faults).back_up(ref, TERMS)
        finally:
            self._second = int(time.time())

    def poor(self) -> Backup:
        """A backup whose moment could not be held."""
        faults = Faults()
        faults.fail(EngineError("it went on by itself"), name="release", target="acme/c/master-0")
        return self.back_up(faults=faults)

    def say(self, ref: ClusterRef = REF, **keys: str) -> None:
        """What the cluster itself says of its backups."""
        terms = changed(BackupTerms(), {key.replace("__", "."): text for key, text in keys.items()})
        self.lab.save(replace(self.wanted(ref), backup=terms), "a policy")

    def made(self) -> list[dict[str, object]]:
        """What the journal has of backups that were made."""
        return [dict(event.details) for _, event in Journal(self.lab.home).events(MADE)]

    def told(self) -> list[str]:
        return [each.text for each in self.events]


@contextmanager
def calls() -> Iterator[list[str]]:
    """What restic is asked meanwhile, by the names of its commands."""
    asked: list[str] = []
    once = Restic.once

    def counted(self: Restic, verb: str, words: Sequence[str], *args: object, **options: object) -> Ended:
        asked.append(verb)
        return once(self, verb, words, *args, **options)  # type: ignore[arg-type]

    with mock.patch.object(Restic, "once", counted):
        yield asked
