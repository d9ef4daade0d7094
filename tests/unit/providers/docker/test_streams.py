"""Commands in containers, on an engine that answers as fast as an engine can: the output together with the response's headers."""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer

import pytest
from docker import APIClient

from labcloud.providers.base import Command
from labcloud.providers.docker import streams

FRAMES = ((1, b"first\n"), (2, b"a warning\n"), (1, b"x" * 100_000), (1, b""), (1, b"last\n"))


class _Engine(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer({"ExitCode": 3})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/start"):
            head = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
            self.wfile.write(head + b"".join(struct.pack(">BxxxL", stream, len(data)) + data for stream, data in FRAMES))
            self.close_connection = True
        else:
            self._answer({"Id": "e"})

    def _answer(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[APIClient]:
    path = tmp_path / "engine.sock"
    with ThreadingUnixStreamServer(str(path), _Engine) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        client = APIClient(base_url=f"unix://{path}", version="1.43")
        yield client
        client.close()
        server.shutdown()


def test_output_that_comes_with_the_headers_is_not_lost(engine: APIClient) -> None:
    result = streams.run(engine, "node", Command(("true",)))
    assert result.exit_code == 3
    assert result.stdout == b"".join(data for stream, data in FRAMES if stream == 1)
    assert result.stderr == b"a warning\n"
