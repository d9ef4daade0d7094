"""Whether what must be downloaded can be: only where an image is not built yet, and what it is made of is not in the cache."""

from __future__ import annotations

import http.client
import os
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from labcloud.model.checks import Check, Finding, Subject, failed, passed, skipped

_PATIENCE: Final = 3.0
_GONE: Final = 404  # Debian's sid has moved on, and the package's successor will be taken: the mirror is there
_WHY: Final = "an image cannot be built of what cannot be fetched"

_MAVEN: Final = "maven"
_DEBIAN: Final = "debian"
_ELSEWHERE: Final = "elsewhere"
# The setting of each mirror, and another one that anybody may use.
_OTHERS: Final = {
    _MAVEN: ("LABCLOUD_MAVEN_MIRROR", "https://maven-central.storage-download.googleapis.com/maven2"),
    _DEBIAN: ("LABCLOUD_DEBIAN_MIRROR", "http://ftp.debian.org/debian"),
}


@dataclass(frozen=True)
class Reached:
    """What an address answered in how many seconds: an HTTP status, or 0 and why there was none."""

    status: int
    seconds: float
    problem: str = ""


def shown(url: str) -> str:
    """``url`` without name, password and query: what may be printed."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def reach(url: str, timeout: float = _PATIENCE) -> Reached:
    """Ask for the head of ``url`` once. Never raises."""
    began = time.monotonic()
    try:
        request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "labcloud"})  # noqa: S310 - lock files and settings name it
        with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310
            return Reached(int(answer.status or 200), time.monotonic() - began)
    except urllib.error.HTTPError as exc:
        exc.close()
        return Reached(exc.code, time.monotonic() - began)
    except urllib.error.URLError as exc:
        # The reason is the system's, if it is an OSError; other texts may have the address, with what is secret in it.
        said = str(exc.reason) if isinstance(exc.reason, OSError) else ""
        return Reached(0, time.monotonic() - began, said or "it does not answer")
    except (OSError, ValueError, http.client.HTTPException) as exc:
        return Reached(0, time.monotonic() - began, type(exc).__name__)


def judge(url: str, reached: Reached, files: int, fix: str) -> Finding:
    """Whether ``files`` files can be had from where ``url`` is."""
    figures = {"address": shown(url), "status": reached.status, "seconds": round(reached.seconds, 3), "files": files}
    what = f"{files} files must come from {urlsplit(shown(url)).netloc}"
    if 200 <= reached.status < 400 or reached.status == _GONE:
        return passed(f"{what}, which answers in {reached.seconds:.1f} s", **figures)
    problem = f"it answers {reached.status}" if reached.status else reached.problem
    return failed(f"{what}: {problem}", fix, problem=problem, **figures)


def fix_for(family: str, url: str) -> str:
    """The command that lets another mirror be asked; or that shows what an address says which no mirror stands for."""
    if family not in _OTHERS:
        return f"curl --head {shown(url)}"
    setting, other = _OTHERS[family]
    return f"unset {setting}" if os.environ.get(setting) else f"export {setting}={other}"


def _missing(subject: Subject) -> dict[str, list[str]]:
    """By family, the addresses of what is needed and neither built nor in the cache."""
    if subject.cluster is None or subject.cluster.image or subject.image is None:
        return {}
    from labcloud.images.cookbook import Cookbook
    from labcloud.images.download import Cache

    cache = Cache(Path(os.environ.get("LABCLOUD_CACHE") or subject.home / "cache"))
    found: dict[str, list[str]] = {}
    for recipe in Cookbook().recipe(subject.image.name).ancestry():
        if subject.built(recipe.name) != recipe.reference:
            for file in recipe.downloads():
                if not (file.sha256 and cache.has(file.sha256)):
                    found.setdefault(_family(file.url), []).append(file.url)
    return found


def _family(url: str) -> str:
    from labcloud.images import debian, maven

    return _MAVEN if url.startswith(maven.mirror()) else _DEBIAN if url.startswith(debian.mirror()) else _ELSEWHERE


def _check(family: str) -> Check:
    def run(subject: Subject) -> Finding:
        missing = _missing(subject)
        if family not in missing:
            return skipped("nothing must be downloaded")
        urls = missing[family]
        return judge(urls[0], reach(urls[0]), len(urls), fix_for(family, urls[0]))

    return Check(f"mirror.{family}", _WHY, run, needs="engine.version")


CHECKS: Final[tuple[Check, ...]] = tuple(map(_check, (_MAVEN, _DEBIAN, _ELSEWHERE)))
