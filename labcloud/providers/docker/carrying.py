"""Folders from one Docker host to another, by rsync between two helpers in the tenant's network: what is there already is not sent again.

The helper at the source lends folders read-only to whoever has its password, which is made for one journey and is only in files of the two
helpers. The helper at the target takes. Both are gone with the journey.
"""

from __future__ import annotations

import io
import random
import re
import secrets
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any, Final

from labcloud.errors import EngineError, LabError
from labcloud.providers.base import Command
from labcloud.providers.docker import containers, streams
from labcloud.providers.docker.engine import Engine, remove_container

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labcloud.model import NodeRef

_USER: Final = "carrier"
_PORT: Final = 8730
_TRIES: Final = 8
_SECRET: Final = "/run/secret"  # noqa: S105 - where it lies
# Seen in rsync's progress: bytes, and the share of all that is known of.
_PROGRESS: Final = re.compile(rb"\s*([\d,]+)\s+(\d+)%")
_GONE: Final = 24
"""rsync's exit code where files vanished while it read: the next round has what came instead."""
_UNHEARD: Final = 10
"""Its exit code where nobody listens, or not yet."""
_CONTACT: Final = 15.0  # seconds


@dataclass(frozen=True)
class Progress:
    """``done`` bytes, which are ``share`` (0 to 1) of all."""

    done: int
    share: float


@dataclass(frozen=True)
class End:
    """Folders at one end: ``mounts`` as Docker's API has them, by the name of the folder. A helper there has one of ``addresses``, or any
    if they are none."""

    engine: Engine
    mounts: Mapping[str, Mapping[str, Any]]
    addresses: Sequence[IPv4Address] = ()


class Journey:
    """Two helpers, ready: see `journey`."""

    def __init__(self, target: Engine, helper: str, source: str, folders: Sequence[str]) -> None:
        self._engine = target
        self._helper = helper
        self._source = source
        self.folders = tuple(folders)

    def interrupt(self) -> None:
        """Let a folder that is being carried fail at once."""
        with suppress(LabError):
            _remove(self._engine, self._helper)

    def carry(self, told: Callable[[Progress], None] = lambda _: None) -> bool:
        """Make the target's folders as the source's are now. Returns whether something went away meanwhile. Raise EngineError if that
        cannot be done."""
        gone = [self._carry(each, told) for each in self.folders]
        return any(gone)

    def _carry(self, folder: str, told: Callable[[Progress], None]) -> bool:
        argv = (
            "rsync", "-aHAX", "--numeric-ids", "--delete", "--sparse", "--modify-window=-1", "--no-inc-recursive",
            "--info=progress2,flist0",
            "--timeout=60", "--contimeout=20", f"--password-file={_SECRET}",
            f"rsync://{_USER}@{self._source}:{_PORT}/{folder}/", f"/carry/{folder}/",
        )  # fmt: skip
        sink = _Watched(told)
        deadline = time.monotonic() + _CONTACT
        with self._engine.api("carry data") as api:
            while (result := streams.run(api, self._helper, Command(argv), stdout=sink)).exit_code == _UNHEARD:
                if time.monotonic() > deadline:
                    break
                time.sleep(0.1)
        if result.exit_code not in (0, _GONE):
            raise EngineError(f"could not carry the folder {folder}", details=result.stderr.decode(errors="replace")[-2000:])
        return result.exit_code == _GONE


class _Watched:
    """Reads rsync's progress as it comes."""

    def __init__(self, told: Callable[[Progress], None]) -> None:
        self._told = told

    def write(self, chunk: bytes, /) -> None:
        found = _PROGRESS.findall(chunk)
        if found:
            done, share = found[-1]
            self._told(Progress(int(done.replace(b",", b"")), int(share) / 100))

    def flush(self) -> None: ...


@contextmanager
def journey(lab: str, ref: NodeRef, image: str, source: End, target: End) -> Iterator[Journey]:
    """While the block lasts, a way for the folders that both ends have. ``lab`` labels the helpers."""
    secret = secrets.token_hex(16)
    folders = sorted(source.mounts.keys() & target.mounts.keys())
    with ExitStack() as undo:
        lent = [{**source.mounts[name], "Target": f"/carry/{name}", "ReadOnly": True} for name in folders]
        files = {"run/rsyncd.conf": _configuration(folders), "run/secrets": f"{_USER}:{secret}\n"}
        argv = ["rsync", "--daemon", "--no-detach", f"--port={_PORT}", "--config=/run/rsyncd.conf", "--log-file=/dev/stdout"]
        lender = _helper(source, _body(lab, ref, image, argv, lent), files, undo)
        filled = [{**target.mounts[name], "Target": f"/carry/{name}"} for name in folders]
        files = {_SECRET.lstrip("/"): f"{secret}\n"}
        taker = _helper(target, _body(lab, ref, image, ["sleep", "infinity"], filled), files, undo)
        with source.engine.api("look for a helper") as api:
            networks = api.inspect_container(lender)["NetworkSettings"]["Networks"]
        yield Journey(target.engine, taker, next(each["IPAddress"] for each in networks.values()), folders)


def _body(lab: str, ref: NodeRef, image: str, argv: Sequence[str], mounts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of the create call for a helper in the tenant's network."""
    return {
        "Image": image, "Entrypoint": list(argv), "User": "0:0", "Hostname": "carrier",
        "Labels": {containers.LAB: lab, containers.CARRIER: str(ref)},
        "HostConfig": {
            "NetworkMode": containers.network_name(ref.cluster.tenant), "Mounts": list(mounts), "SecurityOpt": ["no-new-privileges"],
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "1"}},
        },
    }  # fmt: skip


def _helper(end: End, body: Mapping[str, Any], files: Mapping[str, str], undo: ExitStack) -> str:
    """The id of a started helper with ``files`` that only root reads."""
    network = body["HostConfig"]["NetworkMode"]
    for address in random.sample(list(end.addresses), min(len(end.addresses), _TRIES)):
        settings = {"EndpointsConfig": {network: {"IPAMConfig": {"IPv4Address": str(address)}}}}
        with suppress(_TakenError):
            return _started(end.engine, {**body, "NetworkingConfig": settings}, files, undo)
    return _started(end.engine, body, files, undo)


class _TakenError(Exception):
    """Another helper has the address."""


def _started(engine: Engine, body: Mapping[str, Any], files: Mapping[str, str], undo: ExitStack) -> str:
    from docker.errors import APIError

    with engine.api("make a helper that carries data") as api:
        identity = str(api.create_container_from_config(body)["Id"])
        undo.callback(_remove, engine, identity)
        api.put_archive(identity, "/", _archive(files))
        try:
            api.start(identity)
        except APIError as exc:
            if "Address already in use" in str(exc):
                raise _TakenError from exc
            raise
    return identity


def _remove(engine: Engine, identity: str) -> None:
    with engine.api("remove a helper") as api:
        remove_container(api, identity)


def _configuration(folders: Sequence[str]) -> str:
    whole = [
        "uid = 0",
        "gid = 0",
        "use chroot = no",
        "read only = yes",
        "max connections = 8",
        "reverse lookup = no",
        "munge symlinks = no",
    ]
    each = [
        line
        for name in folders
        for line in (f"[{name}]", f"path = /carry/{name}", f"auth users = {_USER}", "secrets file = /run/secrets", "strict modes = yes")
    ]
    return "\n".join((*whole, *each)) + "\n"


def _archive(files: Mapping[str, str]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, text in files.items():
            header = tarfile.TarInfo(name)
            header.size, header.mode = len(text.encode()), 0o600
            archive.addfile(header, io.BytesIO(text.encode()))
    return packed.getvalue()


def sweep(engine: Engine, lab: str, ref: NodeRef) -> None:
    """Remove the helpers of journeys of ``ref`` that were killed. Nobody else is at it."""
    filters = {"label": [f"{containers.LAB}={lab}", f"{containers.CARRIER}={ref}"]}
    with engine.api(f"look for helpers of {ref}") as api:
        for each in api.containers(all=True, filters=filters):
            remove_container(api, each["Id"])
