"""What the services of a simulated node were started with: noted at a start, printed and amended as a real node does (docs/node.md).

Knows no service: texts are those of the cluster's configuration, held by reference, so that thousands of nodes cost little.
A world that was read from a file has no notes; its services count as started with what is configured.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence

from labcloud.providers.simulated.world import LabState, Machine, config_files


def start_all(lab: LabState, machine: Machine) -> None:
    """All services of the node start, with what is configured now."""
    machine.started.clear()
    machine.booted = lab.cluster(machine.spec.ref.cluster).config


def start(lab: LabState, machine: Machine, service: str) -> None:
    """One service starts anew."""
    _complete(lab, machine)
    files = config_files(lab.cluster(machine.spec.ref.cluster).config or {}, machine.spec.ref)
    if f"services/{service}" in files:
        machine.started[service] = _read_by(service, files)


def archive(lab: LabState, machine: Machine) -> bytes:
    """The tar archive of ``SERVICE/PATH`` that ``started`` prints."""
    _complete(lab, machine)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for service, files in machine.started.items():
            for path, text in files.items():
                member = tarfile.TarInfo(f"{service}/{path}")
                data = text.encode()
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return content.getvalue()


def update(lab: LabState, machine: Machine, service: str, files: bytes, gone: Sequence[str]) -> bool:
    """Note what a running service was told: a tar archive of files, and paths that are gone. False if there is no such service."""
    _complete(lab, machine)
    noted = machine.started.get(service)
    if noted is None:
        return False
    with tarfile.open(fileobj=io.BytesIO(files)) as tar:
        told = {member.name: content.read().decode() for member in tar if (content := tar.extractfile(member)) is not None}
    machine.started[service] = {path: text for path, text in noted.items() if path not in gone} | told
    return True


def _complete(lab: LabState, machine: Machine) -> None:
    if not machine.started:
        files = config_files(machine.booted or lab.cluster(machine.spec.ref.cluster).config or {}, machine.spec.ref)
        names = [path.removeprefix("services/") for path in files if path.startswith("services/")]
        machine.started = {name: _read_by(name, files) for name in names}


def _read_by(service: str, files: dict[str, str]) -> dict[str, str]:
    return {path: text for path, text in files.items() if path.startswith("conf/") or path in ("node.env", f"services/{service}")}
