"""Changes of several people brought together: file by file, three ways. Knows nothing of what the files say."""

from __future__ import annotations

from labcloud.errors import ConflictError
from labcloud.lab.conflicts import conflicting_lines
from labcloud.lab.history import History

Text = str | None


def merged(history: History, path: str, texts: tuple[Text, Text, Text]) -> Text:
    """What becomes of a file that said ``before`` when somebody began to want ``wanted``, and says ``now`` now (None: not there).

    ``texts`` are these three: now, before, wanted. Raise ConflictError, with the lines as they are now, if both changed the same.
    """
    now, before, wanted = texts
    if wanted in (before, now):
        return now
    if now == before:
        return wanted
    if now is None or wanted is None:
        theirs, ours = ("removed", "changed") if now is None else ("changed", "removed")
        raise ConflictError(
            f"{path} was {theirs} meanwhile: it cannot be {ours} as well",
            resolution="look at what is there now, then do it anew",
        )
    text, well = history.merged(now, before or "", wanted)
    if not well:
        lines = ", ".join(_said(*each) for each in conflicting_lines(text))
        raise ConflictError(
            f"{path} was changed meanwhile, at the same place: {lines}",
            details=text.strip(),
            resolution="look at what is there now, then do it anew",
        )
    return text


def _said(first: int, last: int) -> str:
    if last < first:
        return f"before line {first}"
    return f"line {first}" if first == last else f"lines {first} to {last}"
