"""The only door to openstacksdk: which cloud, one connection for all threads, and OpenStack's errors as labcloud's.

Clouds are named as every OpenStack user names them, in ``clouds.yaml`` or by ``OS_*``. Knows nothing of clusters. keystoneauth gets a
new token when one has ended, and the SDK sends a request again that was refused unread (429, 503). `Cloud.read` asks
again after whatever may pass by itself, because a question changes nothing; `Cloud.change` does not, because OpenStack may have done it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from labcloud import __version__
from labcloud.errors import ConfigError, ConflictError, EngineError, LabError, NotFoundError, QuotaError

if TYPE_CHECKING:
    from openstack.config.cloud_region import CloudRegion
    from openstack.connection import Connection

_SECONDS: Final = 60
_UNREAD: Final = (429, 503)
_PASSES: Final = frozenset({429, 500, 502, 503, 504})
_TRIES: Final = 4
_PAUSE: Final = 0.5

Answer = TypeVar("Answer")


class Cloud:
    """One region of one cloud. ``name`` is an entry of ``clouds.yaml``; empty for ``OS_CLOUD``, ``OS_*``, or the only entry. ``project`` is
    the id of the project to work in, if it is not the one that is said there."""

    def __init__(self, name: str = "", region: str = "", project: str = "") -> None:
        self.name = name or os.environ.get("OS_CLOUD", "")
        self._region = region
        self._project = project
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._opened: list[Connection] = []

    @property
    def label(self) -> str:
        """The cloud's name, for people."""
        return self.name or "the environment"

    def read(self, doing: str, ask: Callable[[Connection], Answer]) -> Answer:
        """What ``ask`` returns; it is asked again if the answer is one that passes. ``doing`` begins the sentence of an error."""
        for attempt in range(1, _TRIES + 1):
            try:
                with self.change(doing) as connection:
                    return ask(connection)
            except LabError as exc:
                if attempt == _TRIES or not _passes(exc.__cause__):
                    raise
            time.sleep(_PAUSE * 2**attempt)
        raise AssertionError("unreachable")

    @contextmanager
    def change(self, doing: str) -> Iterator[Connection]:
        """The connection, for a request that is sent once. ``doing`` begins the sentence if it is refused: ``"create the node a/b/c"``."""
        with self._translated(doing):
            yield self._open()

    def _open(self) -> Connection:
        from openstack.connection import Connection

        with self._lock:
            if self._connection is None:
                opened = Connection(config=self._configuration(), app_name="labcloud", app_version=__version__)
                self._opened.append(opened)  # before it is asked for another, which may fail
                if self._project:
                    self._opened.append(opened.connect_as(project_id=self._project))
                for each in self._opened:
                    each.config.get_session()  # the SDK lets each of several threads make one, and forgets all but the last
                self._connection = self._opened[-1]
            return self._connection

    def _configuration(self) -> CloudRegion:
        from openstack.config import OpenStackConfig
        from openstack.exceptions import ConfigException

        known = OpenStackConfig(app_name="labcloud", app_version=__version__)
        names = sorted(set(known.get_cloud_names()) - {"defaults", "envvars"})
        by_environment = bool(os.environ.get("OS_AUTH_URL"))
        if not names and not by_environment:
            raise ConfigError(
                "no OpenStack cloud is known: there is no clouds.yaml, and OS_AUTH_URL is not set",
                resolution="put the clouds.yaml that your cloud offers into ~/.config/openstack, or name it in OS_CLIENT_CONFIG_FILE",
            )
        if not self.name and not by_environment and len(names) > 1:
            raise ConfigError(
                f"clouds.yaml has several clouds: {', '.join(names)}",
                resolution=f"say which: export OS_CLOUD={names[0]}, or 'cloud' in openstack.yaml",
            )
        chosen = self.name or (None if by_environment else names[0])
        try:
            where: dict[str, Any] = {"region_name": self._region} if self._region else {}
            region: CloudRegion = known.get_one(cloud=chosen, **where)
        except ConfigException as exc:
            listed = f"{known.config_filename or 'the environment'} names {', '.join(names) or 'none'}"
            raise ConfigError(f"the cloud {chosen or 'of the environment'} cannot be used: {exc}", resolution=listed) from exc
        self.name = self.name or str(region.name or "")
        region.config.setdefault("api_timeout", _SECONDS)
        region.config.setdefault("status_code_retries", _TRIES)
        region.config.setdefault("retriable_status_codes", list(_UNREAD))
        return region

    def close(self) -> None:
        with self._lock:
            for each in self._opened:
                each.close()
                # The sockets. The SDK closes the session that the connection itself was asked for; its proxies have theirs from the
                # configuration, and caches of the SDK's keep some of them: sockets would be open until later connections push those out.
                each.session.session.close()
            self._opened, self._connection = [], None

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        from keystoneauth1.exceptions import ClientException
        from openstack.exceptions import SDKException
        from requests.exceptions import RequestException

        try:
            yield
        except (SDKException, ClientException, RequestException) as exc:
            raise self._error(doing, exc) from exc

    def _error(self, doing: str, exc: Exception) -> LabError:
        from keystoneauth1.exceptions import ConnectFailure, ConnectTimeout, EndpointNotFound, NotFound, SSLError, Unauthorized

        if isinstance(exc, Unauthorized):
            return self._refused(doing, exc)
        if isinstance(exc, NotFound) and "Application Credential" in str(exc):
            return EngineError(
                f"could not {doing}: {self.label} does not know the application credential of clouds.yaml: it was deleted, or has expired",
                details=_details(exc), resolution="make another, and put it into clouds.yaml: openstack application credential create",
            )  # fmt: skip
        if isinstance(exc, SSLError):
            why = "its certificate has expired" if "expired" in str(exc) else "its certificate is not trusted"
            return EngineError(
                f"could not {doing}: {self.label} is not to be trusted: {why}", details=str(exc),
                resolution="renew the certificate, or name the authority that signed it as 'cacert' in clouds.yaml",
            )  # fmt: skip
        if isinstance(exc, (ConnectFailure, ConnectTimeout)):
            return EngineError(
                f"could not {doing}: {self.label} does not answer",
                details=str(exc),
                resolution="look at auth_url in clouds.yaml, and at the network",
            )
        if isinstance(exc, EndpointNotFound):
            return EngineError(
                f"could not {doing}: {self.label} has no such service in this region", details=str(exc),
                resolution="look at region_name in clouds.yaml; 'openstack catalog list' shows what there is",
            )  # fmt: skip
        return refusal(doing, exc)

    def _refused(self, doing: str, exc: Exception) -> EngineError:
        auth: dict[str, Any] = self._connection.config.config.get("auth", {}) if self._connection else {}
        who = auth.get("username") or auth.get("user_id") or auth.get("application_credential_id") or "the user"
        project = auth.get("project_name") or auth.get("project_id") or ""
        role = f", or has no role in the project {project}" if project else ""
        return EngineError(
            f"could not {doing}: {self.label} does not let {who} in: the password is wrong{role}",
            details=_details(exc),
            resolution="correct clouds.yaml; Keystone does not say which of the two it is",
        )


def refusal(doing: str, exc: Exception) -> LabError:
    """OpenStack's refusal as an error of labcloud, with the request id in its details."""
    status = status_of(exc)
    said = said_by(exc)
    details = _details(exc)
    if "quota" in said.lower() or status == 413:
        return QuotaError(
            f"could not {doing}: {said}",
            details=details,
            resolution="delete what is not needed, or let an administrator raise the project's quota",
        )
    kinds: dict[int, type[LabError]] = {404: NotFoundError, 409: ConflictError}
    kind = kinds.get(status, EngineError)
    return kind(f"could not {doing}: {said}", details=details)


def status_of(exc: BaseException | None) -> int:
    """The HTTP status of OpenStack's answer; 0 if there was none."""
    found = getattr(exc, "status_code", None) or getattr(exc, "http_status", None) or 0
    return int(found)


def said_by(exc: Exception) -> str:
    """OpenStack's own sentence."""
    return str(getattr(exc, "details", None) or getattr(exc, "message", None) or exc).strip()


def _details(exc: Exception) -> str:
    request, url = getattr(exc, "request_id", None), getattr(exc, "url", None)
    lines = (f"{getattr(exc, 'method', None) or ''} {url}".strip() if url else "", f"request id: {request}" if request else "")
    return "\n".join(filter(None, lines))


def _passes(cause: BaseException | None) -> bool:
    from keystoneauth1.exceptions import ConnectFailure

    return status_of(cause) in _PASSES or isinstance(cause, ConnectFailure)


def refused(exc: LabError, status: int) -> bool:
    """Whether ``exc`` is OpenStack's answer with this HTTP status."""
    return status_of(exc.__cause__) == status
