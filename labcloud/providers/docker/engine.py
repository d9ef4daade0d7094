"""The only door to the Docker SDK: one client per thread, and Docker's errors as labcloud's. Knows nothing of clusters.

The low-level ``APIClient`` is used because each of its calls is one request; the object layer inspects after each one.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from labcloud.errors import ConflictError, EngineError, LabError, NotFoundError
from labcloud.providers.docker.forwarding import Forwarded

if TYPE_CHECKING:
    from docker import APIClient
    from docker.tls import TLSConfig

API_VERSION: Final = "1.41"
"""The version of Docker's interface that is spoken: Engine 20.10's."""

_START = "start it with 'dockerd &' or 'systemctl start docker'; ./quickstart.sh does both, and installs it"


class Engine:
    """A Docker Engine, by its URL (``unix:///var/run/docker.sock`` by default) or a ``context`` of Docker's command line, with a time limit
    a request, in seconds. Another machine's has a ``name``, for people."""

    def __init__(self, url: str | None = None, *, timeout: int = 60, context: str = "", name: str = "") -> None:
        self._url = url
        self._context = context
        self._name = name
        self._timeout = timeout
        self._local = threading.local()
        self._clients: list[APIClient] = []
        self._lock = threading.Lock()
        self._over: Forwarded | None = None

    @contextmanager
    def api(self, doing: str) -> Iterator[APIClient]:
        """This thread's client. ``doing`` begins the sentence if Docker refuses: ``"create the node a/b/worker-0"``."""
        with translated(f"{doing} on {self._name}" if self._name else doing, self._name):
            client = getattr(self._local, "client", None)
            if client is None:
                client = self._local.client = self._connect()
                self._clients.append(client)
            yield client

    def _connect(self) -> APIClient:
        from docker import APIClient

        url, tls = self._way
        if url and url.startswith("ssh://"):
            url = self._forwarded(url).url()
        # Naming it saves the request that "auto" needs.
        return APIClient(base_url=url, version=API_VERSION, timeout=self._timeout, tls=tls or False)

    @cached_property
    def _way(self) -> tuple[str | None, TLSConfig | None]:
        """The URL, and how the engine is to be believed."""
        return _of_context(self._context) if self._context else (self._url, None)

    def _forwarded(self, url: str) -> Forwarded:
        with self._lock:
            self._over = self._over or Forwarded(self._name, url)
            return self._over

    def arguments(self) -> list[str]:
        """What leads the ``docker`` command to this engine."""
        if self._context:
            return ["--context", self._context]
        return ["--host", self._url] if self._url and self._name else []

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self._clients.clear()
        if self._over:
            self._over.close()
        self._local = threading.local()


def _of_context(name: str) -> tuple[str, TLSConfig | None]:
    """What Docker's command line knows of a context. (The SDK looks for contexts only where there is a ``config.json`` as well.)"""
    from docker.tls import TLSConfig

    try:
        done = subprocess.run(["docker", "context", "inspect", "--", name], capture_output=True, text=True, check=False)
    except FileNotFoundError as exc:
        raise NotFoundError("the program docker is missing, which knows contexts", resolution="name a url in docker.yaml instead") from exc
    if done.returncode:
        look = "'docker context ls' shows them; docker.yaml names it"
        raise NotFoundError(f"there is no Docker context {name}", details=done.stderr.strip(), resolution=look)
    found = json.loads(done.stdout)[0]
    endpoint, folder = found["Endpoints"]["docker"], Path(found["Storage"]["TLSPath"]) / "docker"
    if not folder.is_dir():
        return endpoint["Host"], None
    ca, cert, key = (str(path) if path.exists() else None for path in (folder / f"{each}.pem" for each in ("ca", "cert", "key")))
    pair = (cert, key) if cert and key else None
    return endpoint["Host"], TLSConfig(client_cert=pair, ca_cert=ca, verify=not endpoint.get("SkipTLSVerify", False))


def refused(exc: BaseException | None, status: int) -> bool:
    """Whether ``exc`` is Docker's answer with this HTTP status."""
    return getattr(getattr(exc, "response", None), "status_code", 0) == status


@contextmanager
def gone_is_done() -> Iterator[None]:
    """What is gone already is deleted: passes over Docker's 404."""
    from docker.errors import APIError

    try:
        yield
    except APIError as exc:
        if not refused(exc, 404):
            raise


def remove_container(api: APIClient, identity: str, *, volumes: bool = False) -> None:
    """A container, whatever it is about, and ``volumes`` without a name that it has. One that another request removes already, as that of a
    labcloud that was killed, is waited for: its name and its volumes are free afterwards."""
    from docker.errors import APIError

    with gone_is_done():
        try:
            api.remove_container(identity, force=True, v=volumes)
        except APIError as exc:
            if not (refused(exc, 409) and "already in progress" in str(exc)):
                raise
            api.wait(identity, condition="removed")
            api.remove_container(identity, force=True, v=volumes)  # should the other request have failed


@contextmanager
def translated(doing: str, host: str = "") -> Iterator[None]:
    """Turn what the SDK raises into labcloud's errors. ``host`` is the name of the engine's machine, if that is another."""
    from docker.errors import APIError, DockerException
    from requests import exceptions as requests_errors

    try:
        yield
    except APIError as exc:
        raise _refusal(doing, exc) from exc
    except requests_errors.ReadTimeout as exc:
        raise EngineError(f"could not {doing}: Docker did not answer in time", details=str(exc)) from exc
    except (DockerException, requests_errors.RequestException) as exc:
        raise _unreachable(doing, exc, host) from exc


def _refusal(doing: str, exc: Exception) -> LabError:
    said = str(getattr(exc, "explanation", "") or exc)
    if "no space left" in said:
        return full_disk(doing, said)
    if "port is already allocated" in said or "address already in use" in said:
        return ConflictError(
            f"could not {doing}: a port that it shall publish is taken",
            details=said,
            resolution="choose another port, or leave it to labcloud",
        )
    kind = NotFoundError if refused(exc, 404) else ConflictError if refused(exc, 409) else EngineError
    return kind(f"could not {doing}: {said}")


def full_disk(doing: str, said: str) -> EngineError:
    """The error for what the engine refused because it has no room left."""
    return EngineError(
        f"could not {doing}: the disk is full",
        details=said,
        resolution="free some space ('labcloud image prune' helps), then run the same command again",
    )


def _unreachable(doing: str, exc: Exception, host: str) -> EngineError:
    said = str(exc)
    if host:
        look = f"see whether {host} is up and its engine runs, and what docker.yaml says of it"
        return EngineError(f"could not {doing}: no Docker Engine answers there", details=said, resolution=look)
    if "Permission denied" in said or "PermissionError" in said:
        return EngineError(
            f"could not {doing}: no permission on Docker's socket",
            details=said,
            resolution="run as root, or let an administrator add you to the group 'docker'",
        )
    if "No such file" in said or "FileNotFoundError" in said or "Connection refused" in said or "ConnectionRefused" in said:
        return EngineError(f"could not {doing}: no Docker Engine answers", details=said, resolution=_START)
    return EngineError(f"could not {doing}: {said}", resolution="look at Docker's own log, then run the same command again")
