"""Changes that wait for somebody else's word: commits beside the work tree, which git refs hold. Nothing of them is in force.

``refs/proposals/N`` is a commit whose parent is what was committed when it was made. A decided one moves to ``refs/approved/N``,
``refs/rejected/N`` or ``refs/withdrawn/N``, with a commit upon it that says who decided, and why; numbers are never used again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from labcloud.errors import ConflictError, NotFoundError
from labcloud.lab.history import Author, Commit, History
from labcloud.lab.places import BASE
from labcloud.lab.reading import Reading
from labcloud.lab.sources import EXECUTABLE, PLAIN, Overlay, Revision
from labcloud.lab.writing import Texts, Writer

_NUMBER: Final = re.compile(r"[1-9][0-9]{0,8}")
_TRAILER: Final = re.compile(r"^(?:Proposal|Approved-by): .*\n?", re.MULTILINE)


class State(StrEnum):
    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


_FOLDERS: Final = {
    State.OPEN: "refs/proposals", State.APPROVED: "refs/approved", State.REJECTED: "refs/rejected", State.WITHDRAWN: "refs/withdrawn",
}  # fmt: skip


@dataclass(frozen=True)
class Proposal:
    """A change that is, or was, proposed: ``revision`` is its commit, made upon ``base``. ``decision`` says why it was rejected."""

    number: int
    state: State
    author: str
    mail: str
    when: datetime
    reason: str
    paths: tuple[str, ...]
    base: str
    revision: str
    decision: str = ""
    decided_by: str = ""

    @property
    def title(self) -> str:
        return self.reason.partition("\n")[0]


@dataclass(frozen=True)
class Approved:
    """What came of an approval: the revision that is committed now. It ``changed`` nothing if the lab said so already."""

    proposal: Proposal
    revision: str
    changed: bool


class Proposals:
    """The proposals of a lab; `Lab.proposals` gives them."""

    def __init__(self, history: History, writer: Writer) -> None:
        self._history = history
        self._writer = writer

    def listed(self, *, decided: bool = False) -> list[Proposal]:
        """Those that wait, by number; with those that are ``decided``, if asked for."""
        states = State if decided else (State.OPEN,)
        found = [self._read(number, state, commit) for state in states for number, commit in self._refs(state).items()]
        return sorted(found, key=lambda each: each.number)

    def get(self, number: int) -> Proposal:
        """One, decided or not. Raise NotFoundError if there never was one of that number."""
        for state in State:
            commit = self._refs(state).get(number)
            if commit:
                return self._read(number, state, commit)
        waiting = ", ".join(str(each) for each in sorted(self._refs(State.OPEN))) or "none"
        raise NotFoundError(f"there is no proposal {number}", resolution=f"those that wait: {waiting}; 'labcloud config review' lists them")

    def propose(
        self, texts: Texts, reason: str, *, base: str | Texts | None = None, check: Callable[[Reading], None] = lambda _: None
    ) -> Proposal | None:
        """Keep a change for review. The arguments are those of `Lab.change`, and so are the errors; None if it would change nothing."""
        with self._writer.hold(reason, seen=base if isinstance(base, Mapping) else {}) as lock:
            wanted = self._writer.prepared(texts, base)
            if not wanted:
                return None
            check(self._over("HEAD", wanted))
            head = self._history.head()
            entries = {path: None if text is None else (self._mode(path, text), text) for path, text in wanted.items()}
            commit = self._history.write(entries, head, Commit(reason), lock)
            number = max((number for state in State for number in self._refs(state)), default=0) + 1
            self._history.move_ref(None, (f"{_FOLDERS[State.OPEN]}/{number}", commit), lock)
            return self._read(number, State.OPEN, commit)

    def texts(self, proposal: Proposal) -> dict[str, str | None]:
        """What the changed files say as they are proposed."""
        source = Revision(self._history, proposal.revision)
        return {path: source.text(path) for path in proposal.paths}

    def before(self, proposal: Proposal) -> dict[str, str | None]:
        """What the changed files said when it was proposed."""
        source = Revision(self._history, proposal.base)
        return {path: source.text(path) for path in proposal.paths}

    def outcome(self, proposal: Proposal) -> dict[str, str | None]:
        """What files would say after its approval, where that is something new. Raise ConflictError as `approve` does."""
        try:
            return self._writer.prepared(self.texts(proposal), self.before(proposal))
        except ConflictError as exc:
            raise self._conflicting(proposal, exc) from exc

    def preview(self, proposal: Proposal) -> Reading:
        """The lab as it would be after its approval, to be read."""
        return self._over("HEAD", self.outcome(proposal))

    def approve(self, number: int, by: Author, *, check: Callable[[Reading], None] = lambda _: None) -> Approved:
        """Bring a proposal into force: merged with what was changed since, as one commit of its author.

        ``check`` sees the lab as it would be, and refuses by raising. Raise ConflictError if ``by`` made it, if it is decided, or if the
        same lines were changed since.
        """
        with self._writer.hold(f"approve proposal {number}") as lock:
            proposal = self._waiting(number)
            if proposal.mail.lower() == by.mail.lower():
                raise ConflictError(
                    f"proposal {number} is {proposal.author}'s own: somebody else must approve it",
                    resolution=f"ask another person to run: labcloud config approve {number}",
                )
            wanted = self.outcome(proposal)
            check(self._over("HEAD", wanted))
            reason = f"{_TRAILER.sub('', proposal.reason).strip()}\n\nProposal: {number}\nApproved-by: {by}"
            author = Author(proposal.author, proposal.mail)
            revision = self._writer.put(wanted, Commit(reason, author, proposal.when), lock)
            decided = self._decide(proposal, State.APPROVED, Commit(f"approve proposal {number}", by), lock)
            return Approved(decided, revision, changed=bool(wanted))

    def reject(self, number: int, by: Author, reason: str) -> Proposal:
        """Refuse a proposal, for a reason. Raise ConflictError if it is decided."""
        with self._writer.hold(f"reject proposal {number}") as lock:
            return self._decide(self._waiting(number), State.REJECTED, Commit(reason, by), lock)

    def withdraw(self, number: int, by: Author) -> Proposal:
        """Take a proposal back. Raise ConflictError if it is decided, or if ``by`` did not make it."""
        with self._writer.hold(f"withdraw proposal {number}") as lock:
            proposal = self._waiting(number)
            if proposal.mail.lower() != by.mail.lower():
                raise ConflictError(
                    f"proposal {number} is {proposal.author}'s: only who made it withdraws it",
                    resolution=f"reject it: labcloud config reject {number} --reason TEXT",
                )
            return self._decide(proposal, State.WITHDRAWN, Commit(f"withdraw proposal {number}", by), lock)

    # Inside

    def _refs(self, state: State) -> dict[int, str]:
        found = ((name.rpartition("/")[2], commit) for name, commit in self._history.refs(_FOLDERS[state]).items())
        return {int(name): commit for name, commit in found if _NUMBER.fullmatch(name)}

    def _read(self, number: int, state: State, commit: str) -> Proposal:
        *decisions, change = self._history.log((), 1 if state is State.OPEN else 2, since=commit)
        proposal = Proposal(
            number, state, change.author, change.mail, change.when, change.reason, change.paths,
            base=self._history.resolve(f"{change.revision}^"), revision=change.revision,
        )  # fmt: skip
        for each in decisions:
            proposal = replace(proposal, decision=each.reason, decided_by=str(Author(each.author, each.mail)))
        return proposal

    def _waiting(self, number: int) -> Proposal:
        proposal = self.get(number)
        if proposal.state is not State.OPEN:
            raise ConflictError(
                f"proposal {number} is {proposal.state} already",
                details=proposal.decision,
                resolution="'labcloud config review' lists those that wait",
            )
        return proposal

    def _decide(self, proposal: Proposal, state: State, decision: Commit, lock: int) -> Proposal:
        commit = self._history.write({}, proposal.revision, decision, lock)
        old = (f"{_FOLDERS[State.OPEN]}/{proposal.number}", proposal.revision)
        self._history.move_ref(old, (f"{_FOLDERS[state]}/{proposal.number}", commit), lock)
        return self._read(proposal.number, state, commit)

    def _mode(self, path: str, text: str) -> str:
        there = self._history.tree("HEAD").get(path, (PLAIN, ""))[0]
        return EXECUTABLE if there == EXECUTABLE or (path.startswith(f"{BASE}/") and text.startswith("#!")) else PLAIN

    def _over(self, revision: str, texts: Texts) -> Reading:
        return Reading(Overlay(Revision(self._history, self._history.resolve(revision)), texts))

    def _conflicting(self, proposal: Proposal, exc: ConflictError) -> ConflictError:
        return ConflictError(
            f"proposal {proposal.number} cannot be merged: {exc.brief}",
            details=exc.details,
            resolution=f"withdraw or reject it, and propose it anew: labcloud config withdraw {proposal.number}",
        )
