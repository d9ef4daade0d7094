"""What real services cannot be made to do at will: answer wrongly at a certain moment. Whatever else is asked of a real cloud."""

from __future__ import annotations

import datetime
import json
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import requests_mock

from labcloud.errors import ConfigError, ConflictError, EngineError, LabError, NotFoundError, QuotaError
from labcloud.providers.openstack import connection
from labcloud.providers.openstack.connection import Cloud

KEYSTONE, NOVA = "http://keystone.test/v3", "http://nova.test/v2.1"
PUBLIC = {"interface": "public", "region": "R", "region_id": "R", "url": NOVA, "id": "e"}
TOKEN = {
    "token": {
        "project": {"id": "p", "name": "acme", "domain": {"id": "default", "name": "Default"}},
        "user": {"id": "u", "name": "ada", "domain": {"id": "default", "name": "Default"}},
        "roles": [{"id": "r", "name": "member"}],
        "expires_at": "2999-01-01T00:00:00Z",
        "issued_at": "2026-01-01T00:00:00Z",
        "methods": ["password"],
        "catalog": [{"type": "compute", "name": "nova", "id": "n", "endpoints": [PUBLIC]}],
    }
}  # fmt: skip
VERSION = {
    "version": {"id": "v2.1", "status": "CURRENT", "version": "2.93", "min_version": "2.1", "links": [{"rel": "self", "href": NOVA}]}
}
CLOUDS = """
clouds:
  one:
    auth: {{auth_url: "{url}", username: ada, password: secret, project_name: acme, user_domain_id: default, project_domain_id: default}}
    region_name: R
"""


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of whoever runs the tests is seen."""
    for name in ("OS_CLOUD", "OS_AUTH_URL", "OS_CLIENT_CONFIG_FILE", "OS_USERNAME", "OS_PASSWORD", "OS_PROJECT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    for kind in ("CONFIG", "SECURE"):
        monkeypatch.setattr(f"openstack.config.loader.{kind}_FILES", [str(tmp_path / "clouds.yaml")] if kind == "CONFIG" else [])
    monkeypatch.setattr(connection, "_PAUSE", 0.001)


def told(text: str) -> None:
    Path("clouds.yaml").write_text(text)


@pytest.fixture
def nova(monkeypatch: pytest.MonkeyPatch) -> Iterator[requests_mock.Mocker]:
    told(CLOUDS.format(url=KEYSTONE))
    with requests_mock.Mocker() as mock:
        mock.get(KEYSTONE, json={"version": {"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": KEYSTONE}]}})
        mock.post(f"{KEYSTONE}/auth/tokens", json=TOKEN, headers={"X-Subject-Token": "t"}, status_code=201)
        mock.get(NOVA, json=VERSION)
        yield mock


def names(cloud: Cloud) -> list[str]:
    return cloud.read("ask which servers exist", lambda api: [each.name for each in api.compute.servers()])


def answers(*statuses: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {"status_code": status, "json": {"servers": []} if status == 200 else {"x": {"message": "try later", "code": status}}, **more}
        for status in statuses
    ]


def count(mock: requests_mock.Mocker, method: str, path: str) -> int:
    return sum(each.method == method and each.path == path for each in mock.request_history)


# Which cloud


def test_no_cloud_is_known() -> None:
    with pytest.raises(ConfigError) as caught:
        names(Cloud())
    assert "clouds.yaml" in caught.value.brief
    assert caught.value.resolution


def test_one_of_several_clouds_must_be_named() -> None:
    told("clouds:\n  b: {auth: {auth_url: 'http://b.test'}}\n  a: {auth: {auth_url: 'http://a.test'}}\n")
    with pytest.raises(ConfigError) as caught:
        names(Cloud())
    assert "several clouds: a, b" in caught.value.brief


def test_a_cloud_that_is_not_named_there_is_told_with_those_that_are() -> None:
    told(CLOUDS.format(url=KEYSTONE))
    with pytest.raises(ConfigError) as caught:
        names(Cloud("two"))
    assert "two" in caught.value.brief
    assert "one" in caught.value.resolution


def test_the_environments_cloud_counts_where_the_lab_says_none(nova: requests_mock.Mocker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_CLOUD", "two")
    nova.get(f"{NOVA}/servers/detail", json={"servers": []})
    with pytest.raises(ConfigError):
        names(Cloud())
    assert names(Cloud("one")) == []


# Answers that pass


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_question_is_asked_again(nova: requests_mock.Mocker, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keystoneauth1.session.time.sleep", lambda _: None)
    nova.get(f"{NOVA}/servers/detail", answers(status, status, 200))
    assert names(Cloud()) == []
    assert count(nova, "GET", "/v2.1/servers/detail") == 3


def test_a_question_is_not_asked_for_ever(nova: requests_mock.Mocker) -> None:
    nova.get(f"{NOVA}/servers/detail", answers(500, headers={"x-openstack-request-id": "req-7"}))
    with pytest.raises(EngineError) as caught:
        names(Cloud())
    assert count(nova, "GET", "/v2.1/servers/detail") == 4
    assert "request id: req-7" in caught.value.details
    assert "try later" in caught.value.brief


@pytest.mark.parametrize("status", [500, 504])
def test_a_change_that_may_have_been_made_is_not_sent_again(nova: requests_mock.Mocker, status: int) -> None:
    nova.post(f"{NOVA}/servers", answers(status))
    with pytest.raises(EngineError), Cloud().change("create the node a/b/c") as api:
        api.compute.create_server(name="x", image_id="i", flavor_id="f", networks="none")
    assert count(nova, "POST", "/v2.1/servers") == 1


def test_a_change_that_was_refused_unread_is_sent_again(nova: requests_mock.Mocker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keystoneauth1.session.time.sleep", lambda _: None)
    nova.post(f"{NOVA}/servers", [*answers(429, 503), {"status_code": 202, "json": {"server": {"id": "s"}}}])
    with Cloud().change("create the node a/b/c") as api:
        assert api.compute.create_server(name="x", image_id="i", flavor_id="f", networks="none").id == "s"


def test_a_token_that_ends_in_the_middle_is_replaced(nova: requests_mock.Mocker) -> None:
    nova.get(f"{NOVA}/servers/detail", [{"json": {"servers": []}}, {"status_code": 401, "json": {}}, {"json": {"servers": []}}])
    cloud = Cloud()
    assert names(cloud) == names(cloud) == []
    assert count(nova, "POST", "/v3/auth/tokens") == 2


# The end


class Api(BaseHTTPRequestHandler):
    """Keystone and Nova, as far as `names` asks them; they keep connections, as APIs do, and ``opened`` has those that are not closed."""

    protocol_version = "HTTP/1.1"
    opened: ClassVar[set[object]] = set()
    at = ""

    def handle(self) -> None:
        self.opened.add(self)
        try:
            super().handle()
        finally:
            self.opened.discard(self)

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        catalog = [{"type": "compute", "name": "nova", "id": "n", "endpoints": [PUBLIC | {"url": f"{self.at}/v2.1"}]}]
        pages = {
            "/v3": {"version": {"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": f"{self.at}/v3"}]}},
            "/v3/auth/tokens": {"token": TOKEN["token"] | {"catalog": catalog}},
            "/v2.1": {"version": VERSION["version"] | {"links": [{"rel": "self", "href": f"{self.at}/v2.1"}]}},
            "/v2.1/servers/detail": {"servers": []},
        }
        page = pages.get(self.path.split("?")[0].rstrip("/"))
        body = json.dumps(page).encode()
        self.send_response(404 if page is None else 201 if self.command == "POST" else 200)
        for name, value in (("X-Subject-Token", "t"), ("Content-Type", "application/json"), ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - the base class looks for this name

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.mark.parametrize("project", ["", "q"])
def test_what_is_closed_has_no_connection(project: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        monkeypatch.setattr(Api, "at", f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        told(CLOUDS.format(url=f"{Api.at}/v3"))
        cloud = Cloud(project=project)
        try:
            with ThreadPoolExecutor(8) as pool:  # who asks at the same time asks by one session
                assert list(pool.map(names, [cloud] * 8)) == [[]] * 8
            assert Api.opened
            cloud.close()
            end = time.monotonic() + 30
            while Api.opened:
                assert time.monotonic() < end, "its sockets are left to whoever collects them"
                time.sleep(0.01)
        finally:
            server.shutdown()
            thread.join()


# Refusals


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        (404, "no such image", NotFoundError),
        (409, "in use", ConflictError),
        (403, "Quota exceeded for instances: Requested 1, but already used 10 of 10 instances", QuotaError),
        (413, "too much", QuotaError),
        (403, "Policy doesn't allow it", EngineError),
        (400, "Invalid key_name", EngineError),
    ],
)
def test_refusals_say_what_and_which_request(nova: requests_mock.Mocker, status: int, said: str, kind: type[LabError]) -> None:
    body = {"x": {"message": said, "code": status}}
    nova.post(f"{NOVA}/servers", json=body, status_code=status, headers={"x-openstack-request-id": "req-9"})
    with pytest.raises(kind) as caught, Cloud().change("create the node a/b/c") as api:
        api.compute.create_server(name="x", image_id="i", flavor_id="f", networks="none")
    assert caught.value.brief.startswith("could not create the node a/b/c: ")
    assert said in caught.value.brief
    assert "request id: req-9" in caught.value.details
    assert "secret" not in caught.value.details + caught.value.brief


def test_a_wrong_password_is_told_as_what_it_may_be(nova: requests_mock.Mocker) -> None:
    nova.post(f"{KEYSTONE}/auth/tokens", json={"error": {"message": "requires authentication", "code": 401}}, status_code=401)
    with pytest.raises(EngineError) as caught:
        names(Cloud())
    assert "does not let ada in" in caught.value.brief
    assert "acme" in caught.value.brief


def test_nobody_answers() -> None:
    told(CLOUDS.format(url="http://127.0.0.1:9/v3"))
    with pytest.raises(EngineError) as caught:
        names(Cloud())
    assert "does not answer" in caught.value.brief


@pytest.fixture
def expired(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An HTTPS server with a certificate that has expired, and the certificate."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    past = datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC).strftime("%Y%m%d%H%M%SZ")
    made = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=127.0.0.1"]
    subprocess.run([*made, "-keyout", str(key), "-out", str(tmp_path / "csr.pem")], check=True, capture_output=True)
    (tmp_path / "extensions").write_text("subjectAltName=IP:127.0.0.1\n")
    subprocess.run(
        ["openssl", "req", "-new", "-key", str(key), "-subj", "/CN=127.0.0.1", "-out", str(tmp_path / "csr.pem")],
        check=True,
        capture_output=True,
    )
    (tmp_path / "index").touch()
    (tmp_path / "serial").write_text("01\n")
    (tmp_path / "ca.conf").write_text(
        f"[ca]\ndefault_ca=d\n[d]\ndatabase={tmp_path}/index\nserial={tmp_path}/serial\nnew_certs_dir={tmp_path}\n"
        "default_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n"
    )
    sign = ["openssl", "ca", "-batch", "-notext", "-selfsign", "-config", str(tmp_path / "ca.conf"), "-keyfile", str(key)]
    paths = ["-in", str(tmp_path / "csr.pem"), "-out", str(certificate), "-extfile", str(tmp_path / "extensions")]
    subprocess.run([*sign, *paths, "-startdate", "20200101000000Z", "-enddate", past], check=True, capture_output=True)
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}/v3", certificate
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_certificates_are_looked_at(expired: tuple[str, Path]) -> None:
    url, certificate = expired
    told(CLOUDS.format(url=url))
    with pytest.raises(EngineError) as caught:
        names(Cloud())
    assert "its certificate is not trusted" in caught.value.brief
    assert "cacert" in caught.value.resolution
    told(CLOUDS.format(url=url).replace("region_name: R", f"region_name: R\n    cacert: {certificate}"))
    with pytest.raises(EngineError) as caught:
        names(Cloud())
    assert "its certificate has expired" in caught.value.brief
