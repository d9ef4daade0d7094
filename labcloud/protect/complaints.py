"""What restic says when it fails, as errors of the lab. Pure: texts in, errors out. The sentences are those of restic 0.14 to 0.17."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from labcloud.errors import ConfigError, ConflictError, EngineError, LabError, NotFoundError


class NoRepositoryError(NotFoundError):
    """There is no repository there, and whatever keeps repositories there has said so itself."""


class LockedError(ConflictError):
    """Another process has the repository for now."""


class DamagedError(EngineError):
    """What is in the repository is not what was written there."""


class FullError(EngineError):
    """There is no room for it. Trying again changes nothing."""


@dataclass(frozen=True)
class Call:
    """What was asked of restic: ``verb`` (as ``"backup"``), of which ``repository``, opened by which ``password_file``."""

    verb: str
    repository: str
    password_file: str


_SAID: Final = 2000
_LOCK: Final = re.compile(r"locked (?:exclusively )?by PID (\d+) on (\S+) by (\S+)")
_SINCE: Final = re.compile(r"lock was created at ([0-9-]+ [0-9:]+)")
_USERINFO: Final = re.compile(r"(://[^/\s:@]+:)[^/\s@]+(?=@)")
_NOISE: Final = re.compile(
    r"Is there a repository at|the `unlock` command can be used|returned error, retrying after|There were \d+ errors"
)
_HOPELESS: Final = re.compile(r"retrying after .*(?:no space left on device|quota exceeded|/[0-9a-f]{64}: no such file)")
_UNLOCATED: Final = re.compile(
    r"(?s)(?=.*Is there a repository at)(?=.*(?:no such file or directory|file does not exist|<config/> does not exist|\b404\b|"
    r"(?:key|bucket) does not exist))"
)

Maker = Callable[[Call, str], LabError]


def complaint(call: Call, said: str) -> LabError:
    """The error that ``said``, the standard error of restic (or of what starts it), means."""
    text = without_secrets(said)
    for pattern, make in _RULES:
        if pattern.search(text):
            return make(call, _details(text))
    return EngineError(f"restic could not {call.verb} at {call.repository}: {_last(text)}", details=_details(text), resolution=_AGAIN)


def is_hopeless(said: str, verb: str) -> bool:
    """Whether restic tries again, for up to 15 minutes, what time does not mend: a full disk, a lost pack (which a check goes on from)."""
    return any("no such file" not in found[0] or verb != "check" for found in _HOPELESS.finditer(said))


def without_secrets(text: str) -> str:
    """``text`` without the passwords in addresses."""
    return _USERINFO.sub(r"\1[redacted]", text)


def _details(text: str) -> str:
    return text.strip()[-_SAID:]


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not _NOISE.search(line)]
    fatal = [line for line in lines if "Fatal: " in line]
    return (fatal or lines or ["it said nothing"])[-1].removeprefix("Fatal: ")


_AGAIN: Final = "read what restic says, then run the same command again"


def _password(call: Call, details: str) -> LabError:
    return ConfigError(
        f"the password in {call.password_file} does not open the repository {call.repository}",
        details=details,
        resolution="put the password there that it was made with; if it is another tenant's or another lab's, choose another target",
    )


def _locked(call: Call, details: str) -> LabError:
    return LockedError(
        f"the repository {call.repository} is locked by {_holder(details)}",
        details=details,
        resolution="run the same command again when that has ended; if that machine is gone for good, its lock ends after 30 minutes",
    )


def _holder(said: str) -> str:
    lock, since = _LOCK.search(said), _SINCE.search(said)
    who = f"process {lock[1]} of {lock[3]} on {lock[2]}" if lock else "another process"
    return who + (f", since {since[1]} UTC" if since else "")


def _ssh(_: Call, details: str) -> LabError:
    return EngineError(
        f"ssh does not let us in: {_last(details)}",
        details=details,
        resolution="let this machine's key in there, and know its host key: 'ssh -o BatchMode=yes USER@HOST true' must succeed",
    )


def _refused(call: Call, details: str) -> LabError:
    return ConfigError(
        f"the target refuses the credentials for {call.repository}",
        details=details,
        resolution="check the lines of the file that the policy's 'credentials' names, in HOME/secrets/backup",
    )


def _unreachable(call: Call, details: str) -> LabError:
    why = next((line.strip() for line in details.splitlines() if _UNREACHABLE.search(line)), _last(details))
    return EngineError(
        f"the target of {call.repository} cannot be reached: {why.removeprefix('Fatal: ')}",
        details=details,
        resolution="check its name, that it runs, and the network, then run the same command again",
    )


def _full(call: Call, details: str) -> LabError:
    return FullError(
        f"no space is left for restic to {call.verb} ({call.repository})",
        details=details,
        resolution="free some space (at a target: 'labcloud backup prune' after keeping fewer copies), then run the same command again",
    )


def _forbidden(call: Call, details: str) -> LabError:
    return EngineError(
        f"restic may not {call.verb} at {call.repository}: {_last(details)}",
        details=details,
        resolution="run it as root, and make the target writable for that user",
    )


def _namespace(_: Call, details: str) -> LabError:
    return EngineError(
        "a mount namespace for the backup cannot be made here",
        details=details,
        resolution="run it as root; in a container, give that CAP_SYS_ADMIN",
    )


def _mounting(_: Call, details: str) -> LabError:
    return EngineError(f"a folder could not be put into the backup: {_last(details)}", details=details, resolution=_AGAIN)


def _read_only(call: Call, details: str) -> LabError:
    return EngineError(
        f"restic cannot {call.verb} at {call.repository}: the file system is read-only",
        details=details,
        resolution="mount it for writing, then run the same command again",
    )


def _damaged(call: Call, details: str) -> LabError:
    return DamagedError(
        f"the repository {call.repository} is damaged: {_last(details)}",
        details=details,
        resolution="'labcloud backup verify --full' says which copies are concerned; the disk of the target should be looked at",
    )


def _no_copy(call: Call, details: str) -> LabError:
    return NotFoundError(
        f"{call.repository} has nothing of that name: {_last(details)}",
        details=details,
        resolution="'labcloud backup list' shows what there is",
    )


def _no_repository(call: Call, details: str) -> LabError:
    return NoRepositoryError(
        f"there is no repository at {call.repository}",
        details=details,
        resolution="'labcloud backup run' makes it with the first copy; if there was one, check that the target's disk is mounted",
    )


_UNREACHABLE: Final = re.compile(
    r"connection refused|no such host|could not resolve hostname|i/o timeout|timed out|no route to host|network is unreachable|"
    r"connection reset|x509:|tls: |unable to start the sftp session|server misbehaving|50[234] (?:Bad|Service|Gateway)",
    re.IGNORECASE,
)
# The first that fits is meant: restic asks "Is there a repository…?" whatever went wrong, and names files in most sentences.
_RULES: Final[tuple[tuple[re.Pattern[str], Maker], ...]] = (
    (re.compile(r"wrong password or no key found"), _password),
    (re.compile(r"repository is already locked"), _locked),
    (re.compile(r"unshare: .*(?:Operation not permitted|not permitted)"), _namespace),
    (re.compile(r"^(?:mount|mkdir|sh): ", re.MULTILINE), _mounting),
    (re.compile(r"Host key verification failed|Permission denied \((?:publickey|password|keyboard)"), _ssh),
    (
        re.compile(r"Access ?Denied|InvalidAccessKeyId|Signature ?DoesNotMatch|Access Key Id you|\b40[13] (?:Unauthorized|Forbidden)"),
        _refused,
    ),
    (_UNREACHABLE, _unreachable),
    (re.compile(r"no space left on device|quota exceeded|507 Insufficient", re.IGNORECASE), _full),
    (re.compile(r"read-only file system"), _read_only),
    (re.compile(r"permission denied|operation not permitted", re.IGNORECASE), _forbidden),
    (_UNLOCATED, _no_repository),
    (re.compile(r"no matching ID found|multiple IDs|matches multiple|not found in snapshot|no snapshot found"), _no_copy),
    (
        re.compile(
            r"ciphertext verification failed|repository contains errors|is damaged|not found in (?:repository|index)|invalid data returned|"
            r"Pack ID does not match|Unmarshal|LoadIndex|hash mismatch|/[0-9a-f]{64}: no such file|StreamPack"
        ),
        _damaged,
    ),
)
