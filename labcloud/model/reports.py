"""Where the nightly run of backups reports to, as people write it. Pure; no password is ever part of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from labcloud.errors import UsageError

# A useful part of RFC 5321: no quotes, no comments, and nothing that could begin another header.
_ADDRESS: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_SERVER: Final = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\])(?::([0-9]{1,5}))?")
_DEFAULT_PORT: Final = 25


class Security(StrEnum):
    """How a mail server is spoken to: in the clear, encrypted after a word in the clear, or encrypted from the beginning."""

    NONE = "none"
    STARTTLS = "starttls"
    TLS = "tls"


_USUAL: Final = {465: Security.TLS, 587: Security.STARTTLS}


@dataclass(frozen=True)
class Server:
    """A mail server. ``host`` is a name or an address (IPv6 without brackets)."""

    host: str
    port: int = _DEFAULT_PORT

    @classmethod
    def parse(cls, text: str) -> Server:
        """What ``HOST`` or ``HOST:PORT`` says. Raise UsageError on anything else."""
        found = _SERVER.fullmatch(text)
        port = int(found[2] or _DEFAULT_PORT) if found else 0
        if not found or not 1 <= port <= 65535:
            raise UsageError(f"{text!r} is not a mail server", resolution="write HOST or HOST:PORT, as in mail.example.org:587")
        return cls(found[1].strip("[]"), port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORT else f"{host}:{self.port}"

    @property
    def usual_security(self) -> Security:
        """How servers on this port are spoken to, where nobody says otherwise."""
        return _USUAL.get(self.port, Security.NONE)


@dataclass(frozen=True)
class Email:
    """Who gets a report by e-mail, and by which server. A ``user`` logs in with the password that a file of the lab's secrets has."""

    to: tuple[str, ...]
    sender: str
    server: Server
    security: Security
    user: str = ""


@dataclass(frozen=True)
class Report:
    """Where a run reports to: a web hook's URL, people by e-mail, both, or nobody."""

    webhook: str = ""
    email: Email | None = None


NO_REPORT: Final = Report()


def parse_address(text: str) -> str:
    """``text`` if it is an e-mail address. Raise UsageError otherwise."""
    if not _ADDRESS.fullmatch(text):
        raise UsageError(f"{text!r} is not an e-mail address", resolution="write it bare, as in ada@example.org")
    return text


def parse_security(text: str) -> Security:
    """What ``text`` says. Raise UsageError unless it is none, starttls or tls."""
    try:
        return Security(text)
    except ValueError as exc:
        raise UsageError(f"{text!r} does not say how a mail server is spoken to", resolution=f"write one of {', '.join(Security)}") from exc


def parse_user(text: str) -> str:
    """``text`` if it can be a user of a mail server. Raise UsageError otherwise."""
    if not text or not text.isprintable() or len(text) > 255:
        raise UsageError("a user of a mail server is one line of text", resolution="write the name that you log in with there")
    return text
