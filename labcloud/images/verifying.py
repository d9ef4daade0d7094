"""Looking at a started image: is it what its recipe says? Knows images and a sandbox, no engine."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final

from labcloud.images.model import Check, Event, Level, Progress, Verified
from labcloud.images.recipes import Recipe
from labcloud.images.store import Sandbox

_USERS: Final = {"hdfs": "901", "yarn": "902", "mapred": "903"}
_GROUPS: Final = {"hadoop": "900", "supergroup": "904"}
_WAIT: Final = 10.0
# A service of the verification's own: it writes its process id, then waits for a signal.
_SERVICE: Final = "#!/bin/sh\necho $$ >/run/labcloud-verify\nexec sleep 3600\n"
_PLACE: Final = (
    'mkdir -p /run/service/verify && cd /run/service/verify && printf %s "$1" >run && chmod 755 run && s6-svscanctl -a /run/service'
)
_KILL: Final = "read -r pid </run/labcloud-verify && rm /run/labcloud-verify && kill -9 $pid && echo $pid"


def verify(recipe: Recipe, sandbox: Sandbox, progress: Progress) -> Verified:
    """Every check that applies: Java and Hadoop only where the image has them."""
    checks: list[tuple[str, Callable[[], Check]]] = []
    names = [each.name for each in recipe.ancestry()]
    if "base" in names:
        checks += [("users", lambda: _users(sandbox)), ("supervisor", lambda: _supervisor(sandbox))]
    if recipe.java:
        checks.append(("java", lambda: _java(sandbox, recipe.java)))
    if recipe.name not in names[:1] and recipe.java and not recipe.name.startswith("java-"):
        checks.append(("hadoop", lambda: _hadoop(sandbox, recipe.version)))
        checks.append(("layout", lambda: _layout(sandbox)))
    results = []
    for _, check in checks:
        result = check()
        progress(Event(f"{result.id}: {result.summary}", recipe.name, Level.INFO if result.ok else Level.WARNING))
        results.append(result)
    return Verified(recipe.name, recipe.reference, tuple(results))


def _java(sandbox: Sandbox, wanted: str) -> Check:
    code, said = sandbox.run(["/opt/java/bin/java", "-version"])
    found = re.search(r'version "(?:1\.)?(\d+)[^"]*"', said)
    return Check("java", code == 0 and found is not None and found[1] == wanted, said.splitlines()[0] if said else f"exit code {code}")


def _hadoop(sandbox: Sandbox, wanted: str) -> Check:
    code, said = sandbox.run(["bash", "-c", "hadoop version"], user="hdfs")
    first = next((line for line in said.splitlines() if line.startswith("Hadoop ")), said.strip()[-200:])
    return Check("hadoop", code == 0 and first == f"Hadoop {wanted}", first)


def _layout(sandbox: Sandbox) -> Check:
    wanted = ["classpath", "commands", "namenode/current/VERSION"]
    code, said = sandbox.run(["ls", "-d", *(f"/opt/stacks/hadoop/libexec/{each}" for each in wanted), "/etc/hadoop"])
    return Check("layout", code == 0, "class path, commands and a formatted file system" if code == 0 else said.strip())


def _users(sandbox: Sandbox) -> Check:
    wrong = [name for name, number in _USERS.items() if sandbox.run(["id", "-u", name]) != (0, f"{number}\n")]
    _, groups = sandbox.run(["getent", "group", *_GROUPS])
    wrong += [name for name, number in _GROUPS.items() if f"{name}:x:{number}:" not in groups]
    return Check("users", not wrong, f"wrong: {', '.join(wrong)}" if wrong else "hdfs, yarn, mapred and their groups")


def _supervisor(sandbox: Sandbox) -> Check:
    _, first = sandbox.run(["cat", "/proc/1/comm"])
    if first.strip() != "s6-svscan":
        return Check("supervisor", False, f"the first process is {first.strip()!r}, not s6-svscan")
    sandbox.run(["sh", "-c", _PLACE, "place", _SERVICE])
    if not _eventually(lambda: sandbox.run(["test", "-s", "/run/labcloud-verify"])[0] == 0):
        return Check("supervisor", False, "it did not start a new service")
    code, killed = sandbox.run(["sh", "-c", _KILL])
    back = code == 0 and _eventually(lambda: sandbox.run(["test", "-s", "/run/labcloud-verify"])[0] == 0)
    summary = "starts a killed service again" if back else f"did not start the killed process {killed.strip()} again"
    return Check("supervisor", back, summary)


def _eventually(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _WAIT
    while time.monotonic() < deadline:
        if holds():
            return True
    return False
