"""Telling a web service: how long it may take, and what is noted of its URL."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from labcloud.apply.webhooks import post, shown_host


def test_a_web_service_that_says_nothing_costs_no_more_than_the_limit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        wrong = post(f"http://127.0.0.1:{silent.getsockname()[1]}/secret", {}, seconds=0.2)
        assert wrong in ("no answer within 0.2 s", "no answer in time")
        assert time.monotonic() - began < 20  # it would say nothing for ever


def test_a_look_up_that_hangs_costs_no_more_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    hangs, over = threading.Event(), threading.Event()

    def look_up(*_: object) -> str:
        hangs.wait(60)
        over.set()
        return ""

    monkeypatch.setattr("labcloud.apply.webhooks._send", look_up)
    assert post("http://slow.example.org/", {}, seconds=0.1) == "no answer within 0.1 s"
    assert not over.is_set(), "nobody waited for it"
    hangs.set()


@pytest.mark.parametrize("url", ["http://127.0.0.1:secret/", "http://[secret/", "http:///secret", "file:///etc/secret", "secret"])
def test_a_url_that_is_none_is_no_error_and_not_quoted(url: str) -> None:
    wrong = post(url, {}, seconds=2)
    assert wrong
    assert "secret" not in wrong


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pw@chat.example.org/hooks/T0/B0?token=x#y", "https://chat.example.org"),
        ("http://127.0.0.1:8080/x", "http://127.0.0.1:8080"),
        ("http://[::1]:8080/x", "http://[::1]:8080"),
    ],
)
def test_only_scheme_and_host_of_a_url_are_shown(url: str, shown: str) -> None:
    assert shown_host(url) == shown
