"""The note of a change of files while it is being made, so that one that was killed half-way is taken back whole.

It lies beside the repository's objects, is there before the first file is written, and goes when the change is committed. It has
what the files said before and what they were to say: what somebody wrote by hand since is told apart and stays. Knows no git.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from labcloud.lab import files


@dataclass(frozen=True)
class Begun:
    """A change that was begun upon the revision ``head``: what each file said ``before`` (None: it was not there), and a digest of
    what it was to say."""

    head: str
    before: Mapping[str, bytes | None]
    wanted: Mapping[str, str]

    def written(self, now: Callable[[str], bytes | None]) -> list[str]:
        """The files that say ``now`` what the change wrote; others it has not reached, or somebody has changed since."""
        return [path for path, digest in self.wanted.items() if _digest(now(path)) == digest]


class Unfinished:
    """The note at ``path``. Who writes it, or takes it away, holds the lab's lock."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def there(self) -> bool:
        """Whether a change is being made, or was killed."""
        return self._path.exists()

    def begin(self, head: str, before: Mapping[str, bytes | None], wanted: Mapping[str, bytes | None]) -> None:
        """Note a change before it is made."""
        changed = {
            path: {"before": None if old is None else old.decode("latin-1"), "wanted": _digest(wanted[path])}
            for path, old in before.items()
        }
        text = json.dumps({"head": head, "files": changed})
        files.replace(self._path, text, scratch=self._path.with_name(f"{self._path.name}.new"))

    def read(self) -> Begun | None:
        """The change that was begun and not ended; None if there is none."""
        try:
            said = json.loads(self._path.read_bytes())
            changed = said["files"].items()
            before = {path: None if facts["before"] is None else facts["before"].encode("latin-1") for path, facts in changed}
            return Begun(said["head"], before, {path: facts["wanted"] for path, facts in changed})
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):  # nobody can say what it was
            return None

    def end(self) -> None:
        """The change is made, or taken back."""
        self._path.unlink(missing_ok=True)


def _digest(content: bytes | None) -> str:
    return "" if content is None else hashlib.sha256(content).hexdigest()
