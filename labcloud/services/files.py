"""Files of a cluster's HDFS, as its superuser: small ones, to prove that it works and to give a tenant a home.

Two ways to the same end. The native protocol costs the daemons nothing and answers in milliseconds, but its client must reach
the nodes' ports. WebHDFS goes through any engine's door; its first request makes the NameNode start a servlet engine (0.8 s).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from threading import Thread, local
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from labcloud.errors import EngineError, UsageError
from labcloud.model import NodeRef
from labcloud.providers.base import Provider, Response

_SUPERUSER: Final = "hdfs"
_LIMIT: Final = 30.0
_PART: Final = 8 << 20
UNFINISHED: Final = "._COPYING_"
"""What ``hdfs dfs -put`` appends to a file's name until all of it is there."""
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class FileStatus:
    """What the NameNode says of one file or folder. ``length`` is in bytes, ``modified`` in milliseconds since 1970; both 0 of a folder."""

    folder: bool
    length: int = 0
    modified: int = 0


class Files(Protocol):
    """Every method raises EngineError for what HDFS refuses, or while it does not answer."""

    def make_folder(self, path: str, *, owner: str, group: str, mode: str) -> None:
        """Make a folder, with its parents; ``mode`` is octal, as text."""

    def write(self, path: str, content: bytes) -> None: ...

    def read(self, path: str) -> bytes: ...

    def read_parts(self, path: str) -> Iterator[bytes]:
        """The content of a file of any size, piece by piece."""

    def write_parts(self, path: str, parts: Iterable[bytes]) -> None:
        """A new file of any size. One that exists is refused."""

    def delete(self, path: str) -> None: ...

    def sizes(self, folder: str) -> dict[str, int]:
        """The bytes of each file below a folder that exists, by its path in there. What is being written is not among them."""

    def length(self, folder: str) -> int:
        """The bytes of all that is below a folder, what is being written included."""

    def children(self, folder: str) -> dict[str, bool]:
        """The names in a folder, and whether each is a folder itself. Empty if there is no such folder."""

    def statuses(self, folder: str) -> dict[str, FileStatus]:
        """What is in a folder, by name. Empty if there is no such folder."""

    def rename(self, path: str, to: str) -> None:
        """Give a file or folder another path, that is not taken."""

    def give(self, path: str, *, owner: str, group: str) -> None:
        """Let a file or folder be somebody else's."""


def give_home(files: Files, before: str, after: str) -> None:
    """Let all that is in the home of the user ``before`` be in the home of ``after``, which exists, and be that user's.

    What has a name there that is taken stays where it is. Done again, it goes on.
    """
    old, new = f"/user/{before}", f"/user/{after}"
    taken = files.children(new)
    left = {name: folder for name, folder in files.children(old).items() if name in taken}
    for name, folder in files.children(old).items():
        if name not in left:
            _give_tree(files, f"{old}/{name}", folder, after)
            files.rename(f"{old}/{name}", f"{new}/{name}")
    if not left:
        files.delete(old)


def _give_tree(files: Files, path: str, folder: bool, user: str) -> None:
    for name, inside in files.children(path).items() if folder else ():
        _give_tree(files, f"{path}/{name}", inside, user)
    files.give(path, owner=user, group=user)


class NativeFiles:
    """By HDFS' own protocol, through the one door to the library hdfs-native."""

    def __init__(self, host: str, port: int) -> None:
        import hdfs_native

        # With simple authentication Hadoop's clients take the user's name from here.
        os.environ["HADOOP_USER_NAME"] = _SUPERUSER
        self._native = hdfs_native
        self._client = hdfs_native.Client(f"hdfs://{host}:{port}")

    def make_folder(self, path: str, *, owner: str, group: str, mode: str) -> None:
        def make() -> None:
            self._client.mkdirs(path, int(mode, 8), True)
            self._client.set_owner(path, owner, group)

        _bounded(make, f"make {path}")

    def write(self, path: str, content: bytes) -> None:
        def write() -> None:
            with _given_up(self._client.create(path, self._native.WriteOptions(overwrite=True))) as file:
                file.write(content)
                file.close()

        _bounded(write, f"write {path}")

    def read(self, path: str) -> bytes:
        def read() -> bytes:
            with self._client.read(path) as file:
                return bytes(file.read())

        return _bounded(read, f"read {path}")

    def read_parts(self, path: str) -> Iterator[bytes]:
        file = _bounded(lambda: self._client.read(path), f"read {path}")
        while part := _bounded(lambda: bytes(file.read(_PART)), f"read {path}"):
            yield part

    def write_parts(self, path: str, parts: Iterable[bytes]) -> None:
        options = self._native.WriteOptions(overwrite=False, create_parent=True)
        file = _bounded(lambda: self._client.create(path, options), f"create {path}")
        with _given_up(file):
            for part in parts:
                _bounded(lambda part=part: file.write(part), f"write {path}")  # type: ignore[misc]
            _bounded(file.close, f"write {path}")

    def delete(self, path: str) -> None:
        _bounded(lambda: self._client.delete(path, True), f"delete {path}")

    def sizes(self, folder: str) -> dict[str, int]:
        def ask() -> dict[str, int]:
            found = self._client.list_status(folder, recursive=True)
            return {each.path.removeprefix(f"{folder}/"): int(each.length) for each in found if not each.isdir}

        return _without_unfinished(_bounded(ask, f"list {folder}"))

    def children(self, folder: str) -> dict[str, bool]:
        def ask() -> dict[str, bool]:
            try:
                return {each.path.rpartition("/")[2]: bool(each.isdir) for each in self._client.list_status(folder)}
            except FileNotFoundError:
                return {}

        return _bounded(ask, f"list {folder}")

    def statuses(self, folder: str) -> dict[str, FileStatus]:
        def ask() -> dict[str, FileStatus]:
            try:
                return {each.path.rpartition("/")[2]: _native_status(each) for each in self._client.list_status(folder)}
            except FileNotFoundError:
                return {}

        return _bounded(ask, f"list {folder}")

    def rename(self, path: str, to: str) -> None:
        _bounded(lambda: self._client.rename(path, to), f"rename {path} to {to}")

    def give(self, path: str, *, owner: str, group: str) -> None:
        _bounded(lambda: self._client.set_owner(path, owner, group), f"give {path} to {owner}")

    def length(self, folder: str) -> int:
        return _bounded(lambda: int(self._client.get_content_summary(folder).length), f"measure {folder}")


class _Closed:
    def close(self) -> None:
        """It is, or nobody waits for it any more."""


@contextmanager
def _given_up(file: Any) -> Iterator[Any]:
    """A file that is written. Whatever happens, Python closes it no more by itself.

    It would, as `io.IOBase` does, in whatever thread collects garbage; where a DataNode vanished meanwhile, that takes minutes.
    """
    try:
        yield file
    finally:
        file.inner = _Closed()


def _bounded(do: Callable[[], Answer], doing: str) -> Answer:
    """What ``do`` returns. The library has no time limits of its own: whoever does not answer is left alone with a thread."""
    result: Future[Answer] = Future()

    def run() -> None:
        try:
            result.set_result(do())
        except Exception as exc:  # noqa: BLE001 - handed over to the caller, who knows the kinds
            result.set_exception(exc)

    Thread(target=run, daemon=True, name="hdfs").start()
    try:
        return result.result(_LIMIT)
    except FutureTimeoutError as exc:
        raise EngineError(f"HDFS did not {doing} within {_LIMIT:g} s") from exc
    except (OSError, RuntimeError, ValueError) as exc:
        raise EngineError(f"HDFS could not {doing}", details=str(exc)) from exc


def _native_status(found: Any) -> FileStatus:
    if found.isdir:
        return FileStatus(folder=True)
    return FileStatus(folder=False, length=int(found.length), modified=int(found.modification_time))


def _without_unfinished(sizes: dict[str, int]) -> dict[str, int]:
    return {path: size for path, size in sizes.items() if not path.endswith(UNFINISHED)}


class WebFiles:
    """By WebHDFS, through the provider."""

    def __init__(self, provider: Provider, namenode: NodeRef, port: int) -> None:
        self._provider = provider
        self._namenode = namenode
        self._port = port
        self._made_by = local()  # the address of the DataNode that made this thread's last checksum

    def make_folder(self, path: str, *, owner: str, group: str, mode: str) -> None:
        self._on_namenode("PUT", path, op="MKDIRS", permission=mode)
        self._on_namenode("PUT", path, op="SETOWNER", owner=owner, group=group)

    def write(self, path: str, content: bytes) -> None:
        # The NameNode names a DataNode, which takes the bytes.
        self._on_datanode("PUT", path, body=content, op="CREATE", overwrite="true")

    def read(self, path: str) -> bytes:
        return self._on_datanode("GET", path, op="OPEN").body

    def read_parts(self, path: str) -> Iterator[bytes]:
        offset = 0
        while part := self._on_datanode("GET", path, op="OPEN", offset=str(offset), length=str(_PART)).body:
            yield part
            offset += len(part)
            if len(part) < _PART:
                return

    def write_parts(self, path: str, parts: Iterable[bytes]) -> None:
        self._on_datanode("PUT", path, op="CREATE", overwrite="false")
        for part in parts:
            self._on_datanode("POST", path, body=part, op="APPEND")

    def delete(self, path: str) -> None:
        self._on_namenode("DELETE", path, op="DELETE", recursive="true")

    def sizes(self, folder: str) -> dict[str, int]:
        found: dict[str, int] = {}
        left = [""]
        while left:
            inside = left.pop()
            answer = self._on_namenode("GET", folder + inside, op="LISTSTATUS")
            for each in json.loads(answer.body)["FileStatuses"]["FileStatus"]:
                path = f"{inside}/{each['pathSuffix']}"
                if each["type"] == "DIRECTORY":
                    left.append(path)
                else:
                    found[path.removeprefix("/")] = int(each["length"])
        return _without_unfinished(found)

    def children(self, folder: str) -> dict[str, bool]:
        if self._status(folder) == HTTPStatus.NOT_FOUND:
            return {}
        answer = self._on_namenode("GET", folder, op="LISTSTATUS")
        found = json.loads(answer.body)["FileStatuses"]["FileStatus"]
        return {each["pathSuffix"]: each["type"] == "DIRECTORY" for each in found if each["pathSuffix"]}

    def statuses(self, folder: str) -> dict[str, FileStatus]:
        answer = self._ask_namenode("GET", folder, op="LISTSTATUS")
        if answer.status == HTTPStatus.NOT_FOUND:
            return {}
        body = _accepted(answer, f"LISTSTATUS {folder}").body
        try:
            return {each["pathSuffix"]: _web_status(each) for each in json.loads(body)["FileStatuses"]["FileStatus"]}
        except (ValueError, KeyError, TypeError) as exc:
            raise EngineError(f"HDFS does not say what is in {folder}", details=str(exc)) from exc

    def checksum(self, path: str, *, timeout: float = _LIMIT) -> str:
        """HDFS' own checksum of a complete file, the MD5 of its blocks' MD5s of their CRCs, as ``ALGORITHM:HEX``: what ``hdfs dfs
        -checksum`` prints. A DataNode makes it from the CRCs beside the blocks (1 byte for 128 of data), and reads no data.

        Empty if there is no such file. ``timeout`` is in seconds. Only WebHDFS gives it: the native client has no such call.
        """
        answer = self._checksum(path, timeout)
        if answer.status == HTTPStatus.NOT_FOUND:
            return ""
        try:
            made = json.loads(_accepted(answer, f"GETFILECHECKSUM {path}").body)["FileChecksum"]
            # The servlet prints the whole buffer; only the first ``length`` bytes are the checksum.
            return f"{made['algorithm']}:{made['bytes'][: 2 * made['length']]}"
        except (ValueError, KeyError, TypeError) as exc:
            raise EngineError(f"HDFS gives no checksum of {path}", details=str(exc)) from exc

    def _checksum(self, path: str, timeout: float) -> Response:
        # Any DataNode can make it of blocks that are anywhere. The NameNode is asked for one once a thread, not for every file.
        known, self._made_by.place = getattr(self._made_by, "place", ""), ""
        if not known:
            answer = self._ask_namenode("GET", path, op="GETFILECHECKSUM")
            if answer.status >= HTTPStatus.BAD_REQUEST:
                return answer
            known = answer.headers.get("Location", "")
        place = urlsplit(known)._replace(path=f"/webhdfs/v1{quote(path)}")
        answer = self._to_datanode(place, "GET", f"GETFILECHECKSUM {path}", timeout=timeout)
        if answer.status < HTTPStatus.BAD_REQUEST:
            self._made_by.place = known
        return answer

    def _status(self, path: str) -> int:
        return self._ask_namenode("GET", path, op="GETFILESTATUS").status

    def rename(self, path: str, to: str) -> None:
        if not json.loads(self._on_namenode("PUT", path, op="RENAME", destination=to).body)["boolean"]:
            raise EngineError(f"HDFS did not rename {path} to {to}")

    def give(self, path: str, *, owner: str, group: str) -> None:
        self._on_namenode("PUT", path, op="SETOWNER", owner=owner, group=group)

    def length(self, folder: str) -> int:
        return int(json.loads(self._on_namenode("GET", folder, op="GETCONTENTSUMMARY").body)["ContentSummary"]["length"])

    def _ask_namenode(self, method: str, path: str, **query: str) -> Response:
        target = f"/webhdfs/v1{quote(path)}?{urlencode({'user.name': _SUPERUSER, **query})}"
        return self._provider.request(self._namenode, self._port, target, method=method)

    def _on_namenode(self, method: str, path: str, **query: str) -> Response:
        return _accepted(self._ask_namenode(method, path, **query), f"{query['op']} {path}")

    def _on_datanode(self, method: str, path: str, *, body: bytes = b"", **query: str) -> Response:
        place, doing = urlsplit(self._on_namenode(method, path, **query).headers.get("Location", "")), f"{query['op']} {path}"
        # A DataNode's first write starts its pipeline: slower than any other request.
        return _accepted(self._to_datanode(place, method, doing, body=body, timeout=_LIMIT), doing)

    def _to_datanode(self, place: SplitResult, method: str, doing: str, *, timeout: float, body: bytes = b"") -> Response:
        """What the DataNode answers that the NameNode named by ``place``."""
        try:
            node = NodeRef.parse(self._namenode.cluster, place.netloc.partition(".")[0])
        except UsageError as exc:
            raise EngineError(f"HDFS named no DataNode for {doing}", details=place.geturl()) from exc
        return self._provider.request(node, place.port or 80, f"{place.path}?{place.query}", method=method, body=body, timeout=timeout)


def _web_status(found: dict[str, Any]) -> FileStatus:
    if found["type"] == "DIRECTORY":
        return FileStatus(folder=True)
    return FileStatus(folder=False, length=int(found["length"]), modified=int(found["modificationTime"]))


def _accepted(answer: Response, doing: str) -> Response:
    if answer.status < HTTPStatus.BAD_REQUEST:
        return answer
    try:
        said: Any = json.loads(answer.body)["RemoteException"]["message"]
    except (ValueError, KeyError, TypeError):
        said = answer.body[:200].decode(errors="replace")
    raise EngineError(f"HDFS refused {doing}", details=str(said))
