"""Telling somebody's web service something. Never an obstacle: what could not be told is said in a word.

Web hooks carry their secret in the URL, in any part of it: what is noted of one is its scheme and host alone.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

POST_SECONDS: Final = 5.0


def post(url: str, message: Mapping[str, object], *, seconds: float = POST_SECONDS) -> str:
    """Send ``message`` to ``url`` as JSON. Returns what went wrong, in a word and without any of the URL; empty if nothing did.

    It takes ``seconds`` at most, the look-up of the name included, which no other limit covers.
    """
    data = json.dumps(message).encode()
    return within(seconds, lambda: _send(url, data, seconds), _reason)


def within(seconds: float, send: Callable[[], str], why: Callable[[Exception], str]) -> str:
    """What ``send`` returns, or ``why`` makes of what it raises; it is not waited for longer than ``seconds``."""
    answer: Future[str] = Future()

    def run() -> None:
        try:
            answer.set_result(send())
        except Exception as exc:  # noqa: BLE001 - a fault of who is told must not be one of who tells
            answer.set_result(why(exc))

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
