"""Looking at a started image: is it what its recipe says? Knows images and a sandbox, no engine."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from labcloud.images.helper import HelperRecipe
from labcloud.images.model import Check, Event, Level, Progress, Verified
from labcloud.images.recipes import Recipe
from labcloud.images.store import Sandbox
from labcloud.images.system import SystemRecipe
from labcloud.model import format_bytes

_USERS: Final = {"hdfs": "901", "yarn": "902", "mapred": "903"}
_GROUPS: Final = {"hadoop": "900", "supergroup": "904"}
# What Debian's packages bring, and how it is asked for its version: it answers only if all its libraries are there.
_PROGRAMS: Final = {
    "iproute2": (("ip", "-V"), ("bridge", "-V")),
    "nftables": (("nft", "--version"),),
    "rsync": (("rsync", "--version"),),
    "dnsmasq-base": (("dnsmasq", "--version"),),
}
_MISSING: Final = 'for each; do test -f "/$each" || printf "%s " "/$each"; done'
# An emulated processor takes seconds for each question.
_WAIT: Final = 60.0
# A service of the verification's own: it writes its process id, then waits for a signal.
_SERVICE: Final = "#!/bin/sh\necho $$ >/run/labcloud-verify\nexec sleep 3600\n"
_PLACE: Final = (
    'mkdir -p /run/service/verify && cd /run/service/verify && printf %s "$1" >run && chmod 755 run && s6-svscanctl -a /run/service'
)
# Where the name of the supervisor's process is: a container's first, a service in a machine.
_FIRST: Final = "/proc/1/comm"
_SERVED: Final = "/proc/$(systemctl show -P MainPID labcloud-node)/comm"
_TENANT: Final = "verify"
_TENANT_ID: Final = 20000
_NODE: Final = f"LABCLOUD_TENANT={_TENANT}\nLABCLOUD_USER_ID={_TENANT_ID}\n"
_CONFIGURE: Final = 'mkdir -p /etc/labcloud/cluster && printf %s "$1" >/etc/labcloud/cluster/node.env && systemctl start labcloud-node'
_KILL: Final = "read -r pid </run/labcloud-verify && rm /run/labcloud-verify && kill -9 $pid && echo $pid"


def verify(recipe: Recipe, sandbox: Sandbox, progress: Progress) -> Verified:
    """Look at a container of the image."""
    return Verified(recipe.name, recipe.reference, _told(recipe, _checks(recipe, sandbox, _FIRST), progress))


def verify_machine(recipe: Recipe, machine: Sandbox, reference: str, progress: Progress) -> Verified:
    """Look at a machine that has booted a disk of the image, from its first configuration on."""
    checks = [lambda: _configured(machine), lambda: _grown(machine), lambda: _units(machine), lambda: _node(machine)]
    return Verified(recipe.name, reference, _told(recipe, [*checks, *_checks(recipe, machine, _SERVED)], progress))


def _checks(recipe: Recipe, sandbox: Sandbox, supervisor: str) -> list[Callable[[], Check]]:
    """Every check of a node that applies: Java and Hadoop only where the image has them. ``supervisor``: the shell's path of its name."""
    checks: list[Callable[[], Check]] = []
    names = [each.name for each in recipe.ancestry()]
    if isinstance(recipe, SystemRecipe):
        checks.append(lambda: _system(sandbox))
    if isinstance(recipe, HelperRecipe):
        packages, files = recipe.declared.packages, recipe.layer().paths()
        checks += [lambda: _packages(sandbox, packages), lambda: _programs(sandbox, packages), lambda: _files(sandbox, files)]
    if "base" in names:
        checks += [lambda: _users(sandbox), lambda: _supervisor(sandbox, supervisor)]
    if recipe.java:
        checks.append(lambda: _java(sandbox, recipe.java))
    if recipe.name not in names[:1] and recipe.java and not recipe.name.startswith("java-"):
        checks += [lambda: _hadoop(sandbox, recipe.version), lambda: _layout(sandbox)]
    return checks


def _told(recipe: Recipe, checks: Iterable[Callable[[], Check]], progress: Progress) -> tuple[Check, ...]:
    results = []
    for check in checks:
        result = check()
        progress(Event(f"{result.id}: {result.summary}", recipe.name, Level.INFO if result.ok else Level.WARNING))
        results.append(result)
    return tuple(results)


def _configured(machine: Sandbox) -> Check:
    """Whether cloud-init found its cloud and did all that it was told."""
    code, said = machine.run(["cloud-init", "status", "--wait", "--long"])
    fields = dict(line.split(": ", 1) for line in said.splitlines() if ": " in line)
    return Check("cloud-init", code == 0, f"{fields.get('status', said.strip()[-200:])}, from {fields.get('detail', 'nowhere')}")


def _grown(machine: Sandbox) -> Check:
    """Whether the root file system takes all of a disk that is larger than the image."""
    _, size = machine.run(["sh", "-c", "blockdev --getsize64 $(findmnt -no SOURCE /)"])
    _, found = machine.run(["stat", "-f", "-c", "%b %S", "/"])
    disk, (blocks, each) = int(size), map(int, found.split())
    return Check(
        "disk", blocks * each > disk * 0.9, f"the root file system has {format_bytes(blocks * each)} of the disk's {format_bytes(disk)}"
    )


def _units(machine: Sandbox) -> Check:
    _, said = machine.run(["systemctl", "list-units", "--failed", "--plain", "--no-legend"])
    failed = [line.split()[0] for line in said.splitlines() if line.strip()]
    return Check("units", not failed, f"failed: {', '.join(failed)}" if failed else "all of systemd's units run")


def _node(machine: Sandbox) -> Check:
    """Whether the node's services start when it is configured, with the user of its tenant."""
    code, said = machine.run(["sh", "-c", _CONFIGURE, "configure", _NODE])
    good = code == 0 and _eventually(lambda: machine.run(["id", "-u", _TENANT]) == (0, f"{_TENANT_ID}\n"))
    wrong = said.strip()[-200:] or "its tenant has no user"
    return Check("node", good, "starts when it is configured, with its tenant's user" if good else wrong)


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


def _system(sandbox: Sandbox) -> Check:
    """Whether all that was installed is complete, by the package manager's own books."""
    code, wrong = sandbox.run(["dpkg", "--audit"])
    _, packages = sandbox.run(["dpkg-query", "--show", "--showformat=."])
    return Check("packages", code == 0 and not wrong.strip(), wrong.strip()[-200:] or f"{len(packages.strip())} packages, all complete")


def _packages(sandbox: Sandbox, packages: Sequence[str]) -> Check:
    code, said = sandbox.run(["dpkg-query", "--show", "--showformat=${Package} ${Version}, ", *packages])
    return Check("packages", code == 0, said.strip().rstrip(","))


def _programs(sandbox: Sandbox, packages: Sequence[str]) -> Check:
    """Whether what the packages are there for runs."""
    wanted = [argv for package in packages for argv in _PROGRAMS.get(package, ())]
    wrong = [argv[0] for argv in wanted if sandbox.run(argv)[0]]
    return Check("programs", not wrong, f"wrong: {', '.join(wrong)}" if wrong else f"{', '.join(argv[0] for argv in wanted)} run")


def _files(sandbox: Sandbox, paths: Sequence[str]) -> Check:
    code, said = sandbox.run(["sh", "-c", _MISSING, "look", *paths])
    missing = said.strip()
    return Check("files", code == 0 and not missing, f"missing: {missing}" if missing else f"{len(paths)} of labcloud's own")


def _users(sandbox: Sandbox) -> Check:
    wrong = [name for name, number in _USERS.items() if sandbox.run(["id", "-u", name]) != (0, f"{number}\n")]
    _, groups = sandbox.run(["getent", "group", *_GROUPS])
    wrong += [name for name, number in _GROUPS.items() if f"{name}:x:{number}:" not in groups]
    return Check("users", not wrong, f"wrong: {', '.join(wrong)}" if wrong else "hdfs, yarn, mapred and their groups")


def _supervisor(sandbox: Sandbox, path: str) -> Check:
    if not _eventually(lambda: sandbox.run(["sh", "-c", f"cat {path}"]) == (0, "s6-svscan\n")):
        _, name = sandbox.run(["sh", "-c", f"cat {path}"])
        return Check("supervisor", False, f"the process of the node's services is {name.strip()!r}, not s6-svscan")
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
