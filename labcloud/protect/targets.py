"""Where backups go, and the secrets that this takes. Knows nothing of clusters, and of how restic is run.

A target is an absolute directory, ``sftp:user@host:/path``, ``s3:https://host/bucket``, ``rest:https://host/``, or an engine's own
service (``engine:openstack``). Of the others, each tenant has a
repository of its own below it. Passwords stand in files: HOME/secrets/backup/TENANT.password opens the repository of a tenant, and
HOME/secrets/backup/NAME.env has what the target itself asks for, as restic's environment variables.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from labcloud.errors import ConfigError
from labcloud.lab.files import create_once, disk_errors, make_private, read_private
from labcloud.model import tenant_name
from labcloud.model.targets import ENGINE, parse_credentials, parse_target

_LINE: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)")
# These say which repository is meant and how it is opened, which the policy says already.
_OURS: Final = ("RESTIC_PASSWORD", "RESTIC_REPOSITORY")


@dataclass(frozen=True)
class Target:
    """A place for repositories, or one repository in it. ``text`` is what restic takes; it has no secret in it."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read a target as people write it. Raise UsageError on anything else, and on a password in it."""
        return cls(parse_target(text))

    def of(self, tenant: str) -> Target:
        """The repository of ``tenant``. Raise UsageError if no tenant can have that name."""
        if self.engine:
            return self  # the service knows tenants by what each backup says of itself
        slash = "/" if self.text.startswith("rest:") else ""  # restic's REST protocol has a folder's address end so
        return Target(f"{self.text.rstrip('/')}/{tenant_name(tenant)}{slash}")

    @property
    def engine(self) -> str:
        """The engine whose own backup service this is; empty for a place of restic's."""
        kind, _, name = self.text.partition(":")
        return name if kind == ENGINE else ""

    @property
    def directory(self) -> Path | None:
        """The directory on this machine; None for a target elsewhere."""
        return Path(self.text) if self.text.startswith("/") else None

    def room(self) -> int | None:
        """Free bytes of a directory's disk, for who runs this; None for a target elsewhere. Raise EngineError if it cannot be read."""
        if self.directory is None:
            return None
        with disk_errors(f"read how much room {self} has"):
            stats = os.statvfs(_existing(self.directory))
            return stats.f_bavail * stats.f_frsize

    def shares_disk(self, path: Path) -> bool:
        """Whether a directory lies on the file system of ``path``: one broken disk takes both. False for a target elsewhere."""
        if self.directory is None:
            return False
        with disk_errors(f"read which disk {self} lies on"):
            return _existing(self.directory).stat().st_dev == _existing(path).stat().st_dev

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Secrets:
    """The secrets of backups of the lab at ``home``."""

    home: Path

    @property
    def folder(self) -> Path:
        return self.home / "secrets" / "backup"

    def password_file(self, tenant: str) -> Path:
        """The file with the password of a tenant's repository, made on first use: of several processes, all get the same.

        Raise ConfigError if others may read it or nothing is in it, EngineError if the disk refuses.
        """
        path = self.folder / f"{tenant_name(tenant)}.password"
        with disk_errors(f"keep a password at {path}"):
            if not path.exists():
                make_private(self.folder)
                create_once(path, secrets.token_urlsafe(32) + "\n")
        return check_password_file(path)

    def has(self, credentials: str) -> bool:
        """Whether there are such credentials (still), or none are needed."""
        return not credentials or (self.folder / f"{credentials}.env").exists()

    def credentials(self, name: str) -> Mapping[str, str]:
        """What NAME.env sets: ``NAME=value`` a line, blank lines and those that begin with ``#`` aside.

        Raise UsageError for a name that no such file has, NotFoundError if there is none, ConfigError for one that others may read or
        that says anything else. No error repeats a value.
        """
        path = self.folder / f"{parse_credentials(name)}.env"
        lines = read_private(path, "credentials").splitlines()
        found: dict[str, str] = {}
        for number, line in enumerate(lines, start=1):
            if line.strip() and not line.lstrip().startswith("#"):
                key, value = _setting(line.strip(), f"{path}:{number}")
                found[key] = value
        return found


def check_password_file(path: Path) -> Path:
    """``path`` if it is a file with a password in it that only its owner may read. Raise NotFoundError or ConfigError otherwise."""
    if not read_private(path, "a password").strip():
        raise ConfigError(f"{path} has no password in it", resolution="put the password there that the repository was made with")
    return path


def default_target(home: Path) -> Target:
    """HOME/backups, for a lab that names no target; the folder is made. Raise EngineError if the disk refuses."""
    folder = home.absolute() / "backups"
    with disk_errors(f"make {folder}"):
        return Target.parse(str(make_private(folder)))


def _setting(line: str, where: str) -> tuple[str, str]:
    found = _LINE.fullmatch(line)
    if not found:
        raise ConfigError(f"{where}: NAME=value was expected", resolution="write one variable a line, as AWS_ACCESS_KEY_ID=…")
    key, value = found[1], found[2].strip()
    if key.startswith(_OURS):
        raise ConfigError(f"{where}: {key} cannot be set here", resolution="remove it: the target and the tenant's password file say that")
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return key, value[1:-1] if quoted else value


def _existing(path: Path) -> Path:
    """``path``, or what exists above it."""
    return next(each for each in (path, *path.parents) if each.exists())
