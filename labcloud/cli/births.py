"""Starts, beside a command that has made clusters, what takes their first snapshots and backups: nobody waits for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

from labcloud.cli.output import note
from labcloud.cli.session import Session
from labcloud.model import ClusterRef
from labcloud.protect.targets import Target

_OUT_OF_REACH: Final = frozenset({"simulated"})


def protect_new(opened: Session, refs: Sequence[ClusterRef]) -> None:
    """Let another process protect clusters that were just made, as far as their policies want it, and say so."""
    policies = opened.lab.backup_policies()
    wanted = [ref for ref in refs if ref in policies and policies[ref].enabled and _has_data(opened, ref)]
    if shutil.which("restic") is None:
        kept = [ref for ref in wanted if Target.parse(policies[ref].target).engine]
        if names := ", ".join(str(ref) for ref in wanted if ref not in kept):
            note(f"note: {names} cannot be backed up: restic is not installed (apt-get install restic)")
        wanted = kept
    if not wanted:
        return
    words = [sys.executable, "-m", "labcloud.cli.main", "backup", "run", "--birth", *map(str, wanted)]
    # It outlives this command, and a terminal that is closed; what comes of it stands in the journal.
    nobody, environment = subprocess.DEVNULL, os.environ | {"LABCLOUD_HOME": str(opened.lab.home)}  # the same, wherever this was started
    subprocess.Popen(words, stdin=nobody, stdout=nobody, stderr=nobody, start_new_session=True, cwd="/", env=environment)
    note(f"the first snapshot and backup are being made: labcloud backup list {wanted[0] if len(wanted) == 1 else ''}".rstrip())


def _has_data(opened: Session, ref: ClusterRef) -> bool:
    """Whether there is anything to copy that is reached from here: simulated nodes have no data on any disk, servers of a cloud have
    theirs there."""
    wanted = opened.lab.cluster(ref)
    return wanted is not None and wanted.provider not in _OUT_OF_REACH
