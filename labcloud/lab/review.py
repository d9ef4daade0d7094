"""What must be reviewed before it is changed, as the YAML file that people write. Knows nothing of proposals.

::

    required:              # files, and folders with all that is in them
    - base/
    - bindings/
    - clusters/acme/
    - tenants/acme.yaml
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from labcloud.lab.document import Document
from labcloud.lab.places import REVIEW, covers, prefix


@dataclass(frozen=True)
class Review:
    """``required`` are files, and folders that end with a slash. Where anything is required, so is a review of this file itself."""

    required: tuple[str, ...] = ()

    def covers(self, path: str) -> bool:
        return bool(self.required) and any(covers(place, path) for place in (*self.required, REVIEW))


def read_review(text: str, path: Path) -> Review:
    """What ``text`` requires. Raise ConfigError with ``path`` and the line of what is wrong."""
    document = Document(path)
    fields = document.mapping(document.root(text), required=("required",))
    return Review(tuple(document.scalar(item, prefix) for item in document.items(fields["required"])))
