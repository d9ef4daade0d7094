"""The few commands that simulated nodes run by themselves: enough to look at files, users and names. Anything else is not found."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from labcloud.model import Status
from labcloud.providers.base import Command, Result
from labcloud.providers.simulated import daemons, records
from labcloud.providers.simulated.world import CONFIG, File, LabState, Machine, config_text, dataset_path, in_datasets, locate

STILL = b"still\n"
"""What a node says when its services stand still."""

_USERS = {"root": 0, "hdfs": 901, "yarn": 902, "mapred": 903}


@dataclass(frozen=True)
class Place:
    """The node that a command runs on, and the domain of its host names."""

    lab: LabState
    machine: Machine
    domain: str

    def read(self, path: str) -> File | None:
        text = config_text(self.lab, self.machine, path)
        if text is not None:
            return File(text.encode())
        shown = dataset_path(self.lab, self.machine, path)
        if shown is not None:
            return File(mode=0o555, folder=True) if shown.is_dir() else File(shown.read_bytes(), mode=0o444)
        files, name = locate(self.lab, self.machine, path)
        return files.get(name)


def _input(command: Command) -> bytes:
    return command.stdin if isinstance(command.stdin, bytes) else command.stdin.read()


def holds(command: Command) -> bool:
    """Whether it is the script by which `labcloud.protect` lets services stand still: ``bash -c SCRIPT still SECONDS NAME…``."""
    return command.argv[:2] == ("bash", "-c") and command.argv[3:4] == ("still",)


def read_line(command: Command) -> bytes:
    """The first line of standard input, as soon as it is there; nothing at its end."""
    return command.stdin if isinstance(command.stdin, bytes) else command.stdin.read(1 << 16)


def released(word: bytes) -> Result:
    """How that script ends: 7 if its standard input does without a word."""
    return Result(0, b"released\n") if word else Result(7)


def run(place: Place, command: Command) -> Result:
    """What a command answers on a node. 127 is for one that is not there, as a shell says."""
    name = PurePosixPath(command.argv[0]).name if command.argv else ""
    program = _PROGRAMS.get(name)
    if program is None:
        return Result(127, stderr=f"{name}: command not found\n".encode())
    return program(place, command)


def _cat(place: Place, command: Command) -> Result:
    out, missing = b"", []
    for path in command.argv[1:]:
        file = place.read(path)
        if file is None or file.folder:
            missing.append(path)
        else:
            out += file.content
    if not command.argv[1:]:
        out = _input(command)
    return Result(1 if missing else 0, out, _complaint("cat", missing))


def _ls(place: Place, command: Command) -> Result:
    paths = [each for each in command.argv[1:] if not each.startswith("-")]
    missing = [path for path in paths if place.read(path) is None]
    present = "".join(f"{path}\n" for path in paths if path not in missing)
    return Result(2 if missing else 0, present.encode(), _complaint("ls", missing))


def _stat(place: Place, command: Command) -> Result:
    """``stat -c FORMAT PATH`` with %u %g %a %s."""
    _, _, form, path = command.argv
    file = place.read(path)
    if file is None:
        return Result(1, stderr=_complaint("stat", [path]))
    facts = {"%u": file.owner, "%g": file.group, "%a": f"{file.mode:o}", "%s": str(len(file.content))}
    for key, value in facts.items():
        form = form.replace(key, value)
    return Result(0, f"{form}\n".encode())


def _hadoop(place: Place, command: Command) -> Result:
    """``-refreshNodes`` (of HDFS; YARN's list is the same here), and of ``hdfs dfs`` what a lab needs; ``-ls -R`` as Hadoop prints it."""
    if command.argv[1:] == ("rmadmin", "-refreshNodes"):
        return Result(0)
    if command.argv[1:] == ("dfsadmin", "-refreshNodes"):
        daemons.read_lists(place.lab.cluster(place.machine.spec.ref.cluster))
        return Result(0)
    if command.argv[1:4] in (("dfs", "-mkdir", "-p"), ("dfs", "-put", "-f")):
        return _put(place, command) if command.argv[2] == "-put" else _hdfs_folders(place, command)
    if command.argv[1:4] != ("dfs", "-ls", "-R"):
        return Result(1, stderr=b"this node is simulated: it has no Hadoop\n")
    tree = daemons.hdfs(place.lab.cluster(place.machine.spec.ref.cluster))
    head = command.argv[-1].rstrip("/") + "/"
    lines = []
    for path in sorted(name for name in tree if name.startswith(head) and name != head):
        file = tree[path]
        kind = stat.filemode(file.mode | (stat.S_IFDIR if file.folder else stat.S_IFREG))
        copies = "-" if file.folder else "1"
        lines.append(f"{kind}   {copies} {file.owner} {file.group} {len(file.content):>10} 1970-01-01 00:00 {path}\n")
    return Result(0, "".join(lines).encode())


def _hdfs_folders(place: Place, command: Command) -> Result:
    """``hdfs dfs -mkdir -p PATH…``."""
    tree = daemons.hdfs(place.lab.cluster(place.machine.spec.ref.cluster))
    for path in command.argv[4:]:
        for folder in (PurePosixPath(path), *PurePosixPath(path).parents):
            tree.setdefault(str(folder), File(owner=command.user, group="supergroup", mode=0o755, folder=True))
    return Result(0)


def _put(place: Place, command: Command) -> Result:
    """``hdfs dfs -put -f URI… FOLDER`` from the mounted datasets."""
    *sources, target = command.argv[4:]
    tree = daemons.hdfs(place.lab.cluster(place.machine.spec.ref.cluster))
    for source in sources:
        name = unquote(urlsplit(source).path, errors="surrogateescape")
        path = dataset_path(place.lab, place.machine, name)
        if path is None:
            return Result(1, stderr=f"put: `{name}': No such file or directory\n".encode(errors="replace"))
        for each in (path, *path.rglob("*")):
            folder, content = each.is_dir(), b"" if each.is_dir() else each.read_bytes()
            tree[f"{target}/{each.relative_to(path.parent)}"] = File(content, command.user, "supergroup", 0o644, folder)
    return Result(0)


def _tee(place: Place, command: Command) -> Result:
    path, data = command.argv[-1], _input(command)
    if PurePosixPath("/", path).is_relative_to(CONFIG) or in_datasets(path):
        return Result(1, data, f"tee: {path}: Read-only file system\n".encode())
    files, name = locate(place.lab, place.machine, path)
    parent = files.get(str(PurePosixPath(name).parent))
    if parent is None or not parent.folder:
        return Result(1, data, _complaint("tee", [path]))
    owner = str(_user_id(place, command.user))
    files[name] = File(data, owner, owner)
    return Result(0, data)


def _mkdir(place: Place, command: Command) -> Result:
    """``mkdir -p PATH``."""
    files, name = locate(place.lab, place.machine, command.argv[-1])
    for folder in (PurePosixPath(name), *PurePosixPath(name).parents):
        files.setdefault(str(folder), File(mode=0o755, folder=True))
    return Result(0)


def _id(place: Place, command: Command) -> Result:
    if command.argv[1:] == ("-un",):
        return Result(0, f"{command.user}\n".encode())
    return Result(0, f"{_user_id(place, command.user)}\n".encode())


def _hostname(place: Place, command: Command) -> Result:
    ref = place.machine.spec.ref
    return Result(0, f"{ref.qualified}.{place.domain}\n".encode() if command.argv[1:] == ("-f",) else f"{ref.name}\n".encode())


def _getent(place: Place, command: Command) -> Result:
    """``getent hosts NAME|ADDRESS``, as the tenant's resolver answers."""
    found = _resolve(place, command.argv[-1])
    if found is None:
        return Result(2)
    return Result(0, f"{found.address:<15} {found.spec.ref.qualified}.{place.domain}\n".encode())


def _timeout(place: Place, command: Command) -> Result:
    """``timeout SECONDS bash -c 'exec 3<>/dev/tcp/$0/$1' HOST PORT``: 0 or 1 (refused) where the host is reached, else 124."""
    if len(command.argv) < 7 or command.argv[2:4] != ("bash", "-c") or "/dev/tcp/" not in command.argv[4]:
        return Result(127, stderr=b"timeout: command not found\n")
    host = command.argv[5]
    return Result(124) if _resolve(place, host) is None else Result(1, stderr=f"{host}: Connection refused\n".encode())


def _users(place: Place, command: Command) -> Result:  # noqa: ARG001 - every program is called so
    """What ``/usr/lib/labcloud/users`` leaves in homes: the keys of members, and none of those who were members."""
    lines = (config_text(place.lab, place.machine, str(CONFIG / "users")) or "").splitlines()
    ids = dict(line.split() for line in lines)
    for path, file in place.machine.files.items():
        if path.endswith("/.ssh/authorized_keys") and path.split("/")[2] not in ids:
            file.content = b""
    for name, number in ids.items():
        keys = config_text(place.lab, place.machine, str(CONFIG / "authorized_keys" / name)) or ""
        place.machine.files[f"/home/{name}"] = File(owner=number, group="900", mode=0o750, folder=True)
        place.machine.files[f"/home/{name}/.ssh/authorized_keys"] = File(keys.encode(), number, "900", 0o600)
    return Result(0)


def _refresh(place: Place, command: Command) -> Result:
    """``/usr/lib/labcloud/refresh``: of all that a real node takes up, the members' keys; a simulated one never differs."""
    return Result(0) if command.argv[1:] else _users(place, command)


def _started(place: Place, command: Command) -> Result:
    """``/usr/lib/labcloud/started [--update SERVICE [GONE…]]``."""
    if not command.argv[1:]:
        return Result(0, records.archive(place.lab, place.machine))
    _, _, service, *gone = command.argv
    done = records.update(place.lab, place.machine, service, _input(command), gone)
    return Result(0) if done else Result(1, stderr=f"labcloud-started: no service {service} was started here\n".encode())


def _s6_svc(place: Place, command: Command) -> Result:
    """``s6-svc -r FOLDER``: the service starts anew, with what is configured now."""
    if any("r" in each for each in command.argv[1:-1]):
        records.start(place.lab, place.machine, PurePosixPath(command.argv[-1]).name)
    return Result(0)


def _bash(place: Place, command: Command) -> Result:
    """``bash -s -- MILLISECONDS NAME…`` with the script by which `labcloud.diagnosis` gathers facts: those of a node that is well."""
    if command.argv[1:3] != ("-s", "--"):
        return Result(127, stderr=b"bash: command not found\n")
    ref, limit = place.machine.spec.ref, place.machine.spec.memory * 2**20
    rows: list[tuple[object, ...]] = [
        ("clock", time.time()), ("memory", limit, limit // 4, 0, 0, 0), ("address", place.machine.address),
        *(("disk", folder, "rw", 10 * 2**20, 9 * 2**20, 10**6, 10**6) for folder in ("/", "/data/0")),
    ]  # fmt: skip
    rows += [("name", name, found.address if (found := _resolve(place, name)) else "") for name in command.argv[4:]]
    for name in sorted(daemons.services_of(place.lab.cluster(ref.cluster), ref.group)):
        rows += [("service", name, "true", "true", 100, 3600), ("process", name, "S", 80000)]
    return Result(0, "".join("\t".join(map(str, row)) + "\n" for row in rows).encode())


def _resolve(place: Place, text: str) -> Machine | None:
    """The running node of the same tenant that has this name or address: there is no way to another's."""
    own = place.machine.spec.ref.cluster
    for machine in place.lab.machines(own.tenant):
        ref = machine.spec.ref
        names = {machine.address, ref.qualified, f"{ref.qualified}.{place.domain}"} | ({ref.name} if ref.cluster == own else set())
        if text in names and machine.status is Status.RUNNING:
            return machine
    return None


def _user_id(place: Place, user: str) -> int:
    if user.isdigit():
        return int(user)
    for line in (config_text(place.lab, place.machine, str(CONFIG / "users")) or "").splitlines():
        if line.split()[0] == user:
            return int(line.split()[1])
    for line in (config_text(place.lab, place.machine, str(CONFIG / "node.env")) or "").splitlines():
        key, _, value = line.partition("=")
        if key == "LABCLOUD_USER_ID" and user not in _USERS:
            return int(value.strip("'\""))
    return _USERS.get(user, 65534)


def _complaint(program: str, paths: Sequence[str]) -> bytes:
    return "".join(f"{program}: {path}: No such file or directory\n" for path in paths).encode()


_PROGRAMS: dict[str, Callable[[Place, Command], Result]] = {
    "bash": _bash,
    "cat": _cat,
    "false": lambda place, command: Result(1),  # noqa: ARG005
    "getent": _getent,
    "hdfs": _hadoop,
    "hostname": _hostname,
    "id": _id,
    "ls": _ls,
    "mkdir": _mkdir,
    "refresh": _refresh,
    "s6-svc": _s6_svc,
    "started": _started,
    "stat": _stat,
    "tee": _tee,
    "timeout": _timeout,
    "yarn": _hadoop,
    "users": _users,
    "true": lambda place, command: Result(0),  # noqa: ARG005
}
