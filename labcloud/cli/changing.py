"""What all commands share that change the configuration in the lab repository: a change is made, or proposed where that is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from labcloud.cli.output import emit, note
from labcloud.cli.session import Session
from labcloud.errors import LabError
from labcloud.lab.editing import EditLocks
from labcloud.lab.facts import check_facts
from labcloud.lab.git import Author, author
from labcloud.lab.history import SHORT
from labcloud.lab.places import BASE, covers
from labcloud.lab.proposals import Proposal
from labcloud.lab.reading import Reading
from labcloud.lab.writing import Texts
from labcloud.model import ClusterRef
from labcloud.model.periods import stamp


@dataclass(frozen=True)
class Submitted:
    """What came of a change: ``revision`` is what is committed now; ``proposal`` waits for its approval; neither, if nothing is new.

    ``clusters`` are those whose configuration the change belongs to.
    """

    paths: tuple[str, ...]
    clusters: tuple[ClusterRef, ...] = ()
    revision: str = ""
    proposal: Proposal | None = None


def who() -> Author:
    return author(os.environ)


def locks(opened: Session) -> EditLocks:
    return EditLocks(opened.lab.home, who())


def submit(opened: Session, verb: str, texts: Texts, reason: str, *, base: str | Texts | None = None) -> Submitted:
    """Change files of the lab repository, or propose that: the arguments are those of `Lab.change`, ``verb`` is for the journal.

    Raise ConflictError if somebody else edits one of them, or changed the same lines; ConfigError for what cannot stand there.
    """
    lab, paths = opened.lab, tuple(texts)
    locks(opened).check_free(paths)
    check = checking(opened, paths)
    with opened.journal().operation(verb, " ".join(paths), {"reason": reason}) as operation:
        if lab.review_required(paths):
            proposal = lab.proposals().propose(texts, reason, base=base, check=check)
            if proposal is None:
                return Submitted(paths)
            operation.event("proposed", proposal=proposal.number, revision=proposal.revision)
            return Submitted(proposal.paths, tuple(lab.concerned(proposal.paths)), proposal=proposal)
        before = lab.revision()
        revision = lab.change(texts, reason, base=base, check=check)
        operation.event("changed", revision=revision)
    return changed(opened, paths, revision) if revision != before else Submitted(paths)


def changed(opened: Session, paths: Sequence[str], revision: str) -> Submitted:
    """A change of ``paths`` is in force at ``revision``: nodes that do not see the lab's ``base/`` by themselves get it."""
    done = Submitted(tuple(paths), tuple(opened.lab.concerned(paths)), revision)
    if any(covers(BASE, path) for path in paths):
        for ref in done.clusters:
            _share_base(opened, ref)
    return done


def _share_base(opened: Session, ref: ClusterRef) -> None:
    """A cluster that cannot be reached gets it later: the change is in force."""
    wanted = opened.lab.cluster(ref)
    try:
        if wanted:
            opened.provider(wanted.provider).ensure_base(ref)
    except LabError as exc:
        note(f"warning: not all nodes of {ref} have it yet: {exc.brief}; later: labcloud config apply {ref}")


def checking(opened: Session, paths: Sequence[str]) -> Callable[[Reading], None]:
    """What a change of ``paths`` must keep to, asked while nobody else can change the lab."""

    def check(after: Reading) -> None:
        from labcloud.profiles import names

        check_facts(opened.lab, after, paths, names())
        if any(path.startswith("bindings/") for path in paths):
            from labcloud.profiles.layering import check_where

            for each in after.bindings():
                check_where(each.where)

    return check


def consequences(opened: Session, proposal: Proposal) -> dict[str, Any]:
    """What a proposal would do, beside the difference of its files: for each cluster that it concerns and that changes by it, how its
    ``files`` differ, and what that means for each of its ``nodes``: which services restart, which are told, and why."""
    from labcloud.apply.comparing import compare, rendered
    from labcloud.apply.survey import rendered_only
    from labcloud.cli.configuring import public_consequences

    after = opened.lab.proposals().preview(proposal)
    found: dict[str, Any] = {}
    for ref in opened.lab.concerned(proposal.paths):
        _, profile, provider = opened.look().cluster(ref)
        old, new = rendered(opened.lab, ref, provider), rendered(after, ref, provider)
        files = compare(old, new, ("in force", "proposed"))
        if files:
            nodes = rendered_only(profile, provider.find(cluster=ref), old).consequences(new)
            found[str(ref)] = {"files": files, "nodes": public_consequences([each for each in nodes if each])}
    return found


def tell(done: Submitted, output: str) -> None:
    """Print what came of a change."""

    def said() -> None:
        if done.proposal:
            number = done.proposal.number
            note(f"proposed as {number}: it is in force when somebody else has run 'labcloud config approve {number}'")
        elif done.revision:
            note(f"changed {', '.join(done.paths)} at {done.revision[:SHORT]}; {_concerns(done.clusters)}")
        else:
            note("nothing changed")

    emit(public(done), output, said)


def public(done: Submitted) -> dict[str, Any]:
    return {
        "revision": done.revision, "proposal": done.proposal.number if done.proposal else None, "paths": list(done.paths),
        "clusters": [str(ref) for ref in done.clusters],
    }  # fmt: skip


def public_proposal(proposal: Proposal) -> dict[str, Any]:
    return {
        "number": proposal.number, "state": proposal.state, "author": proposal.author, "mail": proposal.mail, "when": stamp(proposal.when),
        "reason": proposal.reason, "paths": list(proposal.paths), "base": proposal.base, "revision": proposal.revision,
        "decision": proposal.decision, "decided_by": proposal.decided_by,
    }  # fmt: skip


def _concerns(clusters: Sequence[ClusterRef]) -> str:
    if not clusters:
        return "it concerns no cluster"
    shown = ", ".join(map(str, clusters[:3])) + (f" and {len(clusters) - 3} more" if len(clusters) > 3 else "")
    return f"it concerns {shown}"
