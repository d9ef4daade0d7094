"""Small file operations that leave either the old state or the new one. Knows nothing of what the files say."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from labcloud.errors import ConfigError, EngineError, NotFoundError
from labcloud.model import ClusterRef


@contextmanager
def disk_errors(doing: str) -> Iterator[None]:
    """Turn what the file system refuses into an EngineError. ``doing`` begins the sentence: ``"write /a/b"``."""
    try:
        yield
    except OSError as exc:
        resolution = {
            errno.ENOSPC: "free some space, then run the same command again",
            errno.EDQUOT: "free some space, then run the same command again",
            errno.EACCES: "run it as the user who owns the lab, or set LABCLOUD_HOME to a folder of yours",
            errno.EPERM: "run it as the user who owns the lab, or set LABCLOUD_HOME to a folder of yours",
            errno.EROFS: "set LABCLOUD_HOME to a folder on a file system that can be written",
        }.get(exc.errno or 0, "look at the folder, then run the same command again")
        raise EngineError(f"could not {doing}: {os.strerror(exc.errno or 0)}", details=str(exc), resolution=resolution) from exc


def make_private(folder: Path) -> Path:
    """Make ``folder``, and its parents, for its owner only; return it. One that exists keeps its mode."""
    if not folder.is_dir():
        make_private(folder.parent)
        with suppress(FileExistsError):  # somebody else made it meanwhile, and may even have removed it again
            folder.mkdir(mode=0o700)
    return folder


def read_private(path: Path, what: str) -> str:
    """The text of a file that only its owner may read; ``what`` is in it, for people: ``"a password"``.

    Raise NotFoundError if there is none, ConfigError if others may read it, or it is no text.
    """
    with disk_errors(f"read {what} from {path}"):
        try:
            mode, text = path.stat().st_mode, path.read_text(encoding="utf-8")
        except (FileNotFoundError, IsADirectoryError):
            raise NotFoundError(f"there is no file {path} with {what}", resolution="make it, with mode 0600") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{path} is no text in UTF-8", resolution="write it anew") from None
    if mode & 0o077:
        raise ConfigError(f"others than its owner may read {path}, which has {what}", resolution=f"chmod 600 {path}")
    return text


def replace(path: Path, text: str | bytes, *, mode: int = 0o600, scratch: Path) -> None:
    """Make ``path`` say ``text``, at once: written to ``scratch`` (on the same file system) and renamed.

    Both reach the disk before this returns: what a command has acknowledged survives a power cut.
    """
    fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb") as file:
        os.fchmod(fd, mode)
        file.write(text.encode() if isinstance(text, str) else text)
        file.flush()
        os.fsync(fd)
    scratch.replace(path)


def create_once(path: Path, text: str) -> None:
    """Make ``path`` say ``text`` unless it exists: of several processes and threads that try, one wins, and none sees half of it."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        replace(path=scratch, text=text, scratch=path.with_name(f"{scratch.name}.new"))
        os.link(scratch, path)
    except FileExistsError:
        pass
    finally:
        scratch.unlink(missing_ok=True)


def clusters_below(root: Path, tenant: str | None = None, cluster: ClusterRef | None = None) -> Iterator[ClusterRef]:
    """All clusters that have a folder ``ROOT/TENANT/CLUSTER``, one tenant's, or one if it has.

    Of one that is asked for, an empty folder of its tenant is enough: a run that was killed got no further.
    """
    pattern = f"{cluster.tenant}/{cluster.name}" if cluster else f"{tenant or '*'}/[!.]*"
    for path in root.glob(pattern):
        yield ClusterRef(path.parent.name, path.name)
    with suppress(OSError):  # there is no such folder
        if cluster and not any((root / cluster.tenant).iterdir()):
            yield cluster
