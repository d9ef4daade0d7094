"""What can go wrong, as one tree, with the exit code that a script sees.

::

    LabError                    1   anything that is not named below
    ├── UsageError              2   the command line itself is wrong
    ├── ConfigError             3   a file that people write is wrong (names the file and the line)
    ├── NotFoundError           4   a thing that was named does not exist
    ├── ConflictError           5   a thing exists already, is in use, or is wanted differently
    ├── EngineError             6   Docker, OpenStack, a download or the disk refused
    ├── QuotaError              7   the tenant or the machine has not enough left
    ├── DeadlineError           8   a wait reached its limit (names what it waited for)
    ├── ConfiguringError        9   nodes exist, but what runs on them could not be configured
    ├── PartlyDoneError        10   some of several things were done
    └── PreflightError         11   a check refused the plan before anything was made

70 is a bug of labcloud (any other exception), 130 an interruption. Each error says in one sentence what is wrong (``brief``),
what is known about it (``details``), and what to do (``resolution``).
"""

from __future__ import annotations

EXIT_BUG = 70
EXIT_INTERRUPTED = 130


class LabError(Exception):
    """Base of all errors that labcloud raises on purpose."""

    exit_code = 1

    def __init__(self, brief: str, *, details: str = "", resolution: str = "") -> None:
        super().__init__(brief)
        self.brief = brief
        self.details = details
        self.resolution = resolution


class UsageError(LabError):
    exit_code = 2


class ConfigError(LabError):
    exit_code = 3


class NotFoundError(LabError):
    exit_code = 4


class ConflictError(LabError):
    exit_code = 5


class EngineError(LabError):
    exit_code = 6


class QuotaError(LabError):
    exit_code = 7


class DeadlineError(LabError):
    exit_code = 8


class ConfiguringError(LabError):
    exit_code = 9


class PartlyDoneError(LabError):
    exit_code = 10


class PreflightError(LabError):
    exit_code = 11
