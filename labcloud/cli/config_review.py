"""config review, approve, reject, withdraw: changes that wait for somebody else's word."""

from __future__ import annotations

import sys
from typing import Any

import click

from labcloud.cli.changing import Submitted, changed, checking, consequences, locks, public, public_proposal, who
from labcloud.cli.configuring import apply_option, apply_to, print_consequences
from labcloud.cli.output import emit, note, output_option, print_table, title
from labcloud.cli.session import Session, session
from labcloud.errors import LabError
from labcloud.lab.history import SHORT
from labcloud.lab.proposals import Proposal, State
from labcloud.model.periods import stamp

_number = click.argument("number", type=click.IntRange(1))


@click.command("review")
@click.argument("number", type=click.IntRange(1), required=False)
@click.option("--all", "decided", is_flag=True, help="List those that are decided, too.")
@output_option
def review_proposals(number: int | None, decided: bool, output: str) -> None:
    """The changes that wait for approval; or with a NUMBER one of them, with all that it changes."""
    with session() as opened:
        if number is None:
            _list(opened.lab.proposals().listed(decided=decided), output)
        else:
            _show(opened, opened.lab.proposals().get(number), output)


def _list(found: list[Proposal], output: str) -> None:
    def table() -> None:
        if not found:
            note("nothing waits for approval")
            return
        rows = [(each.number, each.state, stamp(each.when), each.author, ", ".join(each.paths), each.title) for each in found]
        print_table(("PROPOSAL", "STATE", "WHEN", "AUTHOR", "FILES", "REASON"), rows, right=(0,))

    emit([public_proposal(each) for each in found], output, table)


def _show(opened: Session, proposal: Proposal, output: str) -> None:
    colour = output == "table" and sys.stdout.isatty()
    difference = opened.lab.diff(proposal.base, proposal.revision, proposal.paths, colour=colour)
    obstacle = _obstacle(opened, proposal)
    effect = consequences(opened, proposal) if proposal.state is State.OPEN and obstacle is None else None
    facts: dict[str, Any] = public_proposal(proposal) | {"diff": difference, "consequences": effect}
    facts["obstacle"] = obstacle.brief if obstacle else ""

    def table() -> None:
        title(f"proposal {proposal.number}, {proposal.state}: {proposal.title}")
        click.echo(f"by {proposal.author} <{proposal.mail}> at {stamp(proposal.when)}, upon {proposal.base[:SHORT]}")
        if proposal.decided_by:
            click.echo(f"{proposal.state} by {proposal.decided_by}: {proposal.decision}")
        click.echo()
        click.echo(difference, nl=False)
        _print_consequences(effect or {})
        if obstacle:
            note(f"it cannot be approved as it is: {obstacle.brief}")

    emit(facts, output, table)


def _print_consequences(found: dict[str, Any]) -> None:
    """The blast radius: cluster by cluster how rendered files differ, and what that means for services."""
    for name, each in found.items():
        click.echo()
        title(f"on {name}")
        for file in each["files"]:
            click.echo(f"{file.path}  ({', '.join(file.nodes)})")
            click.echo("".join(line for line in file.text.splitlines(keepends=True) if line[:1] in "+-" and line[:3] not in ("+++", "---")))
        print_consequences(each["nodes"])
    if not found:
        note("no cluster is configured otherwise by it")


def _obstacle(opened: Session, proposal: Proposal) -> LabError | None:
    """Why the proposal could not be approved now, by anybody; None if it could, or is decided."""
    if proposal.state is not State.OPEN:
        return None
    try:
        checking(opened, proposal.paths)(opened.lab.proposals().preview(proposal))
    except LabError as exc:
        return exc
    return None


@click.command("approve")
@_number
@apply_option
@output_option
def approve_proposal(number: int, applying: bool, output: str) -> None:
    """Bring the proposal NUMBER into force. Somebody else than its author must do so."""
    with session() as opened:
        proposals = opened.lab.proposals()
        paths = proposals.get(number).paths
        locks(opened).check_free(paths)
        with opened.journal().operation("config approve", " ".join(paths), {"proposal": number}) as operation:
            done = proposals.approve(number, who(), check=checking(opened, paths))
            operation.event("changed", revision=done.revision)
        submitted = changed(opened, paths, done.revision) if done.changed else Submitted(paths)
        applied = apply_to(opened, submitted.clusters) if applying and submitted.revision else {}
    facts = public(submitted) | {"applied": applied, "proposal": number, "author": done.proposal.author, "mail": done.proposal.mail}

    def said() -> None:
        if done.changed:
            note(f"proposal {number} of {done.proposal.author} is in force at {done.revision[:SHORT]}: {', '.join(paths)}")
        else:
            note(f"proposal {number} changes nothing any more; it is done with")

    emit(facts, output, said)


@click.command("reject")
@_number
@click.option("--reason", required=True, metavar="TEXT", help="Why: its author reads it.")
@output_option
def reject_proposal(number: int, reason: str, output: str) -> None:
    """Refuse the proposal NUMBER. Nothing of it comes into force; it stays to be read."""
    with session() as opened, opened.journal().operation("config reject", str(number), {"reason": reason}):
        done = opened.lab.proposals().reject(number, who(), reason)
    emit(public_proposal(done), output, lambda: note(f"proposal {number} of {done.author} is rejected"))


@click.command("withdraw")
@_number
@output_option
def withdraw_proposal(number: int, output: str) -> None:
    """Take your own proposal NUMBER back."""
    with session() as opened, opened.journal().operation("config withdraw", str(number)):
        done = opened.lab.proposals().withdraw(number, who())
    emit(public_proposal(done), output, lambda: note(f"proposal {number} is withdrawn"))
