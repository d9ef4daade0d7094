"""What restic says when it fails, as errors of the lab. Pure: texts in, errors out. The sentences are those of restic 0.14 to 0.17."""

from __future__ import annotations

import re
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
_HOPELESS: Final = re.compile(
    r"retrying after .*(?:no space left on device|quota exceeded|/[0-9a-f]{64}: no such file)"
    r"|ignoring error for .*(?:no space left on device|quota exceeded)"
)
_ITEM: Final = re.compile(r"ignoring error for (/.*?): ")


@dataclass(frozen=True)
class Rule:
    """What it means when ``pattern`` is in restic's words.

    In ``brief``, ``{last}`` is its last sentence, ``{line}`` the line that fits, ``{holder}`` who has the lock.
    """

    pattern: re.Pattern[str]
    kind: type[LabError]
    brief: str
    resolution: str


def complaint(call: Call, said: str) -> LabError:
    """The error that ``said``, the standard error of restic (or of what starts it), means."""
    text = without_secrets(said)
    rule = next((each for each in _RULES if each.pattern.search(text)), _UNKNOWN)
    details = text.strip()[-_SAID:]
    words = {"last": _last(details), "line": _line(rule.pattern, details), "holder": _holder(details), "item": _item(details)}
    return rule.kind(rule.brief.format(**vars(call), **words), details=details, resolution=rule.resolution)


def is_hopeless(said: str, verb: str) -> bool:
    """Whether restic goes on in vain: it tries for 15 minutes what time does not mend, as a lost pack (not so in a check, which goes on to
    the next), and restores all other files onto a disk that is full."""
    return any("no such file" not in found[0] or verb != "check" for found in _HOPELESS.finditer(said))


def without_secrets(text: str) -> str:
    """``text`` without the passwords in addresses."""
    return _USERINFO.sub(r"\1[redacted]", text)


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not _NOISE.search(line)]
    fatal = [line for line in lines if "Fatal: " in line]
    return (fatal or lines or ["it said nothing"])[-1].removeprefix("Fatal: ")


def _line(pattern: re.Pattern[str], text: str) -> str:
    """The first line that fits; rather one of what restic started (as ssh) than restic's own last word, whichever came first."""
    fitting = [line.strip() for line in text.splitlines() if pattern.search(line)]
    found = next((line for line in fitting if not line.startswith("Fatal: ")), next(iter(fitting), None))
    return (found or _last(text)).removeprefix("Fatal: ")


def _item(text: str) -> str:
    """The first file that could not be restored, by its path in the copy."""
    found = _ITEM.search(text)
    return found[1] if found else "what was asked for"


def _holder(said: str) -> str:
    lock, since = _LOCK.search(said), _SINCE.search(said)
    who = f"process {lock[1]} of {lock[3]} on {lock[2]}" if lock else "another process"
    return who + (f", since {since[1]} UTC" if since else "")


_AGAIN: Final = "read what restic says, then run the same command again"
_UNKNOWN: Final = Rule(re.compile(""), EngineError, "restic could not {verb} at {repository}: {last}", _AGAIN)
# The first that fits is meant: restic asks "Is there a repository…?" whatever went wrong, and names files in most sentences.
_RULES: Final = (
    Rule(
        re.compile(r"wrong password or no key found"),
        ConfigError,
        "the password in {password_file} does not open the repository {repository}",
        "put the password there that it was made with; if it is another tenant's or another lab's, choose another target",
    ),
    Rule(
        re.compile(r"repository is already locked"),
        LockedError,
        "the repository {repository} is locked by {holder}",
        "run the same command again when that has ended; if that machine is gone for good, its lock ends after 30 minutes",
    ),
    Rule(
        re.compile(r"unshare: .*(?:Operation not permitted|not permitted)"),
        EngineError,
        "a mount namespace for the backup cannot be made here",
        "run it as root; in a container, give that CAP_SYS_ADMIN",
    ),
    Rule(re.compile(r"^(?:mount|mkdir|sh): ", re.MULTILINE), EngineError, "a folder could not be put into the backup: {last}", _AGAIN),
    Rule(
        re.compile(r"Host key verification failed|Permission denied \((?:publickey|password|keyboard)"),
        EngineError,
        "ssh does not let us in: {last}",
        "let this machine's key in there, and know its host key: 'ssh -o BatchMode=yes USER@HOST true' must succeed",
    ),
    Rule(
        re.compile(r"Access ?Denied|InvalidAccessKeyId|Signature ?DoesNotMatch|Access Key Id you|\b40[13] (?:Unauthorized|Forbidden)"),
        ConfigError,
        "the target refuses the credentials for {repository}",
        "check the lines of the file that the policy's 'credentials' names, in HOME/secrets/backup",
    ),
    Rule(
        re.compile(
            r"connection refused|no such host|could not resolve hostname|i/o timeout|timed out|no route to host|network is unreachable|"
            r"connection reset|x509:|tls: |unable to start the sftp session|server misbehaving|50[234] (?:Bad|Service|Gateway)",
            re.IGNORECASE,
        ),
        EngineError,
        "the target of {repository} cannot be reached: {line}",
        "check its name, that it runs, and the network, then run the same command again",
    ),
    Rule(
        re.compile(r"ignoring error for .*(?:no space left on device|quota exceeded)"),
        FullError,
        "no space is left to {verb} {item}",
        "free some space on the disk of that volume, then run the same command again",
    ),
    Rule(
        re.compile(r"no space left on device|quota exceeded|507 Insufficient", re.IGNORECASE),
        FullError,
        "no space is left for restic to {verb} ({repository})",
        "free some space (at a target: 'labcloud backup prune' after keeping fewer copies), then run the same command again",
    ),
    Rule(
        re.compile(r"read-only file system"),
        EngineError,
        "restic cannot {verb} at {repository}: the file system is read-only",
        "mount it for writing, then run the same command again",
    ),
    Rule(
        re.compile(r"permission denied|operation not permitted", re.IGNORECASE),
        EngineError,
        "restic may not {verb} at {repository}: {last}",
        "run it as root, and make the target writable for that user",
    ),
    Rule(
        re.compile(
            r"(?s)(?=.*Is there a repository at)"
            r"(?=.*(?:no such file or directory|file does not exist|<config/> does not exist|\b404\b|(?:key|bucket) does not exist))"
        ),
        NoRepositoryError,
        "there is no repository at {repository}",
        "'labcloud backup run' makes it with the first copy; if there was one, check that the target's disk is mounted",
    ),
    Rule(
        re.compile(r"no matching ID found|multiple IDs|matches multiple|not found in snapshot|no snapshot found"),
        NotFoundError,
        "{repository} has nothing of that name: {last}",
        "'labcloud backup list' shows what there is",
    ),
    Rule(
        re.compile(
            r"ciphertext verification failed|repository contains errors|is damaged|not found in (?:repository|index)|invalid data returned|"
            r"Pack ID does not match|Unmarshal|LoadIndex|hash mismatch|/[0-9a-f]{64}: no such file|StreamPack"
        ),
        DamagedError,
        "the repository {repository} is damaged: {line}",
        "'labcloud backup verify --full' says which copies are concerned; the disk of the target should be looked at",
    ),
)
