"""Which backups there are, as people see and name them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from labcloud.errors import NotFoundError
from labcloud.model import ClusterRef
from labcloud.protect.answers import Copy
from labcloud.protect.notes import DAMAGED, GOOD, Checked
from labcloud.protect.restic import CONSISTENT, INCONSISTENT


@dataclass(frozen=True)
class CopyView:
    """A backup in a list. ``time``, ``verified`` and ``drilled`` are UTC in ISO 8601; the last two are empty for never. ``drill`` is what
    the newest drill of it said: ``good``, or why not. ``size`` is bytes of its files."""

    tenant: str
    name: str
    id: str
    time: str
    state: str
    size: int = 0
    origin: str = ""
    verified: str = ""
    drilled: str = ""
    drill: str = ""


def view(copy: Copy, verified: Checked, drilled: Checked) -> CopyView:
    """A copy in a list: what it says of itself, and what checks said of it."""
    ref = ClusterRef.parse(copy.host)
    state = CONSISTENT if CONSISTENT in copy.tags else INCONSISTENT
    return CopyView(
        ref.tenant, ref.name, copy.short, copy.time.isoformat(timespec="seconds"), DAMAGED if verified.verdict == DAMAGED else state,
        size=size(copy), origin=_tag(copy, "origin"), verified=verified.time if verified.verdict == GOOD else "",
        drilled=drilled.time, drill=drilled.verdict,
    )  # fmt: skip


def find_copy(ref: ClusterRef, at: str, copies: Sequence[Copy]) -> Copy:
    """The copy of ``ref`` that ``at`` names: ``latest``, the beginning of an id, or a time, of which it is the newest not after.

    By an id alone one is found that is not consistent; ``latest`` is from the future, taken while the clock was wrong, only if there is no
    other. Raise NotFoundError, with the nearest, if there is none.
    """
    newest = sorted(copies, key=lambda each: each.time, reverse=True)
    good = [each for each in newest if CONSISTENT in each.tags]
    if not newest:
        raise NotFoundError(f"there is no backup of {ref}", resolution="'labcloud backup list' shows those that there are")
    if at == "latest":
        now = datetime.now(UTC)
        return next((each for each in good if each.time <= now), (good or newest)[0])
    moment = _moment(at)
    if moment:
        found = [each for each in good if each.time <= moment][:1]
        what = f"there is no good backup of {ref} before {at}"
    else:
        found = [each for each in newest if at and each.id.startswith(at)]
        what = f"{len(found)} backups of {ref} begin with {at}" if found else f"there is no backup {at!r} of {ref}"
    if len(found) == 1:
        return found[0]
    near = min(good or newest, key=lambda each: abs((each.time - (moment or newest[0].time)).total_seconds()))
    raise NotFoundError(what, resolution=f"the nearest is {near.short} of {near.time:%Y-%m-%dT%H:%M:%SZ}; see: labcloud backup list {ref}")


def size(copy: Copy) -> int:
    """Bytes of the files of a copy; 0 if it does not say."""
    return int(_tag(copy, "bytes") or 0)


def _tag(copy: Copy, name: str) -> str:
    return next((each.partition("=")[2] for each in copy.tags if each.startswith(f"{name}=")), "")


def _moment(text: str) -> datetime | None:
    """The moment that ``text`` writes, in UTC unless it says another zone; None if it is no time."""
    try:
        found = datetime.fromisoformat(text if "-" in text else "")  # eight digits may begin an id
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
