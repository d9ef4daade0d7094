"""The only door to ansible-runner: plays a playbook on hosts, and tells which of them it failed on."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from labcloud.ansible.inventory import Host, inventory
from labcloud.errors import ConfiguringError

_PLAYBOOKS: Final = Path(__file__).resolve().parents[2] / "playbooks"
_MOST_FORKS: Final = 32
_FAILED: Final = frozenset({"runner_on_failed", "runner_on_unreachable"})


def configure(hosts: Sequence[Host]) -> None:
    """Play ``playbooks/configure.yml`` on all hosts at once. Raise ConfiguringError, with what each of them said, if one failed."""
    _play(_PLAYBOOKS / "configure.yml", hosts)


def _play(playbook: Path, hosts: Sequence[Host]) -> None:
    import ansible_runner

    faults: dict[str, str] = {}

    def note(event: dict[str, Any]) -> bool:
        if event.get("event") in _FAILED:
            data = event.get("event_data") or {}
            faults[str(data.get("host"))] = _said(data.get("res") or {})
        return False  # events are not written to files: they have said what they have to say

    # The runner writes the inventory, which has what nodes are told, into this folder: it is nobody else's, and goes at once.
    folder = tempfile.mkdtemp(prefix="labcloud-play-")
    try:
        done = ansible_runner.run(
            private_data_dir=folder,
            playbook=str(playbook),
            inventory=inventory(hosts),
            envvars=_environment(),
            forks=min(_MOST_FORKS, len(hosts)),
            event_handler=note,
            quiet=True,
        )
        said = "" if done.status == "successful" or faults else done.stdout.read()[-2000:]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if done.status != "successful":
        names = ", ".join(sorted(faults)) or "all nodes"
        raise ConfiguringError(
            f"could not configure {names}", details="\n".join(f"{name}: {text}" for name, text in sorted(faults.items())) or said,
            resolution="run the same command again; nodes that were configured stay so",
        )  # fmt: skip


def _said(result: dict[str, Any]) -> str:
    return str(result.get("stderr") or result.get("msg") or result.get("stdout") or result).strip()[-1000:]


def _environment() -> dict[str, str]:
    """Ansible's program is beside Python's; its settings are the playbooks', and nobody else's."""
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "ANSIBLE_CONFIG": str(_PLAYBOOKS / "ansible.cfg"),
    }
