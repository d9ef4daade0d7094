"""Tenants that exist for a while only, each noted with the process that needs it: what a process left that was killed can be removed.

HOME/passing/TENANT.json is written before the tenant is declared, and removed after nothing is left of it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from labcloud.lab.files import create_once, disk_errors, make_private
from labcloud.lab.processes import lives, ticks

_NAME: Final = re.compile(r"[a-z]+-[0-9a-f]{6}")


@dataclass(frozen=True)
class Passing:
    """The notes of the lab at ``home``."""

    home: Path

    def new(self, purpose: str) -> str:
        """A name for a tenant that this process makes for ``purpose`` (lower-case letters). Raise EngineError if the disk refuses."""
        name = f"{purpose}-{secrets.token_hex(3)}"
        with disk_errors(f"note {name} in {self._folder}"):
            make_private(self._folder)
            facts = {"host": socket.gethostname(), "pid": os.getpid(), "ticks": ticks(os.getpid())}
            create_once(self._folder / f"{name}.json", json.dumps(facts) + "\n")
        return name

    def over(self, tenant: str) -> None:
        """Nothing is left of ``tenant``. Raise EngineError if the disk refuses."""
        with disk_errors(f"forget {tenant} in {self._folder}"):
            (self._folder / f"{tenant}.json").unlink(missing_ok=True)

    def left(self) -> list[str]:
        """The tenants of processes of this machine that do not live any more; notes that cannot be read are passed over."""
        return sorted(path.stem for path in self._folder.glob("*.json") if _NAME.fullmatch(path.stem) and not _lives(path))

    @property
    def _folder(self) -> Path:
        return self.home / "passing"


def _lives(path: Path) -> bool:
    try:
        facts = json.loads(path.read_bytes())
        return lives(str(facts["host"]), int(facts["pid"]), int(facts["ticks"]))
    except (OSError, ValueError, KeyError, TypeError):
        return True
