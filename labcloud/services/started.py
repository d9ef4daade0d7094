"""What the services of a node were started with, as the node itself noted it. Knows no service and no configuration.

A node notes of each start what it reads (docs/node.md): the paths are those below ``/etc/labcloud/cluster``, as
``conf/hdfs-site.xml``, ``node.env`` and ``services/NAME``; ``base/environment`` is that of the lab, where there is one.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from typing import Final

from labcloud.errors import ConfiguringError
from labcloud.model import NodeRef
from labcloud.providers.base import Command, Provider, Result

_PROGRAM: Final = "/usr/lib/labcloud/started"


def read(provider: Provider, ref: NodeRef) -> dict[str, dict[str, str]]:
    """``{service: {path: text}}`` of all services that were started since the node was.

    Raise ConfiguringError if the node cannot say it.
    """
    result = provider.execute(ref, Command((_PROGRAM,)))
    if result.exit_code:
        raise _unreadable(ref, _said(result))
    found: dict[str, dict[str, str]] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(result.stdout)) as archive:
            for member in archive:
                service, _, path = member.name.removeprefix("./").partition("/")
                content = archive.extractfile(member)  # None for a folder
                if content is not None:
                    found.setdefault(service, {})[path] = content.read().decode(errors="replace")
    except tarfile.TarError as exc:
        raise _unreadable(ref, str(exc)) from exc
    return found


def update(provider: Provider, ref: NodeRef, service: str, files: Mapping[str, str | None]) -> None:
    """Note that the running service knows ``files`` now: by path, the new text, or None for one that is gone.

    What else is noted of it stays. Raise ConfiguringError if the service was not started, or the node refused.
    """
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for path, text in files.items():
            if text is not None:
                member = tarfile.TarInfo(path)
                data = text.encode()
                member.size, member.mode = len(data), 0o644
                archive.addfile(member, io.BytesIO(data))
    gone = [path for path, text in files.items() if text is None]
    result = provider.execute(ref, Command((_PROGRAM, "--update", service, *gone), stdin=content.getvalue()))
    if result.exit_code:
        raise ConfiguringError(
            f"the node {ref} could not note what {service} was told",
            details=_said(result),
            resolution="run the same command again; it tells the service once more, which does no harm",
        )


def _said(result: Result) -> str:
    return (result.stderr or result.stdout).decode(errors="replace")[-1000:]


def _unreadable(ref: NodeRef, details: str) -> ConfiguringError:
    return ConfiguringError(
        f"the node {ref} does not say what its services were started with",
        details=details,
        resolution=f"if its image is from before nodes noted it: labcloud image build, then labcloud restart {ref.cluster}",
    )
