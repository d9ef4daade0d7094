"""Running a command in a container: both output streams as they come, standard input from bytes, the exit code."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Final

if TYPE_CHECKING:
    from docker import APIClient

_STDERR: Final = 2


def run(
    api: APIClient, container: str, argv: Sequence[str], *, user: str, stdin: bytes = b"",
    environment: Mapping[str, str] | None = None, stdout: BinaryIO | None = None, stderr: BinaryIO | None = None,
) -> tuple[int, bytes]:  # fmt: skip
    """Run ``argv`` and wait. Returns its exit code and, where no ``stdout`` is given, what it printed there."""
    made = api.exec_create(container, list(argv), user=user, stdin=bool(stdin), environment=dict(environment or {}))
    printed: list[bytes] = []
    for stream, chunk in _frames(api, made["Id"], stdin):
        if stream == _STDERR:
            _pass_on(stderr, chunk)
        elif stdout is not None:
            _pass_on(stdout, chunk)
        else:
            printed.append(chunk)
    return int(api.exec_inspect(made["Id"])["ExitCode"]), b"".join(printed)


def _pass_on(target: BinaryIO | None, chunk: bytes) -> None:
    if target is not None:
        target.write(chunk)
        target.flush()


def _frames(api: APIClient, exec_id: str, stdin: bytes) -> Iterator[tuple[int, bytes]]:
    from docker.utils.socket import frames_iter_no_tty

    connection: Any = api.exec_start(exec_id, socket=True)
    raw: socket.socket = getattr(connection, "_sock", connection)
    # Written beside reading: a command that prints more than a pipe holds before it has read all would stop both.
    writer = threading.Thread(target=_feed, args=(raw, stdin), daemon=True)
    if stdin:
        writer.start()
    try:
        yield from frames_iter_no_tty(raw)
    finally:
        connection.close()


def _feed(raw: socket.socket, stdin: bytes) -> None:
    try:
        raw.sendall(stdin)
        raw.shutdown(socket.SHUT_WR)
    except OSError:
        return  # the command ended without reading all of it, as `head` does
