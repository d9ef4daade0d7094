"""Does what causes say mends them: labcloud's own verbs, and commands on nodes. Does only what it is given; asks nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from labcloud.diagnosis.model import Command, Diagnosis
from labcloud.errors import LabError
from labcloud.model import ClusterRef, NodeRef
from labcloud.providers import base

Verb = Callable[[Sequence[str]], str]
"""Runs a labcloud verb; returns nothing, or what it failed with."""


@dataclass(frozen=True)
class Done:
    """A command that was run, and what it failed with, if it did."""

    command: Command
    failed: str


def chosen(diagnosis: Diagnosis, *, unsafe: bool) -> list[Command]:
    """The commands of all causes, each once, in the order of the causes; only safe ones unless ``unsafe``."""
    every = (command for found in diagnosis.causes for command in found.fix)
    return [command for command in dict.fromkeys(every) if command.safe or unsafe]


def mend(commands: Iterable[Command], cluster: ClusterRef | None, provider: Callable[[], base.Provider], verb: Verb) -> list[Done]:
    """Run the commands one after the other; one that fails does not keep the next from being tried."""
    done = []
    for command in commands:
        try:
            failed = _on_node(command, cluster, provider()) if command.on else verb(command.argv)
        except LabError as exc:
            failed = exc.brief
        done.append(Done(command, failed))
    return done


def _on_node(command: Command, cluster: ClusterRef | None, provider: base.Provider) -> str:
    if cluster is None:
        return "there is no cluster to do it on"
    result = provider.execute(NodeRef.parse(cluster, command.on), base.Command(command.argv, user=command.user))
    if not result.exit_code:
        return ""
    said = (result.stderr or result.stdout).decode(errors="replace").strip().splitlines()
    return f"it ended with {result.exit_code}: {said[-1] if said else 'it said nothing'}"
