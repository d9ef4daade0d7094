"""Telling tenants that a lease ends soon: a message to the tenant's URL, and a file on nodes that login shells show.

Nothing here is ever an obstacle: what could not be told is said in a word, and the caller tries again later. Web hooks carry their
secret in the URL, in any part of it: what is noted of one is its scheme and host alone.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

from labcloud.apply.journal import Journal
from labcloud.errors import LabError
from labcloud.model import AtEnd, Cluster, Lease, NodeRef, Status
from labcloud.model.periods import milliseconds, stamp
from labcloud.providers.base import Command, Provider

POST_SECONDS: Final = 5.0
NOTICE_FILE: Final = "/run/labcloud/notice"
"""On a node: until when it is true (seconds since 1970), a space, one line of text. An empty one says nothing."""

NOTICE_EVENT: Final = "lease-notice"
_FOLDER: Final = "/run/labcloud"
_THREADS: Final = 16


@dataclass(frozen=True)
class Told:
    """What the journal knows of a notice: whether the tenant's URL has it, and whether every running node shows it."""

    posted: bool = False
    shown: bool = False


NOTHING_TOLD: Final = Told()


def told(journal: Journal, cluster: Cluster) -> Told:
    """What was told of the lease that ``cluster`` has now; another end, or another cluster of that name, is another notice."""
    lease = cluster.lease
    so_far = NOTHING_TOLD
    for target, event in journal.events(NOTICE_EVENT):
        if (
            lease
            and target == str(cluster.ref)
            and (event.details.get("id"), event.details.get("until")) == (cluster.id, stamp(lease.until))
        ):
            so_far = Told(so_far.posted or event.details.get("posted") is True, so_far.shown or event.details.get("shown") is True)
    return so_far


def post(url: str, message: Mapping[str, object], *, seconds: float = POST_SECONDS) -> str:
    """Send ``message`` to ``url`` as JSON. Returns what went wrong, in a word and without any of the URL; empty if nothing did.

    It takes ``seconds`` at most, the look-up of the name included, which no other limit covers.
    """
    answer: Future[str] = Future()
    data = json.dumps(message).encode()

    def run() -> None:
        try:
            answer.set_result(_send(url, data, seconds))
        except Exception as exc:  # noqa: BLE001 - a web service's fault must not keep a lease from ending
            answer.set_result(_reason(exc))

    # Not a pool: the program would not end before its thread does.
    threading.Thread(target=run, daemon=True, name="notify").start()
    try:
        return answer.result(seconds)
    except TimeoutError:
        return f"no answer within {seconds:g} s"


def _send(url: str, data: bytes, seconds: float) -> str:
    from urllib.error import HTTPError
    from urllib.request import HTTPRedirectHandler, Request, build_opener

    class Stay(HTTPRedirectHandler):
        """A message that is sent on becomes a GET, which tells nobody."""

        def redirect_request(self, *_: Any) -> None:
            return None

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        return "it is not the URL of a web service"
    headers = {"Content-Type": "application/json", "User-Agent": "labcloud"}
    account, _, host = parts.netloc.rpartition("@")
    if account:
        headers["Authorization"] = f"Basic {base64.b64encode(unquote(account).encode()).decode()}"
    request = Request(urlunsplit(parts._replace(netloc=host, fragment="")), data, headers, method="POST")  # noqa: S310 - looked at above
    try:
        with build_opener(Stay).open(request, timeout=seconds):
            return ""
    except HTTPError as exc:
        exc.close()
        return f"it answers {exc.code}"


def _reason(exc: Exception) -> str:
    """Why a message was not sent. Texts of exceptions may quote the URL; those of the operating system do not."""
    cause = getattr(exc, "reason", exc)
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    return cause.strerror.lower() if isinstance(cause, OSError) and cause.strerror else f"not sent ({type(cause).__name__})"


def shown_host(url: str) -> str:
    """The part of a URL that may be noted: ``https://chat.example.org``."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def message(cluster: Cluster, lease: Lease, left: str) -> dict[str, object]:
    """What a tenant's URL is sent before the end of a lease."""
    return {
        "event": "lease-ends", "tenant": cluster.ref.tenant, "cluster": cluster.ref.name, "until": stamp(lease.until),
        "then": str(lease.then), "left": left, "text": f"The lease of {cluster.ref} {_ends(lease)}.",
        "extend": f"labcloud lease extend {cluster.ref} 4h",
    }  # fmt: skip


def show_on_nodes(provider: Provider, cluster: Cluster, lease: Lease) -> int:
    """Have login shells on the running nodes say when the lease ends. Returns how many nodes could not be told.

    Raise EngineError if the engine cannot say which run; so does `clear_nodes`.
    """
    seconds = milliseconds(lease.until) // 1000
    return _write(provider, cluster, f"{seconds} The lease of this cluster {_ends(lease)}.\n".encode())


def clear_nodes(provider: Provider, cluster: Cluster) -> int:
    """Have login shells on the running nodes say nothing any more. Returns how many nodes could not be reached."""
    return _write(provider, cluster, b"")


def _write(provider: Provider, cluster: Cluster, text: bytes) -> int:
    running = [node.ref for node in provider.find(cluster=cluster.ref).nodes if node.status is Status.RUNNING]
    if not running:
        return 0

    def write(node: NodeRef) -> bool:
        commands = (Command(("mkdir", "-p", _FOLDER)), Command(("tee", NOTICE_FILE), stdin=text))
        try:
            return all(provider.execute(node, command).exit_code == 0 for command in commands)
        except LabError:
            return False

    with ThreadPoolExecutor(min(len(running), _THREADS)) as pool:
        return sum(not told for told in pool.map(write, running))


def _ends(lease: Lease) -> str:
    what = "deleted with all its data" if lease.then is AtEnd.DELETE else "stopped, and its data stays"
    return f"ends at {stamp(lease.until)}; then it is {what}"
