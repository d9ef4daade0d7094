"""Shared datasets on servers. The first node of a cluster has them on its disk and serves them to the others by NFS, read-only.

What a cluster sees is a folder of this machine, as on engines that mount it (`labcloud.datasets.views`); rsync brings that to the node
that serves it, so that what two versions have in common is sent and stored once, and a broken transfer goes on. What the node has is
noted below ``HOME/configured``, by its server's id, when all of it is there.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from labcloud.errors import EngineError
from labcloud.lab.files import make_private, replace
from labcloud.providers.openstack.identity import Machine
from labcloud.providers.openstack.ssh import Ssh, Target

_PLACE: Final = "/srv/labcloud/datasets"
"""Where the serving node has them; ``playbooks/files/take.sh`` knows it, too."""


@dataclass(frozen=True)
class View:
    """What a cluster shall see: a folder of this machine, and what is in it, by name and `StoredDataset.tag`."""

    folder: Path
    tags: Mapping[str, str]

    @property
    def bytes(self) -> int:
        return sum(each.stat().st_size for each in self.folder.rglob("*") if each.is_file())


def server_of(machines: Iterable[Machine]) -> Machine | None:
    """Which of a cluster's servers serves the others: the first, which is a master."""
    return min(machines, key=lambda each: each.ref, default=None)


class Shares:
    """What serving nodes of one lab have. ``noted`` is the folder of notes."""

    def __init__(self, ssh: Ssh, noted: Path) -> None:
        self._ssh = ssh
        self._noted = noted

    def there(self, machine: Machine) -> dict[str, str]:
        """The datasets that a serving node has, as `View.tags`; none of one of which nothing is known."""
        with suppress(OSError, ValueError):
            return dict(json.loads(self._note(machine).read_text(encoding="utf-8")))
        return {}

    def fill(self, machine: Machine, target: Target, view: View) -> None:
        """Let a serving node have exactly what is in ``view``, unless it has. Raise EngineError if that cannot be brought there."""
        if self._note(machine).exists() and self.there(machine) == view.tags:
            return
        if not shutil.which("rsync"):
            raise EngineError("datasets come to nodes by rsync, which is not installed", resolution="apt-get install rsync")
        self.forget(machine)
        # What sorts before it ends is what is being made or removed (`Views`). Owners are nobody's business on the node.
        argv = [
            "rsync", "--archive", "--hard-links", "--delete", "--delay-updates", "--exclude=/.*", "--chown=0:0",
            "--rsh", shlex.join(["ssh", *self._ssh.options(target)]), "--rsync-path", "sudo -n rsync",
            f"{view.folder}/", f"{self._ssh.user}@{target.address}:{_PLACE}/",
        ]  # fmt: skip
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if done.returncode:
            raise EngineError(
                f"the node {target.name} did not get the datasets {', '.join(sorted(view.tags))}",
                details=done.stderr.decode(errors="replace").strip()[-1000:], resolution="run the same command again: it goes on",
            )  # fmt: skip
        make_private(self._noted)
        note = self._note(machine)
        replace(note, json.dumps(dict(view.tags)), scratch=note.with_name(f"{note.name}.new"))

    def forget(self, machine: Machine) -> None:
        self._note(machine).unlink(missing_ok=True)

    def _note(self, machine: Machine) -> Path:
        return self._noted / f"{machine.id}.datasets"
