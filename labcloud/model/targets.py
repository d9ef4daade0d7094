"""What people write of where backups go: a target, and the name of its credentials. Pure.

A password in a target is refused: the lab's history would keep it.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import SplitResult, urlsplit

from labcloud.errors import UsageError

_FORMS: Final = (
    "write an absolute directory as /srv/backups, sftp:USER@HOST:/PATH, s3:https://HOST/BUCKET, rest:https://HOST/, "
    "or engine:openstack for Cinder's own backups"
)
ENGINE: Final = "engine"
"""The kind of targets that are the backup service of an engine."""
_CREDENTIALS: Final = "leave it out; put what the target asks for into HOME/secrets/backup/NAME.env, and name that by 'credentials: NAME'"
_SFTP: Final = re.compile(r"(?:(?P<user>[^@:/\s-][^@:/\s]*)@)?(?P<host>[^@:/\s[-][^@:/\s]*|\[[0-9A-Fa-f:.]+\]):(?P<path>.*)")
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,38}[a-z0-9])?")
_LONGEST: Final = 2000


def parse_target(text: str) -> str:
    """``text`` in its plain form, if backups can lie there: an absolute directory, a place that restic knows, or an engine's own backup
    service. Raise UsageError on anything else, and on a password in it."""
    if not text.isprintable() or text != text.strip() or len(text) > _LONGEST:
        raise _unreadable(text[:_LONGEST])
    kind, colon, rest = text.partition(":")
    read = {"sftp": _sftp, "s3": _s3, "rest": _rest, ENGINE: _engine}.get(kind) if colon else None
    return f"{kind}:{read(rest, text)}" if read else _directory(text)


def parse_credentials(text: str) -> str:
    """``text`` if it can name a file of credentials. Raise UsageError otherwise."""
    if not _NAME.fullmatch(text):
        raise UsageError(
            f"{text!r} cannot name credentials", resolution="write the name of HOME/secrets/backup/NAME.env alone, as in minio"
        )
    return text


def _directory(text: str) -> str:
    path = PurePosixPath(text)
    if not path.is_absolute() or ".." in path.parts or len(path.parts) < 2:
        raise UsageError(f"{text!r} is no place for backups: it is no absolute directory", resolution=_FORMS)
    return "/" + "/".join(path.parts[1:])  # two slashes at the beginning are POSIX' own business


def _sftp(rest: str, text: str) -> str:
    if rest.startswith("//"):
        url = _url(f"sftp:{rest}", text, schemes=("sftp",))
        if not (url.hostname or "").strip("-") or url.netloc.startswith("-") or not url.path.strip("/"):
            raise _unreadable(text)
        return rest.rstrip("/")
    user, at, _ = rest.partition("/")[0].rpartition("@")
    if at and ":" in user:
        raise _with_password(text)
    found = _SFTP.fullmatch(rest)
    if not found:
        raise _unreadable(text)
    if not found["path"].startswith("/") or not found["path"].strip("/"):
        raise UsageError(f"{text!r} has no absolute path", resolution="write it from the root, as sftp:USER@HOST:/srv/backups")
    return rest.rstrip("/")


def _s3(rest: str, text: str) -> str:
    """restic takes ``HOST/BUCKET`` for https as well."""
    url = _url(rest if "://" in rest else f"https://{rest}", text, schemes=("https", "http"))
    if not url.path.strip("/"):
        raise UsageError(f"{text!r} names no bucket", resolution="write s3:https://HOST/BUCKET")
    return rest.rstrip("/")


def _rest(rest: str, text: str) -> str:
    _url(rest, text, schemes=("https", "http"))
    return rest.rstrip("/") + "/"


def _engine(rest: str, text: str) -> str:
    if not re.fullmatch(r"[a-z0-9-]+", rest):
        raise _unreadable(text)
    return rest


def _url(address: str, text: str, *, schemes: tuple[str, ...]) -> SplitResult:
    try:
        url = urlsplit(address)
        host, _ = url.hostname, url.port
    except ValueError:
        raise _unreadable(text) from None
    if url.password is not None or ("@" in url.netloc and url.scheme != "sftp"):
        raise _with_password(text)
    if url.scheme not in schemes or not host or {"?", "#", "\\"} & set(address) or ".." in url.path.split("/"):
        raise _unreadable(text)
    return url


def _unreadable(text: str) -> UsageError:
    return UsageError(f"{text!r} is no place for backups", resolution=_FORMS)


def _with_password(text: str) -> UsageError:
    """The text itself is not repeated: it has a secret in it."""
    kind = text.partition(":")[0]
    return UsageError(f"this target ({kind}:…) has a password in it, or a user that needs one", resolution=_CREDENTIALS)
