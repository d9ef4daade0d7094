"""The ways in which OpenStack's users say which cloud, against the real Keystone: all that openstacksdk knows has to work here."""

from __future__ import annotations

import http.client
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from labcloud.errors import ConfigError, EngineError
from labcloud.providers.openstack.connection import Cloud
from labcloud.providers.openstack.provider import OpenStackProvider
from tests.openstack import driver

Told = Callable[..., OpenStackProvider]


@pytest.fixture
def told(cloud: driver.Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """A lab on this machine, of which clouds.yaml says ``clouds`` and openstack.yaml says ``settings``."""
    opened: list[OpenStackProvider] = []
    file, home = tmp_path / "clouds.yaml", tmp_path / "home"
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
    monkeypatch.delenv("OS_CLOUD", raising=False)
    (home / "lab").mkdir(parents=True)

    def tell(clouds: dict[str, Any], **settings: str) -> OpenStackProvider:
        file.write_text(yaml.safe_dump({"clouds": clouds}))
        (home / "lab" / "openstack.yaml").write_text(yaml.safe_dump(settings))
        opened.append(OpenStackProvider(home, "lab"))
        return opened[-1]

    yield tell
    for each in opened:
        each.close()


@pytest.fixture
def known(cloud: driver.Cloud) -> dict[str, Any]:
    """The clouds of the test cloud's own clouds.yaml."""
    found: dict[str, Any] = yaml.safe_load(cloud.clouds_yaml.read_text())["clouds"]
    return found


def project(provider: OpenStackProvider) -> str:
    """The id of the project that the connection is for, once something was asked."""
    provider.find()
    with provider._cloud.change("ask who we are") as api:
        return str(api.current_project_id)


def test_an_application_credential_is_enough_until_it_is_taken_away(cloud: driver.Cloud, known: dict[str, Any], told: Told) -> None:
    identity = cloud.member.identity
    user = cloud.member.current_user_id
    made = identity.create_application_credential(user, "labcloud-test")
    auth = {"auth_url": known["member"]["auth"]["auth_url"]}
    auth |= {"application_credential_id": made.id, "application_credential_secret": made.secret}
    entry = {"auth_type": "v3applicationcredential", "auth": auth, "region_name": "RegionOne", "identity_api_version": 3}
    try:
        assert project(told({"lab": entry})) == cloud.member.current_project_id
    finally:
        identity.delete_application_credential(user, made)
    with pytest.raises(EngineError, match="does not know the application credential"):
        told({"lab": entry}).find()


def test_one_of_several_clouds_and_regions_is_said_by_the_lab(
    cloud: driver.Cloud, known: dict[str, Any], told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="several clouds: admin, member"):
        told(known).find()
    assert project(told(known, cloud="member", region="RegionOne")) == cloud.member.current_project_id
    assert project(told(known, cloud="admin")) == cloud.admin.current_project_id
    monkeypatch.setenv("OS_CLOUD", "member")
    assert project(told(known)) == cloud.member.current_project_id
    assert project(told(known, cloud="admin")) == cloud.admin.current_project_id  # the lab's word counts
    with pytest.raises(ConfigError, match=r"RegionTwo is not a valid region name.* Valid choices are RegionOne"):
        told(known, region="RegionTwo").find()


def test_the_environment_alone_is_enough(cloud: driver.Cloud, known: dict[str, Any], told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (known["member"]["auth"] | {"region_name": "RegionOne", "identity_api_version": "3"}).items():
        monkeypatch.setenv(f"OS_{name.upper()}", value)
    provider = told({})
    Path(provider._rendered.parent.parent, "clouds.yaml").unlink()
    assert project(provider) == cloud.member.current_project_id


class Tls(BaseHTTPRequestHandler):
    """Passes requests on to Keystone, as what ends TLS before an API does."""

    protocol_version = "HTTP/1.1"
    behind = ""

    def do_GET(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        with closing(http.client.HTTPConnection(self.behind, timeout=60)) as onward:
            onward.request(self.command, self.path, self.rfile.read(size), {**self.headers, "X-Forwarded-Proto": "https"})
            answer = onward.getresponse()
            body = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_HEAD = do_GET  # noqa: N815 - the base class looks for these names

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def authority(tmp_path: Path) -> tuple[Path, Path]:
    """The certificate of a private authority; key and certificate, in one file, of a server that it signed."""
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    root, server = tmp_path / "authority.pem", tmp_path / "server.pem"
    subprocess.run([*new, "-subj", "/CN=lab", "-keyout", f"{tmp_path}/root.key", "-out", str(root)], check=True, capture_output=True)
    by_root = ["-CA", str(root), "-CAkey", f"{tmp_path}/root.key", "-addext", "subjectAltName=IP:127.0.0.1"]
    by_root += ["-addext", "basicConstraints=critical,CA:FALSE", "-subj", "/CN=127.0.0.1"]
    subprocess.run([*new, *by_root, "-keyout", f"{tmp_path}/key", "-out", f"{tmp_path}/cert"], check=True, capture_output=True)
    server.write_bytes(Path(tmp_path, "key").read_bytes() + Path(tmp_path, "cert").read_bytes())
    return root, server


def test_a_private_authority_is_trusted_where_clouds_yaml_names_it(
    cloud: driver.Cloud, authority: tuple[Path, Path], known: dict[str, Any], told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, certificate = authority
    monkeypatch.setattr(Tls, "behind", known["member"]["auth"]["auth_url"].split("/")[2])
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Tls)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    auth = known["member"]["auth"] | {"auth_url": f"https://127.0.0.1:{server.server_port}/v3"}
    try:
        assert project(told({"lab": {**known["member"], "auth": auth, "cacert": str(root)}})) == cloud.member.current_project_id
        with pytest.raises(EngineError, match="its certificate is not trusted"):
            told({"lab": {**known["member"], "auth": auth}}).find()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_project_that_one_may_not_see_is_told(known: dict[str, Any], told: Told) -> None:
    member = known["member"]
    with pytest.raises(EngineError, match="has no role in the project größer/geheim"):
        told({"lab": {**member, "auth": member["auth"] | {"project_name": "größer/geheim"}}}).find()


def test_the_connection_is_opened_when_something_is_asked(cloud: driver.Cloud) -> None:
    assert Cloud("nobody").label == "nobody"  # and nothing was looked up
    assert cloud.address
