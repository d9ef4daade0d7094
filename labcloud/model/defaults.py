"""What a tenant may set for options of ``create`` that are not given. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Final
from urllib.parse import urlsplit

from labcloud.errors import UsageError
from labcloud.model.durations import parse_duration
from labcloud.model.protection import parse_switch
from labcloud.model.sizes import parse_gigabytes, parse_memory

_SETTING: Final = re.compile(r"[a-z][a-z0-9-]*:[^\s:=][^\s=]*")
_WORD: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_COUNT: Final = re.compile(r"[1-9][0-9]{0,3}")
_CORES: Final = re.compile(r"(?:0|[1-9][0-9]{0,2})(?:\.[0-9]{1,3})?")
_MOST_CPUS: Final = 512


def check_default(name: str, text: str) -> str:
    """``text`` if it can stand for the option ``name``, or for a Hadoop setting (``hdfs-site:dfs.replication``).

    Raise UsageError, with the nearest option, if it cannot.
    """
    if ":" in name:
        if not _SETTING.fullmatch(name) or not text.isprintable():
            raise UsageError(f"{name!r} does not name a setting", resolution="write FILE:KEY=VALUE, as in hdfs-site:dfs.replication=2")
        return text
    if name not in OPTIONS:
        near = get_close_matches(name, OPTIONS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(
            f"there is no default for {name!r}", resolution=f"{hint}there are {', '.join(OPTIONS)}, and settings as FILE:KEY=VALUE"
        )
    try:
        OPTIONS[name](text)
    except UsageError as exc:
        raise UsageError(f"the default of {name} cannot be {text!r}", resolution=exc.resolution) from exc
    return text


def check_url(text: str) -> str:
    """``text`` if it is an http or https URL without a password. Raise UsageError otherwise."""
    wrong = UsageError("this is not the URL of a web service", resolution="write it as in https://chat.example.org/hooks/labcloud")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as exc:
        raise wrong from exc
    if parts.scheme not in ("http", "https") or not host or len(text) > 2000 or not re.fullmatch(r"[!-~]+", text):
        raise wrong
    if parts.password is not None:
        raise UsageError("this URL has a password in it, which the lab's history would keep", resolution="leave the password out")
    return text


def _provider(text: str) -> None:
    if not _WORD.fullmatch(text):
        raise UsageError(f"{text!r} is no provider", resolution="name an engine, as in docker")


def _workers(text: str) -> None:
    if not _COUNT.fullmatch(text):
        raise UsageError(f"{text!r} is no number", resolution="write a whole number from 1")


def _cpus(text: str) -> None:
    if not _CORES.fullmatch(text) or not 0 < float(text) <= _MOST_CPUS:
        raise UsageError(f"{text!r} is no number", resolution=f"write a number of cores up to {_MOST_CPUS}, as in 0.5 or 2")


OPTIONS: Final[dict[str, Callable[[str], object]]] = {
    "provider": _provider, "workers": _workers, "memory": parse_memory, "cpus": _cpus, "volume-size": parse_gigabytes,
    "lease": parse_duration, "backup": parse_switch,
}  # fmt: skip
"""The options of ``create`` that a tenant may have defaults for."""
