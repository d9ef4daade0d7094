"""What the commands share that apply configurations: their options, and how they tell what was done or would be."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from labcloud.cli.output import emit, note, print_table
from labcloud.cli.progress import progress
from labcloud.cli.session import Session
from labcloud.cli.several import at_once, results
from labcloud.errors import UsageError
from labcloud.model import ClusterRef, Wanted, parse_duration

if TYPE_CHECKING:
    from labcloud.apply.configuring import Applied
    from labcloud.apply.rollout import Pace
    from labcloud.apply.survey import Consequence
    from labcloud.apply.verbs import Terms

_CLUSTERS_AT_ONCE: Final = 4  # each may restart a JVM
_SHARE: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]+)?)%?")
_SECONDS: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)s")


def pace(gray: str | None, pause: str | None, check: str | None, patience: float) -> Pace:
    """How a change shall go out. Raise UsageError for shares that do not grow to 100 %."""
    from labcloud.apply.rollout import Pace, check_expression

    shares = tuple(_share(text) for text in gray.split(",")) if gray else (1.0,)
    if list(shares) != sorted(set(shares)) or shares[-1] != 1.0:
        raise UsageError(f"the shares {gray} do not grow to 100%", resolution="write them as in --gray 10%,50%,100%")
    if pause and not gray:
        raise UsageError("--pause is for a release in steps", resolution="add --gray, as in --gray 10%,50%,100%")
    check_expression(check or "")
    return Pace(shares, pause=_seconds(pause) if pause else 0.0, check=check or "", patience=patience)


def _share(text: str) -> float:
    found = _SHARE.fullmatch(text.strip())
    if not found or not 0 < float(found[1]) <= 100:
        raise UsageError(f"{text!r} is no share of the nodes", resolution="write percents that grow to 100%, as in --gray 10%,50%,100%")
    return float(found[1]) / 100


def _seconds(text: str) -> float:
    found = _SECONDS.fullmatch(text.strip())
    return float(found[1]) if found else parse_duration(text).total_seconds()


apply_option = click.option("--apply", "applying", is_flag=True, help="Let the nodes that it concerns have it right away.")


def apply_to(opened: Session, refs: Sequence[ClusterRef], how: Pace | None = None, output: str = "table") -> dict[str, Any]:
    """Apply what is wanted to those of the clusters that run, all nodes of one after the other unless ``how`` says otherwise.

    Returns what was done, by cluster, as plain data that was also said.
    """
    from labcloud.apply.rollout import Pace
    from labcloud.apply.verbs import DEFAULT_TIMEOUT, Terms

    running = [ref for ref in refs if (each := opened.lab.cluster(ref)) and each.state is Wanted.RUNNING]
    done = apply(opened, running, Terms(DEFAULT_TIMEOUT), how or Pace())
    tell(done, output)
    return {str(ref): public(ref, each) for ref, each in done.items()}


def apply(opened: Session, refs: Sequence[ClusterRef], terms: Terms, how: Pace) -> dict[ClusterRef, Applied]:
    """Let clusters have the configuration that is wanted; what was done to each.

    The first has it alone, so that what is wrong shows there and nowhere else; then the others at once. In steps it is one after the
    other, because a step that goes wrong takes the change back for all of them.
    """
    with progress() as watch:
        verbs = opened.configuring(watch)
        done = {ref: verbs.apply(ref, terms, how) for ref in (refs if how.gradual else refs[:1])}
        others = refs[len(done) :]
        futures = at_once(len(others), lambda index: verbs.apply(others[index], terms, how), watch, most=_CLUSTERS_AT_ONCE)
    return done | dict(zip(others, results(others, futures, of=len(refs)), strict=True))


def tell(done: dict[ClusterRef, Applied], output: str) -> None:
    """Print what was done to each cluster."""
    facts = [public(ref, each) for ref, each in done.items()]

    def said() -> None:
        for ref, each in done.items():
            if not each:
                note(f"{ref}: nothing had to be done")
            for what in ("adopted", "steps", "refreshed", "told", "restarted"):
                for line in getattr(each, what):
                    note(f"{ref}: {_SAID.get(what, '')}{line}")

    emit(facts[0] if len(facts) == 1 else facts, output, said)


_SAID: Final = {"adopted": "adopted: ", "told": "told ", "restarted": "restarted "}


def public(ref: ClusterRef, done: Applied) -> dict[str, Any]:
    what = {name: getattr(done, name) for name in ("adopted", "steps", "refreshed", "told", "restarted")}
    return {"tenant": ref.tenant, "name": ref.name, **what}


def public_consequences(found: Sequence[Consequence]) -> list[dict[str, Any]]:
    """What would happen to each node, as plain data."""
    return [
        {
            "node": each.ref.name, "files": list(each.files),
            "restart": {name: [str(change) for change in changes] for name, changes in each.effects.restart.items()},
            "live": [{"service": live.service, "changes": [str(change) for change in live.changes]} for live in each.effects.live],
            "clients": [str(change) for change in each.effects.clients],
        }
        for each in found
    ]  # fmt: skip


def print_consequences(found: Sequence[dict[str, Any]]) -> None:
    """A line for each service that is restarted or told, and for what the next client has."""
    rows = []
    for each in found:
        rows += [(each["node"], name, "restart", "; ".join(changes)) for name, changes in each["restart"].items()]
        rows += [(each["node"], live["service"], "told live", "; ".join(live["changes"])) for live in each["live"]]
        if each["clients"]:
            rows.append((each["node"], "clients", "next start", "; ".join(each["clients"])))
        if each["files"] and not (each["restart"] or each["live"] or each["clients"]):
            rows.append((each["node"], "-", "files", ", ".join(each["files"])))
    if rows:
        print_table(("NODE", "SERVICE", "HOW", "WHAT"), rows)
    else:
        click.echo("nothing would change")
