"""Running a command in a container: both output streams as they come, standard input from bytes, the exit code."""

from __future__ import annotations

import io
import socket
import struct
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from labcloud.providers.base import Command, Result, Sink

if TYPE_CHECKING:
    from docker import APIClient

_STDERR: Final = 2
_CHUNK: Final = 1 << 16
_HEADER: Final = struct.Struct(">BxxxL")  # of a frame: its stream and its size


def run(api: APIClient, container: str, command: Command, *, stdout: Sink | None = None, stderr: Sink | None = None) -> Result:
    """Run a command and wait for its end; see `Provider.execute`."""
    made = api.exec_create(container, list(command.argv), user=command.user, stdin=bool(command.stdin))
    out, err = stdout or io.BytesIO(), stderr or io.BytesIO()
    for stream, chunk in _frames(api, made["Id"], command.stdin):
        target = err if stream == _STDERR else out
        target.write(chunk)
        target.flush()
    return Result(int(api.exec_inspect(made["Id"])["ExitCode"]), _held(out, stdout), _held(err, stderr))


def _held(target: Sink, given: Sink | None) -> bytes:
    return target.getvalue() if given is None and isinstance(target, io.BytesIO) else b""


def _frames(api: APIClient, exec_id: str, stdin: bytes | BinaryIO) -> Iterator[tuple[int, bytes]]:
    connection: Any = api.exec_start(exec_id, socket=True)
    raw: socket.socket = getattr(connection, "_sock", connection)
    raw.settimeout(None)
    # Not from the socket, as docker-py's own helpers read: output that came together with the response's headers lies in this reader
    # already, and would be lost (docker-py's issue 3332).
    reader: io.BufferedReader = connection._response.raw._fp.fp
    # Written beside reading: a command that prints more than a pipe holds before it has read all would stop both.
    writer = threading.Thread(target=_feed, args=(raw, stdin), daemon=True)
    if stdin:
        writer.start()
    try:
        # https://docs.docker.com/reference/api/engine/version/v1.43/#tag/Container/operation/ContainerAttach, "Stream format"
        while len(header := reader.read(_HEADER.size)) == _HEADER.size:
            stream, left = _HEADER.unpack(header)
            while left and (chunk := reader.read1(min(left, _CHUNK))):
                left -= len(chunk)
                yield stream, chunk
    finally:
        connection.close()
        raw.close()


def _feed(raw: socket.socket, stdin: bytes | BinaryIO) -> None:
    source = io.BytesIO(stdin) if isinstance(stdin, bytes) else stdin
    try:
        while chunk := source.read(_CHUNK):
            raw.sendall(chunk)
        raw.shutdown(socket.SHUT_WR)
    except OSError:
        return  # the command ended without reading all of it, as `head` does
