"""What a run tells, to a real web server and a real mail server on this machine; and that telling never hurts."""

from __future__ import annotations

import base64
import json
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from labcloud.model import ClusterRef
from labcloud.model.reports import Email, Report, Security, Server
from labcloud.protect import reports
from labcloud.protect.reports import Outcome, letter, message, public, send

BEGAN = datetime(2026, 11, 25, 2, tzinfo=UTC)
ENDED = BEGAN + timedelta(minutes=9)
GOOD = Outcome(ClusterRef("acme", "a"), "backed up", "4f2a9c01", 5 << 20, 2 << 30, 61.26)
BAD = Outcome(ClusterRef("acme", "b"), "failed", error="the target /srv/backups has no room left", seconds=3)
ODD = Outcome(ClusterRef("acme", "c"), "backed up", "77aa0011", 1, 2 << 20, 4, warning="it stands still since an hour")


class Sink(socketserver.StreamRequestHandler):
    """As much SMTP as a letter needs. What the server of it was told stands in its `heard`."""

    server: Any

    def answer(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())

    def handle(self) -> None:
        self.answer("220 sink")
        for line in iter(lambda: self.rfile.readline().strip().decode(), ""):
            verb = line.partition(" ")[0].upper()
            self.server.heard.append(line)
            if verb in self.server.answers:
                self.answer(self.server.answers[verb])
            elif verb == "EHLO":
                offers = ["sink", "AUTH PLAIN" if isinstance(self.connection, ssl.SSLSocket) else "STARTTLS"]
                self.answer("\r\n".join([*(f"250-{each}" for each in offers), "250 8BITMIME"]))
            elif verb == "STARTTLS":
                self.answer("220 go on")
                self.connection = self.server.context.wrap_socket(self.connection, server_side=True)
                self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", buffering=0)
            elif verb == "AUTH":
                self.answer("235 welcome")
            elif verb == "DATA":
                self.answer("354 go on")
                self.server.letters.append(b"".join(iter(self.rfile.readline, b".\r\n")))
                self.answer("250 taken")
            elif verb == "QUIT":
                self.answer("221 bye")
                return
            else:
                self.answer("250 fine")

    def finish(self) -> None:
        super().finish()
        self.connection.close()  # the one that is encrypted is not the one that the server closes


class SinkServer(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Sink)
        self.heard: list[str] = []
        self.letters: list[bytes] = []
        self.answers: dict[str, str] = {}
        self.context: ssl.SSLContext | None = None

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is what some tests are about."""


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@pytest.fixture
def sink() -> Iterator[SinkServer]:
    server = SinkServer()
    with serving(server):
        yield server


def email(sink: SinkServer, security: Security = Security.NONE, user: str = "") -> Email:
    return Email(("ada@example.org", "bob@example.org"), "lab@example.org", Server("127.0.0.1", sink.server_address[1]), security, user)


def told(report: Report, home: Path, *outcomes: Outcome) -> list[str]:
    return send(report, outcomes or (GOOD, BAD), home=home, began=BEGAN, ended=ENDED)


# Web hooks


def test_a_web_hook_gets_json(tmp_path: Path) -> None:
    got: list[tuple[str, str, Any]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.path, self.headers["Content-Type"], json.loads(body)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    server = HTTPServer(("127.0.0.1", 0), Hook)
    with serving(server):
        assert told(Report(f"http://127.0.0.1:{server.server_address[1]}/hooks/T0?token=x"), tmp_path) == []
    ((path, kind, body),) = got
    assert (path, kind) == ("/hooks/T0?token=x", "application/json")
    assert body == {
        "event": "backup-run", "began": "2026-11-25T02:00:00Z", "ended": "2026-11-25T02:09:00Z", "ok": False, "done": 1, "failed": 1,
        "text": "1 cluster done, 1 failed: acme/b.",
        "clusters": [
            {"tenant": "acme", "name": "a", "done": "backed up", "copy": "4f2a9c01", "bytes_added": 5242880, "bytes_total": 2147483648,
             "seconds": 61.3, "error": "", "warning": ""},
            {"tenant": "acme", "name": "b", "done": "failed", "copy": "", "bytes_added": 0, "bytes_total": 0, "seconds": 3,
             "error": "the target /srv/backups has no room left", "warning": ""},
        ],
    }  # fmt: skip


def test_a_web_hook_that_is_away_is_a_warning_without_its_secret(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    (warning,) = told(Report(f"http://127.0.0.1:{port}/hooks/secret"), tmp_path)
    assert warning == f"the report did not reach http://127.0.0.1:{port}: connection refused"


def test_the_verdict_is_one_sentence() -> None:
    def text(*outcomes: Outcome) -> object:
        return message(outcomes, began=BEGAN, ended=ENDED)["text"]

    assert text(GOOD) == "1 cluster done."
    assert text(GOOD, ODD) == "2 clusters done."
    assert text(BAD, BAD, BAD, BAD) == "0 clusters done, 4 failed: acme/b, acme/b, acme/b …."
    assert message((GOOD, ODD), began=BEGAN, ended=ENDED)["ok"] is True


# E-mail


def test_people_get_a_letter(sink: SinkServer, tmp_path: Path) -> None:
    assert told(Report(email=email(sink)), tmp_path, GOOD, ODD, BAD) == []
    assert [line.split()[1] for line in sink.heard if line.lower().startswith(("mail", "rcpt"))] == [
        "FROM:<lab@example.org>",
        "TO:<ada@example.org>",
        "TO:<bob@example.org>",
    ]
    (raw,) = sink.letters
    got = message_from_bytes(raw, policy=policy.default)
    assert (got["Subject"], got["From"], got["To"]) == (
        "labcloud backups: 2 clusters done, 1 failed: acme/b",
        "lab@example.org",
        "ada@example.org, bob@example.org",
    )
    assert (got["Date"].datetime, got["Auto-Submitted"]) == (ENDED, "auto-generated")
    assert got["Message-ID"].endswith("@example.org>")
    assert got.get_content().replace("\r\n", "\n").splitlines()[2:] == [
        "acme/b: failed, 3 s",
        "    failed: the target /srv/backups has no room left",
        "acme/c: backed up 77aa0011, 1 B new of 2.1 MB, 4 s",
        "    note: it stands still since an hour",
        "acme/a: backed up 4f2a9c01, 5.2 MB new of 2.1 GB, 61 s",
    ]


def test_a_run_that_did_nothing_tells_nobody(sink: SinkServer, tmp_path: Path) -> None:
    assert send(Report("http://127.0.0.1:1/", email(sink)), (), home=tmp_path, began=BEGAN, ended=ENDED) == []
    assert sink.heard == []


def test_what_nobody_knows_is_no_figure() -> None:
    unknown = replace(GOOD, bytes_added=None)
    assert public(unknown)["bytes_added"] is None
    said = letter(Email(("a@b.org",), "c@d.org", Server("h"), Security.NONE), [unknown], began=BEGAN, ended=ENDED).get_content()
    assert said.splitlines()[-1] == "acme/a: backed up 4f2a9c01, what is new of 2.1 GB, 61 s"


def test_odd_texts_make_no_headers(sink: SinkServer, tmp_path: Path) -> None:
    outcome = replace(BAD, error="a\r\nBcc: eve@example.org\r\n.\r\nQUIT", warning="ü " * 600)
    assert told(Report(email=email(sink)), tmp_path, outcome) == []
    got = message_from_bytes(sink.letters[0], policy=policy.default)
    assert (got["Bcc"], len(sink.letters)) == (None, 1)
    assert "eve" not in str(got["Subject"])


@pytest.mark.parametrize(
    ("verb", "answer", "words"),
    [
        ("MAIL", "550 no", "it answers 550"),
        ("RCPT", "550 no", "it refuses everybody who should get it"),
        ("DATA", "452 full", "it answers 452"),
        ("EHLO", "", "no answer in time"),
    ],
)
def test_a_server_that_refuses_is_a_warning(
    sink: SinkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, answer: str, words: str
) -> None:
    monkeypatch.setattr(reports, "MAIL_SECONDS", 6.0 if not answer else 30.0)
    sink.answers = {verb: answer or "250-"}
    (warning,) = told(Report(email=email(sink)), tmp_path)
    assert warning == f"the report was not sent by 127.0.0.1:{sink.server_address[1]}: {words}"


def test_a_server_that_says_nothing_costs_no_more_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "MAIL_SECONDS", 0.4)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        (warning,) = told(Report(email=Email(("a@b.org",), "c@d.org", Server(*silent.getsockname()), Security.NONE)), tmp_path)
        assert time.monotonic() - began < 20  # it would say nothing for ever
    assert "no answer" in warning


def test_a_letter_is_not_sent_in_the_clear_where_it_shall_not(sink: SinkServer, tmp_path: Path) -> None:
    sink.answers = {"EHLO": "250 sink"}
    (warning,) = told(Report(email=email(sink, Security.STARTTLS)), tmp_path)
    assert "it does not offer what is asked for" in warning
    assert not sink.letters


# With a certificate and a password


@pytest.fixture
def trusted(sink: SinkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SinkServer:
    """The sink with a certificate that this machine trusts, for as long as the test runs."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    argv = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=sink",
    ]
    subprocess.run([*argv, "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate], check=True, capture_output=True)
    sink.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    sink.context.load_cert_chain(certificate, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    return sink


def password(home: Path, mode: int = 0o600) -> None:
    path = home / "secrets" / "smtp.password"
    path.parent.mkdir(exist_ok=True)
    path.write_text("hunter2\n")
    path.chmod(mode)


def test_a_user_logs_in_behind_encryption(trusted: SinkServer, tmp_path: Path) -> None:
    password(tmp_path)
    assert told(Report(email=email(trusted, Security.STARTTLS, "lab")), tmp_path) == []
    (login,) = (line for line in trusted.heard if line.startswith("AUTH"))
    assert base64.b64decode(login.split()[2]) == b"\0lab\0hunter2"
    assert [line for line in trusted.heard if line in ("STARTTLS", login)] == ["STARTTLS", login]
    assert len(trusted.letters) == 1


def test_a_certificate_that_is_not_trusted_ends_it(trusted: SinkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    password(tmp_path)
    monkeypatch.delenv("SSL_CERT_FILE")
    (warning,) = told(Report(email=email(trusted, Security.STARTTLS, "lab")), tmp_path)
    assert "its certificate is not trusted" in warning
    assert not trusted.letters


def test_a_wrong_password_is_a_warning_and_not_repeated(trusted: SinkServer, tmp_path: Path) -> None:
    password(tmp_path)
    trusted.answers = {"AUTH": "535 hunter2 is wrong"}
    (warning,) = told(Report(email=email(trusted, Security.STARTTLS, "lab")), tmp_path)
    assert warning.endswith(": it answers 535")


@pytest.mark.parametrize(("mode", "words"), [(None, "there is no file"), (0o644, "others than its owner may read"), (0o640, "others than")])
def test_a_password_that_is_not_kept_well_is_a_warning(sink: SinkServer, tmp_path: Path, mode: int | None, words: str) -> None:
    if mode is not None:
        password(tmp_path, mode)
    (warning,) = told(Report(email=email(sink, Security.TLS, "lab")), tmp_path)
    assert words in warning
    assert "hunter2" not in warning
    assert sink.heard == []


def test_both_are_told_and_one_does_not_keep_the_other_from_it(sink: SinkServer, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    warnings = told(Report(f"http://127.0.0.1:{port}/", email(sink)), tmp_path)
    assert (len(warnings), len(sink.letters)) == (1, 1)


def test_a_letter_has_no_more_than_a_line_of_subject() -> None:
    many = [replace(BAD, ref=ClusterRef("a" * 30, "b" * 40)) for _ in range(9)]
    got = letter(Email(("a@b.org",), "c@d.org", Server("h"), Security.NONE), many, began=BEGAN, ended=ENDED)
    assert len(got["Subject"]) <= 160
