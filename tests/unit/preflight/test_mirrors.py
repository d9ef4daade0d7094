"""Mirrors: asked only where something must be downloaded; nothing secret of an address is printed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from labcloud.images.cookbook import Cookbook
from labcloud.model.checks import Check, ImageNeed, Verdict
from labcloud.preflight.families import mirrors
from labcloud.preflight.families.mirrors import Reached
from tests.unit.preflight.conftest import Asked, Made

NEED = ImageNeed("hadoop-2.7", 8, "hadoop-2.7.7")


def check(family: str) -> Check:
    return next(each for each in mirrors.CHECKS if each.id == f"mirror.{family}")


class _Handler(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(int(self.path.strip("/").partition("/")[0]))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing: a test's output is its own."""


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.fixture
def without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(url: str) -> Reached:
        raise AssertionError(f"{url} was asked")

    monkeypatch.setattr(mirrors, "reach", refuse)


@pytest.mark.usefixtures("without_network")
@pytest.mark.parametrize("family", ["maven", "debian", "elsewhere"])
def test_a_built_image_needs_no_mirror(subject: Asked, cluster: Made, family: str) -> None:
    finding = check(family).run(subject(cluster(), image=NEED))
    assert (finding.verdict, finding.summary) == (Verdict.SKIP, "nothing must be downloaded")


def test_what_is_missing_is_looked_for_where_it_would_come_from(
    subject: Asked, cluster: Made, server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LABCLOUD_MAVEN_MIRROR", f"{server}/200")
    monkeypatch.setenv("LABCLOUD_DEBIAN_MIRROR", f"{server}/503")
    monkeypatch.setenv("LABCLOUD_CACHE", str(tmp_path / "cache"))
    asked = subject(cluster(image=""), image=NEED)
    found = check("maven").run(asked)
    assert found.verdict is Verdict.PASS
    assert found.evidence["files"] > 50
    refused = check("debian").run(asked)
    assert refused.verdict is Verdict.FAIL
    assert "it answers 503" in refused.summary
    assert refused.fix == "unset LABCLOUD_DEBIAN_MIRROR"
    assert check("elsewhere").run(asked).verdict is Verdict.SKIP


@pytest.mark.usefixtures("without_network")
def test_what_is_in_the_cache_is_not_asked_for(subject: Asked, cluster: Made, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LABCLOUD_CACHE", str(tmp_path))
    recipes = Cookbook().recipe("hadoop-2.7").ancestry()
    for file in (file for recipe in recipes for file in recipe.downloads() if file.sha256):
        path = tmp_path / file.sha256[:2] / file.sha256
        path.parent.mkdir(exist_ok=True)
        path.touch()
    built = {recipe.name: recipe.reference for recipe in recipes[:2]}  # debian and base: apt's packages are in no cache
    asked = subject(cluster(image=""), image=NEED, built=lambda name: built.get(name, ""))
    assert {check(family).run(asked).verdict for family in ("maven", "debian", "elsewhere")} == {Verdict.SKIP}


@pytest.mark.parametrize(("status", "verdict"), [(200, Verdict.PASS), (404, Verdict.PASS), (403, Verdict.FAIL), (500, Verdict.FAIL)])
def test_answers(server: str, status: int, verdict: Verdict) -> None:
    url = f"{server}/{status}/x"
    assert mirrors.judge(url, mirrors.reach(url), 3, "fix").verdict is verdict


def test_nobody_there() -> None:
    reached = mirrors.reach("http://127.0.0.1:1/x")
    assert reached.status == 0
    assert "refused" in reached.problem


def test_a_name_and_a_password_are_not_printed() -> None:
    url = "http://ada:s3cret@127.0.0.1:1/maven/x.jar?token=t0ken"
    reached = mirrors.reach(url)
    finding = mirrors.judge(url, reached, 1, mirrors.fix_for("elsewhere", url))
    assert finding.verdict is Verdict.FAIL
    printed = f"{finding}"
    assert "http://127.0.0.1:1/maven/x.jar" in printed
    assert not [secret for secret in ("ada", "s3cret", "t0ken") if secret in printed]


@pytest.mark.parametrize("url", ["ftp//nonsense", "http://[::1", "file:///etc/no-such-file"])
def test_what_is_no_address_is_a_failure_too(url: str) -> None:
    assert mirrors.reach(url).status == 0


def test_fixes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LABCLOUD_MAVEN_MIRROR", raising=False)
    assert mirrors.fix_for("maven", "http://x/y").startswith("export LABCLOUD_MAVEN_MIRROR=https://")
    assert mirrors.fix_for("elsewhere", "http://u:p@x/y") == "curl --head http://x/y"
