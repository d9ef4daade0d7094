"""The download cache against a real HTTP server on this machine, with the ways in which servers fail."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from labcloud.errors import EngineError
from labcloud.images.download import Cache, GoneError, Patience, Wanted, exists, text

CONTENT = bytes(range(256)) * 4096
HASTY = Patience(tries=3, pause=0.001, silence=5)


class Server(ThreadingHTTPServer):
    """Serves CONTENT; ``breaks`` answers are cut in the middle, ``refusals`` are answered with 503."""

    daemon_threads = True
    breaks = 0
    refusals = 0
    ranges: list[str]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        self.send_response(404 if "missing" in self.path else 200)
        self.end_headers()

    def do_GET(self) -> None:
        if "missing" in self.path:
            self.send_error(404)
        elif self.server.refusals:
            self.server.refusals -= 1
            self.send_error(503)
        else:
            self._send()

    def _send(self) -> None:
        wanted = self.headers.get("Range", "")
        self.server.ranges.append(wanted)
        begin = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        body = CONTENT[begin:]
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.breaks:
            self.server.breaks -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server(("127.0.0.1", 0), Handler) as running:
        running.ranges = []
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def wanted(server: Server, path: str = "file", content: bytes = CONTENT) -> Wanted:
    return Wanted(f"http://127.0.0.1:{server.server_port}/{path}", hashlib.sha256(content).hexdigest(), len(content))


def test_a_file_is_fetched_once(server: Server, tmp_path: Path) -> None:
    cache = Cache(tmp_path, HASTY)
    assert cache.get(wanted(server)).read_bytes() == CONTENT
    cache.get(wanted(server))
    assert len(server.ranges) == 1


def test_a_broken_download_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.breaks = 1
    assert Cache(tmp_path, HASTY).get(wanted(server)).read_bytes() == CONTENT
    assert server.ranges == ["", f"bytes={len(CONTENT) // 2}-"]


def test_the_next_run_goes_on_with_what_an_earlier_one_left(server: Server, tmp_path: Path) -> None:
    server.breaks = 3
    with pytest.raises(EngineError):
        Cache(tmp_path, HASTY).get(wanted(server))
    left = list(tmp_path.rglob("*.part"))
    assert len(left) == 1
    assert Cache(tmp_path, HASTY).get(wanted(server)).read_bytes() == CONTENT
    assert server.ranges[-1] == f"bytes={len(CONTENT) * 7 // 8}-"
    assert not list(tmp_path.rglob("*.part"))


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.refusals = 2
    assert Cache(tmp_path, HASTY).get(wanted(server)).read_bytes() == CONTENT


def test_another_content_is_named_and_never_kept(server: Server, tmp_path: Path) -> None:
    other = wanted(server, content=b"x" * len(CONTENT))
    with pytest.raises(EngineError) as caught:
        Cache(tmp_path, HASTY).get(other)
    assert other.url in caught.value.brief
    assert other.sha256 in caught.value.details
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_missing_file_is_named_at_once(server: Server, tmp_path: Path) -> None:
    missing = wanted(server, "missing")
    with pytest.raises(GoneError) as caught:
        Cache(tmp_path, HASTY).get(missing)
    assert missing.url in caught.value.brief
    assert "404" in caught.value.brief


def test_many_files_come_in_order_and_the_first_failure_is_raised(server: Server, tmp_path: Path) -> None:
    cache = Cache(tmp_path, HASTY)
    good = wanted(server)
    assert cache.get_all([good, good, good]) == [cache.path(good.sha256)] * 3
    with pytest.raises(GoneError):
        cache.get_all([good, wanted(server, "missing", b"-")])


def test_an_index_and_a_question(server: Server) -> None:
    base = f"http://127.0.0.1:{server.server_port}"
    assert text(f"{base}/index", HASTY) == CONTENT
    assert exists(f"{base}/index")
    assert not exists(f"{base}/missing")
    with pytest.raises(GoneError):
        text(f"{base}/missing", HASTY)
