"""WebHDFS, as far as a lab asks for it: folders, small files, owners. Works on a tree of files and knows no nodes.

See https://hadoop.apache.org/docs/stable/hadoop-project-dist/hadoop-hdfs/WebHDFS.html: the NameNode answers CREATE and OPEN with
307 and a DataNode's address; the DataNode takes or gives the bytes. GETFILECHECKSUM goes the same way.
"""

from __future__ import annotations

import hashlib
import json
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from labcloud.providers.base import Response
from labcloud.providers.simulated.world import File

PREFIX: Final = "/webhdfs/v1"
_DATANODE_PORT: Final = 9864
_INSIDE: Final = "hdfs:"


class Tree(MutableMapping[str, File]):
    """A file system kept among a volume's own files, under names that no path has."""

    def __init__(self, files: dict[str, File]) -> None:
        self._files = files
        if f"{_INSIDE}/" not in files:
            files[f"{_INSIDE}/"] = File(owner="hdfs", group="supergroup", mode=0o755, folder=True)

    def __getitem__(self, path: str) -> File:
        return self._files[_INSIDE + path]

    def __setitem__(self, path: str, file: File) -> None:
        self._files[_INSIDE + path] = file

    def __delitem__(self, path: str) -> None:
        del self._files[_INSIDE + path]

    def __iter__(self) -> Iterator[str]:
        return (name.removeprefix(_INSIDE) for name in list(self._files) if name.startswith(_INSIDE))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def namenode(method: str, path: str, query: Mapping[str, str], tree: MutableMapping[str, File], datanodes: list[str]) -> Response:
    """What a NameNode answers. ``datanodes`` are the host names that may hold blocks."""
    target, op = _clean(path), query.get("op", "").upper()
    if (method, op) in (("PUT", "CREATE"), ("GET", "OPEN"), ("GET", "GETFILECHECKSUM")):
        return _redirect(op, target, query, tree, datanodes)
    operation = _OPERATIONS.get((method, op))
    if operation is None:
        return _refused(400, "UnsupportedOperationException", f"{method} {op} is not supported")
    return operation(target, query, tree)


def datanode(method: str, path: str, query: Mapping[str, str], body: bytes, tree: MutableMapping[str, File]) -> Response:
    """What a DataNode answers to whom the NameNode has sent on."""
    target, op = _clean(path), query.get("op", "").upper()
    if (method, op) == ("PUT", "CREATE"):
        user = query.get("user.name", "dr.who")
        _make_folders(target.rpartition("/")[0], user, 0o755, tree)
        before = tree.get(target, File()).modified
        modified = max(time.time_ns() // 1_000_000, before + 1)  # never the time of what it replaces
        tree[target] = File(body, user, "supergroup", int(query.get("permission", "644"), 8), modified=modified)
        return Response(201, b"", {"Location": f"hdfs://{query.get('namenoderpcaddress', '')}{target}"})
    make = {("GET", "OPEN"): _content, ("GET", "GETFILECHECKSUM"): _checksum}.get((method, op))
    if make is None:
        return _refused(400, "IllegalArgumentException", f"Invalid operation {op}")
    file = tree.get(target)
    return _missing(target) if file is None or file.folder else make(file)


def fsck(tree: MutableMapping[str, File]) -> Response:
    """What the NameNode's servlet ``fsck`` says of a healthy file system if it is asked for open files, as Hadoop 2.7 prints it."""
    opened = [f"{path} {len(file.content)} bytes, 1 block(s), OPENFORWRITE: " for path, file in sorted(tree.items()) if file.open]
    lines = ["FSCK started by hdfs (auth:SIMPLE) from /198.18.0.1 for path / at now", *(f"..{line}" for line in opened)]
    return Response(200, "\n".join([*lines, "Status: HEALTHY", "FSCK ended at now in 1 milliseconds", ""]).encode(), {})


def _content(file: File) -> Response:
    return Response(200, file.content, {"Content-Type": "application/octet-stream"})


def _checksum(file: File) -> Response:
    """Of a file of one block: as long as Hadoop's, but of zlib's CRC-32 over the whole. The servlet prints four bytes too many."""
    made = bytes(12) + hashlib.md5(zlib.crc32(file.content).to_bytes(4), usedforsecurity=False).digest()
    return _json({"FileChecksum": {"algorithm": "MD5-of-0MD5-of-512CRC32", "bytes": made.hex() + "00" * 4, "length": len(made)}})


def _redirect(op: str, target: str, query: Mapping[str, str], tree: MutableMapping[str, File], datanodes: list[str]) -> Response:
    file = tree.get(target)
    if op != "CREATE" and (file is None or file.folder):
        return _missing(target)
    if op == "CREATE" and file is not None and (file.folder or query.get("overwrite", "false") != "true"):
        return _refused(403, "FileAlreadyExistsException", f"{target} already exists")
    if not datanodes:
        return _refused(403, "IOException", f"Failed to find datanode, suggest to check cluster health. excludeDatanodes=null: {target}")
    place = f"http://{datanodes[0]}:{_DATANODE_PORT}{PREFIX}{quote(target)}?{urlencode({**query, 'offset': '0'})}"
    return Response(307, b"", {"Location": place, "Content-Type": "application/octet-stream"})


def _mkdirs(target: str, query: Mapping[str, str], tree: MutableMapping[str, File]) -> Response:
    if target in tree and not tree[target].folder:
        return _refused(403, "FileAlreadyExistsException", f"Path is not a directory: {target}")
    _make_folders(target, query.get("user.name", "dr.who"), int(query.get("permission", "755"), 8), tree)
    return _json({"boolean": True})


def _set_owner(target: str, query: Mapping[str, str], tree: MutableMapping[str, File]) -> Response:
    if target not in tree:
        return _missing(target)
    file = tree[target]
    file.owner, file.group = query.get("owner") or file.owner, query.get("group") or file.group
    return Response(200, b"", {})


def _set_permission(target: str, query: Mapping[str, str], tree: MutableMapping[str, File]) -> Response:
    if target not in tree:
        return _missing(target)
    tree[target].mode = int(query.get("permission", "755"), 8)
    return Response(200, b"", {})


def _status(target: str, query: Mapping[str, str], tree: MutableMapping[str, File]) -> Response:  # noqa: ARG001
    return _json({"FileStatus": _facts("", tree[target])}) if target in tree else _missing(target)


def _list(target: str, query: Mapping[str, str], tree: MutableMapping[str, File]) -> Response:  # noqa: ARG001
    if target not in tree:
        return _missing(target)
    head = target.rstrip("/") + "/"
    inside = [
        (path[len(head) :], tree[path]) for path in sorted(tree) if path.startswith(head) and "/" not in path[len(head) :] and path != head
    ]
    return _json({"FileStatuses": {"FileStatus": [_facts(name, file) for name, file in inside]}})


def _summary(target: str, query: Mapping[str, str], tree: MutableMapping[str, File]) -> Response:  # noqa: ARG001
    if target not in tree:
        return _missing(target)
    length = sum(len(file.content) for path, file in tree.items() if path.startswith(target.rstrip("/") + "/"))
    return _json({"ContentSummary": {"length": length}})


def _rename(target: str, query: Mapping[str, str], tree: MutableMapping[str, File]) -> Response:
    to = _clean(query.get("destination", ""))
    if target not in tree or to in tree or to.rpartition("/")[0] not in (*tree, ""):
        return _json({"boolean": False})
    for path in [each for each in tree if each == target or each.startswith(f"{target}/")]:
        tree[to + path.removeprefix(target)] = tree.pop(path)
    return _json({"boolean": True})


def _delete(target: str, query: Mapping[str, str], tree: MutableMapping[str, File]) -> Response:
    inside = [path for path in tree if path.startswith(target.rstrip("/") + "/")]
    if inside and query.get("recursive", "false") != "true":
        return _refused(403, "PathIsNotEmptyDirectoryException", f"{target} is non empty")
    there = target in tree and target != "/"
    for path in [*inside, target] if there else ():
        del tree[path]
    return _json({"boolean": there})


_OPERATIONS: Final[dict[tuple[str, str], Callable[[str, Mapping[str, str], MutableMapping[str, File]], Response]]] = {
    ("PUT", "MKDIRS"): _mkdirs,
    ("PUT", "RENAME"): _rename,
    ("PUT", "SETOWNER"): _set_owner,
    ("PUT", "SETPERMISSION"): _set_permission,
    ("GET", "GETFILESTATUS"): _status,
    ("GET", "LISTSTATUS"): _list,
    ("GET", "GETCONTENTSUMMARY"): _summary,
    ("DELETE", "DELETE"): _delete,
}


def _make_folders(target: str, user: str, mode: int, tree: MutableMapping[str, File]) -> None:
    parts = target.strip("/").split("/") if target.strip("/") else []
    for depth in range(len(parts)):
        path = "/" + "/".join(parts[: depth + 1])
        if path not in tree:
            tree[path] = File(owner=user, group="supergroup", mode=mode, folder=True)


def _clean(path: str) -> str:
    return "/" + path.removeprefix(PREFIX).strip("/")


def _facts(name: str, file: File) -> dict[str, Any]:
    return {
        "pathSuffix": name, "type": "DIRECTORY" if file.folder else "FILE", "length": len(file.content), "owner": file.owner,
        "group": file.group, "permission": f"{file.mode:o}", "replication": 0 if file.folder else 1,
        "blockSize": 0 if file.folder else 2**27, "accessTime": 0, "modificationTime": file.modified,
    }  # fmt: skip


def _json(value: Any) -> Response:
    return Response(200, json.dumps(value).encode(), {"Content-Type": "application/json"})


def _missing(target: str) -> Response:
    return _refused(404, "FileNotFoundException", f"File does not exist: {target}")


def _refused(status: int, kind: str, message: str) -> Response:
    package = "java.io" if kind in ("FileNotFoundException", "IOException") else "org.apache.hadoop.fs"
    body = {"RemoteException": {"exception": kind, "javaClassName": f"{package}.{kind}", "message": message}}
    return Response(status, json.dumps(body).encode(), {"Content-Type": "application/json"})
