"""A support bundle: what somebody who is to help needs to see of a cluster, in one private file, without its secrets.

Each part is collected by itself and has a limit; what could not be collected stands in the manifest with the reason.
"""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from labcloud import __version__
from labcloud.apply.journal import redacted
from labcloud.diagnosis.facts import script
from labcloud.diagnosis.subject import MEASURED, Subject
from labcloud.errors import LabError
from labcloud.lab.documents import cluster_document
from labcloud.lab.files import disk_errors
from labcloud.model import NodeRef
from labcloud.providers.base import Command

_LOG_BYTES: Final = 2 * 2**20
_MOST_BYTES: Final = 64 * 2**20
_OPERATIONS: Final = 50
_THREADS: Final = 8
_LOGS: Final = "/var/log/hadoop"
_SECRET_NAME: Final = r"[^<]*(?:passw|secret|token|credential|private|\.key|key\.|access\.?key)[^<]*"  # noqa: S105 - names, not values
_XML: Final = re.compile(rf"(<name>{_SECRET_NAME}</name>\s*<value>)[^<]*(</value>)", re.IGNORECASE)
_KEY_BLOCK: Final = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL)
_REDACTED: Final = "[redacted]"

Part = Callable[[], Any]


@dataclass
class Manifest:
    """What is in a bundle: ``files`` to their sizes in bytes, ``missing`` to why, ``cut`` to how many bytes were left out."""

    target: str
    version: str
    made: str
    files: dict[str, int] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return sum(self.files.values())


def clean(text: str) -> str:
    """``text`` without what may be a secret: values of XML properties by their names, ``password=…``, ``//user:…@``, private keys."""
    text = _XML.sub(rf"\g<1>{_REDACTED}\g<2>", text)
    return str(redacted(_KEY_BLOCK.sub(_REDACTED, text)))


def write_bundle(subject: Subject, path: Path, extra: Mapping[str, Part]) -> Manifest:
    """Collect everything about a cluster into ``path``, a tar.gz with mode 0600. ``extra`` are more parts, by file name.

    Raise EngineError if the file cannot be written, or exists.
    """
    manifest = Manifest(str(subject.ref), __version__, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    parts = dict(_parts(subject)) | dict(extra)
    with disk_errors(f"write {path}"):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with disk_errors(f"write {path}"), os.fdopen(handle, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as tar:
        with ThreadPoolExecutor(_THREADS) as pool:
            for name, content in zip(parts, pool.map(_collected, parts.values()), strict=True):
                _add(tar, manifest, name, content)
        _put(tar, "manifest.json", json.dumps({**manifest.__dict__, "size": manifest.size}, indent=2).encode())
    return manifest


def _collected(part: Part) -> bytes | LabError:
    try:
        said = part()
    except LabError as exc:
        return exc
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    if not isinstance(text, str):
        text = json.dumps(redacted(text), indent=2, default=str)
    return clean(text).encode()


def _add(tar: tarfile.TarFile, manifest: Manifest, name: str, content: bytes | LabError) -> None:
    if isinstance(content, LabError):
        manifest.missing[name] = content.brief
        return
    room = max(0, _MOST_BYTES - manifest.size)
    if len(content) > room:
        manifest.cut[name] = len(content) - room
        content = content[len(content) - room :]
    manifest.files[name] = len(content)
    _put(tar, name, content)


def _put(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    header = tarfile.TarInfo(f"bundle/{name}")
    header.size, header.mode, header.mtime = len(content), 0o600, int(time.time())
    tar.addfile(header, io.BytesIO(content))


# What is collected


def _parts(subject: Subject) -> Iterator[tuple[str, Part]]:
    yield "declaration.json", lambda: cluster_document(subject.cluster)
    yield "found.json", lambda: _plain(subject.found())
    yield "inspections.json", lambda: {str(ref): _plain(each) for ref, each in subject.inspections().items()}
    yield "machine.json", lambda: _machine(subject)
    yield "journal.json", lambda: _journal(subject)
    for path, text in subject.blueprint.config.items():
        yield f"configuration/{path}", lambda text=text: text  # type: ignore[misc]
    for ref in subject.running():
        yield f"nodes/{ref.name}/facts.tsv", lambda ref=ref: _facts(subject, ref)  # type: ignore[misc]
        for name, service in subject.profile.services.items():
            if service.group != ref.group:
                continue
            for kind in ("log", "out"):
                yield f"nodes/{ref.name}/{name}.{kind}", lambda ref=ref, file=f"{name}.{kind}": _log(subject, ref, file)  # type: ignore[misc]
            if "http" in service.ports:
                yield f"nodes/{ref.name}/{name}.jmx.json", lambda ref=ref, name=name: subject.hadoop.text(name, "/jmx", node=ref)  # type: ignore[misc]


def _plain(value: Any) -> Any:
    """Dataclasses as their printed form: what is seen by people needs no other."""
    return {name: str(getattr(value, name)) for name in value.__dataclass_fields__}


def _machine(subject: Subject) -> Any:
    from labcloud.model.checks import Subject as Asked
    from labcloud.preflight import Preflight

    report = Preflight(subject.provider, subject.home).run(Asked(subject.home, subject.provider.name, subject.provider.capacity))
    return {"uname": list(os.uname()), "load": os.getloadavg(), "preflight": [each.noted() for each in report.checks]}


def _journal(subject: Subject) -> Any:
    """The operations of the cluster, newest first, with their events."""
    records = [each for each in subject.journal.operations() if each.target == str(subject.ref)]
    full = (subject.journal.read(each.id) for each in records[:_OPERATIONS])
    return [{**_plain(each), "events": [[event.time, event.kind, dict(event.details)] for event in each.events]} for each in full]


def _facts(subject: Subject, ref: NodeRef) -> bytes:
    return subject.provider.execute(ref, Command(("bash", "-s", "--", str(MEASURED)), stdin=script())).stdout


def _log(subject: Subject, ref: NodeRef, file: str) -> bytes:
    """The end of a log. One that is not there is empty."""
    return subject.provider.execute(ref, Command(("tail", "-c", str(_LOG_BYTES), f"{_LOGS}/{file}"))).stdout
